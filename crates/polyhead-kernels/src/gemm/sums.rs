//! Sums over the rows of a matrix, in blocks whose size depends on nothing but the shape.

use super::matrix::Matrix;
use rayon::prelude::*;

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

/// The sums of the columns of a matrix.
pub(crate) fn column_sums(matrix: &Matrix) -> Vec<f32> {
    const BLOCK: usize = 256;
    sum_rows(matrix.rows, matrix.columns, |row, sums| {
        let mut values = [0.0; BLOCK];
        for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
            let values = &mut values[..sums.len()];
            matrix.read(row, block * BLOCK, values);
            add_to(sums, values);
        }
    })
}

crate::math::simd! {
    /// `total += values`.
    pub(crate) fn add_to(total: &mut [f32], values: &[f32]) {
        for (t, v) in total.iter_mut().zip(values) {
            *t += v;
        }
    }
}
