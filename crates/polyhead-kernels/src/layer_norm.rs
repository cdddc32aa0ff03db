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
    /// None: 0.
    beta: Option<Weight>,
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
        Self { gamma, beta: Some(beta), epsilon }
    }

    /// A LayerNorm that has no β.
    pub fn without_bias(gamma: Weight, epsilon: f64) -> Self {
        Self { gamma, beta: None, epsilon }
    }

    /// The numbers for rows of this width.
    pub(crate) fn values(&self, columns: usize) -> Result<NormValues> {
        if let Some(other) = self.weights().find(|weight| *weight.dims() != [columns]) {
            candle_core::bail!("layer norm: {:?} for {columns}", other.dims());
        }
        let gamma = self.gamma.read(|x| Ok(x.to_vec()))?;
        let beta = self.beta.as_ref().map(|beta| beta.read(|x| Ok(x.to_vec()))).transpose()?;
        let beta = beta.unwrap_or_else(|| vec![0.0; columns]);
        Ok(NormValues { gamma, beta, epsilon: self.epsilon as f32 })
    }

    /// Sends the gradients `[dγ, dβ]` to the weights that are trained.
    pub(crate) fn gather(&self, gradients: &[f32]) -> Result<()> {
        let (gamma, beta) = gradients.split_at(gradients.len() / 2);
        let trained = self.weights().zip([gamma, beta]).filter(|(weight, _)| weight.is_trained());
        trained.into_iter().try_for_each(|(weight, gradient)| weight.add_gradient(gradient))
    }

    /// Whether any of its weights is trained.
    pub(crate) fn is_trained(&self) -> bool {
        self.weights().any(Weight::is_trained)
    }

    /// γ, and β where there is one.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        std::iter::once(&self.gamma).chain(&self.beta)
    }

    /// What is added to the variance.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The same in candle's own operators.
    pub(crate) fn plain(&self, h: &Tensor, weight: impl Fn(&Weight) -> Result<Tensor>) -> Result<Tensor> {
        let weights = self.weights().map(weight).collect::<Result<Vec<_>>>()?;
        let centred = h.broadcast_sub(&h.mean_keepdim(1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(1)? + self.epsilon)?.sqrt()?;
        let mut y = centred.broadcast_div(&deviation)?;
        if let Some(gamma) = weights.first() {
            y = y.broadcast_mul(gamma)?;
        }
        if let Some(beta) = weights.get(1) {
            y = y.broadcast_add(beta)?;
        }
        Ok(y)
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
