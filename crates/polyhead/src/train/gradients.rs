//! The gradient of a step: every forward and backward pass of its tasks, and what the balancer makes of them.
//!
//! ```text
//! TaskBatch -> parts of batch_size windows -> loss / targets of the step -> backward -> Gradients of the task
//! Gradients of all tasks -> Balancer -> the gradient of the step
//! ```
//!
//! Tasks that share their windows go through the encoder together, and one backward pass sends the weighted sum of their losses back.
//! Where the losses decide the weights, all forward passes of a step come before its backward pass. A balancer that looks at the gradient of each task
//! gets it from passes of its own.
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
use polyhead_kernels::rng::Key;
use polyhead_kernels::{Inputs, Join};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Has the losses of a part, by the index of their batch.
type OfPart<'a> = &'a mut dyn FnMut(&[(usize, Tensor)]) -> Result<()>;

impl Trainer {
    /// The gradient of a step with the parameters as they are.
    pub(super) fn gradients(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        // Of one task there is nothing to compare.
        match (batches.len(), self.balancer.needs()) {
            (_, Needs::Nothing) => {
                let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
                let began = Instant::now();
                let weights = self.balancer.weigh(&self.step_tasks(&tasks))?;
                self.summed(batches, &weights, began.elapsed().as_secs_f64())
            }
            (0 | 1, _) => self.summed(batches, &vec![1.0; batches.len()], 0.0),
            (_, Needs::Losses) => self.by_losses(batches),
            (_, Needs::Gradients | Needs::Products) => self.by_gradients(batches),
            (_, Needs::HiddenGradients) => self.by_hidden_gradients(batches),
        }
    }

    /// The weights are known: gradients add up at the parameters.
    fn summed(&self, batches: &[TaskBatch], weights: &[f64], balance_seconds: f64) -> Result<StepGradient> {
        self.model.parameters.clear_gradients();
        let (mut tasks, mut weights) = (Vec::with_capacity(batches.len()), weights);
        for together in batches.chunk_by(|_, next| next.joins) {
            let (own, rest) = weights.split_at(together.len().min(weights.len()));
            tasks.extend(self.passes(together, tasks.len(), own, None, &mut |losses| self.backward_sum(losses))?);
            weights = rest;
        }
        let losses = self.weighted_losses(batches, &tasks);
        let gradients = self.model.parameters.take_gradients();
        Ok(StepGradient { gradients, tasks, losses, balance_seconds })
    }

    /// Sends the sum of losses back.
    fn backward_sum(&self, losses: &[(usize, Tensor)]) -> Result<()> {
        let mut losses = losses.iter().map(|(_, loss)| loss.clone());
        let Some(first) = losses.next() else { return Ok(()) };
        self.model.parameters.backward(&losses.try_fold(first, |sum, loss| sum + loss)?)
    }

