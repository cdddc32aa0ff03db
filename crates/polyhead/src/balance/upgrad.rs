//! UPGrad: each task's gradient is projected to where it harms no task, and the projections are averaged (Quinton and Rey 2024, "Jacobian
//! Descent for Multi-Objective Optimization", <https://arxiv.org/abs/2406.16232>).
//!
//! ```text
//! for each task i:  v_i = arg min v^T G v   over v >= e_i / T        G = dot products / their trace + 1e-4 I
//! weights           sum of v_i
//! ```

use super::solve::{nonnegative, scaled, times, trace};
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "upgrad",
    about: "the mean of the gradients, each projected to where it harms no task",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(UpGrad))
    },
};

/// What is added to the diagonal, as in the reference implementation.
const REGULAR: f64 = 1e-4;
/// A trace below this counts as zero there.
const NOTHING: f64 = 1e-4;

struct UpGrad;

impl Balancer for UpGrad {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let (count, trace) = (products.len(), trace(products));
        let mut gram = scaled(products, if trace < NOTHING { 0.0 } else { 1.0 / trace });
        gram.iter_mut().enumerate().for_each(|(at, row)| row[at] += REGULAR);
        let mut weights = vec![0.0; count];
        for task in 0..count {
            // v = e_i / T + z with z >= 0.
            let mut least = vec![0.0; count];
            least[task] = 1.0 / count as f64;
            let beyond = nonnegative(&gram, &times(&gram, &least));
            weights.iter_mut().zip(least.iter().zip(beyond)).for_each(|(weight, (least, z))| *weight += least + z);
        }
        Ok(weights)
    }
}
