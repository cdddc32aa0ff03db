//! Labelled words out of a Parquet table, a sentence a row: a list of words and a list of tags, names or class numbers. Null,
//! `_` and -1, as `datasets` writes it, say that a word has none.

use super::{Next, Table, elements, guarded, integer, strings, unexpected};
use crate::data::layout::Column;
use crate::data::words::{Sentences, TaggedWords, usual_names};
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use parquet::record::{Field, Row};
use std::path::Path;

/// Reads sentences of labelled words.
pub(in crate::data) fn read_words(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    guarded(file, || {
        let (table, [words_name, tags_name]) = open(file, layout)?;
        let own = table.own_class_names(&[&tags_name]).unwrap_or_default();
        let layout = &Layout { tag_names: table.agreed("tag_names", &layout.tag_names, own)?, ..layout.clone() };
        let mut sentences = Sentences::new(layout);
        table.each_row(|place, row| {
            if sentences.is_enough(limit) {
                return Ok(Next::Enough);
            }
            let words = cell(row, &words_name).map_or(Ok(Vec::new()), strings)?;
            let tag = |field: &Field| match field {
                Field::Null => Ok(None),
                Field::Str(tag) => sentences.label(tag),
                other => match integer(other) {
                    Ok(-1) => Ok(None),
                    Ok(number) => sentences.label(&number.to_string()),
                    Err(_) => Err(unexpected("a tag: a name or a whole number", other)),
                },
            };
            let tags = cell(row, &tags_name).map_or(Ok(&[][..]), |field| elements(field, "a list of tags"))?;
            let tags = tags.iter().map(tag).collect::<Result<Vec<_>>>()?;
            if words.len() != tags.len() {
                let (expected, found) = (words.len(), tags.len());
                return Err(Error::data(format!("expected a tag for each of {expected} words, found {found}")));
            }
            sentences.push(place.clone(), words, tags);
            Ok(Next::Row)
        })?;
        sentences.finish(file, limit, Vec::new())
    })
}

/// The table, and the names of its columns for words and tags.
fn open<'a>(file: &'a Path, layout: &Layout) -> Result<(Table<'a>, [String; 2])> {
    let (reader, columns) = Table::columns(file)?;
    let has = |name: &str| columns.iter().any(|column| column.name() == name);
    let name = |role: &str| {
        let found = || quoted(&columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", "));
        let fault =
            |expected: String| Error::data(format!("expected {expected}, found {}", found())).at(Place::file(file));
        match layout.columns.as_ref().and_then(|columns| columns.get(role)) {
            Some(Column::Name(name)) if has(name) => Ok(name.clone()),
            Some(Column::Name(name)) => Err(fault(format!("a column {} as columns.{role} says", quoted(name)))),
            Some(Column::Number(number)) => {
                Err(Error::usage(format!("columns.{role}: expected the name of a column, found {number}"))
                    .at(Place::file(file)))
            }
            None => usual_names(role).iter().find(|name| has(name)).map(|&name| name.to_owned()).ok_or_else(|| {
                let hint = "columns of other names: data.TASK.columns = { word = \"tokens\", tag = \"upos\" }";
                fault(format!("a column of lists for the {role} ({})", usual_names(role).join(", "))).hint(hint)
            }),
        }
    };
    let names = [name("word")?, name("tag")?];
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok((Table::of(file, reader, &columns, &wanted)?, names))
}

fn cell<'r>(row: &'r Row, name: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
}
