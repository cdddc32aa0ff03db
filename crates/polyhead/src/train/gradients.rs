//! The gradient of a step: every forward and backward pass of its tasks, and what the balancer makes of them.
//!
//! ```text
//! TaskBatch -> parts of batch_size windows -> loss / targets of the step -> backward -> Gradients of the task
//! Gradients of all tasks -> Balancer -> the gradient of the step
//! ```
//!
//! Tasks that share their windows go through the encoder together, and one backward pass sends the weighted sum of their losses back.
//! A balancer that looks at the gradient of each task gets it from passes of its own.
//!
//! The targets of a task are counted before its first pass, and every loss is divided by their number: the gradients of
//! several parts add up to that of one batch, dropout included, whose masks know where in the batch a part begins.

use super::Trainer;
use super::batches::TaskBatch;
use crate::balance::{Needs, StepTasks};
use crate::batch::Features;
use crate::encoders::{Offset, Pass};
use crate::error::{Error, Result};
use crate::model::{HeadPart, Loss};
use crate::parameters::Gradients;
use candle_core::Tensor;
use polyhead_kernels::Inputs;
use polyhead_kernels::rng::Key;
use std::sync::Arc;
use std::time::Instant;

/// What the passes of a step came to.
pub(super) struct StepGradient {
    pub gradients: Gradients,
    /// Of each task in the step, in order.
    pub tasks: Vec<TaskPass>,
    /// Their losses, times the weights that the recipe sets.
    pub losses: Vec<f64>,
    /// What the balancer took beyond the passes.
    pub balance_seconds: f64,
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
    /// Those of them that went through the encoder with another task.
    pub shared_tokens: usize,
}

