//! Readers: a file of any supported format becomes examples as a person wrote them (no ids).
//!
//! One reader a format. Each returns what it read and, with the reason, what it had to leave out: nothing is dropped
//! silently. A file that is malformed is an error; an example that is well-formed but can't be used is a [`Skipped`].

use std::path::Path;

use crate::error::{Error, Place, Result};

mod conll;
mod iob;
mod json;
mod jsonl;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod questions;
mod squad;

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
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Skipped {
    /// Where it stands in its file.
    pub place: Place,
    /// Its identifier or first words.
    pub example: String,
    /// Why it can't be used.
    pub reason: String,
}

type Reader<T> = fn(&Path, Option<usize>) -> Result<Read<T>>;

/// A file format: what it is called, the extensions that tell it, and what can be read from it.
pub struct Format {
    /// What people call it.
    pub name: &'static str,
    /// The extensions of its files, in small letters, without the dot.
    pub extensions: &'static [&'static str],
    sentences: Option<Reader<Sentence>>,
    questions: Option<Reader<Question>>,
}

/// Every format there is. A new one is a file with a reader, and an entry here.
pub const FORMATS: &[Format] = &[
    Format {
        name: "CoNLL columns",
        extensions: &["txt", "conll", "bio", "iob", "iob2", "tsv"],
        sentences: Some(conll::read),
        questions: None,
    },
    Format { name: "SQuAD JSON", extensions: &["json"], sentences: None, questions: Some(squad::read) },
    Format {
        name: "JSON Lines",
        extensions: &["jsonl", "ndjson"],
        sentences: Some(jsonl::read_sentences),
        questions: Some(jsonl::read_questions),
    },
    #[cfg(feature = "parquet")]
    Format {
        name: "Parquet",
        extensions: &["parquet"],
        sentences: Some(parquet::read_sentences),
        questions: Some(parquet::read_questions),
    },
];

/// Reads tagged sentences; the extension of the file tells its format. A limit takes the first usable ones.
///
/// Words are as the file has them, some of them perhaps invisible (a zero-width space), so that a tokenizer may make
/// no token of a word. Every sentence has at least one word that is visible.
///
/// # Errors
/// When the file is not there or malformed, when its format is unknown or holds no sentences, and when none is usable.
pub fn read_sentences(source: &Path, limit: Option<usize>) -> Result<Read<Sentence>> {
    read(source, limit, "sentences", |format| format.sentences)
}

/// Reads questions with their answers; the extension of the file tells its format. A limit takes the first usable ones.
///
/// Every answer is a slice of its context at its place, and not blank; neither are questions and contexts.
///
/// # Errors
/// When the file is not there or malformed, when its format is unknown or holds no questions, and when none is usable.
pub fn read_questions(source: &Path, limit: Option<usize>) -> Result<Read<Question>> {
    read(source, limit, "questions", |format| format.questions)
}

fn read<T>(
    source: &Path,
    limit: Option<usize>,
    what: &str,
    reader: fn(&Format) -> Option<Reader<T>>,
) -> Result<Read<T>> {
    let extension = source.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
    let format = FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()));
    if let Some(read) = format.and_then(reader) {
        return read(source, limit);
    }
    let serving = FORMATS.iter().filter(|format| reader(format).is_some());
    let known: Vec<_> = serving.map(|format| format!("{} (.{})", format.name, format.extensions.join(", ."))).collect();
    let found = match format {
        Some(format) => format!("{}, which holds none", format.name),
        None if extension.is_empty() => "a file without an extension".to_owned(),
        None => format!("the extension `.{extension}`"),
    };
    let hint = match extension.as_str() {
        "parquet" => "this build has no Parquet reader: build it with the feature `parquet`",
        "gz" | "bz2" | "xz" | "zst" | "zip" => "decompress it first",
        _ => "give the file the extension of its format",
    };
    let message = format!("expected {what} as {}; found {found}", known.join(", "));
    Err(Error::usage(message).at(Place::file(source)).hint(hint))
}

/// A piece of the input for a message: in back-ticks, on one line, cut short.
fn quoted(text: &str) -> String {
    format!("`{}`", start_of(text).escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// The first characters of a text, with an ellipsis where it was cut.
fn start_of(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH).and_then(|(at, _)| text.get(..at)) {
        Some(start) => format!("{start}..."),
        None => text.to_owned(),
    }
}
