//! The tokens of a text with two parts, and the window around both.
//!
//! ```text
//! markers = "tokens"   [CLS] the $ fire $ was caused by the # bombs # . [SEP]      ranges hold the markers
//! markers = "spans"    [CLS] the fire was caused by the bombs . [SEP]              ranges hold the tokens of the parts
//! ```
//!
//! A window holds both parts, what stands between them, and as many tokens before and behind as fit, as many on either side where
//! there are enough. Parts that lie further apart than a window can't be read, and neither can one of which the tokenizer makes no
//! token.

use super::{Config, Markers};
use crate::data::RelationExample;
use crate::error::{Error, Result};
use crate::text::{Piece, Tokenizer};
use std::fmt;
use std::ops::Range;

/// The tokens of a text, its markers among them.
pub(super) struct Encoded {
    /// Without the special tokens around a window.
    pub pieces: Vec<Piece>,
    /// The tokens of each part.
    pub ranges: [Range<usize>; 2],
}

/// Why a text can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The tokenizer makes no token of a part: the first or the second.
    Empty(&'static str),
    /// From the first token of one part to the last of the other there are more than a window holds.
    Far { tokens: usize, room: usize },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Empty(which) => write!(f, "the tokenizer makes no token of its {which} part"),
            Self::Far { tokens, room } => {
                write!(f, "its parts lie {tokens} tokens apart, themselves included, and a window holds {room}")
            }
        }
    }
}

impl Encoded {
    /// The tokens of a text, with markers where the configuration asks for them.
    ///
    /// # Errors
    /// The vocabulary has no such marker.
    pub fn of(config: &Config, example: &RelationExample, tokenizer: &Tokenizer) -> Result<Self> {
        let pieces = tokenizer.text(&example.text)?;
        let ranges = [&example.first, &example.second].map(|part| pieces_of(&pieces, part));
        match config.markers {
            Markers::Spans => Ok(Self { pieces, ranges }),
            Markers::Tokens => {
                let [first, second] = &config.marker_tokens;
                Ok(with_markers(&pieces, ranges, [marker(first, tokenizer)?, marker(second, tokenizer)?]))
            }
        }
    }

    /// The tokens that a window of this room holds.
    pub fn window(&self, config: &Config, room: usize) -> Result<Range<usize>, Unreadable> {
        let markers = if config.markers == Markers::Tokens { 2 } else { 0 };
        for (range, which) in self.ranges.iter().zip(["first", "second"]) {
            if range.len() <= markers {
                return Err(Unreadable::Empty(which));
            }
        }
        let [first, second] = &self.ranges;
        let (start, end) = (first.start.min(second.start), first.end.max(second.end));
        let (tokens, behind) = (end - start, self.pieces.len() - end);
        let Some(free) = room.checked_sub(tokens) else { return Err(Unreadable::Far { tokens, room }) };
        // Half on either side; what one side does not need the other has.
        let before = start.min((free / 2).max(free.saturating_sub(behind)));
        let behind = behind.min(free - before);
        Ok(start - before..end + behind)
    }
}

/// The tokens that overlap a part of the text: all of a token of which it has some characters.
fn pieces_of(pieces: &[Piece], part: &Range<usize>) -> Range<usize> {
    let overlaps = |piece: &Piece| piece.start < part.end && part.start < piece.end;
    let first = pieces.iter().position(overlaps);
    let last = pieces.iter().rposition(overlaps);
    match (first, last) {
        (Some(first), Some(last)) => first..last + 1,
        _ => {
            let before = pieces.partition_point(|piece| piece.end <= part.start);
            before..before
        }
    }
}

fn marker(token: &str, tokenizer: &Tokenizer) -> Result<u32> {
    tokenizer.token(token).ok_or_else(|| {
        Error::usage(format!("marker_tokens: expected two tokens of the vocabulary, found `{token}`, which is none"))
            .hint("choose tokens that texts hardly have, or `markers = \"spans\"`, which needs none")
    })
}

