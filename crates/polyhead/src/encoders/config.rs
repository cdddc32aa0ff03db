//! What `config.json` says of an encoder, and the tensors that its numbers ask for.
//!
//! Keys are those of BERT; an architecture with other names for the same says which ([`read`]).

use super::{EncoderFacts, EncoderKind, EncoderOverrides, Precision};
use crate::error::{Error, Place, Result};
use crate::parameters::{Multiplies, Role, Weights};
use crate::sharing::Width;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{Activation, Linear, Part, Weight};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// More of anything is a mistake.
const MOST: usize = 1 << 24;
/// Missing tensors are listed layer by layer.
const MOST_LAYERS: usize = 1024;

/// The fields that all architectures have.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Shape {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    #[serde(default = "gelu")]
    pub hidden_act: String,
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

fn gelu() -> String {
    "gelu".into()
}
fn epsilon() -> f64 {
    1e-12
}
fn tenth() -> f64 {
    0.1
}

/// The fields of a `config.json`. `keys` says which have other names than here, theirs first; `defaults`, a JSON object, what holds where a
/// field is left out.
pub(super) fn read<T: DeserializeOwned>(
    kind: &EncoderKind,
    path: &Path,
    config: &Value,
    keys: &[(&str, &str)],
    defaults: &str,
) -> Result<T> {
    let mut fields: Map<String, Value> = serde_json::from_str(defaults)
        .map_err(|cause| Error::internal(format!("defaults of {}: {cause}", kind.name.model_type)))?;
    let given = config.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let (own, other): (Vec<_>, Vec<_>) = given.partition(|(name, _)| !keys.iter().any(|(theirs, _)| theirs == name));
    let renamed = other.into_iter().filter_map(|(name, value)| {
        keys.iter().find(|(theirs, _)| theirs == name).map(|(_, ours)| ((*ours).to_owned(), value.clone()))
    });
    fields.extend(renamed);
    fields.extend(own.into_iter().map(|(name, value)| (name.clone(), value.clone())));
    serde_json::from_value(Value::Object(fields)).map_err(|cause| {
        let message = keys
            .iter()
            .fold(cause.to_string(), |text, (theirs, ours)| text.replace(&format!("`{ours}`"), &format!("`{theirs}`")));
        let model_type = kind.name_in(config).model_type;
        Error::data(format!("not the configuration of a model of the type `{model_type}`: {message}"))
            .at(Place::file(path))
    })
}

/// What is wrong with a field.
pub(super) fn fault(field: &str, expected: &str, found: &str) -> Result<()> {
    Err(Error::data(format!("`{field}`: expected {expected}, found {found}")))
}

/// A number that a tensor can have.
pub(super) fn check_count(field: &str, value: usize) -> Result<()> {
    if value == 0 || value > MOST {
        return fault(field, &format!("a number from 1 to {MOST}"), &value.to_string());
    }
    Ok(())
}

impl Shape {
    /// Takes what a recipe says.
    pub fn adjust(&mut self, adjust: &EncoderOverrides) {
        self.hidden_dropout_prob = adjust.dropout.unwrap_or(self.hidden_dropout_prob);
        self.attention_probs_dropout_prob = adjust.attention_dropout.unwrap_or(self.attention_probs_dropout_prob);
    }

    /// The function of the feed-forward layers.
    pub fn activation(&self) -> Result<Activation> {
        activation("hidden_act", &self.hidden_act)
    }

