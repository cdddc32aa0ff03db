//! A task drawn at every step, by its size to the power of 1/T (Raffel et al. 2020, "Exploring the Limits of Transfer
//! Learning with a Unified Text-to-Text Transformer", section 3.5.2).
//!
//! ```text
//! p(task) ~ min(windows, cap) ^ (1 / temperature)       1: by size, 2: by its square root, large: all alike
//! ```
//!
//! An epoch has as many steps as all tasks have batches; a task that is drawn more often begins its next pass.

use super::{Position, Sampler, SamplerKind, draw};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "temperature",
    about: "a task drawn at every step, by its size to the power of 1/temperature",
    open: |table| Ok(Box::new(options::<Temperature>(table)?.checked()?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Temperature {
    temperature: f64,
    cap: Option<usize>,
}

impl Default for Temperature {
    fn default() -> Self {
        Self { temperature: 2.0, cap: None }
    }
}

impl Temperature {
    fn checked(self) -> Result<Self> {
        if !(self.temperature >= 1e-3 && self.temperature.is_finite()) {
            let found = self.temperature;
            return Err(Error::usage(format!("temperature: expected a number of at least 0.001, found {found}")));
        }
        if self.cap == Some(0) {
            return Err(Error::usage("cap: expected at least 1 window, found 0"));
        }
        Ok(self)
    }
}

impl Sampler for Temperature {
    fn next(&mut self, position: &Position) -> Vec<usize> {
        let size = |&windows: &usize| windows.min(self.cap.unwrap_or(usize::MAX)) as f64;
        let largest = position.windows.iter().map(size).fold(1.0, f64::max);
        // As shares of the largest, so that no power overflows.
        let weights: Vec<f64> =
            position.windows.iter().map(|windows| (size(windows) / largest).powf(1.0 / self.temperature)).collect();
        draw(&weights, position).into_iter().collect()
    }
}
