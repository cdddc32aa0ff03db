//! DB-MTL: gradients of the logarithms of the losses, averaged over steps and brought to the length of the longest (Lin et al. 2023, "Dual-Balancing
//! for Multi-Task Learning", <https://arxiv.org/abs/2308.12029>).
//!
//! ```text
//! G_i  = g_i / L_i + beta / k^sigma (G_i - g_i / L_i)          G begins at 0; k: the steps so far
//! step = sum of G_i max |G| / |G_i|
//! ```
//!
//! It keeps one gradient of the encoder for each task, in checkpoints too.

use super::averaged::Averaged;
use super::{Balancer, BalancerKind, Needs, StepTasks, not_negative};
use crate::error::{Error, Result};
use crate::parameters::{Gradients, KeptGradients, Parameters};
use crate::strategy::options;
use serde::Deserialize;
use serde_json::Value;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "db_mtl",
    about: "averaged gradients of the logarithms of the losses, all brought to the length of the longest",
    open: |table| {
        let Options { beta, sigma } = options(table)?;
        if !(0.0..1.0).contains(&beta) {
            return Err(Error::usage(format!("beta: expected a number from 0 to below 1, found {beta}")));
        }
        not_negative("sigma", sigma)?;
        Ok(Box::new(DbMtl { beta, sigma, averaged: Averaged::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How much of the average stays at the first step.
    beta: f64,
    /// How fast that falls.
    sigma: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { beta: 0.9, sigma: 0.5 }
    }
}

struct DbMtl {
    beta: f64,
    sigma: f64,
    averaged: Averaged,
}

impl Balancer for DbMtl {
    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn combine(
        &mut self,
        step: &StepTasks,
        gradients: Vec<Gradients>,
        parameters: &Parameters,
    ) -> Result<(Gradients, Vec<f64>)> {
        let factors: Vec<f64> = step.losses()?.iter().map(|loss| 1.0 / (loss + 1e-8)).collect();
        let taken = 1.0 - self.beta / self.averaged.next_step().powf(self.sigma);
        let heads = self.averaged.take(step.tasks, gradients, &factors, taken, parameters)?;
        let lengths = self.averaged.lengths(step.tasks, parameters);
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        let weights: Vec<f64> = lengths.iter().map(|length| longest / (length + 1e-8)).collect();
        // What is shown are the weights of this step's own gradients.
        let shown = weights.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect();
        Ok((self.averaged.sum(step.tasks, &weights, heads)?, shown))
    }

    fn state(&self) -> Value {
        self.averaged.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.averaged.restore(KIND.name, state)
    }

    fn kept(&self) -> Option<&KeptGradients> {
        Some(&self.averaged.kept)
    }

    fn restore_kept(&mut self, kept: KeptGradients) {
        self.averaged.kept = kept;
    }
}
