//! Learnt mixtures of what the layers of all tasks make of the same tokens: `h_t[g] = Σ_u Σ_h α[t, g, u, h] h_u[h]` (`polyhead_kernels`, `stitch.rs`).

use super::Meeting;
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use polyhead_kernels::{Ops, Stitch, Value};

pub(super) fn check_own(own: f64) -> Result<()> {
    match own > 0.0 && own <= 1.0 {
        true => Ok(()),
        false => Err(Error::usage(format!("own: expected a number above 0, at most 1, found {own}"))),
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