    /// The losses decide the weights: all forward passes come first, and one backward pass sends their weighted sum back.
    fn by_losses(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        let (mut passes, mut parts) = (Vec::with_capacity(batches.len()), Vec::new());
        for together in batches.chunk_by(|_, next| next.joins) {
            let at = passes.len();
            passes.extend(self.passes(together, at, &vec![1.0; together.len()], None, &mut |losses| {
                parts.extend(losses.iter().map(|(index, loss)| (at + index, loss.clone())));
                Ok(())
            })?);
        }
        let losses = self.weighted_losses(batches, &passes);
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let began = Instant::now();
        let weights = self.balancer.weigh(&StepTasks { losses: Some(&losses), ..self.step_tasks(&tasks) })?;
        passes.iter_mut().zip(&weights).for_each(|(pass, weight)| pass.weight = *weight);
        let balance_seconds = began.elapsed().as_secs_f64();
        let mut sum: Option<Tensor> = None;
        for (index, loss) in parts {
            let weighted = (loss * weights.get(index).copied().unwrap_or(1.0))?;
            sum = Some(match sum {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        self.model.parameters.clear_gradients();
        if let Some(sum) = sum {
            self.model.parameters.backward(&sum)?;
        }
        let gradients = self.model.parameters.take_gradients();
        Ok(StepGradient { gradients, tasks: passes, losses, balance_seconds })
    }

    /// The gradient of each task by itself, from passes of its own.
    fn by_gradients(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        let mut passes = Vec::with_capacity(batches.len());
        let mut gradients = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            self.model.parameters.clear_gradients();
            let backward = &mut |losses: &[(usize, Tensor)]| {
                losses.iter().try_for_each(|(_, loss)| self.model.parameters.backward(loss))
            };
            passes.extend(self.passes(std::slice::from_ref(batch), at, &[1.0], None, backward)?);
            gradients.push(self.model.parameters.take_gradients());
        }
        let losses = self.weighted_losses(batches, &passes);
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let independent = match self.balancer.needs_independent_products() {
            true => Some(self.independent_products(&tasks)?),
            false => None,
        };
        let began = Instant::now();
        let parameters = &self.model.parameters;
        let products = (self.balancer.needs() == Needs::Products)
            .then(|| Gradients::products(&gradients.iter().collect::<Vec<_>>(), parameters));
        let step = self.step_tasks(&tasks);
        let (losses_of, products, independent) = (Some(&losses[..]), products.as_deref(), independent.as_deref());
        let step = StepTasks { losses: losses_of, products, independent, ..step };
        let (gradients, weights) = self.balancer.combine(&step, gradients, &self.model.parameters)?;
        passes.iter_mut().zip(weights).for_each(|(pass, weight)| pass.weight = weight);
        let balance_seconds = began.elapsed().as_secs_f64();
        Ok(StepGradient { gradients, tasks: passes, losses, balance_seconds })
    }

    /// One batch feeds all tasks: their gradients on its hidden states are changed on their way back.
    fn by_hidden_gradients(&mut self, batches: &[TaskBatch]) -> Result<StepGradient> {
        let tasks: Vec<usize> = batches.iter().map(|batch| batch.task).collect();
        let step = self.step_tasks(&tasks);
        let join = self.balancer.join(&step)?;
        let shown = Arc::new(Mutex::new((Vec::new(), 0.0)));
        let tells = shown.clone();
        let join: Join = Box::new(move |gradients| {
            let began = Instant::now();
            let weights = join(gradients);
            *tells.lock().unwrap_or_else(PoisonError::into_inner) = (weights, began.elapsed().as_secs_f64());
        });
        self.model.parameters.clear_gradients();
        let backward = &mut |losses: &[(usize, Tensor)]| self.backward_sum(losses);
        let mut passes = self.passes(batches, 0, &vec![1.0; batches.len()], Some(join), backward)?;
        let (weights, balance_seconds) = std::mem::take(&mut *shown.lock().unwrap_or_else(PoisonError::into_inner));
        passes.iter_mut().zip(weights).for_each(|(pass, weight)| pass.weight = weight);
        let losses = self.weighted_losses(batches, &passes);
        let gradients = self.model.parameters.take_gradients();
        Ok(StepGradient { gradients, tasks: passes, losses, balance_seconds })
    }

    /// The dot products of the gradients of two batches of each task, drawn by chance: `[task of the first][task of the second]`.
    fn independent_products(&self, tasks: &[usize]) -> Result<Vec<Vec<f64>>> {
        let of_set = |set: &str| -> Result<Vec<Gradients>> {
            tasks.iter().map(|&task| self.drawn_gradient(task, self.key.purpose("balance").purpose(set))).collect()
        };
        let (first, second) = (of_set("first")?, of_set("second")?);
        let products = Gradients::products(&first.iter().chain(&second).collect::<Vec<_>>(), &self.model.parameters);
        Ok(products.iter().take(tasks.len()).map(|row| row.iter().skip(tasks.len()).copied().collect()).collect())
    }

    /// The gradient of a task on a batch that is drawn by chance and not used for anything else.
    pub(super) fn drawn_gradient(&self, task: usize, key: Key) -> Result<Gradients> {
        let (data, step) = (&self.task_data[task], self.state.step as u64);
        let key = key.purpose(&data.name).with(step);
        let pick = |at| &data.windows[(key.uniform(at) * data.windows.len() as f64) as usize].features;
        let windows: Vec<&Features> = (0..data.batch_size as u64).map(pick).collect();
        let pass = Pass::train(self.key.purpose("dropout").with(step));
        let loss = self.model.loss(&self.model.tasks[task], &windows, self.recipe.train.padding, pass)?;
        self.model.parameters.gradients(&(loss.value * data.loss_weight)?)
    }

    /// The losses of the batches of a step with the parameters as they are now and the dropout masks of the step, times the weights that
    /// the recipe sets.
    pub(super) fn losses_again(&self, batches: &[TaskBatch]) -> Result<Vec<f64>> {
        let mut passes = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            passes.extend(self.passes(std::slice::from_ref(batch), at, &[1.0], None, &mut |_| Ok(()))?);
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
        StepTasks { target: self.target, ..StepTasks::new(tasks, count, epoch, key) }
    }

    /// The passes of batches that go through the encoder together, in parts; `each` has the losses of a part, by the index of their batch, each times its
    /// weight. A `join` is for batches of one part.
    fn passes(
        &self,
        batches: &[TaskBatch],
        at: usize,
        weights: &[f64],
        mut join: Option<Join>,
        each: OfPart,
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
            let (losses, inputs) = self.losses(&heads, Pass::Train { key, begins }, join.take())?;
            let mut shared = losses.iter().map(|loss| loss.inputs.segments.tokens()).sum::<usize>();
            shared = shared.saturating_sub(inputs.segments.tokens());
            // The first head brings the tokens; the others share what they have in common with those before them.
            for (&index, loss) in indices.iter().zip(&losses).rev() {
                let tokens = loss.inputs.segments.tokens();
                let own = shared.min(tokens);
                (shared, found[index].shared_tokens) = (shared - own, found[index].shared_tokens + own);
                found[index].tokens += tokens;
                heads_begin[index] = heads_begin[index].after(&loss.inputs);
            }
            let mut weighted = Vec::with_capacity(losses.len());
            for (&index, loss) in indices.iter().zip(&losses) {
                let (batch, pass) = (&batches[index], &mut found[index]);
                pass.loss += f64::from(loss.value.to_scalar::<f32>()?);
                if !pass.loss.is_finite() {
                    return Err(Error::internal("the loss is not finite")
                        .adding(self.at_step(batch))
                        .hint("a smaller train.learning_rate helps; the model was not updated"));
                }
                let factor = self.task_data[batch.task].loss_weight * pass.weight;
                weighted.push((index, if factor == 1.0 { loss.value.clone() } else { (&loss.value * factor)? }));
            }
            each(&weighted)?;
            begins = begins.after(&inputs);
        }
        Ok(found)
    }

    /// The losses of heads in one pass of the encoder, and what it read.
    fn losses(&self, heads: &[HeadPart], pass: Pass, join: Option<Join>) -> Result<(Vec<Loss>, Arc<Inputs>)> {
        let padding = self.recipe.train.padding;
        match heads {
            [HeadPart { task, windows, count, .. }] => {
                let loss = self.model.loss_of_part(task, windows, padding, pass, *count)?;
                let inputs = loss.inputs.clone();
                Ok((vec![loss], inputs))
            }
            several => self.model.losses_of_parts(several, padding, pass, join),
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
