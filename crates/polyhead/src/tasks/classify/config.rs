//! The configuration of a classification task: what a recipe says in its table, and what training taught it.
//!
//! ```text
//! problem       single_label   one of several labels     softmax, cross-entropy
//!               multi_label    any number of labels      sigmoid of each, binary cross-entropy, a threshold for each
//!               regression     a number                  the output as it is, squared error
//! ```

use crate::error::{Error, Result};
use crate::metrics::label_threshold::DEFAULT;
use crate::tasks::{ClassSampling, check_different, check_dropout, configuration};
use polyhead_kernels::Activation;
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The configuration of a classification task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is predicted of a text: one label, several, or a number.
    pub problem: Problem,
    /// The longest window, in tokens with the special ones.
    pub max_length: usize,
    /// Tokens that neighbouring windows of a long text share.
    pub stride: usize,
    /// Whether training reads the first window of a long text alone, as the reference implementations do. Left out, it reads
    /// all of them. Evaluation and prediction cut nothing of a single text in either case.
    pub truncate: bool,
    /// Dropout before the linear layer.
    pub dropout: f64,
    /// Whether a dense layer stands before the dropout (the pooler), and what becomes of its outputs. A new one begins as that of the
    /// checkpoint, where it has one.
    pub pooler: Pooler,
    /// Whether a dense layer, GELU and LayerNorm come before the linear layer, as in ModernBERT's classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transform: bool,
    /// What the head reads of a window.
    #[serde(skip_serializing_if = "Pooling::is_of_first")]
    pub pooling: Pooling,
    /// The labels, in the order of the head's outputs. Left empty, they are those of the training data, sorted. A number has none, or
    /// one as its name.
    pub labels: Vec<String>,
    /// Whether it reads a text or a pair of texts. Left open, the training data decide.
    pub inputs: Option<Inputs>,
    /// The label is what stands before this mark: with `:`, `LOC:city` is `LOC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_until: Option<String>,
    /// What the loss of each label weighs. Left out, every example weighs the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// How often the examples of each label come in a pass over the training data. Left out, every example comes once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_sampling: Option<ClassSampling>,
    /// From which score on a label is predicted, where any number of them may be.
    pub thresholds: Thresholds,
    /// What training chose on its validation data, where `thresholds` leaves it to them: a recipe leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_thresholds: Option<BTreeMap<String, f64>>,
}

/// What a classifier reads of a window, as `classifier_pooling` of ModernBERT says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The hidden state of the first token.
    #[default]
    #[serde(alias = "cls")]
    First,
    /// The mean of those of all tokens, special ones included.
    Mean,
}

impl Pooling {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::First, Self::Mean];

    fn is_of_first(&self) -> bool {
        *self == Self::First
    }

    /// What transformers calls it.
    pub(super) const fn hugging_face(self) -> &'static str {
        match self {
            Self::First => "cls",
            Self::Mean => "mean",
        }
    }
}

/// The dense layer of a classifier: `false`, `true` (with tanh, as BERT's own classifier), or the function of its outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooler {
    /// There is none.
    #[default]
    None,
    /// With this function.
    With(Activation),
}

/// The functions by name.
const POOLERS: [(&str, Activation); 3] =
    [("tanh", Activation::Tanh), ("relu", Activation::Relu), ("gelu", Activation::Gelu)];

impl Pooler {
    /// What stands in a recipe for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "false",
            Self::With(Activation::Tanh) => "true",
            Self::With(activation) => {
                POOLERS.iter().find(|(_, known)| *known == activation).map_or("true", |(name, _)| name)
            }
        }
    }
}

impl Serialize for Pooler {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::With(Activation::Tanh) => serializer.serialize_bool(true),
            Self::With(_) => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Pooler {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected true, false, \"tanh\", \"relu\" or \"gelu\"")]
        enum Form {
            Whether(bool),
            Name(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Whether(false) => Ok(Self::None),
            Form::Whether(true) => Ok(Self::With(Activation::Tanh)),
            Form::Name(name) => match POOLERS.iter().find(|(known, _)| *known == name) {
                Some((_, activation)) => Ok(Self::With(*activation)),
                None => {
                    let message = format!("expected true, false, \"tanh\", \"relu\" or \"gelu\", found \"{name}\"");
                    Err(serde::de::Error::custom(message))
                }
            },
        }
    }
}

