//! Entities as spans of a text become a tag for each of its words.
//!
//! ```text
//! "EU rejects", [{type: ORG, start: 0, end: 2}]  ->  EU rejects, B-ORG O
//! ```
//!
//! The words are those that `predict` makes of the text, so that training reads what prediction will. An entity that
//! holds a part of a word only has no tags; its sentence is left out, and the reason names both.

use serde::Deserialize;

use super::quoted;
use crate::text::offsets::{OffsetUnit, slice};
use crate::text::words::words;

/// An entity of a text, as `predict` answers it.
#[derive(Debug, Deserialize)]
pub(super) struct Marked {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it starts and ends in the text, in units of the line.
    pub start: usize,
    /// One past its end.
    pub end: usize,
    /// What stands there, to be checked.
    pub text: Option<String>,
}

/// The words of the text with their tags, or why it can't be used.
pub(super) fn tagged(text: &str, entities: &[Marked], unit: OffsetUnit) -> Result<(Vec<String>, Vec<String>), String> {
    let words = words(text);
    let mut tags = vec!["O".to_owned(); words.len()];
    let table = boundaries(text, unit);
    for entity in entities {
        let name = format!("the {} from {} to {}", quoted(&entity.kind), entity.start, entity.end);
        if entity.kind.trim().is_empty() {
            return Err(format!("{name}: expected a type, found none"));
        }
        let (Some(start), Some(end)) = (byte(&table, entity.start), byte(&table, entity.end)) else {
            let elsewhere = entity.text.as_deref().map_or(String::new(), |said| other_unit(text, entity, said, unit));
            return Err(format!("{name}: no such place in a text of {}{elsewhere}", length(text, unit)));
        };
        let found = text.get(start..end).unwrap_or("");
        if let Some(said) = entity.text.as_deref().filter(|said| *said != found) {
            let elsewhere = other_unit(text, entity, said, unit);
            return Err(format!("{name}: expected {}, found {}{elsewhere}", quoted(said), quoted(found)));
        }
        let mut inside = 0;
        for (word, tag) in words.iter().zip(&mut tags) {
            if word.end <= start || word.start >= end {
                continue;
            }
            let whole = slice(text, word.start, word.end);
            if word.start < start || word.end > end {
                return Err(format!("{name}, {}, cuts the word {}", quoted(found), quoted(whole)));
            }
            if tag != "O" {
                return Err(format!("{name}, {}, overlaps another entity at {}", quoted(found), quoted(whole)));
            }
            *tag = format!("{}-{}", if inside == 0 { "B" } else { "I" }, entity.kind);
            inside += 1;
        }
        if inside == 0 {
            return Err(format!("{name}: expected words, found {}", quoted(found)));
        }
    }
    Ok((words.into_iter().map(|word| slice(text, word.start, word.end).to_owned()).collect(), tags))
}

/// The byte at each offset in these units; none inside a character.
fn boundaries(text: &str, unit: OffsetUnit) -> Vec<Option<usize>> {
    let mut table = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        table.push(Some(at));
        let more = match unit {
            OffsetUnit::Byte => c.len_utf8() - 1,
            OffsetUnit::Char => 0,
            OffsetUnit::Utf16 => c.len_utf16() - 1,
        };
        table.extend(std::iter::repeat_n(None, more));
    }
    table.push(Some(text.len()));
    table
}

fn byte(table: &[Option<usize>], offset: usize) -> Option<usize> {
    table.get(offset).copied().flatten()
}

fn length(text: &str, unit: OffsetUnit) -> String {
    let name = match unit {
        OffsetUnit::Byte => "bytes",
        OffsetUnit::Char => "characters",
        OffsetUnit::Utf16 => "UTF-16 units",
    };
    format!("{} {name}", boundaries(text, unit).len() - 1)
}

/// In which other unit the entity stands where it says.
fn other_unit(text: &str, entity: &Marked, said: &str, unit: OffsetUnit) -> String {
    let holds = |other: &OffsetUnit| {
        let table = boundaries(text, *other);
        let at = byte(&table, entity.start).zip(byte(&table, entity.end));
        at.and_then(|(start, end)| text.get(start..end)) == Some(said)
    };
    let others = [(OffsetUnit::Char, "char"), (OffsetUnit::Byte, "byte"), (OffsetUnit::Utf16, "utf16")];
    let found = others.iter().find(|(other, _)| *other != unit && holds(other));
    found.map_or(String::new(), |(_, name)| format!(" (in other units it is there: \"offset_unit\": \"{name}\")"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn marked(kind: &str, start: usize, end: usize, text: Option<&str>) -> Marked {
        Marked { kind: kind.into(), start, end, text: text.map(str::to_owned) }
    }

    #[test]
    fn spans_become_tags_in_every_unit() {
        let text = "né 👩‍🚀 Ada's, Rio de Janeiro!";
        for (unit, start) in [(OffsetUnit::Char, 7), (OffsetUnit::Byte, 16), (OffsetUnit::Utf16, 9)] {
            let entities = [marked("PER", start, start + 3, Some("Ada")), marked("LOC", start + 7, start + 21, None)];
            let (words, tags) = tagged(text, &entities, unit).unwrap();
            assert_eq!(words, ["né", "👩‍🚀", "Ada", "'s", ",", "Rio", "de", "Janeiro", "!"]);
            assert_eq!(tags, ["O", "O", "B-PER", "O", "O", "B-LOC", "I-LOC", "I-LOC", "O"], "{unit:?}");
        }
    }

    #[test]
    fn neighbours_of_one_type_stay_apart_and_white_space_around_a_span_is_nothing() {
        let (_, tags) =
            tagged("Ada Bo", &[marked("PER", 0, 4, None), marked("PER", 4, 6, None)], OffsetUnit::Char).unwrap();
        assert_eq!(tags, ["B-PER", "B-PER"]);
    }

    #[test]
    fn a_span_that_is_no_row_of_words_says_why() {
        for (entity, reason) in [
            (marked("LOC", 0, 3, None), "the `LOC` from 0 to 3, `Éri`, cuts the word `Éric`"),
            (marked("LOC", 4, 5, None), "expected words, found ` `"),
            (marked("LOC", 5, 4, None), "expected words"),
            (marked("LOC", 5, 99, None), "no such place in a text of 8 characters"),
            (marked("", 0, 4, None), "expected a type"),
            (marked("LOC", 0, 4, Some("Bob")), "expected `Bob`, found `Éric`"),
            (marked("LOC", 6, 9, Some("Bob")), "\"offset_unit\": \"byte\""),
        ] {
            let found = tagged("Éric Bob", &[entity], OffsetUnit::Char).unwrap_err();
            assert!(found.contains(reason), "{found}");
        }
        let twice = [marked("A", 0, 8, None), marked("B", 5, 8, None)];
        assert!(tagged("Éric Bob", &twice, OffsetUnit::Char).unwrap_err().contains("overlaps another entity at `Bob`"));
    }
}
