//! One batch of each task in turn until all are exhausted: NER, QA, NER, QA ...

use super::Mix;

pub(super) const MIX: Mix = Mix {
    name: "round_robin",
    about: "one batch of each task in turn until all are exhausted",
    epoch: |batches, _| {
        let rounds = batches.iter().copied().max().unwrap_or(0);
        (0..rounds).flat_map(|round| (0..batches.len()).filter(move |&task| round < batches[task])).collect()
    },
};
