//! Label Studio's JSON export: a task with the annotations that people made of it.
//!
//! ```text
//! {"id": 7, "data": {"text": "Ada left Rome."}, "predictions": [], "annotations": [{"was_cancelled": false, "ground_truth": false,
//!     "result": [{"id": "a", "from_name": "label", "to_name": "text", "type": "labels",
//!                 "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}},
//!                {"id": "b", "from_name": "label", "to_name": "text", "type": "labels",
//!                 "value": {"start": 9, "end": 13, "text": "Rome", "labels": ["LOC"]}},
//!                {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right", "labels": ["leaves"]},
//!                {"from_name": "tone", "to_name": "text", "type": "choices", "value": {"choices": ["neutral"]}}]}]}
//! ```
//!
//! Spans are entities, relations those of two spans, and choices, ratings and numbers the label of a text; each task passes over what
//! others read. Of several annotations the one that is marked as ground truth is read, or else the first that was not cancelled.
//! `columns.text` names the field of `data`, where it has several texts, and `columns.label` the control (`from_name`), where there are
//! several.

use super::{Content, ENDS, STARTS, annotated, first, of_span, offset};
use crate::data::json::Fields;
use crate::data::layout::{Column, LabelForm, Layout};
use crate::data::quoted;
use crate::data::spans::{COUNTED, part_of};
use crate::data::texts::Raw;
use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// What holds the labels of a span; those of HTML have places of another kind, and are refused for them.
pub const LABELS: &[&str] = &["labels", "hypertextlabels"];
/// What holds the label of a text.
const OF_TEXTS: &[&str] = &[CHOICES, "rating", "number"];
const CHOICES: &str = "choices";
const CONTROL: &str = "say which one: data.TASK.columns = { text = \"text\", label = \"CONTROL\" }, by the field of `data` and its `from_name`";

/// Whether a record is a task.
pub fn is_task(fields: &Fields) -> bool {
    fields.get("data").is_some_and(Value::is_object) && fields.get("annotations").is_some_and(Value::is_array)
}

/// Whether the value of a field is what JSON-MIN writes of a control with labels of spans.
pub fn is_result(value: &Value) -> bool {
    let first = value.as_array().and_then(|items| items.first()).and_then(Value::as_object);
    first.is_some_and(|item| ["start", "end", "labels"].iter().all(|field| item.contains_key(*field)))
}

/// The entities of a task.
pub fn read(fields: &Fields, layout: &Layout) -> Result<Content> {
    let (data, control) = (data_of(fields), chosen(layout, "label"));
    let text = text_of(data, "text", chosen(layout, "text"))?;
    let results = match annotation(fields)? {
        Annotation::Open => return Ok(Content::Open),
        Annotation::Rejected => return Ok(Content::Rejected),
        Annotation::Results(results) => results,
    };
    let (mut entities, mut others) = (Vec::new(), false);
    for result in results {
        match result.span().filter(|_| result.is_of(control)) {
            Some(value) => of_span(&result.value_name(), value, &mut entities)?,
            None => others = true,
        }
    }
    // Somebody chose a class, or drew a relation, of a text whose entities were not asked for.
    if entities.is_empty() && others {
        return Ok(Content::Open);
    }
    annotated(text, None, entities, OffsetUnit::Char)
}

/// The labels of texts, of one control.
#[derive(Default)]
pub(in crate::data) struct Choices {
    /// Of the first label, where the recipe names none.
    control: Option<String>,
}

/// A text with its label.
pub(in crate::data) struct Labelled {
    pub text: String,
    pub text_pair: Option<String>,
    /// None: its annotator rejected it.
    pub label: Option<Raw<'static>>,
}

