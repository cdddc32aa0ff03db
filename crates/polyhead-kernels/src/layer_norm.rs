//! Dropout, residual connection and layer normalisation in one pass: the end of every BERT sub-layer.
//!
//! ```text
//! forward   h = dropout(x) + residual
//!           y = γ (h - mean(h)) / √(var(h) + ε) + β          per row (Ba, Kiros and Hinton, arXiv:1607.06450)
//! backward  n = (h - mean) / √(var + ε),  g = dy γ
//!           dh = (g - mean(g) - n mean(g n)) / √(var + ε),  dresidual = dh,  dx = dh m
//!           dγ = Σ dy n,  dβ = Σ dy                           over rows
//! ```
//!
//! x, residual, y are `[tokens, hidden]`; γ and β are stacked as one `[2, hidden]` tensor for the operator.

use crate::dropout::{self, Dropout};
use crate::gemm::sum_rows;
use crate::math::{simd, sum};
use crate::storage::{Parts, f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const ROWS: usize = 16;

/// `LayerNorm(dropout(x) + residual)` over the last dimension of `[tokens, hidden]`.
pub fn dropout_residual_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain(x, residual, gamma, beta, epsilon, dropout);
    }
    let gamma_beta = Tensor::stack(&[gamma, beta], 0)?;
    let op = LayerNorm { epsilon: epsilon as f32, dropout };
    x.contiguous()?.apply_op3(&residual.contiguous()?, &gamma_beta, op)
}

/// `LayerNorm(x)` alone, over the last dimension of `[tokens, hidden]`.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    // A residual of zeros: it is needed once a forward pass, after the embeddings, and costs one pass over its rows.
    dropout_residual_layer_norm(x, &x.zeros_like()?, gamma, beta, epsilon, Dropout::OFF)
}

/// The same in candle's own operators.
pub fn plain(
    x: &Tensor,
    residual: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let h = dropout::plain(x, dropout)?.add(residual)?;
    let centred = h.broadcast_sub(&h.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gamma)?.broadcast_add(beta)
}

struct LayerNorm {
    epsilon: f32,
    dropout: Option<Dropout>,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "dropout-residual-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        r_layout: &Layout,
        gamma_beta: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, hidden) = x_layout.shape().dims2()?;
        if r_layout.shape() != x_layout.shape() || g_layout.shape().dims2()? != (2, hidden) {
            candle_core::bail!("layer norm: x {:?}, residual {:?}", x_layout.shape(), r_layout.shape());
        }
        let (x, residual) = (f32s("layer norm x", x, x_layout)?, f32s("layer norm residual", residual, r_layout)?);
        let (gamma, beta) = f32s("layer norm weight", gamma_beta, g_layout)?.split_at(hidden);
        let mut y = vec![0.0; tokens * hidden];
        y.par_chunks_mut(ROWS * hidden).enumerate().for_each(|(block, ys)| {
            for (i, y) in ys.chunks_exact_mut(hidden).enumerate() {
                let start = (block * ROWS + i) * hidden;
                let range = start..start + hidden;
                add_residual(y, &x[range.clone()], &residual[range], self.dropout, start as u32);
                normalise(y, self.epsilon);
                scale(y, gamma, beta);
            }
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        gamma_beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (tokens, hidden) = x.dims2()?;
        let (dx, dh, dgb) = with_f32s([x, residual, gamma_beta, dy], |[x, residual, gamma_beta, dy]| {
            let gamma = &gamma_beta[..hidden];
            let (mut dx, mut dh) = (vec![0.0; tokens * hidden], vec![0.0; tokens * hidden]);
            let (dx_parts, dh_parts) = (Parts::new(&mut dx), Parts::new(&mut dh));
            let dgb = sum_rows(tokens, 2 * hidden, |row, sums| {
                let start = row * hidden;
                let range = start..start + hidden;
                // SAFETY: each row is visited once, and writes its own part.
                let (dx, dh) = unsafe { (dx_parts.part(start, hidden), dh_parts.part(start, hidden)) };
                let n = &mut *dx;
                add_residual(n, &x[range.clone()], &residual[range.clone()], self.dropout, start as u32);
                let inverse = normalise(n, self.epsilon);
                let (dgamma, dbeta) = sums.split_at_mut(hidden);
                gradient(dh, n, &dy[range], gamma, inverse, dgamma, dbeta);
                masked(dx, dh, self.dropout, start as u32);
            });
            Ok((dx, dh, dgb))
        })?;
        let (shape, device) = (x.shape(), x.device());
        Ok((
            Some(Tensor::from_vec(dx, shape, device)?),
            Some(Tensor::from_vec(dh, shape, device)?),
            Some(Tensor::from_vec(dgb, (2, hidden), device)?),
        ))
    }
}

