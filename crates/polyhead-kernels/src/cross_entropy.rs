//! Cross-entropy, over the classes of each token and over the tokens of each sequence.
//!
//! ```text
//! forward   L = sum of w[target] * -log softmax(z)[target] / count
//! backward  dz = dL w[target] (softmax(z) - onehot(target)) / count
//! ```
//!
//! [`token_cross_entropy`] takes the softmax over a row's classes, and sums over the rows whose target is not [`IGNORE`];
//! [`weighted_cross_entropy`] is the same with a weight for each class (else w is 1). [`segment_cross_entropy`] takes the softmax over
//! the real tokens of a sequence, for each column of its own, and sums over sequences and columns: with the columns start and end
//! that is the loss of extractive question answering.
//!
//! The count is that of the targets of a whole step, or the sum of their weights: where a batch is all of it, the loss is a mean, that
//! of PyTorch's `CrossEntropyLoss(weight=w, ignore_index=-100)`, but 0 instead of NaN without a target. Where a batch is one of
//! several, their losses and gradients add up to those of one large batch.

use crate::loss::{self, share};
use crate::segments::Segments;
use candle_core::{Result, Tensor};

/// The target of a row that does not count.
pub const IGNORE: i64 = -100;

/// The cross-entropy of logits `[tokens, classes]` against one class a token, or [`IGNORE`], over `count` targets.
pub fn token_cross_entropy(logits: &Tensor, targets: &[i64], count: f64) -> Result<Tensor> {
    apply(logits, of_rows(logits, targets, |_| 1.0)?, count)
}

/// The same with a weight for each class; `total` is the sum of the weights of the targets of a whole step.
pub fn weighted_cross_entropy(logits: &Tensor, targets: &[i64], weights: &[f64], total: f64) -> Result<Tensor> {
    let classes = logits.dim(1)?;
    if weights.len() != classes {
        candle_core::bail!("cross-entropy: {classes} classes but {} weights", weights.len());
    }
    apply(logits, of_rows(logits, targets, |class| weights[class])?, total)
}

/// A softmax for each row that counts.
fn of_rows(logits: &Tensor, targets: &[i64], weight: impl Fn(usize) -> f64) -> Result<Vec<Pick>> {
    let (rows, classes) = logits.dims2()?;
    if targets.len() != rows {
        candle_core::bail!("cross-entropy: {rows} rows of logits but {} targets", targets.len());
    }
    let mut picks = Vec::with_capacity(rows);
    for (row, &target) in targets.iter().enumerate().filter(|(_, target)| **target != IGNORE) {
        let class = usize::try_from(target).ok().filter(|&class| class < classes);
        let Some(class) = class else { candle_core::bail!("cross-entropy: target {target} of {classes} classes") };
        picks.push(Pick { start: row * classes, stride: 1, count: classes, target: class, weight: weight(class) });
    }
    Ok(picks)
}

/// The cross-entropy of logits `[rows, columns]` against one token a sequence and column, counted from the start of the
/// sequence, over `count` targets: `targets[sequence * columns + column]`.
pub fn segment_cross_entropy(logits: &Tensor, segments: &Segments, targets: &[i64], count: f64) -> Result<Tensor> {
    let (rows, columns) = logits.dims2()?;
    if segments.rows() != rows || targets.len() != segments.len() * columns {
        candle_core::bail!("cross-entropy: {rows} rows, {} sequences, {} targets", segments.len(), targets.len());
    }
    let mut picks = Vec::with_capacity(targets.len());
    for (segment, targets) in segments.iter().zip(targets.chunks_exact(columns)) {
        for (column, &target) in targets.iter().enumerate() {
            let token = usize::try_from(target).ok().filter(|&token| token < segment.tokens);
            let Some(target) = token else {
                candle_core::bail!("cross-entropy: target {target} in a sequence of {} tokens", segment.tokens)
            };
            let start = segment.start * columns + column;
            picks.push(Pick { start, stride: columns, count: segment.tokens, target, weight: 1.0 });
        }
    }
    apply(logits, picks, count)
}

/// One softmax: `count` logits from `start` on, `stride` apart, of which the `target`-th is the right one, and what it weighs.
#[derive(Clone, Copy)]
struct Pick {
    start: usize,
    stride: usize,
    count: usize,
    target: usize,
    weight: f64,
}

