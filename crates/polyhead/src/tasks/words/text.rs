//! A text as words, each with the units that are labelled.
//!
//! ```text
//! words  | Ada  | 東京タワー
//! units  | Ada  | 東 京 タ ワ ー
//! ```
//!
//! A word of a file stays one word in scores and answers. What the tokenizer gets and the head labels are its units, so that
//! training and prediction see the same tokens however a file splits a script without spaces: see [`words::units`].

use crate::error::{Error, Place, Result};
use crate::tasks::answer::{Answer, Span, Spans};
use crate::tasks::offset_unit;
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use crate::text::{Piece, Tokenizer, words};
use serde_json::Value;
use std::ops::Range;

/// A text split into words.
pub struct Words {
    /// Where it stands.
    pub place: Place,
    /// The text.
    pub text: String,
    /// Where each word lies in it, in bytes.
    pub ranges: Vec<Range<usize>>,
    /// In the order of the words; every word has at least one.
    pub units: Vec<Unit>,
    /// What the offsets of the answer count.
    pub offset_unit: OffsetUnit,
}

/// A part of a word that is labelled on its own.
pub struct Unit {
    bytes: Range<usize>,
    /// The index of its word.
    pub word: usize,
    /// Whether it is the first of its word.
    pub first: bool,
}

impl Words {
    /// Given words. A space parts them, but in scripts that are written without.
    pub fn from_words(place: Place, words: &[String], offset_unit: OffsetUnit) -> Self {
        let mut text = String::new();
        let mut ranges = Vec::with_capacity(words.len());
        let mut before: Option<&str> = None;
        for word in words {
            if before.is_some_and(|before| words::is_spaced(before, word)) {
                text.push(' ');
            }
            ranges.push(text.len()..text.len() + word.len());
            text.push_str(word);
            before = Some(word);
        }
        Self { units: units(&text, &ranges), ranges, text, place, offset_unit }
    }

    /// A running text.
    pub fn from_text(place: Place, text: String, offset_unit: OffsetUnit) -> Self {
        let ranges = words::words(&text);
        Self { units: units(&text, &ranges), ranges, text, place, offset_unit }
    }

    /// Of a request: `text`, or `words`.
    pub fn request(request: &Value, place: Place) -> Result<Self> {
        let fault = |found: String| {
            Error::data(format!("expected {{\"text\": \"...\"}} or {{\"words\": [\"...\", ...]}}, found {found}"))
                .at(place.clone())
        };
        let unit = offset_unit(request).map_err(|error| error.at(place.clone()))?;
        if let Some(text) = request.get("text") {
            let text = text.as_str().ok_or_else(|| fault(format!("`text` = {text}")))?.to_owned();
            return Ok(Self::from_text(place, text, unit));
        }
        let Some(Value::Array(items)) = request.get("words") else { return Err(fault("neither".into())) };
        let words: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let words = words.ok_or_else(|| fault("`words` that are not all strings".into()))?;
        Ok(Self::from_words(place, &words, unit))
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The words.
    pub fn words(&self) -> Vec<&str> {
        self.ranges.iter().map(|range| slice(&self.text, range.start, range.end)).collect()
    }

    /// The units as the tokenizer gets them.
    pub fn units(&self) -> Vec<&str> {
        self.units.iter().map(|unit| slice(&self.text, unit.bytes.start, unit.bytes.end)).collect()
    }

    /// The sub-words of all units, each with the index of its unit as its word.
    pub fn pieces(&self, tokenizer: &Tokenizer) -> Result<Vec<Piece>> {
        tokenizer.words(&self.units())
    }

    /// Where words lie, in bytes.
    pub fn bytes(&self, words: Range<usize>) -> Option<Range<usize>> {
        Some(self.ranges.get(words.start)?.start..self.ranges.get(words.end.checked_sub(1)?)?.end)
    }

    /// Parts of the text, each with what it is and a score, as an answer.
    pub fn spans(&self, found: impl Iterator<Item = (String, Range<usize>, f64)>) -> Answer {
        let offsets = Offsets::new(&self.text, self.offset_unit);
        let span = |(kind, bytes, score): (String, Range<usize>, f64)| Span {
            kind,
            text: slice(&self.text, bytes.start, bytes.end).to_owned(),
            start: offsets.at(bytes.start),
            end: offsets.at(bytes.end),
            score,
        };
        Answer::Spans(Spans { text: self.text.clone(), entities: found.map(span).collect() })
    }
}

fn units(text: &str, words: &[Range<usize>]) -> Vec<Unit> {
    let mut all = Vec::with_capacity(words.len());
    for (word, range) in words.iter().enumerate() {
        for (at, unit) in words::units(slice(text, range.start, range.end)).into_iter().enumerate() {
            all.push(Unit { bytes: range.start + unit.start..range.start + unit.end, word, first: at == 0 });
        }
    }
    all
}
