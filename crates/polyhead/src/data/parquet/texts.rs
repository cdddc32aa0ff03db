//! Labelled texts out of a Parquet table, one a row: a text, perhaps a second one, and a label.
//!
//! A label may be a name, a number, or true or false, or a list of names or whole numbers. What class numbers mean stands in the
//! file, as `datasets` writes it, or in the recipe ([`Layout::label_names`]).

use super::{Next, Table, elements, guarded, integer, unexpected};
use crate::data::layout::Column;
use crate::data::texts::{LabelledText, Raw, Texts, chosen, usual_names};
use crate::data::{LabelForm, Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use parquet::record::{Field, Row};
use std::path::Path;

/// Reads labelled texts.
pub(in crate::data) fn read_texts(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    guarded(file, || {
        let (table, [text, text_pair, label]) = open(file, layout)?;
        let named = layout.label_form != LabelForm::Number;
        let own = named.then(|| table.own_class_names(&[&label])).flatten().unwrap_or_default();
        let layout = &Layout { label_names: table.agreed("label_names", &layout.label_names, own)?, ..layout.clone() };
        let mut texts = Texts::new(layout);
        table.each_row(|place, row| {
            if texts.is_enough(limit) {
                return Ok(Next::Enough);
            }
            let (first, label) = (words(row, &text)?.unwrap_or_default(), label_of(row, &label, layout.label_form)?);
            let second = if text_pair.is_empty() { None } else { words(row, &text_pair)? };
            texts.push(place.clone(), &first, second.as_deref(), label)?;
            Ok(Next::Row)
        })?;
        texts.finish(file, limit, Vec::new())
    })
}

/// The table, and the names of its columns for the text, the second text (empty if there is none) and the label.
fn open<'a>(file: &'a Path, layout: &Layout) -> Result<(Table<'a>, [String; 3])> {
    let (reader, columns) = Table::columns(file)?;
    let has = |name: &str| columns.iter().any(|column| column.name() == name);
    let found = || quoted(&columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", "));
    let fault = |expected: String| Error::data(format!("expected {expected}, found {}", found())).at(Place::file(file));
    let name = |role: &str| match chosen(layout, role) {
        Some(Column::Name(name)) if has(name) => Ok(Some(name.clone())),
        Some(Column::Name(name)) => Err(fault(format!("a column {} as columns.{role} says", quoted(name)))),
        Some(Column::Number(number)) => {
            Err(Error::usage(format!("columns.{role}: expected the name of a column, found {number}"))
                .at(Place::file(file)))
        }
        None if layout.columns.is_some() => Ok(None),
        None => Ok(usual_names(role).iter().find(|name| has(name)).map(|&name| name.to_owned())),
    };
    let needed = |role: &str| {
        let hint = "columns of other names: data.TASK.columns = { text = \"sentence\", label = \"class\" }";
        let missing = || fault(format!("a column for the {role} ({})", usual_names(role).join(", "))).hint(hint);
        name(role)?.ok_or_else(missing)
    };
    let names = [needed("text")?, name("text_pair")?.unwrap_or_default(), needed("label")?];
    let wanted: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    Ok((Table::of(file, reader, &columns, &wanted)?, names))
}

fn cell<'r>(row: &'r Row, name: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
}

/// A text; none where there is none.
fn words(row: &Row, name: &str) -> Result<Option<String>> {
    match cell(row, name) {
        Some(Field::Str(text)) => Ok(Some(text.clone())),
        Some(Field::Null) | None => Ok(None),
        Some(other) => Err(unexpected(&format!("a text as `{name}`"), other)),
    }
}

/// The label of a row; nothing where there is none, which `datasets` writes as -1. A number may be negative.
fn label_of(row: &Row, name: &str, form: LabelForm) -> Result<Raw<'static>> {
    let wrong = |field: &Field| unexpected(&format!("a label as `{name}`: a name or a whole number"), field);
    Ok(match cell(row, name) {
        Some(Field::Null) | None => Raw::Missing,
        Some(Field::Bool(label)) => Raw::Cell(label.to_string().into()),
        Some(Field::Float(number)) if form == LabelForm::Number => Raw::Cell(number.to_string().into()),
        Some(Field::Double(number)) if form == LabelForm::Number => Raw::Cell(number.to_string().into()),
        Some(list @ Field::ListInternal(_)) => {
            let one = |field: &Field| match field {
                Field::Str(label) => Ok(label.clone()),
                number => integer(number).map(|number| number.to_string()).map_err(|_| wrong(number)),
            };
            Raw::List(elements(list, "a list of labels")?.iter().map(one).collect::<Result<_>>()?)
        }
        Some(Field::Str(label)) => Raw::Cell(label.clone().into()),
        Some(other) => match integer(other) {
            Ok(-1) if form != LabelForm::Number => Raw::Missing,
            Ok(number) => Raw::Cell(number.to_string().into()),
            Err(_) => return Err(wrong(other)),
        },
    })
}
