//! Reading a run folder: `metrics.jsonl`, line by line, into what a report needs; the recipe and the environment.
//!
//! Runs of other versions are read too: events and fields that are not known are passed over, and what an older run
//! does not have is absent here. What is there and malformed is an error with its line. Only a last line without its
//! end is forgiven: the run was stopped while writing it.

use crate::error::{Error, Place, Result};
use crate::recipe::Recipe;
pub use crate::train::Step;
use crate::train::counters::Counts;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A run, as its folder tells it.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder.
    pub folder: PathBuf,
    /// Its name: that of the folder.
    pub name: String,
    /// What it was going to do.
    pub plan: Option<Plan>,
    /// Its updates, in order.
    pub steps: Vec<Step>,
    /// Its evaluations, in order.
    pub evaluations: Vec<Evaluated>,
    /// Its samples of the tasks' gradients, in order.
    pub diagnoses: Vec<Diagnosed>,
    /// How it ended, if it came to its end.
    pub finished: Option<Finished>,
    /// At which steps it was resumed.
    pub resumed: Vec<usize>,
    /// The recipe, resolved.
    pub recipe: Option<Recipe>,
    /// The recipe as it stands in the folder.
    pub recipe_text: Option<String>,
    /// Versions, machine and data, if the run recorded them.
    pub environment: Option<Value>,
    /// What is missing or was passed over, for people.
    pub notes: Vec<String>,
}

/// The event `planned`.
#[derive(Debug, Clone, Deserialize)]
pub struct Plan {
    /// What each task brings.
    pub tasks: Vec<TaskPlan>,
    /// Passes over the data.
    pub epochs: usize,
    /// All steps.
    pub steps: usize,
    /// Steps of an epoch; 0 in runs that did not record it.
    #[serde(default)]
    pub steps_per_epoch: usize,
    /// Steps in which the learning rate rises.
    #[serde(default)]
    pub warmup_steps: usize,
    /// What matrix products are computed in.
    #[serde(default)]
    pub precision: Option<String>,
    /// What in the data was probably a mistake.
    #[serde(default)]
    pub warnings: Vec<Warned>,
}

/// A [`crate::train::Warning`] as it was written.
#[derive(Debug, Clone, Deserialize)]
pub struct Warned {
    /// The task.
    pub task: String,
    /// Which of its data.
    pub split: String,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub hint: String,
}

/// A task of a [`Plan`].
#[derive(Debug, Clone, Deserialize)]
pub struct TaskPlan {
    /// Its name.
    pub name: String,
    /// Training examples.
    pub examples: usize,
    /// Windows that they make.
    pub windows: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Real tokens of an epoch.
    pub tokens: usize,
    /// Validation examples.
    #[serde(default)]
    pub validation: usize,
}

/// The event `evaluated`.
#[derive(Debug, Clone, Deserialize)]
pub struct Evaluated {
    /// Its epoch, from 1.
    pub epoch: usize,
    /// After which step.
    #[serde(default)]
    pub step: Option<usize>,
    /// The score of each task.
    pub scores: BTreeMap<String, Scored>,
    /// What each task had had.
    #[serde(default)]
    pub counts: BTreeMap<String, Counts>,
    /// The value by which epochs are compared.
    pub value: Option<f64>,
    /// Whether it was the best so far.
    #[serde(default)]
    pub improved: bool,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
}

/// A [`crate::tasks::Score`] as it was written.
#[derive(Debug, Clone, Deserialize)]
pub struct Scored {
    /// The name of the value that decides.
    pub headline: String,
    /// All values, in order.
    pub values: Map<String, Value>,
    /// The breakdown by type.
    #[serde(default)]
    pub types: Vec<TypeScored>,
}

impl Scored {
    /// A value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).and_then(Value::as_f64)
    }
    /// The value that decides.
    pub fn headline_value(&self) -> Option<f64> {
        self.get(&self.headline)
    }
}

/// A [`crate::tasks::TypeScore`] as it was written.
#[derive(Debug, Clone, Deserialize)]
pub struct TypeScored {
    /// The type.
    pub name: String,
    /// Precision in per cent.
    pub precision: f64,
    /// Recall in per cent.
    pub recall: f64,
    /// F1 in per cent.
    pub f1: f64,
    /// How many gold ones there are.
    pub support: usize,
}

/// The event `diagnosed`: the gradients of the tasks on the shared encoder, side by side.
#[derive(Debug, Clone, Deserialize)]
pub struct Diagnosed {
    /// After which step.
    pub step: usize,
    /// The norm of each task's gradient.
    #[serde(default)]
    pub norms: BTreeMap<String, Option<f64>>,
    /// The cosine of each pair.
    #[serde(default)]
    pub cosines: Vec<Cosine>,
    /// What it cost.
    #[serde(default)]
    pub seconds: f64,
}

