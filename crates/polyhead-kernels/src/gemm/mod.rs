//! Matrix products, `C = A B`, with the work split over parts of C whose size depends on the shapes alone.
//!
//! In f32 the products themselves are those of the `gemm` crate (AVX-512, AVX2 + FMA, NEON, portable, chosen at run time).
//! Its own threading is not used: here one call makes one part of C from start to end, so that any number of threads gives
//! the same bits. In bf16 they are our own ([`bf16`]): nothing kept does them on this processor.
//!
//! What becomes of C is up to a [`Sink`]: it gets the parts of C while they are in the processor's cache, so that a bias,
//! an activation or a whole LayerNorm costs no pass over memory of its own.

pub(crate) mod bf16;
mod matrix;

pub(crate) use matrix::{Matrix, StoreMatrix, Values, Writer};

use crate::storage::Parts;
use rayon::prelude::*;
use std::ops::Range;

/// What products are computed in. Sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Factors rounded to bf16. On a processor without the instructions this is f32.
    Bf16,
}

impl Precision {
    /// `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// bf16 where the processor multiplies it natively.
    pub fn auto() -> Self {
        if bf16::available() { Self::Bf16 } else { Self::F32 }
    }

    /// This precision where the processor has it, else f32.
    #[must_use]
    pub fn here(self) -> Self {
        if Self::auto() == Self::Bf16 { self } else { Self::F32 }
    }
}

/// A finished part of C: `values[r * stride + c]` is the element `(row + r, column + c)`, for the sink to change at will.
pub(crate) struct Part<'a> {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
    pub values: &'a mut [f32],
    pub stride: usize,
}

impl Part<'_> {
    /// The rows of this part, each with its number in C.
    pub(crate) fn each_row(&mut self) -> impl Iterator<Item = (usize, &mut [f32])> {
        let (row, columns) = (self.row, self.columns);
        self.values.chunks_mut(self.stride).take(self.rows).enumerate().map(move |(r, x)| (row + r, &mut x[..columns]))
    }
}

/// Where the parts of C go.
pub(crate) trait Sink: Sync {
    /// What is added to every row of C before anyone sees it.
    fn bias(&self) -> Option<&[f32]> {
        None
    }

    /// Where the element `(row, column)` of C is to be stored, and how far it is from row to row, if the sink wants
    /// nothing but to have C in memory: its parts then go straight there, and [`Sink::part`] is not called.
    fn place(&self, _row: usize, _column: usize) -> Option<(*mut f32, usize)> {
        None
    }

    /// Takes a part. Every element of C comes once, from any thread.
    fn part(&self, part: Part<'_>);

    /// All columns of these rows have come; every row is named once, from any thread.
    fn rows(&self, _rows: Range<usize>) {}
}

/// C as an f32 matrix `[rows, columns]`, or added to one.
pub(crate) struct Store<'a> {
    values: Parts<'a, f32>,
    columns: usize,
    bias: Option<&'a [f32]>,
    /// Whether the matrix holds something that C is added to.
    add: bool,
}

impl<'a> Store<'a> {
    pub(crate) fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self { values: Parts::new(values), columns, bias: None, add: false }
    }

    /// Adds a bias to every row.
    pub(crate) fn with_bias(self, bias: Option<&'a [f32]>) -> Self {
        Self { bias, ..self }
    }

    /// Adds C to what is there.
    pub(crate) fn adding(self, add: bool) -> Self {
        Self { add, ..self }
    }
}

impl Sink for Store<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn place(&self, row: usize, column: usize) -> Option<(*mut f32, usize)> {
        (!self.add).then(|| (self.values.pointer(row * self.columns + column), self.columns))
    }

    fn part(&self, mut part: Part<'_>) {
        let Part { column, columns, .. } = part;
        for (row, values) in part.each_row() {
            // SAFETY: each element comes once.
            add_to(unsafe { self.values.part(row * self.columns + column, columns) }, values);
        }
    }
}

/// How a factor of a product lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Row by row, as it stands in the product.
    Plain,
    /// Row by row, but to be read transposed.
    Transposed,
}

/// A factor of a product in f32: its numbers, `rows x columns` as they stand in the product, and its form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
    form: Form,
}

