//! One step of training: the batches of its tasks, their gradient, an update; and, now and then, what the tasks' gradients
//! say of each other.

use super::batches::TaskBatch;
use super::diagnostics::cosines;
use super::{TaskData, Trainer};
use crate::balance::StepTasks;
use crate::batch::Features;
use crate::encoders::Pass;
use crate::error::Result;
use crate::events::{Diagnosed, Event, Step, StepTask};
use crate::parameters::Gradients;
use crate::sample::Outcome;
use std::time::Instant;

impl Trainer {
    pub(super) fn step(&mut self) -> Result<()> {
        let began = Instant::now();
        let batches = self.batches.next(&mut self.state.cursors, self.state.epoch, self.state.taken);
        let found = self.gradients(&batches)?;
        let every = self.recipe.train.diagnostics_every;
        let diagnosed = match every > 0 && self.task_data.len() > 1 && (self.state.step + 1).is_multiple_of(every) {
            true => Some(self.diagnose(&batches, &found.gradients)?),
            false => None,
        };
        let rate = self.schedule.factor(self.state.step);
        let lr = self.learning_rate * rate;
        let stepped = self.optimizer.step(&self.model.parameters, &found.gradients, lr);
        let norms =
            stepped.map_err(|error| batches.iter().fold(error, |error, batch| error.adding(self.at_step(batch))))?;
        if let Some(movement) = &mut self.movement {
            let scored = batches.iter().zip(&found.tasks).filter(|(_, pass)| pass.loss != 0.0);
            movement.saw(scored.map(|(batch, _)| batch.task), &self.model.parameters, &found.gradients);
            if movement.complete() {
                movement.verdict(&self.model.parameters)?;
                self.movement = None;
            }
        }
        let learning = self.learn(&batches, &found.losses, rate)?;
        self.state.step += 1;
        self.state.taken += 1;
        let of_diagnosis = diagnosed.as_ref().map_or(0.0, |diagnosed| diagnosed.seconds);
        let mut tasks = Vec::with_capacity(batches.len());
        for (batch, pass) in batches.iter().zip(&found.tasks) {
            let (TaskBatch { task, .. }, picks) = (batch, batch.picks());
            let data = &self.task_data[*task];
            let (sum, count) = &mut self.state.losses[*task];
            *sum += pass.loss;
            *count += 1;
            self.state.tokens += pass.tokens.saturating_sub(pass.shared_tokens) as u64;
            self.state.counters.batch(*task, &data.windows, &picks);
            tasks.push(StepTask {
                task: data.name.clone(),
                loss: Some(pass.loss),
                weight: pass.weight,
                tokens: pass.tokens,
                shared_tokens: pass.shared_tokens,
                examples: picks.iter().filter_map(|&pick| Some(data.windows.get(pick)?.example)).collect(),
            });
        }
        self.emit(Event::Step(Step {
            step: self.state.step,
            steps: self.plan.steps,
            epoch: self.state.epoch + 1,
            tasks,
            lr,
            grad_norm: Some(norms.norm()),
            group_norms: self.groups.norms(&norms),
            seconds: began.elapsed().as_secs_f64() - of_diagnosis,
            balance_seconds: found.balance_seconds + learning,
        }))?;
        diagnosed.map_or(Ok(()), |diagnosed| self.emit(Event::Diagnosed(diagnosed)))
    }

    /// Tells the strategies what came of a step. Returns the seconds that the balancer took.
    fn learn(&mut self, batches: &[TaskBatch], losses: &[f64], rate: f64) -> Result<f64> {
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let began = Instant::now();
        let after = match batches.len() > 1 && self.balancer.needs_losses_after() {
            true => Some(self.losses_again(batches)?),
            false => None,
        };
        let step = StepTasks { losses: Some(losses), after: after.as_deref(), ..self.step_tasks(&tasks) };
        self.balancer.observe(&step, rate);
        let seconds = began.elapsed().as_secs_f64();
        let outcome: Vec<(usize, f64)> = tasks.iter().copied().zip(losses.iter().copied()).collect();
        self.batches.observe(&Outcome::Step(&outcome));
        Ok(seconds)
    }

    /// Compares the gradients of all tasks with the same weights: those of this step's batch, where it has one task, and of
    /// batches that are drawn by chance and not used for anything else. Training is the same with it and without.
    fn diagnose(&self, batches: &[TaskBatch], gradients: &Gradients) -> Result<Diagnosed> {
        let began = Instant::now();
        let step = self.state.step as u64;
        let own = match batches {
            [batch] => Some(batch.task),
            _ => None,
        };
        let others = |(index, data): (usize, &TaskData)| {
            if Some(index) == own {
                return Ok(None);
            }
            let key = self.key.purpose("diagnostics").purpose(&data.name).with(step);
            let pick = |at| &data.windows[(key.uniform(at) * data.windows.len() as f64) as usize].features;
            let windows: Vec<&Features> = (0..data.batch_size as u64).map(pick).collect();
            let pass = Pass::train(self.key.purpose("dropout").with(step));
            let loss = self.model.loss(&self.model.tasks[index], &windows, self.recipe.train.padding, pass)?;
            self.model.parameters.gradients(&(loss.value * data.loss_weight)?).map(Some)
        };
        let all: Vec<Option<Gradients>> = self.task_data.iter().enumerate().map(others).collect::<Result<_>>()?;
        let named = self.task_data.iter().zip(&all);
        let named: Vec<(&str, &Gradients)> =
            named.map(|(data, other)| (data.name.as_str(), other.as_ref().unwrap_or(gradients))).collect();
        let diagnosis = cosines(&named, &self.model.parameters);
        Ok(Diagnosed { step: self.state.step + 1, diagnosis, seconds: began.elapsed().as_secs_f64() })
    }
}
