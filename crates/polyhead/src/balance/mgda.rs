//! MGDA: the shortest vector among the mixtures of the tasks' gradients; a step along it makes no loss worse (Désidéri 2012; Sener and
//! Koltun 2018, "Multi-Task Learning as Multi-Objective Optimization", <https://arxiv.org/abs/1810.04650>).
//!
//! ```text
//! weights = arg min |sum of w_i g_i / n_i|   over w >= 0 that add up to 1;  step = sum of w_i g_i / n_i
//! n_i     none: 1;  l2: |g_i|;  loss: L_i;  loss_and_l2: L_i |g_i|
//! ```
//!
//! Without `normalize` the task with the smallest gradient takes most of the weight.

use super::solve::{Matrix, on_simplex};
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "mgda",
    about: "the shortest mixture of the tasks' gradients: no loss grows along it",
    open: |table| Ok(Box::new(Mgda { normalize: options::<Options>(table)?.normalize })),
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    normalize: Normalize,
}

/// What gradients are divided by.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Normalize {
    #[default]
    None,
    L2,
    Loss,
    LossAndL2,
}

struct Mgda {
    normalize: Normalize,
}

impl Balancer for Mgda {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let (products, losses) = (step.products()?, step.losses()?);
        let norm = |task: usize| products[task][task].sqrt();
        let factor = |task: usize| {
            let by = match self.normalize {
                Normalize::None => 1.0,
                Normalize::L2 => norm(task),
                Normalize::Loss => losses[task],
                Normalize::LossAndL2 => losses[task] * norm(task),
            };
            // What is zero stays as it is.
            if by > 0.0 { 1.0 / by } else { 1.0 }
        };
        let factors: Vec<f64> = (0..products.len()).map(factor).collect();
        let scaled = |(row, a): (&Vec<f64>, &f64)| row.iter().zip(&factors).map(|(value, b)| value * a * b).collect();
        let scaled: Matrix = products.iter().zip(&factors).map(scaled).collect();
        let weights = on_simplex(&scaled, &vec![0.0; products.len()]);
        Ok(weights.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect())
    }
}
