//! A task drawn at every step, by its size in the first epoch and all alike in the last (Stickland and Murray 2019, "BERT and PALs",
//! <https://arxiv.org/abs/1902.02671>, section 4.1).
//!
//! ```text
//! p(task) ~ windows ^ a;   a = 1 - 0.8 e / (E - 1)   in epoch e of E, from 0
//! ```

use super::{Position, Sampler, SamplerKind, draw};
use crate::strategy::without_options;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "annealed",
    about: "a task drawn at every step, by its size at first and nearly all alike in the end",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Annealed))
    },
};

struct Annealed;

impl Sampler for Annealed {
    fn next(&mut self, position: &Position) -> Vec<usize> {
        let last = position.epochs.saturating_sub(1).max(1) as f64;
        let power = 1.0 - 0.8 * (position.epoch as f64 / last).min(1.0);
        let largest = position.windows.iter().copied().max().unwrap_or(1).max(1) as f64;
        // As shares of the largest, so that no power overflows.
        let weights: Vec<f64> =
            position.windows.iter().map(|&windows| (windows as f64 / largest).powf(power)).collect();
        draw(&weights, position).into_iter().collect()
    }
}
