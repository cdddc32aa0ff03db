//! What is counted of predictions, and what it comes to: as scikit-learn and scipy do.

use super::{Config, Prediction, Problem, Thresholds};
use crate::metrics::classification::{Confusion, Mean};
use crate::metrics::label_threshold::{Judged, best_threshold};
use crate::metrics::multi_label::MultiLabel;
use crate::metrics::regression::Regression;
use crate::tasks::{Score, TypeScore, confusion, top};
use serde_json::{Map, json};
use std::collections::BTreeMap;

/// What the metric adds up.
pub enum Counts {
    /// Which label is taken for which.
    Single(Confusion),
    /// The scores of all labels of each example, and which of them hold: thresholds come last.
    Several(Vec<(Vec<f64>, Vec<bool>)>),
    /// Gold and predicted numbers.
    Numbers(Regression),
}

impl Counts {
    /// Nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        match config.problem {
            Problem::SingleLabel => Self::Single(Confusion::new(config.labels.len())),
            Problem::MultiLabel => Self::Several(Vec::new()),
            Problem::Regression => Self::Numbers(Regression::default()),
        }
    }

    /// Of one label each, which is taken for which.
    pub(super) fn confusion(&self) -> Option<&Confusion> {
        if let Self::Single(confusion) = self { Some(confusion) } else { None }
    }

    /// Of numbers, all of them.
    pub(super) fn numbers(&self) -> Option<&Regression> {
        if let Self::Numbers(numbers) = self { Some(numbers) } else { None }
    }

    /// Of several labels each, what is predicted at these thresholds.
    pub(super) fn at(&self, thresholds: &[f64]) -> Option<MultiLabel> {
        let Self::Several(all) = self else { return None };
        let mut counts = MultiLabel::new(thresholds.len());
        for (scores, holds) in all {
            counts.add(holds, &predicted(scores, thresholds));
        }
        Some(counts)
    }

    /// What it comes to.
    pub(super) fn score(&self, config: &Config) -> Score {
        match self {
            Self::Single(confusion) => of_one(config, confusion),
            Self::Several(_) => {
                of_several(config, &self.at(&config.label_thresholds()).unwrap_or_else(|| MultiLabel::new(0)))
            }
            Self::Numbers(numbers) => of_numbers(numbers),
        }
    }
}

/// Of each label whether its score reaches its threshold.
pub(super) fn predicted(scores: &[f64], thresholds: &[f64]) -> Vec<bool> {
    scores.iter().zip(thresholds).map(|(score, threshold)| score >= threshold).collect()
}

/// The most probable label; of equals the first.
pub(super) fn best(Prediction { scores }: &Prediction) -> Option<usize> {
    top(scores).map(|(label, _)| label)
}

fn of_one(config: &Config, counts: &Confusion) -> Score {
    let mut values = confusion::values(counts);
    values.insert("mcc".into(), json!(100.0 * counts.matthews()));
    Score { headline: "accuracy".into(), values, types: confusion::types(&config.labels, counts) }
}

fn of_several(config: &Config, counts: &MultiLabel) -> Score {
    let mut values = Map::new();
    let means = [
        ("micro", counts.micro()),
        ("macro", counts.mean(Mean::Macro)),
        ("weighted", counts.mean(Mean::Weighted)),
        ("samples", counts.samples()),
    ];
    for (mean, scores) in means {
        Score::insert_scores(&mut values, mean, scores, "");
    }
    values.insert("exact_match".into(), json!(100.0 * counts.exact_match()));
    let thresholds = config.label_thresholds();
    match thresholds.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => {
            values.insert("threshold".into(), json!(first));
        }
        _ => {
            let named = config.labels.iter().zip(&thresholds);
            values.extend(named.map(|(label, threshold)| (format!("{label}_threshold"), json!(threshold))));
        }
    }
    let types = config.labels.iter().enumerate();
    let of = |(label, name): (usize, &String)| TypeScore::of(name, counts.of(label).scores(), counts.of(label).gold);
    let types = types.map(of).collect();
    Score { headline: "micro_f1".into(), values, types }
}

fn of_numbers(numbers: &Regression) -> Score {
    let values = [
        ("pearson", 100.0 * numbers.pearson()),
        ("spearman", 100.0 * numbers.spearman()),
        ("mse", numbers.mean_squared_error()),
        ("mae", numbers.mean_absolute_error()),
    ];
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    Score { headline: "pearson".into(), values, types: Vec::new() }
}

/// The thresholds that these predictions decide, by label.
pub(super) fn chosen_thresholds(config: &Config, counts: &Counts) -> BTreeMap<String, f64> {
    let Counts::Several(all) = counts else { return BTreeMap::new() };
    let of =
        |label: usize| all.iter().filter_map(move |(scores, holds)| Some((*scores.get(label)?, *holds.get(label)?)));
    let labels = || 0..config.labels.len();
    let shared = (config.thresholds == Thresholds::ValidationShared)
        .then(|| best_threshold(&labels().flat_map(of).collect::<Vec<Judged>>()));
    let chosen = |label| shared.unwrap_or_else(|| best_threshold(&of(label).collect::<Vec<Judged>>()));
    config.labels.iter().cloned().zip(labels().map(chosen)).collect()
}
