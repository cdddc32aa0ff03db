//! The range of a layer's inputs, watched while a model answers: what static quantisation needs to know.

use crate::gemm::Matrix;
use std::sync::{Mutex, PoisonError};

/// The least and the largest number of all inputs so far.
#[derive(Default)]
pub(super) struct InputRange(Mutex<Option<[f32; 2]>>);

impl InputRange {
    /// Takes note of so many columns of an input: behind them stands what low-rank additions multiply.
    pub(super) fn widen(&self, x: &Matrix, columns: usize) {
        let mut row = vec![0.0; x.columns];
        let mut found = self.get();
        for index in 0..x.rows {
            x.read(index, 0, &mut row);
            for &x in &row[..columns] {
                let [low, high] = found.get_or_insert([x, x]);
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// None before the first input.
    pub(super) fn get(&self) -> Option<[f32; 2]> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
