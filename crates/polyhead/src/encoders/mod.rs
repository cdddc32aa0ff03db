//! Encoders: a packed batch of token ids becomes one hidden vector a token.
//!
//! One architecture a file; [`ENCODERS`] lists them, and each entry says all that differs from the others. What several
//! share is a file of its own (`config.rs`, `post_norm.rs`). An encoder declares its tensors through [`Weights`], which checks
//! names and shapes against the checkpoint, and is written against [`Ops`], the set of operators that every backend runs. It
//! knows no task.

pub mod albert;
pub mod bert;
mod config;
pub mod deberta_v2;
pub mod distilbert;
pub mod electra;
mod layers;
pub mod modernbert;
pub mod mpnet;
mod post_norm;
pub mod roberta;

use crate::batch::{Batch, HeadInputs};
use crate::error::{Error, Place, Result};
use crate::parameters::{Freeze, Ia3Layers, Int8, Lora, Naming, Weights};
use crate::sharing;
use crate::strategy::Strategy;
use candle_core::{Device, Tensor};
pub use polyhead_kernels::{Activation, Offset, Pass, Precision};
use polyhead_kernels::{Index, Join, Ops, Plain, Segments, Tape, Value};
use polyhead_kernels::{in_pool, in_team};
use serde_json::{Value as Json, json};
use std::path::Path;

/// The architectures, in the order in which they are tried and shown.
pub const ENCODERS: &[EncoderKind] = &[
    bert::KIND,
    roberta::KIND,
    distilbert::KIND,
    electra::KIND,
    albert::KIND,
    mpnet::KIND,
    deberta_v2::KIND,
    modernbert::KIND,
];

/// One architecture: how its `config.json` names it, how its checkpoints are made, and how it is built.
#[derive(Clone, Copy)]
pub struct EncoderKind {
    /// Its name in transformers.
    pub name: ModelName,
    /// What it is, for people.
    pub about: &'static str,
    /// Names that transformers has for the same architecture.
    pub other_names: &'static [ModelName],
    /// How its checkpoints name their tensors.
    pub naming: Naming,
    /// Which row of the table of positions the first token takes.
    pub first_position: FirstPosition,
    /// Which row of the table of token types a token takes.
    pub token_types: TokenTypes,
    /// Whether they may say how words are written, too: `encoder.case_embeddings` of a recipe.
    pub case_embeddings: bool,
    /// The files that its tokenizer is made of where a checkpoint has no `tokenizer.json`, if that is exact.
    pub vocabulary: Option<Vocabulary>,
    /// The linear layers that low-rank adaptation (LoRA) changes if nothing else is said, by the last part of their names:
    /// those of PEFT.
    pub lora_targets: &'static [&'static str],
    /// The linear layers that have the vectors of IA³.
    pub ia3: Ia3Layers,
    /// The layers of its class for one label of a whole text, if they are those of [`SequenceHead`].
    pub sequence_head: Option<SequenceHead>,
    /// What its classes for labels and answers have between hidden states and their linear layer, if anything.
    pub head_transform: Option<HeadTransform>,
    /// The folder of `fixtures/` with a small model of it and the numbers that transformers computes with that.
    pub fixture: &'static str,
    /// Builds it.
    pub open: OpenEncoder,
}

/// Which row of the table of positions the first token takes; the others count on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPosition {
    /// The first.
    First,
    /// The one after that of the padding token's id (`pad_token_id` of `config.json`; 1 if that is left out): the rows up to
    /// there are no positions.
    AfterPadding,
    /// This one, whatever `config.json` says.
    Row(u32),
}

impl FirstPosition {
    /// That row by a `config.json`; none where its `pad_token_id` is no number of a row.
    fn row(self, config: &Json) -> Option<u32> {
        match (self, config.get("pad_token_id")) {
            (Self::First, _) => Some(0),
            (Self::Row(row), _) => Some(row),
            (Self::AfterPadding, None | Some(Json::Null)) => Some(2),
            (Self::AfterPadding, Some(id)) => id.as_u64()?.checked_add(1)?.try_into().ok(),
        }
    }
}