impl Choices {
    /// The text of a task, and what was chosen of it.
    ///
    /// # Errors
    /// The task is malformed, or its labels are of several controls.
    pub fn read(&mut self, fields: &Fields, layout: &Layout) -> Result<Labelled> {
        let (data, control) = (data_of(fields), chosen(layout, "label"));
        let text = text_of(data, "text", chosen(layout, "text"))?.to_owned();
        let pair = chosen(layout, "text_pair").map(|name| text_of(data, "text_pair", Some(name))).transpose()?;
        let text_pair = pair.map(str::to_owned);
        let results = match annotation(fields)? {
            Annotation::Open => return Ok(Labelled { text, text_pair, label: Some(Raw::Missing) }),
            Annotation::Rejected => return Ok(Labelled { text, text_pair, label: None }),
            Annotation::Results(results) => results,
        };
        // Whoever may choose any number of labels, and left no mark at all, chose none.
        let nothing_chosen = results.is_empty() && layout.label_form == LabelForm::Set;
        let mut label = if nothing_chosen { Raw::List(Vec::new()) } else { Raw::Missing };
        for result in &results {
            let Some((name, value)) = result.label_of_text().filter(|_| result.is_of(control)) else { continue };
            let found = result.control();
            if control.is_none() {
                let known = self.control.get_or_insert_with(|| found.to_owned());
                if known != found {
                    let message = format!(
                        "{}: expected labels of one control, found those of {} and of {}",
                        result.value_name(),
                        quoted(known),
                        quoted(found)
                    );
                    return Err(Error::data(message).hint(CONTROL));
                }
            }
            let read = match name {
                CHOICES => strings(value).map(|choices| of_choices(choices, layout)).ok_or("a list of names"),
                _ => value.as_number().map(|number| Raw::Cell(number.to_string().into())).ok_or("a number"),
            };
            label = read.map_err(|expected| {
                let (place, found) = (result.value_name(), quoted(&value.to_string()));
                Error::data(format!("{place}.{name}: expected {expected}, found {found}"))
            })?;
        }
        Ok(Labelled { text, text_pair, label: Some(label) })
    }
}

/// The label that JSON-MIN has of a control: `{"choices": ["a", "b"]}`, `[{"rating": 4}]`, `[{"number": 2.5}]`. (One choice is a string.)
pub(in crate::data) fn of_json_min(value: &Value, layout: &Layout) -> Option<Raw<'static>> {
    match value {
        Value::Object(object) if object.len() == 1 => Some(of_choices(strings(object.get(CHOICES)?)?, layout)),
        Value::Array(items) => match items.as_slice() {
            [Value::Object(item)] if item.len() == 1 => match first(item, OF_TEXTS) {
                Some((_, Value::Number(number))) => Some(Raw::Cell(number.to_string().into())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// What was chosen of a text: a list, as tools have it where one label is all that there may be, too.
fn of_choices(mut choices: Vec<String>, layout: &Layout) -> Raw<'static> {
    match (choices.len(), layout.label_form) {
        (1, LabelForm::Name | LabelForm::Number) => Raw::Cell(choices.swap_remove(0).into()),
        _ => Raw::List(choices),
    }
}

/// The relations of a text: of each its two parts, in bytes, and its label, which may be empty.
pub(in crate::data) struct Related {
    pub text: String,
    pub relations: Vec<([Range<usize>; 2], String)>,
}

/// The relations of a task, or nothing where nobody has looked at it.
pub(in crate::data) fn relations(fields: &Fields, layout: &Layout) -> Result<Option<Related>> {
    let text = text_of(data_of(fields), "text", chosen(layout, "text"))?;
    let Annotation::Results(results) = annotation(fields)? else { return Ok(None) };
    let mut parts: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for result in &results {
        let (Some(value), Some(Value::String(id))) = (result.span(), result.fields.get("id")) else { continue };
        let name = result.value_name();
        let end = |names: &[&'static str; 2]| {
            offset(&format!("{name}.{}", names[0]), first(value, names).map(|(_, end)| end))
        };
        let part = part_of(text, [end(&STARTS)?, end(&ENDS)?], None, OffsetUnit::Char);
        let part =
            part.map_err(|why| Error::data(format!("{name}: expected a part of the text: {why}")).hint(COUNTED))?;
        parts.insert(id, part);
    }
    let mut relations = Vec::new();
    for result in results.iter().filter(|result| result.fields.contains_key("from_id")) {
        let part = |field: &str| {
            let id = result.fields.get(field).and_then(Value::as_str).unwrap_or("");
            parts.get(id).cloned().ok_or_else(|| {
                let known: Vec<&str> = parts.keys().take(8).copied().collect();
                let (name, known, found) = (&result.name, quoted(&known.join(", ")), quoted(id));
                Error::data(format!("{name}.{field}: expected the `id` of a span ({known}), found {found}"))
            })
        };
        let (from, to) = (part("from_id")?, part("to_id")?);
        let to_the_left = result.fields.get("direction").is_some_and(|direction| direction == "left");
        let parts = if to_the_left { [to, from] } else { [from, to] };
        let labels = result.fields.get("labels").filter(|labels| !labels.is_null());
        let labels = labels
            .map_or(Some(Vec::new()), strings)
            .ok_or_else(|| Error::data(format!("{}.labels: expected a list of names", result.name)))?;
        // Several labels are as many relations; without any, it is listed as one that has none.
        let labels = if labels.is_empty() { vec![String::new()] } else { labels };
        relations.extend(labels.into_iter().map(|label| (parts.clone(), label)));
    }
    // Somebody chose a class of a text whose relations were not asked for.
    let is_for_it = !parts.is_empty() || results.is_empty();
    Ok(is_for_it.then(|| Related { text: text.to_owned(), relations }))
}

/// What people said of a text.
enum Annotation<'a> {
    /// Nobody has looked.
    Open,
    /// Every annotation was cancelled.
    Rejected,
    /// All results of one annotation.
    Results(Vec<Outcome<'a>>),
}

/// A result: what was done with one control.
struct Outcome<'a> {
    /// Where it stands in its task.
    name: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Outcome<'a> {
    fn value_name(&self) -> String {
        format!("{}.value", self.name)
    }

    fn control(&self) -> &'a str {
        self.fields.get("from_name").and_then(Value::as_str).unwrap_or("")
    }

    /// Whether it is of this control, or of any.
    fn is_of(&self, control: Option<&str>) -> bool {
        control.is_none_or(|control| control == self.control())
    }

    fn value(&self) -> Option<&'a Map<String, Value>> {
        self.fields.get("value").and_then(Value::as_object)
    }

    /// Its value, if it is a span with labels.
    fn span(&self) -> Option<&'a Map<String, Value>> {
        self.value().filter(|value| LABELS.iter().any(|name| value.contains_key(*name)))
    }

    /// What it says of the whole text, and as which field. (A span may be what a class was chosen for.)
    fn label_of_text(&self) -> Option<(&'static str, &'a Value)> {
        first(self.value().filter(|value| !value.contains_key("start"))?, OF_TEXTS)
    }
}

