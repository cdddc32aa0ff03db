//! The layers of an encoder, one after the other: first those that all tasks share, then those that each has for itself.
//!
//! ```text
//! h [rows, hidden] -> shared layers -> rows of a head -> the layers of its task -> h [rows of the head, hidden]
//! ```

use super::{HiddenStateCallback, Reads};
use crate::error::{Error, Result};
use crate::parameters::Weights;
use crate::sharing::{End, Insert, Sharing};
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{DropoutAt, Linear, Ops, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a layer makes of hidden states: at which depth, and which of them are read.
pub(super) type Forward<'a, L> = dyn Fn(&mut dyn Ops, &L, &Value, (usize, Reads)) -> candle_core::Result<Value> + 'a;

/// The layers of an encoder: the different ones, and which of them comes at each depth.
pub(super) struct Layers<L> {
    shared: Stack<L>,
    /// Those of each task.
    private: Vec<Stack<L>>,
}

struct Stack<L> {
    different: Vec<L>,
    order: Vec<usize>,
}

impl<L> Stack<L> {
    /// Declares those that come in this order of numbers; `open` declares one.
    fn open(numbers: &[usize], mut open: impl FnMut(usize) -> Result<L>) -> Result<Self> {
        let different: Vec<usize> = numbers.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let order = numbers.iter().filter_map(|number| different.iter().position(|one| one == number)).collect();
        Ok(Self { different: different.into_iter().map(&mut open).collect::<Result<_>>()?, order })
    }

    fn in_order(&self) -> impl Iterator<Item = &L> {
        self.order.iter().filter_map(|at| self.different.get(*at))
    }
}

impl<L> Layers<L> {
    /// Declares layers that come in this order of numbers; `open` declares the one of a number, which comes last at a depth.
    ///
    /// # Errors
    /// A tensor is wrong, or the recipe's way of sharing asks for layers that are not there.
    pub fn open(
        numbers: &[usize],
        sharing: &dyn Sharing,
        weights: &mut Weights,
        mut open: impl FnMut(&mut Weights, usize, usize) -> Result<L>,
    ) -> Result<Self> {
        let shared = sharing.shared_layers(numbers.len())?;
        let (shared, own) = numbers.split_at(shared.min(numbers.len()));
        let last = |number: usize| numbers.iter().rposition(|one| *one == number).unwrap_or(0);
        let shared = Stack::open(shared, |number| open(weights, number, last(number)))?;
        let mut private = Vec::new();
        if !own.is_empty() {
            for task in weights.tasks().to_vec() {
                let of_task = |weights: &mut Weights| Stack::open(own, |number| open(weights, number, last(number)));
                private.push(weights.private_to(&task, of_task)?);
            }
        }
        Ok(Self { shared, private })
    }

    /// How many one behind the other.
    pub fn depth(&self) -> usize {
        self.shared_depth() + self.private.first().map_or(0, |own| own.order.len())
    }

    /// How many of them all tasks share.
    pub fn shared_depth(&self) -> usize {
        self.shared.order.len()
    }

    /// Whether no task has one for itself.
    pub fn are_shared(&self) -> bool {
        self.private.is_empty()
    }

    /// Runs hidden states through those that are shared; `each` sees what stands before every one of them, and behind the last.
    pub fn forward(
        &self,
        ops: &mut dyn Ops,
        mut h: Value,
        reads: Reads,
        mut each: Option<&mut HiddenStateCallback>,
        forward: &Forward<L>,
    ) -> Result<Value> {
        for (depth, layer) in self.shared.in_order().enumerate() {
            if let Some(each) = &mut each {
                each(h.to_tensor()?);
            }
            h = forward(ops, layer, &h, (depth, reads.of_layer(depth, self.depth())))?;
        }
        if let Some(each) = each {
            each(h.to_tensor()?);
        }
        Ok(h)
    }

    /// Runs hidden states of a task through those that are its own, if there are any.
    pub fn of_task(
        &self,
        ops: &mut dyn Ops,
        task: usize,
        h: &Value,
        reads: Reads,
        forward: &Forward<L>,
    ) -> Result<Value> {
        let mut h = h.clone();
        if self.are_shared() {
            return Ok(h);
        }
        let own = self.private.get(task).ok_or_else(|| Error::internal(format!("no layers of a task {task}")))?;
        for (depth, layer) in (self.shared_depth()..).zip(own.in_order()) {
            h = forward(ops, layer, &h, (depth, reads.of_layer(depth, self.depth())))?;
        }
        Ok(h)
    }
}

/// The end of a sub-layer: its last linear layer, dropout, the residual, LayerNorm where it stands there, and what a way of sharing inserts.
pub(super) struct SubLayerEnd {
    pub linear: Arc<Linear>,
    pub norm: Option<Norm>,
    pub insert: Option<Arc<dyn Insert>>,
}

impl SubLayerEnd {
    /// The hidden states behind the sub-layer, of what comes out of its inner part and of what it began with.
    pub fn forward(
        &self,
        ops: &mut dyn Ops,
        inner: &Value,
        residual: &Value,
        dropout: DropoutAt,
    ) -> candle_core::Result<Value> {
        let Self { linear, norm, insert } = self;
        match (insert, norm) {
            (None, Some(norm)) => ops.linear_residual_norm(inner, linear, residual, norm, dropout),
            (None, None) => ops.linear_residual(inner, linear, residual, dropout),
            (Some(insert), norm) => {
                let y = ops.linear(inner, linear)?;
                let y = ops.dropout(&y, dropout)?;
                insert.forward(ops, End { y: &y, residual, norm: norm.as_ref() })
            }
        }
    }
}
