//! BERT (Devlin et al., arXiv:1810.04805): learned positions, token types, post-LayerNorm, exact GELU.
//!
//! ```text
//! h₀ = dropout(LN(word + position + type))
//! a  = LN(h + dropout(Wₒ attention(Wqkv h)))        per layer
//! h  = LN(a + dropout(W₂ gelu(W₁ a)))
//! ```
//!
//! Tensors are named as `transformers.BertModel` names them (`embeddings.word_embeddings.weight`,
//! `encoder.layer.0.attention.self.query.weight` ...). The pooler is kept and saved, but no task uses it: it is not
//! trained.

use super::{Adjust, Encoder, EncoderKind, Pass, Precision};
use crate::batch::Batch;
use crate::error::{Error, Place, Result};
use crate::parameters::{Train, Weights};
use candle_core::Tensor;
use polyhead_kernels::attention::attention;
use polyhead_kernels::dropout::dropout;
use polyhead_kernels::embedding::embedding;
use polyhead_kernels::gelu::gelu;
use polyhead_kernels::layer_norm::{dropout_residual_layer_norm, layer_norm};
use polyhead_kernels::linear::linear;
use serde::Deserialize;
use std::path::Path;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    model_type: "bert",
    open: |path, config, adjust, weights| Ok(Box::new(Bert::open(path, config, adjust, weights)?)),
};

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

/// A BERT encoder.
pub struct Bert {
    config: Config,
    precision: Precision,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
}

/// How a linear layer computes.
#[derive(Clone, Copy)]
struct How {
    pass: Pass,
    precision: Precision,
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
}

struct Norm {
    gamma: Tensor,
    beta: Tensor,
}

impl Bert {
    fn open(path: &Path, config: &serde_json::Value, adjust: &Adjust, weights: &mut Weights) -> Result<Self> {
        let mut config: Config = serde_json::from_value(config.clone()).map_err(|cause| {
            Error::data(format!("not the configuration of a BERT model: {cause}")).at(Place::file(path))
        })?;
        config.hidden_dropout_prob = adjust.dropout.unwrap_or(config.hidden_dropout_prob);
        config.attention_probs_dropout_prob = adjust.attention_dropout.unwrap_or(config.attention_probs_dropout_prob);
        config.check().map_err(|error| error.at_least(Place::file(path)))?;
        let Config { hidden_size: hidden, intermediate_size: inner, .. } = config;
        let words = weights.get("embeddings.word_embeddings.weight", &[config.vocab_size, hidden], Train::Yes)?;
        let positions = weights.get(
            "embeddings.position_embeddings.weight",
            &[config.max_position_embeddings, hidden],
            Train::Yes,
        )?;
        let types =
            weights.get("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden], Train::Yes)?;
        let norm = Norm::open(weights, "embeddings.LayerNorm", hidden)?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| {
                let at = |name: &str| format!("encoder.layer.{layer}.{name}");
                Ok(Layer {
                    query: Linear::open(weights, &at("attention.self.query"), hidden, hidden)?,
                    key: Linear::open(weights, &at("attention.self.key"), hidden, hidden)?,
                    value: Linear::open(weights, &at("attention.self.value"), hidden, hidden)?,
                    attention_output: Linear::open(weights, &at("attention.output.dense"), hidden, hidden)?,
                    attention_norm: Norm::open(weights, &at("attention.output.LayerNorm"), hidden)?,
                    intermediate: Linear::open(weights, &at("intermediate.dense"), hidden, inner)?,
                    output: Linear::open(weights, &at("output.dense"), inner, hidden)?,
                    output_norm: Norm::open(weights, &at("output.LayerNorm"), hidden)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        // A checkpoint that was saved with a task head of its own may come without a pooler.
        if weights.holds("pooler.dense.weight") {
            weights.get("pooler.dense.weight", &[hidden, hidden], Train::No)?;
            weights.get("pooler.dense.bias", &[hidden], Train::No)?;
        }
        Ok(Self { config, precision: adjust.precision, words, positions, types, norm, layers })
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

impl Linear {
    fn open(weights: &mut Weights, name: &str, inner: usize, outer: usize) -> Result<Self> {
        let weight = weights.get(&format!("{name}.weight"), &[outer, inner], Train::Yes)?;
        Ok(Self { weight, bias: weights.get(&format!("{name}.bias"), &[outer], Train::Yes)? })
    }

    /// One layer whose outputs are those of several, side by side.
    fn side_by_side(layers: [&Linear; 3], pass: Pass) -> Result<Self> {
        let weight = Tensor::cat(&layers.map(|layer| pass.weight(&layer.weight)), 0)?;
        Ok(Self { weight, bias: Tensor::cat(&layers.map(|layer| pass.weight(&layer.bias)), 0)? })
    }

    fn apply(&self, x: &Tensor, how: How) -> Result<Tensor> {
        let How { pass, precision } = how;
        Ok(linear(x, &pass.weight(&self.weight), &pass.weight(&self.bias), precision)?)
    }
}

impl Norm {
    fn open(weights: &mut Weights, name: &str, hidden: usize) -> Result<Self> {
        let gamma = weights.get(&format!("{name}.weight"), &[hidden], Train::Yes)?;
        Ok(Self { gamma, beta: weights.get(&format!("{name}.bias"), &[hidden], Train::Yes)? })
    }
}

impl Encoder for Bert {
    fn forward(&self, batch: &Batch, pass: Pass, each: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let Config { hidden_dropout_prob: rate, attention_probs_dropout_prob: attention_rate, .. } = self.config;
        let (epsilon, how) = (self.config.layer_norm_eps, How { pass, precision: self.precision });
        // All of [rows, hidden].
        let tables = [&self.words, &self.positions, &self.types].map(|table| pass.weight(table));
        let embedded = embedding(batch.rows.clone(), &tables[0], &tables[1], &tables[2])?;
        let normed = layer_norm(&embedded, &pass.weight(&self.norm.gamma), &pass.weight(&self.norm.beta), epsilon)?;
        let mut h = dropout(&normed, pass.dropout(rate, "embeddings", 0))?;
        each(&h);
        for (index, layer) in self.layers.iter().enumerate() {
            // [rows, 3 hidden]
            let qkv = Linear::side_by_side([&layer.query, &layer.key, &layer.value], pass)?.apply(&h, how)?;
            let drop = pass.dropout(attention_rate, "attention", index);
            let mixed = attention(&qkv, &batch.segments, self.config.num_attention_heads, drop)?;
            let projected = layer.attention_output.apply(&mixed, how)?;
            let drop = pass.dropout(rate, "attention output", index);
            let attended = layer.attention_norm.end(&projected, &h, epsilon, drop, pass)?;
            // [rows, intermediate]
            let inner = gelu(&layer.intermediate.apply(&attended, how)?)?;
            let drop = pass.dropout(rate, "output", index);
            h = layer.output_norm.end(&layer.output.apply(&inner, how)?, &attended, epsilon, drop, pass)?;
            each(&h);
        }
        Ok(h)
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn max_tokens(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }
}

impl Norm {
    /// The end of a sub-layer: `LN(dropout(x) + residual)`.
    fn end(
        &self,
        x: &Tensor,
        residual: &Tensor,
        epsilon: f64,
        dropout: Option<polyhead_kernels::Dropout>,
        pass: Pass,
    ) -> Result<Tensor> {
        let (gamma, beta) = (pass.weight(&self.gamma), pass.weight(&self.beta));
        Ok(dropout_residual_layer_norm(x, residual, &gamma, &beta, epsilon, dropout)?)
    }
}
