//! What a tokenizer makes nothing of, found before training and evaluation by asking it.
//!
//! ```text
//! examples, tokenizer -> Review { notes for people, examples of which no token is left }
//! ```

use crate::data::Skipped;
use crate::document::number::counted;
use crate::error::Place;

/// What was found in a set of examples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Review {
    /// What is not read of them, for people.
    pub notes: Vec<String>,
    /// The examples that hold no token at all, by index in order, and why they can't be trained on.
    pub empty: Vec<(usize, Skipped)>,
}

/// Examples that are longer than a window, and what is not read of them.
#[derive(Default)]
pub(super) struct Cut {
    examples: usize,
    tokens: usize,
    first: Option<Place>,
}

impl Cut {
    /// One of which so many tokens are not read.
    pub fn add(&mut self, tokens: usize, place: &Place) {
        self.examples += 1;
        self.tokens += tokens;
        self.first.get_or_insert_with(|| place.clone());
    }

    /// A line about them, if there are any: what they are called, and which of their tokens are not read.
    pub fn note(&self, what: &str, max_length: usize, which: &str) -> Option<String> {
        let (examples, tokens) = (counted(self.examples, what), counted(self.tokens, "token"));
        let first = self.first.as_ref()?;
        Some(format!(
            "{examples} of more than max_length = {max_length} tokens (the first: {first}): {tokens} {which} are not read"
        ))
    }
}
