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

mod aligned;
mod averaged;
mod cagrad;
mod db_mtl;
mod dwa;
mod equal;
mod excess;
mod fairgrad;
mod famo;
mod gls;
mod graddrop;
mod gradient_similarity;
mod gradnorm;
mod gradvac;
mod imtl_g;
mod imtl_l;
mod means;
mod mgda;
mod mgda_ub;
mod moco;
mod nash;
mod pcgrad;
mod rlw;
mod sdmgrad;
mod solve;
mod stch;
mod uncertainty;
mod upgrad;

use means::MeanLosses;

use crate::error::{Error, Result};
use crate::parameters::{Gradients, KeptGradients, Parameters};
use crate::strategy::{Learnt, Registered, not_negative, positive, restored, softmax};
use polyhead_kernels::HeadGradients;
use polyhead_kernels::rng::Key;
use serde_json::Value;

/// The balancers that a recipe can name, in the order in which they are shown.
pub const BALANCERS: &[BalancerKind] = &[
    equal::KIND,
    // By losses, also with one task a step.
    uncertainty::KIND,
    imtl_l::KIND,
    dwa::KIND,
    rlw::KIND,
    // By the losses of several tasks.
    gls::KIND,
    stch::KIND,
    famo::KIND,
    // By the gradients of several tasks.
    gradnorm::KIND,
    mgda::KIND,
    pcgrad::KIND,
    gradvac::KIND,
    cagrad::KIND,
    imtl_g::KIND,
    nash::KIND,
    fairgrad::KIND,
    aligned::KIND,
    upgrad::KIND,
    gradient_similarity::KIND,
    sdmgrad::KIND,
    // By the gradients of several tasks on the hidden states of one batch.
    mgda_ub::KIND,
    graddrop::KIND,
    // By gradients that are kept from step to step.
    db_mtl::KIND,
    moco::KIND,
    excess::KIND,
];

/// An entry of [`BALANCERS`].
pub type BalancerKind = Registered<dyn Balancer>;

/// What a balancer must know of a step before it can weigh its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing of the step itself: the weights are known before its backward passes, which then add up in place.
    Nothing,
    /// The losses of all its tasks.
    Losses,
    /// The gradients of all its tasks on the shared encoder: [`Balancer::combine`] has them.
    Gradients,
    /// The same, and their dot products. They can only be compared where a step has several tasks.
    Products,
    /// The gradients of all its tasks on the last hidden states of the encoder, where one batch feeds all of them: [`Balancer::join`] changes them within
    /// the backward pass.
    HiddenGradients,
}

/// Changes the gradients of tasks on the hidden states of their batch, in the order of the step, and returns the weights that are shown.
pub type JoinTasks = Box<dyn FnOnce(HeadGradients) -> Vec<f64> + Send>;

/// Weighs the tasks of a step.
pub trait Balancer: Send {
    /// What [`Balancer::weigh`] must know.
    fn needs(&self) -> Needs;

    /// The task that the others are to help, if it names one.
    fn target(&self) -> Option<&str> {
        None
    }

    /// Whether it must know the dot products of gradients of two more batches of each task, drawn by chance: two passes of each task more.
    fn needs_independent_products(&self) -> bool {
        false
    }

    /// Whether [`Balancer::observe`] must know the losses of the same batches after the update, which is one forward pass more.
    fn needs_losses_after(&self) -> bool {
        false
    }

    /// A weight for each task of a step, in their order. For [`Needs::Nothing`] and [`Needs::Losses`] they multiply the losses, else the
    /// gradients on the shared encoder. Left out, each weighs 1.
    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        Ok(vec![1.0; step.tasks.len()])
    }

    /// The gradient of the step, and the weights that are shown, for a balancer that needs gradients. Left out, it is the weighted sum; a strategy that no weights
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

    /// What becomes of the gradients on the hidden states, for [`Needs::HiddenGradients`].
    fn join(&mut self, _step: &StepTasks) -> Result<JoinTasks> {
        Err(Error::internal("a balancer without a join was asked for one"))
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

    /// The gradients that it keeps from step to step, which a checkpoint holds beside its state.
    fn kept(&self) -> Option<&KeptGradients> {
        None
    }

    /// Takes back what [`Balancer::kept`] gave.
    fn restore_kept(&mut self, _kept: KeptGradients) {}
}

