//! GradVac: where two gradients agree less than they usually do, each is turned towards the other (Wang et al. 2021, "Gradient Vaccine:
//! Investigating and Improving Multi-task Optimization in Massively Multilingual Models", <https://arxiv.org/abs/2010.05874>, algorithm 1).
//!
//! ```text
//! for each task i:  p_i = g_i;  for the others j in random order:
//!     r = cos(p_i, g_j);  usual = mean of the past r of i and j
//!     if r < usual:  p_i += |p_i| (usual sqrt(1 - r^2) - r sqrt(1 - usual^2)) / (|g_j| sqrt(1 - usual^2)) g_j
//!     usual = (1 - beta) usual + beta r
//! step              sum of p_i
//! ```
//!
//! Cosines are those of the whole encoder. Every p_i is a sum of the g_j, so that all of it is arithmetic on their dot products.

use super::solve::{dot, times};
use super::{Balancer, BalancerKind, Needs, StepTasks, restored};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "gradvac",
    about: "turns gradients towards each other where they agree less than usual",
    open: |table| {
        let Options { beta } = options(table)?;
        if !(0.0..=1.0).contains(&beta) {
            return Err(Error::usage(format!("beta: expected a number from 0 to 1, found {beta}")));
        }
        Ok(Box::new(GradVac { beta, usual: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How much of the usual cosine a step replaces.
    beta: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { beta: 0.5 }
    }
}

struct GradVac {
    beta: f64,
    /// By task and other task, `TASK OTHER`: the mean of their past cosines.
    usual: BTreeMap<String, f64>,
}

impl Balancer for GradVac {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let mut weights = vec![0.0; products.len()];
        for (at, task) in step.tasks.iter().enumerate() {
            // p_task as a sum of gradients: the share of each.
            let mut shares = vec![0.0; products.len()];
            shares[at] = 1.0;
            for to in step.key.with(*task as u64).permutation(products.len()).into_iter().filter(|&to| to != at) {
                let length = dot(&shares, &times(products, &shares)).max(0.0).sqrt();
                let other = products[to][to].sqrt();
                if length == 0.0 || other == 0.0 {
                    continue;
                }
                let cosine = (dot(&shares, &products[to]) / (length * other)).clamp(-1.0, 1.0);
                let usual = self.usual.entry(format!("{task} {}", step.tasks[to])).or_default();
                let sine = |cosine: f64| (1.0 - cosine * cosine).max(0.0).sqrt();
                if cosine < *usual && sine(*usual) > 0.0 {
                    shares[to] += length * (*usual * sine(cosine) - cosine * sine(*usual)) / (other * sine(*usual));
                }
                *usual = (1.0 - self.beta) * *usual + self.beta * cosine;
            }
            weights.iter_mut().zip(shares).for_each(|(weight, share)| *weight += share);
        }
        Ok(weights)
    }

    fn state(&self) -> Value {
        json!(self.usual)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.usual = restored(KIND.name, state)?;
        Ok(())
    }
}
