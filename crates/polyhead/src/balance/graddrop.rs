//! GradDrop: where tasks disagree about the sign of a feature's gradient, one sign is drawn and the rest is dropped (Chen et al. 2020, "Just Pick a Sign: Optimizing
//! Deep Multitask Models with Gradient Sign Dropout", <https://arxiv.org/abs/2010.06808>).
//!
//! ```text
//! s_i [hidden]   sum over the tokens of sign(h) z_i       h: hidden states [tokens, hidden];  z_i: the gradient of task i on them
//! p   [hidden]   (1 + sum of s_i / sum of |s_i|) / 2      how positive a feature's gradient is
//! kept           z_i of a feature, where s_i > 0 and p > u, or s_i < 0 and p < u;  u [hidden]: uniform, drawn at every step
//! step           what sum of (leak + (1 - leak) kept) z_i sends back
//! ```

use super::{Balancer, BalancerKind, JoinTasks, Needs, StepTasks};
use crate::error::{Error, Result};
use crate::strategy::options;
use polyhead_kernels::HeadGradients;
use serde::Deserialize;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "graddrop",
    about: "draws a sign for each feature of a shared batch and drops gradients of the other",
    open: |table| {
        let Options { leak } = options(table)?;
        if !(0.0..=1.0).contains(&leak) {
            return Err(Error::usage(format!("leak: expected a number from 0 to 1, found {leak}")));
        }
        Ok(Box::new(GradDrop { leak }))
    },
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What of a dropped gradient goes through.
    leak: f64,
}

struct GradDrop {
    leak: f64,
}

impl Balancer for GradDrop {
    fn needs(&self) -> Needs {
        Needs::HiddenGradients
    }

    fn join(&mut self, step: &StepTasks) -> Result<JoinTasks> {
        let (leak, key) = (self.leak, step.key);
        Ok(Box::new(move |found| picked(found, leak, |feature| key.uniform(feature as u64))))
    }
}

/// The share of the features that each task keeps.
fn picked(found: HeadGradients, leak: f64, drawn: impl Fn(usize) -> f64) -> Vec<f64> {
    let HeadGradients { hidden, columns, heads } = found;
    let sums = |gradient: &Vec<f32>| {
        let mut sums = vec![0.0; columns];
        for (states, row) in hidden.chunks_exact(columns).zip(gradient.chunks_exact(columns)) {
            for (sum, (state, value)) in sums.iter_mut().zip(states.iter().zip(row)) {
                let sign = if *state > 0.0 {
                    1.0
                } else if *state < 0.0 {
                    -1.0
                } else {
                    0.0
                };
                *sum += sign * f64::from(*value);
            }
        }
        sums
    };
    let sums: Vec<Vec<f64>> = heads.iter().map(sums).collect();
    let mut factors = vec![vec![0.0_f32; columns]; heads.len()];
    let mut kept = vec![0.0; heads.len()];
    for feature in 0..columns {
        let of = || sums.iter().map(|sums| sums[feature]);
        // As LibMTL, which adds 1e-7: a feature without gradients keeps none.
        let positive = 0.5 * (1.0 + of().sum::<f64>() / (of().map(f64::abs).sum::<f64>() + 1e-7));
        let bar = drawn(feature);
        for (task, sum) in of().enumerate() {
            let keeps = positive > bar && sum > 0.0 || positive < bar && sum < 0.0;
            factors[task][feature] = if keeps { 1.0 } else { leak as f32 };
            kept[task] += f64::from(u8::from(keeps)) / columns as f64;
        }
    }
    for (gradient, factors) in heads.iter_mut().zip(&factors) {
        for row in gradient.chunks_exact_mut(columns) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;

    /// A case of `fixtures/balancers.py`: LibMTL with these uniform numbers.
    #[derive(Deserialize)]
    struct Case {
        leak: f64,
        columns: usize,
        hidden: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        drawn: Vec<f64>,
        joined: Vec<f32>,
    }

    #[test]
    fn what_goes_on_is_what_libmtl_sends_back() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/graddrop.json");
        let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() >= 4);
        for Case { leak, columns, hidden, mut gradients, drawn, joined } in cases {
            let before = gradients.concat();
            let kept = picked(HeadGradients { hidden: &hidden, columns, heads: &mut gradients }, leak, |at| drawn[at]);
            assert!(kept.iter().all(|share| (0.0..=1.0).contains(share)) && gradients.concat() != before);
            for (at, want) in joined.iter().enumerate() {
                let found: f32 = gradients.iter().map(|gradient| gradient[at]).sum();
                assert!((found - want).abs() < 1e-5, "leak {leak}, {at}: {found} for {want}");
            }
        }
    }
}