/// What is predicted of a text, as `problem_type` of transformers says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// One of several labels.
    #[default]
    #[serde(alias = "single_label_classification")]
    SingleLabel,
    /// Any number of labels, also none.
    #[serde(alias = "multi_label_classification")]
    MultiLabel,
    /// A number.
    Regression,
}

/// What a label is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// One text.
    Text,
    /// A pair of texts.
    Pair,
}

/// What the loss of each label weighs.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeights {
    /// So much that all labels weigh the same in the training data, however rare: training puts the numbers in its place.
    Balanced,
    /// A weight for each label; 1 for one that is not there.
    ByLabel(BTreeMap<String, f64>),
}

/// From which score on a label is predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Thresholds {
    /// The same for all labels.
    Shared(f64),
    /// One for each label; 0.5 for one that is not there.
    ByLabel(BTreeMap<String, f64>),
    /// One for each label, that with its best F1 on the validation data.
    Validation,
    /// The same for all labels, that with the best micro F1 on the validation data.
    ValidationShared,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            problem: Problem::default(),
            max_length: 128,
            stride: 32,
            truncate: false,
            dropout: 0.1,
            pooler: Pooler::None,
            transform: false,
            pooling: Pooling::First,
            labels: Vec::new(),
            inputs: None,
            label_until: None,
            class_weights: None,
            class_sampling: None,
            thresholds: Thresholds::default(),
            chosen_thresholds: None,
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::Shared(DEFAULT)
    }
}

impl Problem {
    /// What transformers calls it.
    pub const fn hugging_face(self) -> &'static str {
        match self {
            Self::SingleLabel => "single_label_classification",
            Self::MultiLabel => "multi_label_classification",
            Self::Regression => "regression",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::SingleLabel, Self::MultiLabel, Self::Regression];
}

impl Config {
    /// Refuses values out of their range and those that do not go together. Messages begin with the key.
    pub fn check(&self) -> Result<()> {
        let refused = |message: String| Err(Error::usage(message));
        if self.max_length < 5 {
            return refused(format!("max_length: expected at least 5 tokens, found {}", self.max_length));
        }
        if self.stride.saturating_add(2) >= self.max_length {
            let (limit, found) = (self.max_length - 3, self.stride);
            return refused(format!("stride: expected at most max_length - 3 = {limit}, found {found}"));
        }
        check_dropout(self.dropout)?;
        check_different(&self.labels, "labels")?;
        if self.label_until.as_ref().is_some_and(String::is_empty) {
            return refused("label_until: expected a mark such as `:`, found nothing".into());
        }
        self.check_problem()?;
        if let Some(ClassWeights::ByLabel(weights)) = &self.class_weights
            && let Some((label, weight)) = weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0))
        {
            return refused(format!("class_weights: expected positive numbers, found {weight} for `{label}`"));
        }
        let thresholds: Vec<f64> = match &self.thresholds {
            Thresholds::Shared(threshold) => vec![*threshold],
            Thresholds::ByLabel(thresholds) => thresholds.values().copied().collect(),
            Thresholds::Validation | Thresholds::ValidationShared => Vec::new(),
        };
        if let Some(found) = thresholds.iter().find(|threshold| !(0.0..=1.0).contains(*threshold)) {
            return refused(format!("thresholds: expected numbers from 0 to 1, found {found}"));
        }
        if self.labels.is_empty() { Ok(()) } else { self.check_names() }
    }

    /// Refuses keys that mean nothing for the problem.
    fn check_problem(&self) -> Result<()> {
        let without = |key: &str, problem: &str| Err(Error::usage(format!("{key}: expected none {problem}")));
        if self.problem != Problem::MultiLabel && !self.thresholds.is_default() {
            return without("thresholds", "where no number of labels may hold").map_err(|error| {
                error.hint("they are of `problem = \"multi_label\"`; of one label the most probable is taken")
            });
        }
        if self.problem != Problem::SingleLabel && self.class_sampling.is_some() {
            return without("class_sampling", "where an example has not one label").map_err(|error| {
                error.hint("it is of `problem = \"single_label\"`, and draws examples by their label")
            });
        }
        if self.problem == Problem::Regression {
            if self.class_weights.is_some() {
                return without("class_weights", "for numbers, which are no classes");
            }
            if self.label_until.is_some() {
                return without("label_until", "for numbers");
            }
            if self.labels.len() > 1 {
                let found = self.labels.join(", ");
                return Err(Error::usage(format!("labels: expected one name of the number at most, found {found}")));
            }
        }
        Ok(())
    }

    /// Refuses weights and thresholds of labels that there are not.
    pub fn check_names(&self) -> Result<()> {
        let weights = match &self.class_weights {
            Some(ClassWeights::ByLabel(weights)) => Some(("class_weights", weights)),
            _ => None,
        };
        let thresholds = match &self.thresholds {
            Thresholds::ByLabel(thresholds) => Some(("thresholds", thresholds)),
            _ => None,
        };
        let unknown = |(key, by_label)| {
            let by_label: &BTreeMap<String, f64> = by_label;
            by_label.keys().find(|label| !self.labels.contains(label)).map(|label| (key, label))
        };
        match [weights, thresholds].into_iter().flatten().find_map(unknown) {
            None => Ok(()),
            Some((key, label)) => {
                let known = self.labels.join(", ");
                Err(Error::usage(format!("{key}: expected labels of the task ({known}), found `{label}`")))
            }
        }
    }

    /// What the loss of a label weighs.
    pub fn weight(&self, label: usize) -> f64 {
        match (&self.class_weights, self.labels.get(label)) {
            (Some(ClassWeights::ByLabel(weights)), Some(label)) => weights.get(label).copied().unwrap_or(1.0),
            _ => 1.0,
        }
    }

    /// The same of all labels, if they do not all weigh the same.
    pub fn weights(&self) -> Option<Vec<f64>> {
        self.class_weights.as_ref().map(|_| (0..self.labels.len()).map(|label| self.weight(label)).collect())
    }

    /// The threshold of each label.
    pub fn label_thresholds(&self) -> Vec<f64> {
        let by_label = match (&self.thresholds, &self.chosen_thresholds) {
            (Thresholds::Shared(threshold), _) => return vec![*threshold; self.labels.len()],
            (Thresholds::ByLabel(thresholds), _) => Some(thresholds),
            (Thresholds::Validation | Thresholds::ValidationShared, chosen) => chosen.as_ref(),
        };
        let of = |label| by_label.and_then(|thresholds| thresholds.get(label)).copied().unwrap_or(DEFAULT);
        self.labels.iter().map(of).collect()
    }
}

