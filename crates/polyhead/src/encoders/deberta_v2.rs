//! DeBERTa-v2 and v3 (He et al., arXiv:2006.03654, arXiv:2111.09543): BERT's layers, whose attention also compares queries and keys with
//! vectors of distances ("disentangled attention").
//!
//! ```text
//! h₀ = dropout(LN(P (word + position + type)))       positions, types and P where there are some
//! R  = LN(table of distances)                         [2 span, hidden]; LN where `norm_rel_ebd` says so
//! S  = (Q Kᵀ + Q (Wk R)ᵀ + K (Wq R)ᵀ) / √(3 d)        of each pair of tokens the row of its distance; the layer's own Wk and Wq
//!                                                      (`share_att_key`), or pos_key_proj and pos_query_proj
//! h₁ = LN(h₁ + f(conv h₀))                            behind the first layer, where there is a convolution (v2-xlarge)
//! ```
//!
//! Products are made in f32 or bf16; the fp16 in which other implementations lose their numbers is not there.

use super::config::{self, Biased, Shape};
use super::layers::Layers;
use super::post_norm::{Dropouts, Layer, LayerNames};
use super::{
    Encoder, EncoderFacts, EncoderKind, EncoderOverrides, FirstPosition, HiddenStateCallback, ModelName, Reads,
    SequenceHead, TokenTypes,
};
use crate::error::{Error, Place, Result};
use crate::parameters::{Group, Ia3Layers, Naming, Role, Weights};
use crate::sharing;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{
    Activation, Disentangled, Distances, DropoutAt, Index, Linear, Ops, Part, Positions, Value, Weight,
};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "deberta-v2", class: "DebertaV2" },
    about: "DeBERTa-v2, DeBERTa-v3, mDeBERTa",
    other_names: &[],
    naming: Naming {
        prefix: "deberta.",
        parts: &["embeddings.", "encoder."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["cls.", "lm_predictions.", "mask_predictions."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::OfTemplate,
    case_embeddings: false,
    vocabulary: None,
    lora_targets: &["query_proj", "value_proj"],
    ia3: Ia3Layers { outputs: &["key_proj", "value_proj"], inputs: &["output.dense"] },
    sequence_head: Some(SequenceHead {
        dense: "pooler.dense",
        activation: Activation::Gelu,
        output: "classifier",
        dropout: Some("cls_dropout"),
    }),
    head_transform: None,
    fixture: "tiny-deberta-v2",
    open,
};

const LAYER: LayerNames = LayerNames {
    layers: "encoder.layer.",
    qkv: ["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};
const DROPOUTS: Dropouts = Dropouts { after_attention: true, after_output: true };

/// What transformers takes where `config.json` says nothing.
const DEFAULTS: &str = r#"{ "layer_norm_eps": 1e-7 }"#;

/// Without a table of positions a sequence may have any length; a longer one is a mistake.
const LONGEST: usize = 1 << 15;

/// The fields of `config.json` that shape the computation.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(flatten)]
    shape: Shape,
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    embedding_size: Option<usize>,
    #[serde(default)]
    relative_attention: bool,
    /// Below 1: `max_position_embeddings`.
    #[serde(default = "unlimited")]
    max_relative_positions: i64,
    /// Below 1: a row for each distance.
    #[serde(default = "unlimited")]
    position_buckets: i64,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    pos_att_type: Terms,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default)]
    norm_rel_ebd: String,
    /// Below 1: no convolution.
    #[serde(default)]
    conv_kernel_size: i64,
    #[serde(default = "one_group")]
    conv_groups: usize,
    #[serde(default = "tanh")]
    conv_act: String,
}

fn unlimited() -> i64 {
    -1
}
fn yes() -> bool {
    true
}
fn one_group() -> usize {
    1
}
fn tanh() -> String {
    "tanh".into()
}

/// The terms of `pos_att_type`: a list, or names with `|` between them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged, expecting = "expected a list of c2p and p2c")]
enum Terms {
    #[default]
    None,
    List(Vec<String>),
    Text(String),
}

impl Terms {
    fn names(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::List(names) => names.iter().map(|name| name.trim().to_lowercase()).collect(),
            Self::Text(text) => text.split('|').map(|name| name.trim().to_lowercase()).collect(),
        }
    }

    fn has(&self, term: &str) -> bool {
        self.names().iter().any(|name| name == term)
    }
}

struct DebertaV2 {
    config: Config,
    facts: EncoderFacts,
    /// Each with the index that picks its rows.
    tables: Vec<(Weight, Index)>,
    projection: Option<Arc<Linear>>,
    norm: Norm,
    layers: Layers<(Arc<Layer>, Option<OfDistances>)>,
    distances: Option<Vectors>,
    convolution: Option<Convolution>,
}

