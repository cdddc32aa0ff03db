//! The head: biaffine classifiers of Dozat and Manning (2017, <https://arxiv.org/abs/1611.01734>) on the vectors of words.
//!
//! ```text
//! words [ranges, hidden] -> four layers with GELU: each word as a dependent and as a head, for arcs and for relations
//! arc        z  = dᵀ W h + v · h                      what a word says alone is the same for all of its heads, and left out
//! relation k z_k = dᵀ W_k h + v_k · h + u_k · d + b_k
//! logits [pairs, 1 + relations]: the arc of a pair, and each relation
//! ```
//!
//! The root is the first token of the sequence (`[CLS]`), which the encoder shaped by the whole sentence. W begins uniform as Glorot and Bengio (2010) have it, W_k as `torch.nn.Bilinear` does,
//! v and b are 0.

use super::{Config, column};

use crate::batch::Targets;
use crate::encoders::Precision;
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use crate::tasks::{HeadShape, LinearHead};
use candle_core::Tensor;
use polyhead_kernels::cross_entropy::{segment_cross_entropy, token_cross_entropy};
use polyhead_kernels::{Activation, DropoutAt, Index, Linear, Ops, Part, Segments, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What of a word's tokens is its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordVector {
    /// The first one.
    First,
    /// The mean of all.
    Mean,
}

/// The tensors of the head.
pub struct Head {
    arc_dependent: LinearHead,
    arc_head: LinearHead,
    relation_dependent: LinearHead,
    relation_head: LinearHead,
    arc: Arc<Linear>,
    relation: Arc<Linear>,
    relation_alone: LinearHead,
}

impl Head {
    pub(super) fn open(config: &Config, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Self> {
        // Whatever the relations are called: a treebank with others goes on with these.
        let mut kept = |part: &str, dims: &[usize], role, init| {
            weights.get_or_init(&format!("heads.{name}.{part}"), dims, role, init)
        };
        let mut layer = |part: &str, outputs| -> Result<LinearHead> {
            let init = Init::Uniform(1.0 / (shape.hidden as f64).sqrt());
            let weight = kept(&format!("{part}.weight"), &[outputs, shape.hidden], Role::Weight, init)?;
            Ok(LinearHead::new(weight, Some(kept(&format!("{part}.bias"), &[outputs], Role::Bias, init)?)))
        };
        let (arc_dependent, arc_head) = (layer("arc_dependent", config.arc_size)?, layer("arc_head", config.arc_size)?);
        let (relation_dependent, relation_head) =
            (layer("relation_dependent", config.relation_size)?, layer("relation_head", config.relation_size)?);
        let size = config.arc_size;
        let glorot = Init::Uniform((6.0 / (2 * size) as f64).sqrt());
        let arc = Part::new(
            kept("arc.weight", &[size, size], Role::Weight, glorot)?,
            Some(kept("arc.bias", &[size], Role::Bias, Init::Zeros)?),
        );
        let (size, labels) = (config.relation_size, config.labels.as_slice());
        let bilinear = Init::Uniform(1.0 / (size as f64).sqrt());
        let mut by_label = |part: &str, block: &[usize], role, init| {
            weights.get_or_init_blocks_by_label(&format!("heads.{name}.{part}"), labels, block, role, init)
        };
        let relation = Part::new(
            by_label("relation.weight", &[size, size], Role::Weight, bilinear)?,
            Some(by_label("relation.bias", &[size], Role::Bias, Init::Zeros)?),
        );
        let relation_alone = LinearHead::new(
            by_label("relation_alone.weight", &[1, size], Role::Weight, bilinear)?,
            Some(by_label("relation_alone.bias", &[1], Role::Bias, Init::Zeros)?),
        );
        let in_f32 = |part| Arc::new(Linear::new(vec![part]).in_precision(Precision::F32));
        let (arc, relation) = (in_f32(arc), in_f32(relation));
        Ok(Self { arc_dependent, arc_head, relation_dependent, relation_head, arc, relation, relation_alone })
    }

    pub(super) fn logits(&self, config: &Config, hidden: &Value, ops: &mut dyn Ops) -> Result<Value> {
        let drop = |place| DropoutAt::new(config.dropout, place);
        let words = match config.word_vector {
            WordVector::First => ops.select_rows(hidden, Index::RangeStarts)?,
            WordVector::Mean => ops.mean_ranges(hidden)?,
        };
        let words = ops.dropout(&words, drop("parse words"))?;
        let mut side = |layer: &LinearHead, place| -> Result<Value> {
            let y = layer.activated(ops, &words, Activation::Gelu)?;
            Ok(ops.dropout(&y, drop(place))?)
        };
        let (arc_dependent, arc_head) =
            (side(&self.arc_dependent, "parse arc dependents")?, side(&self.arc_head, "parse arc heads")?);
        let (dependent, head) = (
            side(&self.relation_dependent, "parse relation dependents")?,
            side(&self.relation_head, "parse relation heads")?,
        );
        let arcs = ops.linear(&arc_dependent, &self.arc)?;
        let arcs = ops.pair_dots(&arcs, &arc_head)?;
        let relations = ops.linear(&dependent, &self.relation)?;
        let relations = ops.pair_dots(&relations, &head)?;
        let alone = self.relation_alone.apply(ops, &dependent, None)?;
        let alone = ops.select_rows(&alone, Index::PairFirsts)?;
        let relations = ops.add(&relations, &alone)?;
        Ok(ops.concat(&[&arcs, &relations])?)
    }
}

/// The mean over words of the cross-entropy of the gold head among all heads and of the gold relation at the gold head.
pub(super) fn loss(logits: &Tensor, targets: &[&Targets], count: f64) -> Result<Tensor> {
    // A segment for each word: the rows of its heads.
    let (mut lengths, mut heads) = (Vec::new(), Vec::new());
    let (mut rows, mut labels, mut start) = (Vec::new(), Vec::new(), 0);
    for targets in targets {
        let classes = targets.classes();
        let words = classes.len() / 2;
        for (word, (&head, &label)) in (1..=words).zip(classes.iter().zip(classes.get(words..).unwrap_or(&[]))) {
            let gold = column(word, usize::try_from(head).map_err(|_| Error::internal(format!("a head {head}")))?);
            rows.push((start + gold) as u32);
            lengths.push(words);
            heads.push(gold as i64);
            labels.push(label);
            start += words;
        }
    }
    let arcs = segment_cross_entropy(&logits.narrow(1, 0, 1)?, &Segments::packed(&lengths), &heads, count)?;
    let outputs = logits.dim(1)?;
    let of_gold = logits.index_select(&Tensor::new(rows, logits.device())?, 0)?.narrow(1, 1, outputs - 1)?;
    Ok((arcs + token_cross_entropy(&of_gold.contiguous()?, &labels, count)?)?)
}
