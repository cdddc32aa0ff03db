//! Labelled words as JSON Lines: `{"words": ["They", "left"], "tags": ["PRON", "VERB"]}`, by other names with `columns`. A tag may
//! be a number; null and `_` say that a word has none.

use super::{LONGEST_LINE, note, parse, remember};
use crate::data::json::Fields;
use crate::data::layout::Column;
use crate::data::lines::Lines;
use crate::data::words::{Sentences, TaggedWords, usual_names};
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Reads sentences of labelled words, one a line.
pub(in crate::data) fn read_words(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let mut sentences = Sentences::new(layout);
    let mut ignored = BTreeSet::new();
    // Records without tags, and what to say if there are no others.
    let (mut open, mut fault) = (0_usize, None);
    while !sentences.is_enough(limit) {
        let Some((number, line)) = lines.next()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::line(file, number);
        let mut fields: Fields = parse(file, number, line)?;
        if !has_tags(&fields, layout) {
            open += 1;
            fault.get_or_insert_with(|| without_tags(&fields).at(place));
            continue;
        }
        let (words, tags) = read_line(&mut fields, &sentences, layout).map_err(|error| error.at(place.clone()))?;
        fields.0.retain(|(name, _)| name != "id");
        remember(&mut ignored, fields.0.into_iter().map(|(name, _)| name).collect());
        sentences.push(place, words, tags);
    }
    let mut notes = lines.notes();
    notes.extend(note(&ignored));
    if let (true, Some(fault)) = (sentences.is_empty() && limit != Some(0), fault) {
        return Err(fault);
    }
    if open > 0 {
        notes.push(format!("records without tags, of which there is no example: {open}"));
    }
    sentences.finish(file, limit, notes)
}

type Labelled = (Vec<String>, Vec<Option<String>>);

fn read_line(fields: &mut Fields, sentences: &Sentences, layout: &Layout) -> Result<Labelled> {
    let (words, tags) = (take(fields, "word", layout)?, take(fields, "tag", layout)?);
    let (Some((words_name, words)), Some((tags_name, tags))) = (words, tags) else {
        return Err(without_tags(fields));
    };
    let word = |(at, word): (usize, Value)| match word {
        Value::String(word) => Ok(word),
        other => Err(Error::data(format!("{words_name}[{at}]: expected a word, found {}", quoted(&other.to_string())))),
    };
    let words = words.into_iter().enumerate().map(word).collect::<Result<Vec<_>>>()?;
    let tag = |(at, tag): (usize, Value)| {
        let label = match tag {
            Value::Null => return Ok(None),
            Value::String(tag) => tag,
            Value::Number(_) | Value::Bool(_) => tag.to_string(),
            other => {
                let found = quoted(&other.to_string());
                return Err(Error::data(format!("{tags_name}[{at}]: expected a tag, found {found}")));
            }
        };
        if label.trim().is_empty() {
            return Err(Error::data(format!("{tags_name}[{at}]: expected a tag, found an empty text"))
                .hint("null or \"_\" says that a word has none"));
        }
        sentences.label(&label)
    };
    let tags = tags.into_iter().enumerate().map(tag).collect::<Result<Vec<_>>>()?;
    if words.len() != tags.len() {
        let (expected, found) = (words.len(), tags.len());
        let message = format!("expected a tag for each of {expected} words of `{words_name}`, found {found}");
        return Err(Error::data(message).hint("null or \"_\" says that a word has none"));
    }
    Ok((words, tags))
}

/// Whether a record has a field with tags that says something.
fn has_tags(fields: &Fields, layout: &Layout) -> bool {
    match layout.columns.as_ref().and_then(|columns| columns.get("tag")) {
        Some(Column::Name(name)) => fields.get(name).is_some(),
        Some(Column::Number(_)) => true,
        None => usual_names("tag").iter().any(|name| fields.get(name).is_some()),
    }
}

fn without_tags(fields: &Fields) -> Error {
    let known: Vec<&str> = fields.names().collect();
    let found = quoted(&known.join(", "));
    Error::data(format!("expected words and their tags, found no other fields than {found}"))
        .hint("fields of other names: data.TASK.columns = { word = \"tokens\", tag = \"upos\" }")
}

/// Takes the list of a role out, with the name of its field.
fn take(fields: &mut Fields, role: &str, layout: &Layout) -> Result<Option<(String, Vec<Value>)>> {
    let names: Vec<&str> = match layout.columns.as_ref().and_then(|columns| columns.get(role)) {
        Some(Column::Name(name)) => vec![name],
        Some(Column::Number(number)) => {
            return Err(Error::usage(format!("columns.{role}: expected the name of a field, found {number}")));
        }
        None => usual_names(role).to_vec(),
    };
    let Some(at) = names.iter().find_map(|name| fields.0.iter().position(|(known, _)| known == name)) else {
        return Ok(None);
    };
    match fields.0.swap_remove(at) {
        (name, Value::Array(items)) => Ok(Some((name, items))),
        (name, other) => Err(Error::data(format!("{name}: expected a list, found {}", quoted(&other.to_string())))),
    }
}