/// The vectors of distances, for all layers.
struct Vectors {
    table: Weight,
    norm: Option<Norm>,
    rows: Distances,
}

/// What a layer makes of them: what its queries meet, and what its keys meet.
struct OfDistances {
    keys: Option<Arc<Linear>>,
    queries: Option<Arc<Linear>>,
}

struct Convolution {
    size: usize,
    layer: Arc<Linear>,
    norm: Norm,
    activation: Activation,
}

fn open(
    kind: &EncoderKind,
    path: &Path,
    config: &serde_json::Value,
    adjust: &EncoderOverrides,
    weights: &mut Weights,
) -> Result<Box<dyn Encoder>> {
    let mut read: Config = config::read(kind, path, config, &[], DEFAULTS)?;
    read.shape.adjust(adjust);
    read.check().map_err(|error| error.at_least(Place::file(path)))?;
    Ok(Box::new(DebertaV2::open(read, adjust, weights)?))
}

impl Config {
    fn check(&self) -> Result<()> {
        self.shape.check()?;
        config::check_count("max_position_embeddings", self.max_position_embeddings)?;
        config::check_count("embedding_size", self.embedding_size.unwrap_or(1))?;
        config::check_count("type_vocab_size", self.type_vocab_size.max(1))?;
        let terms = self.pos_att_type.names();
        if let Some(other) = terms.iter().find(|name| !["c2p", "p2c"].contains(&name.as_str())) {
            return config::fault("pos_att_type", "c2p and p2c", &format!("`{other}`"));
        }
        if self.relative_attention == terms.is_empty() {
            let found = format!("{} and {}", self.relative_attention, terms.join(", "));
            let expected = "true and c2p, p2c or both; or false and none";
            return config::fault("relative_attention, pos_att_type", expected, &found);
        }
        config::check_count("max_relative_positions, position_buckets", self.span().max(2))?;
        if self.relative_attention && (self.span() < 2 || self.farthest().is_some_and(|far| far <= self.span() / 2 + 1))
        {
            let found = format!("{} and {}", self.position_buckets, self.max_relative_positions);
            let expected = "2 or more, and more positions than half of the buckets";
            return config::fault("position_buckets, max_relative_positions", expected, &found);
        }
        if self.conv_kernel_size > 0 {
            config::activation("conv_act", &self.conv_act)?;
            if self.conv_kernel_size % 2 == 0 || self.conv_kernel_size > 63 {
                return config::fault("conv_kernel_size", "an odd number up to 63", &self.conv_kernel_size.to_string());
            }
            if self.conv_groups != 1 {
                return config::fault("conv_groups", "1", &self.conv_groups.to_string());
            }
        }
        Ok(())
    }

    /// The largest distance that is told apart.
    fn positions(&self) -> usize {
        usize::try_from(self.max_relative_positions)
            .ok()
            .filter(|most| *most > 0)
            .unwrap_or(self.max_position_embeddings)
    }

    fn buckets(&self) -> Option<usize> {
        usize::try_from(self.position_buckets).ok().filter(|buckets| *buckets > 0)
    }

    /// Half of the rows of the table of distances.
    fn span(&self) -> usize {
        self.buckets().unwrap_or(self.positions())
    }

    fn farthest(&self) -> Option<usize> {
        self.buckets().map(|_| self.positions())
    }
}

