//! Labelled texts, and pairs of texts, for classification.
//!
//! ```text
//! label text lines   positive a stirring , funny film         SST-2, TREC (`LOC:city What is ... ?`), fastText (`__label__x ...`)
//! .csv .tsv          text,label                               a first line of names, or `columns`
//! .jsonl             {"text": "...", "text_pair": "...", "label": "..."}
//! .parquet           columns of these names: see `data/parquet/texts.rs`
//! ```

mod lines;
mod table;

pub(super) use lines::read as read_lines;
pub(super) use table::{read_csv, read_tsv};

use super::layout::Column;
use super::{Layout, Read, Skipped, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// A text with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// Where it stands in its file.
    pub place: Place,
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
    /// The label, as the file has it.
    pub label: String,
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
}

impl<'a> Texts<'a> {
    /// None yet, of a file that is laid out so.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, examples: Vec::new(), skipped: Vec::new() }
    }

    /// Takes an example, or leaves it out with the reason.
    ///
    /// # Errors
    /// Its label is a number that has no name.
    pub fn push(&mut self, place: Place, text: &str, text_pair: Option<&str>, label: &str) -> Result<()> {
        let blank = |text: &str| text.trim().is_empty();
        let reason = match () {
            () if blank(text) => "its text is blank",
            () if text_pair.is_some_and(blank) => "its second text is blank",
            () if blank(label) => "it has no label",
            () => {
                let text_pair = text_pair.map(|text| text.trim().to_owned());
                let text = text.trim().to_owned();
                let label = self.layout.label_of(label.trim()).map_err(|error| error.at_least(place.clone()))?;
                self.examples.push(LabelledText { place, text, text_pair, label });
                return Ok(());
            }
        };
        self.skipped.push(Skipped { place, example: quoted(text), reason: reason.to_owned() });
        Ok(())
    }

    /// Whether there are as many as asked for.
    pub fn is_enough(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.examples.len() >= limit)
    }

    /// All of them; an error if there is none, though some were asked for.
    pub fn finish(self, file: &Path, limit: Option<usize>, notes: Vec<String>) -> Result<Read<LabelledText>> {
        let Self { examples, skipped, .. } = self;
        if examples.is_empty() && limit != Some(0) {
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
