//! What a finished run came to, out of its run folder: `metrics.jsonl -> updates of each task, scores, times`.
//!
//! Read as any run folder of any version has it: events and fields that are not known here are passed over.

use crate::error::{Error, Place, Result};
use crate::train::Step;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// What a finished run came to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What each task brought, in order.
    pub tasks: Vec<TaskData>,
    /// What matrix products were computed in.
    pub precision: String,
    /// The updates taken of each task.
    pub updates: BTreeMap<String, usize>,
    /// Passes over the data.
    pub epochs: usize,
    /// The epoch whose model was kept, from 1.
    pub best_epoch: usize,
    /// The scores of the model that was kept.
    pub best: BTreeMap<String, Scores>,
    /// The scores after the last epoch.
    pub last: BTreeMap<String, Scores>,
    /// Real tokens trained on.
    pub tokens: usize,
    /// What the updates took.
    pub training_seconds: f64,
    /// What the evaluations took, saving included.
    pub evaluation_seconds: f64,
}

/// What a task brings to each epoch: the same in two runs that see the same data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TaskData {
    pub name: String,
    pub examples: usize,
    pub windows: usize,
    pub batches: usize,
    pub tokens: usize,
    pub validation: usize,
}

/// The scores of a task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Scores {
    /// The name of the value that decides.
    pub headline: String,
    /// All values by name.
    pub values: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Planned {
        tasks: Vec<TaskData>,
        precision: String,
    },
    Step(Step),
    Evaluated {
        epoch: usize,
        scores: BTreeMap<String, Scores>,
        seconds: f64,
    },
    Finished {
        best_epoch: usize,
        scores: BTreeMap<String, Scores>,
    },
    #[serde(other)]
    Other,
}

/// The outcome of the run in this folder; none if there is no such run, or if it did not get to its end.
pub(super) fn read(run: &Path) -> Result<Option<Outcome>> {
    let path = run.join("metrics.jsonl");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::reading(&path, cause)),
    };
    // The end is written last, whole and with its line end; what a killed process left may stop anywhere.
    let Some(text) = bytes.strip_suffix(b"\n") else { return Ok(None) };
    let end = text.rsplit(|&byte| byte == b'\n').next().map(serde_json::from_slice);
    let Some(Ok(Line::Finished { best_epoch, scores })) = end else { return Ok(None) };
    let (mut planned, mut steps, mut evaluated) = (None, BTreeMap::new(), BTreeMap::new());
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = serde_json::from_slice(line).map_err(|cause| {
            Error::data(format!("expected an event of a run, found something else: {cause}"))
                .at(Place::line(&path, at + 1))
        })?;
        match line {
            Line::Planned { tasks, precision } => planned = Some((tasks, precision)),
            // By number, so that a step or epoch that was done again after an interruption counts once.
            Line::Step(step) => drop(steps.insert(step.step, step)),
            Line::Evaluated { epoch, scores, seconds } => drop(evaluated.insert(epoch, (scores, seconds))),
            Line::Finished { .. } | Line::Other => {}
        }
    }
    let (tasks, precision) =
        planned.ok_or_else(|| Error::data("expected the event `planned`, found none").at(Place::file(&path)))?;
    let mut updates = BTreeMap::new();
    for part in steps.values().flat_map(|step| &step.tasks) {
        *updates.entry(part.task.clone()).or_default() += 1;
    }
    Ok(Some(Outcome {
        tasks,
        precision,
        updates,
        epochs: evaluated.len(),
        best_epoch,
        best: scores,
        tokens: steps.values().map(Step::tokens).sum(),
        training_seconds: steps.values().map(|step| step.seconds).sum(),
        evaluation_seconds: evaluated.values().map(|(_, seconds)| seconds).sum(),
        last: evaluated.pop_last().map(|(_, (scores, _))| scores).unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RUN: &str = r#"{"event":"planned","tasks":[{"name":"qa","examples":2,"windows":3,"batches":2,"tokens":9,"validation":4}],"precision":"f32","new":1}
{"event":"step","step":1,"task":"qa","tokens":5,"seconds":1.5,"time":1.0}
{"event":"step","step":2,"task":"qa","tokens":4,"seconds":2.0}
{"event":"evaluated","epoch":1,"scores":{"qa":{"headline":"f1","values":{"f1":50.0}}},"seconds":1.0}
{"event":"saved","step":2,"checkpoint":"x"}
{"event":"step","step":2,"task":"qa","tokens":4,"seconds":2.5}
{"event":"evaluated","epoch":2,"scores":{"qa":{"headline":"f1","values":{"f1":40.0}}},"seconds":1.0}
{"event":"finished","best_epoch":1,"scores":{"qa":{"headline":"f1","values":{"f1":50.0}}}}
"#;

    fn outcome(text: &str) -> Result<Option<Outcome>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
        read(folder.path())
    }

    #[test]
    fn a_finished_run_is_read_and_what_is_not_known_is_passed_over() {
        let outcome = outcome(RUN).unwrap().unwrap();
        assert_eq!((outcome.updates["qa"], outcome.tokens, outcome.epochs, outcome.best_epoch), (2, 9, 2, 1));
        assert_eq!((outcome.training_seconds, outcome.evaluation_seconds), (4.0, 2.0));
        assert_eq!(
            (outcome.best["qa"].values["f1"].as_f64(), outcome.last["qa"].values["f1"].as_f64()),
            (Some(50.0), Some(40.0))
        );
        assert_eq!((outcome.tasks[0].batches, outcome.precision.as_str()), (2, "f32"));
    }

    #[test]
    fn a_run_that_stopped_anywhere_is_not_finished() {
        for length in 0..RUN.len() {
            assert!(outcome(&RUN[..length]).unwrap().is_none(), "{length}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        let again = format!("{RUN}{}\n", r#"{"event":"step","step":1,"task":"qa","tokens":5,"seconds":1.5}"#);
        assert!(outcome(&again).unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let error = outcome(&RUN.replacen("\"step\":2", "\"step\":\"two\"", 1)).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl:3: expected an event"), "{error}");
    }
}