impl DebertaV2 {
    fn open(config: Config, adjust: &EncoderOverrides, weights: &mut Weights) -> Result<Self> {
        let Shape { hidden_size: hidden, layer_norm_eps: epsilon, .. } = config.shape;
        let width = config.embedding_size.unwrap_or(hidden);
        weights.in_group(Group::Embeddings);
        let mut table = |name: &str, rows| config::table(weights, &format!("embeddings.{name}"), rows, width);
        let mut tables = vec![(table("word_embeddings", config.shape.vocab_size)?, Index::TokenIds)];
        if config.position_biased_input {
            let positions = table("position_embeddings", config.max_position_embeddings)?;
            tables.push((positions, Index::PositionsFrom(0)));
        }
        if config.type_vocab_size > 0 {
            // A table of one row tells nothing apart.
            let index = if config.type_vocab_size > 1 { Index::TokenTypes } else { Index::FirstRow };
            tables.push((table("token_type_embeddings", config.type_vocab_size)?, index));
        }
        let projection = match width == hidden {
            true => None,
            false => {
                Some(config::linear_with(weights, &["embeddings.embed_proj".to_owned()], width, hidden, Biased(false))?)
            }
        };
        let norm = config::norm(weights, "embeddings.LayerNorm", hidden, epsilon)?;
        let distances = match config.relative_attention {
            false => None,
            true => Some(Vectors {
                table: config::table(weights, "encoder.rel_embeddings", 2 * config.span(), hidden)?,
                norm: match config.norm_rel_ebd.to_lowercase().contains("layer_norm") {
                    true => Some(config::norm(weights, "encoder.LayerNorm", hidden, epsilon)?),
                    false => None,
                },
                rows: Distances { span: config.span(), farthest: config.farthest() },
            }),
        };
        let sharing = sharing::open(&adjust.sharing)?;
        let numbers: Vec<usize> = (0..config.shape.num_hidden_layers).collect();
        let mut convolution = None;
        let layers = Layers::open(&numbers, config.shape.width(), &*sharing, weights, |weights, depth, _| {
            weights.in_group(Group::Layer(depth));
            let prefix = format!("{}{depth}.", LAYER.layers);
            let layer = Layer::open(&LAYER, &prefix, &config.shape, &DROPOUTS, &*sharing, weights)?;
            let of_distances = match distances {
                Some(_) => Some(OfDistances::open(&config, &prefix, &layer, weights)?),
                None => None,
            };
            if depth == 0 && config.conv_kernel_size > 0 {
                convolution = Some(Convolution::open(&config, weights)?);
            }
            Ok((Arc::new(layer), of_distances))
        })?;
        if convolution.is_some() && layers.depth() > 0 && layers.shared_depth() == 0 {
            let message =
                format!("sharing.layers: expected at most {}, found all {}", layers.depth() - 1, layers.depth());
            return Err(Error::usage(message)
                .hint("this encoder has a convolution behind its first layer, which all tasks share"));
        }
        let max_tokens = if config.position_biased_input { config.max_position_embeddings } else { LONGEST };
        let facts = config.shape.facts(adjust, layers.depth(), max_tokens, weights);
        Ok(Self { config, facts, tables, projection, norm, layers, distances, convolution })
    }

    fn embedded(&self, ops: &mut dyn Ops) -> Result<Value> {
        let dropout = DropoutAt::new(self.config.shape.hidden_dropout_prob, "embeddings");
        let Some(projection) = &self.projection else {
            return Ok(ops.embeddings(&self.tables, &self.norm, dropout)?);
        };
        let mut sum: Option<Value> = None;
        for (table, index) in &self.tables {
            let rows = ops.embedding(table, *index)?;
            sum = Some(match sum {
                Some(sum) => ops.add(&sum, &rows)?,
                None => rows,
            });
        }
        let sum = sum.ok_or_else(|| Error::internal("embeddings without a table"))?;
        let h = ops.linear(&sum, projection)?;
        let h = ops.layer_norm(&h, &self.norm)?;
        Ok(ops.dropout(&h, dropout)?)
    }
}

impl OfDistances {
    fn open(config: &Config, prefix: &str, layer: &Layer, weights: &mut Weights) -> Result<Self> {
        let hidden = config.shape.hidden_size;
        let mut of = |term: &str, own: usize, name: &str| -> Result<Option<Arc<Linear>>> {
            if !config.pos_att_type.has(term) {
                return Ok(None);
            }
            if !config.share_att_key {
                return config::linear(weights, &[format!("{prefix}attention.self.{name}")], hidden, hidden).map(Some);
            }
            Ok(Some(Arc::new(layer.qkv.part_alone(own))))
        };
        let keys = of("c2p", 1, "pos_key_proj")?;
        Ok(Self { keys, queries: of("p2c", 0, "pos_query_proj")? })
    }
}

impl Convolution {
    fn open(config: &Config, weights: &mut Weights) -> Result<Self> {
        let Shape { hidden_size: hidden, layer_norm_eps: epsilon, .. } = config.shape;
        let size = usize::try_from(config.conv_kernel_size).unwrap_or(0);
        let weight = weights.get("encoder.conv.conv.weight", &[hidden, hidden, size], Role::Weight)?;
        let bias = weights.get("encoder.conv.conv.bias", &[hidden], Role::Bias)?;
        Ok(Self {
            size,
            layer: Arc::new(Linear::new(vec![Part::new(weight, Some(bias))])),
            norm: config::norm(weights, "encoder.conv.LayerNorm", hidden, epsilon)?,
            activation: config::activation("conv_act", &config.conv_act)?,
        })
    }