fn apply(logits: &Tensor, picks: Vec<Pick>, count: f64) -> Result<Tensor> {
    let share = share(count);
    if !loss::runs_on(logits) {
        return plain(logits, &picks, share);
    }
    loss::apply("cross-entropy", logits, move |z, gradient| {
        let mut total = 0.0_f64;
        for &Pick { start, stride, count, target, weight } in &picks {
            let values = || (0..count).map(|i| f64::from(z[start + i * stride]));
            let max = values().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = values().map(|z| (z - max).exp()).sum();
            for (i, z) in values().enumerate() {
                let onehot = if i == target { 1.0 } else { 0.0 };
                gradient[start + i * stride] = (((z - max).exp() / sum - onehot) * weight * share) as f32;
            }
            total += weight * (max + sum.ln() - f64::from(z[start + target * stride]));
        }
        total * share
    })
}

/// The same in candle's own operators.
fn plain(logits: &Tensor, picks: &[Pick], share: f64) -> Result<Tensor> {
    let flat = logits.flatten_all()?;
    let mut total = flat.narrow(0, 0, 1)?.affine(0.0, 0.0)?;
    for pick in picks {
        let at = |i: usize| (pick.start + i * pick.stride) as u32;
        let index = Tensor::from_vec((0..pick.count).map(at).collect::<Vec<_>>(), pick.count, logits.device())?;
        let z = flat.index_select(&index, 0)?;
        let max = z.max_keepdim(0)?.detach();
        let log_sum = z.broadcast_sub(&max)?.exp()?.sum_keepdim(0)?.log()?.add(&max)?;
        total = (total + (log_sum - z.narrow(0, pick.target, 1)?)?.affine(pick.weight, 0.0)?)?;
    }
    total.affine(share, 0.0)?.squeeze(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};

    #[test]
    fn values_and_gradients_over_classes_are_those_of_the_plain_reference() {
        let targets = [2, IGNORE, 0, 4, IGNORE, 4];
        let picks: Vec<Pick> = (0..6)
            .filter(|&row| targets[row] != IGNORE)
            .map(|row| Pick { start: row * 5, stride: 1, count: 5, target: targets[row] as usize, weight: 1.0 })
            .collect();
        assert_matches_reference(
            &[normal(1, &[6, 5])],
            |[z]| token_cross_entropy(z, &targets, 4.0)?.reshape(1),
            |[z]| plain(z, &picks, 0.25)?.reshape(1),
            1e-6,
        );
    }

    #[test]
    fn values_and_gradients_over_tokens_are_those_of_the_plain_reference_and_padding_does_not_count() {
        let segments = Segments::padded(&[1, 3, 7], 4);
        let targets = [0, 0, 2, 1, 6, 3];
        let mut picks = vec![];
        for (segment, targets) in segments.iter().zip(targets.chunks(2)) {
            for (column, &target) in targets.iter().enumerate() {
                let start = segment.start * 2 + column;
                picks.push(Pick { start, stride: 2, count: segment.tokens, target: target as usize, weight: 1.0 });
            }
        }
        assert_matches_reference(
            &[normal(1, &[segments.rows(), 2])],
            |[z]| segment_cross_entropy(z, &segments, &targets, 6.0)?.reshape(1),
            |[z]| plain(z, &picks, 1.0 / 6.0)?.reshape(1),
            1e-6,
        );
    }

    #[test]
    fn no_target_at_all_is_no_loss_and_a_wrong_one_is_an_error() {
        let z = normal(1, &[2, 3]);
        assert_eq!(token_cross_entropy(&z, &[IGNORE, IGNORE], 0.0).unwrap().to_scalar::<f32>().unwrap(), 0.0);
        assert!(token_cross_entropy(&z, &[3, 0], 2.0).is_err());
        assert!(token_cross_entropy(&z, &[0], 1.0).is_err());
        assert!(segment_cross_entropy(&z, &Segments::packed(&[2]), &[0, 1, 1], 3.0).is_ok());
        assert!(segment_cross_entropy(&z, &Segments::packed(&[2]), &[0, 1, -1], 3.0).is_err());
    }
}
