//! Rows of tables: comma-separated values (RFC 4180: a cell in quotes may hold commas, quotes and line ends), and tab-separated ones,
//! in which quotes mean nothing.

use std::path::Path;

use super::layout::{Column, Columns};
use super::lines::Lines;
use super::quoted;
use crate::error::{Error, Place, Result};

/// A row may hold long documents.
pub(super) const LONGEST_ROW: usize = 16 << 20;

/// The next row that is not blank, with the number of its first line.
pub(super) type NextRow = fn(&Path, &mut Lines) -> Result<Option<(usize, Vec<String>)>>;

/// A row of tab-separated values is a line.
pub(super) fn tsv_row(_: &Path, lines: &mut Lines) -> Result<Option<(usize, Vec<String>)>> {
    while let Some((number, line)) = lines.next()? {
        if !line.trim().is_empty() {
            return Ok(Some((number, line.split('\t').map(str::to_owned).collect())));
        }
    }
    Ok(None)
}

/// A row of comma-separated values may have several lines: as long as a quote is open.
pub(super) fn csv_row(file: &Path, lines: &mut Lines) -> Result<Option<(usize, Vec<String>)>> {
    let (mut first, mut text) = (None, String::new());
    while let Some((number, line)) = lines.next()? {
        if first.is_none() && line.trim().is_empty() {
            continue;
        }
        let first = *first.get_or_insert(number);
        text += line;
        if text.len() > LONGEST_ROW {
            return Err(Error::data(format!("expected rows of at most {LONGEST_ROW} bytes, found a longer one"))
                .at(Place::line(file, first))
                .hint("is a quote left open? A quote inside a cell is written twice"));
        }
        // A quote inside a cell is written twice, so that an odd number is an open one.
        if text.matches('"').count() % 2 == 0 {
            return cells(&text).map(|cells| Some((first, cells))).map_err(|error| error.at(Place::line(file, first)));
        }
        text.push('\n');
    }
    match first {
        None => Ok(None),
        Some(first) => Err(Error::data("expected the end of a quoted cell, found the end of the file")
            .at(Place::line(file, first))
            .hint("a quote inside a cell is written twice")),
    }
}

fn cells(row: &str) -> Result<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(row.as_bytes());
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).map_err(|cause| Error::data(format!("not comma-separated values: {cause}")))?;
    Ok(record.iter().map(str::to_owned).collect())
}

/// Where the column of a role stands, from 0, in a table with this first row, if a recipe chooses it.
pub(super) fn chosen(columns: &Columns, role: &str, first: &[String]) -> Result<Option<usize>> {
    let width = first.len();
    match columns.get(role) {
        None => Ok(None),
        Some(Column::Number(number)) if (1..=width).contains(number) => Ok(Some(number - 1)),
        Some(Column::Number(number)) => {
            Err(Error::data(format!("columns.{role}: expected one of {width} columns, found {number}")))
        }
        Some(Column::Name(name)) => first.iter().position(|cell| cell.trim() == name).map(Some).ok_or_else(|| {
            let (name, names) = (quoted(name), quoted(&first.join(", ")));
            Error::data(format!("columns.{role}: expected {name} in the first line, found {names}"))
        }),
    }
}

/// Whether one of the columns is chosen by its name, so that the first row has names.
pub(super) fn by_name(columns: &Columns) -> bool {
    columns.iter().any(|(_, column)| matches!(column, Column::Name(_)))
}

/// Refuses a row that has not as many cells as the first.
pub(super) fn check_width(expected: usize, row: &[String]) -> Result<()> {
    match row.len() {
        found if found == expected => Ok(()),
        found => Err(Error::data(format!("expected {expected} columns, as in the first line; found {found}"))),
    }
}
