//! Sampling: the tasks whose batches make up the next step. One strategy a file; [`SAMPLERS`] lists them.
//!
//! ```text
//! batches of each task in one pass over its windows -> Sampler -> the tasks of each step of an epoch
//! ```
//!
//! A sampler says what an epoch is: every batch of every task once, or so many steps in which a task whose batches are used
//! up begins its next pass, in an order of its own.

mod agreement;
mod annealed;
mod autosem;
mod exp3;
mod joint;
mod mixing_ratio;
mod prediction_gain;
mod proportional;
mod round_robin;
mod score_gap;
mod temperature;

use crate::error::{Error, Result};
use crate::strategy::{Learnt, Registered, positive, restored, softmax};
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The samplers that a recipe can name, in the order in which they are shown.
pub const SAMPLERS: &[SamplerKind] = &[
    round_robin::KIND,
    proportional::KIND,
    temperature::KIND,
    annealed::KIND,
    mixing_ratio::KIND,
    joint::KIND,
    // Those that learn.
    score_gap::KIND,
    exp3::KIND,
    prediction_gain::KIND,
    autosem::KIND,
    agreement::DGA,
    agreement::MULTIDDS,
];

/// An entry of [`SAMPLERS`].
pub type SamplerKind = Registered<dyn Sampler>;

/// Chooses the tasks of each step.
pub trait Sampler: Send {
    /// How many tasks its steps take.
    fn step_of(&self) -> StepOf {
        StepOf::OneTask
    }

    /// The tasks that its options name, each with its option.
    fn named_tasks(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }

    /// Whether it must know the losses of a step's batches after the update, which is one forward pass more.
    fn needs_losses_after(&self) -> bool {
        false
    }

    /// After how many steps each time it must know how the gradients of all tasks agree, which is one pass of every task more.
    fn compares_every(&self) -> Option<usize> {
        None
    }

    /// The steps of an epoch, for tasks with so many batches in a pass: left out, as many as they have together.
    fn steps(&self, batches: &[usize]) -> usize {
        batches.iter().sum()
    }

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
    /// The name of each task; of tasks that share their passes, that of the first.
    pub names: &'a [String],
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
    /// The key of what is drawn in this run.
    pub run: Key,
}

impl Position<'_> {
    /// The tasks that have batches.
    fn usable(&self) -> impl Iterator<Item = usize> {
        self.batches.iter().enumerate().filter(|(_, batches)| **batches > 0).map(|(task, _)| task)
    }
}

