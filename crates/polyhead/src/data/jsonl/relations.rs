//! Relations as JSON Lines or one JSON list.
//!
//! ```text
//! {"text": "...", "head": {"start": 4, "end": 8}, "tail": {"start": 27, "end": 32}, "label": "Cause-Effect(e2,e1)"}
//! {"text": "The <e1>fire</e1> was caused by the <e2>bombs</e2>.", "label": "Cause-Effect(e2,e1)"}
//! {"text": "...", "entities": [{"id": 1, "start": 4, "end": 8}, ...], "relations": [{"head": 1, "tail": 2, "label": "..."}]}
//! ```
//!
//! Offsets count characters. `head` and `tail` may be called `e1` and `e2`. Of the last form each relation is an example, and a text
//! without any is none; its fields may have the names that doccano gives them (`start_offset`, `end_offset`, `from_id`, `to_id`,
//! `type`). Label Studio's export JSON has them too (`data/annotated/label_studio.rs`).

use super::objects::Objects;
use super::{note, remember};
use crate::data::annotated::label_studio::{self, Related};
use crate::data::json::Fields;
use crate::data::relations::{Marked, RelationExample, Relations};
use crate::data::spans::part_of;
use crate::data::texts::usual_names;
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// Fields that are read where they occur, besides the text and the label.
const READ: &[&str] = &["id", "head", "tail", "e1", "e2", "entities", "relations"];
const ENTITIES: &str =
    "entities are {\"id\": 1, \"start\": 4, \"end\": 8}, relations {\"head\": 1, \"tail\": 2, \"label\": \"...\"}";

const OTHER_NAMES: &str = "fields of other names: data.TASK.columns = { text = \"sentence\", label = \"class\" }";
/// Fields of the two parts.
const PARTS: &[&str] = &["head", "tail", "e1", "e2"];

/// Reads relations, one object a line.
pub(in crate::data) fn read_relations(
    file: &Path,
    limit: Option<usize>,
    layout: &Layout,
) -> Result<Read<RelationExample>> {
    of_objects(file, Objects::lines(file)?, limit, layout)
}

/// Reads a list of objects with relations.
pub(in crate::data) fn read_relation_list(
    file: &Path,
    limit: Option<usize>,
    layout: &Layout,
) -> Result<Read<RelationExample>> {
    of_objects(file, Objects::list(file, "relations")?, limit, layout)
}

fn of_objects(
    file: &Path,
    mut objects: Objects,
    limit: Option<usize>,
    layout: &Layout,
) -> Result<Read<RelationExample>> {
    let mut relations = Relations::new(layout);
    let (mut ignored, mut without) = (BTreeSet::new(), 0);
    // Records that say nothing of relations, and what to say if there are no others.
    let (mut open, mut fault) = (0_usize, None);
    let (mut unmarked, mut marked_before) = (None, false);
    while !relations.is_enough(limit) {
        let Some((place, mut fields)) = objects.next()? else { break };
        let at = |error: Error| error.at_least(place.clone());
        if label_studio::is_task(&fields) {
            let Some(Related { text, relations: all }) = label_studio::relations(&fields, layout).map_err(at)? else {
                open += 1;
                let message = "expected relations between spans, found an annotation without spans, or none";
                fault.get_or_insert_with(|| Error::data(message).at(place));
                continue;
            };
            without += usize::from(all.is_empty());
            let task = fields.get("id").and_then(name_of);
            for (index, ([first, second], label)) in all.into_iter().enumerate() {
                let marked = Marked { text: text.clone(), first, second };
                let id = task.as_ref().map(|task| format!("{task}/{}", index + 1));
                if !relations.is_enough(limit) {
                    relations.push(place.clone(), id, marked, &label)?;
                }
            }
            continue;
        }
        let text = fields.take("text", layout).map_err(at)?;
        let Some(text) = text else {
            let known: Vec<&str> = fields.0.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::data(format!(
                "expected a text and its relation, found only {}",
                quoted(&known.join(", "))
            ))
            .at(place)
            .hint(OTHER_NAMES));
        };
        let id = fields.0.iter().find(|(name, _)| name == "id").and_then(|(_, id)| name_of(id));
        if fields.0.iter().any(|(name, value)| name == "relations" && !value.is_null()) {
            let object: Map<String, Value> = fields.0.into_iter().collect();
            let all = all_of(&text, &object).map_err(|error| at(error).hint(ENTITIES))?;
            without += usize::from(all.is_empty());
            for (index, (own, marked, label)) in all.into_iter().enumerate() {
                let own = own.unwrap_or_else(|| (index + 1).to_string());
                let id = id.as_ref().map(|id| format!("{id}/{own}"));
                if !relations.is_enough(limit) {
                    relations.push(place.clone(), id, marked, &label)?;
                }
            }
            remember(&mut ignored, unread(object.into_iter().map(|(name, _)| name)));
            continue;
        }
        // A text with nothing of two parts is one for other tasks.
        if !fields.names().any(|name| PARTS.contains(&name)) && !is_marked(&text) {
            open += 1;
            let missing = || without_relation(&fields, &text, layout).at(place.clone());
            // Its label may be a class of the text, but not where those of other records are relations.
            if has_label(&fields, layout) {
                unmarked.get_or_insert_with(missing);
            }
            fault.get_or_insert_with(missing);
            continue;
        }
        let label = fields.take("label", layout).map_err(at)?;
        let object: Map<String, Value> = fields.0.into_iter().collect();
        let marked = Marked::of_json(&text, &object, OffsetUnit::Char).map_err(at)?;
        marked_before = true;
        match label {
            Some(label) => relations.push(place, id, marked, &label)?,
            None => {
                open += 1;
                let known: Vec<&str> = object.keys().map(String::as_str).collect();
                let found = quoted(&known.join(", "));
                let message = format!("expected `label`, the relation of the two parts, found only {found}");
                fault.get_or_insert_with(|| Error::data(message).at(place).hint(OTHER_NAMES));
            }
        }
        remember(&mut ignored, unread(object.into_iter().map(|(name, _)| name)));
    }
    let mut notes = objects.notes();
    notes.extend(note(&ignored));
    if let (true, Some(unmarked)) = (marked_before, unmarked) {
        return Err(unmarked);
    }
    if let (true, Some(fault)) = (relations.is_empty() && limit != Some(0), fault) {
        return Err(fault);
    }
    if open > 0 {
        notes.push(format!("records that say nothing of relations, of which there is no example: {open}"));
    }
    if without > 0 {
        notes.push(format!("texts whose `relations` are empty, of which there is no example: {without}"));
    }
    relations.finish(file, limit, notes)
}

