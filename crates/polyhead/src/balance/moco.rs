//! MoCo: gradients averaged over steps, mixed by weights that follow the shortest mixture slowly (Fernando et al. 2023, "Mitigating Gradient Bias in
//! Multi-objective Learning: A Provably Convergent Approach", <https://openreview.net/forum?id=dLAYGdKTi2>).
//!
//! ```text
//! y_i    += beta / k^beta_sigma (L_i g_i / |g_i| - y_i)                  y begins at 0; k: the steps so far
//! weights = softmax(weights - weight_rate / k^weight_rate_sigma (Y Y^T + rho I) weights)
//! step    = sum of weight_i y_i
//! ```
//!
//! It keeps one gradient of the encoder for each task, in checkpoints too.

use super::averaged::Averaged;
use super::solve::times;
use super::{Balancer, BalancerKind, Needs, StepTasks, not_negative, restored, softmax};
use crate::error::{Error, Result};
use crate::parameters::{Gradients, KeptGradients, Parameters};
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "moco",
    about: "averaged gradients, mixed by weights that follow the shortest mixture slowly",
    open: |table| {
        let options: Options = options(table)?;
        for (name, found) in [
            ("beta", options.beta),
            ("beta_sigma", options.beta_sigma),
            ("weight_rate", options.weight_rate),
            ("weight_rate_sigma", options.weight_rate_sigma),
            ("rho", options.rho),
        ] {
            not_negative(name, found)?;
        }
        if !(options.beta > 0.0 && options.beta <= 1.0) {
            let found = options.beta;
            return Err(Error::usage(format!("beta: expected a number above 0 and at most 1, found {found}")));
        }
        Ok(Box::new(MoCo { options, averaged: Averaged::default(), weights: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How much of a gradient its average takes at the first step, and how fast that falls.
    beta: f64,
    beta_sigma: f64,
    /// How far the weights move at the first step, and how fast that falls.
    weight_rate: f64,
    weight_rate_sigma: f64,
    /// What draws the weights to each other.
    rho: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { beta: 0.5, beta_sigma: 0.5, weight_rate: 0.1, weight_rate_sigma: 0.5, rho: 0.0 }
    }
}

struct MoCo {
    options: Options,
    averaged: Averaged,
    weights: BTreeMap<usize, f64>,
}

impl Balancer for MoCo {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn combine(
        &mut self,
        step: &StepTasks,
        gradients: Vec<Gradients>,
        parameters: &Parameters,
    ) -> Result<(Gradients, Vec<f64>)> {
        let Options { beta, beta_sigma, weight_rate, weight_rate_sigma, rho } = self.options;
        let (products, losses) = (step.products()?, step.losses()?);
        let factor = |at: usize| losses[at] / (products[at][at].sqrt() + 1e-8);
        let factors: Vec<f64> = (0..losses.len()).map(factor).collect();
        let k = self.averaged.next_step();
        let taken = beta / k.powf(beta_sigma);
        let heads = self.averaged.take(step.tasks, gradients, &factors, taken, parameters)?;
        let mut gram = self.averaged.products(step.tasks, parameters);
        gram.iter_mut().enumerate().for_each(|(at, row)| row[at] += rho);
        let even = 1.0 / step.count.max(1) as f64;
        let before: Vec<f64> = step.tasks.iter().map(|task| self.weights.get(task).copied().unwrap_or(even)).collect();
        let moved = times(&gram, &before);
        let moved: Vec<f64> = before
            .iter()
            .zip(moved)
            .map(|(weight, by)| weight - weight_rate / k.powf(weight_rate_sigma) * by)
            .collect();
        let weights = softmax(&moved);
        self.weights.extend(step.tasks.iter().copied().zip(weights.iter().copied()));
        // What is shown are the weights of this step's own gradients.
        let shown = weights.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect();
        Ok((self.averaged.sum(step.tasks, &weights, heads)?, shown))
    }

    fn state(&self) -> Value {
        json!({ "averaged": self.averaged.state(), "weights": self.weights })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let mut parts: BTreeMap<String, Value> = restored(KIND.name, state)?;
        self.averaged.restore(KIND.name, &parts.remove("averaged").unwrap_or_default())?;
        self.weights = restored(KIND.name, &parts.remove("weights").unwrap_or_default())?;
        Ok(())
    }

    fn kept(&self) -> Option<&KeptGradients> {
        Some(&self.averaged.kept)
    }

    fn restore_kept(&mut self, kept: KeptGradients) {
        self.averaged.kept = kept;
    }
}
