//! A batch of every task in each step. An epoch ends when the task with the most batches has had all of them.
//!
//! ```text
//! repeat = true    the others begin anew as often as they are exhausted: 4 and 2 batches    AB AB AB AB
//! repeat = false   the others are spread over the steps, each batch once                    A  AB A  AB
//! ```

use super::{Position, Sampler, SamplerKind, StepOf};
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "joint",
    about: "a batch of every task in each step, until the longest task is exhausted",
    open: |table| {
        let Options { repeat } = options(table)?;
        Ok(Box::new(Joint { repeat }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Whether tasks with fewer batches begin anew.
    repeat: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { repeat: true }
    }
}

struct Joint {
    repeat: bool,
}

impl Sampler for Joint {
    fn step_of(&self) -> StepOf {
        StepOf::SeveralTasks
    }

    fn steps(&self, batches: &[usize]) -> usize {
        batches.iter().copied().max().unwrap_or(0)
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        let steps = self.steps(position.batches).max(1);
        // How many batches of a task come before a step.
        let before = |step: usize, task: usize| step * position.batches[task] / steps;
        let takes_part = |&task: &usize| self.repeat || before(position.step + 1, task) > before(position.step, task);
        position.usable().filter(takes_part).collect()
    }
}
