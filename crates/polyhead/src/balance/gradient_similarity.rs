//! Auxiliary tasks that count only where their gradient agrees with that of a target (Du et al. 2018, "Adapting Auxiliary Losses Using Gradient
//! Similarity", <https://arxiv.org/abs/1812.02224>).
//!
//! ```text
//! c_i         the cosine of the gradients of task i and of the target on the shared encoder, of this step
//! weighted    weight_i = max(0, c_i);   unweighted    weight_i = 1 where c_i >= 0, else 0;   that of the target: 1
//! ```
//!
//! The weight of an auxiliary task that hurts goes to 0. Cosines of single batches are noisy; the curves of the report show their course.

use super::{Balancer, BalancerKind, Needs, StepTasks};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "gradient_similarity",
    about: "lets the other tasks count where their gradient agrees with that of a target",
    open: |table| {
        let Options { target, form } = options(table)?;
        let target =
            target.ok_or_else(|| Error::usage("target: expected the task that the others are to help, found none"))?;
        Ok(Box::new(GradientSimilarity { target, form }))
    },
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    target: Option<String>,
    form: Form,
}

/// How a cosine becomes a weight.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Weighted,
    Unweighted,
}

struct GradientSimilarity {
    target: String,
    form: Form,
}

impl Balancer for GradientSimilarity {
    fn needs(&self) -> Needs {
        Needs::Products
    }

    fn target(&self) -> Option<&str> {
        Some(&self.target)
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        let products = step.products()?;
        let Some(target) = step.place_of_target() else { return Ok(vec![1.0; products.len()]) };
        let weight = |task: usize| {
            let lengths = (products[task][task] * products[target][target]).sqrt();
            // No gradient agrees with all.
            let cosine = if lengths > 0.0 { products[task][target] / lengths } else { 0.0 };
            match self.form {
                _ if task == target => 1.0,
                Form::Weighted => cosine.max(0.0),
                Form::Unweighted => f64::from(u8::from(cosine >= 0.0)),
            }
        };
        Ok((0..products.len()).map(weight).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use polyhead_kernels::rng::Key;

    #[test]
    fn what_points_against_the_target_has_no_weight_and_the_rest_its_cosine() {
        // Gradients (2, 0), (1, 1), (-3, 0), (0, 0); the second is the target.
        let products = [[4.0, 2.0, -6.0, 0.0], [2.0, 2.0, -3.0, 0.0], [-6.0, -3.0, 9.0, 0.0], [0.0; 4]].map(Vec::from);
        for (form, want) in [("weighted", [0.5_f64.sqrt(), 1.0, 0.0, 0.0]), ("unweighted", [1.0, 1.0, 0.0, 1.0])] {
            let options = toml::from_str(&format!("target = 'b'\nform = '{form}'")).unwrap();
            let (target, products) = (Some(1), Some(&products[..]));
            let step = StepTasks { target, products, ..StepTasks::new(&[0, 1, 2, 3], 4, 0, Key::seed(1)) };
            let found = (KIND.open)(&options).unwrap().weigh(&step).unwrap();
            assert!(found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-12), "{form}: {found:?}");
        }
        assert!((KIND.open)(&toml::Table::new()).is_err());
    }
}
