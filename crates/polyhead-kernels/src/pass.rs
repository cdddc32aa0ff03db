//! What a forward pass is given besides weights: whether it trains, and the batch, whose parts have names.
//!
//! ```text
//! Inputs   ids, positions, types   one number a row        segments: where each sequence lies
//!          ranges, pairs           what a head reads beyond tokens: words or spans, and pairs of them
//! Index    PositionsFrom(0)        the rows of a table, or of a value, that an operator takes
//! ```
//!
//! A network names an [`Index`] and never sees the numbers: in a graph that is exported they are inputs at run time.

use crate::dropout::Dropout;
use crate::rng::Key;
use crate::segments::{Segment, Segments};
use crate::value::{Rows, Value};
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

/// A place in a batch: so many of each come before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset {
    /// Rows before it.
    pub rows: usize,
    /// Sequences before it.
    pub sequences: usize,
    /// Ranges before it.
    pub ranges: usize,
    /// Pairs before it.
    pub pairs: usize,
}

impl Offset {
    /// The place behind a part that begins here.
    #[must_use]
    pub fn after(self, part: &Inputs) -> Self {
        Self {
            rows: self.rows + part.segments.rows(),
            sequences: self.sequences + part.segments.len(),
            ranges: self.ranges + part.ranges.items.len(),
            pairs: self.pairs + part.pairs.items.len(),
        }
    }

    /// How many rows of this kind come before it.
    pub(crate) fn of(self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.rows,
            Rows::Sequences => self.sequences,
            Rows::Ranges => self.ranges,
            Rows::Pairs => self.pairs,
            // A table is the same for every part of a batch, and so is its mask.
            Rows::Table => 0,
        }
    }
}

impl Pass {
    /// A pass that trains on a whole batch.
    pub fn train(key: Key) -> Self {
        Self::Train { key, begins: Offset::default() }
    }

    /// The same of a part that begins elsewhere, if it does.
    #[must_use]
    pub fn beginning_at(self, place: Option<Offset>) -> Self {
        match (self, place) {
            (Self::Train { key, .. }, Some(begins)) => Self::Train { key, begins },
            (pass, _) => pass,
        }
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
                dropout.map(|dropout| dropout.beginning_at(begins))
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
    /// The first row of a table for every token: what is added to all of them.
    FirstRow,
    /// The first row of each sequence (`[CLS]`).
    FirstTokens,
    /// The first row of each range.
    RangeStarts,
    /// Of each pair, the first range: of a value whose rows are ranges.
    PairFirsts,
    /// Of each pair, the second range.
    PairSeconds,
    /// Of each pair, its sequence: of a value whose rows are sequences.
    PairSequences,
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
    /// The ranges that a head reads: of each, its first row and the row behind its last.
    pub ranges: Items,
    /// The pairs that a head reads: of each, two ranges, as indices into `ranges.items`.
    pub pairs: Items,
    /// Whose rows these are, where parts of the network are private to tasks.
    pub tasks: Tasks,
}

/// Whose rows a batch has. A task is a number, by which a network knows its private parts.
#[derive(Debug, Clone, Default)]
pub enum Tasks {
    /// No one's: no part of the network is private.
    #[default]
    None,
    /// All are of this task.
    One(usize),
    /// Each row is of one of several.
    Several(Vec<TaskRows>),
}

/// The rows of a task in a batch of several.
#[derive(Debug, Clone)]
pub struct TaskRows {
    /// The task.
    pub task: usize,
    /// Its rows of the batch, in order: whole sequences.
    pub rows: Vec<u32>,
    /// The same as inputs of their own.
    pub inputs: Arc<Inputs>,
    /// Where these begin in the task's part of the step; `None` where it is the batch's place.
    pub begins: Option<Offset>,
}

/// Some items of each sequence, those of all sequences end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Items {
    /// Two numbers an item.
    pub items: Vec<(u32, u32)>,
    /// Which items are of which sequence.
    pub segments: Segments,
}

impl Inputs {
    /// Rows of these sequences and no tokens: for operators on given values.
    pub fn of_rows(segments: Segments) -> Self {
        let (ranges, pairs, tasks) = Default::default();
        Self { ids: Vec::new(), positions: Vec::new(), types: Vec::new(), segments, ranges, pairs, tasks }
    }

    /// Where the rows of each sequence lie in a value with rows of this kind.
    pub fn segments_of(&self, rows: Rows) -> Segments {
        match rows {
            Rows::Tokens => self.segments.clone(),
            Rows::Sequences => Segments::packed(&vec![1; self.segments.len()]),
            Rows::Ranges => self.ranges.segments.clone(),
            Rows::Pairs => self.pairs.segments.clone(),
            Rows::Table => Segments::default(),
        }
    }

