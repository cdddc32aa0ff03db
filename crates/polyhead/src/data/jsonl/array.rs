//! The same records as one JSON value: a list of them, as annotation tools export it, or one alone.
//!
//! ```text
//! [{"text": "...", ...}, {"text": "...", ...}]
//! [["...", {"entities": [[0, 3, "PER"]]}], ...]                                  spaCy's training data
//! {"classes": ["PER"], "annotations": [["...", {"entities": [...]}], null]}      the same with its classes; null: not annotated
//! ```
//!
//! The place of a record is its number in the list, from 0: `[3]`.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::sentences::Sentences;
use crate::data::json::{self, Fields, Record};
use crate::data::{Layout, Read, Sentence, lines, looks};
use crate::error::{Error, Place, Result};

/// The text is held in memory as a whole.
const LARGEST_FILE: u64 = 1 << 30;

/// Reads sentences.
pub(in crate::data) fn read_sentence_list(
    file: &Path,
    limit: Option<usize>,
    layout: &Layout,
) -> Result<Read<Sentence>> {
    let (whole, notes) = Whole::read(file, "sentences")?;
    let mut sentences = Sentences::new(layout);
    for (place, record) in whole.records(file)? {
        match record {
            Some(record) => sentences.push(place, record)?,
            None => sentences.push_nothing(),
        }
    }
    sentences.finish(file, limit, notes)
}

/// A file: a list, or an object.
pub(super) enum Whole {
    List(Vec<Option<Record>>),
    One(Fields),
}

impl Whole {
    /// Reads a file; the notes are due after its last record. `expected` are its examples, for a message.
    pub(super) fn read(file: &Path, expected: &str) -> Result<(Self, Vec<String>)> {
        let (text, notes) = lines::read_whole(file, LARGEST_FILE)?;
        let whole: Self = serde_json::from_str(&text).map_err(|cause| malformed(file, cause))?;
        match (&whole, looks::of_questions(&text)) {
            (Self::One(_), Some(like)) => Err(like.instead_of(expected).at(Place::file(file))),
            _ => Ok((whole, notes)),
        }
    }

    /// The records with their places; none for a null.
    pub(super) fn records(self, file: &Path) -> Result<Vec<(Place, Option<Record>)>> {
        let fields = match self {
            Self::List(records) => {
                let place = |at: usize| Place::field(file, format!("[{at}]"));
                return Ok(records.into_iter().enumerate().map(|(at, record)| (place(at), record)).collect());
            }
            Self::One(fields) => fields,
        };
        if fields.get("data").is_some() || !matches!(fields.get("annotations"), Some(Value::Array(_))) {
            return Ok(vec![(Place::file(file), Some(Record::Object(fields)))]);
        }
        let list = fields.0.into_iter().find(|(name, _)| name == "annotations").map_or(Value::Null, |(_, list)| list);
        let records: Vec<Option<Record>> = serde_json::from_value(list)
            .map_err(|cause| Error::data(format!("annotations: {cause}")).at(Place::file(file)).because(cause))?;
        let place = |at: usize| Place::field(file, format!("annotations[{at}]"));
        Ok(records.into_iter().enumerate().map(|(at, record)| (place(at), record)).collect())
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of objects")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Whole, A::Error> {
                let mut records = Vec::new();
                loop {
                    match list.next_element() {
                        Ok(Some(record)) => records.push(record),
                        Ok(None) => return Ok(Whole::List(records)),
                        Err(cause) => return Err(A::Error::custom(format!("[{}]: {cause}", records.len()))),
                    }
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Whole, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Whole::One)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn malformed(file: &Path, cause: serde_json::Error) -> Error {
    let message = json::message(&cause);
    let place = Place::column(file, cause.line().max(1), cause.column().max(1));
    let hint = if message.contains("EOF while parsing") {
        "the file ends too early: was it exported or written to its end?"
    } else if message.contains("trailing characters") {
        looks::LINES.way_out
    } else {
        "a list of objects, as in [{\"text\": \"Ada left.\", \"entities\": [{\"type\": \"PER\", \"start\": 0, \"end\": 3}]}]"
    };
    Error::data(message).at(place).hint(hint).because(cause)
}
