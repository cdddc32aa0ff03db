//! Texts with their entities in the shapes of annotation tools, told by their fields. One record becomes a text, its spans and, where
//! the record has them, its words.
//!
//! ```text
//! predict        {"text": "...", "entities": [{"type": "PER", "start": 0, "end": 3}]}
//! doccano        {"text": "...", "label": [[0, 3, "PER"]]}
//!                {"text": "...", "entities": [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3}], "relations": []}
//! spaCy          ["...", {"entities": [[0, 3, "PER"]]}], or {"text": "...", "ents": [{"start": 0, "end": 3, "label": "PER"}]}
//! Prodigy        {"text": "...", "tokens": [...], "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}
//! Label Studio   {"data": {"text": "..."}, "annotations": [{"result": [...]}]}: see `label_studio.rs`
//!                {"text": "...", "label": [{"start": 0, "end": 3, "labels": ["PER"]}], "annotation_id": 1}, which is its JSON-MIN
//! ```
//!
//! Offsets count characters (code points), as these tools count, or what `offset_unit` of the record says. A text without any of these
//! fields, or with null in it, is not annotated: that is no text without entities, which has an empty list.

pub(super) mod label_studio;
mod tokens;

use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::json::{Fields, Record};
use super::layout::{Column, Layout};
use super::quoted;
use super::spans::{Annotated, Marked};
use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;

/// What a record holds.
pub(super) enum Content {
    /// A text with its entities, perhaps none.
    Annotated(Annotated),
    /// A text of which nobody says whether it has any.
    Open,
    /// One that its annotator rejected or left open.
    Rejected,
    /// Nothing of this kind.
    Other,
}

/// Fields whose lists are spans, the first that there is.
const SPANS: &[&str] = &["entities", "ents", "spans"];
/// Fields that hold spans where their lists do: those of other tasks have these names too.
const LABELS: &[&str] = &["label", "labels"];
const TYPES: &[&str] = &["type", "label", "entity_group", "entity"];
const STARTS: [&str; 2] = ["start", "start_offset"];
const ENDS: [&str; 2] = ["end", "end_offset"];
/// What names the document of a record.
pub(super) const DOCUMENTS: &[&str] = &["document", "document_id", "doc_id"];
/// Fields that are read, or that tools write of a record beside what people said.
const KNOWN: &[&str] = &[
    "id",
    "text",
    "tokens",
    "answer",
    "offset_unit",
    "annotation_id",
    "annotator",
    "lead_time",
    "created_at",
    "updated_at",
    "data",
    "annotations",
    "_input_hash",
    "_task_hash",
    "_session_id",
    "_view_id",
    "_timestamp",
    "_annotator_id",
    "_is_binary",
];
const FORM: &str = "as in {\"text\": \"Ada left.\", \"entities\": [{\"type\": \"PER\", \"start\": 0, \"end\": 3}]}";

/// Reads a record of any of the shapes.
///
/// # Errors
/// It has one of the shapes, and what stands in it is malformed. Messages begin with the field.
pub(super) fn read(record: &Record, layout: &Layout) -> Result<Content> {
    match record {
        Record::List(items) => of_pair(items),
        Record::Object(fields) if label_studio::is_task(fields) => label_studio::read(fields, layout),
        Record::Object(fields) => of_object(fields, layout),
    }
}

/// The names of fields that [`read`] does not look at.
pub(super) fn unread(fields: &Fields, layout: &Layout) -> BTreeSet<String> {
    let chosen = |name: &str| {
        layout.columns.as_ref().is_some_and(|columns| columns.iter().any(|(_, column)| column.to_string() == name))
    };
    let usual = |name: &str| [KNOWN, SPANS, LABELS, DOCUMENTS].iter().any(|names| names.contains(&name));
    fields.names().filter(|name| !usual(name) && !chosen(name)).map(str::to_owned).collect()
}

