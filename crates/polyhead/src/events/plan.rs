//! The event `planned`: what a run will do, and what in its data is probably a mistake.

use super::{FORMAT, HeadStart};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// What a run will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The format of `metrics.jsonl`: see [`FORMAT`].
    #[serde(default = "first_format")]
    pub format: u32,
    /// What each task brings.
    pub tasks: Vec<TaskPlan>,
    /// Passes over the data.
    pub epochs: usize,
    /// Steps of one epoch; 0 where it was not recorded.
    #[serde(default)]
    pub steps_per_epoch: usize,
    /// All steps.
    pub steps: usize,
    /// Steps in which the learning rate rises.
    #[serde(default)]
    pub warmup_steps: usize,
    /// After how many evaluations in a row that are not better the run ends before its last step; none where it takes all of
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// What matrix products are computed in, `f32` or `bf16`; empty where it was not recorded.
    #[serde(default)]
    pub precision: String,
    /// The parameters of the model; none where they were not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<ParameterCounts>,
    /// The tasks that go through the encoder together, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Vec<String>>,
    /// What the heads began with, where training began with a model that had some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadStart>,
    /// What in the data is probably a mistake.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// How many parameters a model has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ParameterCounts {
    /// All of them.
    pub all: usize,
    /// Those that are trained: neither frozen nor of no use.
    pub trained: usize,
}

/// Format 1 did not say its number.
fn first_format() -> u32 {
    1
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            format: FORMAT,
            tasks: Vec::new(),
            epochs: 0,
            steps_per_epoch: 0,
            steps: 0,
            warmup_steps: 0,
            patience: None,
            precision: String::new(),
            parameters: None,
            shared: Vec::new(),
            heads: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// What a task brings to each epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Its name.
    pub name: String,
    /// Training examples.
    pub examples: usize,
    /// Windows that they make.
    pub windows: usize,
    /// Batches of those, each of one step.
    pub batches: usize,
    /// Real tokens.
    pub tokens: usize,
    /// Validation examples.
    #[serde(default)]
    pub validation: usize,
    /// What no window holds.
    #[serde(default)]
    pub lost: Lost,
}

/// What truncation costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Tokens that were cut off.
    pub tokens: usize,
    /// Gold entities or answers that no window holds whole.
    pub golds: usize,
}

/// What is probably a mistake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// One example, or a few.
    FewExamples,
    /// A file without sentence breaks, or one where some are missing.
    LongExamples,
    /// Validation holds the training examples.
    ValidationIsTraining,
    /// Labels that occur once, or a few times.
    RareLabels,
    /// Labels of the training file that a limit leaves out.
    LabelsNotInTraining,
    /// Labels of the training data that validation never has.
    LabelsNotInValidation,
    /// Labels of validation that training never has.
    LabelsOnlyInValidation,
    /// Words that the tokenizer does not know.
    UnknownWords,
    /// A task with few batches beside one with many, in steps of several tasks.
    UnevenTasks,
    /// A kind that only a later version knows, or none was recorded.
    #[default]
    #[serde(other)]
    Other,
}

/// Something in the data that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is.
    #[serde(default)]
    pub kind: WarningKind,
    /// The task.
    pub task: String,
    /// `train` or `validation`.
    pub split: String,
    /// What was found, with its figures, for people.
    pub message: String,
    /// The figures by name.
    #[serde(default)]
    pub figures: Map<String, Value>,
    /// What to do.
    #[serde(default)]
    pub hint: String,
}

impl Warning {
    /// What the notes of a trainer begin with where they are warnings.
    pub const PREFIX: &'static str = "warning: ";

    /// Where it is, what it is and what to do, for people.
    pub fn line(&self) -> String {
        let Self { task, split, message, hint, .. } = self;
        format!("data.{task}.{split}: {message} ({hint})")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.line())
    }
}