impl Thresholds {
    /// Whether all labels have the usual one.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

const BALANCED: &str = "balanced";
const VALIDATION: &str = "validation";
const VALIDATION_SHARED: &str = "validation_shared";

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str(BALANCED),
            Self::ByLabel(weights) => weights.serialize(serializer),
        }
    }
}

impl Serialize for Thresholds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Shared(threshold) => serializer.serialize_f64(*threshold),
            Self::ByLabel(thresholds) => thresholds.serialize(serializer),
            Self::Validation => serializer.serialize_str(VALIDATION),
            Self::ValidationShared => serializer.serialize_str(VALIDATION_SHARED),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Weights;
        impl<'de> Visitor<'de> for Weights {
            type Value = ClassWeights;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"balanced\" or a table of labels with their weights")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ClassWeights, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(name), &self);
                (name == BALANCED).then_some(ClassWeights::Balanced).ok_or_else(wrong)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClassWeights, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(ClassWeights::ByLabel)
            }
        }
        deserializer.deserialize_any(Weights)
    }
}

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Thresholds;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, a table of labels with theirs, \"validation\" or \"validation_shared\"")
            }
            fn visit_f64<E>(self, threshold: f64) -> Result<Thresholds, E> {
                Ok(Thresholds::Shared(threshold))
            }
            fn visit_u64<E>(self, threshold: u64) -> Result<Thresholds, E> {
                Ok(Thresholds::Shared(threshold as f64))
            }
            fn visit_i64<E>(self, threshold: i64) -> Result<Thresholds, E> {
                Ok(Thresholds::Shared(threshold as f64))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Thresholds, E> {
                match name {
                    VALIDATION => Ok(Thresholds::Validation),
                    VALIDATION_SHARED => Ok(Thresholds::ValidationShared),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Thresholds, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Thresholds::ByLabel)
            }
        }
        deserializer.deserialize_any(Each)
    }
}

/// A configuration in a recipe or a model folder.
pub(super) fn read(config: Value) -> Result<Config> {
    let config: Config = configuration(config)?;
    config.check()?;
    Ok(config)
}