/// Which row of the table of token types a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTypes {
    /// That of its type, as the tokenizer's template has it.
    OfTemplate,
    /// The first, whatever the template says: the architecture knows no types.
    AlwaysFirst,
    /// None: there is no such table.
    None,
}

/// Vocabulary files of older checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// `vocab.txt`.
    WordPiece,
    /// `vocab.json` and `merges.txt`.
    ByteLevelBpe,
}

impl Vocabulary {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::WordPiece, Self::ByteLevelBpe];

    /// The names of the files.
    pub const fn files(self) -> &'static [&'static str] {
        match self {
            Self::WordPiece => &["vocab.txt"],
            Self::ByteLevelBpe => &["vocab.json", "merges.txt"],
        }
    }

    /// Whether a folder has all of them.
    pub fn is_in(self, folder: &Path) -> bool {
        self.files().iter().all(|name| folder.join(name).is_file())
    }
}

/// The head of `...ForSequenceClassification`: a dense layer with a function of its outputs on the first token, dropout, a linear
/// layer; by the names of its layers in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceHead {
    /// The dense layer.
    pub dense: &'static str,
    /// What becomes of its outputs.
    pub activation: Activation,
    /// The linear layer.
    pub output: &'static str,
    /// The key of `config.json` for the dropout between them, if it has one of its own.
    pub dropout: Option<&'static str>,
}

/// What the classes of an architecture have between hidden states and the linear layer of labels and answers alike: a dense layer without
/// a bias, GELU and LayerNorm; by the names of the layers in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadTransform {
    /// The dense layer.
    pub dense: &'static str,
    /// LayerNorm.
    pub norm: &'static str,
    /// The linear layer behind them, in every class.
    pub output: &'static str,
}

impl HeadTransform {
    /// What is added to the variance in its LayerNorm.
    pub const EPSILON: f64 = 1e-5;

    /// Refuses one of another form.
    ///
    /// # Errors
    /// A field of `config.json` says so.
    pub fn check(config: &Json) -> Result<()> {
        // What transformers takes where they are left out.
        let expected = json!({
            "classifier_activation": "gelu", "classifier_bias": false, "norm_bias": false, "norm_eps": Self::EPSILON,
        });
        for (field, expected) in expected.as_object().into_iter().flatten() {
            if let Some(found) = config.get(field).filter(|found| !found.is_null() && *found != expected) {
                config::fault(field, &expected.to_string(), &found.to_string())?;
            }
        }
        Ok(())
    }
}

/// A name of an architecture: transformers has several for some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelName {
    /// The `model_type` of a `config.json`.
    pub model_type: &'static str,
    /// What the names of its classes in transformers begin with: `Bert` of `BertForTokenClassification`.
    pub class: &'static str,
}

impl ModelName {
    /// Whether a class of transformers is of this name: `BertModel`, `BertForQuestionAnswering`.
    fn has(&self, class: &str) -> bool {
        let rest = class.strip_prefix(self.class);
        rest.is_some_and(|rest| rest == "Model" || rest.starts_with("For"))
    }

    /// Whether a `config.json` has this name: as its `model_type`, or, as some have none, in its `architectures`.
    fn is_in(&self, config: &Json) -> bool {
        match model_type(config) {
            Some(found) => found == self.model_type,
            None => classes(config).any(|class| self.has(class)),
        }
    }
}

fn model_type(config: &Json) -> Option<&Json> {
    config.get("model_type").filter(|found| !found.is_null())
}

fn classes(config: &Json) -> impl Iterator<Item = &str> {
    let classes = config.get("architectures").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    classes.iter().filter_map(Json::as_str)
}

