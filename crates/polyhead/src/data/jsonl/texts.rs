//! Labelled texts as JSON Lines: `{"text": "...", "label": "..."}`, a pair with `text_pair`; other names by `columns`.

use super::{LONGEST_LINE, note, parse, remember};
use crate::data::layout::Column;
use crate::data::lines::Lines;
use crate::data::texts::{LabelledText, Texts, chosen, usual_names};
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Reads labelled texts.
pub(in crate::data) fn read_texts(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let mut texts = Texts::new(layout);
    let mut ignored = BTreeSet::new();
    while !texts.is_enough(limit) {
        let Some((number, line)) = lines.next()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::line(file, number);
        let mut fields: Fields = parse(file, number, line)?;
        let mut field = |role| fields.take(role, layout).map_err(|error| error.at(place.clone()));
        let (text, text_pair, label) = (field("text")?, field("text_pair")?, field("label")?);
        let (Some(text), Some(label)) = (text, label) else {
            let known: Vec<&str> = fields.0.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::data(format!(
                "expected a text and its label, found only {}",
                quoted(&known.join(", "))
            ))
            .at(place)
            .hint("fields of other names: data.TASK.columns = { text = \"sentence\", label = \"class\" }"));
        };
        texts.push(place, &text, text_pair.as_deref(), &label)?;
        remember(&mut ignored, fields.0.into_iter().map(|(name, _)| name).collect());
    }
    let mut notes = lines.notes();
    notes.extend(note(&ignored));
    texts.finish(file, limit, notes)
}

/// The fields of an object, each once.
pub(super) struct Fields(pub Vec<(String, Value)>);

impl Fields {
    /// Takes the field of a role out, as text: a label may be a number, or true or false.
    pub(super) fn take(&mut self, role: &str, layout: &Layout) -> Result<Option<String>> {
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
        let (name, value) = self.0.swap_remove(at);
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
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("duplicate field {}", quoted(&name))));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}
