//! Cross-stitch units (Misra et al. 2016, arXiv:1604.03539): each task has the last layers for itself, and between them reads a learnt mixture of what those of
//! all tasks made of its tokens.
//!
//! ```text
//! h_t = Σ_u α[t, u] h_u      h_u [rows, hidden] behind a layer of task u, α [tasks, tasks], begun as `own` for t = u
//! ```
//!
//! A text passes the layers of all tasks, so that these are trained by all. The rows of α begin with a sum of one, and with equal layers: what is computed is
//! then the encoder as it was.

use super::{Meeting, Place, Sharing, SharingKind, all_but, check_meets};
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use crate::strategy::options;
use polyhead_kernels::{Ops, Stitch, Value};
use serde::Deserialize;
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "cross_stitch",
    about: "the last layers are private, and between them each task reads a mixture of all",
    open: |table| {
        let Options { layers, own } = options(table)?;
        check_meets(layers)?;
        check_own(own)?;
        Ok(Box::new(CrossStitch { layers, own }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How many of the last layers each task has for itself.
    layers: usize,
    /// What a task's own layer counts in the beginning.
    own: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: 2, own: 0.9 }
    }
}

pub(super) fn check_own(own: f64) -> Result<()> {
    match own > 0.0 && own <= 1.0 {
        true => Ok(()),
        false => Err(Error::usage(format!("own: expected a number above 0, at most 1, found {own}"))),
    }
}

struct CrossStitch {
    layers: usize,
    own: f64,
}

impl Sharing for CrossStitch {
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        all_but(self.layers, layers)
    }

    fn is_plain_for_each(&self) -> bool {
        false
    }

    fn meeting(&self, place: &Place, weights: &mut Weights) -> Result<Option<Arc<dyn Meeting>>> {
        Ok(Some(Arc::new(stitches(place.layer, 1, self.own, weights)?)))
    }
}

/// The mixture of each task, of so many blocks of hidden states, where it counts `own` in the beginning and the others share the rest.
pub(super) fn stitches(layer: usize, blocks: usize, own: f64, weights: &mut Weights) -> Result<Stitches> {
    let tasks = weights.tasks().len();
    let others = (1.0 - own) / (tasks.max(2) - 1) as f64;
    let of_tasks = weights.for_each_task(|weights, task| {
        let shape = [blocks, tasks * blocks];
        let change = weights.get_or_begin(&format!("meeting.{layer}.stitch"), &shape, Role::Bias, Init::Zeros)?;
        let start = |at: usize| {
            let (to, from) = (at / shape[1], at % shape[1]);
            match (from % blocks == to, from / blocks == task) {
                (true, true) if tasks == 1 => 1.0,
                (true, true) => own as f32,
                (true, false) => others as f32,
                (false, _) => 0.0,
            }
        };
        Ok(Stitch { start: (0..shape.iter().product()).map(start).collect(), change })
    })?;
    Ok(Stitches(of_tasks))
}

/// The mixtures of all tasks at one place.
pub(super) struct Stitches(Vec<Stitch>);

impl Meeting for Stitches {
    fn of_task(&self, ops: &mut dyn Ops, task: usize, streams: &[Value]) -> candle_core::Result<Value> {
        match self.0.get(task) {
            Some(stitch) => ops.stitched(&streams.iter().collect::<Vec<_>>(), stitch),
            None => candle_core::bail!("no mixture of a task {task}"),
        }
    }
}
