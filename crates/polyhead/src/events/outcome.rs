//! What a finished run came to, out of its events: `updates of each task, scores, times`.

use super::{Cosine, Diagnosed, Event, FILE, ParameterCounts, Record, Step, TaskPlan, is_finished};
use crate::error::{Error, Place, Result};
use crate::tasks::Score;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What a finished run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What each task brought, in order.
    pub tasks: Vec<TaskPlan>,
    /// What matrix products were computed in.
    pub precision: String,
    /// The parameters of the model; none where they were not recorded.
    pub parameters: Option<ParameterCounts>,
    /// The updates taken of each task.
    pub updates: BTreeMap<String, usize>,
    /// Steps; one may take batches of several tasks.
    pub steps: usize,
    /// Passes over the data.
    pub epochs: usize,
    /// The epoch whose model was kept, from 1.
    pub best_epoch: usize,
    /// The scores of the model that was kept.
    pub best: BTreeMap<String, Score>,
    /// The scores after the last epoch.
    pub last: BTreeMap<String, Score>,
    /// By what epochs were compared, after the last one; none where nothing was scored.
    pub last_value: Option<f64>,
    /// Real tokens trained on.
    pub tokens: usize,
    /// What the updates took.
    pub training_seconds: f64,
    /// What the evaluations took, saving included.
    pub evaluation_seconds: f64,
    /// How the gradients of two tasks agreed on the shared encoder, where they were compared.
    pub cosines: Vec<MeanCosine>,
}

/// How the gradients of two tasks agreed over a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeanCosine {
    /// One task.
    pub a: String,
    /// The other, which comes later in the model.
    pub b: String,
    /// How often they were compared.
    pub samples: usize,
    /// The mean cosine.
    pub mean: f64,
    /// The share of the samples below 0: there the tasks pull in opposite directions.
    pub below_zero: f64,
}

impl MeanCosine {
    /// Pair by pair, in the order in which they come.
    fn of<'a>(diagnoses: impl Iterator<Item = &'a Diagnosed>) -> Vec<Self> {
        let mut pairs: Vec<(&str, &str, Vec<f64>)> = Vec::new();
        for Cosine { a, b, cosine } in diagnoses.flat_map(|diagnosed| &diagnosed.diagnosis.cosines) {
            let Some(cosine) = *cosine else { continue };
            match pairs.iter_mut().find(|(one, other, _)| one == a && other == b) {
                Some((.., values)) => values.push(cosine),
                None => pairs.push((a, b, vec![cosine])),
            }
        }
        let mean = |(a, b, values): (&str, &str, Vec<f64>)| {
            let samples = values.len();
            let share = |sum: f64| sum / samples as f64;
            let below = values.iter().filter(|value| **value < 0.0).count() as f64;
            let (a, b) = (a.to_owned(), b.to_owned());
            Self { a, b, samples, mean: share(values.iter().sum()), below_zero: share(below) }
        };
        pairs.into_iter().map(mean).collect()
    }
}

impl Outcome {
    /// The outcome of the run in this folder; none if there is no such run, or if it did not get to its end.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        // The end is written last, whole and with its line end; what a killed process left may stop anywhere.
        if !is_finished(run) {
            return Ok(None);
        }
        let (mut planned, mut end) = (None, None);
        let (mut steps, mut evaluated, mut diagnosed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for line in Record::read(run)?.lines {
            match line.event {
                Event::Planned(plan) => planned = Some(plan),
                // By number, so that a step or epoch that was done again after an interruption counts once.
                Event::Step(step) => drop(steps.insert(step.step, step)),
                Event::Evaluated(of) => drop(evaluated.insert(of.epoch, of)),
                Event::Diagnosed(of) => drop(diagnosed.insert(of.step, of)),
                Event::Finished(finished) => end = Some(finished),
                _ => {}
            }
        }
        let Some((planned, end)) = planned.zip(end) else {
            return Err(Error::data("expected the event `planned`, found none").at(Place::file(run.join(FILE))));
        };
        let mut updates = BTreeMap::new();
        for part in steps.values().flat_map(|step| &step.tasks) {
            *updates.entry(part.task.clone()).or_default() += 1;
        }
        let (epochs, evaluation_seconds) = (evaluated.len(), evaluated.values().map(|of| of.seconds).sum());
        let last = evaluated.pop_last().map(|(_, of)| of);
        Ok(Some(Self {
            tasks: planned.tasks,
            precision: planned.precision,
            parameters: planned.parameters,
            updates,
            steps: steps.len(),
            epochs,
            best_epoch: end.best_epoch,
            best: end.scores,
            tokens: steps.values().map(Step::tokens).sum(),
            training_seconds: steps.values().map(|step| step.seconds).sum(),
            evaluation_seconds,
            cosines: MeanCosine::of(diagnosed.values()),
            last_value: last.as_ref().and_then(|of| of.value),
            last: last.map(|of| of.scores).unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RUN: &str = r#"{"event":"planned","tasks":[{"name":"qa","examples":2,"windows":3,"batches":2,"tokens":9,"validation":4}],"epochs":2,"steps":2,"precision":"f32","new":1}
{"event":"step","step":1,"task":"qa","tokens":5,"seconds":1.5,"time":1.0}
{"event":"step","step":2,"task":"qa","tokens":4,"seconds":2.0}
{"event":"evaluated","epoch":1,"scores":{"qa":{"headline":"f1","values":{"f1":50.0}}},"seconds":1.0}
{"event":"diagnosed","step":1,"norms":{},"cosines":[{"a":"ner","b":"qa","cosine":0.5}],"seconds":0.1}
{"event":"diagnosed","step":2,"norms":{},"cosines":[{"a":"ner","b":"qa","cosine":0.5}],"seconds":0.1}
{"event":"saved","step":2,"checkpoint":"x"}
{"event":"diagnosed","step":2,"norms":{},"cosines":[{"a":"ner","b":"qa","cosine":-0.1}],"seconds":0.1}
{"event":"step","step":2,"task":"qa","tokens":4,"seconds":2.5}
{"event":"evaluated","epoch":2,"scores":{"qa":{"headline":"f1","values":{"f1":40.0}}},"seconds":1.0}
{"event":"finished","best_epoch":1,"scores":{"qa":{"headline":"f1","values":{"f1":50.0}}},"steps":2,"seconds":6.0}
"#;

    fn outcome(text: &str) -> Result<Option<Outcome>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Outcome::read(folder.path())
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
        let [MeanCosine { samples: 2, mean, below_zero, .. }] = outcome.cosines[..] else { panic!("one pair") };
        assert!((mean - 0.2).abs() < 1e-12 && below_zero == 0.5);
    }

    #[test]
    fn a_run_that_stopped_anywhere_is_not_finished() {
        for length in 0..RUN.len() {
            assert!(outcome(&RUN[..length]).unwrap().is_none(), "{length}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(Outcome::read(folder.path()).unwrap().is_none());
        let again = format!("{RUN}{}\n", r#"{"event":"step","step":1,"task":"qa","tokens":5,"seconds":1.5}"#);
        assert!(outcome(&again).unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let error = outcome(&RUN.replacen("\"step\":2", "\"step\":\"two\"", 1)).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl:3: expected an event"), "{error}");
    }
}
