//! Encoders of BERT's build: the sum of embeddings, then layers with LayerNorm behind each residual ("post-norm") and exact GELU.
//!
//! ```text
//! h₀ = dropout(LN(word + position + type))
//! a  = LN(h + dropout(Wₒ attention(Wqkv h)))        per layer
//! h  = LN(a + dropout(W₂ gelu(W₁ a)))
//! ```
//!
//! Tensors are named as transformers names them (`embeddings.word_embeddings.weight`,
//! `encoder.layer.0.attention.self.query.weight` ...). The pooler is kept and saved, but no task uses it: it is not
//! trained. What differs between the architectures of this build stands in their entries ([`EncoderKind`]).

use super::{Encoder, EncoderKind, EncoderOverrides, HiddenStateCallback, Precision, TokenTypes};
use crate::error::{Error, Place, Result};
use crate::parameters::{Group, Role, Weights};
use candle_core::Device;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{Activation, Attention, DropoutAt, Index, Linear, Ops, Part, Value, Weight};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// The fields of `config.json` that shape the computation.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu_name")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    attention_probs_dropout_prob: f64,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

fn two() -> usize {
    2
}
fn gelu_name() -> String {
    "gelu".into()
}
fn epsilon() -> f64 {
    1e-12
}
fn tenth() -> f64 {
    0.1
}
fn absolute() -> String {
    "absolute".into()
}

/// An encoder of this build.
struct PostNorm {
    config: Config,
    precision: Precision,
    /// Each with the index that picks its rows.
    tables: Vec<(Weight, Index)>,
    norm: Norm,
    layers: Vec<Layer>,
    /// The row of the first position.
    first_position: u32,
    device: Device,
}

struct Layer {
    /// Queries, keys and values: one product.
    qkv: Arc<Linear>,
    attention_output: Arc<Linear>,
    attention_norm: Norm,
    intermediate: Arc<Linear>,
    output: Arc<Linear>,
    output_norm: Norm,
}

/// Builds an encoder of this build. See [`super::OpenEncoder`].
pub(super) fn open(
    kind: &EncoderKind,
    path: &Path,
    config: &serde_json::Value,
    adjust: &EncoderOverrides,
    weights: &mut Weights,
) -> Result<Box<dyn Encoder>> {
    let mut read: Config = serde_json::from_value(config.clone()).map_err(|cause| {
        let model_type = kind.name_in(config).model_type;
        Error::data(format!("not the configuration of a model of the type `{model_type}`: {cause}"))
            .at(Place::file(path))
    })?;
    read.hidden_dropout_prob = adjust.dropout.unwrap_or(read.hidden_dropout_prob);
    read.attention_probs_dropout_prob = adjust.attention_dropout.unwrap_or(read.attention_probs_dropout_prob);
    let first = read.check().and_then(|()| first_position(kind, config, read.max_position_embeddings));
    let first = first.map_err(|error| error.at_least(Place::file(path)))?;
    Ok(Box::new(PostNorm::open(kind, read, first, adjust.precision, weights)?))
}

/// The row of the first position, of so many rows.
fn first_position(kind: &EncoderKind, config: &serde_json::Value, rows: usize) -> Result<u32> {
    let first = kind.first_position.row(config).filter(|first| (*first as usize) < rows);
    first.ok_or_else(|| {
        let found = config.get("pad_token_id").map_or("none".to_owned(), ToString::to_string);
        Error::data(format!(
            "`pad_token_id`: expected a number below max_position_embeddings - 1 = {}, found {found}",
            rows - 1
        ))
        .hint("positions begin behind that of the padding token")
    })
}

