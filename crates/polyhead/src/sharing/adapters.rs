//! Bottleneck adapters: the encoder is frozen, and in each layer every task has small networks of its own.
//!
//! ```text
//! a(x) = U f(D x + d) + u               D [width, hidden], U [hidden, width], width = hidden / reduction
//!
//! houlsby    LN(a(y) + y + r)           behind attention and behind the feed-forward network, f = silu
//! pfeiffer   LN(a(LN(y + r)) + y + r)   behind the feed-forward network, f = relu
//! parallel   LN(4 a(r) + y + r)         beside the feed-forward network, f = relu
//! ```
//!
//! y is what the sub-layer makes of r. Houlsby et al. 2019 (arXiv:1902.00751), Pfeiffer et al. 2021 (arXiv:2005.00247), He et al. 2022 (arXiv:2110.04366), as the library
//! `adapters` has them (`double_seq_bn`, `seq_bn`, `par_bn`). U and u begin with zeros, so that training begins with the encoder as it is.

use super::{End, Insert, Sharing, SharingKind, Site, SubLayer};
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use crate::strategy::options;
use polyhead_kernels::{Activation, DropoutAt, Linear, Ops, Part, Value};
use serde::Deserialize;
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "adapters",
    about: "the encoder is frozen, each task has small networks in every layer",
    open: |table| {
        let Options { form, reduction } = options(table)?;
        if reduction.is_some_and(|reduction| reduction == 0) {
            return Err(Error::usage("reduction: expected at least 1, found 0"));
        }
        Ok(Box::new(Adapters { form, reduction: reduction.unwrap_or(form.reduction()) }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Where they stand.
    form: Form,
    /// How many times narrower than hidden states they are.
    reduction: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { form: Form::Pfeiffer, reduction: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Houlsby,
    Pfeiffer,
    Parallel,
}

impl Form {
    fn reduction(self) -> usize {
        match self {
            Self::Houlsby | Self::Pfeiffer => 16,
            Self::Parallel => 2,
        }
    }

    fn activation(self) -> Activation {
        match self {
            Self::Houlsby => Activation::Silu,
            Self::Pfeiffer | Self::Parallel => Activation::Relu,
        }
    }
}

/// What the output of a parallel adapter is multiplied by.
const PARALLEL_SCALE: f32 = 4.0;

struct Adapters {
    form: Form,
    reduction: usize,
}

impl Sharing for Adapters {
    fn freezes_encoder(&self) -> bool {
        true
    }

    fn is_plain_for_each(&self) -> bool {
        false
    }

    fn is_inside_layers(&self) -> bool {
        true
    }

    fn insert(&self, site: &Site, weights: &mut Weights) -> Result<Option<Arc<dyn Insert>>> {
        if site.of == SubLayer::Attention && self.form != Form::Houlsby {
            return Ok(None);
        }
        let (hidden, width) = (site.hidden, site.hidden / self.reduction);
        // Products in bf16 take their factors in pairs.
        if width == 0 || !width.is_multiple_of(2) {
            let message = format!(
                "sharing.reduction: expected a number that makes {hidden}, the width of hidden states, an even width, found {}",
                self.reduction
            );
            return Err(Error::usage(message));
        }
        let adapters = weights.for_each_task(|weights, _| {
            let mut layer = |name: &str, inner: usize, outer: usize, init| {
                let name = format!("{}.adapter.{name}", site.name);
                let weight = weights.get_or_begin(&format!("{name}.weight"), &[outer, inner], Role::Weight, init)?;
                let bias = weights.get_or_begin(&format!("{name}.bias"), &[outer], Role::Bias, Init::Zeros)?;
                Ok::<_, Error>(Arc::new(Linear::new(vec![Part::new(weight, Some(bias))])))
            };
            let down = layer("down", hidden, width, Init::Uniform(1.0 / (hidden as f64).sqrt()))?;
            Ok(Adapter { form: self.form, down, up: layer("up", width, hidden, Init::Zeros)? })
        })?;
        Ok(Some(Arc::new(OfTasks(adapters))))
    }
}

/// The adapters of all tasks at one place.
struct OfTasks(Vec<Adapter>);

struct Adapter {
    form: Form,
    down: Arc<Linear>,
    up: Arc<Linear>,
}

impl Insert for OfTasks {
    fn forward(&self, ops: &mut dyn Ops, end: End) -> candle_core::Result<Value> {
        ops.of_each_task(&[end.y, end.residual], &|ops, task, rows| {
            let ([y, residual], Some(adapter)) = (rows, self.0.get(task)) else {
                candle_core::bail!("no adapter of a task {task}")
            };
            adapter.forward(ops, End { y, residual, norm: end.norm })
        })
    }
}

impl Adapter {
    fn forward(&self, ops: &mut dyn Ops, End { y, residual, norm }: End) -> candle_core::Result<Value> {
        let (no_dropout, activation) = (DropoutAt::new(0.0, "adapter"), self.form.activation());
        let normal = |ops: &mut dyn Ops, x: Value| match norm {
            Some(norm) => ops.layer_norm(&x, norm),
            None => Ok(x),
        };
        if self.form == Form::Parallel {
            let inner = ops.linear_activation(residual, &self.down, activation)?;
            let beside = ops.linear(&inner, &self.up)?;
            let sum = ops.weighted_sum(&[(&beside, PARALLEL_SCALE), (y, 1.0), (residual, 1.0)])?;
            return normal(ops, sum);
        }
        let sum = ops.add(y, residual)?;
        let input = if self.form == Form::Houlsby { y.clone() } else { normal(ops, sum.clone())? };
        let inner = ops.linear_activation(&input, &self.down, activation)?;
        match norm {
            Some(norm) => ops.linear_residual_norm(&inner, &self.up, &sum, norm, no_dropout),
            None => ops.linear_residual(&inner, &self.up, &sum, no_dropout),
        }
    }
}
