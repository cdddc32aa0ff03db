//! The form of an answer, for descriptions of an API: what `Qa::answer` makes.

use schemars::JsonSchema;

/// The answer to a question, and the next best ones.
#[derive(JsonSchema)]
#[schemars(rename = "QaAnswer")]
#[allow(dead_code)] // Its schema is what it is for.
pub(super) struct Answer {
    /// The part of the context between `start` and `end`; empty if the context does not answer the question.
    answer: String,
    /// Where it starts in the context.
    start: usize,
    /// Where it ends.
    end: usize,
    /// Its share among the best answers.
    score: f64,
    /// The next best, at most two.
    alternatives: Vec<Alternative>,
}

/// An answer that came second or third.
#[derive(JsonSchema)]
#[schemars(rename = "QaAlternative")]
#[allow(dead_code)]
struct Alternative {
    /// The part of the context between `start` and `end`.
    answer: String,
    /// Where it starts in the context.
    start: usize,
    /// Where it ends.
    end: usize,
    /// Its share among the best answers.
    score: f64,
}