/// Whether a text has one of the marks.
fn is_marked(text: &str) -> bool {
    ["<e1>", "</e1>", "<e2>", "</e2>"].iter().any(|mark| text.contains(mark))
}

/// Whether a record has a label, and no other field that relations stand in.
fn has_label(fields: &Fields, layout: &Layout) -> bool {
    let is_label = |name: &str| match layout.columns.as_ref().and_then(|columns| columns.get("label")) {
        Some(column) => column.to_string() == name,
        None => usual_names("label").contains(&name),
    };
    let is_said = |name: &&str| fields.get(name).is_some();
    fields.names().filter(is_said).any(is_label) && !fields.names().any(|name| matches!(name, "entities" | "relations"))
}

/// What is missing of a record: the marks of its parts, where it has a label; else all.
fn without_relation(fields: &Fields, text: &str, layout: &Layout) -> Error {
    match Marked::read(text) {
        Err(missing) if has_label(fields, layout) => missing,
        _ => Error::data(format!("expected a text and its relation, found {} beside the text", fields.found()))
            .hint(OTHER_NAMES),
    }
}

/// The names of fields that are not read.
fn unread(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    names.filter(|name| !READ.contains(&name.as_str())).collect()
}

/// An identifier as text.
fn name_of(id: &Value) -> Option<String> {
    match id {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first of these fields that there is.
fn field<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name)).filter(|value| !value.is_null())
}

/// The relations of a text between its entities: of each its own identifier, its two parts, and its label.
fn all_of(text: &str, object: &Map<String, Value>) -> Result<Vec<(Option<String>, Marked, String)>> {
    let list = |name: &str| match object.get(name) {
        Some(Value::Array(items)) => Ok(items.as_slice()),
        None | Some(Value::Null) => Ok(&[][..]),
        Some(other) => {
            Err(Error::data(format!("{name}: expected a list of objects, found {}", quoted(&other.to_string()))))
        }
    };
    let mut entities: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for (at, entity) in list("entities")?.iter().enumerate() {
        let fault = |message: String| Error::data(format!("entities[{at}]: {message}"));
        let Value::Object(entity) = entity else {
            return Err(fault(format!("expected an object, found {}", quoted(&entity.to_string()))));
        };
        let id = field(entity, &["id"]).and_then(name_of);
        let id = id.ok_or_else(|| fault("expected an `id`, by which relations name it, found none".to_owned()))?;
        let end = |names: [&str; 2]| {
            let number = field(entity, &names).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| {
                let found = field(entity, &names).map_or("nothing".to_owned(), |value| quoted(&value.to_string()));
                fault(format!("expected `{}`, a whole number from 0, found {found}", names[0]))
            })
        };
        let ends = [end(["start", "start_offset"])?, end(["end", "end_offset"])?];
        let said = field(entity, &["text"]).and_then(Value::as_str);
        let range = part_of(text, ends, said, OffsetUnit::Char)
            .map_err(|why| fault(format!("expected a part of the text: {why}")))?;
        if entities.insert(id.clone(), range).is_some() {
            return Err(fault(format!("expected an `id` of its own, found {} again", quoted(&id))));
        }
    }
    let relation = |(at, relation): (usize, &Value)| {
        let fault = |message: String| Error::data(format!("relations[{at}]: {message}"));
        let Value::Object(relation) = relation else {
            return Err(fault(format!("expected an object, found {}", quoted(&relation.to_string()))));
        };
        let end = |names: &[&str]| {
            let id = field(relation, names).and_then(name_of);
            let id = id.ok_or_else(|| fault(format!("expected the id of an entity as `{}`", names.join("` or `"))))?;
            entities.get(&id).cloned().ok_or_else(|| {
                let known: Vec<&str> = entities.keys().take(8).map(String::as_str).collect();
                fault(format!("expected the id of an entity ({}), found {}", known.join(", "), quoted(&id)))
            })
        };
        let (first, second) = (end(&["head", "e1", "from", "from_id"])?, end(&["tail", "e2", "to", "to_id"])?);
        let label = match field(relation, &["label", "type"]) {
            Some(Value::String(label)) => label.clone(),
            None => String::new(),
            Some(other) => return Err(fault(format!("expected a `label`, found {}", quoted(&other.to_string())))),
        };
        let id = field(relation, &["id"]).and_then(name_of);
        Ok((id, Marked { text: text.to_owned(), first, second }, label))
    };
    list("relations")?.iter().enumerate().map(relation).collect()
}
