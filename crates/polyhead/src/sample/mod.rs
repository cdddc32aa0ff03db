//! Sampling: the tasks whose batches make up the next step. One strategy a file; [`SAMPLERS`] lists them.
//!
//! ```text
//! batches of each task in one pass over its windows -> Sampler -> the tasks of each step of an epoch
//! ```
//!
//! A sampler says what an epoch is: every batch of every task once, or so many steps in which a task whose batches are used
//! up begins its next pass, in an order of its own.

mod annealed;
mod joint;
mod proportional;
mod round_robin;
mod temperature;

use crate::error::{Error, Result};
use crate::strategy::Registered;
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The samplers that a recipe can name, in the order in which they are shown.
pub const SAMPLERS: &[SamplerKind] =
    &[round_robin::KIND, proportional::KIND, temperature::KIND, annealed::KIND, joint::KIND];

/// An entry of [`SAMPLERS`].
pub type SamplerKind = Registered<dyn Sampler>;

/// Chooses the tasks of each step.
pub trait Sampler: Send {
    /// How many tasks its steps take.
    fn step_of(&self) -> StepOf {
        StepOf::OneTask
    }

    /// The steps of an epoch, for tasks with so many batches in a pass.
    fn steps(&self, batches: &[usize]) -> usize;

    /// The tasks of the next step, as indices, each at most once. It must be a function of the position and of the state.
    fn next(&mut self, position: &Position) -> Vec<usize>;

    /// Learns from what came of the steps.
    fn observe(&mut self, _outcome: &Outcome) {}

    /// What it has learnt, as a checkpoint holds it; `null` if it learns nothing.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Sampler::state`] gave.
    ///
    /// # Errors
    /// It is of another sampler.
    fn restore(&mut self, state: &Value) -> Result<()> {
        match state {
            Value::Null => Ok(()),
            state => Err(Error::data(format!("expected no state of a sampler, found {state}"))),
        }
    }
}

/// How many tasks a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOf {
    /// One.
    OneTask,
    /// Several, which can be compared.
    SeveralTasks,
}

/// Where a run stands before a step.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// The batches of each task in a pass over its windows.
    pub batches: &'a [usize],
    /// The training windows of each task.
    pub windows: &'a [usize],
    /// The epoch, from 0.
    pub epoch: usize,
    /// The epochs of the run.
    pub epochs: usize,
    /// The step within the epoch, from 0.
    pub step: usize,
    /// The key of what is drawn in this epoch.
    pub key: Key,
}

/// What came of training.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// A step: its tasks, each with its loss.
    Step(&'a [(usize, f64)]),
    /// An evaluation: the headline score of each task that has validation data.
    Evaluated(&'a [(usize, f64)]),
}

/// A task drawn for a step, as likely as its weight says.
fn draw(weights: &[f64], position: &Position) -> Vec<usize> {
    let mut left = position.key.uniform(position.step as u64) * weights.iter().sum::<f64>();
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a little: the last task that can be drawn.
    drawn.or_else(|| weights.iter().rposition(|&weight| weight > 0.0)).into_iter().collect()
}

/// A sampler that takes every batch of every task once an epoch, in an order that is known when the epoch begins.
struct Once {
    /// From the batches of each task to the task of each step.
    order: fn(&[usize], Key) -> Vec<usize>,
    /// The order of an epoch.
    known: Option<(usize, Vec<usize>)>,
}

impl Once {
    fn boxed(order: fn(&[usize], Key) -> Vec<usize>) -> Box<dyn Sampler> {
        Box::new(Self { order, known: None })
    }
}

impl Sampler for Once {
    fn steps(&self, batches: &[usize]) -> usize {
        batches.iter().sum()
    }

    fn next(&mut self, position: &Position) -> Vec<usize> {
        let known = match self.known.take() {
            Some(known) if known.0 == position.epoch => known,
            _ => (position.epoch, (self.order)(position.batches, position.key)),
        };
        let task = known.1.get(position.step).copied();
        self.known = Some(known);
        task.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::strategy::find;

    /// All steps of the first epoch of three.
    pub(super) fn epoch(name: &str, options: &str, batches: &[usize], seed: u64) -> Vec<Vec<usize>> {
        epoch_of(name, options, batches, seed, 0)
    }

    fn epoch_of(name: &str, options: &str, batches: &[usize], seed: u64, epoch: usize) -> Vec<Vec<usize>> {
        let kind = find(SAMPLERS, name).unwrap();
        let mut sampler = (kind.open)(&toml::from_str(options).unwrap()).unwrap();
        let windows: Vec<usize> = batches.iter().map(|count| count * 16).collect();
        let steps = 0..sampler.steps(batches);
        let (windows, key) = (&windows, Key::seed(seed));
        let next = |step| sampler.next(&Position { batches, windows, epoch, epochs: 3, step, key });
        steps.map(next).collect()
    }

    #[test]
    fn those_of_one_task_a_step_take_every_batch_once_unless_they_draw() {
        for name in ["round_robin", "proportional"] {
            for batches in [vec![3, 5], vec![0, 2], vec![1], vec![], vec![125, 129, 7]] {
                let order = epoch(name, "", &batches, 1);
                for (task, &count) in batches.iter().enumerate() {
                    assert_eq!(order.iter().filter(|&tasks| *tasks == [task]).count(), count, "{name}");
                }
                assert_eq!(order.len(), batches.iter().sum::<usize>());
            }
        }
    }

    #[test]
    fn round_robin_goes_on_with_the_longer_task() {
        assert_eq!(epoch("round_robin", "", &[2, 4], 1), [[0], [1], [0], [1], [1], [1]]);
    }

    #[test]
    fn joint_takes_every_task_in_each_step_until_the_longest_has_had_all_its_batches() {
        assert_eq!(epoch("joint", "", &[2, 3], 1), [[0, 1], [0, 1], [0, 1]]);
    }

    #[test]
    fn annealed_draws_by_size_at_first_and_nearly_evenly_in_the_end() {
        for (at, want) in [
            (0, 0.9),
            (1, 9.0_f64.powf(0.6) / (1.0 + 9.0_f64.powf(0.6))),
            (2, 9.0_f64.powf(0.2) / (1.0 + 9.0_f64.powf(0.2))),
        ] {
            let all = epoch_of("annealed", "", &[900, 100], 3, at);
            let share = all.iter().filter(|tasks| **tasks == [0]).count() as f64 / all.len() as f64;
            assert!((share - want).abs() < 0.04, "epoch {at}: {share} for {want}");
        }
    }

    #[test]
    fn temperature_draws_tasks_by_their_size_to_the_power_of_one_over_t() {
        let share = |options: &str| {
            let all = epoch("temperature", options, &[900, 100], 3);
            assert_eq!(all.len(), 1000);
            all.iter().filter(|tasks| **tasks == [0]).count() as f64 / 1000.0
        };
        // 0.9 : 0.1, then 0.75 : 0.25 (square roots), then nearly equal; a cap makes the sizes 3,200 and 1,600.
        for (options, want) in [
            ("temperature = 1", 0.9),
            ("temperature = 2", 0.75),
            ("temperature = 1e6", 0.5),
            ("temperature = 1\ncap = 3200", 2.0 / 3.0),
        ] {
            let found = share(options);
            assert!((found - want).abs() < 0.04, "{options}: {found} for {want}");
        }
        assert_eq!(share(""), share("temperature = 2"));
        assert_ne!(epoch("temperature", "", &[9, 9], 1), epoch("temperature", "", &[9, 9], 2));
    }
}
