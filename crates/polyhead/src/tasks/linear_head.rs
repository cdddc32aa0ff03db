//! A linear layer of a head: how it is declared, how it begins, and what it computes.

use crate::encoders::Precision;
use crate::error::Result;
use crate::parameters::{Init, Role, Weights};
use candle_core::Tensor;
use polyhead_kernels::{self as kernels, Activation, DropoutAt, Linear, Ops, Part, Weight};
use std::sync::Arc;

/// What a head must fit.
#[derive(Debug, Clone, Copy)]
pub struct HeadShape {
    /// The width of the hidden states.
    pub hidden: usize,
}

/// A linear layer of a head, or several side by side, in f32: a head is small.
#[derive(Clone)]
pub struct LinearHead {
    layer: Arc<Linear>,
}

impl LinearHead {
    /// Declares `{name}.weight` and `{name}.bias`. New ones are uniform within `1 / sqrt(hidden)`, as those of
    /// `torch.nn.Linear` (see docs/adr/0008-heads-begin-as-torch-linear.md).
    pub fn open(weights: &mut Weights, name: &str, shape: HeadShape, outputs: usize) -> Result<Self> {
        let init = Init::Uniform(1.0 / (shape.hidden as f64).sqrt());
        let weight = weights.get_or_init(&format!("{name}.weight"), &[outputs, shape.hidden], Role::Weight, init)?;
        let bias = weights.get_or_init(&format!("{name}.bias"), &[outputs], Role::Bias, init)?;
        Ok(Self::of(vec![Part::new(weight, Some(bias))]))
    }

    /// The same, `[hidden, hidden]`; a new one begins as a copy of the first layer of these names that the encoder has.
    pub fn open_copy(weights: &mut Weights, name: &str, shape: HeadShape, of: &[&str]) -> Result<Self> {
        let of = of.iter().find(|of| weights.declared(&format!("{of}.weight"))).copied().unwrap_or_default();
        let (hidden, init) = (shape.hidden, Init::Uniform(1.0 / (shape.hidden as f64).sqrt()));
        let mut part = |part: &str, dims: &[usize], role| {
            weights.get_or_copy(&format!("{name}.{part}"), &format!("{of}.{part}"), dims, role, init)
        };
        let weight = part("weight", &[hidden, hidden], Role::Weight)?;
        let bias = part("bias", &[hidden], Role::Bias)?;
        Ok(Self::of(vec![Part::new(weight, Some(bias))]))
    }

    /// The same with an output for each label. A head that begins with one of a checkpoint keeps its rows by label: see
    /// [`Weights::get_or_init_by_label`].
    pub fn open_by_label(weights: &mut Weights, name: &str, shape: HeadShape, labels: &[String]) -> Result<Self> {
        let init = Init::Uniform(1.0 / (shape.hidden as f64).sqrt());
        let weight =
            weights.get_or_init_by_label(&format!("{name}.weight"), labels, &[shape.hidden], Role::Weight, init)?;
        let bias = weights.get_or_init_by_label(&format!("{name}.bias"), labels, &[], Role::Bias, init)?;
        Ok(Self::of(vec![Part::new(weight, Some(bias))]))
    }

    /// Of tensors that were declared: weights `[outputs, hidden]`, biases `[outputs]`.
    pub fn new(weight: Weight, bias: Option<Weight>) -> Self {
        Self::of(vec![Part::new(weight, bias)])
    }

    fn of(parts: Vec<Part>) -> Self {
        Self { layer: Arc::new(Linear::new(parts).in_precision(Precision::F32)) }
    }

    /// The layers of both in one product, their outputs side by side.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        Self::of([self.layer.parts(), other.layer.parts()].concat())
    }

    /// `[rows, hidden] -> [rows, outputs]`, with dropout before it where there is any.
    pub fn apply(&self, ops: &mut dyn Ops, x: &kernels::Value, dropout: Option<DropoutAt>) -> Result<kernels::Value> {
        Ok(match dropout {
            Some(dropout) => ops.dropout_linear(x, &self.layer, dropout)?,
            None => ops.linear(x, &self.layer)?,
        })
    }

    /// `[rows, hidden] -> [rows, outputs]`, with a function behind it.
    pub fn activated(&self, ops: &mut dyn Ops, x: &kernels::Value, activation: Activation) -> Result<kernels::Value> {
        let y = ops.linear(x, &self.layer)?;
        Ok(ops.activation(&y, activation)?)
    }

    /// Its weights `[outputs, hidden]`, for other programs.
    pub fn weight(&self) -> Result<Tensor> {
        let parts =
            self.layer.parts().iter().map(|part| part.weight.tensor()).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// Its biases `[outputs]`, for other programs.
    pub fn bias(&self) -> Result<Tensor> {
        let biases = self.layer.parts().iter().filter_map(|part| part.bias.as_ref());
        let biases = biases.map(Weight::tensor).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&biases, 0)?)
    }
}
