//! Whether probabilities mean what they say: of answers that are given 0.8, eight in ten should be right.
//!
//! ```text
//! (probability, right) of each answer -> bins -> expected calibration error;   answers at each temperature -> the best temperature
//! ```
//!
//! The error is that of Naeini et al. (2015) and Guo et al. (2017, "On Calibration of Modern Neural Networks",
//! <https://arxiv.org/abs/1706.04599>): bins of equal width, in each the distance between the mean probability and the share that is right,
//! weighted by its answers. Temperature scaling is that of Guo et al.: logits are divided by one number, which leaves the order of
//! answers as it is. It is fitted to the probabilities that answers have in the end (of an entity of several words, of the best of several
//! candidates), by their log loss.

use serde::{Deserialize, Serialize};

/// How probable an answer was said to be, and whether it is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confidence {
    /// From 0 to 1.
    pub probability: f64,
    /// Whether it is right.
    pub right: bool,
}

/// What calibration did to a task, on the examples that were held back for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What logits are divided by.
    pub temperature: f64,
    /// Answers to the examples that were held back.
    pub answers: usize,
    /// The expected calibration error without it, per cent.
    pub error_before: f64,
    /// The same with it.
    pub error: f64,
}

/// Bins from 0 to 1.
pub const BINS: usize = 10;

/// The answers of a bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// How many.
    pub answers: usize,
    /// The sum of their probabilities.
    pub probability: f64,
    /// How many are right.
    pub right: usize,
}

impl Bin {
    /// The mean probability, from 0 to 1.
    pub fn mean_probability(&self) -> f64 {
        self.probability / self.answers.max(1) as f64
    }

    /// The share that is right, from 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.answers.max(1) as f64
    }
}

/// Answers by their probability: `[0, 1/10), [1/10, 2/10), ... [9/10, 1]`.
pub fn bins(answers: &[Confidence]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for Confidence { probability, right } in answers {
        // What is not a number lies in the first.
        let at = ((probability * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(at) {
            bin.answers += 1;
            bin.probability += probability;
            bin.right += usize::from(*right);
        }
    }
    bins
}

/// The expected calibration error, from 0 to 1; none without answers.
pub fn expected_error(answers: &[Confidence]) -> Option<f64> {
    let gap = |bin: Bin| (bin.probability - bin.right as f64).abs();
    (!answers.is_empty()).then(|| bins(answers).map(gap).iter().sum::<f64>() / answers.len() as f64)
}

/// The mean of `-ln` of the probability of what came to be: the answer is right, or it is not.
pub fn log_loss(answers: &[Confidence]) -> f64 {
    // One answer that was thought certain and is wrong must not decide alone.
    const LEAST: f64 = 1e-4;
    let loss = |one: &Confidence| {
        let of_what_came = if one.right { one.probability } else { 1.0 - one.probability };
        -of_what_came.clamp(LEAST, 1.0).ln()
    };
    answers.iter().map(loss).sum::<f64>() / answers.len().max(1) as f64
}

/// The temperature whose answers have the least log loss, between 1/8 and 8, to three digits: a golden-section search.
pub fn best_temperature(answers: &mut dyn FnMut(f64) -> Vec<Confidence>) -> f64 {
    let mut loss = |of: f64| log_loss(&answers(of.exp()));
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.125_f64.ln(), 8.0_f64.ln());
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    while high - low > 1e-3 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = loss(right);
        }
    }
    let found = ((low + high) / 2.0).exp();
    // By way of its text: what is said is what is used.
    format!("{found:.2e}").parse().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(probability: f64, right: usize, wrong: usize) -> impl Iterator<Item = Confidence> {
        (0..right + wrong).map(move |at| Confidence { probability, right: at < right })
    }

    #[test]
    fn the_error_is_the_mean_distance_between_what_is_said_and_what_is_so() {
        let exact: Vec<Confidence> = of(0.25, 1, 3).chain(of(0.75, 6, 2)).collect();
        assert_eq!(expected_error(&exact), Some(0.0));
        // Ten answers are 0.2 off, thirty 0.1.
        let off: Vec<Confidence> = of(0.8, 6, 4).chain(of(0.9, 30, 0)).collect();
        assert!((expected_error(&off).unwrap() - (10.0 * 0.2 + 30.0 * 0.1) / 40.0).abs() < 1e-12);
        assert_eq!(expected_error(&[]), None);
        let ends = bins(&[Confidence { probability: 1.0, right: true }, Confidence { probability: 0.0, right: false }]);
        assert_eq!((ends[0].answers, ends[BINS - 1].answers), (1, 1));
    }

    #[test]
    fn logits_that_were_stretched_are_brought_back() {
        // Pairs of logits whose answers are right as often as they say, times three.
        let logits = [0.2, 0.5, 1.0, 1.5, 2.0, 3.0];
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let answers = |temperature: f64| -> Vec<Confidence> {
            let of_logit = |z: f64| {
                let right = (sigmoid(z) * 1000.0).round() as usize;
                of(sigmoid(3.0 * z / temperature), right, 1000 - right).collect::<Vec<_>>()
            };
            logits.into_iter().flat_map(of_logit).collect()
        };
        let found = best_temperature(&mut |temperature| answers(temperature));
        assert!((found - 3.0).abs() < 0.05, "{found}");
        assert!(expected_error(&answers(1.0)).unwrap() > 0.1 && expected_error(&answers(found)).unwrap() < 0.01);
        assert_eq!(best_temperature(&mut |_| Vec::new()), best_temperature(&mut |_| Vec::new()));
    }
}
