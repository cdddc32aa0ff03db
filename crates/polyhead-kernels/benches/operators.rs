//! Every operator against the machine's own limits, measured in the same run.
//!
//! ```text
//! cargo bench -p polyhead-kernels [-- FILTER]
//! ```
//!
//! Operators that multiply are held against the peak of the multiplying instructions (a loop over registers on every
//! core), the others against the bandwidth of copying memory that no cache holds. A figure is the median of many passes,
//! forward alone and forward with backward. Shapes are those of all-MiniLM-L6-v2 and of BERT base.
//!
//! No library of benchmarks is used: what is wanted is one ratio to a limit of this machine, which none of them prints.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use polyhead_kernels::adamw::{AdamW, Moments, Update};
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::in_pool;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::rng::Key;
use polyhead_kernels::{
    Activation, Attention, Disentangled, Distances, DropoutAt, Gradient, Index, Inputs, Linear, Ops, Part, Pass,
    Positions, Precision, Segments, Tape, Value, Weight,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an operator is measured, and how many passes it takes at least.
const TIME: Duration = Duration::from_millis(700);
const PASSES: usize = 7;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let limits = Limits::measure();
    println!(
        "{} threads; peak {} GFLOP/s in bf16, {} in f32; memory {:.1} GB/s (read and write)\n",
        rayon::current_num_threads(),
        giga(limits.bf16),
        giga(limits.f32),
        limits.bytes / 1e9
    );
    println!("{:<66} {:>9} {:>9} {:>9}", "operator", "ms", "GFLOP/s", "of peak");
    let bench = Bench { filter, limits };
    for precision in [Precision::Bf16, Precision::F32] {
        if precision == Precision::Bf16 && !polyhead_kernels::instructions().ends_with("bf16") {
            println!("bf16 is left out: this processor does not multiply it natively");
            continue;
        }
        for (hidden, inner, heads) in [(384, 1536, 12), (768, 3072, 12)] {
            for tokens in [16, 256, 2048] {
                bench.linear_layers(precision, tokens, hidden, inner);
            }
            for (count, length) in [(128, 16), (16, 128), (8, 256), (5, 384), (4, 512)] {
                bench.attention(precision, count, length, hidden, heads);
                bench.local_attention(precision, count, length, hidden, heads);
                bench.disentangled_attention(precision, count, length, hidden, heads);
            }
        }
    }
    println!("\n{:<66} {:>9} {:>9} {:>9}", "operator", "ms", "GB/s", "of memory");
    bench.embeddings(2048, 384);
    bench.cross_entropy(2048, 9);
    bench.head(2048, 384, 9);
    bench.adamw();
}

/// A rate in billions a second, if it is known.
fn giga(rate: Option<f64>) -> String {
    rate.map_or("unknown".into(), |rate| format!("{:.0}", rate / 1e9))
}

/// What this machine can do.
struct Limits {
    bf16: Option<f64>,
    f32: Option<f64>,
    bytes: f64,
}

struct Bench {
    filter: String,
    limits: Limits,
}

