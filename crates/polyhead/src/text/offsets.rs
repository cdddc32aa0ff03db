//! Offsets in bytes (Rust), characters (Hugging Face: Unicode code points) and UTF-16 units (JavaScript).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// Bytes of UTF-8.
    Byte,
    /// Unicode code points.
    #[default]
    Char,
    /// UTF-16 code units.
    Utf16,
}

/// Converts a byte offset into `text` to another unit. An offset inside a character counts as its start.
pub fn from_byte(text: &str, byte: usize, unit: OffsetUnit) -> usize {
    let before = text.char_indices().take_while(|&(at, c)| at + c.len_utf8() <= byte).map(|(_, c)| c);
    match unit {
        OffsetUnit::Byte => before.map(char::len_utf8).sum(),
        OffsetUnit::Char => before.count(),
        OffsetUnit::Utf16 => before.map(char::len_utf16).sum(),
    }
}

/// Converts many byte offsets into one text: each costs a look at [`BLOCK`] bytes, where [`from_byte`] reads all that
/// comes before.
pub struct Offsets<'a> {
    text: &'a str,
    unit: OffsetUnit,
    /// The units before each block of the text; empty where every byte is a unit.
    before: Vec<usize>,
}

/// The bytes between two entries of the table.
const BLOCK: usize = 64;

impl<'a> Offsets<'a> {
    /// Reads the text once.
    pub fn new(text: &'a str, unit: OffsetUnit) -> Self {
        let mut before = Vec::new();
        if unit != OffsetUnit::Byte && !text.is_ascii() {
            before = text
                .as_bytes()
                .chunks(BLOCK)
                .scan(0, |total, block| Some(std::mem::replace(total, *total + units(block, unit))))
                .collect();
        }
        Self { text, unit, before }
    }

    /// What [`from_byte`] gives for this offset.
    pub fn at(&self, byte: usize) -> usize {
        let byte = floor(self.text, byte);
        // The end of a text of whole blocks lies beyond the last entry.
        let block = (byte / BLOCK).min(self.before.len().saturating_sub(1));
        match self.before.get(block) {
            Some(before) => before + units(self.text.as_bytes().get(block * BLOCK..byte).unwrap_or(&[]), self.unit),
            None => byte,
        }
    }
}

/// The units that begin in these bytes of UTF-8: a character at its first byte, and a second UTF-16 unit there, too, if
/// it takes four bytes.
fn units(bytes: &[u8], unit: OffsetUnit) -> usize {
    let characters = || bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    match unit {
        OffsetUnit::Byte => bytes.len(),
        OffsetUnit::Char => characters(),
        OffsetUnit::Utf16 => characters() + bytes.iter().filter(|&&byte| byte >= 0xf0).count(),
    }
}

/// The last character boundary up to this byte.
pub(super) fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Converts an offset in characters to bytes; `None` beyond the end of the text.
pub fn char_to_byte(text: &str, char: usize) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(char)
}

/// Converts an offset in some unit to bytes; `None` beyond the end of the text, and inside of a character.
pub fn to_byte(text: &str, offset: usize, unit: OffsetUnit) -> Option<usize> {
    let mut count = 0;
    for (at, c) in text.char_indices() {
        if count >= offset {
            return (count == offset).then_some(at);
        }
        count += match unit {
            OffsetUnit::Byte => c.len_utf8(),
            OffsetUnit::Char => 1,
            OffsetUnit::Utf16 => c.len_utf16(),
        };
    }
    (count == offset).then_some(text.len())
}

/// The part of `text` between two byte offsets, widened or cut to character boundaries; empty where there is none.
pub fn slice(text: &str, start: usize, end: usize) -> &str {
    text.get(floor(text, start)..floor(text, end)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_counts_its_own() {
        let text = "né 👩‍🚀!";
        let at = text.find('!').unwrap();
        assert_eq!(from_byte(text, at, OffsetUnit::Byte), 15);
        assert_eq!(from_byte(text, at, OffsetUnit::Char), 6);
        assert_eq!(from_byte(text, at, OffsetUnit::Utf16), 8);
        assert_eq!([2, 5].map(|inside| to_byte(text, inside, OffsetUnit::Byte)), [None; 2]);
        assert_eq!([4, 7].map(|inside| to_byte(text, inside, OffsetUnit::Utf16)), [None; 2]);
    }

    #[test]
    fn a_text_of_whole_blocks_has_an_end() {
        for text in ["é".repeat(BLOCK / 2), "é".repeat(BLOCK), "x".repeat(BLOCK), String::new()] {
            for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
                assert_eq!(Offsets::new(&text, unit).at(text.len()), from_byte(&text, text.len(), unit), "{unit:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_and_characters_convert_back(text in ".*", pick in any::<proptest::sample::Index>()) {
            let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let byte = *pick.get(&boundaries);
            let char = from_byte(&text, byte, OffsetUnit::Char);
            prop_assert_eq!(char_to_byte(&text, char), Some(byte));
            prop_assert_eq!(from_byte(&text, byte, OffsetUnit::Utf16), text[..byte].encode_utf16().count());
            for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
                prop_assert_eq!(to_byte(&text, from_byte(&text, byte, unit), unit), Some(byte), "{:?}", unit);
                prop_assert_eq!(to_byte(&text, from_byte(&text, text.len(), unit) + 1, unit), None);
            }
        }

        #[test]
        fn the_table_gives_what_counting_gives_at_every_byte(text in "(.|[a-z]{1,9}|[é東👩]{1,9}){0,40}") {
            for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
                let offsets = Offsets::new(&text, unit);
                for byte in (0..text.len() + 3).chain([usize::MAX]) {
                    prop_assert_eq!(offsets.at(byte), from_byte(&text, byte, unit), "{:?} at {}", unit, byte);
                }
            }
        }

        #[test]
        fn slicing_anywhere_never_panics(text in ".*", start in 0..40usize, end in 0..40usize) {
            let part = slice(&text, start, end);
            prop_assert!(text.contains(part));
        }
    }
}
