//! What tasks share that label the words of a text: words with their units, windows in which each is scored once, and which words the
//! tokenizer makes nothing of.

mod review;
mod text;
pub(super) mod windows;

pub(super) use review::review;
pub(super) use text::Words;
pub(super) use windows::{Lengths, is_first, labelled_windows, loss, losses, rows_with_most_context};
