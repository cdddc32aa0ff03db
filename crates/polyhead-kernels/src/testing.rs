//! What the operators' tests share: random tensors, and the comparison of an operator with its plain reference.

use crate::activation::Activation;
use crate::gemm::Precision;
use crate::layer_norm::Norm;
use crate::linear::{Linear, Part};
#[cfg(target_arch = "x86_64")]
use crate::math::Instructions;
use crate::ops::{Attention, Body, Ops, TaskBody};
use crate::pass::{DropoutAt, Index, Inputs, Pass};
use crate::plain::Plain;
use crate::rng::Key;
use crate::segments::Segments;
use crate::tape::Tape;
use crate::value::Value;
use crate::weight::Weight;
use candle_core::{Device, Result, Tensor, Var};
use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;
use std::sync::Arc;

/// How far an operator may be from its reference: the root mean square of the differences as a share of that of the values,
/// and the largest difference as a share of the largest value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    mean: f32,
    most: f32,
}

impl From<f32> for Tolerance {
    fn from(most: f32) -> Self {
        Self { mean: most, most }
    }
}

/// The precisions with the tolerance of an operator in each. A number rounded to bf16 is off by up to 2^-9 = 0.002 of
/// itself; several roundings follow one another, and once in thousands of cases they all fall one way.
pub(crate) const PRECISIONS: [(Precision, Tolerance); 2] =
    [(Precision::F32, Tolerance { mean: 2e-5, most: 2e-5 }), (Precision::Bf16, Tolerance { mean: 2e-2, most: 5e-2 })];

/// So many random cases, the same ones in every run: of thousands, one has a sum in bf16 that all but cancels out, and a
/// failure that comes and goes helps nobody.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

/// A tensor of standard normal numbers.
pub(crate) fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let (key, count) = (Key::seed(seed).with(shape.len() as u64), shape.iter().product::<usize>() as u64);
    let values: Vec<f32> = (0..count).map(|i| key.normal(i) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Where the plain references run: on the CPU, and on the first CUDA device where polyhead is built for one.
pub(crate) fn reference_device() -> Device {
    Device::cuda_if_available(0).expect("built with the feature `cuda`: the tests need a CUDA device")
}

/// What `simd!` is to use: 0 leaves it to the processor, else one more than the number of the instruction set.
#[cfg(target_arch = "x86_64")]
static CHOSEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// The instruction set that a test chose for now; other tests may run meanwhile, as it is to change no bit.
#[cfg(target_arch = "x86_64")]
pub(crate) fn chosen_instructions() -> Option<Instructions> {
    match CHOSEN.load(std::sync::atomic::Ordering::Relaxed) {
        1 => Some(Instructions::Baseline),
        2 => Some(Instructions::Avx2),
        3 => Some(Instructions::Avx512),
        _ => None,
    }
}

/// Computes once with each instruction set that `simd!` compiles for and the processor has, and asserts that the bits are
/// the same.
pub(crate) fn assert_same_on_every_instruction_set(compute: impl Fn() -> Vec<f32>) {
    let bits = || compute().into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    let best = bits();
    assert!(!best.is_empty());
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::atomic::Ordering::Relaxed;
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all = [Instructions::Baseline, Instructions::Avx2, Instructions::Avx512];
        for (number, set) in (1..).zip(all).filter(|(_, set)| *set <= crate::math::detected()) {
            CHOSEN.store(number, Relaxed);
            let got = bits();
            CHOSEN.store(0, Relaxed);
            assert!(got == best, "{set:?} differs from the best that the processor has");
        }
    }
}

fn on(device: &Device, args: &[Tensor]) -> Vec<Tensor> {
    args.iter().map(|arg| arg.to_device(device).unwrap()).collect()
}

/// A layer of weights and biases side by side.
pub(crate) fn weights<const N: usize>(parts: [(&Weight, &Weight); N]) -> Arc<Linear> {
    Arc::new(Linear::new(parts.map(|(weight, bias)| Part::new(weight.clone(), Some(bias.clone()))).into()))
}

