//! Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as PyTorch's `AdamW` counts it.
//!
//! ```text
//! g = clip · grad
//! w = w (1 - lr · decay)
//! m = β₁ m + (1 - β₁) g,   v = β₂ v + (1 - β₂) g²
//! w = w - lr / (1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + ε)
//! ```

use crate::math::simd;
use crate::storage::f32s;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use std::sync::Mutex;

const BLOCK: usize = 16 * 1024;

/// The constants of the method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// The moments of one parameter and how many updates it has had.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// First moment, in the order of the parameter.
    pub first: Vec<f32>,
    /// Second moment, in the order of the parameter.
    pub second: Vec<f32>,
    /// Updates so far. A parameter without a gradient in some step is not updated in it.
    pub updates: u64,
}

impl Moments {
    /// Those of a parameter of `count` elements that was never updated.
    pub fn zeros(count: usize) -> Self {
        Self { first: vec![0.0; count], second: vec![0.0; count], updates: 0 }
    }
}

/// What one update uses.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub decay: f64,
    /// What multiplies the gradient: `min(1, limit / norm)`.
    pub clip: f64,
}

impl AdamW {
    /// Updates one parameter in place.
    pub fn update(&self, parameter: &Var, gradient: &Tensor, moments: &mut Moments, update: Update) -> Result<()> {
        moments.updates += 1;
        let t = moments.updates.min(i32::MAX as u64) as i32;
        let numbers = Numbers {
            clip: update.clip as f32,
            shrink: (1.0 - update.lr * update.decay) as f32,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            step: (update.lr / (1.0 - self.beta1.powi(t))) as f32,
            correction: (1.0 / (1.0 - self.beta2.powi(t)).sqrt()) as f32,
            epsilon: self.epsilon as f32,
        };
        if parameter.device().is_cpu() {
            let op = Op { numbers, moments: Mutex::new(moments) };
            return parameter.inplace_op2(&gradient.contiguous()?, &op);
        }
        // On other devices the numbers come to the CPU and go back: right, not fast.
        let mut w = parameter.flatten_all()?.to_vec1::<f32>()?;
        let g = gradient.flatten_all()?.to_vec1::<f32>()?;
        step(&mut w, &g, &mut moments.first, &mut moments.second, &numbers);
        parameter.set(&Tensor::from_vec(w, parameter.shape(), parameter.device())?)
    }
}

/// The sum of squares of a gradient, in f64 and a fixed order.
pub fn sum_of_squares(gradient: &Tensor) -> Result<f64> {
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        return Ok(f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?));
    };
    let values = f32s("gradient", storage, layout)?;
    // A vectorised f32 sum over short blocks, then f64: no long f32 accumulation.
    let blocks: Vec<f64> =
        values.par_chunks(BLOCK).map(|block| block.chunks(512).map(|part| f64::from(squares(part))).sum()).collect();
    Ok(blocks.iter().sum())
}

simd! {
    fn squares(x: &[f32]) -> f32 {
        crate::math::dot(x, x)
    }
}

#[derive(Clone, Copy)]
struct Numbers {
    clip: f32,
    shrink: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    step: f32,
    correction: f32,
    epsilon: f32,
}

struct Op<'a> {
    numbers: Numbers,
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp2 for Op<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, w_layout: &Layout, g: &CpuStorage, g_layout: &Layout) -> Result<()> {
        let g = f32s("adamw gradient", g, g_layout)?;
        let (CpuStorage::F32(w), Some((start, end))) = (w, w_layout.contiguous_offsets()) else {
            candle_core::bail!("adamw: expected a contiguous f32 parameter")
        };
        let w = &mut w[start..end];
        let mut moments = self.moments.lock().map_err(|_| candle_core::Error::msg("adamw: poisoned"))?;
        if g.len() != w.len() || moments.first.len() != w.len() || moments.second.len() != w.len() {
            candle_core::bail!("adamw: {} weights, {} gradients, {} moments", w.len(), g.len(), moments.first.len());
        }
        let Moments { first, second, .. } = &mut **moments;
        w.par_chunks_mut(BLOCK)
            .zip(g.par_chunks(BLOCK))
            .zip(first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK)))
            .for_each(|((w, g), (m, v))| step(w, g, m, v, &self.numbers));
        Ok(())
    }
}

simd! {
    fn step(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], n: &Numbers) {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * n.clip;
            *m = n.beta1 * *m + n.rest1 * g;
            *v = n.beta2 * *v + n.rest2 * g * g;
            *w = *w * n.shrink - n.step * *m / (v.sqrt() * n.correction + n.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn an_update_is_that_of_the_formula_in_f64() {
        let (method, update) = (AdamW::default(), Update { lr: 1e-2, decay: 0.1, clip: 0.5 });
        let start = normal(1, &[20_000]);
        let parameter = Var::from_tensor(&start).unwrap();
        let mut moments = Moments::zeros(20_000);
        let mut want: Vec<f64> = start.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
        let (mut m, mut v) = (vec![0.0; want.len()], vec![0.0; want.len()]);
        for t in 1..=3 {
            let gradient = normal(10 + t as u64, &[20_000]);
            method.update(&parameter, &gradient, &mut moments, update).unwrap();
            for (i, g) in gradient.to_vec1::<f32>().unwrap().into_iter().enumerate() {
                let g = f64::from(g) * 0.5;
                want[i] *= 1.0 - 1e-2 * 0.1;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh): (f64, f64) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                want[i] -= 1e-2 * mh / (vh.sqrt() + 1e-8);
            }
        }
        for (got, want) in parameter.to_vec1::<f32>().unwrap().into_iter().zip(want) {
            assert!((f64::from(got) - want).abs() < 1e-5, "{got} for {want}");
        }
    }

    #[test]
    fn the_norm_is_exact() {
        let x = normal(1, &[100_001]);
        let want: f64 = x.to_vec1::<f32>().unwrap().into_iter().map(|x| f64::from(x).powi(2)).sum();
        assert!((sum_of_squares(&x).unwrap() - want).abs() < 1e-6 * want);
    }
}
