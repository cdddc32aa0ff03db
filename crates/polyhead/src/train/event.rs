//! What a trainer tells: plan, steps, scores, the end. Each serialises to one line of `metrics.jsonl`.

use super::Plan;
use super::counters::Counts;
use super::diagnostics::{Diagnosis, Norms};
use crate::tasks::Score;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The format of `metrics.jsonl` that this version writes, in its event `planned`: 1 had one task a step (and no number), 2
/// has the tasks of a step in a list. Both are read.
pub const FORMAT: u32 = 2;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What will be done; the first event.
    Planned(Plan),
    /// An update of the parameters.
    Step(Step),
    /// How the tasks pull the shared encoder; it follows its step.
    Diagnosed(Diagnosed),
    /// An evaluation: at the end of an epoch, or within one.
    Evaluated(Evaluated),
    /// A checkpoint was written.
    Saved(Checkpoint),
    /// An earlier process had come to this checkpoint; the run goes on from there.
    Resumed(Checkpoint),
    /// The run was asked to stop, saved this checkpoint and can be resumed; the last event.
    Stopped(Checkpoint),
    /// The end; the last event.
    Finished(Finished),
}

/// All that a run needs to go on.
#[derive(Debug, Clone, Serialize)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: usize,
    /// Its folder.
    pub checkpoint: PathBuf,
}

/// An update of the parameters.
///
/// The same type writes and reads it. Format 1 of `metrics.jsonl` had one task a step, whose fields stood in the step itself:
/// it is read too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "StepOfAnyFormat")]
pub struct Step {
    /// Its number, from 1.
    pub step: usize,
    /// How many there will be; 0 where it was not recorded.
    pub steps: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// The tasks whose batches it took, in order.
    pub tasks: Vec<StepTask>,
    /// The learning rate.
    pub lr: f64,
    /// The global norm of the gradient, before clipping.
    pub grad_norm: Option<f64>,
    /// The same for each group of layers.
    pub group_norms: Norms,
    /// How long it took.
    pub seconds: f64,
}

/// A task's part of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepTask {
    /// The task.
    pub task: String,
    /// Its mean loss, before any weight. JSON has no NaN: a loss that was none is `null`.
    pub loss: Option<f64>,
    /// The weight that the balancer gave it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// Real tokens of its batch, padding not counted.
    pub tokens: usize,
    /// The example of each of its windows, by its place in the training data, from 0.
    #[serde(default)]
    pub examples: Vec<usize>,
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

impl Step {
    /// Real tokens of all its batches.
    pub fn tokens(&self) -> usize {
        self.tasks.iter().map(|task| task.tokens).sum()
    }

    /// A task's part, if it had one.
    pub fn of(&self, task: &str) -> Option<&StepTask> {
        self.tasks.iter().find(|part| part.task == task)
    }
}

/// A step as any version wrote it.
#[derive(Deserialize)]
struct StepOfAnyFormat {
    step: usize,
    #[serde(default)]
    steps: usize,
    #[serde(default)]
    epoch: usize,
    #[serde(default)]
    tasks: Vec<StepTask>,
    #[serde(default)]
    lr: f64,
    #[serde(default)]
    grad_norm: Option<f64>,
    #[serde(default)]
    group_norms: Norms,
    seconds: f64,
    // Format 1.
    task: Option<String>,
    #[serde(default)]
    loss: Option<f64>,
    #[serde(default)]
    tokens: usize,
    #[serde(default)]
    examples: Vec<usize>,
}

impl From<StepOfAnyFormat> for Step {
    fn from(read: StepOfAnyFormat) -> Self {
        let StepOfAnyFormat { step, steps, epoch, mut tasks, lr, grad_norm, group_norms, seconds, .. } = read;
        let StepOfAnyFormat { task, loss, tokens, examples, .. } = read;
        tasks.extend(task.map(|task| StepTask { task, loss, weight: 1.0, tokens, examples }));
        Self { step, steps, epoch, tasks, lr, grad_norm, group_norms, seconds }
    }
}

/// How the tasks pull the shared encoder.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosed {
    /// The step before whose update it was.
    pub step: usize,
    /// Norms and cosines.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// What it cost.
    pub seconds: f64,
}

/// An evaluation: at the end of an epoch, or within one.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluated {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps taken.
    pub step: usize,
    /// The mean training loss of each task in this epoch so far.
    pub losses: BTreeMap<String, f64>,
    /// The score of each task that has validation data.
    pub scores: BTreeMap<String, Score>,
    /// What each task has had so far.
    pub counts: BTreeMap<String, Counts>,
    /// The value by which epochs are compared; none without validation data.
    pub value: Option<f64>,
    /// Whether this is the best so far, whose model is kept.
    pub improved: bool,
    /// How long the evaluation took, saving included.
    pub seconds: f64,
    /// A few answers of each task: those to its last validation examples.
    pub samples: Vec<Sample>,
}

/// An answer to a validation example.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The task.
    pub task: String,
    /// The answer as `predict` gives it.
    pub answer: Value,
    /// One or two lines for people.
    pub text: String,
}

/// The end of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Finished {
    /// The run folder.
    pub folder: PathBuf,
    /// The folder of the best model.
    pub model: PathBuf,
    /// The epoch of the best model, from 1.
    pub best_epoch: usize,
    /// Its value by the rule.
    pub best_value: f64,
    /// The rule, for people.
    pub rule: String,
    /// Its scores.
    pub scores: BTreeMap<String, Score>,
    /// A few of its answers.
    #[serde(skip)]
    pub samples: Vec<Sample>,
    /// What each task has had.
    pub counts: BTreeMap<String, Counts>,
    /// Steps taken.
    pub steps: usize,
    /// Real tokens trained on.
    pub tokens: u64,
    /// How long it took, evaluation included.
    pub seconds: f64,
}
