//! Tables of labelled texts: comma-separated values (RFC 4180: a cell in quotes may hold commas, quotes and line ends), and
//! tab-separated ones, in which quotes mean nothing.
//!
//! The first line names the columns, unless `columns` counts them. Where a text may have several labels, all columns of the label's name
//! hold one each, or none.

use super::{LabelledText, Raw, Texts, chosen, usual_names};
use crate::data::layout::Column;
use crate::data::lines::Lines;
use crate::data::{LabelForm, Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// A row may hold long documents.
const LONGEST_ROW: usize = 16 << 20;

/// Reads comma-separated values.
pub(in crate::data) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    read(file, limit, layout, csv_row)
}

/// Reads tab-separated values.
pub(in crate::data) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    read(file, limit, layout, tsv_row)
}

/// The next row that is not blank, with the number of its first line.
type NextRow = fn(&Path, &mut Lines) -> Result<Option<(usize, Vec<String>)>>;

fn read(file: &Path, limit: Option<usize>, layout: &Layout, next: NextRow) -> Result<Read<LabelledText>> {
    let mut lines = Lines::open_in(file, LONGEST_ROW, layout.encoding)?;
    let mut texts = Texts::new(layout);
    let mut columns: Option<Places> = None;
    while !texts.is_enough(limit) {
        let Some((number, row)) = next(file, &mut lines)? else { break };
        let place = Place::line(file, number);
        let at = match &columns {
            Some(columns) => columns,
            None => {
                let (found, first) = Places::of(&row, layout).map_err(|error| error.at_least(place.clone()))?;
                let found = columns.insert(found);
                if first == First::Names {
                    continue;
                }
                found
            }
        };
        if row.len() != at.width {
            let (expected, found) = (at.width, row.len());
            return Err(
                Error::data(format!("expected {expected} columns, as in the first line; found {found}")).at(place)
            );
        }
        let cell = |at: usize| row.get(at).map_or("", String::as_str);
        let label = match at.labels.as_slice() {
            [label] => Raw::Cell(cell(*label).into()),
            several => {
                let filled = several.iter().map(|at| cell(*at).trim()).filter(|label| !label.is_empty());
                Raw::List(filled.map(str::to_owned).collect())
            }
        };
        texts.push(place, cell(at.text), at.text_pair.map(cell), label)?;
    }
    texts.finish(file, limit, lines.notes())
}

/// What the first line of a table holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// The names of its columns.
    Names,
    /// The first example.
    Example,
}

/// Where the columns stand, from 0, and how many there are.
struct Places {
    text: usize,
    text_pair: Option<usize>,
    /// More than one where a text may have several labels, each in a column of its own.
    labels: Vec<usize>,
    width: usize,
}

impl Places {
    fn of(row: &[String], layout: &Layout) -> Result<(Self, First)> {
        let usual = |role: &str| {
            let named = |name: &&str| row.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
            usual_names(role).iter().find_map(named)
        };
        let width = row.len();
        // All columns of the name that one has, where a text may have several labels.
        let labels = |label: usize| {
            let name = row.get(label).map_or("", |name| name.trim());
            let same = |at: &usize| row.get(*at).is_some_and(|other| other.trim().eq_ignore_ascii_case(name));
            match layout.label_form {
                LabelForm::Set => (0..width).filter(same).collect(),
                LabelForm::Name | LabelForm::Number => vec![label],
            }
        };
        if layout.columns.is_none() {
            let (Some(text), Some(label)) = (usual("text"), usual("label")) else {
                let (texts, labels) = (usual_names("text").join(", "), usual_names("label").join(", "));
                let found = quoted(&row.join(", "));
                return Err(Error::data(format!(
                    "expected a first line with the name of the text's column ({texts}) and of the label's ({labels}); found {found}"
                ))
                .hint("or say which they are, by name or counted from 1: data.TASK.columns = { text = 2, label = 1 }"));
            };
            return Ok((Self { text, text_pair: usual("text_pair"), labels: labels(label), width }, First::Names));
        }
        let place = |role: &str| -> Result<Option<usize>> {
            match chosen(layout, role) {
                None => Ok(None),
                Some(Column::Number(number)) if (1..=width).contains(number) => Ok(Some(number - 1)),
                Some(Column::Number(number)) => {
                    Err(Error::data(format!("columns.{role}: expected one of {width} columns, found {number}")))
                }
                Some(Column::Name(name)) => {
                    let at = row.iter().position(|cell| cell.trim() == name);
                    at.map(Some).ok_or_else(|| {
                        let (name, names) = (quoted(name), quoted(&row.join(", ")));
                        Error::data(format!("columns.{role}: expected {name} in the first line, found {names}"))
                    })
                }
            }
        };
        let of = |role: &str| {
            place(role)?.ok_or_else(|| Error::usage(format!("columns.{role}: expected a column, found nothing")))
        };
        let (text, text_pair, label) = (of("text")?, place("text_pair")?, of("label")?);
        let by_name =
            layout.columns.iter().any(|columns| columns.iter().any(|(_, one)| matches!(one, Column::Name(_))));
        let names = |role: &str, at: usize| usual(role) == Some(at);
        let first = if by_name || names("text", text) && names("label", label) { First::Names } else { First::Example };
        let labels = if first == First::Names { labels(label) } else { vec![label] };
        Ok((Self { text, text_pair, labels, width }, first))
    }
}

fn tsv_row(_: &Path, lines: &mut Lines) -> Result<Option<(usize, Vec<String>)>> {
    while let Some((number, line)) = lines.next()? {
        if !line.trim().is_empty() {
            return Ok(Some((number, line.split('\t').map(str::to_owned).collect())));
        }
    }
    Ok(None)
}

/// A row may have several lines: as long as a quote is open.
fn csv_row(file: &Path, lines: &mut Lines) -> Result<Option<(usize, Vec<String>)>> {
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
