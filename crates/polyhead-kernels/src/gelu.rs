//! Gaussian error linear unit, the exact one (Hendrycks and Gimpel, arXiv:1606.08415).
//!
//! ```text
//! forward   y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2
//! backward  dx = dy (Φ(x) + x φ(x)),  φ(x) = exp(-x² / 2) / √(2π)
//! ```

use crate::math::{erf, exp, simd};
use crate::storage::{f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const BLOCK: usize = 16 * 1024;

/// GELU of every element.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain(x);
    }
    x.contiguous()?.apply_op1(Gelu)
}

/// The same in candle's own operators.
pub fn plain(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = f32s("gelu", x, layout)?;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| forward(y, x));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = with_f32s([x, dy], |[x, dy]| {
            let mut dx = vec![0.0; x.len()];
            dx.par_chunks_mut(BLOCK)
                .zip(x.par_chunks(BLOCK).zip(dy.par_chunks(BLOCK)))
                .for_each(|(dx, (x, dy))| backward(dx, x, dy));
            Ok(dx)
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

simd! {
    fn forward(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

simd! {
    fn backward(dx: &mut [f32], x: &[f32], dy: &[f32]) {
        let density = 0.398_942_3_f32;
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let distribution = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
            *dx = dy * (distribution + x * density * exp(-0.5 * x * x));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        for shape in [vec![1], vec![3, 77], vec![40_000]] {
            assert_twins(&[normal(1, &shape).affine(3.0, 0.0).unwrap()], |[x]| gelu(x), |[x]| plain(x), 2e-6);
        }
    }
}
