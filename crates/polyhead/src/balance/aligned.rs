//! Aligned-MTL: gradients are turned until they are orthogonal and of the length of the weakest direction, so that none dominates
//! (Senushkin et al. 2023, "Independent Component Alignment for Multi-Task Learning", <https://arxiv.org/abs/2305.19000>).
//!
//! ```text
//! M = dot products = V diag(l) V^T;  B = sqrt(smallest l) V diag(1 / sqrt(l)) V^T;  weights = column sums of B
//! ```
//!
//! Directions whose eigenvalue is zero within rounding (gradients that depend on each other) are left out.

use super::solve::eigen;
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "aligned",
    about: "gradients made orthogonal and of one length, so that none dominates",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Aligned))
    },
};

struct Aligned;

impl Balancer for Aligned {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let count = products.len();
        let (values, vectors) = eigen(products);
        let largest = values.iter().copied().fold(0.0, f64::max);
        // As the reference, in f32: what is below this is rounding of the gradients.
        let least = largest * count as f64 * f64::from(f32::EPSILON);
        let kept: Vec<usize> = (0..count).filter(|&at| values[at] > least).collect();
        let Some(smallest) = kept.iter().map(|&at| values[at]).min_by(f64::total_cmp) else {
            return Ok(vec![1.0; count]);
        };
        let column = |task: usize| -> f64 {
            let part = |&at: &usize| {
                let all: f64 = vectors.iter().map(|row| row[at]).sum();
                (smallest / values[at]).sqrt() * vectors[task][at] * all
            };
            kept.iter().map(part).sum()
        };
        Ok((0..count).map(column).collect())
    }
}
