//! A value of a network, whichever backend made it. It owns its buffer: what no one holds any more is free for the next.

use crate::gemm::{Matrix, Precision, Values};
use crate::workspace::Buffer;
use candle_core::{Device, Result, Tensor};
use std::sync::{Arc, OnceLock};

/// What each row of a value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// A token of the batch.
    Tokens,
    /// A sequence.
    Sequences,
    /// A range of tokens: a word, a span.
    Ranges,
    /// A pair of ranges.
    Pairs,
    /// A row of a table, whatever the batch holds.
    Table,
}

/// A value: `[rows, columns]`.
#[derive(Clone)]
pub enum Value {
    /// Of the tape.
    Fused(Fused),
    /// Of candle.
    Tensor(Tensor, Rows),
    /// Of a graph that is written and not run.
    Node(GraphNode),
}

/// A value of a graph: what its writer calls it, its columns, and what its rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphNode {
    /// Its name in the graph.
    pub name: String,
    /// The length of its last axis.
    pub columns: usize,
    /// What an index of its last axis but one stands for.
    pub rows: Rows,
}

/// A value of the tape.
#[derive(Clone)]
pub struct Fused {
    pub(crate) node: Node,
    values: Arc<Matrix>,
    /// A copy for products in bf16, made when the first one asks.
    rounded: Arc<OnceLock<Arc<Matrix>>>,
    /// How it is made again, where that is cheap: the gradient of a layer that reads it then needs no copy of it.
    pub(crate) remake: Option<Remake>,
}

/// Recomputes the numbers of a value, bit-identical, from what its backward pass keeps anyway.
pub(crate) type Remake = Arc<dyn Fn() -> Result<Matrix> + Send + Sync>;

/// Where the gradient of a value gathers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub index: usize,
    pub rows: usize,
    pub columns: usize,
    pub rows_of: Rows,
    pub kind: Kind,
    /// Whether anything that is trained lies below it.
    pub needs_gradient: bool,
}

/// What a value is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A hidden state: in f32, and so is the sum of its gradients.
    Hidden,
    /// Between two products: values and gradient in their precision.
    Inner(Precision),
}

impl Value {
    /// Its rows, where it is not of a graph.
    pub fn rows(&self) -> Result<usize> {
        match self {
            Self::Fused(fused) => Ok(fused.node.rows),
            Self::Tensor(tensor, _) => tensor.dim(0),
            Self::Node(node) => candle_core::bail!("`{}` of a graph has no rows yet", node.name),
        }
    }

    /// What its rows stand for.
    pub fn rows_of(&self) -> Rows {
        match self {
            Self::Fused(fused) => fused.node.rows_of,
            Self::Tensor(_, rows) => *rows,
            Self::Node(node) => node.rows,
        }
    }

    /// Refuses rows that are no tokens, where an operator takes means of ranges of them.
    pub fn check_tokens(&self) -> Result<()> {
        match self.rows_of() {
            Rows::Tokens => Ok(()),
            found => candle_core::bail!("a mean is of rows that are {:?}, found {found:?}", Rows::Tokens),
        }
    }

    /// A copy as a tensor, without a graph.
    pub fn to_tensor(&self) -> Result<Tensor> {
        match self {
            Self::Fused(fused) => Tensor::from_vec(fused.to_vec(), (fused.node.rows, fused.node.columns), &Device::Cpu),
            Self::Tensor(tensor, _) => Ok(tensor.detach()),
            Self::Node(node) => candle_core::bail!("`{}` of a graph has no numbers", node.name),
        }
    }

    /// The same value, through which no gradient flows.
    #[must_use]
    pub fn without_gradient(&self) -> Self {
        match self {
            Self::Fused(fused) => {
                Self::Fused(Fused { node: Node { needs_gradient: false, ..fused.node }, ..fused.clone() })
            }
            Self::Tensor(tensor, rows) => Self::Tensor(tensor.detach(), *rows),
            Self::Node(node) => Self::Node(node.clone()),
        }
    }

    /// The tensor of a value of candle's.
    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor, _) => Ok(tensor),
            Self::Fused(_) | Self::Node(_) => candle_core::bail!("a value of another backend"),
        }
    }

    pub(crate) fn fused(&self) -> Result<&Fused> {
        match self {
            Self::Fused(fused) => Ok(fused),
            Self::Tensor(..) | Self::Node(_) => candle_core::bail!("a value of another backend"),
        }
    }
}

