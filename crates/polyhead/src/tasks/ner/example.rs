//! A text as the task reads it: words with their gold tags, and the units of each word that are labelled.
//!
//! ```text
//! words  | Ada  | 東京タワー          tags  B-PER  B-LOC
//! units  | Ada  | 東 京 タ ワ ー            B-PER  B-LOC I-LOC I-LOC I-LOC I-LOC
//! ```
//!
//! A word of a file stays one word in scores and answers. What the tokenizer gets and the head labels are its units, so that
//! training and prediction see the same tokens however a file splits a script without spaces: see [`words::units`].

use super::inside;
use crate::data::{Sentence, training_tag};
use crate::error::{Place, Result};
use crate::text::offsets::{OffsetUnit, slice};
use crate::text::{Piece, Tokenizer, words};
use std::borrow::Cow;
use std::ops::Range;

/// A text split into words, each with a tag where it is gold.
pub struct Tagged {
    pub(super) place: Place,
    pub(super) text: String,
    /// In bytes.
    pub(super) words: Vec<Range<usize>>,
    pub(super) tags: Vec<String>,
    /// In the order of the words; every word has at least one.
    pub(super) units: Vec<Unit>,
    /// What the offsets of the answer count.
    pub(super) unit: OffsetUnit,
}

/// A part of a word that is labelled on its own.
pub(super) struct Unit {
    bytes: Range<usize>,
    /// The index of its word.
    pub word: usize,
    /// Whether it is the first of its word.
    first: bool,
}

impl Tagged {
    pub(super) fn from_sentence(sentence: Sentence) -> Self {
        let Sentence { place, words, tags, .. } = sentence;
        Self { tags, ..Self::from_words(place, &words, OffsetUnit::default()) }
    }

    /// Given words without gold tags. A space parts them, but in scripts that are written without.
    pub(super) fn from_words(place: Place, words: &[String], unit: OffsetUnit) -> Self {
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
        Self { units: units(&text, &ranges), words: ranges, text, place, tags: Vec::new(), unit }
    }

    /// A running text without gold tags.
    pub(super) fn from_text(place: Place, text: String, unit: OffsetUnit) -> Self {
        let words = words::words(&text);
        Self { units: units(&text, &words), words, text, place, tags: Vec::new(), unit }
    }

    pub(super) fn words(&self) -> Vec<&str> {
        self.words.iter().map(|range| slice(&self.text, range.start, range.end)).collect()
    }

    /// The units as the tokenizer gets them.
    pub(super) fn units(&self) -> Vec<&str> {
        self.units.iter().map(|unit| slice(&self.text, unit.bytes.start, unit.bytes.end)).collect()
    }

    /// The sub-words of all units, each with the index of its unit as its word.
    pub(super) fn pieces(&self, tokenizer: &Tokenizer) -> Result<Vec<Piece>> {
        tokenizer.words(&self.units())
    }

    /// The tag that a unit is trained with: that of its word, which later units go on with.
    pub(super) fn training_tag(&self, unit: usize) -> Option<Cow<'_, str>> {
        let unit = self.units.get(unit)?;
        let tag = training_tag(&self.tags, unit.word)?;
        Some(if unit.first { tag } else { inside(tag) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(words: &[(&str, &str)]) -> Tagged {
        let (words, tags) = words.iter().map(|(word, tag)| ((*word).to_owned(), (*tag).to_owned())).unzip();
        Tagged::from_sentence(Sentence { place: Place::line("f", 1), words, tags })
    }

    #[test]
    fn a_file_of_characters_of_words_and_of_runs_trains_on_the_same_units() {
        let files: [&[(&str, &str)]; 3] = [
            &[
                ("東", "B-LOC"),
                ("京", "I-LOC"),
                ("タ", "I-LOC"),
                ("ワ", "I-LOC"),
                ("ー", "I-LOC"),
                ("は", "O"),
                ("高", "O"),
                ("い", "O"),
            ],
            &[("東京", "B-LOC"), ("タワー", "I-LOC"), ("は", "O"), ("高い", "O")],
            &[("東京タワー", "B-LOC"), ("は高い", "O")],
        ];
        let running = Tagged::from_text(Place::line("f", 1), "東京タワーは高い".into(), OffsetUnit::Char);
        for file in files {
            let example = tagged(file);
            assert_eq!(example.text, running.text);
            assert_eq!(example.units(), running.units());
            let tags: Vec<_> = (0..example.units.len()).filter_map(|unit| example.training_tag(unit)).collect();
            assert_eq!(tags, ["B-LOC", "I-LOC", "I-LOC", "I-LOC", "I-LOC", "O", "O", "O"]);
        }
    }

    #[test]
    fn given_words_stay_words_and_are_parted_by_a_space_where_their_script_has_one() {
        let example = tagged(&[("Ada's", "B-PER"), ("東京Tower", "B-LOC"), ("、", "O"), ("ok", "O"), ("", "O")]);
        assert_eq!(example.text, "Ada's 東京Tower 、 ok ");
        assert_eq!(example.words(), ["Ada's", "東京Tower", "、", "ok", ""]);
        assert_eq!(example.units(), ["Ada's", "東", "京", "Tower", "、", "ok", ""]);
    }
}
