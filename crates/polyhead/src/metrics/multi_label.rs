//! Scores of several labels at once, as scikit-learn counts them: precision, recall and F1 of each label, their means over labels, over
//! all decisions and over examples, and the share of examples with exactly the right labels.
//!
//! ```text
//! (gold, predicted): a yes or no for each label -> counts by label, sums over examples -> scores from 0 to 1
//! ```
//!
//! Macro and weighted means are over all labels, also over those that never occur, and what would be divided by zero is 0: so an example
//! without gold and predicted labels counts 0 in the mean over examples (`samples`), and as right in the accuracy. These are
//! scikit-learn's rules for indicator matrices, with `zero_division=0`.

use super::classification::{Mean, Scores};

/// How often each label held, was predicted, and both; and what is summed over examples.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    labels: Vec<Tally>,
    examples: u64,
    exact: u64,
    /// The sums of the scores of each example.
    samples: Scores,
}

/// The counts of one label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often it holds.
    pub gold: u64,
    /// How often it was predicted.
    pub predicted: u64,
    /// How often it was predicted and holds.
    pub right: u64,
}

impl Tally {
    /// Its scores.
    pub fn scores(&self) -> Scores {
        Scores {
            precision: share(self.right as f64, self.predicted as f64),
            recall: share(self.right as f64, self.gold as f64),
            f1: share(2.0 * self.right as f64, (self.gold + self.predicted) as f64),
        }
    }

    fn add(&mut self, gold: bool, predicted: bool) {
        self.gold += u64::from(gold);
        self.predicted += u64::from(predicted);
        self.right += u64::from(gold && predicted);
    }
}

impl MultiLabel {
    /// Nothing counted yet, of so many labels.
    pub fn new(labels: usize) -> Self {
        Self { labels: vec![Tally::default(); labels], examples: 0, exact: 0, samples: Scores::default() }
    }

    /// Counts an example: a yes or no for each label.
    pub fn add(&mut self, gold: &[bool], predicted: &[bool]) {
        let mut own = Tally::default();
        for (tally, (&gold, &predicted)) in self.labels.iter_mut().zip(gold.iter().zip(predicted)) {
            tally.add(gold, predicted);
            own.add(gold, predicted);
        }
        let Scores { precision, recall, f1 } = own.scores();
        self.samples.precision += precision;
        self.samples.recall += recall;
        self.samples.f1 += f1;
        self.examples += 1;
        self.exact += u64::from(own.right == own.gold && own.right == own.predicted);
    }

    /// The counts of one label; none beyond the last.
    pub fn of(&self, label: usize) -> Tally {
        self.labels.get(label).copied().unwrap_or_default()
    }

    /// All examples.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The share of examples with exactly the right labels (subset accuracy).
    pub fn exact_match(&self) -> f64 {
        share(self.exact as f64, self.examples as f64)
    }

    /// The scores of all decisions taken together.
    pub fn micro(&self) -> Scores {
        let sum = |of: fn(&Tally) -> u64| self.labels.iter().map(of).sum();
        let all = Tally { gold: sum(|one| one.gold), predicted: sum(|one| one.predicted), right: sum(|one| one.right) };
        all.scores()
    }

    /// The mean over labels.
    pub fn mean(&self, mean: Mean) -> Scores {
        let (mut sum, mut weights) = (Scores::default(), 0.0);
        for tally in &self.labels {
            let weight = if mean == Mean::Macro { 1.0 } else { tally.gold as f64 };
            let Scores { precision, recall, f1 } = tally.scores();
            sum.precision += weight * precision;
            sum.recall += weight * recall;
            sum.f1 += weight * f1;
            weights += weight;
        }
        divided(sum, weights)
    }

    /// The mean over examples.
    pub fn samples(&self) -> Scores {
        divided(self.samples, self.examples as f64)
    }
}

fn divided(Scores { precision, recall, f1 }: Scores, by: f64) -> Scores {
    Scores { precision: share(precision, by), recall: share(recall, by), f1: share(f1, by) }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
