//! Relations between two marked parts of a text.
//!
//! ```text
//! .txt        the four lines of SemEval-2010 task 8: see `semeval.rs`
//! .jsonl      {"text": "...", "head": {"start": 4, "end": 8}, "tail": {...}, "label": "..."}, or `entities` and `relations`
//! .csv .tsv   columns of a text with marks (see `marked.rs`) and of its label; .parquet the same
//! ```

mod marked;
mod semeval;

pub use marked::Marked;
pub(super) use semeval::read as read_semeval;

use super::{LabelledText, Layout, Read, Skipped, quoted, texts};
use crate::error::{Error, Place, Result};
use std::ops::Range;
use std::path::Path;

/// A text with two parts, and how the first relates to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationExample {
    /// Where it stands in its file.
    pub place: Place,
    /// The identifier that the file gives it.
    pub id: Option<String>,
    /// The text.
    pub text: String,
    /// The first part, in bytes: `e1`, the head. It holds more than white space.
    pub first: Range<usize>,
    /// The second part: `e2`, the tail. It may share characters with the first.
    pub second: Range<usize>,
    /// The label, as the file has it; none of a request.
    pub label: Option<String>,
}

impl RelationExample {
    /// The text with marks around its parts, as in `The <e1>fire</e1> was caused by the <e2>bombs</e2>.`
    pub fn marked(&self) -> String {
        marked::marked(&self.text, [&self.first, &self.second])
    }
}

/// What was read so far.
pub(super) struct Relations<'a> {
    layout: &'a Layout,
    examples: Vec<RelationExample>,
    skipped: Vec<Skipped>,
}

impl<'a> Relations<'a> {
    /// None yet, of a file that is laid out so.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, examples: Vec::new(), skipped: Vec::new() }
    }

    /// Takes an example, or leaves it out because it has no label.
    ///
    /// # Errors
    /// Its label is a number that has no name.
    pub fn push(&mut self, place: Place, id: Option<String>, marked: Marked, label: &str) -> Result<()> {
        if label.trim().is_empty() {
            let (example, reason) = (quoted(&marked.write()), "it has no label".to_owned());
            self.skipped.push(Skipped { place, example, reason });
            return Ok(());
        }
        let label = self.layout.label_of(label.trim()).map_err(|error| error.at_least(place.clone()))?;
        let Marked { text, first, second } = marked;
        self.examples.push(RelationExample { place, id, text, first, second, label: Some(label) });
        Ok(())
    }

    /// Whether nothing was taken or left out.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty() && self.skipped.is_empty()
    }

    /// Whether there are as many as asked for.
    pub fn is_enough(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.examples.len() >= limit)
    }

    /// All of them; an error if there is none, though some were asked for.
    pub fn finish(self, file: &Path, limit: Option<usize>, notes: Vec<String>) -> Result<Read<RelationExample>> {
        let Self { examples, skipped, .. } = self;
        match skipped.first() {
            _ if !examples.is_empty() || limit == Some(0) => Ok(Read { examples, skipped, notes }),
            None => Err(Error::data("expected relations, found none").at(Place::file(file))),
            Some(first) => {
                let message = format!("expected relations, found none that can be used: {}", first.reason);
                Err(Error::data(message).at(first.place.clone()))
            }
        }
    }
}

/// Reads comma-separated values with columns of marked texts and of labels.
pub(super) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<RelationExample>> {
    of_texts(texts::read_csv(file, limit, layout)?)
}

/// Reads tab-separated values with such columns.
pub(super) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<RelationExample>> {
    of_texts(texts::read_tsv(file, limit, layout)?)
}

/// Reads a Parquet file with such columns.
#[cfg(feature = "parquet")]
pub(super) fn read_parquet(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<RelationExample>> {
    of_texts(super::parquet::read_texts(file, limit, layout)?)
}

/// The relations of labelled texts with marks in them.
fn of_texts(Read { examples, skipped, notes }: Read<LabelledText>) -> Result<Read<RelationExample>> {
    let relation = |LabelledText { place, text, label, .. }: LabelledText| {
        let Marked { text, first, second } = Marked::read(&text).map_err(|error| error.at(place.clone()))?;
        Ok(RelationExample { place, id: None, text, first, second, label: Some(label.to_string()) })
    };
    Ok(Read { examples: examples.into_iter().map(relation).collect::<Result<_>>()?, skipped, notes })
}
