//! Overrides of the command line: `key=value` with a dotted key, into a table.

use crate::error::{Error, Result};

/// Keys whose value may be a name alone, which stands for a table with this `name`.
const STRATEGIES: [&str; 4] = ["sharing", "train.sample", "train.mix", "train.balance"];

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
    for (depth, key) in keys.iter().enumerate() {
        let entry = table.entry(*key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let (true, true) = (entry.is_str(), STRATEGIES.contains(&keys[..=depth].join(".").as_str())) {
            let named = [("name".to_owned(), entry.clone())].into_iter().collect();
            *entry = toml::Value::Table(named);
        }
        table = entry.as_table_mut().ok_or_else(|| fault(&format!("`{key}` is a value, not a table")))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_option_of_a_strategy_that_is_a_name_alone_makes_a_table_of_it() {
        let mut table: toml::Table = toml::from_str("train.sample = 'temperature'\ntrain.epochs = 3").unwrap();
        set(&mut table, "train.sample.temperature=5").unwrap();
        assert_eq!(table["train"]["sample"].to_string(), "{ name = \"temperature\", temperature = 5 }");
        set(&mut table, "train.balance=uncertainty").unwrap();
        set(&mut table, "train.balance.form=liebel").unwrap();
        assert_eq!(table["train"]["balance"]["name"].as_str(), Some("uncertainty"));
        let error = set(&mut table, "train.epochs.x=1").unwrap_err().to_string();
        assert!(error.contains("`epochs` is a value, not a table"), "{error}");
    }
}