/// What came of training.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// A step: its tasks.
    Step(&'a [StepOutcome]),
    /// An evaluation: the headline score of each task that has validation data.
    Evaluated(&'a [(usize, f64)]),
    /// The cosines between the gradients of all tasks on the shared encoder, `[task][task]`.
    Compared(&'a [Vec<f64>]),
}

/// What came of the batch of a task.
#[derive(Debug, Clone, Copy)]
pub struct StepOutcome {
    /// The task.
    pub task: usize,
    /// Its mean loss, times the weight that the recipe sets.
    pub loss: f64,
    /// The same of the same batch after the update, if the sampler asks for it.
    pub after: Option<f64>,
}

/// Which of several is drawn for a step, as likely as their weights say.
fn draw(weights: &[f64], position: &Position) -> Option<usize> {
    let mut left = position.key.uniform(position.step as u64) * weights.iter().sum::<f64>();
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a little: the last task that can be drawn.
    drawn.or_else(|| weights.iter().rposition(|&weight| weight > 0.0))
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
        let names: Vec<String> = (0..batches.len()).map(|task| task.to_string()).collect();
        let (names, windows, key) = (&names, &windows, Key::seed(seed));
        let next = |step| sampler.next(&Position { names, batches, windows, epoch, epochs: 3, step, key, run: key });
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
    fn joint_without_repeats_spreads_the_batches_of_shorter_tasks() {
        assert_eq!(epoch("joint", "repeat = false", &[2, 4], 1), [vec![1], vec![0, 1], vec![1], vec![0, 1]]);
        for batches in [vec![3, 5], vec![0, 2], vec![1], vec![], vec![250, 265, 7]] {
            let order = epoch("joint", "repeat = false", &batches, 1);
            assert_eq!(order.len(), batches.iter().copied().max().unwrap_or(0));
            for (task, &count) in batches.iter().enumerate() {
                assert_eq!(order.iter().filter(|tasks| tasks.contains(&task)).count(), count, "{batches:?}");
            }
        }
    }

    #[test]
    fn a_mixing_ratio_is_kept_in_every_cycle_and_spreads_the_batches_of_a_task() {
        assert_eq!(epoch("mixing_ratio", "ratio = { 0 = 2, 1 = 1 }", &[4, 3], 1), [[0], [1], [0], [0], [1], [0], [0]]);
        assert_eq!(epoch("mixing_ratio", "", &[1, 3], 1), [[0], [1], [0], [1]]);
        let all = epoch("mixing_ratio", "ratio = { 0 = 5, 2 = 3 }", &[50, 20, 20], 1);
        for cycle in all.chunks_exact(9) {
            let counts = [0, 1, 2].map(|task| cycle.iter().filter(|tasks| **tasks == [task]).count());
            assert_eq!(counts, [5, 1, 3]);
            assert!(!cycle.windows(3).any(|steps| steps[0] == steps[1] && steps[1] == steps[2]), "{cycle:?}");
        }
        let refused = (find(SAMPLERS, "mixing_ratio").unwrap().open)(&toml::from_str("ratio = { a = 0 }").unwrap());
        assert_eq!(refused.err().unwrap().to_string(), "ratio: expected numbers from 1 to 100, found 0 of `a`");
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

    /// How often each of three tasks is drawn after a sampler has seen 200 steps whose outcomes `of` says.
    fn learnt(name: &str, options: &str, seen: &dyn Fn(&mut dyn Sampler, &[usize])) -> Vec<f64> {
        let mut sampler = (find(SAMPLERS, name).unwrap().open)(&toml::from_str(options).unwrap()).unwrap();
        let names = ["a", "b", "c"].map(String::from);
        let mut counts = vec![0.0; 3];
        for step in 0..2200 {
            let key = Key::seed(9).with(step as u64 / 1000);
            let (batches, windows) = (&[10, 10, 10], &[80, 80, 80]);
            let position = Position { names: &names, batches, windows, epoch: 0, epochs: 3, step, key, run: key };
            let drawn = sampler.next(&position);
            if step < 200 {
                seen(&mut *sampler, &drawn);
            } else {
                counts[drawn[0]] += 1.0 / 2000.0;
            }
        }
        let text = sampler.state().to_string();
        let mut other = (find(SAMPLERS, name).unwrap().open)(&toml::from_str(options).unwrap()).unwrap();
        other.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(other.state().to_string(), text, "{name}");
        assert!(other.restore(&serde_json::json!([1])).is_err(), "{name}");
        counts
    }

    #[test]
    fn those_that_learn_draw_what_their_paper_prefers() {
        let step = |sampler: &mut dyn Sampler, drawn: &[usize], loss: [f64; 3], after: [f64; 3]| {
            let one = |&task: &usize| StepOutcome { task, loss: loss[task], after: Some(after[task]) };
            sampler.observe(&Outcome::Step(&drawn.iter().map(one).collect::<Vec<_>>()));
        };
        let found = learnt("exp3", "", &|sampler, drawn| step(sampler, drawn, [0.2, 5.0, 0.2], [0.0; 3]));
        assert!(found[1] > 0.4 && found[0] > 0.05, "the highest loss: {found:?}");
        let found = learnt("prediction_gain", "", &|sampler, drawn| {
            step(sampler, drawn, [1.0, 1.0, 1.0], [0.99, 1.0, 0.9]);
        });
        assert!(found[2] > 0.6 && found[0] > 0.02, "the largest gain: {found:?}");
        let found = learnt("score_gap", "", &|sampler, _| {
            sampler.observe(&Outcome::Evaluated(&[(0, 90.0), (1, 100.0), (2, 65.0)]));
        });
        for (found, want) in found.iter().zip([0.2, 0.1, 0.7]) {
            assert!((found - want).abs() < 0.04, "{found:?}");
        }
        let cosines = vec![vec![1.0, 0.4, -0.2], vec![0.4, 1.0, 0.0], vec![-0.2, 0.0, 1.0]];
        for name in ["dga", "multidds"] {
            let found =
                learnt(name, "target = 'a'\nrate = 0.05", &|sampler, _| sampler.observe(&Outcome::Compared(&cosines)));
            assert!(found[0] > found[1] && found[1] > found[2], "{name}: {found:?}");
        }
        let found = learnt("multidds", "rate = 0.02", &|sampler, _| sampler.observe(&Outcome::Compared(&cosines)));
        assert!(found[1] > found[2] && found[0] > found[2], "what agrees with all: {found:?}");
    }

    #[test]
    fn autosem_draws_the_task_after_which_the_target_gains() {
        let mut sampler = (find(SAMPLERS, "autosem").unwrap().open)(&toml::from_str("target = 'a'").unwrap()).unwrap();
        let names = ["a", "b", "c"].map(String::from);
        let (mut counts, mut score) = ([0; 3], 50.0);
        for step in 0..300 {
            let key = Key::seed(4);
            let (batches, windows) = (&[10, 10, 10], &[80, 80, 80]);
            let position = Position { names: &names, batches, windows, epoch: 0, epochs: 3, step, key, run: key };
            let drawn = sampler.next(&position)[0];
            assert_eq!(sampler.next(&position), [drawn], "one task between two evaluations");
            counts[drawn] += 1;
            score += if drawn == 1 { 0.1 } else { -0.1 };
            sampler.observe(&Outcome::Evaluated(&[(0, score), (1, 10.0)]));
        }
        assert!(counts[1] > 150, "{counts:?}");
    }
}
