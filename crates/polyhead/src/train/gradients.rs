//! The gradient of a step: every forward and backward pass of its tasks, and what the balancer makes of them.
//!
//! ```text
//! TaskBatch -> parts of batch_size windows -> loss / targets of the step -> backward -> Gradients of the task
//! Gradients of all tasks -> Balancer -> the gradient of the step
//! ```
//!
//! The targets of a task are counted before its first pass, and every loss is divided by their number: the gradients of
//! several parts add up to that of one batch, dropout included, whose masks know where in the batch a part begins.

use super::Trainer;
use super::batches::TaskBatch;
use crate::balance::{Needs, StepTasks};
use crate::batch::Features;
use crate::encoders::{Offset, Pass};
use crate::error::{Error, Result};
use crate::parameters::Gradients;
use polyhead_kernels::rng::Key;

/// What the passes of a step came to.
pub(super) struct StepGradient {
    pub gradients: Gradients,
    /// Of each task in the step, in order.
    pub tasks: Vec<TaskPass>,
    /// Their losses, times the weights that the recipe sets.
    pub losses: Vec<f64>,
}

/// What the passes of one task came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskPass {
    /// Its mean loss, without any weight.
    pub loss: f64,
    /// The balancer's weight.
    pub weight: f64,
    /// Real tokens.
    pub tokens: usize,
}

impl Trainer {
    /// The gradient of a step with the parameters as they are.
    pub(super) fn gradients(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let mut step = StepTasks { tasks: &tasks, losses: None, products: None, key: self.balance_key() };
        // Of one task there is nothing to compare.
        let needs = if batches.len() > 1 { self.balancer.needs() } else { Needs::Nothing };
        if needs == Needs::Nothing {
            let weights = match self.balancer.needs() {
                Needs::Nothing => self.balancer.weigh(&step)?,
                Needs::Losses | Needs::Gradients => vec![1.0; batches.len()],
            };
            self.model.parameters.clear_gradients();
            let passes = batches.iter().zip(&weights).enumerate();
            let tasks =
                passes.map(|(at, (batch, &weight))| self.passes(batch, at, weight)).collect::<Result<Vec<_>>>()?;
            let losses = self.weighted_losses(batches, &tasks);
            return Ok(StepGradient { gradients: self.model.parameters.take_gradients(), tasks, losses });
        }
        let mut passes = Vec::with_capacity(batches.len());
        let mut gradients = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            self.model.parameters.clear_gradients();
            passes.push(self.passes(batch, at, 1.0)?);
            gradients.push(self.model.parameters.take_gradients());
        }
        let losses = self.weighted_losses(batches, &passes);
        step.losses = Some(&losses);
        let products = (needs == Needs::Gradients).then(|| {
            let with = |a: &Gradients| gradients.iter().map(|b| a.dot_on_encoder(b, &self.model.parameters)).collect();
            gradients.iter().map(with).collect::<Vec<Vec<f64>>>()
        });
        step.products = products.as_deref();
        let (gradients, weights) = self.balancer.combine(&step, gradients, &self.model.parameters)?;
        passes.iter_mut().zip(weights).for_each(|(pass, weight)| pass.weight = weight);
        Ok(StepGradient { gradients, tasks: passes, losses })
    }

    fn weighted_losses(&self, batches: &[TaskBatch], passes: &[TaskPass]) -> Vec<f64> {
        let weighted = |(batch, pass): (&TaskBatch, &TaskPass)| pass.loss * self.task_data[batch.task].loss_weight;
        batches.iter().zip(passes).map(weighted).collect()
    }

    /// The key of what a balancer draws in this step.
    pub(super) fn balance_key(&self) -> Key {
        self.key.purpose("balance").with(self.state.step as u64)
    }

    /// The passes of a task's batch, in parts; its gradient is added to what has gathered at the parameters.
    fn passes(&self, batch: &TaskBatch, at: usize, weight: f64) -> Result<TaskPass> {
        let (data, task) = (&self.task_data[batch.task], &self.model.tasks[batch.task]);
        let windows: Vec<&Features> = batch.picks.iter().map(|&pick| &data.windows[pick].features).collect();
        let count = windows.iter().map(|window| task.task.target_count(&window.targets)).sum();
        let key = self.dropout_key(at, &data.name);
        let factor = data.loss_weight * weight;
        let (mut found, mut begins) = (TaskPass { loss: 0.0, weight, tokens: 0 }, Offset::default());
        for part in windows.chunks(data.batch_size) {
            let pass = Pass::Train { key, begins };
            let loss = self.model.loss_of_part(task, part, self.recipe.train.padding, pass, count)?;
            found.loss += f64::from(loss.value.to_scalar::<f32>()?);
            if !found.loss.is_finite() {
                return Err(Error::internal("the loss is not finite")
                    .adding(self.at_step(batch))
                    .hint("a smaller train.learning_rate helps; the model was not updated"));
            }
            let weighted = if factor == 1.0 { loss.value } else { (loss.value * factor)? };
            self.model.parameters.backward(&weighted)?;
            found.tokens += loss.inputs.segments.tokens();
            begins = begins.after(&loss.inputs);
        }
        Ok(found)
    }

    /// The key of a step's dropout masks. Each task of a step has masks of its own.
    fn dropout_key(&self, at: usize, task: &str) -> Key {
        let key = self.key.purpose("dropout").with(self.state.step as u64);
        if at == 0 { key } else { key.purpose(task) }
    }

    /// A task's part of a step for a message: whose it is and the places of its examples.
    pub(super) fn at_step(&self, batch: &TaskBatch) -> String {
        let data = &self.task_data[batch.task];
        let place = |&pick: &usize| Some(data.place(data.windows.get(pick)?.example)?.to_string());
        let places: Vec<String> = batch.picks.iter().filter_map(place).collect();
        format!("`{}` at step {}; its examples: {}", data.name, self.state.step + 1, places.join(", "))
    }
}
