//! Rows of tables: comma-separated values (RFC 4180: a cell in quotes may hold commas, quotes and line ends), and tab-separated ones,
//! in which quotes mean nothing.
//!
//! Spreadsheets of many countries separate the values of a `.csv` by semicolons, others by tabs: where the first row has no comma
//! outside of quotes, these do.

use std::path::{Path, PathBuf};

use super::layout::{Column, Columns, Encoding};
use super::lines::Lines;
use super::quoted;
use crate::error::{Error, Place, Result};

/// A row may hold long documents.
const LONGEST_ROW: usize = 16 << 20;
/// What separates the values of a `.csv`, the most usual first.
const SEPARATORS: [u8; 3] = *b",;\t";

/// What a file of rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Comma-separated values, with quotes.
    Csv,
    /// Tab-separated values, without.
    Tsv,
}

/// The rows of a file that are not blank, one after the other.
pub(super) struct Rows {
    file: PathBuf,
    lines: Lines,
    form: Form,
    /// Of comma-separated values: what the first row tells.
    separator: Option<u8>,
}

impl Rows {
    /// Opens a file.
    pub fn open(file: &Path, form: Form, encoding: Encoding) -> Result<Self> {
        let lines = Lines::open_in(file, LONGEST_ROW, encoding)?;
        Ok(Self { file: file.to_owned(), lines, form, separator: None })
    }

    /// The next row, with the number of its first line.
    pub fn next(&mut self) -> Result<Option<(usize, Vec<String>)>> {
        match self.form {
            Form::Csv => self.next_of_csv(),
            Form::Tsv => self.next_of_tsv(),
        }
    }

    /// The notes that are due after the last row.
    pub fn notes(&self) -> Vec<String> {
        let other = self.separator.filter(|separator| *separator != SEPARATORS[0]);
        let note = other.map(|separator| {
            let name = if separator == b';' { "semicolons" } else { "tabs" };
            format!("the values are separated by {name}, as the first row has no comma")
        });
        self.lines.notes().into_iter().chain(note).collect()
    }

    /// A row of tab-separated values is a line.
    fn next_of_tsv(&mut self) -> Result<Option<(usize, Vec<String>)>> {
        while let Some((number, line)) = self.lines.next()? {
            if !line.trim().is_empty() {
                return Ok(Some((number, line.split('\t').map(str::to_owned).collect())));
            }
        }
        Ok(None)
    }

    /// A row of comma-separated values may have several lines: as long as a quote is open.
    fn next_of_csv(&mut self) -> Result<Option<(usize, Vec<String>)>> {
        let (mut first, mut text) = (None, String::new());
        while let Some((number, line)) = self.lines.next()? {
            if first.is_none() && line.trim().is_empty() {
                continue;
            }
            let first = *first.get_or_insert(number);
            text += line;
            if text.len() > LONGEST_ROW {
                return Err(Error::data(format!("expected rows of at most {LONGEST_ROW} bytes, found a longer one"))
                    .at(Place::line(&self.file, first))
                    .hint("is a quote left open? A quote inside a cell is written twice"));
            }
            // A quote inside a cell is written twice, so that an odd number is an open one.
            if text.matches('"').count() % 2 == 0 {
                let cells = self.cells(&text).map_err(|error| error.at(Place::line(&self.file, first)))?;
                return Ok(Some((first, cells)));
            }
            text.push('\n');
        }
        match first {
            None => Ok(None),
            Some(first) => Err(Error::data("expected the end of a quoted cell, found the end of the file")
                .at(Place::line(&self.file, first))
                .hint("a quote inside a cell is written twice")),
        }
    }

    /// The values of a row; the first one tells what separates them.
    fn cells(&mut self, row: &str) -> Result<Vec<String>> {
        if let Some(separator) = self.separator {
            return values(row, separator);
        }
        for separator in SEPARATORS {
            let values = values(row, separator)?;
            if values.len() > 1 {
                self.separator = Some(separator);
                return Ok(values);
            }
        }
        self.separator = Some(SEPARATORS[0]);
        values(row, SEPARATORS[0])
    }
}

fn values(row: &str, separator: u8) -> Result<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).flexible(true).delimiter(separator).from_reader(row.as_bytes());
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
