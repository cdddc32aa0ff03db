//! Random weights, drawn anew at every step (Lin et al. 2022, "Reasonable Effectiveness of Random Weighting: A Litmus Test for
//! Multi-Task Learning", <https://arxiv.org/abs/2111.10603>).
//!
//! ```text
//! weights = softmax of a normal number for each task, over all tasks of the run
//! ```
//!
//! It needs nothing of a step, and so works with one task a step too. What is worth its cost must be better than this.

use super::{Balancer, BalancerKind, Needs, StepTasks, softmax};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "rlw",
    about: "random weights at every step: what a strategy must be better than",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Rlw))
    },
};

struct Rlw;

impl Balancer for Rlw {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let drawn: Vec<f64> = (0..step.count as u64).map(|task| step.key.normal(task)).collect();
        let weights = softmax(&drawn);
        Ok(step.tasks.iter().map(|&task| weights.get(task).copied().unwrap_or_default()).collect())
    }
}