impl PostNorm {
    fn open(
        kind: &EncoderKind,
        config: Config,
        first_position: u32,
        wanted: Precision,
        weights: &mut Weights,
    ) -> Result<Self> {
        let types = match kind.token_types {
            TokenTypes::OfTemplate => Index::TokenTypes,
            TokenTypes::AlwaysFirst => Index::FirstRow,
        };
        let Config { hidden_size: hidden, intermediate_size: inner, .. } = config;
        weights.in_group(Group::Embeddings);
        let mut table =
            |name: &str, rows| weights.get(&format!("embeddings.{name}.weight"), &[rows, hidden], Role::Weight);
        let tables = vec![
            (table("word_embeddings", config.vocab_size)?, Index::TokenIds),
            (table("position_embeddings", config.max_position_embeddings)?, Index::PositionsFrom(first_position)),
            (table("token_type_embeddings", config.type_vocab_size)?, types),
        ];
        let epsilon = config.layer_norm_eps;
        let norm = open_norm(weights, "embeddings.LayerNorm", hidden, epsilon)?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| {
                weights.in_group(Group::Layer(layer));
                let at = |name: &str| format!("encoder.layer.{layer}.{name}");
                let [query, key, value] = ["query", "key", "value"].map(|name| at(&format!("attention.self.{name}")));
                Ok(Layer {
                    qkv: open_linear(weights, &[query, key, value], hidden, hidden)?,
                    attention_output: open_linear(weights, &[at("attention.output.dense")], hidden, hidden)?,
                    attention_norm: open_norm(weights, &at("attention.output.LayerNorm"), hidden, epsilon)?,
                    intermediate: open_linear(weights, &[at("intermediate.dense")], hidden, inner)?,
                    output: open_linear(weights, &[at("output.dense")], inner, hidden)?,
                    output_norm: open_norm(weights, &at("output.LayerNorm"), hidden, epsilon)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        // A checkpoint that was saved with a task head of its own may come without a pooler.
        weights.in_group(Group::Pooler);
        if weights.holds("pooler.dense.weight") {
            weights.get("pooler.dense.weight", &[hidden, hidden], Role::Unused)?;
            weights.get("pooler.dense.bias", &[hidden], Role::Unused)?;
        }
        // Products in bf16 take their factors in pairs of neighbours, which must not reach across heads.
        let paired = [hidden / config.num_attention_heads, inner].iter().all(|width| width.is_multiple_of(2));
        let precision = if paired { wanted } else { Precision::F32 };
        Ok(Self { config, precision, tables, norm, layers, first_position, device: weights.device().clone() })
    }
}

impl Config {
    /// Refuses what this implementation would compute differently, and numbers that no tensor could have.
    fn check(&self) -> Result<()> {
        let fault = |field: &str, expected: &str, found: String| {
            Err(Error::data(format!("`{field}`: expected {expected}, found {found}")))
        };
        if self.hidden_act != "gelu" {
            return fault("hidden_act", "`gelu` (the exact one)", format!("`{}`", self.hidden_act));
        }
        if self.position_embedding_type != "absolute" {
            return fault("position_embedding_type", "`absolute`", format!("`{}`", self.position_embedding_type));
        }
        if self.is_decoder || self.add_cross_attention {
            return fault("is_decoder, add_cross_attention", "false (an encoder)", "true".to_owned());
        }
        const MOST: usize = 1 << 24;
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, MOST),
            ("hidden_size", self.hidden_size, MOST),
            ("num_hidden_layers", self.num_hidden_layers, 1024), // missing tensors are listed layer by layer
            ("num_attention_heads", self.num_attention_heads, MOST),
            ("intermediate_size", self.intermediate_size, MOST),
            ("max_position_embeddings", self.max_position_embeddings, MOST),
            ("type_vocab_size", self.type_vocab_size, MOST),
        ] {
            if value == 0 || value > most {
                return fault(field, &format!("a number from 1 to {most}"), value.to_string());
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return fault("layer_norm_eps", "a number between 0 and 1", self.layer_norm_eps.to_string());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let heads = self.num_attention_heads;
            return fault(
                "hidden_size",
                &format!("a multiple of num_attention_heads = {heads}"),
                self.hidden_size.to_string(),
            );
        }
        for (field, rate) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return fault(field, "a rate from 0 up to 1", rate.to_string());
            }
        }
        Ok(())
    }
}

/// Linear layers of these names, side by side.
fn open_linear(weights: &mut Weights, names: &[String], inner: usize, outer: usize) -> Result<Arc<Linear>> {
    let mut part = |name: &String| {
        let weight = weights.get(&format!("{name}.weight"), &[outer, inner], Role::Weight)?;
        let part = Part::new(weight, Some(weights.get(&format!("{name}.bias"), &[outer], Role::Bias)?));
        Ok(match weights.low_rank(name, outer, inner)? {
            Some(addition) => part.with_low_rank(addition),
            None => part,
        })
    };
    let parts = names.iter().map(&mut part).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Linear::new(parts)))
}

fn open_norm(weights: &mut Weights, name: &str, hidden: usize, epsilon: f64) -> Result<Norm> {
    let gamma = weights.get(&format!("{name}.weight"), &[hidden], Role::Norm)?;
    Ok(Norm::new(gamma, weights.get(&format!("{name}.bias"), &[hidden], Role::Norm)?, epsilon))
}

impl Encoder for PostNorm {
    fn forward(&self, ops: &mut dyn Ops, mut each: Option<&mut HiddenStateCallback>) -> Result<Value> {
        let Config { hidden_dropout_prob: rate, attention_probs_dropout_prob: attention_rate, .. } = self.config;
        let heads = self.config.num_attention_heads;
        let dropout = DropoutAt::new(attention_rate, "attention");
        let [after_attention, after] = ["attention output", "output"].map(|place| DropoutAt::new(rate, place));
        let mut h = ops.embeddings(&self.tables, &self.norm, DropoutAt::new(rate, "embeddings"))?;
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(each) = &mut each {
                each(h.to_tensor()?);
            }
            let attention = Attention { heads, dropout: dropout.of_layer(index) };
            let mixed = ops.self_attention(&h, &layer.qkv, attention)?;
            let drop = after_attention.of_layer(index);
            let attended =
                ops.linear_residual_norm(&mixed, &layer.attention_output, &h, &layer.attention_norm, drop)?;
            // [rows, intermediate]
            let inner = ops.linear_activation(&attended, &layer.intermediate, Activation::Gelu)?;
            let drop = after.of_layer(index);
            h = ops.linear_residual_norm(&inner, &layer.output, &attended, &layer.output_norm, drop)?;
        }
        if let Some(each) = each {
            each(h.to_tensor()?);
        }
        Ok(h)
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn max_tokens(&self) -> usize {
        self.config.max_position_embeddings - self.first_position as usize
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }
}
