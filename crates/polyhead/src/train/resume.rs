//! What must hold for a run to go on: the recipe it began with (or a change that is named), the same data, the same precision.

use super::State;
use super::record::DataFile;
use crate::error::{Error, Place, Result};
use crate::recipe::Recipe;
use std::collections::BTreeMap;
use std::path::Path;

/// The recipe to go on with: the one of the run or of a file, with overrides. Every key in which it differs from the run's
/// must be named by an override.
pub(super) fn recipe(run: &Path, state: &State, file: Option<&Path>, overrides: &[String]) -> Result<Recipe> {
    let stored = run.join("recipe.toml");
    let recipe = match file {
        Some(file) => Recipe::read(file, overrides)?,
        None => Recipe::parse(&state.recipe, &stored, overrides)?,
    };
    let (old, new) = (flat(&state.recipe)?, flat(&recipe.to_toml()?)?);
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let named = |key: &str| {
        overrides.iter().filter_map(|pair| pair.split_once('=')).any(|(name, _)| {
            let name = name.trim();
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "nothing".into());
    let changed: Vec<String> = keys
        .into_iter()
        // Where the folder lies and what it is called changes nothing.
        .filter(|key| !matches!(key.as_str(), "output" | "name"))
        .filter(|key| old.get(*key) != new.get(*key) && !named(key))
        .map(|key| format!("{key}: the run has {}, the recipe {}", shown(old.get(key)), shown(new.get(key))))
        .collect();
    if changed.is_empty() {
        return Ok(recipe);
    }
    Err(Error::usage(format!("expected the recipe of the run, found another: {}", changed.join("; ")))
        .at(Place::file(file.unwrap_or(&stored)))
        .hint("name each change that you mean, as in --set train.epochs=5; or train the recipe as a new run"))
}

/// Refuses data that changed since, but for what the overrides name.
pub(super) fn check_data(then: &[DataFile], now: &[DataFile], old: &Recipe, new: &Recipe) -> Result<()> {
    let named = |recipe: &Recipe, file: &DataFile| {
        let data = recipe.data.get(&file.task)?;
        if file.split == "train" { Some(data.train.clone()) } else { data.validation.clone() }
    };
    for was in then {
        let is = now.iter().find(|is| (&is.task, &is.split) == (&was.task, &was.split));
        let Some(is) = is.filter(|_| named(old, was) == named(new, was)) else { continue };
        if is.sha256 != was.sha256 {
            return Err(Error::data(format!(
                "data.{}.{}: the file is not what the run was trained on: it had {} bytes, now {}",
                was.task, was.split, was.bytes, is.bytes
            ))
            .at(Place::file(&is.path))
            .hint("put the old file back, or train a new run"));
        }
    }
    Ok(())
}

/// Every value of a TOML document under its dotted key.
fn flat(text: &str) -> Result<BTreeMap<String, String>> {
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
