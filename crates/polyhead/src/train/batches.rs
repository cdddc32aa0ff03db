//! Which batches a step takes: the sampler names the tasks, each task brings the next batch of its pass.
//!
//! ```text
//! windows of a task -> pass 0: batches in an order of its own, pass 1: in another ... ;  Cursor: pass, batches taken
//! ```
//!
//! All of it is a function of the seed, the recipe, the cursors and the sampler's state, which a checkpoint holds.

use super::{TaskData, state::Cursor};
use crate::error::Result;
use crate::order::{self, Order};
use crate::recipe::Recipe;
use crate::sample::{Outcome, Position, Sampler};
use crate::tasks::ClassSampling;
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The batch of one task in a step.
#[derive(Debug, Clone)]
pub(super) struct TaskBatch {
    /// The task, as an index.
    pub task: usize,
    /// Its windows, as indices.
    pub picks: Vec<usize>,
}

/// The batches of all tasks.
pub(super) struct Batches {
    sampler: Box<dyn Sampler>,
    key: Key,
    order: Order,
    tasks: Vec<Passes>,
    /// Of each task: windows, and batches of a pass.
    windows: Vec<usize>,
    counts: Vec<usize>,
}

/// A task's windows and the order of one pass over them.
struct Passes {
    name: String,
    lengths: Vec<usize>,
    /// The class of each window and how often classes come, where passes draw by class.
    classes: Option<(Vec<Option<usize>>, ClassSampling)>,
    size: usize,
    /// The pass whose batches are at hand.
    known: Option<(usize, Vec<Vec<usize>>)>,
}

impl Batches {
    pub(super) fn new(recipe: &Recipe, task_data: &[TaskData]) -> Result<Self> {
        let passes = |data: &TaskData| Passes {
            name: data.name.clone(),
            lengths: data.windows.iter().map(|window| window.features.ids.len()).collect(),
            classes: data.class_sampling.map(|sampling| (data.classes(), sampling)),
            size: data.step_windows(recipe.train.accumulate),
            known: None,
        };
        let tasks: Vec<Passes> = task_data.iter().map(passes).collect();
        Ok(Self {
            sampler: recipe.sampler()?,
            key: Key::seed(recipe.seed),
            order: recipe.train.order,
            windows: tasks.iter().map(|task| task.lengths.len()).collect(),
            counts: task_data.iter().map(|data| data.steps_of_pass(recipe.train.accumulate)).collect(),
            tasks,
        })
    }

    /// The batches of each task in a pass.
    pub(super) fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// The batches of a step of an epoch; the cursors move on.
    pub(super) fn next(&mut self, cursors: &mut [Cursor], epoch: usize, step: usize) -> Vec<TaskBatch> {
        let taken = self.tasks_of(epoch, step);
        taken.into_iter().map(|task| TaskBatch { task, picks: self.take(task, cursors) }).collect()
    }

    /// Moves the cursors over the first steps of an epoch, as the steps themselves do.
    pub(super) fn skip(&mut self, cursors: &mut [Cursor], epoch: usize, steps: usize) {
        for step in 0..steps {
            for task in self.tasks_of(epoch, step) {
                if let (Some(cursor), Some(&count)) = (cursors.get_mut(task), self.counts.get(task)) {
                    cursor.advance(count);
                }
            }
        }
    }

    fn tasks_of(&mut self, epoch: usize, step: usize) -> Vec<usize> {
        let key = self.key.purpose("epoch").with(epoch as u64).purpose("mix");
        self.sampler.next(&Position { batches: &self.counts, windows: &self.windows, epoch, step, key })
    }

    fn take(&mut self, task: usize, cursors: &mut [Cursor]) -> Vec<usize> {
        let (Some(passes), Some(cursor)) = (self.tasks.get_mut(task), cursors.get_mut(task)) else { return Vec::new() };
        let place = cursor.advance(self.counts.get(task).copied().unwrap_or(0));
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
        let batch = known.1.get(place.taken).cloned().unwrap_or_default();
        passes.known = Some(known);
        batch
    }

    pub(super) fn observe(&mut self, outcome: &Outcome) {
        self.sampler.observe(outcome);
    }

    pub(super) fn state(&self) -> Value {
        self.sampler.state()
    }

    pub(super) fn restore(&mut self, state: &Value) -> Result<()> {
        self.sampler.restore(state)
    }
}
