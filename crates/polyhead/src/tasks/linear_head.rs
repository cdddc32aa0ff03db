//! A linear layer of a head, perhaps with a dense layer before it: how they are declared, how they begin, and what they compute.
//!
//! ```text
//! hidden [rows, hidden] -> LayerNorm(gelu(x Wᵀ)) [rows, hidden], with `transform` -> x Wᵀ + b [rows, outputs]
//! ```

use super::SingleTaskFolder;
use crate::encoders::{EncoderKind, HeadTransform, Precision};
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use candle_core::Tensor;
use polyhead_kernels::layer_norm::Norm;
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
    transform: Option<Transform>,
    layer: Arc<Linear>,
}

/// What may stand before the linear layer: that of ModernBERT's classes.
#[derive(Clone)]
struct Transform {
    dense: Arc<Linear>,
    norm: Norm,
    gamma: Weight,
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
        Self { transform: None, layer: Arc::new(Linear::new(parts).in_precision(Precision::F32)) }
    }

    /// The same with a dense layer, GELU and LayerNorm before it, if there are to be: `{name}.transform.dense.weight`, `[hidden, hidden]`, and
    /// `{name}.transform.norm.weight`, `[hidden]`.
    pub fn with_transform(self, is: bool, weights: &mut Weights, name: &str, shape: HeadShape) -> Result<Self> {
        if !is {
            return Ok(self);
        }
        let HeadShape { hidden } = shape;
        let init = Init::Uniform(1.0 / (hidden as f64).sqrt());
        let dense =
            weights.get_or_init(&format!("{name}.transform.dense.weight"), &[hidden, hidden], Role::Weight, init)?;
        let gamma = weights.get_or_init(&format!("{name}.transform.norm.weight"), &[hidden], Role::Norm, Init::Ones)?;
        let norm = Norm::without_bias(gamma.clone(), HeadTransform::EPSILON);
        let dense = Arc::new(Linear::new(vec![Part::new(dense, None)]).in_precision(Precision::F32));
        Ok(Self { transform: Some(Transform { dense, norm, gamma }), ..self })
    }

    /// The layers of both in one product, their outputs side by side.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        Self::of([self.layer.parts(), other.layer.parts()].concat())
    }

    /// `[rows, hidden] -> [rows, outputs]`, with dropout before it where there is any.
    pub fn apply(&self, ops: &mut dyn Ops, x: &kernels::Value, dropout: Option<DropoutAt>) -> Result<kernels::Value> {
        let transformed = match &self.transform {
            Some(Transform { dense, norm, .. }) => {
                let y = ops.linear(x, dense)?;
                let y = ops.activation(&y, Activation::Gelu)?;
                Some(ops.layer_norm(&y, norm)?)
            }
            None => None,
        };
        let x = transformed.as_ref().unwrap_or(x);
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

    /// Its tensors as a class of transformers has them, whose linear layer is called `output` where nothing stands before it.
    ///
    /// # Errors
    /// The classes of the encoder have a transform, and the head has none, or the other way round.
    pub fn export(&self, encoder: &EncoderKind, ending: &str, output: &str) -> Result<Vec<(String, Tensor)>> {
        let refuse = |has: &str, wanted: bool| {
            let class = encoder.name.class;
            Error::usage(format!("{class}{ending} of transformers has {has} between encoder and labels"))
                .hint(format!("train it with `transform = {wanted}` in the task's table of the recipe"))
        };
        let (mut tensors, output) = match (encoder.head_transform, &self.transform) {
            (None, None) => (Vec::new(), output),
            (None, Some(_)) => return Err(refuse("no dense layer", false)),
            (Some(_), None) => return Err(refuse("a dense layer and LayerNorm", true)),
            (Some(names), Some(Transform { dense, gamma, .. })) => {
                let dense = dense.parts().first().map(|part| part.weight.tensor()).transpose()?.cloned();
                let named = [(names.dense, dense), (names.norm, Some(gamma.tensor()?.clone()))];
                let named = named.into_iter().filter_map(|(name, tensor)| Some((format!("{name}.weight"), tensor?)));
                (named.collect(), names.output)
            }
        };
        tensors.extend([(format!("{output}.weight"), self.weight()?), (format!("{output}.bias"), self.bias()?)]);
        Ok(tensors)
    }

    /// Renames the tensors before the linear layer of a folder of transformers to those of the head `name`; says whether there are any, and what
    /// the linear layer is called.
    ///
    /// # Errors
    /// They are of another form than here.
    pub fn import<'a>(
        folder: &SingleTaskFolder,
        weights: &mut Weights,
        name: &str,
        output: &'a str,
    ) -> Result<(bool, &'a str)> {
        let Some(names) = folder.encoder()?.head_transform else { return Ok((false, output)) };
        HeadTransform::check(&folder.config)?;
        for (theirs, ours) in [(names.dense, "dense"), (names.norm, "norm")] {
            weights.rename(&format!("{theirs}.weight"), &format!("{name}.transform.{ours}.weight"));
        }
        Ok((true, names.output))
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
