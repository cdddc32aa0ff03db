//! Tasks drawn the more often the more their gradients agree with those of a target, or of all tasks.
//!
//! ```text
//! every `every` steps:  c_i = cos(g_i, g_target), on the shared encoder; without a target the mean over all tasks
//! dga        p_i ~ p_i exp(rate c_i); what is drawn from is a moving average of p
//! multidds   p = softmax(w);  w by Adam against  - sum of c_i ln p_i
//! ```
//!
//! Fan, Grangier and Ablin 2024, "Dynamic Gradient Alignment for Online Data Mixing" (<https://arxiv.org/abs/2410.02498>); Wang, Tsvetkov and Neubig 2020,
//! "Balancing Training for Multilingual Neural Machine Translation" (<https://arxiv.org/abs/2004.06748>). Both begin with all tasks alike; both have cosines in
//! place of dot products, so that the scale of a loss does not matter. The gradients are of training batches that are drawn for it and not used otherwise.

use super::{Learnt, Outcome, Position, Sampler, SamplerKind, draw, positive, restored, softmax};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const DGA: SamplerKind = SamplerKind {
    name: "dga",
    about: "draws the tasks whose gradients agree with that of a target more often",
    open: |table| Agreement::open(table, Method::Dga),
};

pub(super) const MULTIDDS: SamplerKind = SamplerKind {
    name: "multidds",
    about: "learns to draw the tasks whose gradients agree with those of all, or of a target",
    open: |table| Agreement::open(table, Method::MultiDds),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    target: Option<String>,
    /// Steps between two comparisons.
    every: usize,
    /// How fast what is drawn from moves.
    rate: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { target: None, every: 20, rate: 0.3 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Dga,
    MultiDds,
}

struct Agreement {
    method: Method,
    options: Options,
    index: Option<usize>,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Logarithms of p, or w.
    logits: BTreeMap<usize, Learnt>,
    /// What is drawn from, of `dga`: a moving average of p.
    average: BTreeMap<usize, f64>,
}

/// How much of the average a comparison of `dga` replaces.
const FRESH: f64 = 0.5;

impl Agreement {
    fn open(table: &toml::Table, method: Method) -> Result<Box<dyn Sampler>> {
        let options: Options = options(table)?;
        positive("rate", options.rate)?;
        if options.every == 0 {
            return Err(Error::usage("every: expected at least 1 step, found 0"));
        }
        if method == Method::Dga && options.target.is_none() {
            return Err(Error::usage("target: expected the name of the task that is to be helped, found none"));
        }
        Ok(Box::new(Self { method, options, index: None, state: State::default() }))
    }

    fn shares(&self, tasks: &[usize]) -> Vec<f64> {
        softmax(
            &tasks.iter().map(|task| self.state.logits.get(task).map_or(0.0, |logit| logit.value)).collect::<Vec<_>>(),
        )
    }
}

impl Sampler for Agreement {
    fn named_tasks(&self) -> Vec<(&'static str, &str)> {
        self.options.target.as_deref().map(|target| ("target", target)).into_iter().collect()
    }

    fn compares_every(&self) -> Option<usize> {
        Some(self.options.every)
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        self.index = position.names.iter().position(|name| Some(name) == self.options.target.as_ref());
        let tasks: Vec<usize> = position.usable().collect();
        let weights: Vec<f64> = match self.method {
            Method::Dga => {
                let even = 1.0 / tasks.len().max(1) as f64;
                tasks.iter().map(|task| self.state.average.get(task).copied().unwrap_or(even)).collect()
            }
            Method::MultiDds => self.shares(&tasks),
        };
        draw(&weights, position).map(|at| tasks[at]).into_iter().collect()
    }

    fn observe(&mut self, outcome: &Outcome) {
        let Outcome::Compared(cosines) = outcome else { return };
        let tasks: Vec<usize> = (0..cosines.len()).collect();
        let reward = |task: usize| match self.index {
            Some(target) => cosines[task].get(target).copied().unwrap_or_default(),
            None => cosines[task].iter().sum::<f64>() / cosines.len() as f64,
        };
        let rewards: Vec<f64> = tasks.iter().map(|&task| reward(task)).collect();
        let shares = self.shares(&tasks);
        let (method, rate) = (self.method, self.options.rate);
        let total: f64 = rewards.iter().sum();
        for (&task, (reward, share)) in tasks.iter().zip(rewards.iter().zip(&shares)) {
            let logit = self.state.logits.entry(task).or_default();
            match method {
                Method::Dga => logit.value += rate * reward,
                // Of - sum of c_i ln p_i.
                Method::MultiDds => logit.step(share * total - reward, rate),
            }
        }
        if method == Method::Dga {
            let even = 1.0 / tasks.len().max(1) as f64;
            for (&task, share) in tasks.iter().zip(self.shares(&tasks)) {
                let average = self.state.average.entry(task).or_insert(even);
                *average += FRESH * (share - *average);
            }
        }
    }

    fn state(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.state = restored("agreement of gradients", state)?;
        Ok(())
    }
}