impl EncoderKind {
    /// The architecture that a `config.json` describes: by its `model_type`, or, as some checkpoints have none, by its
    /// `architectures`. The path is for errors.
    pub fn of(path: &Path, config: &Json) -> Result<&'static Self> {
        let known = ENCODERS.iter().find(|kind| kind.names().any(|name| name.is_in(config)));
        known.ok_or_else(|| match (model_type(config), classes(config).next()) {
            (Some(found), _) => {
                let found = found.as_str().unwrap_or("none");
                let message = format!("expected one of {}, found `{found}`", Self::known());
                let hint = "encoders of this architecture are not supported yet";
                Error::data(message).at(Place::field(path, "model_type")).hint(hint)
            }
            (None, class) => {
                let found = match class {
                    Some(class) => format!("no `model_type`, and `architectures` is `{class}`"),
                    None => "neither `model_type` nor `architectures`".to_owned(),
                };
                let message = format!("expected a `model_type`, one of {}, found {found}", Self::known());
                Error::data(message)
                    .at(Place::file(path))
                    .hint("if it is one of these, add the line, as in \"model_type\": \"bert\"")
            }
        })
    }

    /// Its names in transformers, the usual one first.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        std::iter::once(&self.name).chain(self.other_names)
    }

    /// The one of its names that a `config.json` has.
    pub fn name_in(&self, config: &Json) -> ModelName {
        *self.names().find(|name| name.is_in(config)).unwrap_or(&self.name)
    }

    /// The longest sequence of an encoder with this `config.json`, in tokens, if it says so.
    pub fn max_tokens(&self, config: &Json) -> Option<usize> {
        let positions: usize = config.get("max_position_embeddings")?.as_u64()?.try_into().ok()?;
        positions.checked_sub(self.first_position.row(config)? as usize)
    }

    fn known() -> String {
        let names = ENCODERS.iter().flat_map(EncoderKind::names).map(|name| name.model_type);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Builds an encoder by its entry, its `config.json` (the path is for errors) and a checkpoint's tensors.
pub type OpenEncoder = fn(&EncoderKind, &Path, &Json, &EncoderOverrides, &mut Weights) -> Result<Box<dyn Encoder>>;

/// What a recipe may change about an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderOverrides {
    /// What its matrix products are computed in.
    pub precision: Precision,
    /// Which of its linear layers multiply bytes: of a model that answers.
    pub int8: Int8,
    /// Dropout of hidden states, instead of the checkpoint's own.
    pub dropout: Option<f64>,
    /// Dropout of attention probabilities, instead of the checkpoint's own.
    pub attention_dropout: Option<f64>,
    /// What of it is not trained.
    pub freeze: Freeze,
    /// Low-rank additions to its linear layers; all else of it is then not trained.
    pub lora: Option<Lora>,
    /// What of it the tasks share.
    pub sharing: Strategy,
    /// Whether training keeps the input of each layer alone, and computes the rest of it again in the backward pass.
    pub recompute: bool,
}

impl Default for EncoderOverrides {
    fn default() -> Self {
        let (precision, int8, freeze) = Default::default();
        let (dropout, attention_dropout, lora, recompute) = (None, None, None, false);
        Self { precision, int8, dropout, attention_dropout, freeze, lora, sharing: sharing::hard(), recompute }
    }
}

/// What heads read of the hidden states behind the last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Those of all tokens, `[rows, hidden]`.
    #[default]
    AllTokens,
    /// Those of the first token of each sequence, `[sequences, hidden]`: behind its attention the last layer computes no others.
    FirstTokens,
}

impl Reads {
    /// What the layer of this depth, of so many, has to compute behind its attention.
    fn of_layer(self, depth: usize, layers: usize) -> Self {
        if depth + 1 == layers { self } else { Self::AllTokens }
    }

    /// The rows of a value that are read.
    fn rows(self, ops: &mut dyn Ops, value: Value) -> candle_core::Result<Value> {
        match self {
            Self::AllTokens => Ok(value),
            Self::FirstTokens => ops.select_rows(&value, Index::FirstTokens),
        }
    }
}

/// Sees the output of the embeddings and of every layer, `[rows, hidden]` each.
pub type HiddenStateCallback<'a> = dyn FnMut(Tensor) + Send + 'a;

/// A Transformer encoder.
pub trait Encoder: Send + Sync {
    /// Encodes the batch of a backend, as far as all tasks share the encoder: the hidden states that are read. `each` sees the output of the embeddings and of
    /// every such layer.
    fn forward(&self, ops: &mut dyn Ops, reads: Reads, each: Option<&mut HiddenStateCallback>) -> Result<Value>;

    /// What the part of the encoder that is private to the task of this number makes of these of a head: those that the head reads.
    fn of_task(&self, ops: &mut dyn Ops, task: usize, hidden: &Value, reads: Reads) -> Result<Value>;

