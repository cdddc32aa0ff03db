//! The one error type: what went wrong, where, and the way out.
//!
//! Every message names its place (file and line, row, field or tensor), what was expected and what was found, and,
//! where we know one, a hint. The kind decides the exit code of the binary and, later, the status code of the server.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. The numbers are the exit codes of the binary (those of BSD `sysexits.h` where one fits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A wrong call: an unknown key, flag or task, a value out of range. Exit code 2.
    Usage,
    /// Malformed input: a data file, a recipe's data, a model folder. Exit code 65.
    Data,
    /// An input that is not there. Exit code 66.
    MissingInput,
    /// A service that is needed and can't be reached. Exit code 69.
    Unavailable,
    /// A fault of ours or of the machine. Exit code 70.
    Internal,
    /// An output that can't be written. Exit code 73.
    CannotWrite,
}

impl ErrorKind {
    /// The exit code of a process that ends with this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Usage => 2,
            ErrorKind::Data => 65,
            ErrorKind::MissingInput => 66,
            ErrorKind::Unavailable => 69,
            ErrorKind::Internal => 70,
            ErrorKind::CannotWrite => 73,
        }
    }

    /// What programs call it: `missing_input`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Usage => "usage",
            ErrorKind::Data => "data",
            ErrorKind::MissingInput => "missing_input",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Internal => "internal",
            ErrorKind::CannotWrite => "cannot_write",
        }
    }
}

/// Where in the input something stands: `train.conll:17`, `model.safetensors: tensor pooler.dense.weight`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: PathBuf,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    File,
    Line(usize),
    Column(usize, usize),
    Row(usize),
    Field(String),
    Tensor(String),
}

impl Place {
    /// A file as a whole.
    pub fn file(file: impl AsRef<Path>) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::File }
    }
    /// A line of a text file, counted from 1.
    pub fn line(file: impl AsRef<Path>, line: usize) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::Line(line) }
    }
    /// A line of the same file.
    #[must_use]
    pub fn at_line(&self, line: usize) -> Self {
        Self::line(&self.file, line)
    }
    /// A line and a column of a text file, both counted from 1.
    pub fn column(file: impl AsRef<Path>, line: usize, column: usize) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::Column(line, column) }
    }
    /// A row of a table, counted from 1.
    pub fn row(file: impl AsRef<Path>, row: usize) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::Row(row) }
    }
    /// A field of a structured file, as a path: `data[3].paragraphs[0].context`.
    pub fn field(file: impl AsRef<Path>, field: impl Into<String>) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::Field(field.into()) }
    }
    /// A tensor of a weights file.
    pub fn tensor(file: impl AsRef<Path>, name: impl Into<String>) -> Self {
        Self { file: file.as_ref().to_owned(), at: At::Tensor(name.into()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.at {
            At::File => write!(f, "{file}"),
            At::Line(line) => write!(f, "{file}:{line}"),
            At::Column(line, column) => write!(f, "{file}:{line}:{column}"),
            At::Row(row) => write!(f, "{file}: row {row}"),
            At::Field(field) => write!(f, "{file}: {field}"),
            At::Tensor(name) => write!(f, "{file}: tensor `{name}`"),
        }
    }
}

/// As its text.
impl serde::Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An error with its place and a hint. Boxed, so that a `Result` stays one word wide.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
struct Inner {
    kind: ErrorKind,
    place: Option<Place>,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, place: None, message: message.into(), hint: None, source: None }))
    }
    /// A wrong call.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }
    /// Malformed input.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }
    /// An input that is not there.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::MissingInput, message)
    }
    /// A service that can't be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }
    /// A fault of ours or of the machine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// An output that can't be written.
    pub fn cannot_write(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CannotWrite, message)
    }
    /// A file that could not be opened or read, with the kind that fits the cause.
    pub fn reading(path: impl AsRef<Path>, cause: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let error = match cause.kind() {
            Io::NotFound => Self::missing("no such file"),
            Io::IsADirectory => Self::data("expected a file, found a directory"),
            Io::InvalidData => Self::data(format!("not valid UTF-8 text: {cause}")),
            _ => Self::missing(format!("can't be read: {cause}")),
        };
        error.at(Place::file(path)).because(cause)
    }
    /// A file that could not be written.
    pub fn writing(path: impl AsRef<Path>, cause: std::io::Error) -> Self {
        Self::cannot_write(format!("can't be written: {cause}")).at(Place::file(path)).because(cause)
    }

    /// Names the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }
    /// Names the place where none is named yet.
    #[must_use]
    pub fn at_least(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }
    /// Says the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
    /// Adds what only the caller knows to the message.
    #[must_use]
    pub fn adding(mut self, detail: impl fmt::Display) -> Self {
        self.0.message.push_str(&format!(": {detail}"));
        self
    }
    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// Where it happened, if it has a place.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
    /// What was expected and what was found, where the message says both: as all do that can, in these words, `expected ..., found ...`.
    pub fn expected_and_found(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.0.message.split_once("expected ")?;
        rest.rsplit_once(", found ")
    }
    /// The way out, if we know one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// Tensor arithmetic fails only by a fault of ours (a shape) or of the machine (memory).
impl From<candle_core::Error> for Error {
    fn from(cause: candle_core::Error) -> Self {
        Self::internal(format!("tensor arithmetic: {cause}")).because(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_expected_and_found_is_read_from_the_message() {
        for (message, parts) in [
            ("train.epochs: expected a whole number, found `x`", Some(("a whole number", "`x`"))),
            ("expected one of ner, qa, found `nre`", Some(("one of ner, qa", "`nre`"))),
            ("expected a recipe, or --resume RUN", None),
            ("no such file", None),
        ] {
            assert_eq!(Error::usage(message).expected_and_found(), parts, "{message}");
        }
    }
}