impl Fused {
    /// Of these numbers, and their rounded copy where it was made with them.
    pub(crate) fn new(node: Node, values: Matrix, rounded: Option<Matrix>) -> Self {
        let copy = OnceLock::new();
        if let Some(rounded) = rounded {
            copy.get_or_init(|| Arc::new(rounded));
        }
        Self { node, values: Arc::new(values), rounded: Arc::new(copy), remake: None }
    }

    /// The same with a way to make it again.
    pub(crate) fn remade_by(self, remake: Remake) -> Self {
        Self { remake: Some(remake), ..self }
    }

    /// The same numbers as another value of a tape.
    pub(crate) fn as_node(&self, node: Node) -> Self {
        Self { node, ..self.clone() }
    }

    /// The numbers as products of this precision read them.
    pub(crate) fn operand(&self, precision: Precision) -> Arc<Matrix> {
        if self.values.precision() == precision {
            return self.values.clone();
        }
        let Node { rows, columns, .. } = self.node;
        let converted = || Arc::new(Matrix::rounded(precision, rows, columns, &self.to_vec()));
        match precision {
            Precision::Bf16 => self.rounded.get_or_init(converted).clone(),
            Precision::F32 => converted(),
        }
    }

    /// The numbers of a hidden state.
    pub(crate) fn floats(&self) -> Result<&[f32]> {
        match &self.values.values {
            Values::F32(values) if self.node.kind == Kind::Hidden => Ok(values),
            _ => candle_core::bail!("expected a hidden state"),
        }
    }

    /// One row.
    pub(crate) fn read_row(&self, row: usize, into: &mut [f32]) {
        self.values.read(row, 0, into);
    }

    pub(crate) fn to_vec(&self) -> Vec<f32> {
        self.values.to_vec()
    }

    /// The numbers as a hidden state of their own.
    pub(crate) fn to_buffer(&self) -> Buffer<f32> {
        match self.floats() {
            Ok(values) => Buffer::copy_of(values),
            Err(_) => Buffer::copy_of(&self.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::layer_norm::Norm;
    use crate::ops::Ops;
    use crate::pass::{Inputs, Pass};
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::tape::Tape;
    use crate::testing::{PRECISIONS, normal, weights};
    use crate::weight::Weight;

    #[test]
    fn what_is_made_again_has_the_same_bits_and_a_product_that_reads_it_keeps_no_copy() {
        let (rows, width) = (70, 34);
        let weight = |seed, shape: &[usize]| Weight::new(&normal(seed, shape)).unwrap();
        let (up, down) = (weight(1, &[2 * width, width]), weight(2, &[2 * width]));
        let (wide, narrow) = (weights([(&up, &down)]), weights([(&weight(3, &[5, 2 * width]), &weight(4, &[5]))]));
        let half = weights([(&weight(5, &[5, width]), &weight(6, &[5]))]);
        let norm = Norm::new(weight(7, &[width]), weight(8, &[width]), 1e-5);
        let input = weight(9, &[rows, width]);
        for (precision, _) in PRECISIONS {
            for (name, is_remade) in [("norm", true), ("gated", true), ("activation", precision == Precision::F32)] {
                let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[rows])));
                let mut tape = Tape::new(precision, Pass::train(Key::seed(1)), inputs);
                let x = tape.parameter(&input).unwrap();
                let (y, next) = match name {
                    "norm" => (tape.layer_norm(&x, &norm).unwrap(), &half),
                    "gated" => (tape.linear_gated(&x, &wide, Activation::Gelu).unwrap(), &half),
                    _ => (tape.linear_activation(&x, &wide, Activation::Gelu).unwrap(), &narrow),
                };
                let Value::Fused(value) = &y else { panic!("of the tape") };
                let remade = value.remake.as_ref().map(|remake| remake().unwrap().in_precision(precision).to_vec());
                assert!(remade.is_none() != is_remade, "{name}, {precision:?}");
                if let Some(remade) = remade {
                    assert!(remade == value.operand(precision).to_vec(), "{name}, {precision:?}: other bits");
                }
                let held = || Arc::strong_count(&value.operand(precision));
                let before = held();
                tape.linear(&y, next).unwrap();
                assert_eq!(held() - before, usize::from(!is_remade), "{name}, {precision:?}");
                // Where nothing is kept for a backward pass, nothing is made again.
                let mut tape =
                    Tape::new(precision, Pass::Evaluate, Arc::new(Inputs::of_rows(Segments::packed(&[rows]))));
                let x = tape.parameter(&input).unwrap();
                let Value::Fused(y) = tape.layer_norm(&x, &norm).unwrap() else { panic!("of the tape") };
                assert!(y.remake.is_none());
            }
        }
    }
}