impl<'a> Factor<'a> {
    /// A matrix as it stands: `rows x columns`, row by row.
    pub(crate) fn plain(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns, stride: columns, form: Form::Plain }
    }

    /// The transpose of a matrix of `columns x rows` that lies row by row: `rows x columns` in the product.
    pub(crate) fn transposed(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {columns} x {rows}");
        Self { values, rows, columns, stride: rows, form: Form::Transposed }
    }

    /// Of a transposed factor, the rows of this range.
    pub(crate) fn rows_of_transposed(self, rows: Range<usize>) -> Self {
        assert!(self.form == Form::Transposed && rows.end <= self.rows);
        Self { values: &self.values[rows.start.min(self.values.len())..], rows: rows.len(), ..self }
    }

    fn strided(&self) -> Strided<*const f32> {
        match self.form {
            Form::Plain => Strided(self.values.as_ptr(), self.stride as isize, 1),
            Form::Transposed => Strided(self.values.as_ptr(), 1, self.stride as isize),
        }
    }
}

/// `A B` in f32, handed to `sink` part by part; A is `m x k` and B `k x n`.
pub(crate) fn product_f32<S: Sink>(a: Factor, b: Factor, sink: &S) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "A is {m} x {k} but B is {} x {n}", b.rows);
    if m == 0 || n == 0 {
        return;
    }
    // About eight tasks, none too small to pay for its packing: blocks of rows, or of columns where there are more.
    let block = m.max(n).div_ceil(8).next_multiple_of(32).max(64);
    let (a, b) = (a.strided(), b.strided());
    let (a, b) = (Shared(a), Shared(b));
    let run = |task: usize| {
        let (a, b) = (&a, &b);
        let start = task * block;
        let (rows, columns) =
            if m >= n { (start..m.min(start + block), 0..n) } else { (0..m, start..n.min(start + block)) };
        let (stride, whole) = (columns.len(), columns.len() == n);
        let placed = sink.place(rows.start, columns.start);
        let mut scratch = crate::workspace::Buffer::uninit(if placed.is_some() { 0 } else { rows.len() * stride });
        let (c, c_stride) = placed.unwrap_or((scratch.as_mut_ptr(), stride));
        // SAFETY: C is ours, or the sink's for these rows and columns; the parts of A and B lie in what `Factor` checked.
        unsafe {
            multiply(
                [rows.len(), columns.len(), k],
                Strided(c, c_stride as isize, 1),
                Strided(a.0.0.offset(rows.start as isize * a.0.1), a.0.1, a.0.2),
                Strided(b.0.0.offset(columns.start as isize * b.0.2), b.0.1, b.0.2),
                false,
            );
            if let Some(bias) = sink.bias() {
                for row in 0..rows.len() {
                    add_to(std::slice::from_raw_parts_mut(c.add(row * c_stride), stride), &bias[columns.clone()]);
                }
            }
        }
        if placed.is_none() {
            let values = &mut scratch;
            sink.part(Part {
                row: rows.start,
                column: columns.start,
                rows: rows.len(),
                columns: stride,
                values,
                stride,
            });
        }
        if whole {
            sink.rows(rows);
        }
    };
    let tasks = m.max(n).div_ceil(block);
    match tasks {
        1 => run(0),
        _ => (0..tasks).into_par_iter().for_each(run),
    }
    if m < n && tasks > 1 {
        sink.rows(0..m);
    }
}

/// A pointer that tasks share to read.
struct Shared(Strided<*const f32>);
// SAFETY: what it points at is borrowed for as long as the tasks run, and only read.
unsafe impl Sync for Shared {}

/// `A B` in f32: `[m, n]` row by row; `bias` of length n is added to every row.
pub(crate) fn matmul(a: Factor, b: Factor, bias: Option<&[f32]>) -> Vec<f32> {
    let (m, n) = (a.rows, b.columns);
    assert!(bias.is_none_or(|bias| bias.len() == n), "a bias of another length than {n}");
    let mut c = crate::storage::uninit(m * n);
    product_f32(a, b, &Store::new(&mut c, n).with_bias(bias));
    c
}

/// A pointer to the first number of a matrix, with the distances from row to row and from column to column.
#[derive(Clone, Copy)]
pub(crate) struct Strided<P>(pub P, pub isize, pub isize);

