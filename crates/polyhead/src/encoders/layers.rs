//! The layers of an encoder, one after the other: first those that all tasks share, then those that each has for itself.
//!
//! ```text
//! h [rows, hidden] -> shared layers -> rows of a head -> the layers of its task -> h [rows of the head, hidden]
//! ```
//!
//! Where the tasks' own layers meet (`sharing`), the rows of a head pass those of all tasks.

use super::{HiddenStateCallback, Reads};
use crate::error::{Error, Result};
use crate::parameters::Weights;
use crate::sharing::{End, Insert, Meeting, Place, Sharing, Width};
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{DropoutAt, Linear, Ops, Stitch, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a layer makes of hidden states: at which depth, and which of them are read.
pub(super) type Forward<'a, L> = dyn Fn(&mut dyn Ops, &L, &Value, (usize, Reads)) -> candle_core::Result<Value> + 'a;

/// The layers of an encoder: the different ones, and which of them comes at each depth.
pub(super) struct Layers<L> {
    shared: Stack<L>,
    /// Those of each task.
    private: Vec<Stack<L>>,
    /// What these give to each other, behind each but the last.
    meetings: Vec<Option<Arc<dyn Meeting>>>,
    /// How the head of each task mixes what its own make; none: it reads the last.
    mixtures: Vec<Stitch>,
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

    fn at(&self, depth: usize) -> Result<&L> {
        let layer = self.order.get(depth).and_then(|at| self.different.get(*at));
        layer.ok_or_else(|| Error::internal(format!("no layer {depth} of a task")))
    }
}

impl<L> Layers<L> {
    /// Declares layers that come in this order of numbers; `open` declares the one of a number, which comes last at a depth.
    ///
    /// # Errors
    /// A tensor is wrong, or the recipe's way of sharing asks for layers that are not there.
    pub fn open(
        numbers: &[usize],
        width: Width,
        sharing: &dyn Sharing,
        weights: &mut Weights,
        mut open: impl FnMut(&mut Weights, usize, usize) -> Result<L>,
    ) -> Result<Self> {
        let below = sharing.shared_layers(numbers.len())?;
        let (shared, own) = numbers.split_at(below.min(numbers.len()));
        let last = |number: usize| numbers.iter().rposition(|one| *one == number).unwrap_or(0);
        let shared = Stack::open(shared, |number| open(weights, number, last(number)))?;
        let private = match own {
            [] => Vec::new(),
            own => {
                weights.for_each_task(|weights, _| Stack::open(own, |number| open(weights, number, last(number))))?
            }
        };
        let (mut meetings, mut mixtures) = (Vec::new(), Vec::new());
        if let Some(last) = own.len().checked_sub(1) {
            let mut meeting = |layer| sharing.meeting(&Place { layer, width }, weights);
            meetings = (below..below + last).map(&mut meeting).collect::<Result<_>>()?;
            mixtures = sharing.mixtures(own.len(), weights)?;
        }
        Ok(Self { shared, private, meetings, mixtures })
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
        if self.are_shared() {
            return Ok(h.clone());
        }
        let (first, depth) = (self.shared_depth(), self.depth());
        let no_task = || Error::internal(format!("no layers of a task {task}"));
        // What the layers of each task made of these rows.
        let mut streams = vec![h.clone(); self.private.len()];
        let mut own = Vec::with_capacity(depth - first);
        for at in first..depth {
            // A mixture is one of the same rows.
            let reads = if self.mixtures.is_empty() { reads.of_layer(at, depth) } else { Reads::AllTokens };
            // Those of others are of use as long as they will meet.
            let is_read =
                |number: usize, from: usize| number == task || self.meetings.iter().skip(from).any(Option::is_some);
            for (number, (stream, layers)) in streams.iter_mut().zip(&self.private).enumerate() {
                if is_read(number, at - first) {
                    *stream = forward(ops, layers.at(at - first)?, stream, (at, reads))?;
                }
            }
            if let Some(Some(meeting)) = self.meetings.get(at - first) {
                let before = streams.clone();
                for (number, stream) in streams.iter_mut().enumerate() {
                    if is_read(number, at - first + 1) {
                        *stream = meeting.of_task(ops, number, &before)?;
                    }
                }
            }
            own.push(streams.get(task).ok_or_else(no_task)?.clone());
        }
        match self.mixtures.get(task) {
            Some(mixture) => Ok(ops.stitched(&own.iter().collect::<Vec<_>>(), mixture)?),
            None => own.pop().ok_or_else(no_task),
        }
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
