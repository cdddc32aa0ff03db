//! What tasks share that label the words of a text: words with their units, windows in which each is scored once, which words the
//! tokenizer makes nothing of, and the forms that Hugging Face has for such tasks.

pub(super) mod pipeline;
mod review;
mod text;
pub(super) mod token_classification;
pub(super) mod windows;

pub(super) use review::review;
pub(super) use text::Words;
pub(super) use windows::{
    Lengths, best_labels, is_first, label_probabilities, labelled_windows, loss, losses, rows_with_most_context,
    window_in_context,
};

/// The label of what belongs to no entity.
pub(super) const OUTSIDE: &str = "O";

/// A label without `B-` or `I-`.
pub(super) fn without_prefix(label: &str) -> &str {
    label.strip_prefix("B-").or(label.strip_prefix("I-")).unwrap_or(label)
}