/// The tasks of a step and what is known of them.
#[derive(Debug, Clone)]
pub struct StepTasks<'a> {
    /// The tasks, as indices, in the order of their batches.
    pub tasks: &'a [usize],
    /// All tasks of the run.
    pub count: usize,
    /// The task that [`Balancer::target`] names.
    pub target: Option<usize>,
    /// The epoch, from 0.
    pub epoch: usize,
    /// The mean loss of each, times the weight that the recipe sets. Before the forward passes they are not known.
    pub losses: Option<&'a [f64]>,
    /// The same of the same batches after the update, for a balancer that asks for them.
    pub after: Option<&'a [f64]>,
    /// The dot products of their gradients on the shared encoder, `[task][task]`, if they are needed.
    pub products: Option<&'a [Vec<f64>]>,
    /// The dot products of gradients of two other batches of each: `[task of the first][task of the second]`, for a balancer that asks for them.
    pub independent: Option<&'a [Vec<f64>]>,
    /// The key of what is drawn in this step.
    pub key: Key,
}

impl<'a> StepTasks<'a> {
    /// Tasks of which nothing is known yet.
    pub fn new(tasks: &'a [usize], count: usize, epoch: usize, key: Key) -> Self {
        Self { tasks, count, epoch, key, target: None, losses: None, after: None, products: None, independent: None }
    }

    /// The losses, for a balancer that needs them.
    fn losses(&self) -> Result<&[f64]> {
        self.losses.ok_or_else(|| Error::internal("a balancer asked for losses before the forward passes"))
    }

    /// The dot products, for a balancer that needs gradients.
    fn products(&self) -> Result<&[Vec<f64>]> {
        self.products.ok_or_else(|| Error::internal("a balancer asked for gradients that were not computed"))
    }

    /// Where in the step the target is.
    fn place_of_target(&self) -> Option<usize> {
        self.tasks.iter().position(|&task| self.target == Some(task))
    }
}

/// The logarithm of a learnt weight stays within this: beyond it a weight is below 1/100 or above 100, and a task would be trained no more, or alone.
const LARGEST: f64 = 4.6;

