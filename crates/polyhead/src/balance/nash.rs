//! Nash-MTL: tasks bargain for the step; the outcome is the one that no task would trade (Navon et al. 2022, "Multi-Task Learning as a
//! Bargaining Game", <https://arxiv.org/abs/2202.01017>).
//!
//! ```text
//! weights    G w = 1 / w,  w > 0          G = dot products / their Frobenius norm
//! ```
//!
//! Solved to rounding by Newton's method, where the reference implementation takes up to 20 steps of another. The division by the norm is the
//! reference's: it makes the length of a step the same whatever the scale of the losses.

use super::solve::{dot, power, scaled};
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "nash",
    about: "the step that tasks agree on when they bargain for it",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Nash))
    },
};

struct Nash;

impl Balancer for Nash {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let norm = products.iter().map(|row| dot(row, row)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Ok(vec![1.0; products.len()]);
        }
        Ok(power(&scaled(products, 1.0 / norm), 1.0))
    }
}
