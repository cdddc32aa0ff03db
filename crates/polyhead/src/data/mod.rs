//! Readers: a file of any supported format becomes examples as a person wrote them (no ids).
//!
//! One reader a format. Each returns what it read and, with the reason, what it had to leave out: nothing is dropped
//! silently. A file that is malformed is an error; an example that is well-formed but can't be used is a [`Skipped`].

use crate::error::Place;

/// A sentence of words with a tag for each: what named-entity recognition trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// Where it stands in its file.
    pub place: Place,
    /// The words, as the file splits them.
    pub words: Vec<String>,
    /// An IOB2 tag for each word: `O`, `B-PER`, `I-PER` ...
    pub tags: Vec<String>,
}

/// A question about a context, with its gold answers: what extractive question answering trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Where it stands in its file.
    pub place: Place,
    /// The identifier that the file gives it.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text that holds the answer.
    pub context: String,
    /// The gold answers: several people's, the first of them trains. Empty: the context does not answer it.
    pub answers: Vec<Answer>,
}

/// A gold answer: a slice of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer, exactly as it stands in the context.
    pub text: String,
    /// Where it starts in the context, in bytes. (SQuAD files count characters; the reader converts and checks.)
    pub start: usize,
}

/// What a reader found.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The usable examples, in the order of the file.
    pub examples: Vec<T>,
    /// Those that could not be used.
    pub skipped: Vec<Skipped>,
    /// What was changed on the way in (tags converted from IOB1 to IOB2, a byte-order mark removed), for people.
    pub notes: Vec<String>,
}

/// An example that was left out, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    /// Where it stands in its file.
    pub place: Place,
    /// Its identifier or first words.
    pub example: String,
    /// Why it can't be used.
    pub reason: String,
}
