//! What a run writes for other programs: TensorBoard's event files, Hugging Face's `trainer_state.json`, and
//! `environment.json`.
//!
//! The first two are projections of `metrics.jsonl`: made from its lines and nothing else, so they can be made again at any
//! time (after a resume, or for an old run) and then have the same bytes.
//!
//! ```text
//! Line (an event and its time, out of metrics.jsonl) -> events.out.tfevents.* , trainer_state.json
//! ```

pub mod environment;
pub mod tensorboard;
pub mod trainer_state;

pub use environment::{DataFile, Environment};
pub use tensorboard::TensorBoard;
pub use trainer_state::TrainerState;

use crate::tasks::Score;
use std::collections::BTreeMap;

/// Every number of every task's score, in order: `(task, measure, value)`.
fn numbers(scores: &BTreeMap<String, Score>) -> impl Iterator<Item = (&str, &str, f64)> {
    scores.iter().flat_map(|(task, score)| {
        score.values.iter().filter_map(move |(name, value)| Some((task.as_str(), name.as_str(), value.as_f64()?)))
    })
}
