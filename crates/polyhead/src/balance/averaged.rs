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
            let (mut own, head) = gradients.split(parameters);
            heads.push(head);
            own.scale(taken * factor);
            match self.kept.0.get_mut(task) {
                Some(average) => {
                    average.scale(1.0 - taken);
                    average.add(own)?;
                }
                None => _ = self.kept.0.insert(*task, own),
            }
        }
        Ok(heads)
    }

    /// The dot products of the averages of these tasks.
    pub(super) fn products(&self, tasks: &[usize], parameters: &Parameters) -> Vec<Vec<f64>> {
        let of = |task: &usize| self.kept.0.get(task);
        let product = |a: &usize, b: &usize| Some(of(a)?.dot_on_encoder(of(b)?, parameters));
        tasks.iter().map(|a| tasks.iter().map(|b| product(a, b).unwrap_or_default()).collect()).collect()
    }

    /// The weighted sum of the averages of these tasks, with the gradients of the heads.
    pub(super) fn sum(&self, tasks: &[usize], weights: &[f64], heads: Vec<Gradients>) -> Result<Gradients> {
        let mut all = heads.into_iter();
        let mut sum = all.next().unwrap_or_default();
        for head in all {
            sum.add(head)?;
        }
        for (average, &weight) in tasks.iter().filter_map(|task| self.kept.0.get(task)).zip(weights) {
            sum.add(average.mapped(|gradient| gradient.scaled(weight as f32)))?;
        }
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
