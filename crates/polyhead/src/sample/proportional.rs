//! Batches of all tasks in one random order: at every step a task is as likely as it has batches left.

use super::{Once, SamplerKind};
use crate::strategy::without_options;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "proportional",
    about: "the batches of all tasks in one random order",
    open: |options| {
        without_options(options)?;
        Ok(Once::boxed(|batches, key| {
            let tasks: Vec<usize> =
                batches.iter().enumerate().flat_map(|(task, &count)| std::iter::repeat_n(task, count)).collect();
            key.permutation(tasks.len()).into_iter().map(|at| tasks[at]).collect()
        }))
    },
};
