//! Offsets in bytes (Rust), characters (Hugging Face: Unicode code points) and UTF-16 units (JavaScript).

use serde::{Deserialize, Serialize};

/// What an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// Converts an offset in characters to bytes; `None` beyond the end of the text.
pub fn char_to_byte(text: &str, char: usize) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(char)
}

/// The part of `text` between two byte offsets, widened or cut to character boundaries; empty where there is none.
pub fn slice(text: &str, start: usize, end: usize) -> &str {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(floor(start)..floor(end)).unwrap_or("")
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
    }

    proptest! {
        #[test]
        fn bytes_and_characters_convert_back(text in ".*", pick in any::<proptest::sample::Index>()) {
            let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let byte = *pick.get(&boundaries);
            let char = from_byte(&text, byte, OffsetUnit::Char);
            prop_assert_eq!(char_to_byte(&text, char), Some(byte));
            prop_assert_eq!(from_byte(&text, byte, OffsetUnit::Utf16), text[..byte].encode_utf16().count());
        }

        #[test]
        fn slicing_anywhere_never_panics(text in ".*", start in 0..40usize, end in 0..40usize) {
            let part = slice(&text, start, end);
            prop_assert!(text.contains(part));
        }
    }
}
