//! `trainer_state.json` as `transformers.TrainerState` has it: what Hugging Face's tools read of a run.
//!
//! `log_history` holds one entry for every `logging_steps` steps, one for every evaluation, and one for the end, as
//! `Trainer` logs them. What a run of several tasks has beyond that stands in keys of its own: `loss_TASK`,
//! `eval_TASK_MEASURE`.

use super::numbers;
use crate::error::{Error, Result};
use crate::events::{Evaluated, Event, Finished, Step};
use crate::io::write_atomic;
use crate::parameters::{Owner, Parameters};
use crate::recipe::Recipe;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// At most so many entries of `log_history` are of steps: the file is written whole, again and again.
const ENTRIES: u64 = 1000;

/// The state of a run in Hugging Face's form. Fields stand in the order in which transformers writes them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainerState {
    /// The step of the best evaluation so far.
    pub best_global_step: Option<u64>,
    /// Its value, by the recipe's rule; none without validation data.
    pub best_metric: Option<f64>,
    /// The folder of its model.
    pub best_model_checkpoint: Option<String>,
    /// Epochs done, the one under way as a fraction.
    pub epoch: f64,
    /// Steps between evaluations: `train.evaluate_every`, else those of an epoch.
    pub eval_steps: u64,
    /// Steps taken.
    pub global_step: u64,
    is_hyper_param_search: bool,
    is_local_process_zero: bool,
    is_world_process_zero: bool,
    /// What was logged, in order; keys are sorted.
    pub log_history: Vec<BTreeMap<String, Value>>,
    /// Steps between entries of `log_history`: 1 in runs of up to 1000 steps.
    pub logging_steps: u64,
    /// Steps in all.
    pub max_steps: u64,
    /// Real tokens trained on.
    pub num_input_tokens_seen: u64,
    /// Epochs in all.
    pub num_train_epochs: u64,
    /// Steps between checkpoints: `train.save_every`, else those of an epoch.
    pub save_steps: u64,
    stateful_callbacks: Map<String, Value>,
    /// Floating point operations so far, estimated as `Trainer` does: six times tokens times parameters, without those of
    /// embedding tables.
    pub total_flos: f64,
    /// Windows of a batch; none where the tasks differ.
    pub train_batch_size: Option<usize>,
    trial_name: Option<String>,
    trial_params: Option<Map<String, Value>>,
    #[serde(skip)]
    best: String,
    /// The same two by the recipe.
    #[serde(skip)]
    every: [Option<usize>; 2],
    #[serde(skip)]
    steps_per_epoch: u64,
    #[serde(skip)]
    patience: Option<usize>,
    #[serde(skip)]
    operations: f64,
    /// The losses since the last entry, by task.
    #[serde(skip)]
    recent: BTreeMap<String, Mean>,
    #[serde(skip)]
    all: Mean,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl TrainerState {
    /// The state before the first event; `best` is the folder in which the best model is kept.
    pub fn new(recipe: &Recipe, best: &Path, parameters: &Parameters) -> Result<Self> {
        let sizes: Vec<usize> = recipe.tasks()?.iter().map(|task| task.batch_size).collect();
        let one_size = sizes.first().copied().filter(|first| sizes.iter().all(|size| size == first));
        let computed = parameters
            .trained()
            .filter(|parameter| parameter.owner == Owner::Encoder && !parameter.name.ends_with("_embeddings.weight"));
        Ok(Self {
            best_global_step: None,
            best_metric: None,
            best_model_checkpoint: None,
            epoch: 0.0,
            eval_steps: 0,
            global_step: 0,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: Vec::new(),
            logging_steps: 1,
            max_steps: 0,
            num_input_tokens_seen: 0,
            num_train_epochs: 0,
            save_steps: 0,
            stateful_callbacks: Map::new(),
            total_flos: 0.0,
            train_batch_size: one_size,
            trial_name: None,
            trial_params: None,
            best: best.display().to_string(),
            every: [recipe.train.evaluate_every, recipe.train.save_every],
            steps_per_epoch: 0,
            patience: None,
            operations: 6.0 * Parameters::count(computed) as f64,
            recent: BTreeMap::new(),
            all: Mean::default(),
        })
    }

    /// Takes in an event of `metrics.jsonl`.
    pub fn record(&mut self, event: &Event) {
        match event {
            Event::Planned(plan) => {
                self.max_steps = plan.steps as u64;
                self.num_train_epochs = plan.epochs as u64;
                self.steps_per_epoch = plan.steps_per_epoch as u64;
                self.patience = plan.patience;
                [self.eval_steps, self.save_steps] =
                    self.every.map(|every| every.map_or(self.steps_per_epoch, |every| every as u64));
                self.logging_steps = self.max_steps.div_ceil(ENTRIES).max(1);
            }
            Event::Step(step) => self.step(step),
            Event::Evaluated(evaluated) => self.evaluated(evaluated),
            Event::Finished(finished) => self.finished(finished),
            _ => {}
        }
    }

    fn step(&mut self, step: &Step) {
        self.at(step.step);
        self.num_input_tokens_seen += step.tokens() as u64;
        self.total_flos = self.operations * self.num_input_tokens_seen as f64;
        for part in &step.tasks {
            if let Some(loss) = part.loss {
                self.recent.entry(part.task.clone()).or_default().add(loss);
                self.all.add(loss);
            }
        }
        if !self.global_step.is_multiple_of(self.logging_steps) {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        let mut together = Mean::default();
        for mean in recent.values() {
            together.sum += mean.sum;
            together.count += mean.count;
        }
        let tasks = recent.into_iter().map(|(task, mean)| (format!("loss_{task}"), mean.value()));
        let values = [
            ("loss".to_owned(), together.value()),
            ("learning_rate".to_owned(), Some(step.lr)),
            ("grad_norm".to_owned(), step.grad_norm),
        ];
        self.log(values.into_iter().chain(tasks));
    }

    fn evaluated(&mut self, evaluated: &Evaluated) {
        self.at(evaluated.step);
        self.stop_early(evaluated.since_best);
        let measures =
            numbers(&evaluated.scores).map(|(task, name, value)| (format!("eval_{task}_{name}"), Some(value)));
        let rest = [("eval_value", evaluated.value), ("eval_runtime", Some(evaluated.seconds))];
        self.log(measures.chain(rest.map(|(name, value)| (name.to_owned(), value))));
        if evaluated.improved {
            self.best_global_step = Some(self.global_step);
            self.best_metric = evaluated.value;
            self.best_model_checkpoint = Some(self.best.clone());
        }
    }

    fn finished(&mut self, finished: &Finished) {
        let seconds = finished.seconds;
        let rate = (seconds > 0.0).then(|| self.global_step as f64 / seconds);
        let values = [
            ("train_runtime", Some(seconds)),
            ("train_steps_per_second", rate),
            ("train_loss", self.all.value()),
            ("total_flos", Some(self.total_flos)),
        ];
        self.log(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// The state of transformers' `EarlyStoppingCallback`, where the run may end early.
    fn stop_early(&mut self, since_best: usize) {
        let Some(patience) = self.patience else { return };
        let state = json!({
            "args": { "early_stopping_patience": patience, "early_stopping_threshold": 0.0 },
            "attributes": { "early_stopping_patience_counter": since_best },
        });
        self.stateful_callbacks.insert("EarlyStoppingCallback".to_owned(), state);
    }

    /// Goes to the step of an event, if it was recorded.
    fn at(&mut self, step: usize) {
        self.global_step = if step > 0 { step as u64 } else { self.global_step };
        self.epoch = self.global_step as f64 / self.steps_per_epoch.max(1) as f64;
    }

    fn log(&mut self, values: impl Iterator<Item = (String, Option<f64>)>) {
        let values = values.filter_map(|(name, value)| Some((name, Value::from(value?))));
        let now = [("epoch".to_owned(), self.epoch.into()), ("step".to_owned(), self.global_step.into())];
        self.log_history.push(values.chain(now).collect());
    }

    /// Writes `trainer_state.json` into a folder, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|cause| Error::internal(format!("the state of the run as JSON: {cause}")))?;
        write_atomic(folder.join("trainer_state.json"), format!("{text}\n"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::events::{Plan, StepTask};
    use crate::tasks::Score;
    use serde_json::json;

    fn state(batches: [usize; 2]) -> TrainerState {
        let [ner, qa] = batches;
        let text = format!(
            "name = 'x'\nencoder.checkpoint = 'x'\ntasks.ner.batch_size = {ner}\ntasks.qa.batch_size = {qa}\n\
             data.ner.train = 'x'\ndata.qa.train = 'x'"
        );
        let recipe = Recipe::parse(&text, Path::new("x.toml"), &[]).unwrap();
        TrainerState::new(&recipe, Path::new("runs/x/best"), &Parameters::default()).unwrap()
    }

    fn planned(epochs: usize, steps_per_epoch: usize) -> Event {
        Event::Planned(Plan { epochs, steps_per_epoch, steps: epochs * steps_per_epoch, ..Plan::default() })
    }

    fn step(step: usize, task: &str, loss: f64) -> Event {
        let part = StepTask {
            task: task.to_owned(),
            loss: Some(loss),
            weight: 1.0,
            tokens: 10,
            shared_tokens: 0,
            examples: Vec::new(),
        };
        let (steps, epoch, group_norms) = Default::default();
        Event::Step(Step {
            step,
            steps,
            epoch,
            tasks: vec![part],
            lr: 0.5,
            grad_norm: Some(2.0),
            group_norms,
            seconds: 0.1,
            balance_seconds: 0.0,
        })
    }

    fn evaluated(step: usize, improved: bool) -> Event {
        let values = json!({ "f1": 80.0 }).as_object().unwrap().clone();
        let scores = [("ner".to_owned(), Score { headline: "f1".into(), values, types: Vec::new() })].into();
        let (losses, counts, calibration, samples) = Default::default();
        let value = Some(80.0);
        let since_best = usize::from(!improved);
        Event::Evaluated(Evaluated {
            epoch: 1,
            step,
            losses,
            scores,
            calibration,
            counts,
            value,
            improved,
            since_best,
            seconds: 3.0,
            samples,
        })
    }

    fn entry(state: &TrainerState, at: usize) -> Value {
        serde_json::to_value(&state.log_history[at]).unwrap()
    }

    #[test]
    fn steps_evaluations_and_the_end_are_logged_as_trainer_logs_them() {
        let mut state = state([16, 16]);
        let end = json!({ "event": "finished", "best_epoch": 1, "steps": 4, "seconds": 8.0 });
        let events = [
            planned(2, 2),
            step(1, "ner", 1.0),
            Event::Unknown,
            step(2, "qa", 4.0),
            // Of a run that did not record the step.
            evaluated(0, true),
            step(3, "ner", 1.0),
            step(4, "qa", 2.0),
            evaluated(4, false),
            serde_json::from_value(end).unwrap(),
        ];
        events.iter().for_each(|event| state.record(event));
        let logged = json!({
            "loss": 4.0, "loss_qa": 4.0, "learning_rate": 0.5, "grad_norm": 2.0, "epoch": 1.0, "step": 2,
        });
        assert_eq!(entry(&state, 1), logged);
        let evaluated =
            json!({ "eval_ner_f1": 80.0, "eval_value": 80.0, "eval_runtime": 3.0, "epoch": 1.0, "step": 2 });
        assert_eq!(entry(&state, 2), evaluated);
        let end = json!({
            "train_runtime": 8.0, "train_steps_per_second": 0.5, "train_loss": 2.0, "total_flos": 0.0,
            "epoch": 2.0, "step": 4,
        });
        assert_eq!(entry(&state, 6), end);
        assert_eq!(state.log_history.len(), 7);
        assert_eq!((state.best_global_step, state.best_metric), (Some(2), Some(80.0)));
        assert_eq!(state.best_model_checkpoint.as_deref(), Some("runs/x/best"));
        assert_eq!((state.global_step, state.max_steps, state.epoch), (4, 4, 2.0));
        assert_eq!((state.num_input_tokens_seen, state.train_batch_size), (40, Some(16)));
        assert_eq!(state.total_flos, 0.0, "no parameters");
    }

    #[test]
    fn the_patience_of_a_run_stands_where_the_early_stopping_callback_of_transformers_keeps_its() {
        let mut state = state([16, 16]);
        let plan = Plan { epochs: 2, steps_per_epoch: 2, steps: 4, patience: Some(3), ..Plan::default() };
        state.record(&Event::Planned(plan));
        assert!(state.stateful_callbacks.is_empty());
        state.record(&evaluated(2, true));
        state.record(&evaluated(4, false));
        // EarlyStoppingCallback.state() of transformers 5.24.
        let expected = json!({ "EarlyStoppingCallback": {
            "args": { "early_stopping_patience": 3, "early_stopping_threshold": 0.0 },
            "attributes": { "early_stopping_patience_counter": 1 },
        } });
        assert_eq!(Value::Object(state.stateful_callbacks), expected);
    }

    #[test]
    fn long_runs_log_means_over_several_steps() {
        let mut state = state([16, 8]);
        state.record(&planned(1, 2001));
        assert_eq!((state.logging_steps, state.train_batch_size), (3, None));
        for (at, (task, loss)) in [("ner", 1.0), ("qa", 6.0), ("ner", 2.0), ("qa", 5.0)].into_iter().enumerate() {
            state.record(&step(1 + at, task, loss));
        }
        let logged = json!({
            "loss": 3.0, "loss_ner": 1.5, "loss_qa": 6.0, "learning_rate": 0.5, "grad_norm": 2.0,
            "epoch": 3.0 / 2001.0, "step": 3,
        });
        assert_eq!(entry(&state, 0), logged);
        assert_eq!(state.log_history.len(), 1);
    }

    #[test]
    fn the_file_has_every_field_of_transformers_and_no_other_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        state([16, 16]).write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("trainer_state.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = file.as_object().unwrap().keys().map(String::as_str).collect();
        // dataclasses.fields(transformers.TrainerState) of transformers 5.23, sorted.
        let known = [
            "best_global_step",
            "best_metric",
            "best_model_checkpoint",
            "epoch",
            "eval_steps",
            "global_step",
            "is_hyper_param_search",
            "is_local_process_zero",
            "is_world_process_zero",
            "log_history",
            "logging_steps",
            "max_steps",
            "num_input_tokens_seen",
            "num_train_epochs",
            "save_steps",
            "stateful_callbacks",
            "total_flos",
            "train_batch_size",
            "trial_name",
            "trial_params",
        ];
        assert_eq!(names, known);
        assert!(text.ends_with("}\n"));
    }
}
