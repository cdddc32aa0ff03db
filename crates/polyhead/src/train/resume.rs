//! What must hold for a run to go on: the recipe it began with (or a change that is named), the same data, the same precision.

use super::State;
use super::record::DataFile;
use crate::error::{Error, Place, Result};
use crate::recipe::{Difference, Recipe, differences};
use std::path::Path;

/// The recipe to go on with: the one of the run or of a file, with overrides. Every key in which it differs from the run's
/// must be named by an override.
pub(super) fn recipe(run: &Path, state: &State, file: Option<&Path>, overrides: &[String]) -> Result<Recipe> {
    let stored = run.join("recipe.toml");
    let recipe = match file {
        Some(file) => Recipe::read(file, overrides)?,
        None => Recipe::parse(&state.recipe, &stored, overrides)?,
    };
    let named = |key: &str| {
        overrides.iter().filter_map(|pair| pair.split_once('=')).any(|(name, _)| {
            let name = name.trim();
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let changed: Vec<String> = differences(&state.recipe, &recipe.to_toml()?)?
        .into_iter()
        // Where the folder lies and what it is called changes nothing.
        .filter(|Difference { key, .. }| !matches!(key.as_str(), "output" | "name") && !named(key))
        .map(|Difference { key, old, new }| format!("{key}: the run has {old}, the recipe {new}"))
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
