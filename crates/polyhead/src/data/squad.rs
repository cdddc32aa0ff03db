//! SQuAD JSON, v1.1 and v2.0: articles of paragraphs of questions with their gold answers.
//!
//! ```text
//! {"version": "v2.0", "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
//!     {"id": ..., "question": ..., "is_impossible": false, "answers": [{"text": ..., "answer_start": 17}]}]}]}]}
//! ```
//!
//! The format of Rajpurkar et al. 2016 and 2018. Fields that are not named here (titles, plausible answers) are
//! ignored, as the official scripts do.

use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use super::json::Id;
use super::layout::Layout;
use super::questions::{Context, Gatherer, Raw, RawAnswer};
use super::{Question, Read, json, lines, looks};
use crate::error::{Error, Place, Result};

/// The text is held in memory as a whole; SQuAD's own training file has 30 MB.
const LARGEST_FILE: u64 = 1 << 30;

#[derive(Deserialize)]
struct File {
    #[serde(deserialize_with = "articles")]
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    #[serde(deserialize_with = "paragraphs")]
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    #[serde(deserialize_with = "context")]
    context: String,
    #[serde(deserialize_with = "qas")]
    qas: Vec<QuestionEntry>,
}

#[derive(Deserialize)]
struct QuestionEntry {
    #[serde(deserialize_with = "id")]
    id: Id,
    #[serde(deserialize_with = "question")]
    question: String,
    #[serde(deserialize_with = "answers")]
    answers: Vec<Given>,
    #[serde(default, deserialize_with = "is_impossible")]
    is_impossible: Option<bool>,
    /// Not SQuAD's: other tools keep the answer there.
    answer: Option<IgnoredAny>,
    answer_text: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(deserialize_with = "text")]
    text: String,
    #[serde(deserialize_with = "answer_start")]
    answer_start: i64,
}

/// Reads the questions of a SQuAD file.
pub(super) fn read(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<Question>> {
    let (text, notes) = lines::read_whole(file, LARGEST_FILE)?;
    let parsed: json::Object<File> = serde_json::from_str(&text).map_err(|cause| malformed(file, &text, cause))?;
    drop(text);
    let mut gatherer = Gatherer::new(limit, notes);
    let mut flow = ControlFlow::Continue(());
    for (i, article) in parsed.0.data.into_iter().enumerate() {
        for (j, paragraph) in article.paragraphs.into_iter().enumerate() {
            let context = Context::new(paragraph.context);
            for (k, asked) in paragraph.qas.into_iter().enumerate() {
                if flow.is_continue() {
                    let elsewhere = [("answer", &asked.answer), ("answer_text", &asked.answer_text)];
                    elsewhere.iter().filter(|(_, found)| found.is_some()).for_each(|(name, _)| gatherer.not_read(name));
                    let place = Place::field(file, format!("data[{i}].paragraphs[{j}].qas[{k}]"));
                    flow = gatherer.push(asked.about(&context, place));
                }
            }
        }
    }
    gatherer.finish(file)
}

impl QuestionEntry {
    fn about(self, context: &Context, place: Place) -> Raw<'_> {
        let answers = self.answers.into_iter().map(|given| RawAnswer { text: given.text, start: given.answer_start });
        Raw {
            place,
            id: self.id.0,
            question: self.question,
            context,
            answers: answers.collect(),
            impossible: self.is_impossible,
        }
    }
}

fn malformed(file: &Path, text: &str, cause: serde_json::Error) -> Error {
    let (line, column) = (cause.line(), cause.column());
    let message = json::message(&cause);
    if let Some(like) = looks::like_text(text).filter(|_| !text.contains("\"paragraphs\"")) {
        return like.instead_of("SQuAD JSON").at(Place::column(file, line.max(1), column.max(1))).because(cause);
    }
    let hint = if message.contains("EOF while parsing") {
        "the file ends too early: was it downloaded or written to its end?"
    } else if message.contains("trailing characters") {
        "one JSON value a line? Then give the file the extension .jsonl"
    } else if !text.contains("\"paragraphs\"") {
        "a SQuAD file has the form {\"data\": [{\"paragraphs\": [{\"context\": ..., \"qas\": [...]}]}]}"
    } else {
        "look at this place of the file"
    };
    Error::data(message).at(Place::column(file, line.max(1), column.max(1))).hint(hint).because(cause)
}

/// Readers of one field each, which put the field's name in front of what went wrong inside it.
macro_rules! fields {
    ($($name:ident: $type:ty = $read:ident;)*) => { $(
        fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            $read(from).map_err(|cause| D::Error::custom(path(stringify!($name), &cause)))
        }
    )* };
}

fields! {
    articles: Vec<Article> = list;
    paragraphs: Vec<Paragraph> = list;
    qas: Vec<QuestionEntry> = list;
    answers: Vec<Given> = list;
    context: String = plain;
    id: Id = plain;
    question: String = plain;
    text: String = plain;
    answer_start: i64 = plain;
    is_impossible: Option<bool> = plain;
}

/// A path and the error below it: `data` and `[3].paragraphs: ...` become `data[3].paragraphs: ...`.
fn path(name: &str, cause: &impl std::fmt::Display) -> String {
    let name = if name == "articles" { "data" } else { name };
    let cause = cause.to_string();
    match cause.starts_with('[') {
        true => format!("{name}{cause}"),
        false => format!("{name}: {cause}"),
    }
}

fn plain<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(from)
}

/// A list of objects whose errors begin with the index of the element that is wrong.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(std::marker::PhantomData<T>);
    impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            loop {
                let element = elements.next_element::<json::Object<T>>();
                match element.map_err(|cause| A::Error::custom(indexed(all.len(), &cause.to_string())))? {
                    Some(json::Object(element)) => all.push(element),
                    None => return Ok(all),
                }
            }
        }
    }
    from.deserialize_seq(List(std::marker::PhantomData))
}

/// `[3]` and an error: those that begin with a field of the element continue the path.
fn indexed(index: usize, cause: &str) -> String {
    if let Some((field, rest)) = cause.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        return format!("[{index}].{field}: missing{rest}");
    }
    let name = cause.split([':', '[']).next().unwrap_or("");
    match matches!(name, "paragraphs" | "qas" | "answers" | "context" | "id" | "question" | "text" | "answer_start")
        || name == "is_impossible"
    {
        true => format!("[{index}].{cause}"),
        false => format!("[{index}]: {cause}"),
    }
}
