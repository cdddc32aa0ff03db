//! The check that nothing is left behind: once every task has had a step, every trained tensor must have received a
//! gradient and moved. A gradient that is cut off somewhere in the network shows here, and nowhere else.
//!
//! One exception: a bias of one number that softmax does not see, because it adds the same to every token of a sequence
//! (those of question answering). Its gradient is zero but for rounding, and at times exactly zero.

use crate::error::{Error, Result};
use crate::parameters::{Gradients, Parameters};
use candle_core::Tensor;
use std::collections::HashSet;

/// Below this the gradient of a tensor of one number is taken for rounding: such a tensor may stand still.
const NOISE: f32 = 1e-6;

pub(super) struct MovementCheck {
    /// The tensors as they were before the first step.
    before: Vec<Tensor>,
    graded: HashSet<String>,
    /// Tensors that must have moved.
    pushed: HashSet<String>,
    waiting: HashSet<usize>,
}

impl MovementCheck {
    pub(super) fn new(parameters: &Parameters, lanes: usize) -> Result<Self> {
        let copies = parameters.trained().map(|parameter| Ok(parameter.weight.tensor()?.copy()?));
        Ok(Self {
            before: copies.collect::<Result<_>>()?,
            graded: HashSet::new(),
            pushed: HashSet::new(),
            waiting: (0..lanes).collect(),
        })
    }

    pub(super) fn saw(&mut self, lane: usize, parameters: &Parameters, gradients: &Gradients) {
        self.waiting.remove(&lane);
        for (parameter, gradient) in gradients.of(parameters) {
            let Some(gradient) = gradient else { continue };
            self.graded.insert(parameter.name.clone());
            if parameter.weight.count() > 1 || gradient.values().iter().any(|value| value.abs() > NOISE) {
                self.pushed.insert(parameter.name.clone());
            }
        }
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
            let moved = parameter.weight.tensor()?.sub(before)?.abs()?.sum_all()?.to_scalar::<f32>()?;
            if moved == 0.0 && self.pushed.contains(name) {
                return Err(Error::internal(format!("the tensor `{name}` received a gradient but did not move"))
                    .hint("is train.learning_rate too small for f32?"));
            }
        }
        Ok(())
    }
}
