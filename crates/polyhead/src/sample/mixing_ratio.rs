//! Tasks in a fixed ratio: so many batches of one for so many of another (the second stage of AutoSeM, Guo et al. 2019, searches for it:
//! <https://arxiv.org/abs/1904.04153>; here `polyhead tune --keys mixing_ratio` does).
//!
//! ```text
//! ratio = { ner = 2, qa = 1 }  ->  ner qa ner  ner qa ner ...        a task that is not named: 1
//! ```
//!
//! Within a cycle the batches of a task are spread evenly (smooth weighted round robin). An epoch has as many steps as all tasks have batches; a task that is
//! exhausted begins its next pass.

use super::{Position, Sampler, SamplerKind};
use crate::error::Error;
use crate::strategy::options;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longer cycles are no ratio of small numbers any more.
const MOST: usize = 100;

pub(super) const KIND: SamplerKind = SamplerKind {
    name: "mixing_ratio",
    about: "so many batches of one task for so many of another",
    open: |table| {
        let Options { ratio } = options(table)?;
        if let Some((name, found)) = ratio.iter().find(|(_, number)| !(1..=MOST).contains(*number)) {
            return Err(Error::usage(format!("ratio: expected numbers from 1 to {MOST}, found {found} of `{name}`")));
        }
        Ok(Box::new(MixingRatio { ratio }))
    },
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    ratio: BTreeMap<String, usize>,
}

struct MixingRatio {
    ratio: BTreeMap<String, usize>,
}

impl Sampler for MixingRatio {
    fn named_tasks(&self) -> Vec<(&'static str, &str)> {
        self.ratio.keys().map(|name| ("ratio", name.as_str())).collect()
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        let shares: Vec<(usize, i64)> = position
            .usable()
            .map(|task| {
                let named = position.names.get(task).and_then(|name| self.ratio.get(name));
                (task, named.copied().unwrap_or(1) as i64)
            })
            .collect();
        let cycle: i64 = shares.iter().map(|(_, share)| share).sum();
        if cycle == 0 {
            return Vec::new();
        }
        // Each step every task gains its share, and the one that has most pays for the step: the first of equals.
        let mut owed = vec![0; shares.len()];
        let mut taken = 0;
        for _ in 0..=position.step as i64 % cycle {
            owed.iter_mut().zip(&shares).for_each(|(owed, (_, share))| *owed += share);
            taken = (0..owed.len()).rev().max_by_key(|&at| owed[at]).unwrap_or(0);
            owed[taken] -= cycle;
        }
        shares.get(taken).map(|(task, _)| *task).into_iter().collect()
    }
}
