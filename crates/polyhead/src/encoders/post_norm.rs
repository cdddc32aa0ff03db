//! Encoders of BERT's build: the sum of embeddings, then layers with LayerNorm behind each residual ("post-norm").
//!
//! ```text
//! h₀ = dropout(LN(word + position + type))           [tokens, embedding size]
//! h₀ = P h₀ + b                                      where embeddings have a width of their own, or always (ALBERT)
//! a  = LN(h + dropout(Wₒ attention(Wqkv h)))         per layer
//! h  = LN(a + dropout(W₂ f(W₁ a)))
//! ```
//!
//! What differs between the architectures of this build stands in their [`Build`]: the names of tensors and keys, which tables
//! and dropouts there are, whether layers share their weights. The pooler is kept and saved, but no task uses it by itself: it is
//! not trained.

use super::config::{self, Shape};
use super::layers::{Layers, SubLayerEnd};
use super::{
    Encoder, EncoderFacts, EncoderKind, EncoderOverrides, FirstPosition, HiddenStateCallback, Reads, TokenTypes,
};
use crate::error::{Error, Place, Result};
use crate::parameters::{Group, Weights};
use crate::sharing::{self, Sharing, Site, SubLayer};
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{Activation, Attention, BIAS_BUCKETS, DropoutAt, Index, Linear, Ops, Positions, Value, Weight};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What tells one architecture of this build from another.
pub(super) struct Build {
    /// The keys of `config.json` that have other names than BERT's: theirs, BERT's.
    pub keys: &'static [(&'static str, &'static str)],
    /// What transformers takes where `config.json` says nothing and BERT's value is another: a JSON object.
    pub defaults: &'static str,
    /// The layer from embeddings to hidden states, by name.
    pub projection: Option<Projection>,
    /// The names of a layer's tensors.
    pub layer: LayerNames,
    /// Which layers there are dropouts behind.
    pub dropouts: Dropouts,
    /// The tensors of the pooler, `weight` and `bias`, by the name of their layer.
    pub pooler: Option<&'static str>,
    /// The table of a bias of all attention scores by relative position, `[buckets, heads]`.
    pub relative_bias: Option<&'static str>,
}

/// The layer from embeddings to hidden states.
pub(super) struct Projection {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there where both have one width, too.
    pub always: bool,
}

