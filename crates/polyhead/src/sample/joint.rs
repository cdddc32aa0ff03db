//! A batch of every task in each step. An epoch ends when the task with the most batches has had all of them; the others
//! begin anew as often as they are exhausted.

use super::{Position, Sampler, SamplerKind, StepOf};
use crate::strategy::without_options;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "joint",
    about: "a batch of every task in each step, until the longest task is exhausted",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Joint))
    },
};

struct Joint;

impl Sampler for Joint {
    fn step_of(&self) -> StepOf {
        StepOf::SeveralTasks
    }

    fn steps(&self, batches: &[usize]) -> usize {
        batches.iter().copied().max().unwrap_or(0)
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        (0..position.batches.len()).filter(|&task| position.batches[task] > 0).collect()
    }
}
