//! From text to token ids and back to the text: tokenizer, words, windows, offsets.
//!
//! Inside the library every offset is a byte offset into the text; [`offsets`] is the one place that converts.

pub mod case;
pub mod offsets;
mod template;
pub mod tokenizer;
pub mod vocabulary;
pub mod windows;
pub mod words;

pub use template::{Template, TokenSequence};
pub use tokenizer::{Piece, Tokenizer};