impl Trainer {
    /// The gradient of a step with the parameters as they are.
    pub(super) fn gradients(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let mut step = self.step_tasks(&tasks);
        // Of one task there is nothing to compare.
        let needs = if batches.len() > 1 { self.balancer.needs() } else { Needs::Nothing };
        let mut began = Instant::now();
        if needs == Needs::Nothing {
            let weights = match self.balancer.needs() {
                Needs::Nothing => self.balancer.weigh(&step)?,
                Needs::Losses | Needs::Gradients => vec![1.0; batches.len()],
            };
            let balance_seconds = began.elapsed().as_secs_f64();
            self.model.parameters.clear_gradients();
            let (mut tasks, mut weights) = (Vec::with_capacity(batches.len()), weights.as_slice());
            for together in batches.chunk_by(|_, next| next.joins) {
                let (own, rest) = weights.split_at(together.len().min(weights.len()));
                tasks.extend(self.passes(together, tasks.len(), own, &mut |sum| self.backward(sum))?);
                weights = rest;
            }
            let losses = self.weighted_losses(batches, &tasks);
            let gradients = self.model.parameters.take_gradients();
            return Ok(StepGradient { gradients, tasks, losses, balance_seconds });
        }
        let mut passes = Vec::with_capacity(batches.len());
        let mut gradients = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            self.model.parameters.clear_gradients();
            passes.extend(self.passes(std::slice::from_ref(batch), at, &[1.0], &mut |sum| self.backward(sum))?);
            gradients.push(self.model.parameters.take_gradients());
        }
        let losses = self.weighted_losses(batches, &passes);
        began = Instant::now();
        step.losses = Some(&losses);
        let products = (needs == Needs::Gradients).then(|| {
            let with = |a: &Gradients| gradients.iter().map(|b| a.dot_on_encoder(b, &self.model.parameters)).collect();
            gradients.iter().map(with).collect::<Vec<Vec<f64>>>()
        });
        step.products = products.as_deref();
        let (gradients, weights) = self.balancer.combine(&step, gradients, &self.model.parameters)?;
        passes.iter_mut().zip(weights).for_each(|(pass, weight)| pass.weight = weight);
        let balance_seconds = began.elapsed().as_secs_f64();
        Ok(StepGradient { gradients, tasks: passes, losses, balance_seconds })
    }

    /// The losses of the batches of a step with the parameters as they are now and the dropout masks of the step, times the weights that
    /// the recipe sets.
    pub(super) fn losses_again(&self, batches: &[TaskBatch]) -> Result<Vec<f64>> {
        let mut passes = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            passes.extend(self.passes(std::slice::from_ref(batch), at, &[1.0], &mut |_| Ok(()))?);
        }
        Ok(self.weighted_losses(batches, &passes))
    }

    fn weighted_losses(&self, batches: &[TaskBatch], passes: &[TaskPass]) -> Vec<f64> {
        let weighted = |(batch, pass): (&TaskBatch, &TaskPass)| pass.loss * self.task_data[batch.task].loss_weight;
        batches.iter().zip(passes).map(weighted).collect()
    }

    /// The tasks of this step, as a balancer sees them before it.
    pub(super) fn step_tasks<'a>(&self, tasks: &'a [usize]) -> StepTasks<'a> {
        let (count, epoch) = (self.task_data.len(), self.state.epoch);
        let key = self.key.purpose("balance").with(self.state.step as u64);
        StepTasks { tasks, count, epoch, losses: None, after: None, products: None, key }
    }

    /// The passes of batches that go through the encoder together, in parts; `backward` has the sum of the losses of each part, each times its
    /// weight.
    fn passes(
        &self,
        batches: &[TaskBatch],
        at: usize,
        weights: &[f64],
        backward: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Vec<TaskPass>> {
        let window = |batch: &TaskBatch, pick: usize| &self.task_data[batch.task].windows[pick].features;
        let count = |batch: &TaskBatch| -> f64 {
            let task = &self.model.tasks[batch.task].task;
            batch.picks().into_iter().map(|pick| task.target_count(&window(batch, pick).targets)).sum()
        };
        let counts: Vec<f64> = batches.iter().map(count).collect();
        let pass = |&weight: &f64| TaskPass { loss: 0.0, weight, tokens: 0, shared_tokens: 0 };
        let mut found: Vec<TaskPass> = weights.iter().map(pass).collect();
        let key = self.dropout_key(at, batches.first().map_or("", |batch| &self.task_data[batch.task].name));
        let (mut begins, mut heads_begin) = (Offset::default(), vec![Offset::default(); batches.len()]);
        for part in 0..batches.first().map_or(0, |batch| batch.parts.len()) {
            // A task that has none of the windows of this part takes no part in it.
            let mut taking = Vec::with_capacity(batches.len());
            for (index, batch) in batches.iter().enumerate() {
                let picks = batch.parts.get(part).map_or(&[][..], Vec::as_slice);
                let windows: Vec<&Features> = picks.iter().map(|&pick| window(batch, pick)).collect();
                if !windows.is_empty() {
                    let (task, begins) = (&self.model.tasks[batch.task], heads_begin[index]);
                    taking.push((index, HeadPart { task, windows, count: counts[index], begins }));
                }
            }
            let (indices, heads): (Vec<usize>, Vec<HeadPart>) = taking.into_iter().unzip();
            let (losses, inputs) = self.losses(&heads, Pass::Train { key, begins })?;
            let mut shared = losses.iter().map(|loss| loss.inputs.segments.tokens()).sum::<usize>();
            shared = shared.saturating_sub(inputs.segments.tokens());
            let mut sum: Option<Tensor> = None;
            // The first head brings the tokens; the others share what they have in common with those before them.
            for (&index, loss) in indices.iter().zip(&losses).rev() {
                let tokens = loss.inputs.segments.tokens();
                let own = shared.min(tokens);
                (shared, found[index].shared_tokens) = (shared - own, found[index].shared_tokens + own);
                found[index].tokens += tokens;
                heads_begin[index] = heads_begin[index].after(&loss.inputs);
            }
            for (&index, loss) in indices.iter().zip(&losses) {
                let (batch, pass) = (&batches[index], &mut found[index]);
                pass.loss += f64::from(loss.value.to_scalar::<f32>()?);
                if !pass.loss.is_finite() {
                    return Err(Error::internal("the loss is not finite")
                        .adding(self.at_step(batch))
                        .hint("a smaller train.learning_rate helps; the model was not updated"));
                }
                let factor = self.task_data[batch.task].loss_weight * pass.weight;
                let weighted = if factor == 1.0 { loss.value.clone() } else { (&loss.value * factor)? };
                sum = Some(match sum {
                    Some(sum) => (sum + weighted)?,
                    None => weighted,
                });
            }
            if let Some(sum) = sum {
                backward(&sum)?;
            }
            begins = begins.after(&inputs);
        }
        Ok(found)
    }

    /// Adds the gradient of a loss to what has gathered at the parameters.
    fn backward(&self, loss: &Tensor) -> Result<()> {
        self.model.parameters.backward(loss)
    }

    /// The losses of heads in one pass of the encoder, and what it read.
    fn losses(&self, heads: &[HeadPart], pass: Pass) -> Result<(Vec<Loss>, Arc<Inputs>)> {
        let padding = self.recipe.train.padding;
        match heads {
            [HeadPart { task, windows, count, .. }] => {
                let loss = self.model.loss_of_part(task, windows, padding, pass, *count)?;
                let inputs = loss.inputs.clone();
                Ok((vec![loss], inputs))
            }
            several => self.model.losses_of_parts(several, padding, pass),
        }
    }

    /// The key of a step's dropout masks. Each task of a step has masks of its own.
    fn dropout_key(&self, at: usize, task: &str) -> Key {
        let key = self.key.purpose("dropout").with(self.state.step as u64);
        if at == 0 { key } else { key.purpose(task) }
    }

    /// A task's part of a step for a message: whose it is and the places of its examples.
    pub(super) fn at_step(&self, batch: &TaskBatch) -> String {
        let data = &self.task_data[batch.task];
        let place = |pick: usize| Some(data.place(data.windows.get(pick)?.example)?.to_string());
        let places: Vec<String> = batch.picks().into_iter().filter_map(place).collect();
        format!("`{}` at step {}; its examples: {}", data.name, self.state.step + 1, places.join(", "))
    }
}
