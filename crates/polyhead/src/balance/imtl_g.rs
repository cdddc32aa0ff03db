//! IMTL-G: the combination of gradients that has the same projection on each of them (Liu et al. 2021, "Towards Impartial Multi-Task
//! Learning", <https://openreview.net/forum?id=IMPnRXEWpvr>, section 3.1).
//!
//! ```text
//! u_i = g_i / |g_i|;  D = rows g_1 - g_i,  U = rows u_1 - u_i  (i > 1)
//! (weight_2 ... weight_T) = g_1 U^T (D U^T)^-1;  weight_1 = 1 - the others
//! ```
//!
//! All of it follows from the dot products. Where they leave no solution (gradients that are multiples of each other, or zero) all tasks weigh 1/T.

use super::solve::{Matrix, linear};
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "imtl_g",
    about: "the combined gradient has the same projection on that of each task",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(ImtlG))
    },
};

struct ImtlG;

impl Balancer for ImtlG {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let count = products.len();
        let norm = |task: usize| products[task][task].sqrt();
        // g_i . u_j
        let on_unit = |i: usize, j: usize| products[i][j] / norm(j);
        let on_difference = |i: usize, j: usize| on_unit(i, 0) - on_unit(i, j);
        // The transpose of D U^T, because the unknown stands before it.
        let system: Matrix =
            (1..count).map(|j| (1..count).map(|i| on_difference(0, j) - on_difference(i, j)).collect()).collect();
        let right: Vec<f64> = (1..count).map(|j| on_difference(0, j)).collect();
        let even = vec![1.0 / count as f64; count];
        let Some(others) = linear(&system, &right) else { return Ok(even) };
        let first = 1.0 - others.iter().sum::<f64>();
        let weights: Vec<f64> = [first].into_iter().chain(others).collect();
        Ok(if weights.iter().all(|weight| weight.is_finite()) { weights } else { even })
    }
}
