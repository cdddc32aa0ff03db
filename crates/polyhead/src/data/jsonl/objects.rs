//! The objects of a file with their places: one a line (JSON Lines), or those of one JSON list (`array.rs`).

use std::path::{Path, PathBuf};
use std::vec;

use serde_json::Value;

use super::array::Whole;
use super::{LONGEST_LINE, parse};
use crate::data::json::{Fields, Record};
use crate::data::lines::Lines;
use crate::data::quoted;
use crate::error::{Error, Place, Result};

/// They come one after the other: a file of lines is never in memory as a whole.
pub(super) enum Objects {
    Lines { file: PathBuf, lines: Lines },
    List { records: vec::IntoIter<(Place, Option<Record>)>, notes: Vec<String> },
}

impl Objects {
    /// Those of JSON Lines.
    pub fn lines(file: &Path) -> Result<Self> {
        Ok(Self::Lines { file: file.to_owned(), lines: Lines::open(file, LONGEST_LINE)? })
    }

    /// Those of a list; `expected` are its examples, for the message where it is a file of questions.
    pub fn list(file: &Path, expected: &str) -> Result<Self> {
        let (whole, notes) = Whole::read(file, expected)?;
        Ok(Self::List { records: whole.records(file)?.into_iter(), notes })
    }

    /// The next one.
    pub fn next(&mut self) -> Result<Option<(Place, Fields)>> {
        match self {
            Self::Lines { file, lines } => {
                let file: &Path = file;
                while let Some((number, line)) = lines.next()? {
                    if !line.trim().is_empty() {
                        return Ok(Some((Place::line(file, number), parse(file, number, line)?)));
                    }
                }
                Ok(None)
            }
            Self::List { records, .. } => match records.find_map(|(place, record)| Some((place, record?))) {
                None => Ok(None),
                Some((place, Record::Object(fields))) => Ok(Some((place, fields))),
                Some((place, Record::List(items))) => {
                    let found = quoted(&Value::Array(items).to_string());
                    Err(Error::data(format!("expected an object, found {found}")).at(place))
                }
            },
        }
    }

    /// The notes that are due after the last one.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Lines { lines, .. } => lines.notes(),
            Self::List { notes, .. } => notes.clone(),
        }
    }
}