    /// The numbers of an index.
    pub(crate) fn rows(&self, index: Index) -> Cow<'_, [u32]> {
        match index {
            Index::TokenIds => Cow::Borrowed(&self.ids),
            Index::PositionsFrom(0) => Cow::Borrowed(&self.positions),
            Index::PositionsFrom(first) => self.positions.iter().map(|position| position + first).collect(),
            Index::TokenTypes => Cow::Borrowed(&self.types),
            Index::FirstRow => Cow::Owned(vec![0; self.segments.rows()]),
            Index::FirstTokens => self.segments.iter().map(|segment| segment.start as u32).collect(),
            Index::RangeStarts => self.ranges.items.iter().map(|(start, _)| *start).collect(),
            Index::PairFirsts => self.pairs.items.iter().map(|(first, _)| *first).collect(),
            Index::PairSeconds => self.pairs.items.iter().map(|(_, second)| *second).collect(),
            Index::PairSequences => {
                let of = |(sequence, pairs): (u32, Segment)| std::iter::repeat_n(sequence, pairs.rows);
                (0..).zip(self.pairs.segments.iter()).flat_map(of).collect()
            }
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
            Self::FirstRow => "row",
            Self::FirstTokens => "first token",
            Self::RangeStarts => "range",
            Self::PairFirsts | Self::PairSeconds | Self::PairSequences => "pair",
        }
    }

    /// What the rows that it names stand for.
    pub fn rows_of(self) -> Rows {
        match self {
            Self::TokenIds | Self::PositionsFrom(_) | Self::TokenTypes | Self::FirstRow => Rows::Tokens,
            Self::FirstTokens => Rows::Sequences,
            Self::RangeStarts => Rows::Ranges,
            Self::PairFirsts | Self::PairSeconds | Self::PairSequences => Rows::Pairs,
        }
    }

    /// Refuses a value whose rows this index does not choose from: pairs are of ranges (or of their sequences), ranges and first
    /// tokens of tokens.
    pub fn check_rows_of(self, x: &Value) -> Result<()> {
        let expected = match self {
            Self::FirstTokens | Self::RangeStarts => Rows::Tokens,
            Self::PairFirsts | Self::PairSeconds => Rows::Ranges,
            Self::PairSequences => Rows::Sequences,
            Self::TokenIds | Self::PositionsFrom(_) | Self::TokenTypes | Self::FirstRow => {
                candle_core::bail!("{self:?} chooses rows of a table, not of a value")
            }
        };
        match x.rows_of() {
            found if found == expected => Ok(()),
            found => candle_core::bail!("{self:?} chooses from rows that are {expected:?}, found {found:?}"),
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
    /// Whether parts that can be computed again are (see `recompute.rs`): memory counts more than time.
    pub recomputes: bool,
}

impl Setting {
    /// The mask of a matrix at a place in the network. Its rows are counted from the first of the whole batch.
    pub(crate) fn mask(&self, at: DropoutAt, rows: Rows, columns: usize) -> Option<Dropout> {
        Some(self.pass.mask(at)?.of_rows(rows, columns))
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
        let addition = LowRank {
            a: weight(1, &[4, 8])?,
            b: weight(2, &[24, 4])?,
            scale: 1.0,
            dropout: drop("addition"),
            task: None,
        };
        let qkv = Arc::new(Linear::new(vec![Part::new(weight(3, &[24, 8])?, None).with_low_rank(addition)]));
        let layer =
            |seed| Ok::<_, candle_core::Error>(Arc::new(Linear::new(vec![Part::new(weight(seed, &[8, 8])?, None)])));
        let norm = Norm::new(weight(5, &[8])?, weight(6, &[8])?, 1e-12);
        let x = ops.parameter(&Weight::new(x)?)?;
        let x = ops.dropout(&x, drop("tokens"))?;
        let mixed = ops.self_attention(&x, &qkv, Attention::plain(2, drop("attention")))?;
        let y = ops.linear_residual_norm(&mixed, &layer(7)?, &x, &norm, drop("output"))?;
        let first = ops.select_rows(&y, Index::FirstTokens)?;
        let first = ops.dropout(&first, drop("sequences"))?;
        ops.dropout_linear(&first, &layer(8)?, drop("head"))
    }

    /// Dropout of ranges and of pairs.
    fn pairs(ops: &mut dyn Ops, x: &Tensor) -> Result<Value> {
        let drop = |place| DropoutAt::new(0.3, place);
        let x = ops.parameter(&Weight::new(x)?)?;
        let ranges = ops.select_rows(&x, Index::RangeStarts)?;
        let ranges = ops.dropout(&ranges, drop("ranges"))?;
        let firsts = ops.select_rows(&ranges, Index::PairFirsts)?;
        let seconds = ops.select_rows(&ranges, Index::PairSeconds)?;
        let both = ops.add(&firsts, &seconds)?;
        let means = ops.mean_ranges(&x)?;
        let means = ops.dropout(&means, drop("means"))?;
        let means = ops.select_rows(&means, Index::PairSeconds)?;
        let sequences = ops.select_rows(&x, Index::FirstTokens)?;
        let sequences = ops.select_rows(&sequences, Index::PairSequences)?;
        let all = ops.concat(&[&sequences, &both, &means])?;
        let layer = Arc::new(Linear::new(vec![Part::new(Weight::new(&normal(8, &[8, 24]))?, None)]));
        ops.dropout_linear(&all, &layer, drop("pairs"))
    }

    const LENGTHS: [usize; 4] = [3, 2, 4, 5];

    /// Some of four sequences. Each has a range of each of its tokens but the first, and the pairs of neighbours among these.
    fn inputs(sequences: std::ops::Range<usize>) -> (Offset, Inputs) {
        let begins = Offset {
            rows: LENGTHS[..sequences.start].iter().sum(),
            sequences: sequences.start,
            ranges: LENGTHS[..sequences.start].iter().map(|length| length - 1).sum(),
            pairs: LENGTHS[..sequences.start].iter().map(|length| length - 2).sum(),
        };
        let lengths = &LENGTHS[sequences];
        let mut inputs = Inputs::of_rows(Segments::packed(lengths));
        for segment in inputs.segments.iter() {
            let first = inputs.ranges.items.len() as u32;
            let (start, count) = (segment.start as u32, segment.rows as u32 - 1);
            inputs.ranges.items.extend((1..=count).map(|at| (start + at, start + at + 1)));
            inputs.pairs.items.extend((1..count).map(|at| (first + at - 1, first + at)));
        }
        inputs.ranges.segments = Segments::packed(&lengths.iter().map(|length| length - 1).collect::<Vec<_>>());
        inputs.pairs.segments = Segments::packed(&lengths.iter().map(|length| length - 2).collect::<Vec<_>>());
        (begins, inputs)
    }

    #[test]
    fn a_batch_in_parts_has_the_masks_of_the_whole() {
        let x = normal(9, &[14, 8]);
        type Network = fn(&mut dyn Ops, &Tensor) -> Result<Value>;
        let run = |network: Network, sequences: std::ops::Range<usize>, backend: Option<Precision>| -> Vec<f32> {
            let (begins, inputs) = inputs(sequences);
            let x = x.narrow(0, begins.rows, inputs.segments.rows()).unwrap();
            let (pass, inputs) = (Pass::Train { key: Key::seed(1), begins }, Arc::new(inputs));
            flat(&match backend {
                Some(precision) => network(&mut Tape::new(precision, pass, inputs), &x).unwrap().to_tensor().unwrap(),
                None => network(&mut Plain::new(pass, inputs), &x).unwrap().to_tensor().unwrap(),
            })
        };
        for network in [network, pairs] {
            for backend in [Some(Precision::F32), Some(Precision::Bf16), None] {
                let whole = run(network, 0..4, backend);
                let parts =
                    [run(network, 0..1, backend), run(network, 1..3, backend), run(network, 3..4, backend)].concat();
                assert_eq!(whole.len(), parts.len());
                let far = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far < 1e-5, "{backend:?}: {far}");
                assert!(whole.iter().any(|value| value.abs() > 0.1));
            }
        }
    }

    #[test]
    fn a_part_ends_where_the_next_begins() {
        let (begins, part) = inputs(1..3);
        assert_eq!(begins.after(&part), inputs(3..4).0);
    }

    #[test]
    fn rows_of_another_kind_are_refused() {
        let (_, inputs) = inputs(0..4);
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs));
        let tokens = tape.parameter(&Weight::new(&normal(1, &[14, 8])).unwrap()).unwrap();
        let fault = tape.select_rows(&tokens, Index::PairFirsts).err().unwrap().to_string();
        assert!(fault.starts_with("PairFirsts chooses from rows that are Ranges, found Tokens"), "{fault}");
        let fault = tape.select_rows(&tokens, Index::PairSequences).err().unwrap().to_string();
        assert!(fault.starts_with("PairSequences chooses from rows that are Sequences, found Tokens"), "{fault}");
        let fault = tape.select_rows(&tokens, Index::TokenIds).err().unwrap().to_string();
        assert!(fault.starts_with("TokenIds chooses rows of a table, not of a value"), "{fault}");
    }
}
