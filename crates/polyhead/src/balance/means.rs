//! The mean loss of each task over some steps, which several balancers hold later losses against.

use super::StepTasks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// By task: the sum of its losses, and how many they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct MeanLosses(BTreeMap<usize, (f64, usize)>);

impl MeanLosses {
    /// Counts the losses of a step, where they are known.
    pub(super) fn add(&mut self, step: &StepTasks) {
        for (&task, loss) in step.tasks.iter().zip(step.losses.unwrap_or(&[])) {
            let (sum, count) = self.0.entry(task).or_default();
            (*sum, *count) = (*sum + loss, *count + 1);
        }
    }

    /// The mean of a task, if it had a loss.
    pub(super) fn of(&self, task: usize) -> Option<f64> {
        self.0.get(&task).map(|(sum, count)| sum / *count as f64)
    }

    /// Those of all tasks of a step, if each had a loss.
    pub(super) fn of_all(&self, step: &StepTasks) -> Option<Vec<f64>> {
        step.tasks.iter().map(|&task| self.of(task)).collect()
    }
}
