//! A task drawn at every step, the more often the farther its last validation score is from 100 (Gottumukkala et al. 2020, "Dynamic Sampling Strategies
//! for Multi-Task Reading Comprehension", <https://aclanthology.org/2020.acl-main.86/>, with 100 in place of the scores of models of one task).
//!
//! ```text
//! p(task) ~ max(100 - score, floor)       all alike before the first evaluation, and for tasks without validation data the mean of the others
//! ```

use super::{Outcome, Position, Sampler, SamplerKind, draw, positive, restored};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "score_gap",
    about: "a task drawn at every step, the more often the lower its last validation score",
    open: |table| {
        let Options { floor } = options(table)?;
        positive("floor", floor)?;
        Ok(Box::new(ScoreGap { floor, scores: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The least gap, in points: a task that is solved is not forgotten.
    floor: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { floor: 5.0 }
    }
}

struct ScoreGap {
    floor: f64,
    scores: BTreeMap<usize, f64>,
}

impl Sampler for ScoreGap {
    fn next(&mut self, position: &Position) -> Vec<usize> {
        let tasks: Vec<usize> = position.usable().collect();
        let gap = |score: f64| (100.0 - score).max(self.floor);
        let known: Vec<f64> = self.scores.values().map(|score| gap(*score)).collect();
        let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let weight = |task: &usize| self.scores.get(task).map_or(mean, |score| gap(*score));
        let weights: Vec<f64> = tasks.iter().map(weight).collect();
        draw(&weights, position).map(|at| tasks[at]).into_iter().collect()
    }

    fn observe(&mut self, outcome: &Outcome) {
        if let Outcome::Evaluated(scores) = outcome {
            self.scores.extend(scores.iter().copied());
        }
    }

    fn state(&self) -> Value {
        json!(self.scores)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.scores = restored(KIND.name, state)?;
        Ok(())
    }
}
