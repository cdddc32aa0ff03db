//! What several tasks check of their configuration.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;

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
