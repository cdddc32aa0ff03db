//! Tables of labelled texts, comma-separated or tab-separated (`data/rows.rs`).
//!
//! The first line names the columns, unless `columns` counts them. Where a text may have several labels, all columns of the label's name
//! hold one each, or none.

use super::{LabelledText, Raw, Texts, usual_names};
use crate::data::rows::{Form, Rows, by_name, check_width, chosen};
use crate::data::{LabelForm, Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// Reads comma-separated values.
pub(in crate::data) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    read(file, limit, layout, Form::Csv)
}

/// Reads tab-separated values.
pub(in crate::data) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    read(file, limit, layout, Form::Tsv)
}

fn read(file: &Path, limit: Option<usize>, layout: &Layout, form: Form) -> Result<Read<LabelledText>> {
    let mut rows = Rows::open(file, form, layout.encoding)?;
    let mut texts = Texts::new(layout);
    let mut columns: Option<Places> = None;
    while !texts.is_enough(limit) {
        let Some((number, row)) = rows.next()? else { break };
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
        check_width(at.width, &row).map_err(|error| error.at(place.clone()))?;
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
    texts.finish(file, limit, rows.notes())
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
        let columns = layout.columns.as_ref();
        let place = |role: &str| columns.map_or(Ok(None), |columns| chosen(columns, role, row));
        let of = |role: &str| {
            place(role)?.ok_or_else(|| Error::usage(format!("columns.{role}: expected a column, found nothing")))
        };
        let (text, text_pair, label) = (of("text")?, place("text_pair")?, of("label")?);
        let by_name = columns.is_some_and(by_name);
        let names = |role: &str, at: usize| usual(role) == Some(at);
        let first = if by_name || names("text", text) && names("label", label) { First::Names } else { First::Example };
        let labels = if first == First::Names { labels(label) } else { vec![label] };
        Ok((Self { text, text_pair, labels, width }, first))
    }
}
