//! What a run writes for other programs: TensorBoard's event files, Hugging Face's `trainer_state.json`, and
//! `environment.json`.
//!
//! The first two are projections of `metrics.jsonl`: made from its lines and nothing else, so they can be made again at any
//! time (after a resume, or for an old run) and then have the same bytes.
//!
//! ```text
//! Event + time -> line (a JSON object, as in metrics.jsonl) -> events.out.tfevents.* , trainer_state.json
//! ```
//!
//! Lines are read with tolerance: an unknown event says nothing, and neither does a field that is missing.

pub mod environment;
pub mod tensorboard;
pub mod trainer_state;

pub use environment::{DataFile, Environment};
pub use tensorboard::TensorBoard;
pub use trainer_state::TrainerState;

use super::Event;
use crate::error::{Error, Result};
use serde_json::Value;

/// An event as a line of `metrics.jsonl` has it, with its `time` in Unix seconds.
pub fn line(event: &Event, time: f64) -> Result<Value> {
    let mut line = serde_json::to_value(event).map_err(|cause| Error::internal(format!("an event: {cause}")))?;
    if let Value::Object(fields) = &mut line {
        fields.insert("time".to_owned(), time.into());
    }
    Ok(line)
}

/// The kind of event that a line tells of.
fn kind(line: &Value) -> &str {
    text(line, "event").unwrap_or("")
}

fn text<'a>(line: &'a Value, field: &str) -> Option<&'a str> {
    line.get(field)?.as_str()
}

fn number(line: &Value, field: &str) -> Option<f64> {
    line.get(field)?.as_f64()
}

fn count(line: &Value, field: &str) -> Option<u64> {
    line.get(field)?.as_u64()
}

/// The tasks of a step: a list of objects, or in format 1 the step itself.
fn tasks_of_step(line: &Value) -> &[Value] {
    line.get("tasks").and_then(Value::as_array).map_or_else(|| std::slice::from_ref(line), Vec::as_slice)
}

/// The numbers of an object `{name: number}`, in its order.
fn named_numbers<'a>(line: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, f64)> {
    let fields = line.get(field).and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))
}

/// Every number of every task's score, in order: `(task, measure, value)`.
fn scores(line: &Value) -> impl Iterator<Item = (&str, &str, f64)> {
    let tasks = line.get("scores").and_then(Value::as_object).into_iter().flatten();
    tasks
        .flat_map(|(task, score)| named_numbers(score, "values").map(move |(name, value)| (task.as_str(), name, value)))
}
