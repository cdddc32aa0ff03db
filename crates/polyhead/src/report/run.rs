//! Reading a run folder: its events, in order and each once; the recipe and the environment.

use crate::error::{Error, Place, Result};
use crate::events::{Diagnosed, Evaluated, Event, FILE, Finished, Plan, Record, Step};
use crate::recipe::Recipe;
use serde_json::Value;
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

impl Run {
    /// Reads a run folder.
    ///
    /// # Errors
    /// There is no `metrics.jsonl`, or a line of it is malformed.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.join(FILE).is_file() {
            return Err(Error::missing(format!("expected a run folder, found no {FILE} in it"))
                .at(Place::file(folder))
                .hint("`polyhead train RECIPE` makes one: runs/NAME"));
        }
        let record = Record::read(folder)?;
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
        record.lines.into_iter().for_each(|line| run.take(line.event));
        run.notes.extend(record.torn.map(|line| {
            format!(
                "The last line of {FILE} ({line}) has no end: the run was stopped while writing it. It is left out."
            )
        }));
        run.read_recipe();
        run.read_environment();
        Ok(run)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Planned(plan) => self.plan = Some(plan),
            Event::Step(step) => {
                // A run that was resumed from a checkpoint takes again the steps after it: the later ones count.
                while self.steps.last().is_some_and(|last| last.step >= step.step) {
                    self.steps.pop();
                }
                self.steps.push(step);
            }
            Event::Evaluated(evaluated) => {
                let again = |last: &Evaluated| (last.epoch, last.step) >= (evaluated.epoch, evaluated.step);
                while self.evaluations.last().is_some_and(again) {
                    self.evaluations.pop();
                }
                self.evaluations.push(evaluated);
            }
            Event::Diagnosed(diagnosed) => {
                while self.diagnoses.last().is_some_and(|last| last.step >= diagnosed.step) {
                    self.diagnoses.pop();
                }
                self.diagnoses.push(diagnosed);
            }
            Event::Finished(finished) => self.finished = Some(finished),
            Event::Resumed(from) => self.resumed.push(from.step),
            Event::Saved(_) | Event::Stopped(_) | Event::Unknown => {}
        }
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
        match (evaluated.step, steps) {
            (0, _) | (_, 0) => evaluated.epoch as f64,
            (step, steps) => step as f64 / steps as f64,
        }
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
