//! One batch of each task in turn until all are exhausted: NER, QA, NER, QA ...

use super::{Once, SamplerKind};
use crate::strategy::without_options;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "round_robin",
    about: "one batch of each task in turn until all are exhausted",
    open: |options| {
        without_options(options)?;
        Ok(Once::boxed(|batches, _| {
            let rounds = batches.iter().copied().max().unwrap_or(0);
            (0..rounds).flat_map(|round| (0..batches.len()).filter(move |&task| round < batches[task])).collect()
        }))
    },
};
