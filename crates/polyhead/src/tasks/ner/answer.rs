//! The form of an answer, for descriptions of an API: what `Ner::answer` makes, without the text.

use schemars::JsonSchema;

/// The entities of a text.
#[derive(JsonSchema)]
#[schemars(rename = "NerAnswer")]
#[allow(dead_code)] // Its schema is what it is for.
pub(super) struct Answer {
    /// In the order of the text.
    entities: Vec<Entity>,
}

/// An entity.
#[derive(JsonSchema)]
#[schemars(rename = "NerEntity")]
#[allow(dead_code)]
struct Entity {
    /// Its type.
    r#type: String,
    /// The part of the text between `start` and `end`.
    text: String,
    /// Where it starts in the text.
    start: usize,
    /// Where it ends.
    end: usize,
    /// The mean probability of the labels of its words.
    score: f64,
}
