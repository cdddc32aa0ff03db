//! Balancing: how the losses and gradients of several tasks become one gradient. One strategy a file; [`BALANCERS`] lists
//! them.
//!
//! ```text
//! losses, gradients of each task -> Balancer -> a weight for each task -> the gradient of the step
//! ```
//!
//! A balancer says what it needs, and the trainer runs every forward and backward pass. The weights that a recipe sets
//! (`tasks.NAME.loss_weight`) multiply the losses before a balancer sees them. Gradients on the shared encoder are balanced;
//! a head has the gradient of its own task.

mod equal;
mod pcgrad;
mod uncertainty;

use crate::error::{Error, Result};
use crate::parameters::{Gradients, Parameters};
use crate::strategy::Registered;
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The balancers that a recipe can name, in the order in which they are shown.
pub const BALANCERS: &[BalancerKind] = &[equal::KIND, uncertainty::KIND, pcgrad::KIND];

/// An entry of [`BALANCERS`].
pub type BalancerKind = Registered<dyn Balancer>;

/// What a balancer must know of a step before it can weigh its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing of the step itself: the weights are known before its backward passes, which then add up in place.
    Nothing,
    /// The losses of all its tasks.
    Losses,
    /// The gradients of all its tasks on the shared encoder. They can only be compared where a step has several tasks.
    Gradients,
}

/// Weighs the tasks of a step.
pub trait Balancer: Send {
    /// What [`Balancer::weigh`] must know.
    fn needs(&self) -> Needs;

    /// A weight for each task of a step, in their order. For [`Needs::Nothing`] they multiply the losses, else the
    /// gradients on the shared encoder.
    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>>;

    /// The gradient of the step, and the weights that are shown. Left out, it is the weighted sum; a strategy that no weights
    /// can express (one that looks at single elements) does it all here.
    fn combine(
        &mut self,
        step: &StepTasks,
        gradients: Vec<Gradients>,
        parameters: &Parameters,
    ) -> Result<(Gradients, Vec<f64>)> {
        let weights = self.weigh(step)?;
        Ok((Gradients::weighted_sum(gradients, &weights, parameters)?, weights))
    }

    /// Learns from the losses of a step, after its update. The rate is that of the schedule, from 0 to 1.
    fn observe(&mut self, _step: &StepTasks, _rate: f64) {}

    /// What it has learnt, as a checkpoint holds it; `null` if it learns nothing.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Balancer::state`] gave.
    ///
    /// # Errors
    /// It is of another balancer, or of other tasks.
    fn restore(&mut self, state: &Value) -> Result<()> {
        match state {
            Value::Null => Ok(()),
            state => Err(Error::data(format!("expected no state of a balancer, found {state}"))),
        }
    }
}

/// The tasks of a step and what is known of them.
#[derive(Debug, Clone)]
pub struct StepTasks<'a> {
    /// The tasks, as indices, in the order of their batches.
    pub tasks: &'a [usize],
    /// The mean loss of each, times the weight that the recipe sets. Before the forward passes they are not known.
    pub losses: Option<&'a [f64]>,
    /// The dot products of their gradients on the shared encoder, `[task][task]`, if they are needed.
    pub products: Option<&'a [Vec<f64>]>,
    /// The key of what is drawn in this step.
    pub key: Key,
}

impl StepTasks<'_> {
    /// The losses, for a balancer that needs them.
    fn losses(&self) -> Result<&[f64]> {
        self.losses.ok_or_else(|| Error::internal("a balancer asked for losses before the forward passes"))
    }

    /// The dot products, for a balancer that needs gradients.
    fn products(&self) -> Result<&[Vec<f64>]> {
        self.products.ok_or_else(|| Error::internal("a balancer asked for gradients that were not computed"))
    }
}