/// The times of many passes, sorted; a pass says itself how long what is measured took.
fn times(mut pass: impl FnMut() -> Duration) -> Vec<f64> {
    pass();
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < PASSES || began.elapsed() < TIME {
        times.push(pass().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times
}

/// The median time of a pass.
fn median(pass: impl FnMut() -> Duration) -> f64 {
    let times = times(pass);
    times[times.len() / 2]
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let (key, count) = (Key::seed(seed), shape.iter().product::<usize>() as u64);
    let values: Vec<f32> = (0..count).map(|i| key.normal(i) as f32 * 0.05).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn weight(seed: u64, shape: &[usize]) -> Weight {
    Weight::new(&normal(seed, shape)).unwrap()
}

fn layer(outer: usize, inner: usize) -> Arc<Linear> {
    Arc::new(Linear::new(vec![Part::new(weight(1, &[outer, inner]), Some(weight(2, &[outer])))]))
}

impl Bench {
    /// Measures an operator forward, and forward and back; `flop` is that of the forward pass. Making its inputs is not
    /// measured; what candle does with a tensor of the output's size, once a step, is measured alone and taken off.
    fn tape(
        &self,
        name: &str,
        precision: Precision,
        flop: f64,
        segments: &Segments,
        inputs: &[&Tensor],
        operator: impl Fn(&mut Tape, &[Value]) -> Value + Sync,
    ) {
        let name = format!("{name}, {}", precision.name());
        if !name.contains(&self.filter) {
            return;
        }
        let peak = if precision == Precision::Bf16 { self.limits.bf16 } else { self.limits.f32 };
        let batch = Arc::new(Inputs::of_rows(segments.clone()));
        // Their gradients are computed and gather at them, as those of a layer's input do.
        let inputs: Vec<Weight> = inputs.iter().map(|input| Weight::new(input).unwrap()).collect();
        let pass = |trains: bool, inputs: &[Weight], operator: &(dyn Fn(&mut Tape, &[Value]) -> Value + Sync)| {
            in_pool(|| {
                let how = if trains { Pass::train(Key::seed(1)) } else { Pass::Evaluate };
                let mut tape = Tape::new(precision, how, batch.clone());
                let inputs: Vec<Value> = inputs.iter().map(|input| tape.parameter(input).unwrap()).collect();
                let mut shape = (0, 0);
                let took = timed(|| {
                    let value = black_box(operator(&mut tape, &inputs));
                    if trains {
                        let y = tape.finish(&[value]).unwrap().remove(0);
                        shape = y.dims2().unwrap();
                        black_box(y.sum_all().unwrap().backward().unwrap());
                    }
                });
                (took, shape)
            })
        };
        let (_, (rows, columns)) = pass(true, &inputs, &operator);
        let like = weight(1, &[rows, columns]);
        let around = median(|| pass(true, std::slice::from_ref(&like), &|_, x| x[0].clone()).0);
        for (what, trains, flop, around) in
            [("forward", false, flop, 0.0), ("forward, backward", true, 3.0 * flop, around)]
        {
            let seconds = median(|| pass(trains, &inputs, &operator).0) - around;
            let rate = flop / seconds;
            let line = format!("{name}: {what}");
            let of_peak = rate / peak.unwrap_or(f64::NAN);
            println!("{line:<66} {:>9.3} {:>9.1} {of_peak:>9.2}", 1e3 * seconds, rate / 1e9);
        }
    }

    fn linear_layers(&self, precision: Precision, tokens: usize, hidden: usize, inner: usize) {
        let (narrow, wide) = (normal(3, &[tokens, hidden]), normal(4, &[tokens, inner]));
        let flop = |a: usize, b: usize| 2.0 * (tokens * a * b) as f64;
        let up = layer(inner, hidden);
        let name = format!("linear, gelu {tokens} x {hidden} -> {inner}");
        let segments = Segments::packed(&[tokens]);
        self.tape(&name, precision, flop(hidden, inner), &segments, &[&narrow], |tape, x| {
            tape.linear_activation(&x[0], &up, Activation::Gelu).unwrap()
        });
        let norm = Norm::new(weight(5, &[hidden]), weight(6, &[hidden]), 1e-12);
        let drop = DropoutAt::new(0.1, "output");
        for (x, width) in [(&narrow, hidden), (&wide, inner)] {
            let down = layer(hidden, width);
            let name = format!("linear, residual, norm {tokens} x {width} -> {hidden}");
            self.tape(&name, precision, flop(width, hidden), &segments, &[x, &narrow], |tape, x| {
                tape.linear_residual_norm(&x[0], &down, &x[1], &norm, drop).unwrap()
            });
        }
    }

    fn attention(&self, precision: Precision, count: usize, length: usize, hidden: usize, heads: usize) {
        let attention = Attention::plain(heads, DropoutAt::new(0.1, "attention"));
        self.any_attention("self-attention", precision, [count, length, hidden], 2 * length, &[], |tape, x, qkv| {
            tape.self_attention(&x[0], qkv, attention).unwrap()
        });
    }

    /// ModernBERT's: tokens up to 64 apart, turned by their positions.
    fn local_attention(&self, precision: Precision, count: usize, length: usize, hidden: usize, heads: usize) {
        const WINDOW: usize = 64;
        let plain = Attention::plain(heads, DropoutAt::new(0.0, "attention"));
        let attention = Attention { positions: Positions::Rotary(10_000.0), window: Some(WINDOW), ..plain };
        let seen: usize = (0..length).map(|i| (i + WINDOW + 1).min(length) - i.saturating_sub(WINDOW)).sum();
        let shape = [count, length, hidden];
        self.any_attention("local attention", precision, shape, 2 * seen / length, &[], |tape, x, qkv| {
            tape.self_attention(&x[0], qkv, attention).unwrap()
        });
    }

    /// DeBERTa-v3's: queries and keys meet vectors of 512 distances. What is counted meets each key once, with either.
    fn disentangled_attention(&self, precision: Precision, count: usize, length: usize, hidden: usize, heads: usize) {
        let distances = Distances { span: 256, farthest: Some(512) };
        let plain = Attention::plain(heads, DropoutAt::new(0.1, "attention"));
        let vectors = [7, 8].map(|seed| normal(seed, &[2 * distances.span, hidden]));
        let (shape, both) = ([count, length, hidden], [&vectors[0], &vectors[1]]);
        self.any_attention("disentangled attention", precision, shape, 4 * length, &both, |tape, x, qkv| {
            let positions = Disentangled { keys: Some(&x[1]), queries: Some(&x[2]), distances };
            let attention = Attention { positions: Positions::Disentangled(positions), ..plain };
            tape.self_attention(&x[0], qkv, attention).unwrap()
        });
    }

    /// Attention with its projection; of each token, `meets` is how many products of the width of the hidden states it takes part in.
    fn any_attention(
        &self,
        name: &str,
        precision: Precision,
        [count, length, hidden]: [usize; 3],
        meets: usize,
        others: &[&Tensor],
        operator: impl Fn(&mut Tape, &[Value], &Arc<Linear>) -> Value + Sync,
    ) {
        let tokens = count * length;
        let (x, qkv) = (normal(3, &[tokens, hidden]), layer(3 * hidden, hidden));
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(others.iter().copied()).collect();
        let flop = 2.0 * (tokens * hidden) as f64 * (3 * hidden + meets) as f64;
        let name = format!("{name} {count} x {length} x {hidden}");
        let segments = Segments::packed(&vec![length; count]);
        self.tape(&name, precision, flop, &segments, &inputs, |tape, x| operator(tape, x, &qkv));
    }

    /// Prints what moved so many bytes in so many seconds.
    fn moved(&self, name: &str, bytes: usize, mut pass: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let seconds = median(|| timed(&mut pass));
        let rate = bytes as f64 / seconds;
        println!("{name:<66} {:>9.3} {:>9.1} {:>9.2}", 1e3 * seconds, rate / 1e9, rate / self.limits.bytes);
    }

    fn embeddings(&self, tokens: usize, hidden: usize) {
        let tables = [
            (weight(1, &[30_522, hidden]), Index::TokenIds),
            (weight(2, &[512, hidden]), Index::PositionsFrom(0)),
            (weight(3, &[2, hidden]), Index::TokenTypes),
        ];
        let norm = Norm::new(weight(5, &[hidden]), weight(6, &[hidden]), 1e-12);
        let inputs = Arc::new(Inputs {
            ids: (0..tokens as u64).map(|i| (Key::seed(1).bits(i) % 30_522) as u32).collect(),
            positions: (0..tokens as u32).map(|i| i % 512).collect(),
            types: vec![0; tokens],
            ..Inputs::of_rows(Segments::packed(&[tokens]))
        });
        // A row of words read, a row written; back, one of each again.
        self.moved(&format!("embeddings {tokens} x {hidden}: forward, backward"), 4 * 4 * tokens * hidden, || {
            let mut tape = Tape::new(Precision::auto(), Pass::train(Key::seed(1)), inputs.clone());
            let h = tape.embeddings(&tables, &norm, DropoutAt::new(0.1, "embeddings")).unwrap();
            let y = tape.finish(&[h]).unwrap().remove(0);
            black_box(y.sum_all().unwrap().backward().unwrap());
            tables[0].0.take_gradient();
        });
    }

    fn cross_entropy(&self, tokens: usize, classes: usize) {
        let z = candle_core::Var::from_tensor(&normal(1, &[tokens, classes])).unwrap();
        let targets: Vec<i64> = (0..tokens as i64).map(|i| i % classes as i64).collect();
        self.moved(&format!("cross-entropy {tokens} x {classes}: forward, backward"), 8 * tokens * classes, || {
            black_box(token_cross_entropy(&z, &targets, tokens as f64).unwrap().backward().unwrap());
        });
    }

    fn head(&self, tokens: usize, hidden: usize, outputs: usize) {
        let (x, layer) = (weight(1, &[tokens, hidden]), layer(outputs, hidden));
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[tokens])));
        self.moved(&format!("head {tokens} x {hidden} -> {outputs}: forward, backward"), 12 * tokens * hidden, || {
            let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(1)), inputs.clone());
            let hidden = tape.parameter(&x).unwrap();
            let y = tape.dropout_linear(&hidden, &layer, DropoutAt::new(0.1, "head")).unwrap();
            let y = tape.finish(&[y]).unwrap().remove(0);
            black_box(y.sum_all().unwrap().backward().unwrap());
        });
    }

    /// All weights of the layers of MiniLM-L6 in one tensor, and an embedding table of which a tenth was ever used.
    fn adamw(&self) {
        let (method, update) = (AdamW::default(), Update { lr: 1e-4, decay: 0.01, clip: 1.0 });
        let count = 10_640_000;
        let (w, gradient) = (weight(1, &[count]), Gradient::from_tensor(&normal(2, &[count])).unwrap());
        let mut moments = Moments::zeros(count);
        self.moved(&format!("adamw {count}"), 7 * 4 * count, || {
            in_pool(|| method.update(&w, &gradient, &mut moments, update).unwrap());
        });
        let (rows, columns) = (30_522, 384);
        let table = weight(1, &[rows, columns]);
        let gradient = normal(3, &[rows / 10, columns]);
        let mut moments = Moments::zeros(rows * columns);
        let ids: Vec<u32> = (0..rows as u32 / 10).map(|row| row * 10).collect();
        let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        table.add_gradient_of_rows(&ids, &values).unwrap();
        let gradient = table.take_gradient().unwrap();
        self.moved(&format!("adamw {rows} x {columns}, a tenth touched"), 7 * 4 * (rows / 10) * columns, || {
            in_pool(|| method.update(&table, &gradient, &mut moments, update).unwrap());
        });
    }
}

