//! The special tokens around the texts of a window, as a tokenizer's post-processor puts them.
//!
//! ```text
//!              one text          two texts
//! BERT         [CLS] A [SEP]     [CLS] A [SEP] B [SEP]      types 0 up to the first [SEP], then 1
//! RoBERTa      <s> A </s>        <s> A </s> </s> B </s>     types 0
//! ```
//!
//! A [`Template`] is read off by sending stand-ins for the texts through the post-processor: whatever its kind is, what it puts
//! around them is the template.

use super::Piece;
use super::case::token_type;
use crate::error::{Error, Result};
use std::ops::Range;
use tokenizers::{Encoding, Token};

/// The special tokens of a window over so many texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<const TEXTS: usize> {
    texts: [Text; TEXTS],
    /// What stands after the last text.
    end: Vec<Special>,
}

/// The place of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Text {
    /// What stands before it.
    before: Vec<Special>,
    /// The type of its tokens.
    kind: u32,
}

/// A special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Special {
    id: u32,
    kind: u32,
}

/// The tokens of a window, special ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSequence<const TEXTS: usize> {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Token types (segments), one for each id.
    pub types: Vec<u32>,
    /// Where each text lies among them.
    pub texts: [Range<usize>; TEXTS],
}

/// Stands for the first text, the second ...: no vocabulary is as large.
const STAND_INS: u32 = u32::MAX - 8;

impl<const TEXTS: usize> Template<TEXTS> {
    /// Reads off what a post-processor does. Nothing where it puts no special token before the first text, or does not keep the
    /// texts whole and in order.
    pub(super) fn read(post_process: impl FnOnce(Vec<Encoding>) -> Option<Encoding>) -> Option<Self> {
        let stand_in = |text: u32| Token::new(STAND_INS + text, "x".to_owned(), (0, 1));
        let texts = (0..TEXTS as u32).map(|text| Encoding::from_tokens(vec![stand_in(text)], 0)).collect();
        let found = post_process(texts)?;
        let mut read: Vec<Text> = Vec::new();
        let mut specials = Vec::new();
        for (&id, &kind) in found.get_ids().iter().zip(found.get_type_ids()) {
            if id < STAND_INS {
                specials.push(Special { id, kind });
            } else if id == STAND_INS + read.len() as u32 {
                read.push(Text { before: std::mem::take(&mut specials), kind });
            } else {
                return None;
            }
        }
        let template = Self { texts: read.try_into().ok()?, end: specials };
        template.texts.first().is_some_and(|text| !text.before.is_empty()).then_some(template)
    }

    /// That of BERT: `first` before the first text, `separator` behind each, and the types count the texts.
    pub(super) fn of_bert(first: u32, separator: u32) -> Self {
        let special = |id: u32, kind: usize| Special { id, kind: kind as u32 };
        let text = |at: usize| Text {
            before: vec![if at == 0 { special(first, 0) } else { special(separator, at - 1) }],
            kind: at as u32,
        };
        Self { texts: std::array::from_fn(text), end: vec![special(separator, TEXTS.saturating_sub(1))] }
    }

    /// How many special tokens a window has.
    pub fn special_tokens(&self) -> usize {
        self.texts.iter().map(|text| text.before.len()).sum::<usize>() + self.end.len()
    }

    /// How many tokens of texts a window of `max_length` holds.
    ///
    /// # Errors
    /// No more than `used`.
    pub fn room(&self, max_length: usize, used: usize) -> Result<usize> {
        let special = self.special_tokens();
        let room = max_length.saturating_sub(special);
        if room > used {
            return Ok(room);
        }
        let least = used.saturating_add(special).saturating_add(1);
        let message =
            format!("max_length: expected at least {least} tokens, of which {special} are special, found {max_length}");
        Err(Error::usage(message).hint("raise max_length, or lower stride and the length of questions"))
    }

    /// The largest id of a special token.
    pub(super) fn largest_id(&self) -> u32 {
        let before = self.texts.iter().flat_map(|text| &text.before);
        before.chain(&self.end).map(|special| special.id).max().unwrap_or(0)
    }

    /// The window over these texts.
    pub fn window(&self, texts: [&[Piece]; TEXTS]) -> TokenSequence<TEXTS> {
        let count = texts.iter().map(|text| text.len()).sum::<usize>() + self.special_tokens();
        let (mut ids, mut types) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut put = |id: u32, kind: u32| {
            ids.push(id);
            types.push(kind);
        };
        let mut ranges = [const { 0..0 }; TEXTS];
        let mut at = 0;
        for ((text, pieces), range) in self.texts.iter().zip(texts).zip(&mut ranges) {
            text.before.iter().for_each(|special| put(special.id, special.kind));
            pieces.iter().for_each(|piece| put(piece.id, token_type(text.kind, piece.case)));
            let start = at + text.before.len();
            at = start + pieces.len();
            *range = start..at;
        }
        self.end.iter().for_each(|special| put(special.id, special.kind));
        TokenSequence { ids, types, texts: ranges }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pieces(ids: &[u32]) -> Vec<Piece> {
        ids.iter().map(|&id| Piece { id, start: 0, end: 0, word: 0, case: 0 }).collect()
    }

    #[test]
    fn a_window_has_the_special_tokens_around_its_texts() {
        let (a, b) = (pieces(&[7, 8]), pieces(&[9]));
        let TokenSequence { ids, types, texts: [text] } = Template::<1>::of_bert(1, 2).window([&a]);
        assert_eq!((ids, types, text), (vec![1, 7, 8, 2], vec![0; 4], 1..3));
        let pair = Template::<2>::of_bert(1, 2);
        assert_eq!(pair.special_tokens(), 3);
        let window = pair.window([&a, &b]);
        assert_eq!((window.ids, window.types), (vec![1, 7, 8, 2, 9, 2], vec![0, 0, 0, 0, 1, 1]));
        assert_eq!(window.texts, [1..3, 4..5]);
        assert_eq!(pair.window([&[], &b]).texts, [1..1, 2..3]);
    }

    #[test]
    fn what_does_not_begin_with_a_special_token_or_mixes_the_texts_is_no_template() {
        let joined = |ids: &[u32]| {
            let tokens = ids.iter().map(|&id| Token::new(id, String::new(), (0, 0))).collect();
            Template::<2>::read(|_| Some(Encoding::from_tokens(tokens, 0)))
        };
        let [a, b] = [STAND_INS, STAND_INS + 1];
        assert_eq!(joined(&[1, a, 2, 3, b, 2]).unwrap().special_tokens(), 4);
        for wrong in [vec![a, 2, b, 1], vec![1, b, 2, a], vec![1, a, 2, a], vec![1, a, 2], vec![1, a, b, b], vec![]] {
            assert_eq!(joined(&wrong), None, "{wrong:?}");
        }
    }
}
