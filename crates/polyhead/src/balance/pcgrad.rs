//! PCGrad: where the gradients of two tasks conflict, each loses what points against the other (Yu et al. 2020, "Gradient
//! Surgery for Multi-Task Learning", algorithm 1).
//!
//! ```text
//! for each task i:  p_i = g_i;  for the others j in random order:  if p_i . g_j < 0:  p_i -= (p_i . g_j / |g_j|^2) g_j
//! step              sum of p_i
//! ```
//!
//! Every p_i is a sum of the g_j, so that all of it is arithmetic on their dot products.

use super::solve::dot;
use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::Result;
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "pcgrad",
    about: "projects away what points against another task's gradient",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(PcGrad))
    },
};

struct PcGrad;

impl Balancer for PcGrad {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let mut weights = vec![0.0; products.len()];
        for task in 0..products.len() {
            // p_task as a sum of gradients: the share of each.
            let mut shares = vec![0.0; products.len()];
            shares[task] = 1.0;
            for other in step.key.with(task as u64).permutation(products.len()) {
                let against = dot(&shares, &products[other]);
                if other != task && against < 0.0 {
                    shares[other] -= against / products[other][other];
                }
            }
            weights.iter_mut().zip(shares).for_each(|(weight, share)| *weight += share);
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use polyhead_kernels::rng::Key;

    /// Algorithm 1 on the vectors themselves.
    fn on_vectors(gradients: &[Vec<f64>], key: Key) -> Vec<f64> {
        let mut sum = vec![0.0; gradients[0].len()];
        for task in 0..gradients.len() {
            let mut projected = gradients[task].clone();
            for other in key.with(task as u64).permutation(gradients.len()).into_iter().filter(|&other| other != task) {
                let against = dot(&projected, &gradients[other]);
                if against < 0.0 {
                    let factor = against / dot(&gradients[other], &gradients[other]);
                    projected.iter_mut().zip(&gradients[other]).for_each(|(p, g)| *p -= factor * g);
                }
            }
            sum.iter_mut().zip(projected).for_each(|(sum, p)| *sum += p);
        }
        sum
    }

    fn weighed(gradients: &[Vec<f64>], key: Key) -> (Vec<f64>, Vec<f64>) {
        let products: Vec<Vec<f64>> = gradients.iter().map(|a| gradients.iter().map(|b| dot(a, b)).collect()).collect();
        let tasks: Vec<usize> = (0..gradients.len()).collect();
        let step = StepTasks { products: Some(&products), ..StepTasks::new(&tasks, tasks.len(), 0, key) };
        let weights = PcGrad.weigh(&step).unwrap();
        let sum = (0..gradients[0].len()).map(|at| (0..gradients.len()).map(|t| weights[t] * gradients[t][at]).sum());
        (weights.clone(), sum.collect())
    }

    #[test]
    fn the_sum_is_that_of_the_projected_vectors() {
        for tasks in 2..6 {
            for seed in 0..50 {
                let key = Key::seed(seed);
                let gradients: Vec<Vec<f64>> =
                    (0..tasks).map(|t| (0..7).map(|at| key.with(100 + t).normal(at)).collect()).collect();
                let want = on_vectors(&gradients, key);
                let (_, found) = weighed(&gradients, key);
                let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
                assert!(found.iter().zip(&want).all(near), "{tasks} tasks: {found:?} for {want:?}");
            }
        }
    }

    #[test]
    fn gradients_that_agree_are_summed_and_opposite_ones_vanish() {
        assert_eq!(weighed(&[vec![1.0, 0.0], vec![1.0, 1.0]], Key::seed(1)).0, [1.0, 1.0]);
        let (_, sum) = weighed(&[vec![1.0, 0.0], vec![-2.0, 0.0]], Key::seed(1));
        assert!(sum.iter().all(|x| x.abs() < 1e-12), "{sum:?}");
        // By hand: (1, 0) and (-1, 1) become (0.5, 0.5) and (0, 1).
        let (_, sum) = weighed(&[vec![1.0, 0.0], vec![-1.0, 1.0]], Key::seed(1));
        assert!((sum[0] - 0.5).abs() < 1e-12 && (sum[1] - 1.5).abs() < 1e-12, "{sum:?}");
    }

    #[test]
    fn a_gradient_of_zeros_projects_nothing() {
        let (weights, _) = weighed(&[vec![0.0, 0.0], vec![1.0, 1.0]], Key::seed(1));
        assert_eq!(weights, [1.0, 1.0]);
    }
}
