//! ExcessMTL: a task that is still far from its optimum counts more; how far, its gradients say (He et al. 2024, "Robust Multi-Task Learning with
//! Excess Risks", <https://arxiv.org/abs/2402.02009>).
//!
//! ```text
//! S_i     += g_i^2;  r_i = sum of g_i^2 / sqrt(S_i + 1e-7), beside what it was at the first step
//! weight_i ~ weight_i exp(weight_rate r_i),  T in all
//! ```
//!
//! It keeps one sum of squares of the encoder's size for each task, in checkpoints too.

use super::{Balancer, BalancerKind, Needs, StepTasks, positive, restored};
use crate::error::Result;
use crate::parameters::{Gradients, KeptGradients, Parameters};
use crate::strategy::options;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "excess",
    about: "a task whose gradients say that it is far from its optimum counts more",
    open: |table| {
        let Options { weight_rate } = options(table)?;
        positive("weight_rate", weight_rate)?;
        Ok(Box::new(Excess { weight_rate, state: BTreeMap::new(), squares: KeptGradients::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How far the weights move at a step.
    weight_rate: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { weight_rate: 0.01 }
    }
}

struct Excess {
    weight_rate: f64,
    state: BTreeMap<usize, OfTask>,
    squares: KeptGradients,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct OfTask {
    /// The risk at the first step.
    first: f64,
    weight: f64,
}

impl Balancer for Excess {
    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        Ok(step.tasks.iter().map(|task| self.state.get(task).map_or(1.0, |known| known.weight)).collect())
    }

    fn combine(
        &mut self,
        step: &StepTasks,
        gradients: Vec<Gradients>,
        parameters: &Parameters,
    ) -> Result<(Gradients, Vec<f64>)> {
        for (&task, gradients) in step.tasks.iter().zip(&gradients) {
            let sums = self.squares.0.entry(task).or_default();
            sums.add_squares(gradients, parameters)?;
            let risk = gradients.squares_over_roots(sums, 1e-7);
            match self.state.get_mut(&task) {
                Some(known) => {
                    let excess = risk / known.first.max(f64::MIN_POSITIVE);
                    known.weight *= (self.weight_rate * excess).min(100.0).exp();
                }
                None => _ = self.state.insert(task, OfTask { first: risk, weight: 1.0 }),
            }
        }
        let total: f64 = self.state.values().map(|known| known.weight).sum();
        let count = self.state.len() as f64;
        self.state.values_mut().for_each(|known| known.weight *= count / total);
        let weights = self.weigh(step)?;
        Ok((Gradients::weighted_sum(gradients, &weights, parameters)?, weights))
    }

    fn state(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = restored(KIND.name, state)?;
        Ok(())
    }

    fn kept(&self) -> Option<&KeptGradients> {
        Some(&self.squares)
    }

    fn restore_kept(&mut self, kept: KeptGradients) {
        self.squares = kept;
    }
}