    fn forward(&self, ops: &mut dyn Ops, embedded: &Value, h: &Value, rate: f64) -> candle_core::Result<Value> {
        let around = ops.neighbours(embedded, self.size)?;
        let out = ops.linear(&around, &self.layer)?;
        let out = ops.dropout(&out, DropoutAt::new(rate, "convolution"))?;
        let out = ops.activation(&out, self.activation)?;
        let sum = ops.add(h, &out)?;
        ops.layer_norm(&sum, &self.norm)
    }
}

/// The vectors of distances as values of a pass.
type VectorValues = Option<(Value, Distances)>;

impl DebertaV2 {
    fn vectors(&self, ops: &mut dyn Ops) -> Result<VectorValues> {
        let Some(Vectors { table, norm, rows }) = &self.distances else { return Ok(None) };
        let table = ops.table(table)?;
        let vectors = match norm {
            Some(norm) => ops.layer_norm(&table, norm)?,
            None => table,
        };
        Ok(Some((vectors, *rows)))
    }

    fn layer(
        &self,
        ops: &mut dyn Ops,
        both: &(Arc<Layer>, Option<OfDistances>),
        h: &Value,
        at: (usize, Reads),
        vectors: &VectorValues,
    ) -> candle_core::Result<Value> {
        // What a task makes of distances, which are rows of no sequence, its own sequences alone meet.
        let of_distances = both.1.iter().flat_map(|of| of.keys.iter().chain(&of.queries));
        if of_distances.into_iter().any(|layer| layer.is_private_inside()) {
            return ops.of_each_task(&[h], &|ops, _, own| match own {
                [h] => self.layer_of_one(ops, both, h, at, vectors),
                _ => candle_core::bail!("a layer without hidden states"),
            });
        }
        self.layer_of_one(ops, both, h, at, vectors)
    }

    fn layer_of_one(
        &self,
        ops: &mut dyn Ops,
        (layer, of_distances): &(Arc<Layer>, Option<OfDistances>),
        h: &Value,
        (depth, reads): (usize, Reads),
        vectors: &VectorValues,
    ) -> candle_core::Result<Value> {
        let rate = self.config.shape.hidden_dropout_prob;
        let (mut vectors_of_layer, mut meets) = (Vec::new(), None);
        if let (Some((vectors, distances)), Some(OfDistances { keys, queries })) = (vectors, of_distances) {
            let vectors = ops.dropout(vectors, DropoutAt::new(rate, "distances").of_layer(depth))?;
            for layer in keys.iter().chain(queries) {
                vectors_of_layer.push(ops.linear(&vectors, layer)?);
            }
            meets = Some((*distances, keys.is_some(), queries.is_some()));
        }
        let layer = layer.clone();
        let body = move |ops: &mut dyn Ops, h: &Value, vectors: &[Value]| {
            let mut vectors = vectors.iter();
            let positions = match meets {
                None => Positions::InHiddenStates,
                Some((distances, by_keys, by_queries)) => Positions::Disentangled(Disentangled {
                    keys: if by_keys { vectors.next() } else { None },
                    queries: if by_queries { vectors.next() } else { None },
                    distances,
                }),
            };
            layer.forward(ops, h, depth, positions, reads)
        };
        ops.recomputed(h, &vectors_of_layer, Arc::new(body))
    }
}

impl Encoder for DebertaV2 {
    fn forward(&self, ops: &mut dyn Ops, reads: Reads, each: Option<&mut HiddenStateCallback>) -> Result<Value> {
        let rate = self.config.shape.hidden_dropout_prob;
        let (embedded, vectors) = (self.embedded(ops)?, self.vectors(ops)?);
        self.layers.forward(ops, embedded.clone(), reads, each, &|ops, layer, h, (depth, reads)| {
            match (depth, &self.convolution) {
                // Behind the only layer, too, it reads the neighbours of a token.
                (0, Some(convolution)) => {
                    let h = self.layer(ops, layer, h, (depth, Reads::AllTokens), &vectors)?;
                    convolution.forward(ops, &embedded, &h, rate)
                }
                _ => self.layer(ops, layer, h, (depth, reads), &vectors),
            }
        })
    }

    fn of_task(&self, ops: &mut dyn Ops, task: usize, hidden: &Value, reads: Reads) -> Result<Value> {
        if self.layers.are_shared() {
            return Ok(hidden.clone());
        }
        let vectors = self.vectors(ops)?;
        self.layers.of_task(ops, task, hidden, reads, &|ops, layer, h, at| self.layer(ops, layer, h, at, &vectors))
    }

    fn facts(&self) -> &EncoderFacts {
        &self.facts
    }
}
