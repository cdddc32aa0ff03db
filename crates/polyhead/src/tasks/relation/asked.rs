//! A pair of parts as a request asks for it, and the edge that answers it.
//!
//! ```text
//! {"marked_text": "The <e1>fire</e1> was caused by the <e2>bombs</e2>."}
//! {"text": "...", "head": {"start": 4, "end": 8}, "tail": {"start": 27, "end": 32}}        or `e1` and `e2`
//! ```
//!
//! Offsets of an answer are those of the text without marks.

use crate::data::{Marked, RelationExample};
use crate::error::{Error, Place, Result};
use crate::metrics::relations::{Direction, split};
use crate::tasks::answer::{Edge, End};
use crate::tasks::{found, offset_unit};
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use serde_json::Value;
use std::ops::Range;

/// The field of a request that holds a text with marks.
pub(super) const MARKED: &str = "marked_text";

/// A text with two parts and perhaps the gold label, and what the offsets of an answer count.
pub struct Asked {
    pub(super) relation: RelationExample,
    pub(super) unit: OffsetUnit,
}

impl Asked {
    /// Of a file, whose offsets count characters.
    pub(super) fn of_file(relation: RelationExample) -> Self {
        Self { relation, unit: OffsetUnit::Char }
    }

    /// Of a request.
    pub(super) fn of_request(request: &Value, place: Place) -> Result<Self> {
        let read = || -> Result<(Marked, OffsetUnit)> {
            let given = |name: &str| request.get(name).filter(|value| !value.is_null());
            let unit = offset_unit(request)?;
            let fault = |name: &str, value: Option<&Value>| {
                let found = found(value);
                let form = "\"<e1>...</e1> ... <e2>...</e2>\"";
                Error::data(format!("expected {{{MARKED:?}: {form}}}, found {found} as `{name}`"))
                    .hint("or a `text` with `head` and `tail`, each with `start` and `end`")
            };
            Ok(match (given(MARKED), given("text"), request.as_object()) {
                (Some(Value::String(text)), None, _) => (Marked::read(text)?, unit),
                (Some(Value::String(_)), Some(text), _) => return Err(fault("text", Some(text))),
                (Some(other), ..) => return Err(fault(MARKED, Some(other))),
                (None, Some(Value::String(text)), Some(object)) => (Marked::of_json(text, object, unit)?, unit),
                (None, Some(other), _) => return Err(fault("text", Some(other))),
                (None, None, _) => return Err(fault(MARKED, None)),
            })
        };
        let (Marked { text, first, second }, unit) = read().map_err(|error| error.at(place.clone()))?;
        Ok(Self { relation: RelationExample { place, id: None, text, first, second, label: None }, unit })
    }

    /// The relation that a label says: from the first part to the second, unless it says the other direction.
    pub(super) fn edge(&self, label: &str, score: f64) -> Edge {
        let RelationExample { text, first, second, .. } = &self.relation;
        let offsets = Offsets::new(text, self.unit);
        let end = |part: &Range<usize>| End {
            text: slice(text, part.start, part.end).to_owned(),
            start: offsets.at(part.start),
            end: offsets.at(part.end),
        };
        let (kind, direction) = split(label);
        let (from, to) = match direction {
            Some(Direction::Backward) => (end(second), end(first)),
            Some(Direction::Forward) | None => (end(first), end(second)),
        };
        Edge { kind: kind.to_owned(), from, to, score }
    }
}