/// spaCy's pair of a text and its annotations.
fn of_pair(items: &[Value]) -> Result<Content> {
    let [Value::String(text), annotations @ ..] = items else { return Ok(Content::Other) };
    let entities = match annotations {
        [Value::Object(annotations)] => annotations.get("entities").filter(|value| !value.is_null()),
        _ => return Ok(Content::Other),
    };
    let Some(entities) = entities else { return Ok(Content::Open) };
    annotated(text, None, entities_of("entities", entities)?, OffsetUnit::Char)
}

fn annotated(
    text: &str,
    words: Option<Vec<std::ops::Range<usize>>>,
    entities: Vec<Marked>,
    unit: OffsetUnit,
) -> Result<Content> {
    Ok(Content::Annotated(Annotated { text: text.to_owned(), words, entities, unit }))
}

/// An object with a text.
fn of_object(fields: &Fields, layout: &Layout) -> Result<Content> {
    let chosen = |role: &str| match layout.columns.as_ref().and_then(|columns| columns.get(role)) {
        Some(Column::Name(name)) => Ok(Some(name.as_str())),
        Some(Column::Number(number)) => {
            Err(Error::usage(format!("columns.{role}: expected the name of a field, found {number}")))
        }
        None => Ok(None),
    };
    let (text_name, label_name) = (chosen("text")?.unwrap_or("text"), chosen("label")?);
    let text = match fields.get(text_name) {
        Some(Value::String(text)) => text,
        None => return Ok(Content::Other),
        Some(other) => {
            return Err(Error::data(format!("{text_name}: expected a text, found {}", quoted(&other.to_string()))));
        }
    };
    let (mut found, mut entities) = (false, Vec::new());
    for (name, value) in spans_of(fields, label_name) {
        found = true;
        entities.extend(entities_of(name, value)?);
    }
    let words = fields.get("tokens").filter(|tokens| tokens::are_tokens(tokens));
    let answer = fields.get("answer").filter(|_| found || words.is_some());
    match answer.map(|answer| (answer, answer.as_str())) {
        None | Some((_, Some("accept"))) => {}
        Some((_, Some("reject" | "ignore"))) => return Ok(Content::Rejected),
        Some((answer, _)) => {
            let message =
                format!("answer: expected `accept`, `reject` or `ignore`, found {}", quoted(&answer.to_string()));
            return Err(Error::data(message));
        }
    }
    // Tools that leave the field out where there is nothing to put into it say otherwise that somebody has looked.
    let seen = label_name.is_none() && (answer.is_some() || fields.get("annotation_id").is_some());
    if !found && !seen {
        return Ok(Content::Open);
    }
    let unit = match fields.get("offset_unit") {
        None => OffsetUnit::Char,
        Some(unit) => serde_json::from_value(unit.clone()).map_err(|_| {
            let found = quoted(&unit.to_string());
            Error::data(format!("offset_unit: expected `char`, `byte` or `utf16`, found {found}"))
        })?,
    };
    let words = words.map(|tokens| tokens::words(text, tokens)).transpose()?;
    annotated(text, words, entities, unit)
}

/// The fields that hold spans.
fn spans_of<'a>(fields: &'a Fields, chosen: Option<&'a str>) -> Vec<(&'a str, &'a Value)> {
    if let Some(name) = chosen {
        return fields.get(name).map(|value| (name, value)).into_iter().collect();
    }
    if let Some(found) = SPANS.iter().find_map(|name| fields.get(name).map(|value| (*name, value))) {
        return vec![found];
    }
    // An empty list of labels says that there is none; Label Studio calls the field as its control is called.
    let named =
        LABELS.iter().find_map(|name| fields.get(name).filter(|value| are_spans(value)).map(|value| (*name, value)));
    let others = || fields.0.iter().filter(|(_, value)| label_studio::is_result(value));
    match named {
        Some(found) => vec![found],
        None => others().map(|(name, value)| (name.as_str(), value)).collect(),
    }
}

