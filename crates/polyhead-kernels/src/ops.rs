//! The operators that encoders and heads are written with.
//!
//! ```text
//! network (encoder, head)  --calls-->  &mut dyn Ops   <--  Tape    fused kernels on the CPU, with a backward pass
//!                                                     <--  Plain   candle's own operators, any device
//!                                                     <--  a graph writer (ONNX)
//! ```
//!
//! A network is written once, and each backend runs it. Primitives are what every backend has; a fused method has a default
//! body, the composition of primitives, and is overridden where a backend has a kernel for it. A network branches neither
//! on data nor on the number of rows: all that depends on the batch is an [`Index`] asked for by name.
//!
//! Values are `[rows, columns]`: a row for each token of the batch, the sequences end to end, or (after
//! [`Ops::select_rows`]) for each of what was selected.

use crate::activation::Activation;
use crate::affine::Affine;
use crate::attention::positions::Distances;
use crate::layer_norm::Norm;
use crate::linear::{Around, Linear, Vectors};
use crate::pass::{DropoutAt, Index};
use crate::stitch::Stitch;
use crate::value::Value;
use crate::weight::Weight;
use candle_core::Result;
use std::sync::Arc;

/// Attention of each sequence of the batch to itself.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// The heads, side by side in queries, keys and values.
    pub heads: usize,
    /// Dropout of the probabilities.
    pub dropout: DropoutAt,
    /// What scores know of positions.
    pub positions: Positions<'a>,
    /// How far apart two tokens may be that attend to each other; none: any distance.
    pub window: Option<usize>,
}

impl Attention<'_> {
    /// Attention whose scores know nothing of positions: those are in the hidden states, if anywhere.
    pub fn plain(heads: usize, dropout: DropoutAt) -> Self {
        Self { heads, dropout, positions: Positions::InHiddenStates, window: None }
    }
}

/// What the score of two tokens knows of their positions. See `attention/positions.rs`.
#[derive(Clone, Copy)]
pub enum Positions<'a> {
    /// Nothing.
    InHiddenStates,
    /// A number of a table `[32, heads]` is added, by how far apart the two are (MPNet, T5).
    Bias(&'a Weight),
    /// Queries and keys are turned by angles that grow with their position, the slower the later the dimension
    /// (Su et al., arXiv:2104.09864); the base of the angles.
    Rotary(f64),
    /// Queries also meet vectors of distances, and keys do (He et al., arXiv:2006.03654).
    Disentangled(Disentangled<'a>),
}

/// The vectors of distances of one layer, `[2 span, hidden]` each; at least one of them.
#[derive(Clone, Copy)]
pub struct Disentangled<'a> {
    /// What queries meet: content to position.
    pub keys: Option<&'a Value>,
    /// What keys meet: position to content.
    pub queries: Option<&'a Value>,
    /// Which row is of which distance.
    pub distances: Distances,
}

/// A part of a network: what it makes of a value, and of others beside it.
pub type Body = Arc<dyn Fn(&mut dyn Ops, &Value, &[Value]) -> Result<Value> + Send + Sync>;

/// What the part of a network that is private to a task makes of values: the task, its rows of each.
pub type TaskBody<'a> = dyn Fn(&mut dyn Ops, usize, &[Value]) -> Result<Value> + 'a;

/// A backend. Every method fails where shapes do not fit or where a value is of another backend.
pub trait Ops {
    // Primitives

    /// A weight `[rows, columns]` as a value.
    fn parameter(&mut self, weight: &Weight) -> Result<Value>;

    /// A weight `[rows, columns]` as a value whose rows are nothing of the batch: vectors of distances.
    fn table(&mut self, weight: &Weight) -> Result<Value>;

    /// The rows of a table `[.., columns]` that an index names.
    fn embedding(&mut self, table: &Weight, index: Index) -> Result<Value>;

