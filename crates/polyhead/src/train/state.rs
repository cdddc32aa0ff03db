//! The one thing that changes while training, besides parameters and moments; a checkpoint holds it whole.

use super::counters::Counters;
use super::record::DataFile;
use crate::events::Sample;
use crate::io::Mark;
use crate::model::Provenance;
use crate::recipe::Recipe;
use crate::tasks::Score;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where a run stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The version of polyhead that wrote it.
    pub version: String,
    /// The recipe, as TOML.
    pub recipe: String,
    /// What matrix products were computed in.
    pub precision: String,
    /// Every file of data that was read.
    pub data: Vec<DataFile>,
    /// Steps of the whole run, and those of its warm-up; 0 where an earlier version wrote it.
    #[serde(default)]
    pub steps: usize,
    #[serde(default)]
    pub warmup_steps: usize,
    /// Steps taken.
    pub step: usize,
    /// The epoch under way, from 0.
    pub epoch: usize,
    /// Steps taken in this epoch.
    pub taken: usize,
    /// Whether an evaluation within the epoch is due before the next step: a stop came while it was under way.
    #[serde(default)]
    pub evaluation_due: bool,
    /// Whether the run has ended.
    pub done: bool,
    /// Sum and count of each task's losses in this epoch.
    pub losses: Vec<(f64, usize)>,
    /// What each task has had so far.
    pub counters: Counters,
    /// Real tokens so far.
    pub tokens: u64,
    /// Seconds so far, those of earlier processes included.
    pub seconds: f64,
    /// The best value so far and its epoch (from 1).
    pub best: Option<(f64, usize)>,
    /// Evaluations since then; 0 where an earlier version wrote it.
    #[serde(default)]
    pub since_best: usize,
    pub best_scores: BTreeMap<String, Score>,
    pub best_samples: Vec<Sample>,
    /// How many updates each parameter has had.
    pub updates: BTreeMap<String, u64>,
    /// How far `metrics.jsonl` was written.
    pub metrics: Option<Mark>,
    pub about: Provenance,
    /// Where each task stands in its windows; empty where a version wrote it in which every epoch was one pass.
    #[serde(default)]
    pub cursors: Vec<Cursor>,
    /// The same at the beginning of the epoch under way.
    #[serde(default)]
    pub cursors_of_epoch: Vec<Cursor>,
    /// What the sampler and the balancer have learnt.
    #[serde(default)]
    pub sampler: Value,
    #[serde(default)]
    pub balancer: Value,
    /// What was last chosen on validation data, by task.
    #[serde(default)]
    pub choices: BTreeMap<String, Value>,
}

impl State {
    /// Whether the run has come to its end: out of steps, or out of patience.
    pub(super) fn is_at_end(&self, recipe: &Recipe) -> bool {
        self.is_out_of_steps(recipe) || self.is_out_of_patience(recipe)
    }

    /// Whether patience ended it, and not its last step.
    pub(super) fn stopped_early(&self, recipe: &Recipe) -> bool {
        self.is_out_of_patience(recipe) && !self.is_out_of_steps(recipe)
    }

    fn is_out_of_steps(&self, recipe: &Recipe) -> bool {
        self.epoch >= recipe.train.epochs || recipe.train.max_steps.is_some_and(|limit| self.step >= limit)
    }

    /// Whether as many evaluations in a row as the recipe allows were not better than the best one.
    pub(super) fn is_out_of_patience(&self, recipe: &Recipe) -> bool {
        recipe.train.patience.is_some_and(|patience| self.since_best >= patience)
    }
}

/// Where a task stands in its windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The pass under way, from 0.
    pub pass: usize,
    /// Batches taken of it.
    pub taken: usize,
}

impl Cursor {
    /// The place of the next batch, of `count` in a pass; the cursor moves on.
    pub(super) fn advance(&mut self, count: usize) -> Self {
        self.begin_pass(count);
        let place = *self;
        self.taken += 1;
        place
    }

    /// Begins the next pass if this one is exhausted.
    pub(super) fn begin_pass(&mut self, count: usize) {
        if self.taken >= count {
            *self = Self { pass: self.pass + 1, taken: 0 };
        }
    }
}