/// The cosine between the gradients of two tasks.
#[derive(Debug, Clone, Deserialize)]
pub struct Cosine {
    /// One task.
    pub a: String,
    /// The other.
    pub b: String,
    /// The cosine; `null` where a gradient was 0.
    pub cosine: Option<f64>,
}

/// The event `finished`.
#[derive(Debug, Clone, Deserialize)]
pub struct Finished {
    /// The epoch of the best model.
    pub best_epoch: usize,
    /// The rule by which it was chosen, for people.
    #[serde(default)]
    pub rule: String,
    /// Steps taken.
    pub steps: usize,
    /// How long it took, evaluation included.
    pub seconds: f64,
}

impl Run {
    /// Reads a run folder.
    ///
    /// # Errors
    /// There is no `metrics.jsonl`, or a line of it is malformed.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        if !path.is_file() {
            return Err(Error::missing("expected a run folder, found no metrics.jsonl in it")
                .at(Place::file(folder))
                .hint("`polyhead train RECIPE` makes one: runs/NAME"));
        }
        let text = std::fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
        // The folder may be named `.` or end in `..`: its real name is asked for.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = real.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into());
        let mut run = Self {
            folder: folder.to_owned(),
            name,
            plan: None,
            steps: Vec::new(),
            evaluations: Vec::new(),
            diagnoses: Vec::new(),
            finished: None,
            resumed: Vec::new(),
            recipe: None,
            recipe_text: None,
            environment: None,
            notes: Vec::new(),
        };
        run.read_events(&path, &text)?;
        run.read_recipe();
        run.read_environment();
        Ok(run)
    }

    fn read_events(&mut self, path: &Path, text: &str) -> Result<()> {
        for (index, line) in text.split_inclusive('\n').enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let place = || Place::line(path, index + 1);
            let event: Value = match serde_json::from_str(line) {
                Ok(event) => event,
                Err(_) if !line.ends_with('\n') => {
                    self.notes.push(format!(
                        "The last line of metrics.jsonl ({}) has no end: the run was stopped while writing it. It is \
                         left out.",
                        index + 1
                    ));
                    break;
                }
                Err(cause) => {
                    return Err(Error::data(format!("expected an event as one line of JSON, found {cause}"))
                        .at(place())
                        .hint("metrics.jsonl is written by `polyhead train` alone; was it edited?"));
                }
            };
            let Some(name) = event.get("event").and_then(Value::as_str).map(str::to_owned) else {
                return Err(Error::data("expected an object with the field `event`, found none").at(place()));
            };
            self.take(&name, event).map_err(|cause| {
                Error::data(format!("expected an event `{name}` as `polyhead train` writes it, found {cause}"))
                    .at(place())
            })?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, event: Value) -> Result<(), serde_json::Error> {
        match name {
            "planned" => self.plan = Some(serde_json::from_value(event)?),
            "step" => {
                let step: Step = serde_json::from_value(event)?;
                // A run that was resumed from a checkpoint takes again the steps after it: the later ones count.
                while self.steps.last().is_some_and(|last| last.step >= step.step) {
                    self.steps.pop();
                }
                self.steps.push(step);
            }
            "evaluated" => {
                let evaluated: Evaluated = serde_json::from_value(event)?;
                let again = |last: &Evaluated| (last.epoch, last.step) >= (evaluated.epoch, evaluated.step);
                while self.evaluations.last().is_some_and(again) {
                    self.evaluations.pop();
                }
                self.evaluations.push(evaluated);
            }
            "diagnosed" => {
                let diagnosed: Diagnosed = serde_json::from_value(event)?;
                while self.diagnoses.last().is_some_and(|last| last.step >= diagnosed.step) {
                    self.diagnoses.pop();
                }
                self.diagnoses.push(diagnosed);
            }
            "finished" => self.finished = Some(serde_json::from_value(event)?),
            "resumed" => {
                self.resumed.extend(event.get("step").and_then(Value::as_u64).map(|step| step as usize));
            }
            // Events of later versions.
            _ => {}
        }
        Ok(())
    }

    fn read_recipe(&mut self) {
        let path = self.folder.join("recipe.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                match Recipe::parse(&text, &path, &[]) {
                    Ok(recipe) => self.recipe = Some(recipe),
                    Err(error) => self.notes.push(format!("The recipe can't be read by this version: {error}")),
                }
                self.recipe_text = Some(text);
            }
            Err(cause) => self.notes.push(format!("There is no recipe.toml to read: {cause}.")),
        }
    }

    fn read_environment(&mut self) {
        let path = self.folder.join("environment.json");
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        match serde_json::from_str(&text) {
            Ok(environment) => self.environment = Some(environment),
            Err(cause) => self.notes.push(format!("environment.json is not valid JSON: {cause}.")),
        }
    }

    /// The names of its tasks, in order.
    pub fn tasks(&self) -> Vec<String> {
        if let Some(plan) = &self.plan {
            return plan.tasks.iter().map(|task| task.name.clone()).collect();
        }
        let mut names: Vec<String> = Vec::new();
        for part in self.steps.iter().flat_map(|step| &step.tasks) {
            if !names.contains(&part.task) {
                names.push(part.task.clone());
            }
        }
        names
    }

    /// Where in the run an evaluation stands, in epochs: 2 after the second one, 1.5 in the middle of it.
    pub fn epochs_at(&self, evaluated: &Evaluated) -> f64 {
        let steps = self.plan.as_ref().map_or(0, |plan| plan.steps_per_epoch);
        let step = evaluated.step.filter(|_| steps > 0);
        step.map_or(evaluated.epoch as f64, |step| step as f64 / steps as f64)
    }

    /// The evaluation of the best epoch: that of the kept model.
    pub fn best(&self) -> Option<&Evaluated> {
        let by_name = self.finished.as_ref().and_then(|end| {
            self.evaluations.iter().rev().find(|evaluated| evaluated.epoch == end.best_epoch && evaluated.improved)
        });
        by_name.or_else(|| self.evaluations.iter().rev().find(|evaluated| evaluated.improved))
    }

    /// What multiplies the loss of a task.
    pub fn loss_weight(&self, task: &str) -> f64 {
        let tasks = self.recipe.as_ref().and_then(|recipe| recipe.tasks().ok()).unwrap_or_default();
        tasks.iter().find(|known| known.name == task).map_or(1.0, |known| known.loss_weight)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(metrics: &str) -> Result<Run> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
        Run::read(folder.path())
    }

    fn step(step: usize) -> String {
        format!(
            "{{\"event\":\"step\",\"step\":{step},\"epoch\":1,\"task\":\"a\",\"loss\":{step}.5,\"lr\":0.1,\
             \"tokens\":3,\"seconds\":0.1}}\n"
        )
    }

    #[test]
    fn unknown_events_and_fields_are_passed_over_and_old_runs_read() {
        let text = format!("{}{{\"event\":\"from_the_future\",\"x\":[1]}}\n", step(1).replace("lr", "new\":{},\"lr"));
        let run = read(&text).unwrap();
        assert_eq!((run.steps.len(), run.steps[0].tasks[0].loss, run.steps[0].grad_norm), (1, Some(1.5), None));
        assert_eq!(run.tasks(), ["a"]);
        assert!(run.notes.iter().any(|note| note.contains("recipe.toml")), "{:?}", run.notes);
    }

    #[test]
    fn steps_of_several_tasks_and_those_of_the_first_format_read_alike() {
        let joint = "{\"event\":\"step\",\"step\":2,\"steps\":2,\"epoch\":1,\"lr\":0.1,\"seconds\":0.1,\"tasks\":[\
                     {\"task\":\"a\",\"loss\":1.0,\"weight\":0.5,\"tokens\":3},{\"task\":\"b\",\"loss\":null,\"tokens\":4}]}\n";
        let run = read(&format!("{}{joint}", step(1))).unwrap();
        assert_eq!(run.tasks(), ["a", "b"]);
        assert_eq!((run.steps[0].tokens(), run.steps[1].tokens()), (3, 7));
        let [a, b] = ["a", "b"].map(|task| run.steps[1].of(task).map(|part| (part.loss, part.weight)));
        assert_eq!((a, b), (Some((Some(1.0), 0.5)), Some((None, 1.0))));
        assert!(run.steps[0].of("b").is_none());
    }

    #[test]
    fn a_malformed_line_is_named_and_a_torn_last_one_is_told() {
        let error = read(&format!("{}{{\"event\":\n{}", step(1), step(2))).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl:2: expected an event"), "{error}");
        let error = read(&format!("{}{}", step(1), step(2).replace("2.5", "\"much\""))).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl:2: ") && error.to_string().contains("much"), "{error}");
        assert!(read("[]\n").unwrap_err().to_string().contains("metrics.jsonl:1: expected an object"));
        let run = read(&format!("{}{{\"event\":\"st", step(1))).unwrap();
        assert_eq!(run.steps.len(), 1);
        assert!(run.notes[0].contains("(2) has no end"), "{:?}", run.notes);
    }

    #[test]
    fn steps_that_a_resumed_run_took_again_count_once() {
        let resumed = "{\"event\":\"resumed\",\"step\":1,\"checkpoint\":\"x\"}\n";
        let run = read(&[step(1), step(2), step(3), resumed.into(), step(2)].concat()).unwrap();
        assert_eq!(run.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(run.resumed, [1]);
    }

    #[test]
    fn a_loss_that_was_no_number_is_absent() {
        let run = read(&step(1).replace("1.5", "null")).unwrap();
        assert_eq!(run.steps[0].tasks[0].loss, None);
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let error = Run::read(folder.path()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::MissingInput);
        assert!(error.hint_text().unwrap().contains("polyhead train"));
    }
}
