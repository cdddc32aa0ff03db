//! ModernBERT (Warner et al., arXiv:2412.13663): LayerNorm before each sub-layer, rotary positions, gated feed-forward layers, and
//! attention that sees the whole sequence in every third layer and the tokens around in the others.
//!
//! ```text
//! h₀ = dropout(LN(word))
//! h  = h + dropout(Wₒ attention(Wqkv LN(h)))         per layer; the first one has no LN here
//! h  = h + Wₒ dropout(f(a) g)                        a and g are the halves of Wᵢ LN(h)
//! h  = LN(h)                                         behind the last layer
//! ```
//!
//! A local layer sees tokens up to half of `local_attention` apart. Its angles have a base of their own. Configurations of transformers 4
//! (`global_attn_every_n_layers`, `global_rope_theta`, `local_rope_theta`) and 5 (`layer_types`, `rope_parameters`) are read.

use super::config::{self, Biased, Shape};
use super::layers::{Layers, SubLayerEnd};
use super::{
    Encoder, EncoderFacts, EncoderKind, EncoderOverrides, FirstPosition, HeadTransform, HiddenStateCallback, ModelName,
    Reads, TokenTypes,
};
use crate::error::{Error, Place, Result};
use crate::parameters::{Group, Ia3Layers, Naming, Weights};
use crate::sharing::{self, Site, SubLayer};
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{Activation, Attention, DropoutAt, Index, Linear, Ops, Positions, Value, Weight};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "modernbert", class: "ModernBert" },
    about: "ModernBERT: long texts, local and global attention",
    other_names: &[],
    naming: Naming {
        prefix: "model.",
        parts: &["embeddings.", "layers.", "final_norm."],
        ignored: &[],
        pretraining: &["decoder."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::None,
    case_embeddings: false,
    vocabulary: None,
    lora_targets: &["Wqkv"],
    ia3: Ia3Layers { outputs: &["Wqkv"], inputs: &["mlp.Wo"] },
    sequence_head: None,
    head_transform: Some(HeadTransform { dense: "head.dense", norm: "head.norm", output: "classifier" }),
    fixture: "tiny-modernbert",
    open,
};

const KEYS: &[(&str, &str)] = &[
    ("hidden_activation", "hidden_act"),
    ("norm_eps", "layer_norm_eps"),
    ("embedding_dropout", "hidden_dropout_prob"),
    ("attention_dropout", "attention_probs_dropout_prob"),
];
/// What transformers takes where `config.json` says nothing.
const DEFAULTS: &str = r#"{
    "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "local_attention": 128,
    "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0
}"#;
/// The names of the two kinds of layers in `layer_types` and `rope_parameters`.
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The fields of `config.json` that shape the computation.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(flatten)]
    shape: Shape,
    max_position_embeddings: usize,
    local_attention: usize,
    global_attn_every_n_layers: usize,
    global_rope_theta: f64,
    local_rope_theta: f64,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    mlp_dropout: f64,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    norm_bias: bool,
}

struct ModernBert {
    config: Config,
    facts: EncoderFacts,
    words: Weight,
    norm: Norm,
    layers: Layers<Arc<Layer>>,
    final_norm: Norm,
}

struct Layer {
    /// None in the first layer.
    attention_norm: Option<Norm>,
    qkv: Arc<Linear>,
    attention_end: SubLayerEnd,
    norm: Norm,
    /// Both halves of what is gated.
    gated: Arc<Linear>,
    output_end: SubLayerEnd,
    /// The base of its angles, and how far apart tokens may be that attend to each other.
    base: f64,
    window: Option<usize>,
    heads: usize,
    activation: Activation,
    /// How often what attention makes, and what is gated, is dropped.
    attention_rate: f64,
    inner_rate: f64,
}

fn open(
    kind: &EncoderKind,
    path: &Path,
    config: &serde_json::Value,
    adjust: &EncoderOverrides,
    weights: &mut Weights,
) -> Result<Box<dyn Encoder>> {
    let mut read: Config = config::read(kind, path, config, KEYS, DEFAULTS)?;
    read.shape.adjust(adjust);
    if let Some(rate) = adjust.dropout {
        read.mlp_dropout = rate;
    }
    let reaches = read.check().and_then(|()| read.reaches()).map_err(|error| error.at_least(Place::file(path)))?;
    Ok(Box::new(ModernBert::open(read, &reaches, adjust, weights)?))
}

