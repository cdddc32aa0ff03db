//! Sentences with entities out of tables (`word_tables.rs`): with a tag for each word, or a row for each text with its entities as
//! JSON, which is Label Studio's export CSV.
//!
//! ```text
//! text,label
//! EU rejects,"[{""start"": 0, ""end"": 2, ""labels"": [""ORG""]}]"
//! ```
//!
//! Tab-separated values without names for their columns, or with `columns` that are counted, are CoNLL columns (`conll.rs`), where a
//! blank line ends a sentence.

use std::path::Path;

use serde_json::Value;

use super::annotated::{self, Content};
use super::conll::{self, TAG_HEADERS};
use super::json::{Fields, Record};
use super::layout::Layout;
use super::rows::{Form, by_name};
use super::spans::Tagger;
use super::word_tables::{self, Tagged, Tags};
use super::{Read, Sentence, schemes};
use crate::error::{Place, Result};

/// Reads comma-separated values.
pub(super) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    read(file, limit, layout, Form::Csv)
}

/// Reads tab-separated values, or CoNLL columns.
pub(super) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    match layout.columns.as_ref().is_some_and(by_name) || word_tables::is_table::<EntityTags>(file, layout)? {
        true => read(file, limit, layout, Form::Tsv),
        false => conll::read(file, limit, layout),
    }
}

fn read(file: &Path, limit: Option<usize>, layout: &Layout, form: Form) -> Result<Read<Sentence>> {
    let mut tags = EntityTags { layout, tagger: Tagger::default() };
    let mut table = word_tables::read(file, layout, form, &mut tags)?;
    let sentence = |(place, (words, tags))| Sentence { place, words, tags, document: 0 };
    let examples = table.sentences.into_iter().map(sentence).collect();
    table.notes.extend(tags.tagger.notes());
    schemes::finish(file, Read { examples, skipped: Vec::new(), notes: table.notes }, limit)
}

/// Tags of entities.
struct EntityTags<'a> {
    layout: &'a Layout,
    tagger: Tagger,
}

impl Tags for EntityTags<'_> {
    type Tag = String;
    const HEADERS: &'static [&'static str] = TAG_HEADERS;
    const HOLD_SPACES: bool = false;

    fn tag(&self, place: &Place, cell: &str) -> Result<String> {
        let tag = match cell.parse() {
            Ok(number) if !self.layout.tag_names.is_empty() => self.layout.tag_of(number)?,
            _ => cell.to_owned(),
        };
        schemes::check_tag(&tag, || place.clone())?;
        Ok(tag)
    }

    fn other(&mut self, place: &Place, text: &str, cell: &str) -> Result<Option<Tagged<String>>> {
        let Some(spans) = spans(cell) else { return Ok(None) };
        let fields = vec![("text".to_owned(), Value::String(text.to_owned())), ("label".to_owned(), spans)];
        match annotated::read(&Record::Object(Fields(fields)), &Layout::default())? {
            Content::Annotated(text) => self.tagger.tags(place, &text).map(Some),
            _ => Ok(None),
        }
    }

    fn is_other(cell: &str) -> bool {
        spans(cell).is_some()
    }
}

/// The spans of a cell, if it holds any as JSON.
fn spans(cell: &str) -> Option<Value> {
    if !cell.starts_with('[') {
        return None;
    }
    serde_json::from_str(cell).ok().filter(annotated::are_spans)
}
