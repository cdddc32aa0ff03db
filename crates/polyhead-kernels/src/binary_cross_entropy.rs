//! Binary cross-entropy of logits, each label for itself: the loss of several labels at once.
//!
//! ```text
//! forward   L = sum of w[label] y softplus(-z) + (1 - y) softplus(z), / count      softplus(z) = ln(1 + exp(z))
//! backward  dz = dL (sigmoid(z) - 1) w[label] / count  where the label holds, dL sigmoid(z) / count  where it does not
//! ```
//!
//! With the number of logits of a whole step as the count it is PyTorch's `BCEWithLogitsLoss(pos_weight=w)`, but 0 instead of NaN
//! without a logit. Where a batch is one of several, their losses and gradients add up to those of one large batch.

use crate::loss::{self, share};
use candle_core::{Result, Tensor};

/// The binary cross-entropy of logits `[rows, labels]` against what holds, `holds[row * labels + label]`, over `count` logits.
/// `positive` weighs the loss of each label where it holds; left out, by 1.
pub fn binary_cross_entropy(logits: &Tensor, holds: &[bool], positive: Option<&[f64]>, count: f64) -> Result<Tensor> {
    let (rows, labels) = logits.dims2()?;
    if holds.len() != rows * labels {
        candle_core::bail!("binary cross-entropy: {rows} rows of {labels} logits but {} targets", holds.len());
    }
    if let Some(weights) = positive.filter(|weights| weights.len() != labels) {
        candle_core::bail!("binary cross-entropy: {labels} labels but {} weights", weights.len());
    }
    let share = share(count);
    let weight = |at: usize| positive.map_or(1.0, |weights| weights[at % labels]);
    // What each logit weighs, with the sign in which it counts.
    let signed: Vec<f64> = holds.iter().enumerate().map(|(at, &holds)| if holds { -weight(at) } else { 1.0 }).collect();
    if !loss::runs_on(logits) {
        return plain(logits, &signed, share);
    }
    loss::apply("binary cross-entropy", logits, move |z, gradient| {
        let mut total = 0.0_f64;
        for ((&z, gradient), &signed) in z.iter().zip(gradient).zip(&signed) {
            let (against, weight) = (f64::from(z) * signed.signum(), signed.abs());
            total += weight * (against.max(0.0) + (-against.abs()).exp().ln_1p());
            *gradient = (signed * share / (1.0 + (-against).exp())) as f32;
        }
        total * share
    })
}

/// The same in candle's own operators.
fn plain(logits: &Tensor, signed: &[f64], share: f64) -> Result<Tensor> {
    let constant = |of: fn(f64) -> f64| {
        let values: Vec<f32> = signed.iter().map(|&signed| of(signed) as f32).collect();
        Tensor::from_vec(values, logits.shape(), logits.device())
    };
    let against = logits.mul(&constant(f64::signum)?)?;
    let softplus = (against.relu()? + against.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?)?;
    softplus.mul(&constant(f64::abs)?)?.sum_all()?.affine(share, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference_with_weights_and_without() {
        let holds = [true, false, true, false, false, false, true, true, true, false, true, false];
        for positive in [None, Some([0.5, 1.0, 7.0])] {
            let weight = |at: usize| positive.map_or(1.0, |weights| weights[at % 3]);
            let signed: Vec<f64> = (0..12).map(|at| if holds[at] { -weight(at) } else { 1.0 }).collect();
            assert_matches_reference(
                &[normal(1, &[4, 3])],
                |[z]| {
                    let positive = positive.as_ref().map(|weights| weights.as_slice());
                    binary_cross_entropy(z, &holds, positive, 12.0)?.reshape(1)
                },
                |[z]| plain(z, &signed, 1.0 / 12.0)?.reshape(1),
                1e-6,
            );
        }
    }

    #[test]
    fn logits_of_any_size_have_a_finite_loss() {
        let z = Tensor::new(&[[1e4_f32, -1e4, 0.0]], &candle_core::Device::Cpu).unwrap();
        let loss = |holds: [bool; 3]| binary_cross_entropy(&z, &holds, None, 1.0).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(loss([true, false, true]), std::f32::consts::LN_2);
        assert_eq!(loss([false, true, true]), 2e4 + std::f32::consts::LN_2);
    }

    #[test]
    fn no_logit_at_all_is_no_loss_and_targets_of_another_number_are_an_error() {
        let z = normal(1, &[2, 3]);
        assert!(binary_cross_entropy(&z, &[true; 5], None, 6.0).is_err());
        assert!(binary_cross_entropy(&z, &[true; 6], Some(&[1.0; 2]), 6.0).is_err());
        assert!(binary_cross_entropy(&z, &[true; 6], Some(&[1.0; 3]), 6.0).is_ok());
        let none = Tensor::zeros((0, 3), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        assert_eq!(binary_cross_entropy(&none, &[], None, 0.0).unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