/// The names of a layer's tensors, behind that of the layer.
pub(super) struct LayerNames {
    /// What those of all layers begin with; the number of the layer follows.
    pub layers: &'static str,
    pub qkv: [&'static str; 3],
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
}

/// Where hidden states of a layer are dropped.
pub(super) struct Dropouts {
    pub after_attention: bool,
    pub after_output: bool,
}

/// That of BERT.
pub(super) const BERT: Build = Build {
    keys: &[],
    defaults: "{}",
    projection: None,
    layer: LayerNames {
        layers: "encoder.layer.",
        qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    },
    dropouts: Dropouts { after_attention: true, after_output: true },
    pooler: Some("pooler.dense"),
    relative_bias: None,
};

/// The fields of `config.json` that shape the computation.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(flatten)]
    shape: Shape,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    /// Whether token types say how words are written, too: `encoder.case_embeddings` of a recipe.
    #[serde(default)]
    case_embeddings: bool,
    /// None: that of hidden states.
    embedding_size: Option<usize>,
    /// Groups of layers that share their weights; none: every layer has its own.
    num_hidden_groups: Option<usize>,
    /// Layers of a group that are not one.
    #[serde(default = "one")]
    inner_group_num: usize,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn absolute() -> String {
    "absolute".into()
}

/// An encoder of this build.
struct PostNorm {
    config: Config,
    facts: EncoderFacts,
    /// Each with the index that picks its rows.
    tables: Vec<(Weight, Index)>,
    norm: Norm,
    projection: Option<Arc<Linear>>,
    layers: Layers<Arc<Layer>>,
    relative_bias: Option<Weight>,
}

pub(super) struct Layer {
    /// Queries, keys and values: one product.
    pub qkv: Arc<Linear>,
    attention_end: SubLayerEnd,
    intermediate: Arc<Linear>,
    output_end: SubLayerEnd,
    heads: usize,
    activation: Activation,
    rates: Rates,
}

/// How often what of a layer is dropped.
struct Rates {
    attention: f64,
    after_attention: f64,
    after_output: f64,
}

/// Builds an encoder of this build. See [`super::OpenEncoder`].
pub(super) fn open(
    build: &'static Build,
    kind: &EncoderKind,
    path: &Path,
    config: &serde_json::Value,
    adjust: &EncoderOverrides,
    weights: &mut Weights,
) -> Result<Box<dyn Encoder>> {
    let mut read: Config = config::read(kind, path, config, build.keys, build.defaults)?;
    read.shape.adjust(adjust);
    let first = read.check().and_then(|()| first_position(kind, config, read.max_position_embeddings));
    let first = first.map_err(|error| error.at_least(Place::file(path)))?;
    Ok(Box::new(PostNorm::open(build, kind, read, first, adjust, weights)?))
}

/// The row of the first position, of so many rows.
fn first_position(kind: &EncoderKind, config: &serde_json::Value, rows: usize) -> Result<u32> {
    let first = kind.first_position.row(config).filter(|first| (*first as usize) < rows);
    first.ok_or_else(|| {
        if let FirstPosition::Row(row) = kind.first_position {
            return Error::data(format!("`max_position_embeddings`: expected more than {row}, found {rows}"));
        }
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
        build: &'static Build,
        kind: &EncoderKind,
        config: Config,
        first_position: u32,
        adjust: &EncoderOverrides,
        weights: &mut Weights,
    ) -> Result<Self> {
        let Shape { hidden_size: hidden, layer_norm_eps: epsilon, .. } = config.shape;
        let width = config.embedding_size.unwrap_or(hidden);
        weights.in_group(Group::Embeddings);
        let mut table = |name: &str, rows| config::table(weights, &format!("embeddings.{name}"), rows, width);
        let mut tables = vec![
            (table("word_embeddings", config.shape.vocab_size)?, Index::TokenIds),
            (table("position_embeddings", config.max_position_embeddings)?, Index::PositionsFrom(first_position)),
        ];
        let types = match kind.token_types {
            _ if config.case_embeddings => Some(Index::TokenTypes),
            TokenTypes::OfTemplate if config.type_vocab_size > 1 => Some(Index::TokenTypes),
            // A table of one row tells nothing apart.
            TokenTypes::OfTemplate | TokenTypes::AlwaysFirst => Some(Index::FirstRow),
            TokenTypes::None => None,
        };
        if let Some(index) = types {
            tables.push((table("token_type_embeddings", config.type_vocab_size)?, index));
        }
        let norm = config::norm(weights, "embeddings.LayerNorm", width, epsilon)?;
        let projection = match &build.projection {
            Some(Projection { name, always }) if *always || width != hidden => {
                Some(config::linear(weights, &[(*name).to_owned()], width, hidden)?)
            }
            _ => None,
        };
        let relative_bias = match build.relative_bias {
            Some(name) => Some(config::table(weights, name, BIAS_BUCKETS, config.shape.num_attention_heads)?),
            None => None,
        };
        let groups = config.groups();
        let different: Vec<(usize, usize)> = groups.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let order: Vec<usize> =
            groups.iter().filter_map(|place| different.iter().position(|one| one == place)).collect();
        // ALBERT: a layer that comes several times stands where it comes last, and is frozen with all that come before that.
        let sharing = sharing::open(&adjust.sharing)?;
        let layers = Layers::open(&order, config.shape.width(), &*sharing, weights, |weights, number, last| {
            weights.in_group(Group::Layer(last / config.inner_group_num));
            let (group, inner) = different.get(number).copied().unwrap_or_default();
            let prefix = match config.num_hidden_groups {
                Some(_) => format!("{}{group}.albert_layers.{inner}.", build.layer.layers),
                None => format!("{}{group}.", build.layer.layers),
            };
            Ok(Arc::new(Layer::open(&build.layer, &prefix, &config.shape, &build.dropouts, &*sharing, weights)?))
        })?;
        weights.in_group(Group::Pooler);
        if let Some(name) = build.pooler {
            config::pooler(weights, name, hidden)?;
        }
        let max_tokens = config.max_position_embeddings - first_position as usize;
        let facts = config.shape.facts(adjust, layers.depth(), max_tokens, weights);
        Ok(Self { config, facts, tables, norm, projection, layers, relative_bias })
    }
}

impl Layer {
    pub fn open(
        names: &LayerNames,
        prefix: &str,
        shape: &Shape,
        dropouts: &Dropouts,
        sharing: &dyn Sharing,
        weights: &mut Weights,
    ) -> Result<Self> {
        let of = |there| if there { shape.hidden_dropout_prob } else { 0.0 };
        let Shape { hidden_size: hidden, intermediate_size: inner, layer_norm_eps: epsilon, .. } = *shape;
        let at = |name: &str| format!("{prefix}{name}");
        let end = |weights: &mut Weights, of: SubLayer, linear: &str, norm: &str, inner| {
            let name = at(linear);
            Ok::<_, Error>(SubLayerEnd {
                linear: config::linear(weights, std::slice::from_ref(&name), inner, hidden)?,
                norm: Some(config::norm(weights, &at(norm), hidden, epsilon)?),
                insert: sharing.insert(&Site { name: &name, norm: Some(&at(norm)), of, hidden }, weights)?,
            })
        };
        Ok(Self {
            qkv: config::linear(weights, &names.qkv.map(at), hidden, hidden)?,
            attention_end: end(weights, SubLayer::Attention, names.attention_output, names.attention_norm, hidden)?,
            intermediate: config::linear(weights, &[at(names.intermediate)], hidden, inner)?,
            output_end: end(weights, SubLayer::FeedForward, names.output, names.output_norm, inner)?,
            heads: shape.num_attention_heads,
            activation: shape.activation()?,
            rates: Rates {
                attention: shape.attention_probs_dropout_prob,
                after_attention: of(dropouts.after_attention),
                after_output: of(dropouts.after_output),
            },
        })
    }

    /// The hidden states behind this layer, the one of this depth: those that are read.
    pub fn forward(
        &self,
        ops: &mut dyn Ops,
        h: &Value,
        depth: usize,
        positions: Positions,
        reads: Reads,
    ) -> candle_core::Result<Value> {
        let drop = |place, rate| DropoutAt::new(rate, place).of_layer(depth);
        let dropout = drop("attention", self.rates.attention);
        let attention = Attention { positions, ..Attention::plain(self.heads, dropout) };
        let mixed = ops.self_attention(h, &self.qkv, attention)?;
        let (mixed, h) = (reads.rows(ops, mixed)?, &reads.rows(ops, h.clone())?);
        let dropout = drop("attention output", self.rates.after_attention);
        let attended = self.attention_end.forward(ops, &mixed, h, dropout)?;
        // [rows, intermediate]
        let inner = ops.linear_activation(&attended, &self.intermediate, self.activation)?;
        let dropout = drop("output", self.rates.after_output);
        self.output_end.forward(ops, &inner, &attended, dropout)
    }
}

impl Config {
    /// Of each layer the group, and its number in that; one after the other.
    fn groups(&self) -> Vec<(usize, usize)> {
        let depth = self.shape.num_hidden_layers;
        let group = |layer: usize| self.num_hidden_groups.map_or(layer, |groups| layer * groups / depth);
        let layers = (0..depth).flat_map(|layer| (0..self.inner_group_num).map(move |inner| (layer, inner)));
        layers.map(|(layer, inner)| (group(layer), inner)).collect()
    }

    /// Refuses what this implementation would compute differently, and numbers that no tensor could have.
    fn check(&self) -> Result<()> {
        if self.position_embedding_type != "absolute" {
            return config::fault(
                "position_embedding_type",
                "`absolute`",
                &format!("`{}`", self.position_embedding_type),
            );
        }
        self.shape.check()?;
        config::check_count("max_position_embeddings", self.max_position_embeddings)?;
        config::check_count("type_vocab_size", self.type_vocab_size)?;
        config::check_count("embedding_size", self.embedding_size.unwrap_or(1))?;
        let depth = self.shape.num_hidden_layers;
        if let Some(groups) = self.num_hidden_groups
            && !(1..=depth).contains(&groups)
        {
            return config::fault(
                "num_hidden_groups",
                &format!("a number from 1 to num_hidden_layers = {depth}"),
                &groups.to_string(),
            );
        }
        if !(1..=64).contains(&self.inner_group_num) {
            return config::fault("inner_group_num", "a number from 1 to 64", &self.inner_group_num.to_string());
        }
        Ok(())
    }
}

impl PostNorm {
    fn layer(
        &self,
        ops: &mut dyn Ops,
        layer: &Arc<Layer>,
        h: &Value,
        at: (usize, Reads),
    ) -> candle_core::Result<Value> {
        let ((depth, reads), layer, bias) = (at, layer.clone(), self.relative_bias.clone());
        let body = move |ops: &mut dyn Ops, h: &Value, _: &[Value]| {
            let positions = bias.as_ref().map_or(Positions::InHiddenStates, Positions::Bias);
            layer.forward(ops, h, depth, positions, reads)
        };
        ops.recomputed(h, &[], Arc::new(body))
    }
}

impl Encoder for PostNorm {
    fn forward(&self, ops: &mut dyn Ops, reads: Reads, each: Option<&mut HiddenStateCallback>) -> Result<Value> {
        let dropout = DropoutAt::new(self.config.shape.hidden_dropout_prob, "embeddings");
        let mut h = ops.embeddings(&self.tables, &self.norm, dropout)?;
        if let Some(projection) = &self.projection {
            h = ops.linear(&h, projection)?;
        }
        self.layers.forward(ops, h, reads, each, &|ops, layer, h, at| self.layer(ops, layer, h, at))
    }

    fn of_task(&self, ops: &mut dyn Ops, task: usize, hidden: &Value, reads: Reads) -> Result<Value> {
        self.layers.of_task(ops, task, hidden, reads, &|ops, layer, h, at| self.layer(ops, layer, h, at))
    }

    fn facts(&self) -> &EncoderFacts {
        &self.facts
    }
}
