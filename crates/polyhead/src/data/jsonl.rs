//! JSON Lines: one example a line.
//!
//! ```text
//! {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]}
//! {"id": "q1", "question": "Who?", "context": "Ada did.", "answers": [{"text": "Ada", "answer_start": 0}]}
//! {"id": "q2", "question": "Who?", "context": "Ada did.", "answers": {"text": ["Ada"], "answer_start": [0]}}
//! ```
//!
//! `tokens` and `ner_tags` are other names of `words` and `tags`, as the Hugging Face Hub has them; the third form is
//! the Hub's. No answers, or none given: the context does not answer the question. Other fields are ignored, and the
//! notes name them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use super::lines::Lines;
use super::questions::{Context, Gatherer, Raw, RawAnswer};
use super::{Question, Read, Sentence, iob, json};
use crate::error::{Error, Place, Result};

/// A line holds one example, and an example may be a long document.
const LONGEST_LINE: usize = 16 << 20;
/// Enough names of ignored fields for a note.
const MOST_IGNORED: usize = 8;

/// Reads sentences, one a line.
pub(super) fn read_sentences(file: &Path, limit: Option<usize>) -> Result<Read<Sentence>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let (mut sentences, mut ignored) = (Vec::new(), BTreeSet::new());
    while let Some((number, line)) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let row: SentenceRow = parse(file, number, line)?;
        let place = || Place::line(file, number);
        if row.words.len() != row.tags.len() {
            let message = format!("expected a tag for each of {} words, found {}", row.words.len(), row.tags.len());
            return Err(Error::data(message).at(place()));
        }
        for tag in &row.tags {
            iob::check_tag(tag, place)?;
        }
        remember(&mut ignored, row.ignored);
        sentences.push(Sentence { place: place(), words: row.words, tags: row.tags });
    }
    let notes = lines.notes().into_iter().chain(note(&ignored)).collect();
    iob::finish(file, sentences, notes, limit)
}

/// Reads questions, one a line.
pub(super) fn read_questions(file: &Path, limit: Option<usize>) -> Result<Read<Question>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let (mut gatherer, mut ignored) = (Gatherer::new(limit, Vec::new()), BTreeSet::new());
    while let Some((number, line)) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let row: QuestionRow = parse(file, number, line)?;
        remember(&mut ignored, row.ignored);
        let raw = Raw {
            place: Place::line(file, number),
            id: row.id.unwrap_or_else(|| format!("line-{number}")),
            question: row.question,
            context: &Context::new(row.context),
            answers: row.answers,
            impossible: row.impossible,
        };
        if gatherer.push(raw).is_break() {
            break;
        }
    }
    lines.notes().into_iter().chain(note(&ignored)).for_each(|note| gatherer.note(note));
    gatherer.finish(file)
}

fn parse<'a, T: Deserialize<'a>>(file: &Path, number: usize, line: &'a str) -> Result<T> {
    serde_json::from_str(line).map_err(|cause| {
        let message = json::message(&cause);
        let place = Place::column(file, number, cause.column().max(1));
        let hint = if message.starts_with("tags: ") && message.contains("integer") {
            "tags are names (`B-PER`), not class numbers"
        } else if message.contains("EOF while parsing") && line.trim_end().ends_with(['{', '[']) {
            "JSON Lines holds one whole JSON object a line; is this indented JSON?"
        } else {
            "each line is one JSON object"
        };
        Error::data(message).at(place).hint(hint).because(cause)
    })
}

fn remember(ignored: &mut BTreeSet<String>, names: BTreeSet<String>) {
    if ignored.len() < MOST_IGNORED {
        ignored.extend(names);
    }
}

fn note(ignored: &BTreeSet<String>) -> Option<String> {
    let names: Vec<_> = ignored.iter().take(MOST_IGNORED).map(|name| super::quoted(name)).collect();
    (!names.is_empty()).then(|| format!("fields that are not used were ignored: {}", names.join(", ")))
}

struct SentenceRow {
    words: Vec<String>,
    tags: Vec<String>,
    ignored: BTreeSet<String>,
}

struct QuestionRow {
    id: Option<String>,
    question: String,
    context: String,
    answers: Vec<RawAnswer>,
    impossible: Option<bool>,
    ignored: BTreeSet<String>,
}

