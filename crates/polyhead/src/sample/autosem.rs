//! Thompson sampling of the task that helps a target (Guo, Pasunuru and Bansal 2019, "AutoSeM: Automatic Task Selection and Mixing in Multi-Task Learning",
//! <https://arxiv.org/abs/1904.04153>, section 3.3).
//!
//! ```text
//! between two evaluations: one task, that with the largest draw of Beta(a, b)         a = b = 1 at first
//! after an evaluation:     r = 1 if the target's score is at least that of the one before, else 0
//!                          every task: a = (1 - forget) a + forget, b likewise; then of the drawn one a += r, b += 1 - r
//! ```
//!
//! It learns at evaluations alone: `train.evaluate_every` should be small. The paper's second stage, which searches the mixing ratio of the tasks that were
//! found, is a search over recipes.

use super::{Outcome, Position, Sampler, SamplerKind, restored};
use crate::error::{Error, Result};
use crate::strategy::options;
use polyhead_kernels::rng::Key;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "autosem",
    about: "between two evaluations one task, the one that seems to help a target most",
    open: |table| {
        let Options { target, forget } = options(table)?;
        let Some(target) = target else {
            return Err(Error::usage("target: expected the name of the task that is to be helped, found none"));
        };
        if !(0.0..=1.0).contains(&forget) {
            return Err(Error::usage(format!("forget: expected a number from 0 to 1, found {forget}")));
        }
        Ok(Box::new(AutoSem { target, forget, state: State::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    target: Option<String>,
    /// How much of what was seen an evaluation makes forget.
    forget: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { target: None, forget: 0.3 }
    }
}

struct AutoSem {
    target: String,
    forget: f64,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The target, once the tasks are known.
    target: Option<usize>,
    /// a and b, by task.
    arms: BTreeMap<usize, (f64, f64)>,
    /// Evaluations so far.
    evaluations: u64,
    /// The target's last score.
    score: Option<f64>,
    /// The task since then.
    task: Option<usize>,
}

/// A draw of Gamma(a, 1) with a of at least 1 (Marsaglia and Tsang 2000).
fn gamma(a: f64, key: Key) -> f64 {
    let d = a - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let tries = (0..1000).map(|at| (key.purpose("normal").normal(at), key.purpose("uniform").uniform(at)));
    let drawn = tries
        .map(|(x, u)| (x, (1.0 + c * x).powi(3), u))
        .find(|&(x, v, u)| v > 0.0 && u.max(f64::MIN_POSITIVE).ln() < 0.5 * x * x + d - d * v + d * v.ln());
    d * drawn.map_or(1.0, |(_, v, _)| v)
}

impl Sampler for AutoSem {
    fn named_tasks(&self) -> Vec<(&'static str, &str)> {
        vec![("target", &self.target)]
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        self.state.target = position.names.iter().position(|name| *name == self.target);
        if self.state.task.is_none() {
            // Of the run, not of the epoch: its key may be the same for several evaluations.
            let key = position.run.purpose("autosem").with(self.state.evaluations);
            let draw = |task: &usize| {
                let (a, b) = self.state.arms.get(task).copied().unwrap_or((1.0, 1.0));
                let key = key.with(*task as u64);
                let (x, y) = (gamma(a, key.purpose("a")), gamma(b, key.purpose("b")));
                x / (x + y)
            };
            let tasks: Vec<(usize, f64)> = position.usable().map(|task| (task, draw(&task))).collect();
            tasks.iter().for_each(|(task, _)| _ = self.state.arms.entry(*task).or_insert((1.0, 1.0)));
            self.state.task = tasks.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(task, _)| *task);
        }
        self.state.task.into_iter().collect()
    }

    fn observe(&mut self, outcome: &Outcome) {
        let Outcome::Evaluated(scores) = outcome else { return };
        let of_target = scores.iter().find(|(task, _)| Some(*task) == self.state.target).map(|(_, score)| *score);
        let state = &mut self.state;
        if let (Some(task), Some(now)) = (state.task, of_target) {
            let helped = f64::from(u8::from(state.score.is_none_or(|before| now >= before)));
            for (a, b) in state.arms.values_mut() {
                *a = (1.0 - self.forget) * *a + self.forget;
                *b = (1.0 - self.forget) * *b + self.forget;
            }
            let (a, b) = state.arms.entry(task).or_insert((1.0, 1.0));
            (*a, *b) = (*a + helped, *b + 1.0 - helped);
            state.score = Some(now);
        }
        state.evaluations += 1;
        state.task = None;
    }

    fn state(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = restored(KIND.name, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_gamma_have_its_mean_and_variance() {
        for a in [1.0, 1.3, 2.5, 10.0] {
            let all: Vec<f64> = (0..20_000).map(|at| gamma(a, Key::seed(5).with(at))).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
            assert!((mean / a - 1.0).abs() < 0.03 && (variance / a - 1.0).abs() < 0.08, "{a}: {mean}, {variance}");
        }
    }
}
