//! Refusing keys that no recipe has: with those that are known, and what may have been meant.

use super::keys::{dotted, get, of_table, purpose};
use super::source::Source;
use super::words;
use crate::error::{Error, Result};
use crate::tasks::TASKS;

/// Refuses the first key that its table does not have. Those of tasks are left to their kinds.
pub(super) fn check(recipe: &toml::Table, source: &Source) -> Result<()> {
    let data = || recipe.get("data").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = ["", "encoder", "encoder.lora", "train"].map(str::to_owned).into_iter();
    let of_data = data().map(|(name, _)| format!("data.{name}"));
    for table in tables.chain(of_data) {
        let found = if table.is_empty() { Some(recipe) } else { get(recipe, &table).and_then(toml::Value::as_table) };
        let known = of_table(&table).unwrap_or_default();
        if let Some((key, _)) = found.into_iter().flatten().find(|(key, _)| !known.contains(key)) {
            return Err(unknown(&table, key, &known, recipe).at(source.place(&dotted(&table, key))));
        }
    }
    for (name, of_task) in data() {
        if let Some(columns) = of_task.get("columns").and_then(toml::Value::as_table) {
            check_columns(name, columns, recipe, source)?;
        }
    }
    Ok(())
}

/// Columns are those of the task's kind; one that is not of the known kinds checks them as it reads.
fn check_columns(name: &str, columns: &toml::Table, recipe: &toml::Table, source: &Source) -> Result<()> {
    let kind = get(recipe, &format!("tasks.{name}.kind")).and_then(toml::Value::as_str).unwrap_or(name);
    let Some(kind) = TASKS.iter().find(|known| known.kind == kind) else { return Ok(()) };
    let table = format!("data.{name}.columns");
    let columns_of_kind = kind.formats.columns();
    let known: Vec<String> = columns_of_kind.all().map(str::to_owned).collect();
    if let Some((key, _)) = columns.iter().find(|(key, _)| !known.contains(key)) {
        return Err(unknown(&table, key, &known, recipe).at(source.place(&dotted(&table, key))));
    }
    match columns_of_kind.missing(|role| columns.contains_key(role)) {
        None => Ok(()),
        Some(missing) => {
            let message = format!("{table}.{missing}: expected {}, found nothing", purpose(missing));
            Err(Error::usage(message).at(source.place(&table)))
        }
    }
}

/// A key that its table does not have, with all that it has, and what may have been meant.
pub(super) fn unknown(table: &str, key: &str, known: &[String], recipe: &toml::Table) -> Error {
    let place = if table.is_empty() { "at the top".to_owned() } else { format!("in [{table}]") };
    let error = Error::usage(format!("unknown key `{key}` {place}; known: {}", known.join(", ")));
    match words::hint(table, key, known, recipe) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
