//! Dropout with a keyed mask (Srivastava et al., 2014).
//!
//! ```text
//! forward   y = x m / (1 - rate),  m = 1 where hash(key, index) says so, else 0
//! backward  dx = dy m / (1 - rate)
//! ```
//!
//! The mask is a function of the key and the element's index: nothing is stored for the backward pass, and nothing has
//! to be restored when a run resumes. Rows and sequences are counted from the first of the whole batch, so that a batch
//! that goes through the network in parts ([`Dropout::beginning_at`]) has the masks that it has in one piece.

use crate::math::simd;
use crate::pass::Offset;
use crate::rng::{Key, hash32};
use crate::value::Rows;
use candle_core::{Result, Shape, Tensor};

/// What to drop: a rate and the key of the mask.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: Key,
    /// The hash is compared with this in its upper 24 bits.
    keep_below: u32,
    scale: f32,
    begins: Offset,
    /// The index of the first element, once it is known how many a row has.
    first: u32,
}

impl Dropout {
    /// Drops each element with probability `rate` in `0 .. 1`; `None` for a rate of 0.
    pub fn new(rate: f64, key: Key) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            key,
            keep_below: ((1.0 - rate) * f64::from(1u32 << 24)).round() as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
            begins: Offset::default(),
            first: 0,
        })
    }

    /// The same for a part of a batch that begins here.
    #[must_use]
    pub fn beginning_at(self, begins: Offset) -> Self {
        Self { begins, ..self }
    }

    /// The mask of a matrix with these rows, of this many columns.
    pub(crate) fn of_rows(self, rows: Rows, columns: usize) -> Self {
        Self { first: (self.begins.of(rows) as u32).wrapping_mul(columns as u32), ..self }
    }

    /// The mask of one attention head of a sequence.
    pub(crate) fn of_head(self, sequence: usize, heads: usize, head: usize) -> Self {
        let index = (self.begins.sequences + sequence) as u64 * heads as u64 + head as u64;
        Self { key: self.key.with(index), first: 0, ..self }
    }

    /// What multiplies the elements from `start` on: 0 or `1 / (1 - rate)`, as a function of the offset.
    #[inline(always)]
    pub(crate) fn factors(&self, start: u32) -> impl Fn(u32) -> f32 + use<> {
        let (key, keep_below, scale) = (self.key.narrow(), self.keep_below, self.scale);
        let start = start.wrapping_add(self.first);
        move |offset| if (hash32(key, start.wrapping_add(offset)) >> 8) < keep_below { scale } else { 0.0 }
    }

    /// The mask as a tensor, for the plain references.
    pub(crate) fn mask(&self, shape: &Shape, device: &candle_core::Device) -> Result<Tensor> {
        let factor = self.factors(0);
        Tensor::from_vec((0..shape.elem_count() as u32).map(factor).collect::<Vec<f32>>(), shape, device)
    }
}

simd! {
    /// Multiplies a row with its mask; `start` is the index of its first element.
    pub(crate) fn masked(y: &mut [f32], dropout: Option<Dropout>, start: u32) {
        if let Some(dropout) = dropout {
            let factor = dropout.factors(start);
            for (i, y) in y.iter_mut().enumerate() {
                *y *= factor(i as u32);
            }
        }
    }
}

/// Dropout of x of any shape in candle's own operators; the identity for `None`.
pub(crate) fn plain(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout {
        Some(dropout) => x.mul(&dropout.mask(x.shape(), x.device())?),
        None => Ok(x.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_drops_the_stated_share_and_keeps_the_mean() {
        assert!(Dropout::new(0.0, Key::seed(2)).is_none());
        let mut y = vec![1.0; 200_000];
        masked(&mut y, Dropout::new(0.1, Key::seed(2)), 0);
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.1).abs() < 0.003, "{dropped}");
        let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
        // Neighbours must be independent: pairs are both dropped about once in a hundred.
        let pairs = y.windows(2).filter(|w| w[0] == 0.0 && w[1] == 0.0).count() as f64 / y.len() as f64;
        assert!((pairs - 0.01).abs() < 0.002, "{pairs}");
    }
}
