//! Tagged sentences, one a line.
//!
//! ```text
//! {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]}
//! {"tokens": ["EU", "rejects"], "ner_tags": [3, 0], "document": "news 17"}
//! {"text": "EU rejects", "entities": [{"type": "ORG", "text": "EU", "start": 0, "end": 2, "score": 0.99}]}
//! ```
//!
//! Neighbours with the same `document` (or `doc_id`) are of one document. `tokens` and `ner_tags` are other names of `words` and `tags`, as the Hugging Face Hub has them; numbers are tags by
//! the names that the recipe gives ([`Layout::tag_names`]). The third form is what `predict` answers: its text is split
//! into words as `predict` splits it, and `offset_unit` says what the offsets count, characters if it is left out.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{LONGEST_LINE, fill, ignore, note, parse, remember};
use crate::data::json::Object;
use crate::data::layout::Layout;
use crate::data::lines::Lines;
use crate::data::spans::{self, Marked};
use crate::data::{Read, Sentence, Skipped, quoted, schemes, start_of};
use crate::error::{Error, Place, Result};
use crate::text::offsets::OffsetUnit;

/// Fields in which other tools keep what is tagged.
const TAGS_ELSEWHERE: &[&str] = &["entities", "labels", "label", "ner", "spans", "named_entities", "annotations"];

/// Reads sentences, one a line.
pub(in crate::data) fn read_sentences(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let (mut sentences, mut skipped, mut ignored) = (Vec::new(), Vec::new(), BTreeSet::new());
    let (mut document, mut document_number) = (None, 0);
    while let Some((number, line)) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let row: SentenceRow = parse(file, number, line)?;
        let place = || Place::line(file, number);
        remember(&mut ignored, row.ignored);
        let (words, tags) = match row.gold {
            Gold::Tags { words, tags } => {
                if words.len() != tags.len() {
                    let message = format!("expected a tag for each of {} words, found {}", words.len(), tags.len());
                    return Err(Error::data(message).at(place()));
                }
                let tags: Result<Vec<String>> = tags.into_iter().map(|tag| tag.name(layout)).collect();
                (words, tags.map_err(|error| error.at(place()))?)
            }
            Gold::Spans { text, entities, unit } => match spans::tagged(&text, &entities, unit) {
                Ok(tagged) => tagged,
                Err(reason) => {
                    skipped.push(Skipped { place: place(), example: start_of(&text), reason });
                    continue;
                }
            },
        };
        for tag in &tags {
            schemes::check_tag(tag, place)?;
        }
        if row.document != document && !sentences.is_empty() {
            document_number = sentences.len();
        }
        document = row.document;
        sentences.push(Sentence { place: place(), words, tags, document: document_number });
    }
    let elsewhere = ignored.iter().find(|name| TAGS_ELSEWHERE.contains(&name.as_str()));
    let mut tags = sentences.iter().flat_map(|sentence| &sentence.tags).peekable();
    if let (Some(name), true) = (elsewhere, tags.peek().is_some() && tags.all(|tag| tag == "O")) {
        let message = format!("expected entities in `tags`, found `O` alone, while {} is not read", quoted(name));
        return Err(Error::data(message).at(Place::file(file)).hint("leave out the one that is not meant"));
    }
    let notes = lines.notes().into_iter().chain(note(&ignored)).collect();
    schemes::finish(file, Read { examples: sentences, skipped, notes }, limit)
}

struct SentenceRow {
    gold: Gold,
    /// What it calls the document that it is of.
    document: Option<Document>,
    ignored: BTreeSet<String>,
}

/// The two forms of a tagged sentence.
enum Gold {
    Tags { words: Vec<String>, tags: Vec<Tag> },
    Spans { text: String, entities: Vec<Marked>, unit: OffsetUnit },
}

/// The name or number of a document.
#[derive(Deserialize, PartialEq)]
#[serde(untagged, expecting = "a text or a number")]
enum Document {
    Name(String),
    Number(i64),
}

/// A tag by its name, or by its number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a tag such as \"B-PER\", or its number")]
enum Tag {
    Name(String),
    Number(i64),
}

impl Tag {
    fn name(self, layout: &Layout) -> Result<String> {
        match self {
            Tag::Name(name) => Ok(name),
            Tag::Number(number) => layout.tag_of(number),
        }
    }
}

impl<'de> Deserialize<'de> for SentenceRow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = SentenceRow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `words` and `tags`, or with `text` and `entities`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SentenceRow, A::Error> {
                let (mut words, mut tags, mut ignored) = (None, None, BTreeSet::new());
                let (mut text, mut entities, mut unit) = (None::<Value>, None::<Value>, None);
                let mut document = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "words" | "tokens" => fill(&mut words, "words", &mut map)?,
                        "tags" | "ner_tags" => fill(&mut tags, "tags", &mut map)?,
                        "text" => fill(&mut text, "text", &mut map)?,
                        "entities" => fill(&mut entities, "entities", &mut map)?,
                        "offset_unit" => fill(&mut unit, "offset_unit", &mut map)?,
                        "document" | "document_id" | "doc_id" => fill(&mut document, "document", &mut map)?,
                        "id" => drop(map.next_value::<IgnoredAny>()?),
                        _ => ignore(&mut ignored, key, &mut map)?,
                    }
                }
                let gold = match (words, tags, text, entities) {
                    (Some(words), Some(tags), text, entities) => {
                        ignored.extend(text.map(|_| "text".to_owned()));
                        ignored.extend(entities.map(|_| "entities".to_owned()));
                        Gold::Tags { words, tags }
                    }
                    (None, None, Some(Value::String(text)), Some(entities)) => {
                        let read: Result<Vec<Object<Marked>>, _> = serde_json::from_value(entities);
                        let read = read.map_err(|cause| A::Error::custom(format!("entities: {cause}")))?;
                        let entities = read.into_iter().map(|Object(entity)| entity).collect();
                        Gold::Spans { text, entities, unit: unit.unwrap_or_default() }
                    }
                    (None, None, Some(Value::String(_)), None) => return Err(A::Error::missing_field("entities")),
                    (Some(_), None, ..) => return Err(A::Error::missing_field("tags")),
                    _ => return Err(A::Error::missing_field("words")),
                };
                Ok(SentenceRow { gold, document, ignored })
            }
        }
        from.deserialize_map(Fields)
    }
}
