//! Scores of classification, as scikit-learn counts them: accuracy, precision, recall and F1 by label and as means, and
//! Matthews' correlation coefficient (Gorodkin's for more than two labels).
//!
//! ```text
//! (gold, predicted) -> confusion [labels, labels] -> scores from 0 to 1 (the correlation from -1 to 1)
//! ```
//!
//! A mean is over the labels that occur, gold or predicted, and what would be divided by zero is 0: scikit-learn's defaults. Where
//! nothing was predicted, scikit-learn is given a label of no number, and asked for the means over the others.

pub use super::tally::Scores;
use super::tally::{Tally, share, weighted_mean};

/// How often each label was taken for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    /// `[gold, predicted]`, row by row.
    counts: Vec<u64>,
    /// How often nothing was predicted for each gold label.
    unanswered: Vec<u64>,
}

/// How the means over labels are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// Every label counts the same.
    Macro,
    /// A label counts as often as it is gold.
    Weighted,
}

impl Mean {
    /// What a label weighs that is gold so often.
    pub(super) fn weight(self, gold: u64) -> f64 {
        if self == Self::Macro { 1.0 } else { gold as f64 }
    }
}

impl Confusion {
    /// Nothing counted yet, of so many labels.
    pub fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels], unanswered: vec![0; labels] }
    }

    /// Counts an example. Labels beyond the last are not counted.
    pub fn add(&mut self, gold: usize, predicted: usize) {
        self.add_times(gold, predicted, 1);
    }

    /// Counts so many examples.
    pub fn add_times(&mut self, gold: usize, predicted: usize, times: u64) {
        let labels = self.labels;
        if let Some(count) =
            self.counts.get_mut(gold * labels + predicted).filter(|_| gold < labels && predicted < labels)
        {
            *count += times;
        }
    }

    /// Counts examples for which nothing was predicted: they are wrong, and no label's prediction.
    pub fn add_unanswered(&mut self, gold: usize, times: u64) {
        if let Some(count) = self.unanswered.get_mut(gold) {
            *count += times;
        }
    }

    /// How often a gold label was predicted as another.
    pub fn count(&self, gold: usize, predicted: usize) -> u64 {
        self.counts.get(gold * self.labels + predicted).copied().unwrap_or(0)
    }

    /// How often a label is gold.
    pub fn gold(&self, label: usize) -> u64 {
        let answered: u64 = (0..self.labels).map(|other| self.count(label, other)).sum();
        answered + self.unanswered.get(label).copied().unwrap_or(0)
    }

    /// How often a label was predicted.
    pub fn predicted(&self, label: usize) -> u64 {
        (0..self.labels).map(|other| self.count(other, label)).sum()
    }

    /// All examples.
    pub fn examples(&self) -> u64 {
        self.counts.iter().chain(&self.unanswered).sum()
    }

    fn right(&self) -> u64 {
        (0..self.labels).map(|label| self.count(label, label)).sum()
    }

    /// The share of examples with the right label.
    pub fn accuracy(&self) -> f64 {
        share(self.right() as f64, self.examples() as f64)
    }

    /// The scores of one label.
    pub fn of(&self, label: usize) -> Scores {
        let (gold, predicted, correct) = (self.gold(label), self.predicted(label), self.count(label, label));
        Tally { gold, predicted, correct }.scores()
    }

    /// The mean of the scores of all labels that occur.
    pub fn mean(&self, mean: Mean) -> Scores {
        let occurs = |label: &usize| self.gold(*label) + self.predicted(*label) > 0;
        let labels = (0..self.labels).filter(occurs);
        weighted_mean(labels.map(|label| (mean.weight(self.gold(label)), self.of(label))))
    }

    /// Matthews' correlation coefficient, from -1 to 1.
    pub fn matthews(&self) -> f64 {
        let (all, right) = (self.examples() as f64, self.right() as f64);
        let marginals = || (0..self.labels).map(|label| (self.gold(label) as f64, self.predicted(label) as f64));
        let covariance = right * all - marginals().map(|(gold, predicted)| gold * predicted).sum::<f64>();
        let of_gold = all * all - marginals().map(|(gold, _)| gold * gold).sum::<f64>();
        let unanswered = self.unanswered.iter().sum::<u64>() as f64;
        let predicted = marginals().map(|(_, predicted)| predicted).chain([unanswered]);
        let of_predicted = all * all - predicted.map(|predicted| predicted * predicted).sum::<f64>();
        share(covariance, (of_gold * of_predicted).sqrt())
    }
}