/// Whether a list is one of spans: lists that begin with a number, or objects; or empty.
pub(super) fn are_spans(value: &Value) -> bool {
    let Value::Array(items) = value else { return false };
    match items.first() {
        None | Some(Value::Object(_)) => true,
        Some(Value::Array(item)) => item.first().is_some_and(Value::is_number),
        Some(_) => false,
    }
}

/// The first of these fields that there is, with its name.
fn first<'a>(object: &'a Map<String, Value>, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
    names.iter().find_map(|name| Some((*name, object.get(*name).filter(|value| !value.is_null())?)))
}

/// A whole number that is not negative.
fn offset(name: &str, value: Option<&Value>) -> Result<usize> {
    let number = value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| {
        let found = value.map_or("nothing".to_owned(), |value| quoted(&value.to_string()));
        Error::data(format!("{name}: expected a whole number from 0, found {found}")).hint(super::spans::COUNTED)
    })
}

/// The entities of a list; an object with several labels is as many.
fn entities_of(list: &str, value: &Value) -> Result<Vec<Marked>> {
    let Value::Array(items) = value else {
        let message = format!("{list}: expected a list of entities, found {}", quoted(&value.to_string()));
        return Err(Error::data(message).hint(FORM));
    };
    let mut all = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let name = format!("{list}[{at}]");
        match item {
            Value::Object(item) => of_span(&name, item, &mut all)?,
            Value::Array(item) => match item.as_slice() {
                [start, end, Value::String(kind)] | [start, end, Value::String(kind), _] => {
                    let (start, end) =
                        (offset(&format!("{name}[0]"), Some(start))?, offset(&format!("{name}[1]"), Some(end))?);
                    all.push(Marked { name, kind: kind.trim().to_owned(), start, end, text: None });
                }
                _ => {
                    let found = quoted(&Value::Array(item.clone()).to_string());
                    return Err(Error::data(format!("{name}: expected a start, an end and a type, found {found}"))
                        .hint("as in [0, 3, \"PER\"]"));
                }
            },
            other => {
                let found = quoted(&other.to_string());
                return Err(Error::data(format!("{name}: expected an entity, found {found}")).hint(FORM));
            }
        }
    }
    Ok(all)
}

fn of_span(name: &str, span: &Map<String, Value>, all: &mut Vec<Marked>) -> Result<()> {
    let end = |names: &[&'static str; 2]| {
        let (field, value) = first(span, names).map_or((names[0], None), |(field, value)| (field, Some(value)));
        offset(&format!("{name}.{field}"), value)
    };
    let (start, end) = (end(&STARTS)?, end(&ENDS)?);
    let text = span.get("text").and_then(Value::as_str).filter(|text| !is_reworked(text)).map(str::to_owned);
    let mut push = |kind: &str| {
        let (name, kind, text) = (name.to_owned(), kind.trim().to_owned(), text.clone());
        all.push(Marked { name, kind, start, end, text });
    };
    let several = first(span, label_studio::LABELS).and_then(|(_, labels)| labels.as_array());
    let several = several.filter(|labels| labels.iter().all(Value::is_string));
    match (first(span, TYPES), several) {
        (Some((_, Value::String(kind))), _) => push(kind),
        (None, Some(kinds)) if !kinds.is_empty() => kinds.iter().filter_map(Value::as_str).for_each(push),
        (found, several) => {
            let found = found.map(|(_, value)| value.to_string()).or(several.map(|_| "[]".to_owned()));
            let found = found.map_or_else(|| "nothing".to_owned(), |found| quoted(&found));
            return Err(Error::data(format!(
                "{name}: expected the type of the entity as `type` or `label`, found {found}"
            ))
            .hint(FORM));
        }
    }
    Ok(())
}

/// Whether the text of a span may have been written in another way than it stands: Label Studio escapes the ends of lines.
fn is_reworked(text: &str) -> bool {
    text.contains(['\n', '\r']) || text.contains("\\n")
}
