//! Encoders: a packed batch of token ids becomes one hidden vector a token.
//!
//! One architecture a file; [`ENCODERS`] lists them. An encoder declares its tensors through [`Weights`], which checks
//! names and shapes against the checkpoint, and computes with the operators of `polyhead-kernels`. It knows no task.

pub mod bert;

use crate::batch::Batch;
use crate::error::{Error, Place, Result};
use crate::parameters::{Naming, Weights};
use candle_core::{Device, Tensor};
pub use polyhead_kernels::Precision;
use polyhead_kernels::rng::Key;
use polyhead_kernels::tape::in_pool;
use polyhead_kernels::{Segments, Tape};
use serde_json::Value;
use std::path::Path;

/// The architectures, in the order in which they are tried and shown.
pub const ENCODERS: &[EncoderKind] = &[bert::KIND];

/// One architecture: how its `config.json` names it and how it is built.
#[derive(Clone, Copy)]
pub struct EncoderKind {
    /// The `model_type` of its `config.json`.
    pub model_type: &'static str,
    /// What the names of its classes in transformers begin with: `Bert` of `BertForTokenClassification`.
    pub class: &'static str,
    /// How its checkpoints name their tensors.
    pub naming: Naming,
    /// Builds it.
    pub open: OpenEncoder,
}

impl EncoderKind {
    /// The architecture that a `config.json` describes: by its `model_type`, or, as some checkpoints have none, by its
    /// `architectures`. The path is for errors.
    pub fn of(path: &Path, config: &Value) -> Result<&'static Self> {
        let found = config.get("model_type").filter(|found| !found.is_null());
        if let Some(found) = found {
            let known = ENCODERS.iter().find(|kind| found == kind.model_type);
            let found = found.as_str().unwrap_or("none");
            return known.ok_or_else(|| {
                let message = format!("expected one of {}, found `{found}`", Self::known());
                Error::data(message).at(Place::field(path, "model_type")).hint("this encoder is not supported yet")
            });
        }
        let classes = config.get("architectures").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let classes = || classes.iter().filter_map(Value::as_str);
        ENCODERS.iter().find(|kind| classes().any(|class| kind.has(class))).ok_or_else(|| {
            let found = match classes().next() {
                Some(class) => format!("no `model_type`, and `architectures` is `{class}`"),
                None => "neither `model_type` nor `architectures`".to_owned(),
            };
            let message = format!("expected a `model_type`, one of {}, found {found}", Self::known());
            Error::data(message)
                .at(Place::file(path))
                .hint("if it is one of these, add the line, as in \"model_type\": \"bert\"")
        })
    }

    /// Whether a class of transformers is of this architecture: `BertModel`, `BertForQuestionAnswering`.
    fn has(&self, class: &str) -> bool {
        let rest = class.strip_prefix(self.class);
        rest.is_some_and(|rest| rest == "Model" || rest.starts_with("For"))
    }

    fn known() -> String {
        let names: Vec<&str> = ENCODERS.iter().map(|kind| kind.model_type).collect();
        names.join(", ")
    }
}

/// Builds an encoder from its `config.json` (the path is for errors) and a checkpoint's tensors.
pub type OpenEncoder = fn(&Path, &Value, &EncoderOverrides, &mut Weights) -> Result<Box<dyn Encoder>>;

/// What a recipe may change about an encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EncoderOverrides {
    /// What its matrix products are computed in.
    pub precision: Precision,
    /// Dropout of hidden states, instead of the checkpoint's own.
    pub dropout: Option<f64>,
    /// Dropout of attention probabilities, instead of the checkpoint's own.
    pub attention_dropout: Option<f64>,
}

/// Whether a forward pass trains (dropout on, with the key of its masks) or evaluates.
#[derive(Debug, Clone, Copy)]
pub enum Pass {
    /// Dropout on.
    Train {
        /// The key of the masks of the whole batch.
        key: Key,
        /// Where this part of the batch begins in it.
        begins: Offset,
    },
    /// Dropout off.
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

    /// The tape of this pass.
    pub fn tape(self, precision: Precision, device: &Device) -> Tape {
        Tape::new(precision, matches!(self, Pass::Train { .. }), device)
    }

    /// The dropout of one place in the network: `None` in evaluation.
    pub fn dropout(self, rate: f64, place: &str, index: usize) -> Option<polyhead_kernels::Dropout> {
        match self {
            Pass::Train { key, begins } => {
                let dropout = polyhead_kernels::Dropout::new(rate, key.purpose(place).with(index as u64));
                dropout.map(|dropout| dropout.beginning_at(begins.rows, begins.sequences))
            }
            Pass::Evaluate => None,
        }
    }
}

/// What an encoder makes of a batch.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// One vector a row: `[rows, hidden]`.
    pub states: Tensor,
    /// Where each sequence lies in it.
    pub segments: Segments,
}

impl Hidden {
    /// The vector of each sequence's first token (`[CLS]`): `[sequences, hidden]`.
    pub fn first_tokens(&self) -> Result<Tensor> {
        let starts: Vec<u32> = self.segments.iter().map(|segment| segment.start as u32).collect();
        let index = Tensor::from_vec(starts, self.segments.len(), self.states.device())?;
        Ok(self.states.index_select(&index, 0)?)
    }
}

/// Sees the output of the embeddings and of every layer, `[rows, hidden]` each.
pub type HiddenStateCallback<'a> = dyn FnMut(Tensor) + Send + 'a;

/// A Transformer encoder.
pub trait Encoder: Send + Sync {
    /// Encodes a batch, `[rows] -> [rows, hidden]`. `each` sees the output of the embeddings and of every layer.
    fn forward(&self, batch: &Batch, pass: Pass, each: Option<&mut HiddenStateCallback>) -> Result<Tensor>;

    /// Encodes a batch.
    fn encode(&self, batch: &Batch, pass: Pass) -> Result<Hidden> {
        // In the pool: a parallel loop that starts there needs no thread to be woken first.
        let states = in_pool(|| self.forward(batch, pass, None))?;
        Ok(Hidden { states, segments: batch.segments.clone() })
    }

    /// The width of its hidden states.
    fn hidden_size(&self) -> usize;

    /// The longest sequence it can encode, in tokens.
    fn max_tokens(&self) -> usize;

    /// The token ids it knows run from 0 to one less than this.
    fn vocabulary(&self) -> usize;
}