impl Config {
    fn check(&self) -> Result<()> {
        self.shape.check()?;
        config::check_count("max_position_embeddings", self.max_position_embeddings)?;
        config::check_count("local_attention", self.local_attention)?;
        config::check_count("global_attn_every_n_layers", self.global_attn_every_n_layers)?;
        if !(0.0..1.0).contains(&self.mlp_dropout) {
            return config::fault("mlp_dropout", "a rate from 0 up to 1", &self.mlp_dropout.to_string());
        }
        let size = self.shape.hidden_size / self.shape.num_attention_heads;
        if !size.is_multiple_of(2) {
            return config::fault("hidden_size", "heads of an even width", &size.to_string());
        }
        Ok(())
    }

    /// Of each layer the base of its angles and its window.
    fn reaches(&self) -> Result<Vec<(f64, Option<usize>)>> {
        let depth = self.shape.num_hidden_layers;
        let types = match &self.layer_types {
            Some(types) if types.len() == depth => types.clone(),
            Some(types) => {
                config::fault(
                    "layer_types",
                    &format!("{depth} of them, as num_hidden_layers says"),
                    &types.len().to_string(),
                )?;
                Vec::new()
            }
            None => {
                let full = |layer: usize| layer.is_multiple_of(self.global_attn_every_n_layers);
                (0..depth).map(|layer| if full(layer) { FULL } else { SLIDING }.to_owned()).collect()
            }
        };
        let (full, local) = (self.base(FULL, self.global_rope_theta)?, self.base(SLIDING, self.local_rope_theta)?);
        types
            .iter()
            .map(|name| match name.as_str() {
                FULL => Ok((full, None)),
                SLIDING => Ok((local, Some(self.local_attention / 2))),
                other => {
                    config::fault("layer_types", &format!("{FULL} and {SLIDING}"), &format!("`{other}`"))?;
                    Ok((full, None))
                }
            })
            .collect()
    }

    /// The base of the angles of one kind of layers.
    fn base(&self, kind: &str, otherwise: f64) -> Result<f64> {
        let parameters = self.rope_parameters.as_ref().and_then(|all| all.get(kind));
        let of = |name: &str| parameters.and_then(|parameters| parameters.get(name)).filter(|value| !value.is_null());
        let field = format!("rope_parameters.{kind}");
        if let Some(other) = of("rope_type").filter(|name| *name != "default") {
            config::fault(&format!("{field}.rope_type"), "`default`", &other.to_string())?;
        }
        let base = of("rope_theta").map_or(Some(otherwise), serde_json::Value::as_f64);
        match base {
            Some(base) if base > 1.0 && base.is_finite() => Ok(base),
            other => {
                config::fault(&format!("{field}.rope_theta"), "a number above 1", &format!("{other:?}"))?;
                Ok(otherwise)
            }
        }
    }
}

