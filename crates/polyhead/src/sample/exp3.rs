//! A bandit that prefers the tasks whose loss is high (Albalak et al. 2023, "Efficient Online Data Mixing For Language Model Pre-Training",
//! <https://arxiv.org/abs/2312.02406>: EXP3 with rewards that are divided by how likely they were).
//!
//! ```text
//! e_t  = min(1 / K, sqrt(ln K / (K t)))
//! R_i += L / scale / p_i                                of the task i of a step
//! p_i  = (1 - K e_t) softmax(e_(t-1) R)_i + e_t
//! ```
//!
//! Until every task was drawn once, the next one that was not is taken.

use super::{Outcome, Position, Sampler, SamplerKind, draw, positive, restored, softmax};
use crate::error::Result;
use crate::strategy::options;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "exp3",
    about: "a bandit that prefers the tasks whose loss is high",
    open: |table| {
        let Options { scale } = options(table)?;
        positive("scale", scale)?;
        Ok(Box::new(Exp3 { scale, drawn: 1.0, state: State::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What losses are divided by before they count as rewards.
    scale: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { scale: 10.0 }
    }
}

struct Exp3 {
    scale: f64,
    /// How likely the task of the step under way was.
    drawn: f64,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Steps so far.
    steps: u64,
    /// R, of the tasks that were drawn.
    rewards: BTreeMap<usize, f64>,
}

/// e_t
fn exploration(tasks: usize, step: u64) -> f64 {
    let count = tasks as f64;
    (1.0 / count).min((count.ln() / (count * step.max(1) as f64)).sqrt())
}

impl Sampler for Exp3 {
    fn next(&mut self, position: &Position) -> Vec<usize> {
        let tasks: Vec<usize> = position.usable().collect();
        let (count, State { steps, rewards }) = (tasks.len(), &self.state);
        if let Some(&new) = tasks.iter().find(|task| !rewards.contains_key(task)) {
            self.drawn = 1.0 / count as f64;
            return vec![new];
        }
        let reward = |task: &usize| exploration(count, *steps) * rewards.get(task).copied().unwrap_or_default();
        let explore = exploration(count, steps + 1);
        let weights: Vec<f64> = softmax(&tasks.iter().map(reward).collect::<Vec<_>>())
            .iter()
            .map(|share| (1.0 - count as f64 * explore) * share + explore)
            .collect();
        let Some(at) = draw(&weights, position) else { return Vec::new() };
        self.drawn = weights[at];
        vec![tasks[at]]
    }

    fn observe(&mut self, outcome: &Outcome) {
        let Outcome::Step(tasks) = outcome else { return };
        for part in *tasks {
            *self.state.rewards.entry(part.task).or_default() += part.loss / self.scale / self.drawn;
        }
        self.state.steps += 1;
    }

    fn state(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = restored(KIND.name, state)?;
        Ok(())
    }
}
