//! What a forward pass is given besides weights: whether it trains, and the batch, whose parts have names.
//!
//! ```text
//! Inputs   ids, positions, types   one number a row        segments: where each sequence lies
//! Index    PositionsFrom(0)        the rows of a table, or of a value, that an operator takes
//! ```
//!
//! A network names an [`Index`] and never sees the numbers: in a graph that is exported they are inputs at run time.

use crate::dropout::Dropout;
use crate::rng::Key;
use crate::segments::Segments;
use crate::weight::Weight;
use candle_core::Result;
use std::borrow::Cow;
use std::sync::Arc;

/// Whether a forward pass trains (dropout on, with the key of its masks) or evaluates.
#[derive(Debug, Clone, Copy)]
pub enum Pass {
    /// Dropout on, and a backward pass may follow.
    Train {
        /// The key of the masks of the whole batch.
        key: Key,
        /// Where this part of the batch begins in it.
        begins: Offset,
    },
    /// Dropout off, and nothing is kept for a backward pass.
    Evaluate,
}

/// A place in a batch: so many rows and sequences come before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset {
    /// Rows before it.
    pub rows: usize,
    /// Sequences before it.
    pub sequences: usize,
}

impl Pass {
    /// A pass that trains on a whole batch.
    pub fn train(key: Key) -> Self {
        Self::Train { key, begins: Offset::default() }
    }

    /// Whether a backward pass may follow.
    pub(crate) fn trains(self) -> bool {
        matches!(self, Self::Train { .. })
    }

    /// The mask of one place in the network; `None` in evaluation, and for a rate of 0.
    pub(crate) fn mask(self, at: DropoutAt) -> Option<Dropout> {
        match self {
            Self::Train { key, begins } => {
                let dropout = Dropout::new(at.rate, key.purpose(at.place).with(at.layer as u64));
                dropout.map(|dropout| dropout.beginning_at(begins.rows, begins.sequences))
            }
            Self::Evaluate => None,
        }
    }
}

/// Dropout at one place of a network. The backend knows the pass and the key of its masks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutAt {
    /// The probability of dropping an element, in `0 .. 1`.
    pub rate: f64,
    /// The name of the place: no two places of a network share one.
    pub place: &'static str,
    /// The layer, where a place occurs in every layer.
    pub layer: usize,
}

impl DropoutAt {
    /// Dropout of this rate at this place, outside the layers.
    pub fn new(rate: f64, place: &'static str) -> Self {
        Self { rate, place, layer: 0 }
    }

    /// The same place in this layer.
    #[must_use]
    pub fn of_layer(self, layer: usize) -> Self {
        Self { layer, ..self }
    }
}

/// What depends on the batch, by name: which row of a table, or of a value, each row of the result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// The token of each row.
    TokenIds,
    /// The position of each row in its sequence, counted from this number: 0 for BERT, 2 for RoBERTa.
    PositionsFrom(u32),
    /// The token type (segment) of each row: 0 for the first text, 1 for the second.
    TokenTypes,
    /// The first row of each sequence (`[CLS]`).
    FirstTokens,
}

/// A batch: which row of each table a token takes, and where each sequence lies.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Token ids, one a row.
    pub ids: Vec<u32>,
    /// Positions in the sequence, from 0, one a row.
    pub positions: Vec<u32>,
    /// Token types, one a row.
    pub types: Vec<u32>,
    /// Where each sequence lies.
    pub segments: Segments,
}

impl Inputs {
    /// Rows of these sequences and no tokens: for operators on given values.
    pub fn of_rows(segments: Segments) -> Self {
        Self { ids: Vec::new(), positions: Vec::new(), types: Vec::new(), segments }
    }

    /// The numbers of an index.
    pub(crate) fn rows(&self, index: Index) -> Cow<'_, [u32]> {
        match index {
            Index::TokenIds => Cow::Borrowed(&self.ids),
            Index::PositionsFrom(0) => Cow::Borrowed(&self.positions),
            Index::PositionsFrom(first) => self.positions.iter().map(|position| position + first).collect(),
            Index::TokenTypes => Cow::Borrowed(&self.types),
            Index::FirstTokens => self.segments.iter().map(|segment| segment.start as u32).collect(),
        }
    }
}