/// Asserts that two functions have the same value and, under a random linear loss, the same gradients.
pub(crate) fn assert_matches_reference<const N: usize>(
    args: &[Tensor; N],
    fused: impl Fn([&Tensor; N]) -> Result<Tensor>,
    plain: impl Fn([&Tensor; N]) -> Result<Tensor>,
    tolerance: impl Into<Tolerance>,
) {
    assert_all_close(&run(args, &fused, &Device::Cpu), &run(args, &plain, &reference_device()), tolerance.into());
}

/// The tape without its fused methods: their default bodies, of primitives.
struct Primitives(Tape);

impl Ops for Primitives {
    fn parameter(&mut self, weight: &Weight) -> Result<Value> {
        self.0.parameter(weight)
    }
    fn table(&mut self, weight: &Weight) -> Result<Value> {
        self.0.table(weight)
    }
    fn gated(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        self.0.gated(x, activation)
    }
    fn neighbours(&mut self, x: &Value, size: usize) -> Result<Value> {
        self.0.neighbours(x, size)
    }
    fn embedding(&mut self, table: &Weight, index: Index) -> Result<Value> {
        self.0.embedding(table, index)
    }
    fn product(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value> {
        self.0.product(x, layer)
    }
    fn activation(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        self.0.activation(x, activation)
    }
    fn weighted_sum(&mut self, values: &[(&Value, f32)]) -> Result<Value> {
        self.0.weighted_sum(values)
    }
    fn layer_norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        self.0.layer_norm(x, norm)
    }
    fn dropout(&mut self, x: &Value, dropout: DropoutAt) -> Result<Value> {
        self.0.dropout(x, dropout)
    }
    fn attention(&mut self, qkv: &Value, attention: Attention) -> Result<Value> {
        self.0.attention(qkv, attention)
    }
    fn select_rows(&mut self, x: &Value, index: Index) -> Result<Value> {
        self.0.select_rows(x, index)
    }
    fn pair_dots(&mut self, x: &Value, y: &Value) -> Result<Value> {
        self.0.pair_dots(x, y)
    }
    fn mean_ranges(&mut self, x: &Value) -> Result<Value> {
        self.0.mean_ranges(x)
    }
    fn recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value> {
        body(self, x, beside)
    }
    fn affine(&mut self, x: &Value, affine: &crate::Affine) -> Result<Value> {
        self.0.affine(x, affine)
    }

    fn stitched(&mut self, values: &[&Value], stitch: &crate::Stitch) -> Result<Value> {
        self.0.stitched(values, stitch)
    }

    fn concat(&mut self, values: &[&Value]) -> Result<Value> {
        self.0.concat(values)
    }
    fn of_each_task(&mut self, values: &[&Value], body: &TaskBody) -> Result<Value> {
        self.0.of_each_task(values, body)
    }
}

/// A backend, as a test asks for it.
#[derive(Clone, Copy, PartialEq)]
enum Backend {
    Fused(Precision),
    Primitives(Precision),
    Plain,
}

/// The value of operators, and the gradients of their arguments under a random linear loss; none of the arguments that are
/// frozen. Only the value, where the pass does not train.
fn run_on<const N: usize>(
    backend: Backend,
    pass: Pass,
    inputs: &Inputs,
    args: &[Tensor; N],
    frozen: &[usize],
    operator: &impl Fn(&mut dyn Ops, [&Weight; N]) -> Result<Value>,
) -> (Tensor, Vec<Option<Tensor>>) {
    let device = if backend == Backend::Plain { reference_device() } else { Device::Cpu };
    let weights: Vec<Weight> = on(&device, args).iter().map(|arg| Weight::new(arg).unwrap()).collect();
    frozen.iter().for_each(|&at| weights[at].freeze());
    let (weight, inputs) = (std::array::from_fn(|i| &weights[i]), Arc::new(inputs.clone()));
    let y = match backend {
        Backend::Plain => {
            let mut ops = Plain::new(pass, inputs);
            let value = operator(&mut ops, weight).unwrap();
            ops.finish(&[value]).unwrap()
        }
        Backend::Fused(precision) => {
            let mut tape = Tape::new(precision, pass, inputs);
            let value = operator(&mut tape, weight).unwrap();
            tape.finish(&[value]).unwrap()
        }
        Backend::Primitives(precision) => {
            let mut ops = Primitives(Tape::new(precision, pass, inputs));
            let value = operator(&mut ops, weight).unwrap();
            ops.0.finish(&[value]).unwrap()
        }
    };
    let y = &y[0];
    if !pass.trains() {
        return (y.clone(), Vec::new());
    }
    let loss = normal(99, y.dims()).to_device(&device).unwrap();
    let grads = y.mul(&loss).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |weight: &Weight| match weight.take_gradient() {
        Some(gradient) => Some(gradient.to_tensor(weight.dims()).unwrap()),
        None => grads.get(weight.var().unwrap()).cloned(),
    };
    (y.clone(), weights.iter().map(of).collect())
}

