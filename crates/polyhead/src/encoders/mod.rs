//! Encoders: a packed batch of token ids becomes one hidden vector a token.
//!
//! One architecture a file; [`ENCODERS`] lists them. An encoder declares its tensors through [`Weights`], which checks
//! names and shapes against the checkpoint, and is written against [`Ops`], the set of operators that every backend runs. It
//! knows no task.

pub mod bert;

use crate::batch::Batch;
use crate::error::{Error, Place, Result};
use crate::parameters::{Freeze, Naming, Weights};
use candle_core::{Device, Tensor};
use polyhead_kernels::tape::in_pool;
pub use polyhead_kernels::{Offset, Pass, Precision};
use polyhead_kernels::{Ops, Plain, Tape, Value};
use serde_json::Value as Json;
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
    pub fn of(path: &Path, config: &Json) -> Result<&'static Self> {
        let found = config.get("model_type").filter(|found| !found.is_null());
        if let Some(found) = found {
            let known = ENCODERS.iter().find(|kind| found == kind.model_type);
            let found = found.as_str().unwrap_or("none");
            return known.ok_or_else(|| {
                let message = format!("expected one of {}, found `{found}`", Self::known());
                Error::data(message).at(Place::field(path, "model_type")).hint("this encoder is not supported yet")
            });
        }
        let classes = config.get("architectures").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let classes = || classes.iter().filter_map(Json::as_str);
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
pub type OpenEncoder = fn(&Path, &Json, &EncoderOverrides, &mut Weights) -> Result<Box<dyn Encoder>>;

/// What a recipe may change about an encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EncoderOverrides {
    /// What its matrix products are computed in.
    pub precision: Precision,
    /// Dropout of hidden states, instead of the checkpoint's own.
    pub dropout: Option<f64>,
    /// Dropout of attention probabilities, instead of the checkpoint's own.
    pub attention_dropout: Option<f64>,
    /// What of it is not trained.
    pub freeze: Freeze,
}

/// Sees the output of the embeddings and of every layer, `[rows, hidden]` each.
pub type HiddenStateCallback<'a> = dyn FnMut(Tensor) + Send + 'a;

/// A Transformer encoder.
pub trait Encoder: Send + Sync {
    /// Encodes the batch of a backend: a hidden state for each row, `[rows, hidden]`. `each` sees the output of the embeddings
    /// and of every layer.
    fn forward(&self, ops: &mut dyn Ops, each: Option<&mut HiddenStateCallback>) -> Result<Value>;

    /// What its matrix products are computed in.
    fn precision(&self) -> Precision;

    /// Where its tensors live.
    fn device(&self) -> &Device;

    /// The width of its hidden states.
    fn hidden_size(&self) -> usize;

    /// Its layers.
    fn layers(&self) -> usize;

    /// The longest sequence it can encode, in tokens.
    fn max_tokens(&self) -> usize;

    /// The token ids it knows run from 0 to one less than this.
    fn vocabulary(&self) -> usize;
}

/// A network on an encoder: from hidden states to its outputs.
pub type Network<'a> = dyn Fn(&Value, &mut dyn Ops) -> Result<Vec<Value>> + Sync + 'a;

/// Runs an encoder and what stands on it over a batch: the outputs as tensors. In training a loss of them, one tensor, can be
/// sent back through all of it, once.
pub fn run(encoder: &dyn Encoder, batch: &Batch, pass: Pass, network: &Network) -> Result<Vec<Tensor>> {
    // In the pool: a parallel loop that starts there needs no thread to be woken first.
    in_pool(|| {
        if encoder.device().is_cpu() {
            let mut tape = Tape::new(encoder.precision(), pass, batch.inputs.clone());
            let hidden = encoder.forward(&mut tape, None)?;
            let outputs = network(&hidden, &mut tape)?;
            return Ok(tape.finish(&outputs)?);
        }
        let mut plain = Plain::new(pass, batch.inputs.clone());
        let hidden = encoder.forward(&mut plain, None)?;
        let outputs = network(&hidden, &mut plain)?;
        Ok(plain.finish(&outputs)?)
    })
}
