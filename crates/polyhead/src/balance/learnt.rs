//! A number that a balancer learns for each task, by Adam without decay (Kingma and Ba 2015).

use serde::{Deserialize, Serialize};

/// The logarithm of a weight stays within this: beyond it a weight is below 1/100 or above 100, and a task would be trained no more, or alone.
pub(super) const LARGEST: f64 = 4.6;

/// The number with its moments.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Learnt {
    pub value: f64,
    first: f64,
    second: f64,
    updates: i32,
}

impl Learnt {
    /// One that was not updated yet.
    pub(super) fn at(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// One update.
    pub(super) fn step(&mut self, gradient: f64, rate: f64) {
        self.updates += 1;
        self.first = 0.9 * self.first + 0.1 * gradient;
        self.second = 0.999 * self.second + 0.001 * gradient * gradient;
        let first = self.first / (1.0 - 0.9_f64.powi(self.updates));
        let second = self.second / (1.0 - 0.999_f64.powi(self.updates));
        self.value -= rate * first / (second.sqrt() + 1e-8);
    }
}