fn chosen<'a>(layout: &'a Layout, role: &str) -> Option<&'a str> {
    match layout.columns.as_ref().and_then(|columns| columns.get(role)) {
        Some(Column::Name(name)) => Some(name.as_str()),
        _ => None,
    }
}

fn data_of(fields: &Fields) -> Option<&Map<String, Value>> {
    fields.get("data").and_then(Value::as_object)
}

/// The names of a list.
fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The annotation that counts.
fn annotation(fields: &Fields) -> Result<Annotation<'_>> {
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
        return Ok(if annotations.is_empty() { Annotation::Open } else { Annotation::Rejected });
    };
    let Some(Value::Array(results)) = annotation.get("result") else {
        let found = annotation.get("result").map_or("nothing".to_owned(), |value| quoted(&value.to_string()));
        return Err(Error::data(format!("annotations[{at}].result: expected a list, found {found}")));
    };
    let mut outcomes = Vec::with_capacity(results.len());
    for (index, result) in results.iter().enumerate() {
        let name = format!("annotations[{at}].result[{index}]");
        let Value::Object(fields) = result else {
            let found = quoted(&result.to_string());
            return Err(Error::data(format!("{name}: expected an object, found {found}")));
        };
        outcomes.push(Outcome { name, fields });
    }
    Ok(Annotation::Results(outcomes))
}

fn text_of<'a>(data: Option<&'a Map<String, Value>>, role: &str, chosen: Option<&str>) -> Result<&'a str> {
    let texts = || data.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let named = |wanted: &str| texts().find(|(name, _)| *name == wanted).map(|(_, text)| text);
    let alone = || texts().next().filter(|_| texts().count() == 1).map(|(_, text)| text);
    let found = chosen.map_or_else(|| named(role).or_else(alone), named);
    found.ok_or_else(|| {
        let names: Vec<&str> = texts().map(|(name, _)| name).collect();
        let found =
            if names.is_empty() { "no text".to_owned() } else { format!("the texts {}", quoted(&names.join(", "))) };
        let expected = quoted(chosen.unwrap_or(role));
        Error::data(format!("data: expected a text as {expected}, found {found}")).hint(
            "say which it is: data.TASK.columns = { text = \"body\", label = \"label\" }, by the names of the \
                   field and of the control with the labels",
        )
    })
}
