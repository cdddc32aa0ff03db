//! What a tokenizer makes nothing of, found before training and evaluation by asking it.
//!
//! ```text
//! examples, tokenizer -> Review { notes for people, examples of which no token is left }
//! ```

use crate::data::Skipped;

/// What was found in a set of examples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Review {
    /// What is not read of them, for people.
    pub notes: Vec<String>,
    /// The examples that hold no token at all, by index in order, and why they can't be trained on.
    pub empty: Vec<(usize, Skipped)>,
}