/// Asserts that operators have the values and gradients of plain candle's: fused, and composed of primitives inside the
/// tape; in training and in evaluation; and that a frozen weight has no gradient and changes no other one.
pub(crate) fn assert_tape_on<const N: usize>(
    inputs: &Inputs,
    args: &[Tensor; N],
    precision: Precision,
    operator: impl Fn(&mut dyn Ops, [&Weight; N]) -> Result<Value>,
    tolerance: impl Into<Tolerance>,
) {
    let tolerance = tolerance.into();
    let train = Pass::train(Key::seed(3));
    let run = |backend, pass, frozen: &[usize]| run_on(backend, pass, inputs, args, frozen, &operator);
    let all = |(value, gradients): (Tensor, Vec<Option<Tensor>>)| -> Vec<Tensor> {
        let gradients = gradients.into_iter().map(|gradient| gradient.expect("every argument has a gradient"));
        std::iter::once(value).chain(gradients).collect()
    };
    let want = all(run(Backend::Plain, train, &[]));
    let got = all(run(Backend::Fused(precision), train, &[]));
    assert_all_close(&got, &want, tolerance);
    assert_all_close(&all(run(Backend::Primitives(precision), train, &[])), &want, tolerance);

    let want_value = all(run(Backend::Plain, Pass::Evaluate, &[]));
    let value = all(run(Backend::Fused(precision), Pass::Evaluate, &[]));
    assert_all_close(&value, &want_value, tolerance);
    if flat(&want_value[0]) == flat(&want[0]) {
        assert_eq!(flat(&got[0]), flat(&value[0]), "a pass that trains without dropout computes something else");
    }

    let still = args.iter().map(Tensor::elem_count).sum::<usize>() % N;
    let (_, gradients) = run(Backend::Fused(precision), train, &[still]);
    for (at, gradient) in gradients.iter().enumerate() {
        match gradient {
            None => assert_eq!(at, still, "argument {at} has lost its gradient"),
            Some(gradient) => {
                assert_ne!(at, still, "a frozen argument has a gradient");
                assert_eq!(flat(gradient), flat(&got[1 + at]), "argument {at} with argument {still} frozen");
            }
        }
    }
}

/// The same of operators on a batch of one sequence.
pub(crate) fn assert_tape<const N: usize>(
    args: &[Tensor; N],
    precision: Precision,
    operator: impl Fn(&mut dyn Ops, [&Weight; N]) -> Result<Value>,
    tolerance: impl Into<Tolerance>,
) {
    let rows = args.first().map_or(0, |arg| arg.dims()[0]);
    assert_tape_on(&Inputs::of_rows(Segments::packed(&[rows])), args, precision, operator, tolerance);
}

/// The same in every precision, each with its tolerance.
pub(crate) fn assert_tapes<const N: usize>(
    args: &[Tensor; N],
    operator: impl Fn(&mut dyn Ops, [&Weight; N]) -> Result<Value>,
) {
    for (precision, tolerance) in PRECISIONS {
        assert_tape(args, precision, &operator, tolerance);
    }
}

/// The same on a batch of any sequences.
pub(crate) fn assert_tapes_on<const N: usize>(
    inputs: &Inputs,
    args: &[Tensor; N],
    operator: impl Fn(&mut dyn Ops, [&Weight; N]) -> Result<Value>,
) {
    for (precision, tolerance) in PRECISIONS {
        assert_tape_on(inputs, args, precision, &operator, tolerance);
    }
}

