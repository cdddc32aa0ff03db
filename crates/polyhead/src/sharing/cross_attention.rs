//! Cross-task attention: each task has the last layers for itself, and between them its tokens attend to the same text as the layers of the other tasks see it.
//!
//! ```text
//! h_t = h_t + O_t mean_u≠t attention(Q_t h_t, K_t h_u, V_t h_u)      h [rows, hidden] behind a layer, Q K V O [hidden, hidden]
//! ```
//!
//! Attention has the heads of the encoder's own (Vaswani et al. 2017, arXiv:1706.03762), inside of each sequence. O begins with zeros: what is computed is then the encoder
//! as it was. A text passes the layers of all tasks, so that these are trained by all.

use super::{Meeting, Place, Sharing, SharingKind, all_but, check_meets};
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use crate::strategy::options;
use polyhead_kernels::{Attention, DropoutAt, Linear, Ops, Part, Value};
use serde::Deserialize;
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "cross_attention",
    about: "the last layers are private, and between them each task attends to the others",
    open: |table| {
        let Options { layers } = options(table)?;
        check_meets(layers)?;
        Ok(Box::new(CrossAttention { layers }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How many of the last layers each task has for itself.
    layers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: 2 }
    }
}

struct CrossAttention {
    layers: usize,
}

impl Sharing for CrossAttention {
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        all_but(self.layers, layers)
    }

    fn is_plain_for_each(&self) -> bool {
        false
    }

    fn meeting(&self, place: &Place, weights: &mut Weights) -> Result<Option<Arc<dyn Meeting>>> {
        let (hidden, heads) = (place.width.hidden, place.width.heads);
        let of_tasks = weights.for_each_task(|weights, _| {
            let mut part = |name: &str, init: Init| {
                let name = format!("meeting.{}.{name}", place.layer);
                let weight = weights.get_or_begin(&format!("{name}.weight"), &[hidden; 2], Role::Weight, init)?;
                let bias = weights.get_or_begin(&format!("{name}.bias"), &[hidden], Role::Bias, Init::Zeros)?;
                Ok::<_, Error>(Part::new(weight, Some(bias)))
            };
            let uniform = Init::Uniform(1.0 / (hidden as f64).sqrt());
            let layer = |parts| Arc::new(Linear::new(parts));
            Ok(OfTask {
                query: layer(vec![part("query", uniform)?]),
                key_value: layer(vec![part("key", uniform)?, part("value", uniform)?]),
                output: layer(vec![part("output", Init::Zeros)?]),
                heads,
            })
        })?;
        Ok(Some(Arc::new(OfTasks(of_tasks))))
    }
}

/// What all tasks have at one place.
struct OfTasks(Vec<OfTask>);

struct OfTask {
    query: Arc<Linear>,
    key_value: Arc<Linear>,
    output: Arc<Linear>,
    heads: usize,
}

impl Meeting for OfTasks {
    fn of_task(&self, ops: &mut dyn Ops, task: usize, streams: &[Value]) -> candle_core::Result<Value> {
        let (Some(own), Some(of_task)) = (streams.get(task), self.0.get(task)) else {
            candle_core::bail!("no hidden states of a task {task}")
        };
        match streams.len() {
            1 => Ok(own.clone()),
            _ => of_task.forward(ops, own, streams, task),
        }
    }
}

impl OfTask {
    /// The hidden states of a task, with what it reads of the others.
    fn forward(&self, ops: &mut dyn Ops, own: &Value, streams: &[Value], task: usize) -> candle_core::Result<Value> {
        let query = ops.linear(own, &self.query)?;
        let mut read = Vec::with_capacity(streams.len() - 1);
        for (_, other) in streams.iter().enumerate().filter(|(other, _)| *other != task) {
            let key_value = ops.linear(other, &self.key_value)?;
            let qkv = ops.concat(&[&query, &key_value])?;
            read.push(ops.attention(&qkv, Attention::plain(self.heads, DropoutAt::new(0.0, "meeting")))?);
        }
        let share = 1.0 / read.len() as f32;
        let mean = match read.as_slice() {
            [only] => only.clone(),
            several => ops.weighted_sum(&several.iter().map(|one| (one, share)).collect::<Vec<_>>())?,
        };
        ops.linear_residual(&mean, &self.output, own, DropoutAt::new(0.0, "meeting"))
    }
}