/// A marker before and behind each part. Where parts share tokens, one stands in the other or they cross, and so do their
/// markers.
fn with_markers(pieces: &[Piece], ranges: [Range<usize>; 2], markers: [u32; 2]) -> Encoded {
    // (before which token, whether it begins a part, of parts that end or begin there the one whose marker stands first, which part)
    let mut marks: Vec<([usize; 4], usize)> = Vec::with_capacity(4);
    for (part, range) in ranges.iter().enumerate() {
        marks.push(([range.start, 1, pieces.len() - range.end, part], part));
        // A part of no token ends behind its beginning.
        let ends = if range.is_empty() { 2 } else { 0 };
        marks.push(([range.end, ends, pieces.len() - range.start, ranges.len() - part], part));
    }
    marks.sort_unstable();
    let mut with = Encoded { pieces: Vec::with_capacity(pieces.len() + 4), ranges: [0..0, 0..0] };
    let mut from = 0;
    for ([at, begins, ..], part) in marks {
        with.pieces.extend(pieces.get(from..at).unwrap_or(&[]));
        from = at;
        let place = with.pieces.last().map_or(0, |piece| piece.end);
        let id = markers.get(part).copied().unwrap_or_default();
        if let Some(range) = with.ranges.get_mut(part) {
            match begins {
                1 => range.start = with.pieces.len(),
                _ => range.end = with.pieces.len() + 1,
            }
        }
        with.pieces.push(Piece { id, start: place, end: place, word: 0, case: 0 });
    }
    with.pieces.extend(pieces.get(from..).unwrap_or(&[]));
    with
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(count: usize) -> Vec<Piece> {
        (0..count).map(|at| Piece { id: at as u32, start: 2 * at, end: 2 * at + 1, word: at, case: 0 }).collect()
    }

    fn ids(encoded: &Encoded) -> Vec<u32> {
        encoded.pieces.iter().map(|piece| piece.id).collect()
    }

    #[test]
    fn markers_stand_around_parts_and_belong_to_them() {
        for (ranges, want, of) in [
            ([1..2, 3..5], vec![0, 77, 1, 77, 2, 88, 3, 4, 88, 5], [1..4, 5..9]),
            ([3..5, 1..2], vec![0, 88, 1, 88, 2, 77, 3, 4, 77, 5], [5..9, 1..4]),
            // Beside each other, at both ends.
            ([0..3, 3..6], vec![77, 0, 1, 2, 77, 88, 3, 4, 5, 88], [0..5, 5..10]),
            // One in the other, and equal.
            ([0..6, 5..6], vec![77, 0, 1, 2, 3, 4, 88, 5, 88, 77], [0..10, 6..9]),
            ([2..3, 2..3], vec![0, 1, 77, 88, 2, 88, 77, 3, 4, 5], [2..7, 3..6]),
            // Without a token.
            ([2..2, 2..3], vec![0, 1, 88, 77, 77, 2, 88, 3, 4, 5], [3..5, 2..7]),
        ] {
            let found = with_markers(&pieces(6), ranges.clone(), [77, 88]);
            if ranges[0].is_empty() {
                // Whichever stands first, a part without a token has its two markers and nothing else.
                assert_eq!(found.ranges[0].len(), 2, "{:?}", ids(&found));
                continue;
            }
            assert_eq!((ids(&found), &found.ranges), (want, &of), "{ranges:?}");
        }
    }

    #[test]
    fn a_part_has_the_tokens_that_it_shares_characters_with() {
        // Tokens at the bytes 0, 2, 4 ..., white space between them.
        for (part, want) in [(0..1, 0..1), (2..5, 1..3), (1..4, 1..2), (1..2, 1..1), (11..12, 6..6), (3..4, 2..2)] {
            assert_eq!(pieces_of(&pieces(6), &part), want, "{part:?}");
        }
    }

    proptest! {
        #[test]
        fn a_window_holds_both_parts_and_all_that_fits(count in 2..60usize, ends in prop::array::uniform4(0..60usize), room in 0..70usize) {
            let config = Config { markers: Markers::Spans, ..Config::default() };
            let mut ends = ends.map(|end| end % (count + 1));
            ends.sort_unstable();
            let encoded = Encoded { pieces: pieces(count), ranges: [ends[2]..ends[3], ends[0]..ends[1]] };
            match encoded.window(&config, room) {
                Ok(window) => {
                    prop_assert!(window.start <= ends[0] && ends[3] <= window.end && window.end <= count);
                    prop_assert_eq!(window.len(), room.min(count));
                    let (before, behind) = (ends[0] - window.start, window.end - ends[3]);
                    // One side has more than the other only where the other has all that there is.
                    prop_assert!(before <= behind + 1 || window.end == count);
                    prop_assert!(behind <= before + 1 || window.start == 0);
                }
                Err(Unreadable::Far { tokens, .. }) => prop_assert!(tokens > room && tokens == ends[3] - ends[0]),
                Err(Unreadable::Empty(_)) => prop_assert!(ends[0] == ends[1] || ends[2] == ends[3]),
            }
        }
    }
}