/// `C = A B` for strided matrices in one thread, or `C += A B`; `shape` is `[m, n, k]`.
///
/// # Safety
/// All elements must lie in live allocations, and those of C must not be touched by anyone else.
pub(crate) unsafe fn multiply(
    shape: [usize; 3],
    c: Strided<*mut f32>,
    a: Strided<*const f32>,
    b: Strided<*const f32>,
    add: bool,
) {
    let [m, n, k] = shape;
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.0,
            c.2,
            c.1,
            add,
            a.0,
            a.2,
            a.1,
            b.0,
            b.2,
            b.1,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The sum over rows of a `[rows, columns]` matrix that is given row by row as a function of the row.
///
/// `add(row, sums)` adds a row to the sums. Blocks of a fixed number of rows are summed in parallel and then in order.
pub(crate) fn sum_rows(rows: usize, columns: usize, add: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    const BLOCK: usize = 64;
    let partial: Vec<Vec<f32>> = (0..rows.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![0.0; columns];
            for row in block * BLOCK..rows.min((block + 1) * BLOCK) {
                add(row, &mut sums);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; columns];
    for sums in &partial {
        add_to(&mut total, sums);
    }
    total
}

crate::math::simd! {
    /// `total += values`.
    pub(crate) fn add_to(total: &mut [f32], values: &[f32]) {
        for (t, v) in total.iter_mut().zip(values) {
            *t += v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bf16::{Left, Panels, Transposed, available, product_into};
    use super::*;
    use crate::rng::Key;

    /// `[m, n, k]`: edges of tiles, of panels, of tasks; odd lengths; as many rows as make tasks of whole rows.
    const SHAPES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [3, 5, 7],
        [1, 200, 33],
        [200, 1, 33],
        [130, 70, 64],
        [8, 48, 96],
        [205, 98, 131],
        [600, 50, 20],
        [70, 300, 20],
    ];

    fn normal(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| Key::seed(seed).normal(i) as f32).collect()
    }

    fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
    }

    /// Three loops in f64, over factors that are changed first.
    fn reference([m, n, k]: [usize; 3], a: &[f32], b: &[f32], change: fn(f32) -> f32) -> Vec<f32> {
        let product = |i: usize, j: usize, p: usize| f64::from(change(a[i * k + p])) * f64::from(change(b[p * n + j]));
        (0..m * n).map(|at| (0..k).map(|p| product(at / n, at % n, p)).sum::<f64>() as f32).collect()
    }

    fn assert_close(shape: [usize; 3], what: &str, got: &[f32], want: &[f32]) {
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-4 * (1.0 + w.abs()), "{shape:?} {what}: {g} for {w}");
        }
        assert_eq!(got.len(), want.len());
    }

    #[test]
    fn products_in_f32_are_those_of_three_loops_in_every_form() {
        for [m, n, k] in SHAPES {
            let (a, b, bias) = (normal(1, m * k), normal(2, k * n), normal(3, n));
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let want = reference([m, n, k], &a, &b, |x| x);
            for a in [Factor::plain(&a, m, k), Factor::transposed(&at, m, k)] {
                for b in [Factor::plain(&b, k, n), Factor::transposed(&bt, k, n)] {
                    assert_close([m, n, k], "plain", &matmul(a, b, None), &want);
                    let unbiased: Vec<f32> =
                        matmul(a, b, Some(&bias)).iter().enumerate().map(|(i, x)| x - bias[i % n]).collect();
                    assert_close([m, n, k], "biased", &unbiased, &want);
                }
            }
        }
    }

    /// Rounded to bf16 (ties to even) a product is exact in f32, so the tolerance is that of f32 sums.
    fn to_bf16(x: f32) -> f32 {
        f32::from_bits((x.to_bits() + 0x7fff + (x.to_bits() >> 16 & 1)) & 0xffff_0000)
    }

    #[test]
    fn products_in_bf16_are_those_of_rounded_factors_in_every_form() {
        if !available() {
            eprintln!("skipped: this processor does not multiply bf16");
            return;
        }
        for [m, n, k] in SHAPES {
            let (a, b) = (normal(1, m * k), normal(2, k * n));
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let want = reference([m, n, k], &a, &b, to_bf16);
            let rounded = |rows, columns, values: &[f32]| {
                let matrix = Matrix::rounded(Precision::Bf16, rows, columns, values);
                let Values::Bf16(pairs) = matrix.values else { panic!("not rounded") };
                pairs
            };
            let (a, at, b_rounded) = (rounded(m, k, &a), rounded(k, m, &at), rounded(k, n, &b));
            let bt_rounded = rounded(n, k, &bt);
            let turned = Transposed::new(&at, k, 0..m, m.div_ceil(2));
            let mut across = vec![0; k.div_ceil(2) * m];
            for (p, across) in across.chunks_exact_mut(m).enumerate() {
                let row = |row: usize| &at[row * m.div_ceil(2)..][..m.div_ceil(2)];
                super::bf16::interleave(across, row(2 * p), (2 * p + 1 < k).then(|| row(2 * p + 1)));
            }
            let (columns, rows): (Vec<&[f32]>, Vec<&[f32]>) = (bt.chunks(k).collect(), b.chunks(n).collect());
            let (along, across_rows) = (Panels::along(&columns), Panels::across(&rows));
            let along_rounded = Panels::along_rounded(&bt_rounded, n, k, k.div_ceil(2));
            let across_rounded = Panels::across_rounded(&b_rounded, k, n, n.div_ceil(2));
            for left in [Left::plain(&a, m, k.div_ceil(2)), turned.left(), Left::across(&across, m)] {
                for right in [&along, &across_rows, &along_rounded, &across_rounded] {
                    let mut c = vec![f32::NAN; m * n];
                    super::bf16::product(left, right, &Store::new(&mut c, n));
                    assert_close([m, n, k], "in parts", &c, &want);
                    super::bf16::product(left, right, &Store::new(&mut c, n).adding(true));
                    assert_close([m, n, k], "added", &c, &want.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
                    // SAFETY: c holds m rows of n.
                    unsafe { product_into(left, right, c.as_mut_ptr(), n) };
                    assert_close([m, n, k], "in one thread", &c, &want);
                }
            }
        }
    }

    #[test]
    fn every_row_ends_once_after_all_its_columns() {
        use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        struct Count(Vec<AtomicUsize>, Vec<AtomicUsize>, usize);
        impl Sink for Count {
            fn part(&self, mut part: Part<'_>) {
                let columns = part.columns;
                part.each_row().for_each(|(row, _)| _ = self.0[row].fetch_add(columns, Relaxed));
            }
            fn rows(&self, rows: Range<usize>) {
                for row in rows {
                    assert_eq!(self.0[row].load(Relaxed), self.2, "row {row} ended early");
                    self.1[row].fetch_add(1, Relaxed);
                }
            }
        }
        for [m, n, k] in SHAPES {
            let (a, b) = (normal(1, m * k), normal(2, k * n));
            let zeros = || (0..m).map(|_| AtomicUsize::new(0)).collect();
            let mut sinks = vec![Count(zeros(), zeros(), n)];
            product_f32(Factor::plain(&a, m, k), Factor::plain(&b, k, n), &sinks[0]);
            if available() {
                sinks.push(Count(zeros(), zeros(), n));
                let Values::Bf16(a) = Matrix::rounded(Precision::Bf16, m, k, &a).values else { panic!() };
                let panels = Panels::across(&b.chunks(n).collect::<Vec<_>>());
                super::bf16::product(Left::plain(&a, m, k.div_ceil(2)), &panels, &sinks[1]);
            }
            for sink in &sinks {
                assert!(sink.1.iter().all(|count| count.load(Relaxed) == 1), "{m} x {n}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (a, b) = (normal(1, 700 * 170), normal(2, 170 * 210));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let c = matmul(Factor::plain(&a, 700, 170), Factor::plain(&b, 170, 210), None);
                let mut rounded = vec![0.0; 700 * 210];
                if let Values::Bf16(a) = Matrix::rounded(Precision::Bf16, 700, 170, &a).values {
                    let panels = Panels::across(&b.chunks(210).collect::<Vec<_>>());
                    super::bf16::product(Left::plain(&a, 700, 85), &panels, &Store::new(&mut rounded, 210));
                }
                (sum_rows(700, 210, |row, sums| add_to(sums, &c[row * 210..(row + 1) * 210])), c, rounded)
            })
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{threads} threads differ from one");
        }
    }
}