    /// `x Wᵀ + b` for each part of a layer, side by side; with the part's low-rank additions where it has some, without vectors around it.
    fn product(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value>;

    /// A function of each element.
    fn activation(&mut self, x: &Value, activation: Activation) -> Result<Value>;

    /// The sum of values, each times its factor; at least one.
    fn weighted_sum(&mut self, values: &[(&Value, f32)]) -> Result<Value>;

    /// Each row normalised, times γ, plus β.
    fn layer_norm(&mut self, x: &Value, norm: &Norm) -> Result<Value>;

    /// x in evaluation; in training, elements are dropped by chance and the others scaled up.
    fn dropout(&mut self, x: &Value, dropout: DropoutAt) -> Result<Value>;

    /// From queries, keys and values side by side, `[rows, 3 hidden]`, to `[rows, hidden]`.
    fn attention(&mut self, qkv: &Value, attention: Attention) -> Result<Value>;

    /// The product of a function of the first half of each row and its second half, `[rows, 2 columns] -> [rows, columns]`
    /// (Shazeer, arXiv:2002.05202).
    fn gated(&mut self, x: &Value, activation: Activation) -> Result<Value>;

    /// Of each column the numbers of the `size` tokens around each token, `[rows, columns] -> [rows, columns size]`, and zeros where a
    /// sequence ends: what a convolution reads. `size` is odd.
    fn neighbours(&mut self, x: &Value, size: usize) -> Result<Value>;

    /// The rows of a value that an index names.
    fn select_rows(&mut self, x: &Value, index: Index) -> Result<Value>;

    /// For each pair of ranges, the dot products of the row of its first range in `x`, in blocks as wide as `y`, with that of its
    /// second in `y`: `[ranges, outputs * width]` and `[ranges, width]` to `[pairs, outputs]`. A layer before it makes `x` of
    /// something narrower, so that it is the bilinear part of a biaffine classifier.
    fn pair_dots(&mut self, x: &Value, y: &Value) -> Result<Value>;

    /// The mean of the tokens of each range of the batch, `[tokens, columns] -> [ranges, columns]`; 0 for an empty range.
    fn mean_ranges(&mut self, x: &Value) -> Result<Value>;

    /// What a part of a network makes of these values. A backend that runs backwards may keep them alone, and compute what lies in between
    /// again when the gradient arrives.
    fn recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value>;

    /// Values of as many rows side by side, `[rows, a], [rows, b] ... -> [rows, a + b ...]`. Their rows must stand for the same.
    fn concat(&mut self, values: &[&Value]) -> Result<Value>;

    /// A learnt mixture of values of one shape (see `stitch.rs`).
    fn stitched(&mut self, values: &[&Value], stitch: &Stitch) -> Result<Value>;

    /// Columns times and plus vectors (see `affine.rs`).
    fn affine(&mut self, x: &Value, affine: &Affine) -> Result<Value>;

    /// What the private part of each task makes of the task's own rows of these values, which are tokens; the results lie where the rows lay.
    fn of_each_task(&mut self, values: &[&Value], body: &TaskBody) -> Result<Value>;

    // Fused

    /// A linear layer: its product, with the vectors around it if it has some.
    fn linear(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value> {
        let Some(Vectors { reads, makes }) = layer.vectors() else { return self.product(x, layer) };
        let x = self.around(x, reads)?;
        let y = self.product(&x, layer)?;
        self.around(&y, makes)
    }

    /// Times and plus the vectors of all tasks, or of the task of each row.
    fn around(&mut self, x: &Value, vectors: &Around) -> Result<Value> {
        match vectors {
            Around::Nothing => Ok(x.clone()),
            Around::AllTasks(affine) => self.affine(x, affine),
            Around::EachTask(affines) => self.of_each_task(&[x], &|ops, task, rows| match (rows, affines.get(task)) {
                ([x], Some(affine)) => ops.affine(x, affine),
                _ => candle_core::bail!("no vectors of a task {task}"),
            }),
        }
    }

    /// `a + b`.
    fn add(&mut self, a: &Value, b: &Value) -> Result<Value> {
        self.weighted_sum(&[(a, 1.0), (b, 1.0)])
    }

    /// `dropout(LayerNorm(Σ table[index]))`: the beginning of BERT.
    fn embeddings(&mut self, tables: &[(Weight, Index)], norm: &Norm, dropout: DropoutAt) -> Result<Value> {
        let mut sum: Option<Value> = None;
        for (table, index) in tables {
            let rows = self.embedding(table, *index)?;
            sum = Some(match sum {
                Some(sum) => self.add(&sum, &rows)?,
                None => rows,
            });
        }
        let Some(sum) = sum else { candle_core::bail!("embeddings without a table") };
        let normalised = self.layer_norm(&sum, norm)?;
        self.dropout(&normalised, dropout)
    }

    /// Attention on a projection: `qkv` makes queries, keys and values side by side.
    fn self_attention(&mut self, x: &Value, qkv: &Arc<Linear>, attention: Attention) -> Result<Value> {
        composed::self_attention(self, x, qkv, attention)
    }

    /// `activation(x Wᵀ + b)`, for a product to read.
    fn linear_activation(&mut self, x: &Value, layer: &Arc<Linear>, activation: Activation) -> Result<Value> {
        composed::linear_activation(self, x, layer, activation)
    }

    /// `dropout(x Wᵀ + b) + residual`: the end of a sub-layer with its LayerNorm before it.
    fn linear_residual(
        &mut self,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        dropout: DropoutAt,
    ) -> Result<Value> {
        composed::linear_residual(self, x, layer, residual, dropout)
    }

    /// `f(a) g` of the halves a and g of `x Wᵀ + b`, for a product to read.
    fn linear_gated(&mut self, x: &Value, layer: &Arc<Linear>, activation: Activation) -> Result<Value> {
        composed::linear_gated(self, x, layer, activation)
    }

    /// `LayerNorm(dropout(x Wᵀ + b) + residual)`: the end of every BERT sub-layer.
    fn linear_residual_norm(
        &mut self,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        norm: &Norm,
        dropout: DropoutAt,
    ) -> Result<Value> {
        composed::linear_residual_norm(self, x, layer, residual, norm, dropout)
    }

    /// `dropout(x) Wᵀ + b`: a head.
    fn dropout_linear(&mut self, x: &Value, layer: &Arc<Linear>, dropout: DropoutAt) -> Result<Value> {
        let x = self.dropout(x, dropout)?;
        self.linear(&x, layer)
    }
}

/// Fused methods as compositions of primitives: for backends without a kernel, and for layers with vectors around them.
pub(crate) mod composed {
    use super::*;

    pub(crate) fn self_attention<O: Ops + ?Sized>(
        ops: &mut O,
        x: &Value,
        qkv: &Arc<Linear>,
        attention: Attention,
    ) -> Result<Value> {
        let projected = ops.linear(x, qkv)?;
        ops.attention(&projected, attention)
    }

    pub(crate) fn linear_activation<O: Ops + ?Sized>(
        ops: &mut O,
        x: &Value,
        layer: &Arc<Linear>,
        activation: Activation,
    ) -> Result<Value> {
        let y = ops.linear(x, layer)?;
        ops.activation(&y, activation)
    }

    pub(crate) fn linear_residual<O: Ops + ?Sized>(
        ops: &mut O,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        dropout: DropoutAt,
    ) -> Result<Value> {
        let y = ops.linear(x, layer)?;
        let y = ops.dropout(&y, dropout)?;
        ops.add(&y, residual)
    }

    pub(crate) fn linear_gated<O: Ops + ?Sized>(
        ops: &mut O,
        x: &Value,
        layer: &Arc<Linear>,
        activation: Activation,
    ) -> Result<Value> {
        let y = ops.linear(x, layer)?;
        ops.gated(&y, activation)
    }

    pub(crate) fn linear_residual_norm<O: Ops + ?Sized>(
        ops: &mut O,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        norm: &Norm,
        dropout: DropoutAt,
    ) -> Result<Value> {
        let sum = linear_residual(ops, x, layer, residual, dropout)?;
        ops.layer_norm(&sum, norm)
    }
}
