//! Smooth Tchebycheff scalarisation: mostly the task that is worst off counts (Lin et al. 2024, "Smooth Tchebycheff Scalarization for
//! Multi-Objective Optimization", <https://arxiv.org/abs/2402.19078>).
//!
//! ```text
//! loss     = mu T ln(sum of exp(ln(L_i / nadir_i) / mu))         nadir: the mean loss in the epoch `measure_epoch`
//! weight_i = T softmax(ln(L / nadir) / mu)_i / L_i               its derivative; up to that epoch's end 1 / L_i, that of the sum of ln L_i
//! ```

use super::{Balancer, BalancerKind, MeanLosses, Needs, StepTasks, logarithm, positive, restored, softmax};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "stch",
    about: "a smooth maximum of the losses, beside what they were in the beginning",
    open: |table| {
        let Options { mu, measure_epoch } = options(table)?;
        positive("mu", mu)?;
        Ok(Box::new(Stch { mu, measure_epoch, measured: MeanLosses::default() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How smooth the maximum is: small is sharp.
    mu: f64,
    /// The epoch, from 1, whose mean losses others are held against.
    measure_epoch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { mu: 1.0, measure_epoch: 1 }
    }
}

struct Stch {
    mu: f64,
    measure_epoch: usize,
    /// Those of that epoch.
    measured: MeanLosses,
}

impl Balancer for Stch {
    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let logs: Vec<f64> = step.losses()?.iter().copied().map(logarithm).collect();
        let Some(nadirs) = self.measured.of_all(step).filter(|_| step.epoch >= self.measure_epoch) else {
            return Ok(logs.iter().map(|log| (-log).exp()).collect());
        };
        let shares: Vec<f64> = logs.iter().zip(nadirs).map(|(log, nadir)| (log - logarithm(nadir)) / self.mu).collect();
        let count = logs.len() as f64;
        Ok(softmax(&shares).iter().zip(&logs).map(|(share, log)| count * share * (-log).exp()).collect())
    }

    fn observe(&mut self, step: &StepTasks, _rate: f64) {
        if step.epoch + 1 == self.measure_epoch {
            self.measured.add(step);
        }
    }

    fn state(&self) -> Value {
        json!(self.measured)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.measured = restored(KIND.name, state)?;
        Ok(())
    }
}
