//! The average of each task's gradients over steps, which DB-MTL and MoCo keep.

use super::restored;
use crate::error::Result;
use crate::parameters::{Gradients, KeptGradients, Parameters};
use serde_json::{Value, json};

#[derive(Default)]
pub(super) struct Averaged {
    pub steps: u64,
    pub kept: KeptGradients,
}

impl Averaged {
    /// Counts a step; its number, from 1.
    pub(super) fn next_step(&mut self) -> f64 {
        self.steps += 1;
        self.steps as f64
    }

    /// `average += taken (factor gradient - average)` of each task, on the shared encoder. An average begins at 0. Returns the gradients of the heads,
    /// which are as they were.
    pub(super) fn take(
        &mut self,
        tasks: &[usize],
        gradients: Vec<Gradients>,
        factors: &[f64],
        taken: f64,
        parameters: &Parameters,
    ) -> Result<Vec<Gradients>> {
        let mut heads = Vec::with_capacity(gradients.len());
        for ((task, gradients), factor) in tasks.iter().zip(gradients).zip(factors) {
            let (own, head) = gradients.split(parameters);
            heads.push(head);
            self.kept.0.entry(*task).or_default().blend(1.0 - taken, own, taken * factor)?;
        }
        Ok(heads)
    }

    /// The dot products of the averages of these tasks.
    pub(super) fn products(&self, tasks: &[usize], parameters: &Parameters) -> Vec<Vec<f64>> {
        let averages: Vec<&Gradients> = tasks.iter().filter_map(|task| self.kept.0.get(task)).collect();
        Gradients::products(&averages, parameters)
    }

    /// The lengths of the averages of these tasks.
    pub(super) fn lengths(&self, tasks: &[usize], parameters: &Parameters) -> Vec<f64> {
        let averages = tasks.iter().filter_map(|task| self.kept.0.get(task));
        averages.map(|average| average.dot_on_encoder(average, parameters).sqrt()).collect()
    }

    /// The weighted sum of the averages of these tasks, with the gradients of the heads.
    pub(super) fn sum(&self, tasks: &[usize], weights: &[f64], heads: Vec<Gradients>) -> Result<Gradients> {
        let averages = tasks.iter().filter_map(|task| self.kept.0.get(task)).zip(weights.iter().copied());
        let mut sum = Gradients::sum_of(&averages.collect::<Vec<_>>())?;
        heads.into_iter().try_for_each(|head| sum.blend(1.0, head, 1.0))?;
        Ok(sum)
    }

    pub(super) fn state(&self) -> Value {
        json!(self.steps)
    }

    pub(super) fn restore(&mut self, name: &str, state: &Value) -> Result<()> {
        self.steps = restored(name, state)?;
        Ok(())
    }
}
