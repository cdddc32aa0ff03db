//! The events `step` and `diagnosed`: an update of the parameters, and how the tasks pulled the shared encoder before it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Map;

/// An update of the parameters.
///
/// Format 1 of `metrics.jsonl` had one task a step, whose fields stood in the step itself: it is read too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// How much of that the balancer took, beyond the passes of the tasks themselves: products and sums of gradients, weights, a forward pass more.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub balance_seconds: f64,
}

/// A task's part of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Those of them that another task of the step brought too, and that went through the encoder once for both.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_tokens: usize,
    /// The example of each of its windows, by its place in the training data, from 0.
    #[serde(default)]
    pub examples: Vec<usize>,
}

fn one() -> f64 {
    1.0
}

pub(super) fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_nothing(seconds: &f64) -> bool {
    *seconds == 0.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

impl Step {
    /// Real tokens that went through the encoder.
    pub fn tokens(&self) -> usize {
        self.tasks.iter().map(|task| task.tokens.saturating_sub(task.shared_tokens)).sum()
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
    #[serde(default)]
    balance_seconds: f64,
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
        let StepOfAnyFormat { balance_seconds, task, loss, tokens, examples, .. } = read;
        tasks.extend(task.map(|task| StepTask { task, loss, weight: 1.0, tokens, shared_tokens: 0, examples }));
        Self { step, steps, epoch, tasks, lr, grad_norm, group_norms, seconds, balance_seconds }
    }
}

/// Named norms, in the order of the model; as JSON an object. One that was no number is absent when read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Norms(pub Vec<(String, f64)>);

impl Serialize for Norms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, norm)| (name, norm)))
    }
}

impl<'de> Deserialize<'de> for Norms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = Map::deserialize(deserializer)?;
        Ok(Self(named.into_iter().filter_map(|(name, norm)| Some((name, norm.as_f64()?))).collect()))
    }
}

/// How the tasks pulled the shared encoder before a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// The step before whose update it was.
    pub step: usize,
    /// Norms and cosines.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// What it cost.
    #[serde(default)]
    pub seconds: f64,
}

/// How the tasks pull the shared encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The norm of each task's gradient on the encoder.
    #[serde(default)]
    pub norms: Norms,
    /// The cosine of each pair.
    #[serde(default)]
    pub cosines: Vec<Cosine>,
}

/// The cosine between the gradients of two tasks on the encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// One task.
    pub a: String,
    /// The other, which comes later in the model.
    pub b: String,
    /// The cosine; none where a gradient is zero.
    pub cosine: Option<f64>,
}
