//! The configuration of question answering: what a recipe says in its table, and what training chose.

use crate::error::{Error, Result};
use crate::tasks::{MinScore, check_dropout, configuration};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// The configuration of a question-answering task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens: question, context and special tokens.
    pub max_length: usize,
    /// Tokens of the context that neighbouring windows share.
    pub stride: usize,
    /// The question's tokens beyond this are cut.
    pub max_question_length: usize,
    /// The longest answer, in tokens.
    pub max_answer_length: usize,
    /// How many answers are kept for each question while searching.
    pub n_best: usize,
    /// What is taken from the score of an answer for each token behind its first, in the unit of logits.
    #[serde(skip_serializing_if = "is_zero")]
    pub length_penalty: f64,
    /// Dropout before the linear layers.
    pub dropout: f64,
    /// Whether a dense layer, GELU and LayerNorm come before the linear layer, as in ModernBERT's classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transform: bool,
    /// What training makes as small as it can.
    pub loss: Loss,
    /// Whether "no answer" is an answer. Left open, the training data decide: do they hold questions without one?
    pub no_answer: Option<NoAnswer>,
    /// "No answer" wins where its score is more than this above the best answer's.
    pub null_threshold: NullThreshold,
    /// What training chose on its validation data, where `null_threshold` leaves it to them: a recipe leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_null_threshold: Option<f64>,
    /// From which score on an answer is given; below it there is none.
    #[serde(skip_serializing_if = "MinScore::is_default")]
    pub min_score: MinScore,
    /// What held-back examples chose, where `min_score` leaves it to them: a recipe leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_min_score: Option<f64>,
    /// What calibration divided the logits by: a recipe leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// The loss of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The mean of two cross-entropies: of the start among all tokens, and of the end.
    #[default]
    Independent,
    /// The cross-entropy of the pair of both among all that may be an answer.
    Joint,
}

/// Whether "no answer" is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    /// Every question has an answer: SQuAD v1.1.
    Never,
    /// A question may have none: SQuAD v2.0.
    Allowed,
}

/// From which difference of scores on "no answer" wins.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum NullThreshold {
    /// This one.
    Fixed(f64),
    /// That with the best F1 on the validation data.
    #[default]
    Validation,
    /// That with the best exact match on the validation data.
    ValidationExactMatch,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 384,
            stride: 128,
            max_question_length: 64,
            max_answer_length: 30,
            n_best: 20,
            length_penalty: 0.0,
            dropout: 0.1,
            transform: false,
            loss: Loss::default(),
            no_answer: None,
            null_threshold: NullThreshold::default(),
            chosen_null_threshold: None,
            min_score: MinScore::default(),
            chosen_min_score: None,
            temperature: None,
        }
    }
}

impl Config {
    /// A configuration in a recipe or a model folder. Refuses values out of their range; messages begin with the key.
    pub(super) fn read(config: Value) -> Result<Self> {
        let config: Self = configuration(config)?;
        let least = config.max_question_length.saturating_add(config.stride).saturating_add(4);
        if config.max_length < least {
            return Err(Error::usage(format!(
                "max_length: expected at least max_question_length + stride + 4 = {least}, found {}",
                config.max_length
            )));
        }
        for (name, value) in [("n_best", config.n_best), ("max_answer_length", config.max_answer_length)] {
            if value == 0 {
                return Err(Error::usage(format!("{name}: expected at least 1, found 0")));
            }
        }
        if !(0.0..=100.0).contains(&config.length_penalty) {
            let found = config.length_penalty;
            return Err(Error::usage(format!("length_penalty: expected a number from 0 to 100, found {found}")));
        }
        if config.temperature.is_some_and(|temperature| !(temperature.is_finite() && temperature > 0.0)) {
            return Err(Error::usage("temperature: expected a number above 0"));
        }
        check_dropout(config.dropout)?;
        Ok(config)
    }

    /// The penalty for each token, in the unit of the logits as they are now.
    pub(super) fn penalty(&self) -> f64 {
        self.length_penalty / self.temperature.unwrap_or(1.0)
    }

    /// Whether "no answer" is an answer.
    pub(super) fn allows_none(&self) -> bool {
        self.no_answer == Some(NoAnswer::Allowed)
    }

    /// The threshold of "no answer": 0 until one is chosen.
    pub(super) fn threshold(&self) -> f64 {
        match self.null_threshold {
            NullThreshold::Fixed(threshold) => threshold / self.temperature.unwrap_or(1.0),
            NullThreshold::Validation | NullThreshold::ValidationExactMatch => {
                self.chosen_null_threshold.unwrap_or_default()
            }
        }
    }
}

const VALIDATION: &str = "validation";
const VALIDATION_EXACT_MATCH: &str = "validation_exact_match";

impl Serialize for NullThreshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(threshold) => serializer.serialize_f64(*threshold),
            Self::Validation => serializer.serialize_str(VALIDATION),
            Self::ValidationExactMatch => serializer.serialize_str(VALIDATION_EXACT_MATCH),
        }
    }
}

impl<'de> Deserialize<'de> for NullThreshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl Visitor<'_> for Each {
            type Value = NullThreshold;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, \"validation\" or \"validation_exact_match\"")
            }
            fn visit_f64<E: serde::de::Error>(self, threshold: f64) -> Result<NullThreshold, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Float(threshold), &self);
                threshold.is_finite().then_some(NullThreshold::Fixed(threshold)).ok_or_else(wrong)
            }
            fn visit_u64<E>(self, threshold: u64) -> Result<NullThreshold, E> {
                Ok(NullThreshold::Fixed(threshold as f64))
            }
            fn visit_i64<E>(self, threshold: i64) -> Result<NullThreshold, E> {
                Ok(NullThreshold::Fixed(threshold as f64))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<NullThreshold, E> {
                match name {
                    VALIDATION => Ok(NullThreshold::Validation),
                    VALIDATION_EXACT_MATCH => Ok(NullThreshold::ValidationExactMatch),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
        }
        deserializer.deserialize_any(Each)
    }
}