    /// Refuses numbers that no tensor could have.
    pub fn check(&self) -> Result<()> {
        self.activation()?;
        if self.is_decoder || self.add_cross_attention {
            return fault("is_decoder, add_cross_attention", "false (an encoder)", "true");
        }
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, MOST),
            ("hidden_size", self.hidden_size, MOST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MOST),
            ("intermediate_size", self.intermediate_size, MOST),
        ] {
            if value == 0 || value > most {
                return fault(field, &format!("a number from 1 to {most}"), &value.to_string());
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return fault("layer_norm_eps", "a number between 0 and 1", &self.layer_norm_eps.to_string());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a multiple of num_attention_heads = {}", self.num_attention_heads);
            return fault("hidden_size", &expected, &self.hidden_size.to_string());
        }
        for (field, rate) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return fault(field, "a rate from 0 up to 1", &rate.to_string());
            }
        }
        Ok(())
    }

    /// What there is to know of an encoder of this shape, whose tensors live where those of `weights` do.
    pub fn facts(
        &self,
        adjust: &EncoderOverrides,
        layers: usize,
        max_tokens: usize,
        weights: &Weights,
    ) -> EncoderFacts {
        EncoderFacts {
            precision: self.precision(adjust.precision),
            recomputes: adjust.recompute,
            device: weights.device().clone(),
            hidden_size: self.hidden_size,
            layers,
            max_tokens,
            vocabulary: self.vocab_size,
        }
    }

    /// How wide a layer is.
    pub fn width(&self) -> Width {
        Width { hidden: self.hidden_size, heads: self.num_attention_heads }
    }

    /// What products can be computed in: those in bf16 take their factors in pairs of neighbours, which must not reach across heads.
    fn precision(&self, wanted: Precision) -> Precision {
        let widths = [self.hidden_size / self.num_attention_heads, self.intermediate_size];
        if widths.iter().all(|width| width.is_multiple_of(2)) { wanted } else { Precision::F32 }
    }
}

/// The activation of this name.
pub(super) fn activation(field: &str, name: &str) -> Result<Activation> {
    Activation::named(name).ok_or_else(|| {
        let known = Activation::names().collect::<Vec<_>>().join(", ");
        Error::data(format!("`{field}`: expected one of {known}, found `{name}`"))
    })
}

// Tensors

/// A table `{name}.weight`, `[rows, columns]`.
pub(super) fn table(weights: &mut Weights, name: &str, rows: usize, columns: usize) -> Result<Weight> {
    weights.get(&format!("{name}.weight"), &[rows, columns], Role::Weight)
}

/// Whether a layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Biased(pub bool);

/// Linear layers of these names, `[outer, inner]` each with a bias, side by side.
pub(super) fn linear(weights: &mut Weights, names: &[String], inner: usize, outer: usize) -> Result<Arc<Linear>> {
    linear_with(weights, names, inner, outer, Biased(true))
}

/// The same, with biases or without.
pub(super) fn linear_with(
    weights: &mut Weights,
    names: &[String],
    inner: usize,
    outer: usize,
    biased: Biased,
) -> Result<Arc<Linear>> {
    let mut part = |name: &String| {
        let weight = weights.get(&format!("{name}.weight"), &[outer, inner], Role::Weight)?;
        let bias = if biased.0 { Some(weights.get(&format!("{name}.bias"), &[outer], Role::Bias)?) } else { None };
        Ok(Part { low_rank: weights.low_rank(name, outer, inner)?, ..Part::new(weight, bias) })
    };
    let parts = names.iter().map(&mut part).collect::<Result<Vec<_>>>()?;
    let vectors = weights.vectors_around(names, &parts, [outer, inner])?;
    let layer = Linear::new(parts).with_vectors(vectors);
    Ok(Arc::new(match weights.linear_layer(names) {
        Multiplies::Numbers => layer,
        Multiplies::Bytes => layer.in_int8(),
        Multiplies::Watched => layer.watching_inputs(),
    }))
}

/// A LayerNorm of this name.
pub(super) fn norm(weights: &mut Weights, name: &str, hidden: usize, epsilon: f64) -> Result<Norm> {
    norm_with(weights, name, hidden, epsilon, Biased(true))
}

/// The same, with a bias or without.
pub(super) fn norm_with(
    weights: &mut Weights,
    name: &str,
    hidden: usize,
    epsilon: f64,
    biased: Biased,
) -> Result<Norm> {
    let gamma = weights.get(&format!("{name}.weight"), &[hidden], Role::Norm)?;
    Ok(match biased {
        Biased(true) => Norm::new(gamma, weights.get(&format!("{name}.bias"), &[hidden], Role::Norm)?, epsilon),
        Biased(false) => Norm::without_bias(gamma, epsilon),
    })
}

/// Keeps the pooler of this name, if there is one: a checkpoint that was saved with a task head of its own may come without.
pub(super) fn pooler(weights: &mut Weights, name: &str, hidden: usize) -> Result<()> {
    if weights.holds(&format!("{name}.weight")) {
        weights.get(&format!("{name}.weight"), &[hidden, hidden], Role::Unused)?;
        weights.get(&format!("{name}.bias"), &[hidden], Role::Unused)?;
    }
    Ok(())
}
