//! Labelled texts, and pairs of texts, for classification and regression.
//!
//! ```text
//! label text lines   positive a stirring , funny film         SST-2, TREC (`LOC:city What is ... ?`), fastText (`__label__x ...`)
//! .csv .tsv          text,label                               a first line of names, or `columns`
//! .jsonl             {"text": "...", "text_pair": "...", "label": "..."}
//! .parquet           columns of these names: see `data/parquet/texts.rs`
//! ```
//!
//! A label is one name, any number of names or a number: see `label.rs`.

mod label;
mod lines;
mod table;

pub use label::Label;
pub(super) use label::Raw;
pub(super) use lines::read as read_lines;
pub(super) use table::{read_csv, read_tsv};

use super::layout::Column;
use super::{Layout, Read, Skipped, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// A text with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledText {
    /// Where it stands in its file.
    pub place: Place,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
    /// The label, as the file has it.
    pub label: Label,
}

/// What columns and fields are called where nobody says: the first of these names that there is.
const TEXT: &[&str] = &["text", "sentence", "sentence1", "premise", "question1", "review", "content"];
const TEXT_PAIR: &[&str] = &["text_pair", "sentence2", "hypothesis", "question2"];
const LABEL: &[&str] = &["label", "labels", "class", "category", "target", "gold_label", "relation"];

/// The names that a role may have in a file that names its columns.
pub(super) fn usual_names(role: &str) -> &'static [&'static str] {
    match role {
        "text" => TEXT,
        "text_pair" => TEXT_PAIR,
        _ => LABEL,
    }
}

/// The column that a recipe gives a role.
pub(super) fn chosen<'a>(layout: &'a Layout, role: &str) -> Option<&'a Column> {
    layout.columns.as_ref().and_then(|columns| columns.get(role))
}

/// What was read so far.
pub(super) struct Texts<'a> {
    layout: &'a Layout,
    examples: Vec<LabelledText>,
    skipped: Vec<Skipped>,
    /// What to say if no text can be used.
    fault: Option<Error>,
}

impl<'a> Texts<'a> {
    /// None yet, of a file that is laid out so.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, examples: Vec::new(), skipped: Vec::new(), fault: None }
    }

    /// Takes an example, or leaves it out with the reason.
    ///
    /// # Errors
    /// Its label is none that the layout asks for, or a number that has no name.
    pub fn push(&mut self, place: Place, text: &str, text_pair: Option<&str>, label: Raw) -> Result<()> {
        let blank = |text: &str| text.trim().is_empty();
        if blank(text) {
            return self.leave_out(place, text, "its text is blank");
        }
        if text_pair.is_some_and(blank) {
            return self.leave_out(place, text, "its second text is blank");
        }
        let label = label.read(self.layout).map_err(|error| error.at_least(place.clone()))?;
        let Some(label) = label else { return self.leave_out(place, text, "it has no label") };
        let (text, text_pair) = (text.trim().to_owned(), text_pair.map(|text| text.trim().to_owned()));
        self.examples.push(LabelledText { place, text, text_pair, label });
        Ok(())
    }

    /// Leaves one out.
    pub fn leave_out(&mut self, place: Place, text: &str, reason: &str) -> Result<()> {
        self.skipped.push(Skipped { place, example: quoted(text), reason: reason.to_owned() });
        Ok(())
    }

    /// What to say if no text can be used in the end: the first of these.
    pub fn or_else(&mut self, fault: impl FnOnce() -> Error) {
        self.fault.get_or_insert_with(fault);
    }

    /// Whether there are as many as asked for.
    pub fn is_enough(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.examples.len() >= limit)
    }

    /// All of them; an error if there is none, though some were asked for.
    pub fn finish(self, file: &Path, limit: Option<usize>, notes: Vec<String>) -> Result<Read<LabelledText>> {
        let Self { examples, skipped, fault, .. } = self;
        if examples.is_empty() && limit != Some(0) {
            if let Some(fault) = fault {
                return Err(fault);
            }
            let error = match skipped.first() {
                None => Error::data("expected labelled texts, found none").at(Place::file(file)),
                Some(first) => {
                    Error::data(format!("expected labelled texts, found none that can be used: {}", first.reason))
                        .at(first.place.clone())
                }
            };
            return Err(error);
        }
        Ok(Read { examples, skipped, notes })
    }
}