/// The logarithm of a loss; one of 0 counts as very small.
fn logarithm(loss: f64) -> f64 {
    loss.max(1e-20).ln()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::solve::{Matrix, dot};
    use super::*;

    /// Tasks with their losses and gradients.
    struct Case {
        losses: Vec<f64>,
        gradients: Vec<Vec<f64>>,
    }

    impl Case {
        fn random(tasks: usize, seed: u64) -> Self {
            let key = Key::seed(seed);
            let gradient = |task: usize| (0..9).map(|at| key.with(task as u64).normal(at)).collect();
            let losses = (0..tasks).map(|task| 0.1 + 3.0 * key.uniform(task as u64)).collect();
            Self { losses, gradients: (0..tasks).map(gradient).collect() }
        }

        fn permuted(&self, order: &[usize]) -> Self {
            let losses = order.iter().map(|&task| self.losses[task]).collect();
            Self { losses, gradients: order.iter().map(|&task| self.gradients[task].clone()).collect() }
        }

        /// The weights of a step, which is observed.
        fn weights(&self, balancer: &mut dyn Balancer, tasks: &[usize], step: usize) -> Vec<f64> {
            let of = |a: &Vec<f64>| self.gradients.iter().map(|b| dot(a, b)).collect();
            let products: Matrix = self.gradients.iter().map(of).collect();
            let (losses, products) = (Some(&self.losses[..]), Some(&products[..]));
            let key = Key::seed(7).with(step as u64);
            let after = self.losses.iter().map(|loss| 0.9 * loss.sqrt()).collect::<Vec<_>>();
            let (count, epoch) = (tasks.len(), step / 2);
            let (target, after, independent) = (Some(0), Some(&after[..]), products);
            let step =
                StepTasks { target, losses, after, products, independent, ..StepTasks::new(tasks, count, epoch, key) };
            let weights = balancer.weigh(&step).unwrap();
            balancer.observe(&step, 1.0);
            weights
        }
    }

    fn open(kind: &BalancerKind) -> Box<dyn Balancer> {
        let with_target = || (kind.open)(&toml::from_str("target = 'a'").unwrap());
        (kind.open)(&toml::Table::new()).or_else(|_| with_target()).unwrap()
    }

    /// Those whose weights do not come of the backward pass.
    fn weighing() -> impl Iterator<Item = &'static BalancerKind> {
        BALANCERS.iter().filter(|kind| open(kind).needs() != Needs::HiddenGradients)
    }

    /// Weights of ten steps of five epochs.
    fn run(balancer: &mut dyn Balancer, cases: &[Case], tasks: &[usize]) -> Vec<Vec<f64>> {
        cases.iter().enumerate().map(|(step, case)| case.weights(balancer, tasks, step)).collect()
    }

    fn cases(tasks: usize) -> Vec<Case> {
        (0..10).map(|seed| Case::random(tasks, seed)).collect()
    }

    #[test]
    fn losses_and_gradients_of_any_size_have_finite_weights() {
        for kind in weighing() {
            let mut balancer = open(kind);
            for (step, size) in [0.0, 1e-30, 1e30, 1.0, 0.0, 1e30, 1e-30, 1.0].into_iter().enumerate() {
                for large in 0..4 {
                    let mut case = Case::random(3, step as u64);
                    let scale = |task: usize| if task == large || large == 3 { size } else { 1.0 };
                    (0..3).for_each(|task| {
                        case.losses[task] *= scale(task);
                        // Products of 1e30 would be those of no gradient in f32.
                        let by = scale(task).min(1e10);
                        case.gradients[task].iter_mut().for_each(|value| *value *= by);
                    });
                    let weights = case.weights(&mut *balancer, &[0, 1, 2], step);
                    let finite = weights.iter().all(|weight| weight.is_finite());
                    assert!(finite && weights.len() == 3, "{}: {size} of {large}: {weights:?}", kind.name);
                }
            }
            // Opposite gradients, equal ones, and none.
            for gradients in [[1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]] {
                let case = Case { losses: vec![1.0; 3], gradients: gradients.map(|value| vec![value, 0.0]).to_vec() };
                let weights = case.weights(&mut *balancer, &[0, 1, 2], 9);
                assert!(weights.iter().all(|weight| weight.is_finite()), "{}: {gradients:?}: {weights:?}", kind.name);
            }
        }
    }

    #[test]
    fn the_order_of_tasks_changes_nothing() {
        // Those that draw do not weigh by what a task is.
        let drawing = ["rlw", "pcgrad", "gradvac"];
        for kind in weighing().filter(|kind| !drawing.contains(&kind.name)) {
            for tasks in 2..5 {
                let order: Vec<usize> = Key::seed(tasks as u64).permutation(tasks);
                let (mut one, mut other) = (open(kind), open(kind));
                let straight = run(&mut *one, &cases(tasks), &(0..tasks).collect::<Vec<_>>());
                let permuted: Vec<Case> = cases(tasks).iter().map(|case| case.permuted(&order)).collect();
                for (straight, permuted) in straight.iter().zip(run(&mut *other, &permuted, &order)) {
                    for (at, &task) in order.iter().enumerate() {
                        let (want, found) = (straight[task], permuted[at]);
                        assert!(
                            (want - found).abs() <= 1e-6 * (1.0 + want.abs()),
                            "{}: {straight:?}, {permuted:?}",
                            kind.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_learnt_comes_back_from_a_checkpoint_and_no_other_state_does() {
        for kind in weighing() {
            let (mut once, mut first) = (open(kind), open(kind));
            let cases = cases(3);
            let tasks = [0, 1, 2];
            let all = run(&mut *once, &cases, &tasks);
            run(&mut *first, &cases[..6], &tasks);
            let text = first.state().to_string();
            let mut resumed = open(kind);
            resumed.restore(&serde_json::from_str(&text).unwrap()).unwrap();
            for (step, case) in cases.iter().enumerate().skip(6) {
                let weights = case.weights(&mut *resumed, &tasks, step);
                assert_eq!(
                    weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>(),
                    all[step].iter().map(|w| w.to_bits()).collect::<Vec<_>>(),
                    "{}",
                    kind.name
                );
            }
            assert!(open(kind).restore(&serde_json::json!([1])).is_err(), "{}", kind.name);
            open(kind).restore(&Value::Null).unwrap();
        }
    }

    #[test]
    fn no_task_loses_along_the_step_of_those_that_promise_it() {
        for name in ["mgda", "nash", "fairgrad", "upgrad"] {
            let kind = crate::strategy::find(BALANCERS, name).unwrap();
            for seed in 0..30 {
                let case = Case::random(3, seed);
                let weights = case.weights(&mut *open(kind), &[0, 1, 2], 0);
                let along = |task: usize| -> f64 {
                    weights
                        .iter()
                        .zip(&case.gradients)
                        .map(|(weight, other)| weight * dot(&case.gradients[task], other))
                        .sum()
                };
                assert!((0..3).all(|task| along(task) > -1e-2), "{name}: {:?}", (0..3).map(along).collect::<Vec<_>>());
            }
        }
    }
}