simd! {
    /// `h = dropout(x) + residual`, where `start` is the index of the row's first element.
    fn add_residual(h: &mut [f32], x: &[f32], residual: &[f32], dropout: Option<Dropout>, start: u32) {
        masked_inline(h, x, dropout, start);
        for (h, r) in h.iter_mut().zip(residual) {
            *h += r;
        }
    }
}

simd! {
    fn masked(y: &mut [f32], x: &[f32], dropout: Option<Dropout>, start: u32) {
        masked_inline(y, x, dropout, start);
    }
}

#[inline(always)]
fn masked_inline(y: &mut [f32], x: &[f32], dropout: Option<Dropout>, start: u32) {
    match dropout {
        None => y.copy_from_slice(x),
        Some(dropout) => {
            let factor = dropout.factors(start);
            for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                *y = x * factor(i as u32);
            }
        }
    }
}

simd! {
    /// Takes the mean from a row and divides it by its deviation; returns `1 / √(var + ε)`.
    pub(crate) fn normalise(h: &mut [f32], epsilon: f32) -> f32 {
        let count = h.len() as f32;
        let mean = sum(h) / count;
        for h in h.iter_mut() {
            *h -= mean;
        }
        let inverse = 1.0 / (crate::math::dot(h, h) / count + epsilon).sqrt();
        for h in h.iter_mut() {
            *h *= inverse;
        }
        inverse
    }
}

simd! {
    pub(crate) fn scale(y: &mut [f32], gamma: &[f32], beta: &[f32]) {
        for ((y, g), b) in y.iter_mut().zip(gamma).zip(beta) {
            *y = *y * g + b;
        }
    }
}

simd! {
    /// The gradient of one row: writes dh, adds to dγ and dβ. `n` is the normalised row.
    pub(crate) fn gradient(
        dh: &mut [f32], n: &[f32], dy: &[f32], gamma: &[f32], inverse: f32, dgamma: &mut [f32], dbeta: &mut [f32],
    ) {
        for i in 0..dh.len().min(n.len()).min(dy.len()).min(gamma.len()).min(dgamma.len()).min(dbeta.len()) {
            dgamma[i] += dy[i] * n[i];
            dbeta[i] += dy[i];
            dh[i] = dy[i] * gamma[i];
        }
        let count = dh.len() as f32;
        let (mean, along) = (sum(dh) / count, crate::math::dot(dh, n) / count);
        for (dh, n) in dh.iter_mut().zip(n) {
            *dh = (*dh - mean - n * along) * inverse;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        for (tokens, hidden) in [(1, 8), (5, 33), (200, 64)] {
            for drop in [None, Dropout::new(0.2, Key::seed(4))] {
                let args = [
                    normal(1, &[tokens, hidden]),
                    normal(2, &[tokens, hidden]),
                    normal(3, &[hidden]),
                    normal(4, &[hidden]),
                ];
                assert_twins(
                    &args,
                    |[x, r, g, b]| dropout_residual_layer_norm(x, r, g, b, 1e-12, drop),
                    |[x, r, g, b]| plain(x, r, g, b, 1e-12, drop),
                    2e-5,
                );
            }
        }
    }
}
