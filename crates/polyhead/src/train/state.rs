//! The one thing that changes while training, besides parameters and moments; a checkpoint holds it whole.

use super::Sample;
use super::counters::Counters;
use super::record::DataFile;
use crate::io::Mark;
use crate::model::Provenance;
use crate::tasks::Score;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

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
    /// Steps taken in this epoch: with the seed and the recipe this says which batches are still to come.
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
    pub best_scores: BTreeMap<String, Score>,
    pub best_samples: Vec<Sample>,
    /// How many updates each parameter has had.
    pub updates: BTreeMap<String, u64>,
    /// How far `metrics.jsonl` was written.
    pub metrics: Option<Mark>,
    pub about: Provenance,
    /// The tasks of this epoch's steps that are still to come. It follows from the rest.
    #[serde(skip)]
    pub upcoming: VecDeque<usize>,
    /// The batches of each task that are still to come in this epoch: indices of its windows. They follow from the rest.
    #[serde(skip)]
    pub batches: Vec<VecDeque<Vec<usize>>>,
}
