//! The check that nothing is left behind: once every task has had a step, every trained tensor must have received a
//! gradient and moved. A gradient that is cut off somewhere in the network shows here, and nowhere else.

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use std::collections::HashSet;

pub(super) struct MovementCheck {
    /// The tensors as they were before the first step.
    before: Vec<Tensor>,
    graded: HashSet<String>,
    waiting: HashSet<usize>,
}

impl MovementCheck {
    pub(super) fn new(parameters: &Parameters, lanes: usize) -> Result<Self> {
        let copies = parameters.trained().map(|parameter| Ok(parameter.var.copy()?));
        Ok(Self { before: copies.collect::<Result<_>>()?, graded: HashSet::new(), waiting: (0..lanes).collect() })
    }

    pub(super) fn saw(&mut self, lane: usize, parameters: &Parameters, gradients: &GradStore) {
        self.waiting.remove(&lane);
        let graded = parameters.trained().filter(|parameter| gradients.get(&parameter.var).is_some());
        self.graded.extend(graded.map(|parameter| parameter.name.clone()));
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
            let moved = parameter.var.sub(before)?.abs()?.sum_all()?.to_scalar::<f32>()?;
            if moved == 0.0 {
                return Err(Error::internal(format!("the tensor `{name}` received a gradient but did not move"))
                    .hint("is train.learning_rate too small for f32?"));
            }
        }
        Ok(())
    }
}
