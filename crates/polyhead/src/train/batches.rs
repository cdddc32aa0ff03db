//! Which batches a step takes: the sampler names the units (tasks, or tasks that share an encoder pass), each brings the next batch of
//! its pass.
//!
//! ```text
//! items of a unit -> pass 0: batches in an order of its own, pass 1: in another ... ;  Cursor: pass, batches taken
//! ```
//!
//! All of it is a function of the seed, the recipe, the cursors and the sampler's state, which a checkpoint holds. Every task has a cursor;
//! those of a unit move together.

use super::{TaskData, Unit, state::Cursor};
use crate::error::Result;
use crate::order::{self, Order};
use crate::recipe::Recipe;
use crate::sample::{Outcome, Position, Sampler, StepOutcome};
use crate::tasks::ClassSampling;
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The batch of one task in a step.
#[derive(Debug, Clone)]
pub(super) struct TaskBatch {
    /// The task, as an index.
    pub task: usize,
    /// Its windows, as indices, in parts that fit a pass; a part may be empty where the task shares its pass.
    pub parts: Vec<Vec<usize>>,
    /// Whether it goes through the encoder with the batch before it.
    pub joins: bool,
}

impl TaskBatch {
    /// All its windows.
    pub(super) fn picks(&self) -> Vec<usize> {
        self.parts.concat()
    }
}

/// The batches of all units.
pub(super) struct Batches {
    sampler: Box<dyn Sampler>,
    key: Key,
    order: Order,
    epochs: usize,
    units: Vec<Passes>,
    names: Vec<String>,
    /// Of each unit: items, and batches of a pass.
    items: Vec<usize>,
    counts: Vec<usize>,
}

/// A unit's items and the order of one pass over them.
struct Passes {
    unit: Unit,
    /// The name of its first task.
    name: String,
    /// The tokens of each item.
    lengths: Vec<usize>,
    /// The class of each item and how often classes come, where passes draw by class.
    classes: Option<(Vec<Option<usize>>, ClassSampling)>,
    /// Items of a batch, and of a part of it.
    size: usize,
    part: usize,
    /// The pass whose batches are at hand.
    known: Option<(usize, Vec<Vec<usize>>)>,
}

impl Passes {
    fn new(unit: &Unit, task_data: &[TaskData], accumulate: usize) -> Self {
        let data = |task: &usize| task_data.get(*task);
        let first = unit.tasks.first().and_then(data);
        let window = |(task, window): (&usize, &Option<usize>)| data(task)?.windows.get((*window)?);
        let length = |windows: &Vec<Option<usize>>| {
            unit.tasks.iter().zip(windows).find_map(window).map_or(0, |window| window.features.ids.len())
        };
        Self {
            name: first.map_or_else(String::new, |data| data.name.clone()),
            lengths: unit.items.iter().map(length).collect(),
            classes: first.and_then(|data| Some((data.classes(), data.class_sampling?))),
            size: first.map_or(1, |data| data.step_windows(accumulate)),
            part: first.map_or(1, |data| data.batch_size),
            known: None,
            unit: unit.clone(),
        }
    }

    /// The batches of a pass.
    fn count(&self) -> usize {
        self.unit.items.len().div_ceil(self.size)
    }

    /// What each task has of some items.
    fn batches(&self, items: &[usize]) -> Vec<TaskBatch> {
        let of_part = |at: usize, items: &[usize]| -> Vec<usize> {
            items.iter().filter_map(|&item| *self.unit.items.get(item)?.get(at)?).collect()
        };
        let batch = |(at, &task): (usize, &usize)| {
            let parts: Vec<Vec<usize>> = items.chunks(self.part).map(|items| of_part(at, items)).collect();
            TaskBatch { task, parts, joins: true }
        };
        let mut batches: Vec<TaskBatch> = self.unit.tasks.iter().enumerate().map(batch).collect();
        batches.retain(|batch| batch.parts.iter().any(|part| !part.is_empty()));
        batches.iter_mut().take(1).for_each(|first| first.joins = false);
        batches
    }
}

/// The batches of a pass over each unit.
pub(super) fn counts(recipe: &Recipe, units: &[Unit], task_data: &[TaskData]) -> Vec<usize> {
    units.iter().map(|unit| Passes::new(unit, task_data, recipe.train.accumulate).count()).collect()
}

impl Batches {
    pub(super) fn new(recipe: &Recipe, units: &[Unit], task_data: &[TaskData]) -> Result<Self> {
        let units: Vec<Passes> =
            units.iter().map(|unit| Passes::new(unit, task_data, recipe.train.accumulate)).collect();
        Ok(Self {
            sampler: recipe.sampler()?,
            key: Key::seed(recipe.seed),
            order: recipe.train.order,
            epochs: recipe.train.epochs,
            items: units.iter().map(|unit| unit.lengths.len()).collect(),
            counts: units.iter().map(Passes::count).collect(),
            names: units.iter().map(|unit| unit.name.clone()).collect(),
            units,
        })
    }

