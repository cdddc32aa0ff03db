//! Whether probabilities mean what they say: of answers that are given 0.8, eight in ten should be right.
//!
//! ```text
//! (probability, right) of each answer -> bins -> expected calibration error;   answers at each temperature -> the best temperature
//! (probability, right) of each answer, a precision -> the score from which on answers have it
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
    /// Whether it is that there is none: such an answer is always given.
    pub is_none: bool,
}

impl Confidence {
    /// Of an answer that says something.
    pub fn new(probability: f64, right: bool) -> Self {
        Self { probability, right, is_none: false }
    }
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
    /// From which score on answers are given, where the recipe asks for a precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_score: Option<LeastScore>,
}

/// The score from which on answers are given, and what that comes to on the examples that were held back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LeastScore {
    /// The score, from 0 to 1.
    pub score: f64,
    /// The share of the answers with at least that score that are right, per cent.
    pub precision: f64,
    /// How many have it.
    pub answers: usize,
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
    for Confidence { probability, right, .. } in answers {
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

/// The lowest score from which on answers have at least this precision (from 0 to 1); where none has, that from which on it is highest.
/// None without answers. Those that there is none do not count.
///
/// The score lies half-way to that of the next answer, which is left out: another rounding of a probability changes nothing.
pub fn least_score(answers: &[Confidence], precision: f64) -> Option<LeastScore> {
    let mut order: Vec<&Confidence> = answers.iter().filter(|answer| !answer.is_none).collect();
    order.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let (mut right, mut best): (usize, Option<LeastScore>) = (0, None);
    for (at, one) in order.iter().enumerate() {
        right += usize::from(one.right);
        let next = order.get(at + 1).map(|next| next.probability);
        if next == Some(one.probability) {
            continue;
        }
        let found = LeastScore {
            score: next.map_or(0.0, |next| next.midpoint(one.probability)),
            precision: 100.0 * right as f64 / (at + 1) as f64,
            answers: at + 1,
        };
        let highest = best.is_none_or(|best| found.precision >= best.precision);
        if found.precision >= 100.0 * precision || highest {
            best = Some(found);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(probability: f64, right: usize, wrong: usize) -> impl Iterator<Item = Confidence> {
        (0..right + wrong).map(move |at| Confidence::new(probability, at < right))
    }

    #[test]
    fn the_error_is_the_mean_distance_between_what_is_said_and_what_is_so() {
        let exact: Vec<Confidence> = of(0.25, 1, 3).chain(of(0.75, 6, 2)).collect();
        assert_eq!(expected_error(&exact), Some(0.0));
        // Ten answers are 0.2 off, thirty 0.1.
        let off: Vec<Confidence> = of(0.8, 6, 4).chain(of(0.9, 30, 0)).collect();
        assert!((expected_error(&off).unwrap() - (10.0 * 0.2 + 30.0 * 0.1) / 40.0).abs() < 1e-12);
        assert_eq!(expected_error(&[]), None);
        let ends: Vec<Confidence> = of(1.0, 1, 0).chain(of(0.0, 0, 1)).collect();
        let ends = bins(&ends);
        assert_eq!((ends[0].answers, ends[BINS - 1].answers), (1, 1));
    }

    #[test]
    fn the_least_score_is_the_lowest_with_the_precision_or_the_one_with_the_highest() {
        let of = |list: &[(f64, bool)]| -> Vec<Confidence> {
            list.iter().map(|&(probability, right)| Confidence::new(probability, right)).collect()
        };
        let answers = of(&[(0.5, false), (0.9, true), (0.7, true), (0.8, false), (0.6, true), (0.6, true)]);
        // From 0.9: 1 of 1, 1 of 2, 2 of 3, 4 of 5, 4 of 6.
        for (precision, score, want, given) in
            [(1.0, 0.85, 100.0, 1), (0.8, 0.55, 80.0, 5), (0.7, 0.55, 80.0, 5), (0.66, 0.0, 100.0 * 4.0 / 6.0, 6)]
        {
            let found = least_score(&answers, precision).unwrap();
            assert!((found.score - score).abs() < 1e-12, "{precision}: {found:?}");
            assert!((found.precision - want).abs() < 1e-9 && found.answers == given, "{precision}: {found:?}");
        }
        // None has it: the most answers with the highest precision.
        let poor = of(&[(0.9, false), (0.8, true), (0.7, false), (0.6, true)]);
        assert_eq!(least_score(&poor, 0.9).unwrap().answers, 4);
        assert_eq!(least_score(&[], 0.9), None);
        let none = Confidence { probability: 0.95, right: false, is_none: true };
        assert_eq!(least_score(&[&answers[..], &[none]].concat(), 1.0), least_score(&answers, 1.0));
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
