//! One step of training: the batches of its tasks, their gradient, an update; and, now and then, what the tasks' gradients
//! say of each other.

use super::Trainer;
use super::batches::TaskBatch;
use super::diagnostics::cosines;
use super::gradients::TaskPass;
use crate::balance::StepTasks;
use crate::error::Result;
use crate::events::{Cosine, Diagnosed, Event, Step, StepTask};
use crate::parameters::Gradients;
use crate::sample::{Outcome, StepOutcome};
use std::time::Instant;

impl Trainer {
    pub(super) fn step(&mut self) -> Result<()> {
        let began = Instant::now();
        let batches = self.batches.next(&mut self.state.cursors, self.state.epoch, self.state.taken);
        let found = self.gradients(&batches)?;
        let every = self.recipe.train.diagnostics_every;
        let steps = self.state.step + 1;
        let compares = self.batches.compares_after(steps);
        let due = compares || every > 0 && steps.is_multiple_of(every);
        let diagnosed = match due && self.task_data.len() > 1 {
            true => Some(self.diagnose(&batches, &found.gradients)?),
            false => None,
        };
        let rate = self.schedule.factor(self.state.step);
        let lr = self.learning_rate * rate;
        let stepped = self.optimizer.step(&self.model.parameters, &found.gradients, lr);
        let norms =
            stepped.map_err(|error| batches.iter().fold(error, |error, batch| error.adding(self.at_step(batch))))?;
        if let Some(movement) = &mut self.movement {
            let scored = |(batch, pass): (&TaskBatch, &TaskPass)| (batch.task, pass.loss != 0.0);
            let tasks: Vec<(usize, bool)> = batches.iter().zip(&found.tasks).map(scored).collect();
            movement.saw(&tasks, &self.model.parameters, &found.gradients);
            if movement.complete() {
                movement.verdict(&self.model.parameters)?;
                self.movement = None;
            }
        }
        let learning = self.learn(&batches, &found.losses, rate)?;
        if let (true, Some(diagnosed)) = (compares, &diagnosed) {
            self.batches.observe(&Outcome::Compared(&self.cosines(diagnosed)));
        }
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
        let of_balancer = batches.len() > 1 && self.balancer.needs_losses_after();
        let after = match of_balancer || self.batches.needs_losses_after() {
            true => Some(self.losses_again(batches)?),
            false => None,
        };
        let step = StepTasks { losses: Some(losses), after: after.as_deref(), ..self.step_tasks(&tasks) };
        self.balancer.observe(&step, rate);
        let seconds = began.elapsed().as_secs_f64();
        let after = |at: usize| after.as_ref().and_then(|after| after.get(at).copied());
        let part = |(at, (&task, &loss)): (usize, (&usize, &f64))| StepOutcome { task, loss, after: after(at) };
        let outcome: Vec<StepOutcome> = tasks.iter().zip(losses).enumerate().map(part).collect();
        self.batches.observe(&Outcome::Step(&outcome));
        Ok(seconds)
    }

    /// The cosines of a comparison, `[task][task]`; that of a gradient of zeros is 0.
    fn cosines(&self, diagnosed: &Diagnosed) -> Vec<Vec<f64>> {
        let of = |a: &str, b: &str| {
            let both = |cosine: &&Cosine| (cosine.a == a && cosine.b == b) || (cosine.a == b && cosine.b == a);
            let found = diagnosed.diagnosis.cosines.iter().find(both).and_then(|cosine| cosine.cosine);
            if a == b { 1.0 } else { found.unwrap_or_default() }
        };
        let names = || self.task_data.iter().map(|data| data.name.as_str());
        names().map(|a| names().map(|b| of(a, b)).collect()).collect()
    }

    /// Compares the gradients of all tasks with the same weights: those of this step's batch, where it has one task, and of
    /// batches that are drawn by chance and not used for anything else. Training is the same with it and without.
    fn diagnose(&self, batches: &[TaskBatch], gradients: &Gradients) -> Result<Diagnosed> {
        let began = Instant::now();
        let own = match batches {
            [batch] => Some(batch.task),
            _ => None,
        };
        let others = |index: usize| {
            if Some(index) == own {
                return Ok(None);
            }
            self.drawn_gradient(index, self.key.purpose("diagnostics")).map(Some)
        };
        let all: Vec<Option<Gradients>> = (0..self.task_data.len()).map(others).collect::<Result<_>>()?;
        let named = self.task_data.iter().zip(&all);
        let named: Vec<(&str, &Gradients)> =
            named.map(|(data, other)| (data.name.as_str(), other.as_ref().unwrap_or(gradients))).collect();
        let diagnosis = cosines(&named, &self.model.parameters);
        Ok(Diagnosed { step: self.state.step + 1, diagnosis, seconds: began.elapsed().as_secs_f64() })
    }
}
