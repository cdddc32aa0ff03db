//! A loss as one operator: its value and, in the same pass over the logits, its gradient.
//!
//! ```text
//! forward   L = formula(z), and g = dL/dz by the way
//! backward  dz = dL g
//! ```
//!
//! Sums are in f64 and in the order of the logits, so that a loss has the same bits at any number of threads.

use crate::storage::f32s;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use std::sync::Mutex;

/// What each target counts where so many of them, or so much weight, make up a step; of none it does not matter.
pub(crate) fn share(count: f64) -> f64 {
    if count > 0.0 { 1.0 / count } else { 1.0 }
}

/// Whether the operator can run: elsewhere a loss is written in candle's own operators.
pub(crate) fn runs_on(logits: &Tensor) -> bool {
    logits.device().is_cpu() && logits.dtype() == DType::F32
}

/// The loss of logits on the CPU, a scalar. `formula` gets them row by row and a gradient of zeros, which it fills in; it returns the
/// value.
pub(crate) fn apply<F>(name: &'static str, logits: &Tensor, formula: F) -> Result<Tensor>
where
    F: Fn(&[f32], &mut [f32]) -> f64 + Send + Sync + 'static,
{
    logits.contiguous()?.apply_op1(Loss { name, formula, gradient: Mutex::default() })
}

struct Loss<F> {
    name: &'static str,
    formula: F,
    /// The gradient for a loss gradient of 1.
    gradient: Mutex<Vec<f32>>,
}

impl<F> Loss<F> {
    fn poisoned<E>(&self) -> impl FnOnce(E) -> candle_core::Error {
        let name = self.name;
        move |_| candle_core::Error::msg(format!("{name}: poisoned"))
    }
}

impl<F: Fn(&[f32], &mut [f32]) -> f64 + Send + Sync> CustomOp1 for Loss<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let z = f32s(self.name, logits, layout)?;
        let mut gradient = vec![0.0; z.len()];
        let value = (self.formula)(z, &mut gradient);
        *self.gradient.lock().map_err(self.poisoned())? = gradient;
        Ok((CpuStorage::F32(vec![value as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, dloss: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self.gradient.lock().map_err(self.poisoned())?;
        let scale = f64::from(dloss.to_scalar::<f32>()?);
        Ok(Some(Tensor::from_slice(&gradient, logits.shape(), logits.device())?.affine(scale, 0.0)?))
    }
}
