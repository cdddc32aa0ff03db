//! One step of training: a batch of one task, forward, backward, update; and, now and then, what the other tasks' gradients
//! say of it.

use super::diagnostics::cosines;
use super::{Diagnosed, Event, Step, TaskData, Trainer};
use crate::batch::Features;
use crate::encoders::Pass;
use crate::error::{Error, Result};
use crate::parameters::Gradients;
use std::time::Instant;

impl Trainer {
    /// One step: a batch of one task, forward, backward, update.
    pub(super) fn step(&mut self, task_index: usize) -> Result<()> {
        let began = Instant::now();
        let data = &self.task_data[task_index];
        let task = &self.model.tasks[task_index];
        let picks = self.state.batches[task_index].pop_front().unwrap_or_default();
        let windows: Vec<&Features> = picks.iter().map(|&pick| &data.windows[pick].features).collect();
        let pass = Pass::train(self.key.purpose("dropout").with(self.state.step as u64));
        let loss = self.model.loss(task, &windows, self.recipe.train.padding, pass)?;
        let value = f64::from(loss.value.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::internal("the loss is not finite")
                .adding(at_step(data, &picks, self.state.step))
                .hint("a smaller train.learning_rate helps; the model was not updated"));
        }
        let weighted = if data.loss_weight == 1.0 { loss.value } else { (loss.value * data.loss_weight)? };
        let gradients = self.model.parameters.backward(&weighted)?;
        let every = self.recipe.train.diagnostics_every;
        let diagnosed = match every > 0 && self.task_data.len() > 1 && (self.state.step + 1).is_multiple_of(every) {
            true => Some(self.diagnose(task_index, &gradients)?),
            false => None,
        };
        let lr = self.recipe.train.learning_rate * self.schedule.factor(self.state.step);
        let stepped = self.optimizer.step(&self.model.parameters, &gradients, lr);
        let squares = stepped.map_err(|error| error.adding(at_step(data, &picks, self.state.step)))?;
        if let Some(movement) = &mut self.movement {
            movement.saw(task_index, &self.model.parameters, &gradients);
            if movement.complete() {
                movement.verdict(&self.model.parameters)?;
                self.movement = None;
            }
        }
        let tokens = loss.tokens;
        let (sum, count) = &mut self.state.losses[task_index];
        *sum += value;
        *count += 1;
        self.state.step += 1;
        self.state.taken += 1;
        self.state.tokens += tokens as u64;
        self.state.counters.batch(task_index, &data.windows, &picks);
        let of_diagnosis = diagnosed.as_ref().map_or(0.0, |diagnosed| diagnosed.seconds);
        self.emit(Event::Step(Step {
            step: self.state.step,
            steps: self.plan.steps,
            epoch: self.state.epoch + 1,
            task: data.name.clone(),
            loss: value,
            lr,
            grad_norm: squares.norm(),
            group_norms: self.groups.norms(&squares),
            tokens,
            examples: picks.iter().filter_map(|&pick| Some(data.windows.get(pick)?.example)).collect(),
            seconds: began.elapsed().as_secs_f64() - of_diagnosis,
        }))?;
        diagnosed.map_or(Ok(()), |diagnosed| self.emit(Event::Diagnosed(diagnosed)))
    }

    /// Compares the gradients of this step's batch with those of a batch of every other task, with the same weights. Those
    /// batches are drawn by chance and not used for anything else: training is the same with it and without.
    fn diagnose(&self, task_index: usize, gradients: &Gradients) -> Result<Diagnosed> {
        let began = Instant::now();
        let step = self.state.step as u64;
        let others = |(index, data): (usize, &TaskData)| {
            if index == task_index {
                return Ok(None);
            }
            let key = self.key.purpose("diagnostics").purpose(&data.name).with(step);
            let pick = |at| &data.windows[(key.uniform(at) * data.windows.len() as f64) as usize].features;
            let windows: Vec<&Features> = (0..data.batch_size as u64).map(pick).collect();
            let pass = Pass::train(self.key.purpose("dropout").with(step));
            let loss = self.model.loss(&self.model.tasks[index], &windows, self.recipe.train.padding, pass)?;
            self.model.parameters.backward(&(loss.value * data.loss_weight)?).map(Some)
        };
        let all: Vec<Option<Gradients>> = self.task_data.iter().enumerate().map(others).collect::<Result<_>>()?;
        let named = self.task_data.iter().zip(&all);
        let named: Vec<(&str, &Gradients)> =
            named.map(|(data, other)| (data.name.as_str(), other.as_ref().unwrap_or(gradients))).collect();
        let diagnosis = cosines(&named, &self.model.parameters);
        Ok(Diagnosed { step: self.state.step + 1, diagnosis, seconds: began.elapsed().as_secs_f64() })
    }
}

/// A step for a message: whose it is and the places of its examples.
fn at_step(data: &TaskData, picks: &[usize], step: usize) -> String {
    let places: Vec<String> =
        picks.iter().filter_map(|&pick| Some(data.place(data.windows.get(pick)?.example)?.to_string())).collect();
    format!("`{}` at step {}; its examples: {}", data.name, step + 1, places.join(", "))
}