    /// What there is to know of it besides what it computes.
    fn facts(&self) -> &EncoderFacts;

    /// What its matrix products are computed in.
    fn precision(&self) -> Precision {
        self.facts().precision
    }

    /// Where its tensors live.
    fn device(&self) -> &Device {
        &self.facts().device
    }

    /// The width of its hidden states.
    fn hidden_size(&self) -> usize {
        self.facts().hidden_size
    }

    /// Its layers.
    fn layers(&self) -> usize {
        self.facts().layers
    }

    /// The longest sequence it can encode, in tokens.
    fn max_tokens(&self) -> usize {
        self.facts().max_tokens
    }

    /// The token ids it knows run from 0 to one less than this.
    fn vocabulary(&self) -> usize {
        self.facts().vocabulary
    }
}

/// What there is to know of an encoder besides what it computes. See the methods of [`Encoder`].
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct EncoderFacts {
    pub precision: Precision,
    pub recomputes: bool,
    pub device: Device,
    pub hidden_size: usize,
    pub layers: usize,
    pub max_tokens: usize,
    pub vocabulary: usize,
}

/// The heads on an encoder: from a head's number and the hidden states of its windows to its logits.
pub type Heads<'a> = dyn Fn(usize, &Value, &mut dyn Ops) -> Result<Value> + Sync + 'a;

/// What a head made of its windows.
pub struct Output {
    /// `[rows, outputs]`
    pub logits: Tensor,
    /// Which of the rows are of which window.
    pub segments: Segments,
}

/// Runs an encoder over a batch, and each head over its part of it. In training a loss of the outputs, one tensor, can be sent
/// back through all of it, once. `reads` is what every head reads. With a `join`, the heads' gradients on the hidden states pass through it.
pub fn run(
    encoder: &dyn Encoder,
    batch: &Batch,
    pass: Pass,
    reads: Reads,
    join: Option<Join>,
    heads: &Heads,
) -> Result<Vec<Output>> {
    // Heads on parts of a batch take their rows of all tokens.
    let reads = match batch.heads.as_slice() {
        [HeadInputs { rows: None, .. }] => reads,
        _ => Reads::AllTokens,
    };
    let forward = || {
        let mut values = Vec::with_capacity(batch.heads.len());
        if encoder.device().is_cpu() {
            let tape = Tape::new(encoder.precision(), pass, batch.inputs.clone());
            let mut tape = tape.recomputing(encoder.facts().recomputes);
            let hidden = encoder.forward(&mut tape, reads, None)?;
            let of_heads = match join {
                Some(join) => tape.for_heads(&hidden, batch.heads.len(), join)?,
                None => vec![hidden; batch.heads.len()],
            };
            for (at, (hidden, HeadInputs { rows, inputs, begins })) in of_heads.iter().zip(&batch.heads).enumerate() {
                let own = tape.for_head(hidden, rows.as_deref(), pass.beginning_at(*begins), inputs.clone())?;
                values.push(heads(at, &own, &mut tape)?);
            }
            return Ok::<_, Error>((tape.finish(&values)?, values));
        }
        if join.is_some() {
            return Err(Error::usage("expected the CPU: gradients on hidden states are joined there alone"));
        }
        let mut plain = Plain::new(pass, batch.inputs.clone());
        let hidden = encoder.forward(&mut plain, reads, None)?;
        for (at, HeadInputs { rows, inputs, begins }) in batch.heads.iter().enumerate() {
            let own = plain.for_head(&hidden, rows.as_deref(), pass.beginning_at(*begins), inputs.clone())?;
            values.push(heads(at, &own, &mut plain)?);
        }
        Ok((plain.finish(&values)?, values))
    };
    let (logits, values) = match pass {
        Pass::Evaluate => in_team(forward),
        Pass::Train { .. } => in_pool(forward),
    }?;
    let segments = values.iter().zip(&batch.heads).map(|(value, head)| head.inputs.segments_of(value.rows_of()));
    let output = |(logits, segments)| Output { logits, segments };
    Ok(logits.into_iter().zip(segments).map(output).collect())
}
