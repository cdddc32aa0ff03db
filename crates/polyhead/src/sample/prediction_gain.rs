//! A bandit that prefers the tasks that are being learnt fastest (Graves et al. 2017, "Automated Curriculum Learning for Neural Networks",
//! <https://arxiv.org/abs/1704.03003>: prediction gain, Exp3.S).
//!
//! ```text
//! gain  = L before the update - L after it, on the same batch
//! r     = gain, so that the 20th percentile of past gains is -1 and the 80th is 1, cut there
//! p     = (1 - explore) softmax(w) + explore / K
//! w_i   = ln((1 - a) e^(w_i + rate r_i / p_i) + a / (K - 1) sum over the others of e^(w_j + rate r_j / p_j)),   a = 1 / t
//! ```
//!
//! It needs one forward pass more a step.

use super::{Outcome, Position, Sampler, SamplerKind, draw, positive, restored, softmax};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "prediction_gain",
    about: "a bandit that prefers the tasks that are being learnt fastest",
    open: |table| {
        let Options { rate, explore } = options(table)?;
        positive("rate", rate)?;
        if !(explore > 0.0 && explore <= 1.0) {
            return Err(Error::usage(format!("explore: expected a number above 0 and at most 1, found {explore}")));
        }
        Ok(Box::new(PredictionGain { rate, explore, drawn: 1.0, count: 1, state: State::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How fast the weights move.
    rate: f64,
    /// The share of the steps whose task is drawn evenly.
    explore: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { rate: 0.05, explore: 0.1 }
    }
}

struct PredictionGain {
    rate: f64,
    explore: f64,
    /// How likely the task of the step under way was, and of how many.
    drawn: f64,
    count: usize,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// w
    weights: BTreeMap<usize, f64>,
    /// Past gains, the newest last.
    gains: Vec<f64>,
    /// Steps so far.
    steps: u64,
}

/// So many past gains are kept.
const KEPT: usize = 500;

impl State {
    fn scaled(&self, gain: f64) -> f64 {
        let mut sorted = self.gains.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get((share * (sorted.len().max(1) - 1) as f64).round() as usize).copied();
        match (at(0.2), at(0.8)) {
            (Some(low), Some(high)) if high > low => (2.0 * (gain - low) / (high - low) - 1.0).clamp(-1.0, 1.0),
            _ => 0.0,
        }
    }
}

impl Sampler for PredictionGain {
    fn needs_losses_after(&self) -> bool {
        true
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        let tasks: Vec<usize> = position.usable().collect();
        self.count = tasks.len();
        let weight = |task: &usize| self.state.weights.get(task).copied().unwrap_or_default();
        let weights: Vec<f64> = softmax(&tasks.iter().map(weight).collect::<Vec<_>>())
            .iter()
            .map(|share| (1.0 - self.explore) * share + self.explore / tasks.len() as f64)
            .collect();
        tasks.iter().for_each(|task| _ = self.state.weights.entry(*task).or_default());
        let Some(at) = draw(&weights, position) else { return Vec::new() };
        self.drawn = weights[at];
        vec![tasks[at]]
    }

    fn observe(&mut self, outcome: &Outcome) {
        let Outcome::Step(tasks) = outcome else { return };
        let state = &mut self.state;
        state.steps += 1;
        for part in *tasks {
            let Some(after) = part.after else { continue };
            let gain = part.loss - after;
            let reward = state.scaled(gain);
            state.gains.push(gain);
            let over = state.gains.len().saturating_sub(KEPT);
            state.gains.drain(..over);
            *state.weights.entry(part.task).or_default() += self.rate * reward / self.drawn;
        }
        // Some of every weight goes to the others, less and less.
        let share = 1.0 / state.steps as f64;
        let others = (self.count.max(2) - 1) as f64;
        let most = state.weights.values().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = state.weights.values().map(|weight| (weight - most).exp()).sum();
        for weight in state.weights.values_mut() {
            let own = (*weight - most).exp();
            *weight = ((1.0 - share) * own + share / others * (total - own)).max(f64::MIN_POSITIVE).ln();
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
