//! What each task has had so far: batches, windows, examples, how many of them different ones, epochs.
//!
//! ```text
//! windows of a batch -> Counters (exact, goes into checkpoints) -> Counts (what is shown)
//! ```
//!
//! A long example has several windows, which come in different batches. It counts as an example when its first window is
//! trained on, so that an epoch has each once; it counts as seen when any of them is.

use super::TrainingWindow;
use crate::events::{Counts, Plan, TaskPlan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The counters of all tasks, in the order of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters(Vec<TaskCounter>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TaskCounter {
    task: String,
    /// Those of an epoch.
    windows_in_all: u64,
    examples_in_all: u64,
    batches: u64,
    windows: u64,
    examples: u64,
    /// A bit for each example, the lowest of the first number for the first: whether it was seen.
    seen: Vec<u64>,
}

impl Counters {
    /// Before the first batch.
    pub fn new(plan: &Plan) -> Self {
        let counter = |task: &TaskPlan| TaskCounter {
            task: task.name.clone(),
            windows_in_all: task.windows as u64,
            examples_in_all: task.examples as u64,
            batches: 0,
            windows: 0,
            examples: 0,
            seen: vec![0; task.examples.div_ceil(64)],
        };
        Self(plan.tasks.iter().map(counter).collect())
    }

    /// Counters out of a checkpoint, for the run of this plan. A task that has other data now begins at zero: its examples are not
    /// those that were counted.
    pub fn resumed(self, plan: &Plan) -> Self {
        let sizes = |counter: &TaskCounter| {
            let TaskCounter { task, windows_in_all, examples_in_all, seen, .. } = counter;
            (task.clone(), *windows_in_all, *examples_in_all, seen.len())
        };
        let counted = |fresh: TaskCounter| {
            let known = self.0.iter().find(|counter| sizes(counter) == sizes(&fresh)).cloned();
            known.unwrap_or(fresh)
        };
        Self(Self::new(plan).0.into_iter().map(counted).collect())
    }

    /// A batch of a task was trained on: which of its windows.
    pub fn batch(&mut self, task: usize, windows: &[TrainingWindow], picks: &[usize]) {
        let Some(counter) = self.0.get_mut(task) else { return };
        counter.batches += 1;
        let example_of = |pick: usize| windows.get(pick).map(|window| window.example);
        for &pick in picks {
            let Some(example) = example_of(pick) else { continue };
            counter.windows += 1;
            let before = pick.checked_sub(1).and_then(example_of);
            counter.examples += u64::from(before != Some(example));
            if let Some(word) = counter.seen.get_mut(example / 64) {
                *word |= 1 << (example % 64);
            }
        }
    }

    /// What each task has had so far, by its name.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let counts = |counter: &TaskCounter| Counts {
            batches: counter.batches,
            windows: counter.windows,
            examples: counter.examples,
            unique: counter.seen.iter().map(|word| u64::from(word.count_ones())).sum(),
            epochs: counter.windows as f64 / counter.windows_in_all.max(1) as f64,
        };
        self.0.iter().map(|counter| (counter.task.clone(), counts(counter))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::batch::Features;

    /// A task of 100 examples of which every fourth has three windows.
    fn windows() -> Vec<TrainingWindow> {
        let of = |example: usize| std::iter::repeat_n(example, if example.is_multiple_of(4) { 3 } else { 1 });
        let window = |example| TrainingWindow { example, features: Features::default() };
        (0..100).flat_map(of).map(window).collect()
    }

    fn plan(examples: usize, windows: usize) -> Plan {
        let task = TaskPlan { name: "qa".into(), examples, windows, ..TaskPlan::default() };
        let tasks = vec![TaskPlan { name: "ner".into(), ..task.clone() }, task];
        Plan { tasks, epochs: 2, steps_per_epoch: 1, steps: 2, ..Plan::default() }
    }

    #[test]
    fn an_epoch_counts_every_window_and_every_example_once_in_any_order() {
        let windows = windows();
        let mut counters = Counters::new(&plan(100, 150));
        // Both without a factor in common with 150: every window once.
        for (epoch, stride) in [(1, 7), (2, 11)] {
            let order: Vec<usize> = (0..150).map(|at| at * stride % 150).collect();
            order.chunks(16).for_each(|batch| counters.batch(1, &windows, batch));
            let counts = counters.counts()["qa"];
            let expected = Counts {
                batches: 10 * epoch,
                windows: 150 * epoch,
                examples: 100 * epoch,
                unique: 100,
                epochs: epoch as f64,
            };
            assert_eq!(counts, expected);
        }
        let none = Counts { batches: 0, windows: 0, examples: 0, unique: 0, epochs: 0.0 };
        assert_eq!(counters.counts()["ner"], none, "the other task had nothing");
    }

    #[test]
    fn a_later_window_makes_its_example_seen_but_does_not_count_it_again() {
        let windows = windows();
        let mut counters = Counters::new(&plan(100, 150));
        counters.batch(1, &windows, &[0, 1, 2, 7, 8]);
        let counts = counters.counts()["qa"];
        assert_eq!((counts.windows, counts.examples, counts.unique), (5, 1, 2));
        assert_eq!(counts.epochs, 5.0 / 150.0);
    }

    #[test]
    fn counters_come_back_from_a_checkpoint_as_they_were_and_not_to_other_data() {
        let windows = windows();
        let mut counters = Counters::new(&plan(100, 150));
        counters.batch(1, &windows, &[149, 3, 70]);
        let text = serde_json::to_string(&counters).unwrap();
        let back = || serde_json::from_str::<Counters>(&text).unwrap();
        assert_eq!(back().resumed(&plan(100, 150)), counters);
        for other in [plan(101, 150), plan(100, 151)] {
            assert_eq!(back().resumed(&other), Counters::new(&other));
        }
    }
}
