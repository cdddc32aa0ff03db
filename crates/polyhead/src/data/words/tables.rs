//! Words with their labels out of tables (`data/word_tables.rs`). `_` says that a word has none.

use super::{Sentences, TAGS, TaggedWords, columns};
use crate::data::rows::Form;
use crate::data::word_tables::{self, Tagged, Tags};
use crate::data::{Layout, Read};
use crate::error::{Place, Result};
use std::path::Path;

/// Reads comma-separated values.
pub(in crate::data) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    read(file, limit, layout, Form::Csv)
}

/// Reads tab-separated values, or columns with blank lines between sentences.
pub(in crate::data) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    match word_tables::is_table::<Labels>(file, layout)? {
        true => read(file, limit, layout, Form::Tsv),
        false => columns::read(file, limit, layout),
    }
}

fn read(file: &Path, limit: Option<usize>, layout: &Layout, form: Form) -> Result<Read<TaggedWords>> {
    let mut sentences = Sentences::new(layout);
    let table = word_tables::read(file, layout, form, &mut Labels { sentences: &sentences })?;
    for (place, (words, tags)) in table.sentences {
        if !sentences.is_enough(limit) {
            sentences.push(place, words, tags);
        }
    }
    sentences.finish(file, limit, table.notes)
}

/// Labels of words.
struct Labels<'a> {
    sentences: &'a Sentences<'a>,
}

impl Tags for Labels<'_> {
    type Tag = Option<String>;
    const HEADERS: &'static [&'static str] = TAGS;
    const HOLD_SPACES: bool = true;

    fn tag(&self, place: &Place, cell: &str) -> Result<Option<String>> {
        self.sentences.label(cell).map_err(|error| error.at(place.clone()))
    }

    fn other(&mut self, _: &Place, _: &str, _: &str) -> Result<Option<Tagged<Option<String>>>> {
        Ok(None)
    }

    fn is_other(_: &str) -> bool {
        false
    }
}
