//! Where two recipes differ: by dotted key, with both values as TOML.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A dotted key in which two recipes differ, and its value in each as TOML, or `nothing`.
pub(crate) struct Difference {
    pub key: String,
    pub old: String,
    pub new: String,
}

/// Where two recipes in TOML differ, by key.
pub(crate) fn differences(old: &str, new: &str) -> Result<Vec<Difference>> {
    let (old, new) = (values(old)?, values(new)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |values: &BTreeMap<String, String>, key| values.get(key).cloned().unwrap_or_else(|| "nothing".into());
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    Ok(differing.map(|key| Difference { key: key.clone(), old: shown(&old, key), new: shown(&new, key) }).collect())
}

/// Every value of a recipe in TOML, under its dotted key.
fn values(text: &str) -> Result<BTreeMap<String, String>> {
    fn walk(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&key, value, into);
                }
            }
            value => _ = into.insert(prefix.to_owned(), value.to_string()),
        }
    }
    let table: toml::Table = toml::from_str(text).map_err(|cause| Error::data(format!("not a recipe: {cause}")))?;
    let mut all = BTreeMap::new();
    walk("", &toml::Value::Table(table), &mut all);
    Ok(all)
}
