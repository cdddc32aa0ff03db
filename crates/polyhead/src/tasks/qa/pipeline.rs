//! Question answering as Hugging Face's inference API has it.
//!
//! ```text
//! {"question": "Who left?", "context": "Ada left."} -> {"answer": "Ada", "score": 0.93, "start": 0, "end": 3}
//! ```
//!
//! The parameters stand in for the task's configuration in this one request; what is not given stays as the task has it.
//! The search is that of `predict` and of the scores: raw logits compared over all windows, each slice once, one softmax
//! over the best. (transformers' own pipeline took the softmax of each window alone, so that its scores can't be
//! compared from window to window.) Three things differ from transformers:
//!
//! - a question longer than the limit is refused, where transformers cuts it and answers another question;
//! - in a script without spaces an answer is not extended: what the tokenizer takes for a word may be a whole sentence;
//! - an answer keeps combining marks that the tokenizer drops after its last letter.

use super::{Candidate, Config, Found, NoAnswer, Qa, QaExample};
use crate::error::{Error, Place, Result};
use crate::tasks::{Alone, PipelineApi, Query, found, within};
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use crate::text::words::is_unit;
use crate::text::{Piece, Tokenizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::ops::Range;

/// What a server shows of it.
pub(super) const API: PipelineApi = PipelineApi {
    name: "question-answering",
    input: |generator| generator.subschema_for::<Input>(),
    parameters: |generator| generator.subschema_for::<Parameters>(),
    output: |generator| generator.subschema_for::<Output>(),
    alone: Alone::Bare,
};

/// The most answers that can be asked for.
const MOST: usize = 20;

/// A question and the text that may answer it.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Its schema is what it is for.
#[schemars(rename = "QuestionAnsweringInput")]
struct Input {
    /// The question: some words, no more tokens than `max_question_len`.
    question: String,
    /// The text that holds the answer.
    context: String,
}

/// How question answering answers. What is not given is as the task is configured.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "QuestionAnsweringParameters")]
struct Parameters {
    /// How many answers: with 1, or if not given, the answer is an object; with more, a list of so many or, where there
    /// are not so many, of fewer.
    #[schemars(range(min = 1, max = 20))]
    top_k: Option<usize>,
    /// Tokens of the context that neighbouring windows share, at most three quarters of what a window holds of it.
    doc_stride: Option<usize>,
    /// The longest answer in tokens, before it is extended to whole words.
    #[schemars(range(min = 1))]
    max_answer_len: Option<usize>,
    /// The longest window in tokens: question, context and three special ones. At most the task's own `max_length`.
    #[schemars(range(min = 5))]
    max_seq_len: Option<usize>,
    /// The longest question in tokens. A longer one is refused.
    #[schemars(range(min = 1))]
    max_question_len: Option<usize>,
    /// Whether "no answer" is an answer: then `answer` is empty and `start` and `end` are 0. If not given: whether the
    /// task was trained with questions that have none.
    handle_impossible_answer: Option<bool>,
    /// Whether answers are extended to whole words, as the tokenizer splits the text into words: yes if not given.
    align_to_words: Option<bool>,
    /// What `start` and `end` count: characters (Unicode code points) if not given.
    offset_unit: Option<OffsetUnit>,
}

/// The best answer, or a list of the best if more than one was asked for.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "QuestionAnsweringOutput")]
enum Output {
    One(Answer),
    Several(Vec<Answer>),
}

/// An answer.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QuestionAnsweringAnswer")]
struct Answer {
    /// The part of the context between `start` and `end`; empty if the context does not answer the question.
    answer: String,
    /// Its share among the best answers.
    score: f64,
    /// Where it starts in the context.
    start: usize,
    /// Where it ends.
    end: usize,
}

/// Reads a request.
pub(super) fn query(task: &Qa, input: &Value, parameters: &Map<String, Value>, tokenizer: &Tokenizer) -> Result<Query> {
    let (question, context) = read(input)?;
    let parameters: Parameters = crate::tasks::parameters(parameters)?;
    let top_k = within("top_k", parameters.top_k.unwrap_or(1), 1..=MOST)?;
    let unit = parameters.offset_unit.unwrap_or_default();
    let (question, pieces) = (Qa::question(question, tokenizer)?, tokenizer.text(context)?);
    let template = tokenizer.pair()?;
    let lengths = Lengths { question: question.len(), special: template.special_tokens() };
    let task = Qa { config: configured(&task.config, &parameters, top_k, &lengths)? };
    Qa::admit_question(&question, task.config.max_question_length).map_err(|error| error.at(place("question")))?;
    let example = QaExample {
        place: place("context"),
        id: String::new(),
        question: String::new(),
        context: context.to_owned(),
        answers: Vec::new(),
        unplaced: Vec::new(),
        unit,
    };
    let windows = task.windows(&example, &question, &pieces, template);
    let words = parameters.align_to_words.unwrap_or(true).then(|| words(context, &pieces));
    Ok(Query::new(windows, move |windows| {
        let found = task.search(&example.context, windows, |answer| match &words {
            Some(words) => whole_words(words, answer),
            None => answer,
        });
        let mut answers = listed(&task, &found, &example.context, unit);
        answers.truncate(top_k);
        match (top_k, answers.pop()) {
            (1, Some(best)) => json!(Output::One(best)),
            (_, last) => json!(Output::Several(answers.into_iter().chain(last).collect())),
        }
    }))
}

fn place(field: &str) -> Place {
    Place::file(format!("inputs.{field}"))
}

/// The question and the context of an input.
fn read(input: &Value) -> Result<(&str, &str)> {
    let Some(fields) = input.as_object() else {
        let found = found(Some(input));
        return Err(Error::data(format!("inputs: expected {{\"question\": ..., \"context\": ...}}, found {found}")));
    };
    if let Some(name) = fields.keys().find(|name| !["question", "context"].contains(&name.as_str())) {
        let name = found(Some(&json!(name)));
        return Err(Error::data(format!("inputs: expected the fields `question` and `context`, found {name}")));
    }
    let text = |name| {
        let value = fields.get(name);
        let fault = || Error::data(format!("expected a text, found {}", found(value))).at(place(name));
        value.and_then(Value::as_str).ok_or_else(fault)
    };
    Ok((text("question")?, text("context")?))
}

/// What takes room from the context, in tokens.
struct Lengths {
    question: usize,
    /// Those that the tokenizer puts around question and context.
    special: usize,
}

/// The task's configuration with what a request says in its place.
///
/// Bounds are such that no token of the context is computed more than a few times, whoever asks.
fn configured(own: &Config, parameters: &Parameters, top_k: usize, lengths: &Lengths) -> Result<Config> {
    let &Lengths { question, special } = lengths;
    let mut config = Config { n_best: own.n_best.max(top_k), ..own.clone() };
    if let Some(length) = parameters.max_answer_len {
        config.max_answer_length = within("max_answer_len", length, 1..=own.max_length)?;
    }
    if let Some(length) = parameters.max_seq_len {
        config.max_length = within("max_seq_len", length, special + 2..=own.max_length)?;
    }
    if let Some(length) = parameters.max_question_len {
        config.max_question_length = within("max_question_len", length, 1..=own.max_length)?;
    }
    if let Some(allowed) = parameters.handle_impossible_answer {
        config.no_answer = Some(if allowed { NoAnswer::Allowed } else { NoAnswer::Never });
    }
    if parameters.max_seq_len.is_some() || parameters.max_question_len.is_some() {
        // A window must hold as much of the context as of the question.
        config.max_question_length = config.max_question_length.min(config.max_length.saturating_sub(special) / 2);
    }
    let room = config.max_length.saturating_sub(question + special);
    let most = room * 3 / 4;
    match parameters.doc_stride {
        // A question that leaves no room is refused by its length.
        Some(stride) if question <= config.max_question_length => {
            config.stride = within("doc_stride", stride, 0..=most)?;
        }
        None if parameters.max_seq_len.is_some() || parameters.max_question_len.is_some() => {
            config.stride = config.stride.min(most);
        }
        _ => {}
    }
    Ok(config)
}

/// The words of a text, as byte ranges in order. In a script without spaces, where the tokenizer takes all up to the next
/// space or mark for one word, every sub-word is one.
fn words(text: &str, pieces: &[Piece]) -> Vec<Range<usize>> {
    let unspaced = |piece: &Piece| is_unit(slice(text, piece.start, piece.end));
    let of_one_word = |a: &Piece, b: &Piece| a.word == b.word && !unspaced(a) && !unspaced(b);
    let range = |word: &[Piece]| Some(word.first()?.start..word.last()?.end);
    pieces.chunk_by(of_one_word).filter_map(range).collect()
}

/// An answer extended to the words that it begins and ends in.
fn whole_words(words: &[Range<usize>], answer: Range<usize>) -> Range<usize> {
    let first = words.partition_point(|word| word.end <= answer.start);
    let last = words.partition_point(|word| word.start < answer.end);
    let start = words.get(first).map_or(answer.start, |word| word.start.min(answer.start));
    let end = last.checked_sub(1).and_then(|last| words.get(last)).map_or(answer.end, |word| word.end.max(answer.end));
    start..end
}

/// The answers, best first, with "no answer" in its place among them. At least one.
fn listed(task: &Qa, found: &Found, context: &str, unit: OffsetUnit) -> Vec<Answer> {
    let offsets = Offsets::new(context, unit);
    let answer = |candidate: &Candidate| Answer {
        answer: slice(context, candidate.start, candidate.end).to_owned(),
        score: candidate.score,
        start: offsets.at(candidate.start),
        end: offsets.at(candidate.end),
    };
    let mut answers: Vec<Answer> = found.answers.iter().map(answer).collect();
    let threshold = task.config.threshold();
    let none = || Answer { answer: String::new(), score: found.null_score(), start: 0, end: 0 };
    match (found.null_difference, found.answers.first()) {
        (_, Some(_)) if found.withheld => answers.insert(0, none()),
        (Some(difference), Some(best)) => {
            // Where `decode` would put it: before those that it beats by more than the threshold.
            let beaten = |other: &Candidate| difference + (best.logit - other.logit) > threshold;
            let at = found.answers.iter().position(beaten).unwrap_or(answers.len());
            answers.insert(at, none());
        }
        (None, Some(_)) => {}
        (_, None) => answers.push(none()),
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_extended_to_the_words_that_it_touches() {
        let words = [0..3, 4..9, 9..10, 12..20];
        for (answer, want) in [
            (0..3, 0..3),
            (1..2, 0..3),
            (4..6, 4..9),
            (5..9, 4..9),
            (5..10, 4..10),
            (9..10, 9..10),
            (2..13, 0..20),
            // What lies between words stays as it is.
            (10..12, 10..12),
        ] {
            assert_eq!(whole_words(&words, answer.clone()), want, "{answer:?}");
        }
        assert_eq!(whole_words(&[], 2..5), 2..5);
    }

    proptest! {
        #[test]
        fn extending_never_shortens_and_twice_is_once(gaps in prop::collection::vec((0..3usize, 1..6usize), 0..12),
            start in 0..60usize, length in 1..20usize) {
            let mut at = 0;
            let words: Vec<Range<usize>> = gaps.into_iter().map(|(gap, length)| {
                let start = at + gap;
                at = start + length;
                start..at
            }).collect();
            let answer = start..start + length;
            let once = whole_words(&words, answer.clone());
            prop_assert!(once.start <= answer.start && answer.end <= once.end, "{:?} {:?}", words, once);
            prop_assert_eq!(whole_words(&words, once.clone()), once);
        }
    }
}
