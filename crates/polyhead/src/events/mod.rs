//! The record of a run: the events of `metrics.jsonl`, one JSON object a line. Training writes these types, and reports,
//! comparisons, TensorBoard's file and `trainer_state.json` are made of them.
//!
//! ```text
//! Event, time -> Line -> {"event": "step", "step": 1, ..., "time": 1700000000.25} -> Line -> Event
//! ```
//!
//! Runs of other versions are read too. Format 1 had one task a step. Events and fields that are not known here are passed
//! over; what a run of an earlier version does not have is empty or 0.

mod evaluated;
mod heads;
mod outcome;
mod plan;
mod read;
mod step;

pub use evaluated::{Counts, Evaluated, Finished, Sample};
pub use heads::{Begins, HeadStart, listed};
pub use outcome::{MeanCosine, Outcome};
pub use plan::{Lost, ParameterCounts, Plan, TaskPlan, Warning, WarningKind};
pub use read::{Record, is_finished};
pub use step::{Cosine, Diagnosed, Diagnosis, Norms, Step, StepTask};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The name of the file in a run folder.
pub const FILE: &str = "metrics.jsonl";

/// The format that this version writes, in the event `planned`: 1 had one task a step (and no number), 2 has the tasks of a
/// step in a list. Both are read.
pub const FORMAT: u32 = 2;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What will be done; the first event.
    Planned(Plan),
    /// An update of the parameters.
    Step(Step),
    /// How the tasks pull the shared encoder; it follows its step.
    Diagnosed(Diagnosed),
    /// An evaluation: at the end of an epoch, or within one.
    Evaluated(Evaluated),
    /// A checkpoint was written.
    Saved(Checkpoint),
    /// An earlier process had come to this checkpoint; the run goes on from there.
    Resumed(Checkpoint),
    /// The run was asked to stop, saved this checkpoint and can be resumed; the last event.
    Stopped(Checkpoint),
    /// The end; the last event.
    Finished(Finished),
    /// An event of a later version: it is read and passed over, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

impl Event {
    /// Whether it belongs to the run and not to the process that trains, and so stands in `metrics.jsonl`.
    pub fn is_recorded(&self) -> bool {
        !matches!(self, Self::Saved(_) | Self::Resumed(_) | Self::Stopped(_) | Self::Unknown)
    }
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When it was written, in Unix seconds; none where that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
}

/// All that a run needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: usize,
    /// Its folder.
    pub checkpoint: PathBuf,
}
