//! Sentences with entities out of a Parquet table, one a row: a list of words and a list of tags, names or class numbers; or a text
//! and a list of its entities, as `data/annotated/mod.rs` has them. `columns` gives the columns other names.

use super::{Next, Table, elements, field, guarded, integer, strings};
use crate::data::annotated::{self, Content};
use crate::data::json::{Fields, Record};
use crate::data::layout::{Column, Columns};
use crate::data::spans::Tagger;
use crate::data::{Layout, Read, Sentence, quoted, schemes};
use crate::error::{Error, Place, Result};
use parquet::record::{Field, Row};
use serde_json::Value;
use std::path::Path;

const WORDS: &[&str] = &["tokens", "words"];
const TAGS: &[&str] = &["ner_tags", "tags"];

/// Reads sentences.
pub(in crate::data) fn read_sentences(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    let at_file = |error: Error| error.at_least(Place::file(file));
    let (word, tag) = (chosen(layout, "word").map_err(at_file)?, chosen(layout, "tag").map_err(at_file)?);
    let (text, label) = (chosen(layout, "text").map_err(at_file)?, chosen(layout, "label").map_err(at_file)?);
    guarded(file, || match (&word, &tag, &text, &label) {
        (None, None, Some(text), Some(label)) => read_spans(file, limit, layout, text, label),
        _ => {
            let (words, tags) = (word.as_deref().map(|name| vec![name]), tag.as_deref().map(|name| vec![name]));
            let (words, tags) = (words.unwrap_or(WORDS.to_vec()), tags.unwrap_or(TAGS.to_vec()));
            read_tags(file, limit, layout, &words, &tags)
        }
    })
}

/// The column of a role.
fn chosen(layout: &Layout, role: &str) -> Result<Option<String>> {
    match layout.columns.as_ref().and_then(|columns: &Columns| columns.get(role)) {
        None => Ok(None),
        Some(Column::Name(name)) => Ok(Some(name.clone())),
        Some(Column::Number(number)) => {
            Err(Error::usage(format!("columns.{role}: expected the name of a column, found {number}")))
        }
    }
}

/// Of a table with words and their tags.
fn read_tags(
    file: &Path,
    limit: Option<usize>,
    layout: &Layout,
    words: &[&str],
    tags: &[&str],
) -> Result<Read<Sentence>> {
    let table = Table::open(file, &[words, tags])?;
    let own = table.own_class_names(tags).unwrap_or_default();
    let names = Layout { tag_names: table.agreed("tag_names", &layout.tag_names, own)?, ..layout.clone() };
    let mut sentences = Vec::new();
    let mut open = 0_usize;
    table.each_row(|place, row| {
        let found = field(row, tags)?;
        if matches!(found, Field::Null) {
            open += 1;
            return Ok(Next::Row);
        }
        let words = strings(field(row, words)?)?;
        let tags = tags_of(found, &names)?;
        if words.len() != tags.len() {
            let message = format!("expected a tag for each of {} words, found {}", words.len(), tags.len());
            return Err(Error::data(message));
        }
        for tag in &tags {
            schemes::check_tag(tag, || place.clone())?;
        }
        sentences.push(Sentence { place: place.clone(), words, tags, document: 0 });
        Ok(Next::Row)
    })?;
    schemes::finish(file, Read { examples: sentences, skipped: Vec::new(), notes: said(open) }, limit)
}

/// Of a table with texts and their entities.
fn read_spans(file: &Path, limit: Option<usize>, layout: &Layout, text: &str, label: &str) -> Result<Read<Sentence>> {
    let table = Table::open(file, &[&[text], &[label]])?;
    let (mut sentences, mut tagger, mut open) = (Vec::new(), Tagger::default(), 0_usize);
    table.each_row(|place, row| {
        match annotated::read(&Record::Object(record(row)?), layout)? {
            Content::Annotated(text) => {
                let (words, tags) = tagger.tags(place, &text)?;
                sentences.push(Sentence { place: place.clone(), words, tags, document: 0 });
            }
            Content::Open | Content::Other | Content::Rejected => open += 1,
        }
        Ok(Next::Row)
    })?;
    let notes = said(open).into_iter().chain(tagger.notes()).collect();
    schemes::finish(file, Read { examples: sentences, skipped: Vec::new(), notes }, limit)
}

fn said(open: usize) -> Vec<String> {
    let note = || format!("rows that say nothing of entities, of which there is no example: {open}");
    (open > 0).then(note).into_iter().collect()
}

fn tags_of(field: &Field, layout: &Layout) -> Result<Vec<String>> {
    let tag = |field: &Field| match field {
        Field::Str(tag) => Ok(tag.clone()),
        number => layout.tag_of(integer(number)?),
    };
    elements(field, "a list of tags")?.iter().map(tag).collect()
}

/// A row as the object of JSON that it is.
fn record(row: &Row) -> Result<Fields> {
    let fields = row.get_column_iter().map(|(name, field)| Ok((name.clone(), value(field)?)));
    fields.collect::<Result<_>>().map(Fields)
}

fn value(field: &Field) -> Result<Value> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Str(text) => Value::String(text.clone()),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect::<Result<_>>()?),
        Field::Group(row) => Value::Object(record(row)?.0.into_iter().collect()),
        Field::Float(number) => Value::from(*number),
        Field::Double(number) => Value::from(*number),
        Field::Bool(value) => Value::from(*value),
        other => match integer(other) {
            Ok(number) => Value::from(number),
            Err(_) => {
                let found = quoted(&other.to_string());
                return Err(Error::data(format!("expected texts, numbers and lists of them, found {found}")));
            }
        },
    })
}