impl Limits {
    fn measure() -> Self {
        let threads = rayon::current_num_threads();
        // A limit is the best that was seen.
        let on_all = |(work, each): Loop| {
            const ROUNDS: usize = 2_000_000;
            let pass = || {
                timed(|| {
                    std::thread::scope(|scope| {
                        for _ in 0..threads {
                            scope.spawn(move || black_box(work(black_box(ROUNDS))));
                        }
                    });
                })
            };
            (each * ROUNDS * threads) as f64 / times(pass)[0]
        };
        let (bf16, f32) = (peak::bf16().map(on_all), peak::f32().map(on_all));
        // 128 MB from one place to another on every thread: more than any cache.
        const COUNT: usize = 32 << 20;
        let mut memory: Vec<(Vec<f32>, Vec<f32>)> =
            (0..threads).map(|_| (vec![1.0; COUNT], vec![2.0; COUNT])).collect();
        let pass = || {
            timed(|| {
                std::thread::scope(|scope| {
                    for (from, to) in &mut memory {
                        scope.spawn(|| to.copy_from_slice(black_box(from)));
                    }
                });
            })
        };
        Self { bf16, f32, bytes: (threads * 2 * 4 * COUNT) as f64 / times(pass)[0] }
    }
}

/// So many rounds of multiplying, and the operations of one: a multiplication and an addition for every number.
type Loop = (fn(usize) -> f32, usize);

