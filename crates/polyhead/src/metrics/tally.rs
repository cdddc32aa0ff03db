//! What there is, what was predicted, and what of it is right: the counts behind every precision, recall and F1.
//!
//! A score whose denominator is zero is 0, as in seqeval, in scikit-learn with `zero_division=0` and in `conll18_ud_eval.py`.

use std::ops::AddAssign;

/// Counts of entities, labels or words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those of the gold answers: the support.
    pub gold: u64,
    /// Those that were predicted.
    pub predicted: u64,
    /// Those that were predicted rightly.
    pub correct: u64,
}

impl Tally {
    /// The share of the predicted ones that are correct, from 0 to 1.
    pub fn precision(&self) -> f64 {
        share(self.correct as f64, self.predicted as f64)
    }

    /// The share of the gold ones that were found, from 0 to 1.
    pub fn recall(&self) -> f64 {
        share(self.correct as f64, self.gold as f64)
    }

    /// The harmonic mean of precision and recall, from 0 to 1.
    pub fn f1(&self) -> f64 {
        share((2 * self.correct) as f64, (self.gold + self.predicted) as f64)
    }

    /// All three.
    pub fn scores(&self) -> Scores {
        Scores { precision: self.precision(), recall: self.recall(), f1: self.f1() }
    }

    /// Counts one more, for each that it is.
    pub(super) fn add(&mut self, gold: bool, predicted: bool, correct: bool) {
        self.gold += u64::from(gold);
        self.predicted += u64::from(predicted);
        self.correct += u64::from(correct);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.gold += other.gold;
        self.predicted += other.predicted;
        self.correct += other.correct;
    }
}

/// Precision, recall and F1, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    /// The share of what was predicted that is right.
    pub precision: f64,
    /// The share of what there is that was found.
    pub recall: f64,
    /// Their harmonic mean, or a mean of such.
    pub f1: f64,
}

impl Scores {
    pub(super) fn add(&mut self, weight: f64, other: Self) {
        self.precision += weight * other.precision;
        self.recall += weight * other.recall;
        self.f1 += weight * other.f1;
    }

    pub(super) fn divided(self, by: f64) -> Self {
        Self { precision: share(self.precision, by), recall: share(self.recall, by), f1: share(self.f1, by) }
    }
}

/// The mean of scores, each with its weight; 0 of none.
pub(super) fn weighted_mean(of: impl Iterator<Item = (f64, Scores)>) -> Scores {
    let (mut sum, mut weights) = (Scores::default(), 0.0);
    for (weight, scores) in of {
        sum.add(weight, scores);
        weights += weight;
    }
    sum.divided(weights)
}

/// A part of a whole; 0 of nothing.
pub(super) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
