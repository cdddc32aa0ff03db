//! FAMO: weights that make all losses fall at the same rate, from losses alone (Liu et al. 2023, "FAMO: Fast Adaptive Multitask
//! Optimization", <https://arxiv.org/abs/2306.03792>, algorithm 1).
//!
//! ```text
//! z = softmax(w);  weight_i = z_i / L_i / sum of z / L                       the derivative of sum of z_i ln L_i, scaled
//! after the update:  d_i = ln L_i before - ln L_i after, on the same batches;  w by Adam with the gradient J_softmax^T d, and decay
//! ```
//!
//! It needs one forward pass more a step, and no gradient of a task by itself.

use super::{Balancer, BalancerKind, Learnt, Needs, StepTasks, logarithm, not_negative, positive, restored, softmax};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "famo",
    about: "weights that make all losses fall at the same rate, by one forward pass more",
    open: |table| {
        let Options { learning_rate, logit_decay } = options(table)?;
        positive("learning_rate", learning_rate)?;
        not_negative("logit_decay", logit_decay)?;
        Ok(Box::new(Famo { learning_rate, logit_decay, logits: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The peak of the rate at which the weights are learnt.
    learning_rate: f64,
    /// What draws the weights to each other.
    logit_decay: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { learning_rate: 0.025, logit_decay: 1e-3 }
    }
}

struct Famo {
    learning_rate: f64,
    logit_decay: f64,
    /// w, by task.
    logits: BTreeMap<usize, Learnt>,
}

impl Famo {
    fn shares(&self, step: &StepTasks) -> Vec<f64> {
        let logit = |task: &usize| self.logits.get(task).map_or(0.0, |logit| logit.value);
        softmax(&step.tasks.iter().map(logit).collect::<Vec<_>>())
    }
}

impl Balancer for Famo {
    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn needs_losses_after(&self) -> bool {
        true
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        // z / L as a softmax of ln z - ln L: no loss is too small.
        let shares = self.shares(step);
        let logs: Vec<f64> =
            shares.iter().zip(step.losses()?).map(|(share, &loss)| share.ln() - logarithm(loss)).collect();
        Ok(softmax(&logs))
    }

    fn observe(&mut self, step: &StepTasks, rate: f64) {
        let (Ok(before), Some(after)) = (step.losses(), step.after) else { return };
        let fell: Vec<f64> = before.iter().zip(after).map(|(&a, &b)| logarithm(a) - logarithm(b)).collect();
        let shares = self.shares(step);
        let mean: f64 = shares.iter().zip(&fell).map(|(share, fell)| share * fell).sum();
        for ((&task, share), fell) in step.tasks.iter().zip(&shares).zip(&fell) {
            let logit = self.logits.entry(task).or_default();
            let gradient = share * (fell - mean) + self.logit_decay * logit.value;
            logit.step(gradient, self.learning_rate * rate);
        }
    }

    fn state(&self) -> Value {
        json!(self.logits)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.logits = restored(KIND.name, state)?;
        Ok(())
    }
}
