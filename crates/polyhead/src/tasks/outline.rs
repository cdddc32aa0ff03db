//! What the checks of data look at in an example: its gold labels, its text, and how long it is where that says something.

/// An example as the checks of data see it (see [`crate::train::Warning`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline<'a> {
    /// The label of each gold answer: one entry a mention. What never has an entry is never warned of.
    pub labels: Vec<String>,
    /// The text that the tokenizer reads.
    pub text: &'a str,
    /// What it stands together with beyond its text, when some examples are held out for validation: the document that it is of.
    /// `None`: only with the examples of the same text.
    pub group: Option<&'a str>,
    /// Its words, where an example is to be one sentence; none where a text may have any length.
    pub sentence_words: Option<usize>,
}