impl Index {
    /// What it counts, for messages.
    fn name(self) -> &'static str {
        match self {
            Self::TokenIds => "id",
            Self::PositionsFrom(_) => "position",
            Self::TokenTypes => "token type",
            Self::FirstTokens => "first token",
        }
    }

    /// Refuses rows that a table has not.
    pub(crate) fn check(self, rows: &[u32], table: &Weight) -> Result<()> {
        let count = table.dims().first().copied().unwrap_or(0);
        match rows.iter().find(|&&row| row as usize >= count) {
            Some(row) => {
                candle_core::bail!("{} {row} lies outside the embedding table of {:?}", self.name(), table.dims())
            }
            None => Ok(()),
        }
    }
}

/// What a backend knows of its pass.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub pass: Pass,
    pub inputs: Arc<Inputs>,
}

impl Setting {
    /// The mask of a matrix at a place in the network. Its rows are tokens, or sequences where there are as many of these; the
    /// first of either is counted from that of the whole batch. (Where every sequence has one row, they are tokens.)
    pub(crate) fn mask(&self, at: DropoutAt, (rows, columns): (usize, usize)) -> Option<Dropout> {
        let (mask, segments) = (self.pass.mask(at)?, &self.inputs.segments);
        let of_sequences = rows == segments.len() && rows != segments.rows();
        Some(if of_sequences { mask.of_sequences(columns) } else { mask.of_rows(columns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision;
    use crate::layer_norm::Norm;
    use crate::linear::{Linear, LowRank, Part};
    use crate::ops::{Attention, Ops};
    use crate::plain::Plain;
    use crate::tape::Tape;
    use crate::testing::{flat, normal};
    use crate::value::Value;
    use candle_core::Tensor;

    /// Dropout of tokens, of attention, of low-rank additions, and of rows that stand for sequences.
    fn network(ops: &mut dyn Ops, x: &Tensor) -> Result<Value> {
        let weight = |seed, shape: &[usize]| Weight::new(&(normal(seed, shape) * 0.3)?);
        let drop = |place| DropoutAt::new(0.3, place);
        let addition =
            LowRank { a: weight(1, &[4, 8])?, b: weight(2, &[24, 4])?, scale: 1.0, dropout: drop("addition") };
        let qkv = Arc::new(Linear::new(vec![Part::new(weight(3, &[24, 8])?, None).with_low_rank(addition)]));
        let layer =
            |seed| Ok::<_, candle_core::Error>(Arc::new(Linear::new(vec![Part::new(weight(seed, &[8, 8])?, None)])));
        let norm = Norm::new(weight(5, &[8])?, weight(6, &[8])?, 1e-12);
        let x = ops.parameter(&Weight::new(x)?)?;
        let x = ops.dropout(&x, drop("tokens"))?;
        let mixed = ops.self_attention(&x, &qkv, Attention { heads: 2, dropout: drop("attention") })?;
        let y = ops.linear_residual_norm(&mixed, &layer(7)?, &x, &norm, drop("output"))?;
        let first = ops.select_rows(&y, Index::FirstTokens)?;
        let first = ops.dropout(&first, drop("sequences"))?;
        ops.dropout_linear(&first, &layer(8)?, drop("head"))
    }

    #[test]
    fn a_batch_in_parts_has_the_masks_of_the_whole() {
        let (lengths, x) = ([3_usize, 2, 4, 5], normal(9, &[14, 8]));
        let run = |sequences: std::ops::Range<usize>, backend: Option<Precision>| -> Vec<f32> {
            let begins = Offset { rows: lengths[..sequences.start].iter().sum(), sequences: sequences.start };
            let segments = Segments::packed(&lengths[sequences]);
            let x = x.narrow(0, begins.rows, segments.rows()).unwrap();
            let (pass, inputs) = (Pass::Train { key: Key::seed(1), begins }, Arc::new(Inputs::of_rows(segments)));
            flat(&match backend {
                Some(precision) => network(&mut Tape::new(precision, pass, inputs), &x).unwrap().to_tensor().unwrap(),
                None => network(&mut Plain::new(pass, inputs), &x).unwrap().to_tensor().unwrap(),
            })
        };
        for backend in [Some(Precision::F32), Some(Precision::Bf16), None] {
            let whole = run(0..4, backend);
            let parts = [run(0..1, backend), run(1..3, backend), run(3..4, backend)].concat();
            assert_eq!(whole.len(), parts.len());
            let far = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-5, "{backend:?}: {far}");
            assert!(whole.iter().any(|value| value.abs() > 0.1));
        }
    }
}
