//! Labelled texts as JSON Lines or one JSON list: `{"text": "...", "label": "..."}`, a pair with `text_pair`, several labels as a list;
//! other names by `columns`. And the exports of Label Studio, JSON and JSON-MIN, whose choices are labels.

use super::objects::Objects;
use super::{note, remember};
use crate::data::annotated::label_studio::{self, Choices, Labelled};
use crate::data::json::Fields;
use crate::data::layout::Column;
use crate::data::texts::{LabelledText, Raw, Texts, chosen, usual_names};
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Reads labelled texts, one a line.
pub(in crate::data) fn read_texts(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    of_objects(file, Objects::lines(file)?, limit, layout)
}

/// Reads a list of labelled texts.
pub(in crate::data) fn read_text_list(
    file: &Path,
    limit: Option<usize>,
    layout: &Layout,
) -> Result<Read<LabelledText>> {
    of_objects(file, Objects::list(file, "labelled texts")?, limit, layout)
}

fn of_objects(file: &Path, mut objects: Objects, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    let mut texts = Texts::new(layout);
    let (mut ignored, mut choices) = (BTreeSet::new(), Choices::default());
    while !texts.is_enough(limit) {
        let Some((place, mut fields)) = objects.next()? else { break };
        let at = |error: Error| error.at(place.clone());
        if label_studio::is_task(&fields) {
            let Labelled { text, text_pair, label } = choices.read(&fields, layout).map_err(at)?;
            match label {
                Some(label) => texts.push(place, &text, text_pair.as_deref(), label)?,
                None => texts.leave_out(place, &text, "its annotator skipped it")?,
            }
            continue;
        }
        let (text, text_pair) =
            (fields.take("text", layout).map_err(at)?, fields.take("text_pair", layout).map_err(at)?);
        let label = fields.label(layout).map_err(at)?;
        if text.is_none() || label.is_none() {
            let known = fields.0.iter().map(|(name, _)| name.as_str()).chain(text.is_some().then_some("text"));
            let known = quoted(&known.collect::<Vec<_>>().join(", "));
            let fault = || {
                Error::data(format!("expected a text and its label, found only {known}"))
                    .at(place.clone())
                    .hint("fields of other names: data.TASK.columns = { text = \"sentence\", label = \"class\" }")
            };
            // A text without a label is not annotated; if all are, the label is elsewhere.
            match text {
                None => return Err(fault()),
                Some(_) => texts.or_else(fault),
            }
        }
        let label = label.unwrap_or(Raw::Missing);
        texts.push(place.clone(), text.as_deref().unwrap_or(""), text_pair.as_deref(), label)?;
        remember(&mut ignored, fields.0.into_iter().map(|(name, _)| name).collect());
    }
    let mut notes = objects.notes();
    notes.extend(note(&ignored));
    texts.finish(file, limit, notes)
}

/// What a text and its label are among the fields of an object.
impl Fields {
    /// Takes the field of a role out.
    fn field(&mut self, role: &str, layout: &Layout) -> Result<Option<(String, Value)>> {
        let names: Vec<&str> = match chosen(layout, role) {
            Some(Column::Name(name)) => vec![name],
            Some(Column::Number(number)) => {
                return Err(Error::usage(format!("columns.{role}: expected the name of a field, found {number}")));
            }
            None if layout.columns.is_some() => return Ok(None),
            None => usual_names(role).to_vec(),
        };
        let Some(at) = names.iter().find_map(|name| self.0.iter().position(|(known, _)| known == name)) else {
            return Ok(None);
        };
        Ok(Some(self.0.swap_remove(at)))
    }

    /// The same as text: a label may be a number, or true or false.
    pub(in crate::data) fn take(&mut self, role: &str, layout: &Layout) -> Result<Option<String>> {
        let Some((name, value)) = self.field(role, layout)? else { return Ok(None) };
        match value {
            // No label is a reason to leave the example out, no second text is none.
            Value::Null => Ok((role != "text_pair").then(String::new)),
            Value::String(text) => Ok(Some(text)),
            Value::Bool(_) | Value::Number(_) if role == "label" => Ok(Some(value.to_string())),
            other => {
                let found = quoted(&other.to_string());
                Err(Error::data(format!("{name}: expected a text, found {found}")))
            }
        }
    }

    /// The label, if there is such a field: a name, a number, true or false; or a list of names or whole numbers.
    fn label(&mut self, layout: &Layout) -> Result<Option<Raw<'static>>> {
        let Some((name, value)) = self.field("label", layout)? else { return Ok(None) };
        if let Some(label) = label_studio::of_json_min(&value, layout) {
            return Ok(Some(label));
        }
        let one = |value: &Value| match value {
            Value::String(label) => Some(label.clone()),
            Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
            _ => None,
        };
        let label = match &value {
            Value::Null => Ok(Raw::Missing),
            Value::Bool(_) | Value::Number(_) => Ok(Raw::Cell(value.to_string().into())),
            Value::String(label) => Ok(Raw::Cell(label.clone().into())),
            Value::Array(labels) => labels.iter().map(one).collect::<Option<_>>().map(Raw::List).ok_or_else(|| {
                let found = quoted(&value.to_string());
                Error::data(format!("{name}: expected a list of names or of whole numbers, found {found}"))
                    .hint("of a list of 0.0 and 1.0 for all labels write the names of those that hold")
            }),
            Value::Object(_) => {
                let found = quoted(&value.to_string());
                Err(Error::data(format!("{name}: expected a label or a list of labels, found {found}")))
            }
        };
        label.map(Some)
    }
}
