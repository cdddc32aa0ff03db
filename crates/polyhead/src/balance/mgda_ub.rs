//! MGDA-UB: as MGDA, by the gradients on the hidden states in place of those on the parameters, which bound them (Sener and Koltun 2018, "Multi-Task Learning as
//! Multi-Objective Optimization", section 3.3, <https://arxiv.org/abs/1810.04650>).
//!
//! ```text
//! weights = arg min |sum of w_i z_i|   over w >= 0 that add up to 1       z_i: the gradient of task i on the hidden states [tokens, hidden]
//! step    = what sum of w_i z_i sends back: one backward pass through the encoder, not one for each task
//! ```

use super::solve::{Matrix, on_simplex};
use super::{Balancer, BalancerKind, JoinTasks, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;
use polyhead_kernels::HeadGradients;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "mgda_ub",
    about: "mgda by the gradients on the hidden states of a shared batch: one backward pass",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(MgdaUb))
    },
};

struct MgdaUb;

impl Balancer for MgdaUb {
    fn needs(&self) -> Needs {
        Needs::HiddenGradients
    }

    fn join(&mut self, _: &StepTasks) -> Result<JoinTasks> {
        Ok(Box::new(shortest))
    }
}

fn shortest(found: HeadGradients) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let products: Matrix = found.heads.iter().map(|a| found.heads.iter().map(|b| dot(a, b)).collect()).collect();
    let weights = on_simplex(&products, &vec![0.0; products.len()]);
    for (gradient, weight) in found.heads.iter_mut().zip(&weights) {
        gradient.iter_mut().for_each(|value| *value *= *weight as f32);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_tasks_the_weights_are_the_closed_form() {
        // (1, 0, 1) and (0, 2, 0): w = g2 (g2 - g1) / |g1 - g2|^2 = 4 / 6.
        let mut heads = [vec![1.0, 0.0, 1.0], vec![0.0, 2.0, 0.0]];
        let weights = shortest(HeadGradients { hidden: &[0.0; 3], columns: 3, heads: &mut heads });
        for (weight, want) in weights.iter().zip([2.0 / 3.0, 1.0 / 3.0]) {
            assert!((weight - want).abs() < 1e-9, "{weights:?}");
        }
        let (two_thirds, sum) = (2.0_f32 / 3.0, |at: usize| heads[0][at] + heads[1][at]);
        assert!((0..3).all(|at| (sum(at) - two_thirds).abs() < 1e-6), "{heads:?}");
    }
}
