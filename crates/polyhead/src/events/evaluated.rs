//! The events `evaluated` and `finished`: scores on the validation data, and the end of a run.

use crate::tasks::{Calibration, Score};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An evaluation: at the end of an epoch, or within one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps taken; 0 where it was not recorded.
    #[serde(default)]
    pub step: usize,
    /// The mean training loss of each task in this epoch so far.
    #[serde(default)]
    pub losses: BTreeMap<String, f64>,
    /// The score of each task that has validation data.
    pub scores: BTreeMap<String, Score>,
    /// The temperatures that logits are divided by here, by task: of those that have training examples held back for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calibration: BTreeMap<String, Calibration>,
    /// What each task has had so far.
    #[serde(default)]
    pub counts: BTreeMap<String, Counts>,
    /// The value by which epochs are compared; none without validation data.
    pub value: Option<f64>,
    /// Whether this is the best so far, whose model is kept.
    #[serde(default)]
    pub improved: bool,
    /// Evaluations since the best one, this one among them: 0 if it is the best so far, or where it was not recorded.
    #[serde(default, skip_serializing_if = "super::step::is_zero")]
    pub since_best: usize,
    /// How long the evaluation took, saving included.
    #[serde(default)]
    pub seconds: f64,
    /// A few answers of each task: those to its last validation examples.
    #[serde(default)]
    pub samples: Vec<Sample>,
}

/// An answer to a validation example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The task.
    pub task: String,
    /// The answer as `predict` gives it.
    pub answer: Value,
    /// One or two lines for people.
    pub text: String,
}

/// What a task has had so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Batches trained on.
    pub batches: u64,
    /// Windows in them.
    pub windows: u64,
    /// Examples, each as often as it came.
    pub examples: u64,
    /// Different examples.
    pub unique: u64,
    /// Passes over the task's windows, the one under way as a fraction.
    pub epochs: f64,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The run folder.
    #[serde(default)]
    pub folder: PathBuf,
    /// The folder of the best model.
    #[serde(default)]
    pub model: PathBuf,
    /// The epoch of the best model, from 1.
    pub best_epoch: usize,
    /// Its value by the rule.
    #[serde(default)]
    pub best_value: f64,
    /// The rule, for people.
    #[serde(default)]
    pub rule: String,
    /// Its scores.
    #[serde(default)]
    pub scores: BTreeMap<String, Score>,
    /// A few of its answers. They stand in its evaluation, and are not written again.
    #[serde(skip)]
    pub samples: Vec<Sample>,
    /// What each task has had.
    #[serde(default)]
    pub counts: BTreeMap<String, Counts>,
    /// Steps taken.
    pub steps: usize,
    /// Whether `train.patience` ended the run before the last step of its plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_early: bool,
    /// Real tokens trained on.
    #[serde(default)]
    pub tokens: u64,
    /// How long it took, evaluation included.
    pub seconds: f64,
}