    /// Begins the next pass of every task that has had all batches of this one.
    pub(super) fn begin_passes(&self, cursors: &mut [Cursor]) {
        for (unit, &count) in self.units.iter().zip(&self.counts) {
            for &task in &unit.unit.tasks {
                cursors.iter_mut().skip(task).take(1).for_each(|cursor| cursor.begin_pass(count));
            }
        }
    }

    /// The batches of a step of an epoch; the cursors move on.
    pub(super) fn next(&mut self, cursors: &mut [Cursor], epoch: usize, step: usize) -> Vec<TaskBatch> {
        let taken = self.units_of(epoch, step);
        taken.into_iter().flat_map(|unit| self.take(unit, cursors)).collect()
    }

    /// Moves the cursors over the first steps of an epoch, as the steps themselves do.
    pub(super) fn skip(&mut self, cursors: &mut [Cursor], epoch: usize, steps: usize) {
        for step in 0..steps {
            for unit in self.units_of(epoch, step) {
                self.advance(unit, cursors);
            }
        }
    }

    fn units_of(&mut self, epoch: usize, step: usize) -> Vec<usize> {
        let (names, batches, windows) = (&self.names[..], &self.counts[..], &self.items[..]);
        let key = self.key.purpose("epoch").with(epoch as u64).purpose("mix");
        let (epochs, run) = (self.epochs, self.key.purpose("mix"));
        self.sampler.next(&Position { names, batches, windows, epoch, epochs, step, key, run })
    }

    /// Moves the cursors of a unit on; the place of its batch.
    fn advance(&self, unit: usize, cursors: &mut [Cursor]) -> Option<Cursor> {
        let (passes, &count) = (self.units.get(unit)?, self.counts.get(unit)?);
        let tasks = &passes.unit.tasks;
        let first = cursors.get_mut(*tasks.first()?)?;
        let place = first.advance(count);
        let moved = *first;
        for &task in tasks {
            cursors.iter_mut().skip(task).take(1).for_each(|cursor| *cursor = moved);
        }
        Some(place)
    }

    fn take(&mut self, unit: usize, cursors: &mut [Cursor]) -> Vec<TaskBatch> {
        let Some(place) = self.advance(unit, cursors) else { return Vec::new() };
        let Some(passes) = self.units.get_mut(unit) else { return Vec::new() };
        let known = match passes.known.take() {
            Some(known) if known.0 == place.pass => known,
            _ => {
                let key = self.key.purpose("epoch").with(place.pass as u64).purpose("order").purpose(&passes.name);
                let drawn = match &passes.classes {
                    Some((classes, sampling)) => order::drawn(classes, |size| sampling.weight(size), key),
                    None => (0..passes.lengths.len()).collect(),
                };
                (place.pass, order::batches(&drawn, &passes.lengths, passes.size, self.order, key))
            }
        };
        let items = known.1.get(place.taken).cloned().unwrap_or_default();
        passes.known = Some(known);
        passes.batches(&items)
    }

    /// Whether the sampler must know the losses of a step's batches after the update.
    pub(super) fn needs_losses_after(&self) -> bool {
        self.sampler.needs_losses_after()
    }

    /// Whether the sampler must know how the gradients of all tasks agree after so many steps.
    pub(super) fn compares_after(&self, steps: usize) -> bool {
        self.sampler.compares_every().is_some_and(|every| steps.is_multiple_of(every))
    }

    /// Tells the sampler what came of training: of a unit of several tasks the mean, of its gradients that of the first.
    pub(super) fn observe(&mut self, outcome: &Outcome) {
        let units = || self.units.iter().map(|passes| &passes.unit.tasks).enumerate();
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        match outcome {
            Outcome::Step(parts) => {
                let of_unit = |(unit, tasks): (usize, &Vec<usize>)| {
                    let own = || parts.iter().filter(|part| tasks.contains(&part.task));
                    let loss = mean(&mut own().map(|part| part.loss))?;
                    Some(StepOutcome { task: unit, loss, after: mean(&mut own().filter_map(|part| part.after)) })
                };
                let parts: Vec<StepOutcome> = units().filter_map(of_unit).collect();
                self.sampler.observe(&Outcome::Step(&parts));
            }
            Outcome::Evaluated(scores) => {
                let of_unit = |(unit, tasks): (usize, &Vec<usize>)| {
                    let own = scores.iter().filter(|(task, _)| tasks.contains(task));
                    Some((unit, mean(&mut own.map(|(_, score)| *score))?))
                };
                let scores: Vec<(usize, f64)> = units().filter_map(of_unit).collect();
                self.sampler.observe(&Outcome::Evaluated(&scores));
            }
            Outcome::Compared(cosines) => {
                let first: Vec<usize> = units().filter_map(|(_, tasks)| tasks.first().copied()).collect();
                let at = |a: usize, b: usize| cosines.get(a).and_then(|row| row.get(b)).copied().unwrap_or_default();
                let cosines: Vec<Vec<f64>> = first.iter().map(|&a| first.iter().map(|&b| at(a, b)).collect()).collect();
                self.sampler.observe(&Outcome::Compared(&cosines));
            }
        }
    }

    pub(super) fn state(&self) -> Value {
        self.sampler.state()
    }

    pub(super) fn restore(&mut self, state: &Value) -> Result<()> {
        self.sampler.restore(state)
    }
}
