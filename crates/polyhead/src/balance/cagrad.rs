//! CAGrad: the step near the mean gradient along which the worst task gains most (Liu et al. 2021, "Conflict-Averse Gradient Descent for
//! Multi-task Learning", <https://arxiv.org/abs/2110.14048>, algorithm 1).
//!
//! ```text
//! g_0 = mean of g_i;  w = arg min g_w . g_0 + c |g_0| |g_w|   over w >= 0 that add up to 1,  g_w = sum of w_i g_i
//! step = (g_0 + c |g_0| g_w / |g_w|) / (1 + c^2)
//! ```
//!
//! The square root is bounded from above by parabolas that touch it, each solved exactly, until nothing moves.

use super::solve::{dot, on_simplex, scaled, times, trace};
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "cagrad",
    about: "near the mean gradient, the step along which the worst task gains most",
    open: |table| {
        let Options { c } = options(table)?;
        if !(0.0..1.0).contains(&c) {
            return Err(Error::usage(format!("c: expected a number from 0 to below 1, found {c}")));
        }
        Ok(Box::new(CaGrad { c }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How far from the mean gradient a step may go, as a share of its length: 0 is the mean gradient itself.
    c: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { c: 0.5 }
    }
}

struct CaGrad {
    c: f64,
}

impl Balancer for CaGrad {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let count = products.len() as f64;
        let mean = vec![1.0 / count; products.len()];
        let size = trace(products) / count;
        if size <= 0.0 {
            return Ok(mean);
        }
        // In units of the mean square of the gradients' lengths.
        let products = scaled(products, 1.0 / size);
        let on_mean = times(&products, &mean);
        let reach = self.c * dot(&mean, &on_mean).max(0.0).sqrt();
        let length = |w: &[f64]| dot(w, &times(&products, w)).max(1e-16).sqrt();
        let mut w = mean.clone();
        for _ in 0..500 {
            let next = on_simplex(&scaled(&products, reach / length(&w)), &on_mean);
            let moved = next.iter().zip(&w).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            w = next;
            if moved < 1e-12 {
                break;
            }
        }
        let along = reach / length(&w);
        let share = |(w, mean): (&f64, &f64)| (mean + along * w) / (1.0 + self.c * self.c);
        Ok(w.iter().zip(&mean).map(share).collect())
    }
}
