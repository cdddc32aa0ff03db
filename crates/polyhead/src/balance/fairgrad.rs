//! FairGrad: the step whose gains are an alpha-fair share for the tasks (Ban and Ji 2024, "Fair Resource Allocation in Multi-Task Learning",
//! <https://arxiv.org/abs/2402.15638>).
//!
//! ```text
//! weights    G w = w ^ (-1 / alpha),  w > 0       G = dot products
//! alpha      1: proportional, as Nash-MTL;  2: what the paper found best;  large: the gain of the worst task alone
//! ```

use super::solve::{power, trace};
use super::{Balancer, BalancerKind, Needs, StepTasks, positive};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "fairgrad",
    about: "the step whose gains are an alpha-fair share for the tasks",
    open: |table| {
        let Options { alpha } = options(table)?;
        positive("alpha", alpha)?;
        Ok(Box::new(FairGrad { alpha }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    alpha: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

struct FairGrad {
    alpha: f64,
}

impl Balancer for FairGrad {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        if trace(products) == 0.0 {
            return Ok(vec![1.0; products.len()]);
        }
        Ok(power(products, 1.0 / self.alpha))
    }
}
