//! GradNorm: weights are learnt so that the gradients of all tasks come to a common length, longer where a task learns slowly (Chen et al. 2018,
//! "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks", <https://arxiv.org/abs/1711.02257>).
//!
//! ```text
//! weight_i = T softmax(v)_i;  G_i = weight_i |g_i|;  r_i = (L_i / first L_i) / mean over tasks
//! loss(v)  = sum of |G_i - mean G * r_i ^ alpha|           the second term is a constant target
//! ```
//!
//! The first L_i is the mean of the first epoch, in which all weights are 1: a single batch says little. Lengths are those of the gradient on the whole
//! encoder. v is learnt by Adam, at a rate of its own that follows the schedule.

use super::{Balancer, BalancerKind, Learnt, MeanLosses, Needs, StepTasks, not_negative, positive, restored, softmax};
use crate::error::Result;
use crate::strategy::options;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "gradnorm",
    about: "learnt weights that bring gradients to a common length, longer where a task learns slowly",
    open: |table| {
        let Options { alpha, learning_rate } = options(table)?;
        positive("learning_rate", learning_rate)?;
        not_negative("alpha", alpha)?;
        Ok(Box::new(GradNorm { alpha, learning_rate, state: State::default(), gradients: Vec::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How strongly slow tasks are helped.
    alpha: f64,
    /// The peak of the rate at which the weights are learnt.
    learning_rate: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 1.5, learning_rate: 0.025 }
    }
}

struct GradNorm {
    alpha: f64,
    learning_rate: f64,
    state: State,
    /// What the weights of this step are to learn, by task.
    gradients: Vec<(usize, f64)>,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Those of the first epoch.
    first: MeanLosses,
    /// v.
    weights: BTreeMap<usize, Learnt>,
}

impl Balancer for GradNorm {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let (products, losses) = (step.products()?, step.losses()?);
        let Some(first) = self.state.first.of_all(step).filter(|_| step.epoch > 0) else {
            return Ok(vec![1.0; step.tasks.len()]);
        };
        let count = step.tasks.len() as f64;
        let logits: Vec<f64> =
            step.tasks.iter().map(|task| self.state.weights.get(task).map_or(0.0, |learnt| learnt.value)).collect();
        let weights: Vec<f64> = softmax(&logits).iter().map(|share| count * share).collect();
        let lengths: Vec<f64> = (0..step.tasks.len()).map(|at| products[at][at].sqrt()).collect();
        let ratios: Vec<f64> = losses.iter().zip(&first).map(|(loss, first)| loss / first.max(1e-12)).collect();
        let mean_ratio = (ratios.iter().sum::<f64>() / count).max(1e-12);
        let mean = weights.iter().zip(&lengths).map(|(weight, length)| weight * length).sum::<f64>() / count;
        // Of the loss by each weight, then by v through the softmax.
        let slope = |at: usize| {
            let target = mean * (ratios[at] / mean_ratio).powf(self.alpha);
            let difference = weights[at] * lengths[at] - target;
            if difference == 0.0 { 0.0 } else { lengths[at] * difference.signum() }
        };
        let slopes: Vec<f64> = (0..weights.len()).map(slope).collect();
        let through: f64 = slopes.iter().zip(&weights).map(|(slope, weight)| slope * weight / count).sum();
        let gradient = |at: usize| (step.tasks[at], weights[at] * (slopes[at] - through));
        self.gradients = (0..weights.len()).map(gradient).collect();
        Ok(weights)
    }

    fn observe(&mut self, step: &StepTasks, rate: f64) {
        if step.epoch == 0 {
            self.state.first.add(step);
        }
        for (task, gradient) in std::mem::take(&mut self.gradients).into_iter().filter(|(_, by)| by.is_finite()) {
            self.state.weights.entry(task).or_default().step(gradient, self.learning_rate * rate);
        }
    }

    fn state(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = restored(KIND.name, state)?;
        Ok(())
    }
}
