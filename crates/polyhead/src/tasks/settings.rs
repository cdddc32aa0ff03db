//! What several tasks have in their configuration, and check of it.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// How often the examples of each class come in a pass over training data whose examples have one class each: with `n` examples of
/// a class, in the share `n^q / sum of all n^q` (Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed
/// Recognition", <https://arxiv.org/abs/1910.09217>; left out, q is 1, and every example comes once).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassSampling {
    /// All classes alike: q is 0.
    Balanced,
    /// By the square roots of their numbers: q is 1/2.
    SquareRoot,
}

impl ClassSampling {
    /// The weight of a class with so many examples.
    pub fn weight(self, examples: usize) -> f64 {
        match self {
            _ if examples == 0 => 0.0,
            Self::Balanced => 1.0,
            Self::SquareRoot => (examples as f64).sqrt(),
        }
    }

    /// As a recipe has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::SquareRoot => "square_root",
        }
    }
}

/// The configuration in a table of a recipe or of a model folder. Unknown fields are an error.
pub(super) fn configuration<C: DeserializeOwned>(table: Value) -> Result<C> {
    serde_json::from_value(table).map_err(|cause| Error::usage(cause.to_string()))
}

/// Refuses what is no rate of dropout.
pub(super) fn check_dropout(rate: f64) -> Result<()> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(Error::usage(format!("dropout: expected a rate from 0 up to 1, found {rate}")))
}

/// Refuses the same label twice; `what` they are called in the message.
pub(super) fn check_different(labels: &[String], what: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    match labels.iter().find(|label| !seen.insert(*label)) {
        None => Ok(()),
        Some(twice) => Err(Error::usage(format!("labels: expected different {what}, found `{twice}` twice"))),
    }
}