/// Reads a field into its slot: the second time is an error, and errors inside begin with the field's name.
fn fill<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    slot: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    let value = map.next_value().map_err(|cause| A::Error::custom(format!("{name}: {cause}")))?;
    *slot = Some(value);
    Ok(())
}

fn ignore<'de, A: MapAccess<'de>>(ignored: &mut BTreeSet<String>, name: String, map: &mut A) -> Result<(), A::Error> {
    if ignored.len() < MOST_IGNORED {
        ignored.insert(name);
    }
    map.next_value::<IgnoredAny>().map(|_| ())
}

impl<'de> Deserialize<'de> for SentenceRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = SentenceRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `words` and `tags`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SentenceRow, A::Error> {
                let (mut words, mut tags, mut ignored) = (None, None, BTreeSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "words" | "tokens" => fill(&mut words, "words", &mut map)?,
                        "tags" | "ner_tags" => fill(&mut tags, "tags", &mut map)?,
                        "id" => drop(map.next_value::<IgnoredAny>()?),
                        _ => ignore(&mut ignored, key, &mut map)?,
                    }
                }
                let words = words.ok_or_else(|| A::Error::missing_field("words"))?;
                let tags = tags.ok_or_else(|| A::Error::missing_field("tags"))?;
                Ok(SentenceRow { words, tags, ignored })
            }
        }
        from.deserialize_map(Row)
    }
}

impl<'de> Deserialize<'de> for QuestionRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = QuestionRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `question`, `context` and `answers`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QuestionRow, A::Error> {
                let (mut id, mut question, mut context) = (None::<Option<Id>>, None, None);
                let (mut answers, mut impossible, mut ignored) = (None::<Answers>, None, BTreeSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "id" => fill(&mut id, "id", &mut map)?,
                        "question" => fill(&mut question, "question", &mut map)?,
                        "context" => fill(&mut context, "context", &mut map)?,
                        "answers" => fill(&mut answers, "answers", &mut map)?,
                        "is_impossible" => fill(&mut impossible, "is_impossible", &mut map)?,
                        _ => ignore(&mut ignored, key, &mut map)?,
                    }
                }
                Ok(QuestionRow {
                    id: id.flatten().map(|Id(id)| id),
                    question: question.ok_or_else(|| A::Error::missing_field("question"))?,
                    context: context.ok_or_else(|| A::Error::missing_field("context"))?,
                    answers: answers.map(|Answers(answers)| answers).unwrap_or_default(),
                    impossible: impossible.flatten(),
                    ignored,
                })
            }
        }
        from.deserialize_map(Row)
    }
}

/// An identifier: a string, or a whole number as many exports write it.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }
            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Id, E> {
                Ok(Id(id.to_owned()))
            }
            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }
        }
        from.deserialize_any(Name)
    }
}

/// Answers as a list of pairs, as a pair of lists, or null.
struct Answers(Vec<RawAnswer>);

#[derive(Deserialize)]
struct Pair {
    text: String,
    answer_start: i64,
}

#[derive(Deserialize)]
struct Pairs {
    text: Vec<String>,
    answer_start: Vec<i64>,
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Answers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of {\"text\", \"answer_start\"}, or {\"text\": [...], \"answer_start\": [...]}")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Answers, E> {
                Ok(Answers(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Answers, A::Error> {
                let mut answers = Vec::new();
                while let Some(json::Object(Pair { text, answer_start: start })) = list.next_element()? {
                    answers.push(RawAnswer { text, start });
                }
                Ok(Answers(answers))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Answers, A::Error> {
                let Pairs { text, answer_start } = Pairs::deserialize(MapAccessDeserializer::new(map))?;
                let (texts, starts) = (text.len(), answer_start.len());
                if texts != starts {
                    let message = format!("expected an answer_start for each of {texts} texts, found {starts}");
                    return Err(A::Error::custom(message));
                }
                let pairs = text.into_iter().zip(answer_start);
                Ok(Answers(pairs.map(|(text, start)| RawAnswer { text, start }).collect()))
            }
        }
        from.deserialize_any(Either)
    }
}
