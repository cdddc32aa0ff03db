//! An evaluation while training: scores on the validation data, and the model kept if they are the best yet.

use super::{TaskData, Trainer, plan};
use crate::batch::Features;
use crate::error::{Error, Result};
use crate::events::{Evaluated, Event, Sample};
use crate::model::NamedTask;
use crate::sample::Outcome;
use crate::tasks::{Calibration, Logits, LogitsFn, Score};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How an evaluation ended.
#[derive(PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// By a stop.
    Stopped,
}

impl Trainer {
    /// Scores, and the model kept if they are the best yet. A stop that comes meanwhile ends it without any: it is due again
    /// when the run goes on.
    pub(super) fn evaluate(&mut self) -> Result<Ending> {
        let began = Instant::now();
        let Some(calibration) = self.calibrate()? else { return Ok(Ending::Stopped) };
        let before = self.model.calibrate(&calibration)?;
        let calibrated: Vec<String> = calibration.keys().cloned().collect();
        let ending = self.evaluate_calibrated(calibration, began);
        // Training goes on with the weights that it made.
        before.iter().try_for_each(|(weight, value)| weight.set(value))?;
        self.model
            .tasks
            .iter_mut()
            .filter(|task| calibrated.contains(&task.name))
            .for_each(|task| task.task.set_calibration(None));
        ending
    }

    /// Of each task that has training examples held back for it. None where a stop came meanwhile.
    fn calibrate(&self) -> Result<Option<BTreeMap<String, Calibration>>> {
        let mut found = BTreeMap::new();
        for (data, task) in self.task_data.iter().zip(&self.model.tasks) {
            let Some(examples) = &data.calibration else { continue };
            let logits = |windows: &[&Features]| self.logits_unless_stopped(task, windows);
            let runner = LogitsFn { tokenizer: &self.model.tokenizer, logits: &logits };
            let calibration = match task.task.calibrate(examples, &runner) {
                Err(_) if self.stop.load(Ordering::SeqCst) => return Ok(None),
                calibration => calibration?,
            };
            found.extend(calibration.map(|calibration| (data.name.clone(), calibration)));
        }
        Ok(Some(found))
    }

    fn logits_unless_stopped(&self, task: &NamedTask, windows: &[&Features]) -> Result<Vec<Logits>> {
        match self.stop.load(Ordering::SeqCst) {
            // Never told: whoever asked for the stop hears of that.
            true => Err(Error::usage("stopped")),
            false => self.model.logits(task, windows),
        }
    }

    fn evaluate_calibrated(&mut self, calibration: BTreeMap<String, Calibration>, began: Instant) -> Result<Ending> {
        let mut scores = BTreeMap::new();
        let mut samples = Vec::new();
        let mut choices = BTreeMap::new();
        for (data, task) in self.task_data.iter().zip(&self.model.tasks) {
            let Some(validation) = &data.validation else { continue };
            let mut seen = 0;
            let stopped = || self.stop.load(Ordering::SeqCst);
            let logits = |windows: &[&Features]| self.logits_unless_stopped(task, windows);
            let runner = LogitsFn { tokenizer: &self.model.tokenizer, logits: &logits };
            let scored = task.task.tune(validation, &runner, &mut |answer, text| {
                // The last few examples stand for the rest: any choice by result would flatter.
                seen += 1;
                if seen + 3 > validation.len {
                    samples.push(Sample { task: data.name.clone(), answer, text });
                }
            });
            let (score, choice) = match scored {
                Err(_) if stopped() => return Ok(Ending::Stopped),
                scored => scored?,
            };
            scores.insert(data.name.clone(), score);
            choices.extend(choice.map(|choice| (data.name.clone(), choice)));
        }
        self.adopt(choices)?;
        let headline = |data: &TaskData| scores.get(&data.name).map(Score::headline_value);
        let outcome: Vec<(usize, f64)> =
            self.task_data.iter().enumerate().filter_map(|(task, data)| Some((task, headline(data)?))).collect();
        self.batches.observe(&Outcome::Evaluated(&outcome));
        let epoch = self.state.epoch + 1;
        let value = plan::best_value(&self.recipe.train.best, &scores);
        let improved = match (value, self.state.best) {
            (Some(value), Some((best, _))) => value > best,
            _ => true,
        };
        self.state.since_best = if improved { 0 } else { self.state.since_best + 1 };
        if improved {
            self.state.best = Some((value.unwrap_or(0.0), epoch));
            self.state.best_scores.clone_from(&scores);
            self.state.best_samples.clone_from(&samples);
            self.model.about.epoch = Some(epoch);
            self.model.about.calibration.clone_from(&calibration);
            self.model.about.scores = scores.iter().map(|(name, score)| (name.clone(), score.values.clone())).collect();
            self.model.save(&self.run.best())?;
        }
        let losses = self.task_data.iter().zip(&self.state.losses).filter(|(_, (_, count))| *count > 0);
        let losses = losses.map(|(data, (sum, count))| (data.name.clone(), sum / *count as f64)).collect();
        let seconds = began.elapsed().as_secs_f64();
        self.emit(Event::Evaluated(Evaluated {
            epoch,
            step: self.state.step,
            losses,
            scores,
            calibration,
            counts: self.state.counters.counts(),
            value,
            improved,
            since_best: self.state.since_best,
            seconds,
            samples,
        }))?;
        Ok(Ending::Whole)
    }

    /// Takes over what was chosen on validation data, by task: the model is saved with it, and so are checkpoints.
    pub(super) fn adopt(&mut self, choices: BTreeMap<String, Value>) -> Result<()> {
        for NamedTask { name, task } in &mut self.model.tasks {
            if let Some(choice) = choices.get(name) {
                task.adopt(choice)?;
            }
        }
        self.state.choices = choices;
        Ok(())
    }

    /// The evaluation that is due before the next step. It may be the one that ends the run.
    pub(super) fn evaluate_within(&mut self) -> Result<()> {
        if self.evaluate()? == Ending::Stopped {
            return self.stop();
        }
        self.state.evaluation_due = false;
        if self.state.is_out_of_patience(&self.recipe) {
            self.state.done = true;
            self.save()?;
        }
        Ok(())
    }
}
