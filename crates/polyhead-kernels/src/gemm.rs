//! Matrix products, `C = A B`, with the work split over parts of C whose size depends on the shapes alone.
//!
//! The products themselves are those of the `gemm` crate (AVX-512, AVX2 + FMA, NEON, portable, chosen at run time). Its
//! own threading is not used: here one call makes one part of C from start to end, so that any number of threads gives
//! the same bits.

use crate::storage::Parts;
use rayon::prelude::*;

/// How a factor of a product lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Row by row, as it stands in the product.
    Plain,
    /// Row by row, but to be read transposed.
    Transposed,
}

/// A factor of a product: its numbers, `rows x columns` as they stand in the product, and its form.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    form: Form,
}

impl<'a> Factor<'a> {
    /// A matrix as it stands: `rows x columns`, row by row.
    pub fn plain(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns, form: Form::Plain }
    }

    /// The transpose of a matrix of `columns x rows` that lies row by row: `rows x columns` in the product.
    pub fn transposed(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { form: Form::Transposed, ..Self::plain(values, rows, columns) }
    }

    fn strides(&self) -> (isize, isize) {
        match self.form {
            Form::Plain => (self.columns as isize, 1),
            Form::Transposed => (1, self.rows as isize),
        }
    }
}

/// `A B`, `[m, n]` row by row, where A is `m x k` and B is `k x n`.
pub fn matmul(a: Factor, b: Factor) -> Vec<f32> {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "A is {m} x {k} but B is {} x {n}", b.rows);
    let mut c = vec![0.0; m * n];
    if m == 0 || n == 0 || k == 0 {
        return c;
    }
    let ((a_row, a_column), (b_row, b_column)) = (a.strides(), b.strides());
    let parts = Parts::new(&mut c);
    let block = block_of(m.max(n));
    (0..m.max(n).div_ceil(block)).into_par_iter().for_each(|task| {
        let start = task * block;
        let (rows, columns) =
            if m >= n { (start..m.min(start + block), 0..n) } else { (0..m, start..n.min(start + block)) };
        // SAFETY: each task writes its own rows (or columns) of C, and reads parts of A and B that `Factor` checked.
        unsafe {
            multiply(
                [rows.len(), columns.len(), k],
                Strided(parts.pointer(rows.start * n + columns.start), n as isize, 1),
                Strided(a.values.as_ptr().offset(rows.start as isize * a_row), a_row, a_column),
                Strided(b.values.as_ptr().offset(columns.start as isize * b_column), b_row, b_column),
                1.0,
            );
        }
    });
    c
}

/// The rows (or columns) of C that one task makes: about eight tasks, none too small to pay for its packing.
fn block_of(len: usize) -> usize {
    len.div_ceil(8).next_multiple_of(32).max(64)
}

/// A pointer to the first number of a matrix, with the distances from row to row and from column to column.
#[derive(Clone, Copy)]
pub(crate) struct Strided<P>(pub P, pub isize, pub isize);

/// `C = factor * A B` for strided matrices in one thread; `shape` is `[m, n, k]`.
///
/// # Safety
/// All elements must lie in live allocations, those of C must not be touched by anyone else, and they must be
/// initialised (they are not read).
pub(crate) unsafe fn multiply(
    shape: [usize; 3],
    c: Strided<*mut f32>,
    a: Strided<*const f32>,
    b: Strided<*const f32>,
    factor: f32,
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
            false,
            a.0,
            a.2,
            a.1,
            b.0,
            b.2,
            b.1,
            0.0,
            factor,
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

/// `total += values`.
pub(crate) fn add_to(total: &mut [f32], values: &[f32]) {
    for (t, v) in total.iter_mut().zip(values) {
        *t += v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn a_product_is_that_of_three_loops_in_every_form() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (1, 200, 33), (200, 1, 33), (130, 70, 64), (70, 300, 20)] {
            let key = Key::seed((m * n * k) as u64);
            let a: Vec<f32> = (0..m * k).map(|i| key.normal(i as u64) as f32).collect();
            let b: Vec<f32> = (0..k * n).map(|i| key.with(1).normal(i as u64) as f32).collect();
            let transpose = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
            };
            let want: Vec<f32> = (0..m * n)
                .map(|i| (0..k).map(|j| f64::from(a[i / n * k + j]) * f64::from(b[j * n + i % n])).sum::<f64>() as f32)
                .collect();
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            for got in [
                matmul(Factor::plain(&a, m, k), Factor::plain(&b, k, n)),
                matmul(Factor::transposed(&at, m, k), Factor::plain(&b, k, n)),
                matmul(Factor::plain(&a, m, k), Factor::transposed(&bt, k, n)),
                matmul(Factor::transposed(&at, m, k), Factor::transposed(&bt, k, n)),
            ] {
                for (g, w) in got.iter().zip(&want) {
                    assert!((g - w).abs() < 1e-4 * (1.0 + w.abs()), "{m}x{n}x{k}: {g} for {w}");
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let key = Key::seed(9);
        let a: Vec<f32> = (0..300 * 170).map(|i| key.normal(i) as f32).collect();
        let b: Vec<f32> = (0..170 * 210).map(|i| key.with(1).normal(i) as f32).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let c = matmul(Factor::plain(&a, 300, 170), Factor::plain(&b, 170, 210));
                (c.clone(), sum_rows(300, 210, |row, sums| add_to(sums, &c[row * 210..(row + 1) * 210])))
            })
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{threads} threads differ from one");
        }
    }
}
