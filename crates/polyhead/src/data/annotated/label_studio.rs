//! Label Studio's JSON export: a task with the annotations that people made of it.
//!
//! ```text
//! {"id": 7, "data": {"text": "Ada left."}, "predictions": [], "annotations": [{"was_cancelled": false, "ground_truth": false,
//!     "result": [{"from_name": "label", "to_name": "text", "type": "labels",
//!                 "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}]}]}
//! ```
//!
//! Of several annotations the one that is marked as ground truth is read, or else the first that was not cancelled. Results of other
//! types (choices, relations) are passed over. `columns.text` names the field of `data`, where it has several texts, and
//! `columns.label` the control (`from_name`), where there are several.

use super::{Content, annotated, of_span};
use crate::data::json::Fields;
use crate::data::layout::{Column, Layout};
use crate::data::quoted;
use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;
use serde_json::{Map, Value};

/// What holds the labels of a span; those of HTML have places of another kind, and are refused for them.
pub const LABELS: &[&str] = &["labels", "hypertextlabels"];

/// Whether a record is a task.
pub fn is_task(fields: &Fields) -> bool {
    fields.get("data").is_some_and(Value::is_object) && fields.get("annotations").is_some_and(Value::is_array)
}

/// Whether the value of a field is what JSON-MIN writes of a control with labels of spans.
pub fn is_result(value: &Value) -> bool {
    let first = value.as_array().and_then(|items| items.first()).and_then(Value::as_object);
    first.is_some_and(|item| ["start", "end", "labels"].iter().all(|field| item.contains_key(*field)))
}

/// Reads a task.
pub fn read(fields: &Fields, layout: &Layout) -> Result<Content> {
    let chosen = |role: &str| match layout.columns.as_ref().and_then(|columns| columns.get(role)) {
        Some(Column::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    let data = fields.get("data").and_then(Value::as_object);
    let text = text_of(data, chosen("text"))?;
    let annotations = fields.get("annotations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut done = Vec::new();
    for (at, annotation) in annotations.iter().enumerate() {
        let Value::Object(annotation) = annotation else {
            let found = quoted(&annotation.to_string());
            let error = Error::data(format!("annotations[{at}]: expected an object, found {found}"));
            return Err(error.hint("the export JSON-MIN has other fields; this one has `data` and `annotations`"));
        };
        if annotation.get("was_cancelled") != Some(&Value::Bool(true)) {
            done.push((at, annotation));
        }
    }
    let is_truth =
        |(_, annotation): &&(usize, &Map<String, Value>)| annotation.get("ground_truth") == Some(&Value::Bool(true));
    let Some(&(at, annotation)) = done.iter().find(is_truth).or(done.first()) else {
        return Ok(if annotations.is_empty() { Content::Open } else { Content::Rejected });
    };
    let Some(Value::Array(results)) = annotation.get("result") else {
        let found = annotation.get("result").map_or("nothing".to_owned(), |value| quoted(&value.to_string()));
        return Err(Error::data(format!("annotations[{at}].result: expected a list, found {found}")));
    };
    let (mut entities, mut others) = (Vec::new(), false);
    for (index, result) in results.iter().enumerate() {
        let name = format!("annotations[{at}].result[{index}].value");
        let is_chosen =
            chosen("label").is_none_or(|name| result.get("from_name").and_then(Value::as_str) == Some(name));
        let value = result
            .get("value")
            .and_then(Value::as_object)
            .filter(|value| LABELS.iter().any(|name| value.contains_key(*name)));
        match value.filter(|_| is_chosen) {
            Some(value) => of_span(&name, value, &mut entities)?,
            None => others = true,
        }
    }
    // Somebody chose a class, or drew a relation, of a text whose entities were not asked for.
    if entities.is_empty() && others {
        return Ok(Content::Open);
    }
    annotated(text, None, entities, OffsetUnit::Char)
}

fn text_of<'a>(data: Option<&'a Map<String, Value>>, chosen: Option<&str>) -> Result<&'a str> {
    let texts = || data.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let named = |wanted: &str| texts().find(|(name, _)| *name == wanted).map(|(_, text)| text);
    let alone = || texts().next().filter(|_| texts().count() == 1).map(|(_, text)| text);
    let found = chosen.map_or_else(|| named("text").or_else(alone), named);
    found.ok_or_else(|| {
        let names: Vec<&str> = texts().map(|(name, _)| name).collect();
        let found =
            if names.is_empty() { "no text".to_owned() } else { format!("the texts {}", quoted(&names.join(", "))) };
        let expected = quoted(chosen.unwrap_or("text"));
        Error::data(format!("data: expected a text as {expected}, found {found}")).hint(
            "say which it is: data.TASK.columns = { text = \"body\", label = \"label\" }, by the names of the \
                   field and of the control with the labels",
        )
    })
}
