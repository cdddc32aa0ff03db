//! Squared error: the loss of numbers.
//!
//! ```text
//! forward   L = sum of (z - y)^2 / count
//! backward  dz = dL 2 (z - y) / count
//! ```
//!
//! With the number of targets of a whole step as the count it is PyTorch's `MSELoss`, but 0 instead of NaN without a target. Where a
//! batch is one of several, their losses and gradients add up to those of one large batch.

use crate::loss::{self, share};
use candle_core::{Result, Tensor};

/// The squared error of outputs of any shape against as many numbers, over `count` of them.
pub fn squared_error(outputs: &Tensor, targets: &[f32], count: f64) -> Result<Tensor> {
    if targets.len() != outputs.elem_count() {
        candle_core::bail!("squared error: {} outputs but {} targets", outputs.elem_count(), targets.len());
    }
    let share = share(count);
    if !loss::runs_on(outputs) {
        return plain(outputs, targets, share);
    }
    let targets = targets.to_vec();
    loss::apply("squared error", outputs, move |z, gradient| {
        let mut total = 0.0_f64;
        for ((&z, gradient), &target) in z.iter().zip(gradient).zip(&targets) {
            let far = f64::from(z) - f64::from(target);
            total += far * far;
            *gradient = (2.0 * far * share) as f32;
        }
        total * share
    })
}

/// The same in candle's own operators.
fn plain(outputs: &Tensor, targets: &[f32], share: f64) -> Result<Tensor> {
    let targets = Tensor::from_slice(targets, outputs.shape(), outputs.device())?;
    outputs.sub(&targets)?.sqr()?.sum_all()?.affine(share, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let targets = [0.5, -1.0, 3.0, 100.0, 0.0];
        assert_matches_reference(
            &[normal(1, &[5, 1])],
            |[z]| squared_error(z, &targets, 8.0)?.reshape(1),
            |[z]| plain(z, &targets, 1.0 / 8.0)?.reshape(1),
            1e-6,
        );
    }

    #[test]
    fn no_target_at_all_is_no_loss_and_targets_of_another_number_are_an_error() {
        assert!(squared_error(&normal(1, &[2, 1]), &[1.0], 1.0).is_err());
        let none = Tensor::zeros((0, 1), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        assert_eq!(squared_error(&none, &[], 0.0).unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