/// Loops over registers: as many independent sums as hide the latency of the instruction.
#[cfg(target_arch = "x86_64")]
mod peak {
    use super::Loop;
    use std::arch::asm;
    use std::arch::x86_64::*;

    /// Of AVX-512, with 32 registers, and of AVX2, with 16.
    const SUMS: usize = 24;
    const SUMS_AVX2: usize = 12;

    /// Sums of the matrix unit: six registers of 16 x 16, over 16 pairs at a time.
    const SUMS_AMX: usize = 6;

    pub fn bf16() -> Option<Loop> {
        if polyhead_kernels::instructions() == "amx_bf16" {
            // SAFETY: detected.
            return Some((|rounds| unsafe { amx(rounds) }, SUMS_AMX * 16 * 16 * 16 * 2 * 2));
        }
        // SAFETY: detected; pairs of numbers.
        is_x86_feature_detected!("avx512bf16").then_some((|rounds| unsafe { pairs(rounds) }, SUMS * 16 * 2 * 2))
    }

    pub fn f32() -> Option<Loop> {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: detected.
            Some((|rounds| unsafe { avx512(rounds) }, SUMS * 16 * 2))
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: detected.
            Some((|rounds| unsafe { avx2(rounds) }, SUMS_AVX2 * 8 * 2))
        } else {
            None
        }
    }

    /// # Safety
    /// The processor must have the unit, and the kernel must let this process use it.
    unsafe fn amx(rounds: usize) -> f32 {
        /// The first palette; eight registers of 64 bytes by 16 rows.
        #[repr(align(64))]
        struct Shapes([u8; 64]);
        let mut shapes = Shapes([0; 64]);
        shapes.0[0] = 1;
        shapes.0[16..32].as_chunks_mut::<2>().0.fill([64, 0]);
        shapes.0[48..56].fill(16);
        // SAFETY: the caller's promise. Registers begin with zeros, and are released in the end.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly));
            for _ in 0..rounds {
                asm!(
                    "tdpbf16ps tmm0, tmm6, tmm7",
                    "tdpbf16ps tmm1, tmm6, tmm7",
                    "tdpbf16ps tmm2, tmm6, tmm7",
                    "tdpbf16ps tmm3, tmm6, tmm7",
                    "tdpbf16ps tmm4, tmm6, tmm7",
                    "tdpbf16ps tmm5, tmm6, tmm7",
                    options(nostack, nomem)
                );
            }
            asm!("tilerelease", options(nostack, nomem));
        }
        0.0
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn pairs(rounds: usize) -> f32 {
        // SAFETY: 64 bytes each.
        let [a, b]: [__m512bh; 2] = unsafe { std::mem::transmute([[0x3f80_3f80_u32; 16], [0x3f81_3f81; 16]]) };
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + _mm512_reduce_add_ps(sum))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn avx512(rounds: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(1.0), _mm512_set1_ps(1.5));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + _mm512_reduce_add_ps(sum))
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2(rounds: usize) -> f32 {
        let (a, b) = (_mm256_set1_ps(1.0), _mm256_set1_ps(1.5));
        let mut sums = [_mm256_setzero_ps(); SUMS_AVX2];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + _mm256_cvtss_f32(sum))
    }
}

/// Elsewhere no peak is known.
#[cfg(not(target_arch = "x86_64"))]
mod peak {
    use super::Loop;

    pub fn bf16() -> Option<Loop> {
        None
    }

    pub fn f32() -> Option<Loop> {
        None
    }
}
