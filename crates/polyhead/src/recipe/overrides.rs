//! Overrides of the command line: `key=value` with a dotted key, into a table.

use crate::error::{Error, Result};

/// Sets a dotted key of a table. A value that is not TOML is a string.
pub(super) fn set(table: &mut toml::Table, pair: &str) -> Result<()> {
    let fault = |message: &str| Error::usage(format!("--set {pair}: {message}")).hint("as in --set train.epochs=1");
    let (key, value) = pair.split_once('=').ok_or_else(|| fault("expected key=value"))?;
    // A document of one pair is the shortest way to a TOML value; what is none is a string.
    let parsed =
        toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut one| one.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = key.trim().split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(fault("expected a key before `=`"));
    }
    let Some(last) = keys.pop() else { return Err(fault("expected a key before `=`")) };
    let mut table = table;
    for key in keys {
        let entry = table.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().ok_or_else(|| fault(&format!("`{key}` is a value, not a table")))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}
