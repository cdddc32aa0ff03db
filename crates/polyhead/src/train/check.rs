//! The check that nothing is left behind: once every task has had a step, every trained tensor must have received a
//! gradient and moved. A gradient that is cut off somewhere in the network shows here, and nowhere else.
//!
//! A batch with nothing to score (every word of it invisible) has a gradient of zeros and says nothing: the task's next batch
//! is waited for. A whole epoch of such batches is a fault.
//!
//! What softmax does not see (the biases of keys in attention, those of question answering) has a gradient of zero but for
//! rounding, and at times exactly zero: such a tensor may stand still.

use super::TaskData;
use crate::error::{Error, Result};
use crate::parameters::{Gradients, Parameter, Parameters};
use polyhead_kernels::Gradient;
use std::collections::HashSet;

/// Below this a gradient is taken for rounding: a tensor of no larger one may stand still.
const NOISE: f32 = 1e-6;

pub(super) struct GradientFlowCheck {
    /// The fingerprints of the tensors before the first step.
    before: Vec<u64>,
    graded: HashSet<String>,
    /// Tensors that must have moved.
    pushed: HashSet<String>,
    waiting: HashSet<usize>,
    /// Tasks that had a batch: a sampler may leave one out for an epoch.
    drawn: HashSet<usize>,
    /// Steps that were seen.
    steps: usize,
}

impl GradientFlowCheck {
    pub(super) fn new(parameters: &Parameters, tasks: usize) -> Result<Self> {
        Ok(Self {
            before: parameters.trained().map(fingerprint).collect::<Result<_>>()?,
            graded: HashSet::new(),
            pushed: HashSet::new(),
            waiting: (0..tasks).collect(),
            drawn: HashSet::new(),
            steps: 0,
        })
    }

    /// A step, after its update: its tasks, each with whether it had something to score.
    pub(super) fn saw(&mut self, tasks: &[(usize, bool)], parameters: &Parameters, gradients: &Gradients) {
        self.steps += 1;
        self.drawn.extend(tasks.iter().map(|(task, _)| *task));
        let above = |least: f32| move |value: &f32| value.abs() > least;
        let scored = |gradient: Option<&Gradient>| {
            gradient.is_some_and(|gradient: &Gradient| gradient.values().iter().any(above(0.0)))
        };
        if !gradients.of(parameters).any(|(_, gradient)| scored(gradient)) {
            return;
        }
        tasks.iter().filter(|(_, scored)| *scored).for_each(|(task, _)| _ = self.waiting.remove(task));
        for (parameter, gradient) in gradients.of(parameters) {
            let Some(gradient) = gradient else { continue };
            self.graded.insert(parameter.name.clone());
            if gradient.values().iter().any(above(NOISE)) {
                self.pushed.insert(parameter.name.clone());
            }
        }
    }

    /// The end of an epoch of so many steps: a task that is still waited for in an epoch that was seen whole never brings a
    /// gradient.
    pub(super) fn epoch(&self, steps: usize, task_data: &[TaskData]) -> Result<()> {
        let waiting = (self.steps >= steps).then(|| self.waiting.intersection(&self.drawn).min()).flatten();
        let Some(data) = waiting.and_then(|&task| task_data.get(task)) else { return Ok(()) };
        Err(Error::internal(format!("no batch of `{}` brought a gradient in a whole epoch", data.name))
            .hint("nothing in its training data can be scored, or its loss does not depend on the model"))
    }

    /// Whether every task has had a step.
    pub(super) fn complete(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn verdict(&self, parameters: &Parameters) -> Result<()> {
        for (parameter, before) in parameters.trained().zip(&self.before) {
            let name = &parameter.name;
            if !self.graded.contains(name) {
                return Err(Error::internal(format!("the tensor `{name}` is to be trained but received no gradient")));
            }
            if self.pushed.contains(name) && fingerprint(parameter)? == *before {
                return Err(Error::internal(format!("the tensor `{name}` received a gradient but did not move"))
                    .hint("is train.learning_rate too small for f32?"));
            }
        }
        Ok(())
    }
}

/// A number that tells whether a tensor is what it was: no copy of it is kept. It differs where one element does (each step is invertible), and by
/// chance alone it does not where several do. By FNV-1a (Fowler, Noll, Vo), over elements in place of bytes.
fn fingerprint(parameter: &Parameter) -> Result<u64> {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let of = |values: &[f32]| values.iter().fold(START, |sum, x| (sum ^ u64::from(x.to_bits())).wrapping_mul(PRIME));
    Ok(parameter.weight.read(|values| Ok(of(values)))?)
}
