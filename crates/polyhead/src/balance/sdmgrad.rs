//! SDMGrad: the shortest mixture of gradients, kept near their mean, from batches that are independent of each other (Xiao et al. 2023, "Direction-oriented
//! Multi-objective Learning: Simple and Provable Stochastic Algorithms", <https://openreview.net/forum?id=4Ks8RPcXd9>).
//!
//! ```text
//! G        dot products of the gradients of two other batches, over the square of their mean length
//! w        projected gradient descent on w^T G w / 2 + pull (mean of w^T G), from where the last step left it
//! weights  (w_i + pull / T) / (1 + pull)
//! ```
//!
//! Products of one batch with itself would count its noise; with two there is none, for three times the passes. The descent is that of the authors: 20 updates at
//! a rate of 5 with a momentum of 0.5.

use super::solve::{scaled, times, to_simplex};
use super::{Balancer, BalancerKind, Needs, StepTasks, not_negative, restored};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const UPDATES: usize = 20;
const RATE: f64 = 5.0;
const MOMENTUM: f64 = 0.5;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "sdmgrad",
    about: "the shortest mixture near the mean, from two more batches of each task",
    open: |table| {
        let Options { pull } = options(table)?;
        not_negative("pull", pull)?;
        Ok(Box::new(SdmGrad { pull, weights: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How strongly the mixture is held to the mean: lambda in the paper.
    pull: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { pull: 0.3 }
    }
}

struct SdmGrad {
    pull: f64,
    weights: BTreeMap<usize, f64>,
}

impl Balancer for SdmGrad {
    fn needs(&self) -> Needs {
        Needs::Gradients
    }

    fn needs_independent_products(&self) -> bool {
        true
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.independent.ok_or_else(|| Error::internal("sdmgrad without independent products"))?;
        let tasks = step.tasks.len() as f64;
        let lengths = products.iter().enumerate().map(|(at, row)| row[at].max(0.0).sqrt());
        let length = lengths.sum::<f64>() / tasks;
        let products = scaled(products, 1.0 / (length * length + 1e-8));
        let to_mean: Vec<f64> = products.iter().map(|row| row.iter().sum::<f64>() / tasks).collect();
        let before = |task: &usize| self.weights.get(task).copied().unwrap_or(1.0 / step.count.max(1) as f64);
        let mut weights: Vec<f64> = step.tasks.iter().map(before).collect();
        let mut velocity = vec![0.0; weights.len()];
        for _ in 0..UPDATES {
            let slopes = times(&products, &weights);
            for ((weight, velocity), (slope, mean)) in
                weights.iter_mut().zip(&mut velocity).zip(slopes.iter().zip(&to_mean))
            {
                *velocity = MOMENTUM * *velocity + slope + self.pull * mean;
                *weight -= RATE * *velocity;
            }
            weights = to_simplex(&weights);
        }
        self.weights.extend(step.tasks.iter().copied().zip(weights.iter().copied()));
        let near_mean = |weight: &f64| (weight + self.pull / tasks) / (1.0 + self.pull);
        Ok(weights.iter().map(near_mean).collect())
    }

    fn state(&self) -> Value {
        json!(self.weights)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.weights = restored(KIND.name, state)?;
        Ok(())
    }
}
