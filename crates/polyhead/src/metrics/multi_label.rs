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

use super::classification::Mean;
use super::tally::{Scores, Tally, share, weighted_mean};

/// How often each label held, was predicted, and both; and what is summed over examples.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    labels: Vec<Tally>,
    examples: u64,
    exact: u64,
    /// The sums of the scores of each example.
    samples: Scores,
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
            tally.add(gold, predicted, gold && predicted);
            own.add(gold, predicted, gold && predicted);
        }
        self.samples.add(1.0, own.scores());
        self.examples += 1;
        self.exact += u64::from(own.correct == own.gold && own.correct == own.predicted);
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
        let mut all = Tally::default();
        self.labels.iter().for_each(|tally| all += *tally);
        all.scores()
    }

    /// The mean over labels.
    pub fn mean(&self, mean: Mean) -> Scores {
        weighted_mean(self.labels.iter().map(|tally| (mean.weight(tally.gold), tally.scores())))
    }

    /// The mean over examples.
    pub fn samples(&self) -> Scores {
        self.samples.divided(self.examples as f64)
    }
}