/// The value and the gradient of each argument.
fn run<const N: usize>(args: &[Tensor; N], f: &dyn Fn([&Tensor; N]) -> Result<Tensor>, device: &Device) -> Vec<Tensor> {
    let vars: Vec<Var> = on(device, args).iter().map(|arg| Var::from_tensor(arg).unwrap()).collect();
    let y = f(std::array::from_fn(|i| vars[i].as_tensor())).unwrap();
    let loss = y.mul(&normal(99, y.dims()).to_device(device).unwrap()).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut out = vec![y];
    out.extend(vars.iter().map(|var| grads.get(var).expect("every argument has a gradient").clone()));
    out
}

/// A tensor that is a thousand times smaller than the largest is zero in theory (the gradient of keys' biases, which
/// softmax does not see): what rounding left of it is held against the largest.
pub(crate) fn assert_all_close(got: &[Tensor], want: &[Tensor], tolerance: Tolerance) {
    let most = |values: &[f32]| values.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
    let mean = |values: &[f32]| (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt();
    let largest = want.iter().skip(1).map(|want| most(&flat(want))).fold(1e-6, f32::max);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let what = if i == 0 { "value".to_owned() } else { format!("gradient of argument {i}") };
        assert_eq!(got.dims(), want.dims(), "{what}");
        let (got, want) = (flat(got), flat(want));
        let is_zero = i > 0 && most(&want) < 1e-3 * largest;
        let (mean_scale, most_scale) = if is_zero { (largest, largest) } else { (mean(&want).max(1e-6), most(&want)) };
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert!((g - w).abs() <= tolerance.most * most_scale, "{what}[{i}]: {g}, expected {w} of {most_scale}");
        }
        let off = mean(&got.iter().zip(&want).map(|(g, w)| g - w).collect::<Vec<_>>());
        assert!(off <= tolerance.mean * mean_scale, "{what}: off by {off} in the mean, of {mean_scale}");
    }
}

pub(crate) fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gradient;
    use crate::adamw::{AdamW, Moments, Update};

    /// A layer's attention and feed-forward network, there and back, and a step of AdamW on what comes back.
    fn layer_and_step(precision: Precision) -> Vec<f32> {
        let (rows, hidden, inner) = (23, 24, 42);
        let weight = |seed, shape: &[usize]| Weight::new(&(normal(seed, shape) * 0.3).unwrap()).unwrap();
        let (w, b) = (weight(1, &[3 * hidden, hidden]), weight(2, &[3 * hidden]));
        let (up, up_b) = (weight(3, &[inner, hidden]), weight(4, &[inner]));
        let (down, down_b) = (weight(5, &[hidden, inner]), weight(6, &[hidden]));
        let (gamma, beta) = (weight(7, &[hidden]), weight(8, &[hidden]));
        let input = weight(9, &[rows, hidden]);
        let drop = DropoutAt::new(0.2, "output");
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[3, 20])));
        let mut tape = Tape::new(precision, Pass::train(Key::seed(4)), inputs);
        let x = tape.parameter(&input).unwrap();
        let y = tape.self_attention(&x, &weights([(&w, &b)]), Attention::plain(2, drop)).unwrap();
        let y = tape.linear_activation(&y, &weights([(&up, &up_b)]), Activation::Gelu).unwrap();
        let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
        let y = tape.linear_residual_norm(&y, &weights([(&down, &down_b)]), &x, &norm, drop).unwrap();
        let y = tape.finish(&[y]).unwrap().remove(0);
        let loss = y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap();
        loss.backward().unwrap();
        let mut all = flat(&y);
        for weight in [&w, &b, &up, &up_b, &down, &down_b, &gamma, &beta] {
            let gradient = weight.take_gradient().expect("every weight has a gradient");
            let gradient = gradient.to_tensor(weight.dims()).unwrap();
            all.extend(flat(&gradient));
            let (gradient, update) =
                (Gradient::from_tensor(&gradient).unwrap(), Update { lr: 1e-2, decay: 0.1, clip: 0.5 });
            AdamW::default().update(weight, &gradient, &mut Moments::zeros(weight.count()), update).unwrap();
            all.extend(flat(weight.tensor().unwrap()));
        }
        all
    }

    #[test]
    fn a_layer_there_and_back_and_a_step_have_the_same_bits_on_every_instruction_set() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_same_on_every_instruction_set(|| layer_and_step(precision));
        }
    }
}
