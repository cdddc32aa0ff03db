//! What a task scored, by name: what evaluations write and reports show.

use crate::metrics::bootstrap;
use crate::metrics::tally::Scores;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a task scored on a data set. All values are percentages unless their name says otherwise: `loss`, where there is one, is a mean
/// in nats, `mse` and `mae` are errors of numbers, in their units, and names that end in `threshold` are thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The name of the value that decides which checkpoint is best.
    pub headline: Cow<'static, str>,
    /// All values by name, in the order in which they are shown.
    pub values: Map<String, Value>,
    /// The breakdown by type, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<TypeScore>,
}

impl Score {
    /// Names precision, recall and F1 among the values, in per cent: `macro_precision` between `macro` and nothing behind.
    pub(super) fn insert_scores(values: &mut Map<String, Value>, before: &str, scores: Scores, behind: &str) {
        let Scores { precision, recall, f1 } = scores;
        for (measure, value) in [("precision", precision), ("recall", recall), ("f1", f1)] {
            values.insert(format!("{before}_{measure}{behind}"), json!(100.0 * value));
        }
    }

    /// The value that decides.
    pub fn headline_value(&self) -> f64 {
        self.get(&self.headline).unwrap_or(0.0)
    }

    /// Whether more of a value is better: not of losses, errors and thresholds.
    pub fn more_is_better(name: &str) -> bool {
        !matches!(name, "loss" | "mse" | "mae") && !name.ends_with("threshold")
    }

    /// How far each value may be off, by the scores of the same answers on other samples of the examples; nothing of counts and
    /// thresholds, which estimate nothing.
    pub fn intervals(&self, on_samples: &[Self]) -> BTreeMap<String, [f64; 2]> {
        let names = self.values.keys().filter(|name| *name != "questions" && !name.ends_with("threshold"));
        let of = |name: &str| bootstrap::interval(on_samples.iter().filter_map(|score| score.get(name)).collect());
        names.filter_map(|name| Some((name.clone(), of(name)?))).collect()
    }

    /// A value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).and_then(Value::as_f64)
    }
}

/// One row of a breakdown by type, in per cent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeScore {
    /// The type.
    pub name: String,
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1.
    pub f1: f64,
    /// How many gold ones there are.
    pub support: usize,
}

impl TypeScore {
    /// Of scores from 0 to 1.
    pub(super) fn of(name: impl Into<String>, scores: Scores, support: u64) -> Self {
        let [precision, recall, f1] = [scores.precision, scores.recall, scores.f1].map(|score| 100.0 * score);
        Self { name: name.into(), precision, recall, f1, support: support as usize }
    }
}
