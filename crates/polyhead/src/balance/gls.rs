//! The geometric mean of the losses in place of their sum (Chennupati et al. 2019, "MultiNet++: Multi-Stream Feature Aggregation and Geometric
//! Loss Strategy for Multi-Task Learning", <https://arxiv.org/abs/1904.08492>).
//!
//! ```text
//! loss     = (L_1 ... L_T) ^ (1 / T)
//! weight_i = loss / (T L_i)                its derivative
//! ```

use super::{Balancer, BalancerKind, Needs, StepTasks, logarithm};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "gls",
    about: "the geometric mean of the losses in place of their sum",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Gls))
    },
};

struct Gls;

impl Balancer for Gls {
    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let logs: Vec<f64> = step.losses()?.iter().copied().map(logarithm).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        Ok(logs.iter().map(|log| (mean - log).exp() / count).collect())
    }
}
