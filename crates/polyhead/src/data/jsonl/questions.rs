//! Questions, one a line.
//!
//! ```text
//! {"id": "q1", "question": "Who?", "context": "Ada did.", "answers": [{"text": "Ada", "answer_start": 0}]}
//! {"id": "q2", "question": "Who?", "context": "Ada did.", "answers": {"text": ["Ada"], "answer_start": [0]}}
//! {"id": "q3", "question": "Who?", "context": "Ada did.", "answer": "Ada", "start": 0, "end": 3, "score": 0.93}
//! ```
//!
//! The second form is the Hub's, the third an answer of `predict` put beside its question (`offset_unit` says what its
//! offset counts). An answer without its place is an error: the question would count as one that has none.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde_json::Value;

use super::{LONGEST_LINE, fill, ignore, note, parse, remember};
use crate::data::json::Id;
use crate::data::layout::Layout;
use crate::data::lines::Lines;
use crate::data::questions::{Context, Gatherer, Raw, RawAnswer};
use crate::data::{Question, Read, json, quoted};
use crate::error::{Error, Place, Result};
use crate::text::offsets::OffsetUnit;

/// Reads questions, one a line.
pub(in crate::data) fn read_questions(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<Question>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let (mut gatherer, mut ignored) = (Gatherer::new(limit, Vec::new()), BTreeSet::new());
    while let Some((number, line)) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let row: QuestionRow = parse(file, number, line)?;
        let place = Place::line(file, number);
        let answers = row.answers().map_err(|error| error.at(place.clone()))?;
        remember(&mut ignored, row.ignored);
        let raw = Raw {
            place,
            id: row.id.unwrap_or_else(|| format!("line-{number}")),
            question: row.question,
            context: &Context::new(row.context),
            answers,
            impossible: row.impossible,
        };
        if gatherer.push(raw).is_break() {
            break;
        }
    }
    lines.notes().into_iter().chain(note(&ignored)).for_each(|note| gatherer.note(note));
    gatherer.finish(file)
}

#[derive(Default)]
struct QuestionRow {
    id: Option<String>,
    question: String,
    context: String,
    answers: Vec<RawAnswer>,
    /// One answer, and the name of its field.
    single: Option<(&'static str, Value)>,
    /// Where the single answer starts.
    start: Option<i64>,
    unit: OffsetUnit,
    impossible: Option<bool>,
    ignored: BTreeSet<String>,
}

impl QuestionRow {
    /// The answers of the list, or the single one that stands beside the question.
    fn answers(&self) -> Result<Vec<RawAnswer>> {
        let copy = |answer: &RawAnswer| RawAnswer { text: answer.text.clone(), start: answer.start };
        let listed = || self.answers.iter().map(copy).collect();
        let (name, text) = match &self.single {
            None | Some((_, Value::Null)) => return Ok(listed()),
            Some((_, Value::String(text))) if text.is_empty() => return Ok(listed()),
            _ if !self.answers.is_empty() => return Ok(listed()),
            Some((name, Value::String(text))) => (name, text),
            Some((name, other)) => {
                let found = quoted(&other.to_string());
                return Err(Error::data(format!("expected an answer as a text in `{name}`, found {found}")).hint(FORM));
            }
        };
        let Some(start) = self.start else {
            let found = quoted(text);
            return Err(
                Error::data(format!("expected the place of the answer too; found `{name}` alone: {found}")).hint(FORM)
            );
        };
        let start = match (self.unit, usize::try_from(start)) {
            (OffsetUnit::Char, _) | (_, Err(_)) => start,
            (unit, Ok(start)) => {
                // Inside a character or beyond the end it is at no character, and is said not to be there.
                character_at(&self.context, start, unit).map_or(i64::MAX, |at| at as i64)
            }
        };
        Ok(vec![RawAnswer { text: text.clone(), start }])
    }
}

/// The character that starts after so many units.
fn character_at(text: &str, units: usize, unit: OffsetUnit) -> Option<usize> {
    let mut before = 0;
    for (index, c) in text.chars().enumerate() {
        if before >= units {
            return (before == units).then_some(index);
        }
        before += if unit == OffsetUnit::Byte { c.len_utf8() } else { c.len_utf16() };
    }
    None
}

const FORM: &str =
    "as in \"answers\": [{\"text\": \"Ada\", \"answer_start\": 0}], counted in characters of the context";

impl<'de> Deserialize<'de> for QuestionRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = QuestionRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `question`, `context` and `answers`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QuestionRow, A::Error> {
                let (mut id, mut question, mut context) = (None::<Option<Id>>, None, None);
                let (mut answers, mut impossible) = (None::<Answers>, None);
                let (mut single, mut start, mut unit) = (None::<Value>, None, None);
                let mut row = QuestionRow::default();
                let mut named = "answer";
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "id" => fill(&mut id, "id", &mut map)?,
                        "question" => fill(&mut question, "question", &mut map)?,
                        "context" => fill(&mut context, "context", &mut map)?,
                        "answers" => fill(&mut answers, "answers", &mut map)?,
                        "is_impossible" => fill(&mut impossible, "is_impossible", &mut map)?,
                        "answer" => fill(&mut single, "answer", &mut map)?,
                        "answer_text" => {
                            named = "answer_text";
                            fill(&mut single, "answer_text", &mut map)?;
                        }
                        "start" | "answer_start" => fill(&mut start, "start", &mut map)?,
                        "offset_unit" => fill(&mut unit, "offset_unit", &mut map)?,
                        // Of `predict`'s answers; the slice says where it ends.
                        "end" | "score" | "alternatives" => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                        _ => ignore(&mut row.ignored, key, &mut map)?,
                    }
                }
                let without = |name: &'static str| match single {
                    None => A::Error::missing_field(name),
                    Some(_) => A::Error::custom(format!(
                        "missing field `{name}`: an answer is data only beside its `question` and `context`, which \
                         `predict` does not repeat"
                    )),
                };
                row.id = id.flatten().map(|Id(id)| id);
                row.question = question.ok_or_else(|| without("question"))?;
                row.context = context.ok_or_else(|| without("context"))?;
                row.answers = answers.map(|Answers(answers)| answers).unwrap_or_default();
                row.single = single.map(|single| (named, single));
                (row.start, row.unit) = (start.flatten(), unit.unwrap_or_default());
                row.impossible = impossible.flatten();
                Ok(row)
            }
        }
        from.deserialize_map(Fields)
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
