//! JSON Lines: one example a line.
//!
//! Sentences with entities are in `sentences.rs`, questions in `questions.rs`, labelled texts in `texts.rs`, labelled words in `words.rs`,
//! relations in `relations.rs`, trees in `trees.rs`. Sentences, labelled texts and relations may be one JSON list too (`array.rs`), as
//! annotation tools export it. Here is what they share: a line is one JSON object, a field that comes twice is an error, and fields that
//! are not used are named in a note.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess};

use super::{json, looks};
use crate::error::{Error, Place, Result};

mod array;
mod objects;
mod questions;
mod relations;
mod sentences;
mod texts;
mod trees;
mod words;

pub(super) use array::read_sentence_list;
pub(super) use questions::read_questions;
pub(super) use relations::{read_relation_list, read_relations};
pub(super) use sentences::read_sentences;
pub(super) use texts::{read_text_list, read_texts};
pub(super) use trees::read_trees;
pub(super) use words::read_words;

/// A line holds one example, and an example may be a long document.
const LONGEST_LINE: usize = 16 << 20;
/// Enough names of ignored fields for a note.
const MOST_IGNORED: usize = 8;

fn parse<'a, T: Deserialize<'a>>(file: &Path, number: usize, line: &'a str) -> Result<T> {
    serde_json::from_str(line).map_err(|cause| {
        let message = json::message(&cause);
        let place = Place::column(file, number, cause.column().max(1));
        let like = (message.contains("missing field") || message.starts_with("entities: "))
            .then(|| looks::like_text(line))
            .flatten()
            .filter(|like| *like != looks::LINES);
        if let Some(like) = like {
            let message = format!("{message}; this looks like {}", like.what);
            return Error::data(message).at(place).hint(like.way_out).because(cause);
        }
        let hint = if message.contains("EOF while parsing") && line.trim_end().ends_with(['{', '[']) {
            "JSON Lines holds one whole JSON object a line; is this indented JSON?"
        } else if line.trim_start().starts_with('[') {
            "each line is one JSON object; of a JSON array: jq -c '.[]' FILE > FILE.jsonl"
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
