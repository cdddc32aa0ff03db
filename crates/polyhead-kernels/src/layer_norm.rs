//! Layer normalisation of rows (Ba, Kiros and Hinton, arXiv:1607.06450): what the operators that end in one share.
//!
//! ```text
//! forward   y = γ (h - mean(h)) / √(var(h) + ε) + β
//! backward  n = (h - mean) / √(var + ε),  g = dy γ
//!           dh = (g - mean(g) - n mean(g n)) / √(var + ε)
//!           dγ = Σ dy n,  dβ = Σ dy                           over rows
//! ```

use crate::dropout::Dropout;
use crate::math::{simd, sum};
use crate::weight::Weight;
use candle_core::{Result, Tensor};

/// The weights of a LayerNorm.
#[derive(Clone)]
pub struct Norm {
    gamma: Weight,
    beta: Weight,
    epsilon: f64,
}

/// The numbers of a LayerNorm, read once for many rows.
pub(crate) struct NormValues {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub epsilon: f32,
}

impl Norm {
    /// A LayerNorm of γ and β, `[hidden]` each; `epsilon` is added to the variance.
    pub fn new(gamma: Weight, beta: Weight, epsilon: f64) -> Self {
        Self { gamma, beta, epsilon }
    }

    /// The numbers for rows of this width.
    pub(crate) fn values(&self, columns: usize) -> Result<NormValues> {
        if *self.gamma.dims() != [columns] || *self.beta.dims() != [columns] {
            candle_core::bail!("layer norm: γ {:?}, β {:?} for {columns}", self.gamma.dims(), self.beta.dims());
        }
        let (gamma, beta) = (self.gamma.read(|x| Ok(x.to_vec()))?, self.beta.read(|x| Ok(x.to_vec()))?);
        Ok(NormValues { gamma, beta, epsilon: self.epsilon as f32 })
    }

    /// Sends the gradients `[dγ, dβ]` to the weights that are trained.
    pub(crate) fn gather(&self, gradients: &[f32]) -> Result<()> {
        let (gamma, beta) = gradients.split_at(gradients.len() / 2);
        for (weight, gradient) in [(&self.gamma, gamma), (&self.beta, beta)] {
            if weight.is_trained() {
                weight.add_gradient(gradient)?;
            }
        }
        Ok(())
    }

    /// Whether any of its weights is trained.
    pub(crate) fn is_trained(&self) -> bool {
        self.gamma.is_trained() || self.beta.is_trained()
    }

    /// γ and β.
    pub fn weights(&self) -> [&Weight; 2] {
        [&self.gamma, &self.beta]
    }

    /// What is added to the variance.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The same in candle's own operators.
    pub(crate) fn plain(&self, h: &Tensor, weight: impl Fn(&Weight) -> Result<Tensor>) -> Result<Tensor> {
        self.plain_of(h, &weight(&self.gamma)?, &weight(&self.beta)?)
    }

    /// The same of γ and β as tensors.
    pub(crate) fn plain_of(&self, h: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
        let centred = h.broadcast_sub(&h.mean_keepdim(1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(1)? + self.epsilon)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(gamma)?.broadcast_add(beta)
    }
}

simd! {
    /// `y = dropout(y) + residual`; `start` is the index of the row's first element.
    pub(crate) fn end_of_layer(y: &mut [f32], residual: &[f32], dropout: Option<Dropout>, start: u32) {
        match dropout {
            None => {
                for (y, r) in y.iter_mut().zip(residual) {
                    *y += r;
                }
            }
            Some(dropout) => {
                let factor = dropout.factors(start);
                for (i, (y, r)) in y.iter_mut().zip(residual).enumerate() {
                    *y = *y * factor(i as u32) + r;
                }
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
    /// `y γ + β` of a normalised row, in place.
    pub(crate) fn scale(y: &mut [f32], gamma: &[f32], beta: &[f32]) {
        for ((y, g), b) in y.iter_mut().zip(gamma).zip(beta) {
            *y = *y * g + b;
        }
    }
}

simd! {
    /// The gradient of one row: dy becomes dh; adds to dγ and dβ. `n` is the normalised row.
    pub(crate) fn gradient(
        dy: &mut [f32], n: &[f32], gamma: &[f32], inverse: f32, dgamma: &mut [f32], dbeta: &mut [f32],
    ) {
        for i in 0..dy.len().min(n.len()).min(gamma.len()).min(dgamma.len()).min(dbeta.len()) {
            dgamma[i] += dy[i] * n[i];
            dbeta[i] += dy[i];
            dy[i] *= gamma[i];
        }
        let count = dy.len() as f32;
        let (mean, along) = (sum(dy) / count, crate::math::dot(dy, n) / count);
        for (dy, n) in dy.iter_mut().zip(n) {
            *dy = (*dy - mean - n * along) * inverse;
        }
    }
}
