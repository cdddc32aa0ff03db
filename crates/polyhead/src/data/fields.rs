//! The columns of a table, or the fields of JSON Lines, with their first values: for whoever has to tell which of them holds what.

use super::layout::Encoding;
use super::open;
use super::rows::{Form, Rows};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::Path;

/// So many rows are looked at.
const ROWS: usize = 200;

/// A column or field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its first values, as text. What is neither text nor a number is left out.
    pub values: Vec<String>,
}

/// The columns of a table whose first line names them, or the fields of JSON Lines. `None`: the file is of another format, or can't be read
/// as this one.
pub fn fields(file: &Path) -> Option<Vec<Field>> {
    match open::extension(file).as_str() {
        "csv" => of_table(file, Form::Csv),
        "tsv" => of_table(file, Form::Tsv),
        "jsonl" | "ndjson" => of_objects(file),
        _ => None,
    }
}

fn of_table(file: &Path, form: Form) -> Option<Vec<Field>> {
    [Encoding::Utf8, Encoding::Latin1].into_iter().find_map(|encoding| of_rows(Rows::open(file, form, encoding).ok()?))
}

fn of_rows(mut rows: Rows) -> Option<Vec<Field>> {
    let text = |cell: String| cell.trim().to_owned();
    let (_, names) = rows.next().ok()??;
    let mut fields: Vec<Field> = names.into_iter().map(|name| Field { name: text(name), values: Vec::new() }).collect();
    for _ in 0..ROWS {
        let Some((_, row)) = rows.next().ok()? else { break };
        for (field, cell) in fields.iter_mut().zip(row) {
            field.values.push(text(cell));
        }
    }
    (fields.len() > 1).then_some(fields)
}

fn of_objects(file: &Path) -> Option<Vec<Field>> {
    let mut order: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in open::open(file).ok()?.lines().take(ROWS) {
        let line = line.ok()?;
        if line.trim().is_empty() {
            continue;
        }
        let Value::Object(object) = serde_json::from_str(&line).ok()? else { return None };
        for (name, value) in object {
            let value = match value {
                Value::String(text) => Some(text),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(truth) => Some(truth.to_string()),
                _ => None,
            };
            if !order.contains(&name) {
                order.push(name.clone());
            }
            values.entry(name).or_default().extend(value);
        }
    }
    let field = |name: String| Field { values: values.remove(&name).unwrap_or_default(), name };
    Some(order.into_iter().map(field).collect())
}