impl ModernBert {
    fn open(
        config: Config,
        reaches: &[(f64, Option<usize>)],
        adjust: &EncoderOverrides,
        weights: &mut Weights,
    ) -> Result<Self> {
        let Shape { hidden_size: hidden, intermediate_size: inner, layer_norm_eps: epsilon, .. } = config.shape;
        let norm = |weights: &mut Weights, name: &str| {
            config::norm_with(weights, name, hidden, epsilon, Biased(config.norm_bias))
        };
        let linear = |weights: &mut Weights, name: String, inner, outer, biased| {
            config::linear_with(weights, &[name], inner, outer, Biased(biased))
        };
        weights.in_group(Group::Embeddings);
        let words = config::table(weights, "embeddings.tok_embeddings", config.shape.vocab_size, hidden)?;
        let first_norm = norm(weights, "embeddings.norm")?;
        let sharing = sharing::open(&adjust.sharing)?;
        let end = |weights: &mut Weights, of: SubLayer, name: String, inner, biased| {
            let linear = linear(weights, name.clone(), inner, hidden, biased)?;
            let insert = sharing.insert(&Site { name: &name, norm: None, of, hidden }, weights)?;
            Ok::<_, Error>(SubLayerEnd { linear, norm: None, insert })
        };
        let numbers: Vec<usize> = (0..reaches.len()).collect();
        let layers = Layers::open(&numbers, config.shape.width(), &*sharing, weights, |weights, depth, _| {
            weights.in_group(Group::Layer(depth));
            let (base, window) = reaches.get(depth).copied().unwrap_or_default();
            let at = |name: &str| format!("layers.{depth}.{name}");
            Ok(Arc::new(Layer {
                attention_norm: if depth == 0 { None } else { Some(norm(weights, &at("attn_norm"))?) },
                qkv: linear(weights, at("attn.Wqkv"), hidden, 3 * hidden, config.attention_bias)?,
                attention_end: end(weights, SubLayer::Attention, at("attn.Wo"), hidden, config.attention_bias)?,
                norm: norm(weights, &at("mlp_norm"))?,
                gated: linear(weights, at("mlp.Wi"), hidden, 2 * inner, config.mlp_bias)?,
                output_end: end(weights, SubLayer::FeedForward, at("mlp.Wo"), inner, config.mlp_bias)?,
                base,
                window,
                heads: config.shape.num_attention_heads,
                activation: config.shape.activation()?,
                attention_rate: config.shape.attention_probs_dropout_prob,
                inner_rate: config.mlp_dropout,
            }))
        })?;
        let final_norm = norm(weights, "final_norm")?;
        let facts = config.shape.facts(adjust, layers.depth(), config.max_position_embeddings, weights);
        Ok(Self { config, facts, words, norm: first_norm, layers, final_norm })
    }
}

impl Layer {
    /// The hidden states behind this layer, the one of this depth: those that are read.
    fn forward(&self, ops: &mut dyn Ops, h: &Value, depth: usize, reads: Reads) -> candle_core::Result<Value> {
        let drop = |place, rate| DropoutAt::new(rate, place).of_layer(depth);
        let normal = match &self.attention_norm {
            Some(norm) => ops.layer_norm(h, norm)?,
            None => h.clone(),
        };
        let attention = Attention {
            heads: self.heads,
            dropout: drop("attention", self.attention_rate),
            positions: Positions::Rotary(self.base),
            window: self.window,
        };
        let mixed = ops.self_attention(&normal, &self.qkv, attention)?;
        let (mixed, h) = (reads.rows(ops, mixed)?, reads.rows(ops, h.clone())?);
        let dropout = drop("attention output", self.attention_rate);
        let h = self.attention_end.forward(ops, &mixed, &h, dropout)?;
        let normal = ops.layer_norm(&h, &self.norm)?;
        let inner = ops.linear_gated(&normal, &self.gated, self.activation)?;
        let inner = ops.dropout(&inner, drop("inner", self.inner_rate))?;
        self.output_end.forward(ops, &inner, &h, drop("output", 0.0))
    }
}

impl ModernBert {
    fn layer(
        &self,
        ops: &mut dyn Ops,
        layer: &Arc<Layer>,
        h: &Value,
        at: (usize, Reads),
    ) -> candle_core::Result<Value> {
        let ((depth, reads), layer) = (at, layer.clone());
        let is_last = depth + 1 == self.layers.depth();
        let body = move |ops: &mut dyn Ops, h: &Value, _: &[Value]| layer.forward(ops, h, depth, reads);
        let h = ops.recomputed(h, &[], Arc::new(body))?;
        if is_last { ops.layer_norm(&h, &self.final_norm) } else { Ok(h) }
    }
}

impl Encoder for ModernBert {
    fn forward(&self, ops: &mut dyn Ops, reads: Reads, each: Option<&mut HiddenStateCallback>) -> Result<Value> {
        let dropout = DropoutAt::new(self.config.shape.hidden_dropout_prob, "embeddings");
        let h = ops.embeddings(&[(self.words.clone(), Index::TokenIds)], &self.norm, dropout)?;
        self.layers.forward(ops, h, reads, each, &|ops, layer, h, at| self.layer(ops, layer, h, at))
    }

    fn of_task(&self, ops: &mut dyn Ops, task: usize, hidden: &Value, reads: Reads) -> Result<Value> {
        self.layers.of_task(ops, task, hidden, reads, &|ops, layer, h, at| self.layer(ops, layer, h, at))
    }

    fn facts(&self) -> &EncoderFacts {
        &self.facts
    }
}
