//! Dropout with a keyed mask (Srivastava et al., 2014).
//!
//! ```text
//! forward   y = x m / (1 - rate),  m = 1 where hash(key, index) says so, else 0
//! backward  dx = dy m / (1 - rate)
//! ```
//!
//! The mask is a function of the key and the element's index: nothing is stored for the backward pass, and nothing has
//! to be restored when a run resumes.

use crate::math::simd;
use crate::rng::{Key, hash32};
use crate::storage::{f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const BLOCK: usize = 16 * 1024;

/// What to drop: a rate and the key of the mask.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: Key,
    /// The hash is compared with this in its upper 24 bits.
    keep_below: u32,
    scale: f32,
}

impl Dropout {
    /// Drops nothing: evaluation.
    pub const OFF: Option<Dropout> = None;

    /// Drops each element with probability `rate` in `0 .. 1`; `None` for a rate of 0.
    pub fn new(rate: f64, key: Key) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            key,
            keep_below: ((1.0 - rate) * f64::from(1u32 << 24)).round() as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
        })
    }

    /// The mask of part `index` of a larger whole (a head of a sequence, say).
    pub(crate) fn part(self, index: u64) -> Self {
        Self { key: self.key.with(index), ..self }
    }

    /// What multiplies the elements from `start` on: 0 or `1 / (1 - rate)`, as a function of the offset.
    #[inline(always)]
    pub(crate) fn factors(&self, start: u32) -> impl Fn(u32) -> f32 + use<> {
        let (key, keep_below, scale) = (self.key.narrow(), self.keep_below, self.scale);
        move |offset| if (hash32(key, start.wrapping_add(offset)) >> 8) < keep_below { scale } else { 0.0 }
    }

    /// The mask as a tensor, for the plain twins.
    pub(crate) fn mask(&self, shape: &Shape, device: &candle_core::Device) -> Result<Tensor> {
        let factor = self.factors(0);
        Tensor::from_vec((0..shape.elem_count() as u32).map(factor).collect::<Vec<f32>>(), shape, device)
    }
}

/// Drops elements of x of any shape; the identity for `None`.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    let Some(dropout) = dropout else { return Ok(x.clone()) };
    if !x.device().is_cpu() {
        return plain(x, Some(dropout));
    }
    x.contiguous()?.apply_op1(Mask(dropout))
}

/// The same in candle's own operators.
pub fn plain(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout {
        Some(dropout) => x.mul(&dropout.mask(x.shape(), x.device())?),
        None => Ok(x.clone()),
    }
}

struct Mask(Dropout);

impl Mask {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(BLOCK)
            .zip(x.par_chunks(BLOCK))
            .enumerate()
            .for_each(|(block, (y, x))| apply(y, x, self.0, (block * BLOCK) as u32));
        y
    }
}

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(f32s("dropout", x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = with_f32s([dy], |[dy]| Ok(self.apply(dy)))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

simd! {
    fn apply(y: &mut [f32], x: &[f32], dropout: Dropout, start: u32) {
        let factor = dropout.factors(start);
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            *y = x * factor(i as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        let drop = Dropout::new(0.3, Key::seed(1));
        assert_twins(&[normal(1, &[50_000])], |[x]| dropout(x, drop), |[x]| plain(x, drop), 1e-7);
        assert!(Dropout::new(0.0, Key::seed(1)).is_none());
    }

    #[test]
    fn it_drops_the_stated_share_and_keeps_the_mean() {
        let ones = Tensor::ones(200_000, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let y: Vec<f32> = dropout(&ones, Dropout::new(0.1, Key::seed(2))).unwrap().to_vec1().unwrap();
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.1).abs() < 0.003, "{dropped}");
        let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
        // Neighbours must be independent: pairs are both dropped about once in a hundred.
        let pairs = y.windows(2).filter(|w| w[0] == 0.0 && w[1] == 0.0).count() as f64 / y.len() as f64;
        assert!((pairs - 0.01).abs() < 0.002, "{pairs}");
    }
}
