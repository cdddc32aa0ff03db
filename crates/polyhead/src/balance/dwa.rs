//! Dynamic weight average: a task whose loss falls slowly counts more (Liu, Johns and Davison 2019, "End-to-End Multi-Task Learning with
//! Attention", <https://arxiv.org/abs/1803.10704>, section 3.3).
//!
//! ```text
//! r_i      = mean loss of the last epoch / mean loss of the one before
//! weight_i = tasks * softmax(r / temperature)_i          1 in the first two epochs
//! ```
//!
//! It looks at epochs, not at steps, and so works with one task a step too.

use super::{Balancer, BalancerKind, MeanLosses, Needs, StepTasks, positive, restored, softmax};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "dwa",
    about: "a task whose loss fell slowly in the last epoch counts more",
    open: |table| {
        let options: Options = options(table)?;
        positive("temperature", options.temperature)?;
        Ok(Box::new(Dwa { temperature: options.temperature, epochs: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    temperature: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { temperature: 2.0 }
    }
}

struct Dwa {
    temperature: f64,
    /// Of each epoch that may still be asked for.
    epochs: BTreeMap<usize, MeanLosses>,
}

impl Dwa {
    fn mean(&self, epoch: usize, task: usize) -> Option<f64> {
        self.epochs.get(&epoch)?.of(task)
    }

    /// By how much the loss of a task fell: 1 where that is not known.
    fn ratio(&self, epoch: usize, task: usize) -> f64 {
        let ratio = || Some(self.mean(epoch.checked_sub(1)?, task)? / self.mean(epoch.checked_sub(2)?, task)?);
        ratio().filter(|ratio| ratio.is_finite()).unwrap_or(1.0)
    }
}

impl Balancer for Dwa {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        if step.epoch < 2 {
            return Ok(vec![1.0; step.tasks.len()]);
        }
        let ratios: Vec<f64> = (0..step.count).map(|task| self.ratio(step.epoch, task) / self.temperature).collect();
        let weights = softmax(&ratios);
        Ok(step.tasks.iter().map(|&task| step.count as f64 * weights.get(task).copied().unwrap_or_default()).collect())
    }

    fn observe(&mut self, step: &StepTasks, _rate: f64) {
        self.epochs.retain(|&epoch, _| epoch + 2 >= step.epoch);
        self.epochs.entry(step.epoch).or_default().add(step);
    }

    fn state(&self) -> Value {
        json!(self.epochs)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.epochs = restored(KIND.name, state)?;
        Ok(())
    }
}
