//! The folder of a comparison: what it compares, one process at a time, and room for its runs.
//!
//! ```text
//! NAME-compare/recipe.toml       what is compared: the recipe with every default written out
//! NAME-compare/seeds.json        [[42, 43, 44], [45]]: the seeds it began with, and those that were added
//! NAME-compare/.lock             held by the process that works on it
//! NAME-compare/RUN/              ordinary run folders
//! NAME-compare/comparison.json, comparison.html, comparison.md
//! ```
//!
//! That of a comparison of strategies is `NAME-strategies`, that of a selection of tasks `NAME-select`; their reports are `strategies` and `selection`.

use crate::error::{Error, Place, Result};
use crate::io::{LOCK, is_temporary, lock_folder, names, remove_folder, write_atomic};
use crate::recipe::{Difference, Recipe, differences};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const RECIPE: &str = "recipe.toml";
const SEEDS: &str = "seeds.json";

pub(super) struct Folder {
    pub path: PathBuf,
    /// The seeds it began with, then those that were added.
    pub rounds: Vec<Vec<u64>>,
    /// Released when it is dropped, and by the system when the process ends in whatever way.
    _lock: File,
}

impl Folder {
    /// Opens `OUTPUT/NAME-KIND` for this recipe and these seeds, or makes it. What is there must be the same
    /// comparison; only seeds may be added.
    pub fn open(recipe: &Recipe, kind: &str, seeds: &[u64], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let path = recipe.output.join(format!("{}-{kind}", recipe.name));
        fs::create_dir_all(&path).map_err(|cause| Error::writing(&path, cause))?;
        let known = path.join(RECIPE).is_file() && path.join(SEEDS).is_file();
        let ours = |name: &str| name == LOCK || name == SEEDS || is_temporary(name);
        if !known && let Some(other) = names(&path)?.into_iter().find(|name| !ours(name)) {
            return Err(Error::cannot_write(format!("expected a comparison here or nothing, found `{other}`"))
                .at(Place::file(&path))
                .hint("move the folder away, or give the recipe another name"));
        }
        let lock = lock_folder(&path)?;
        // Under the lock: another process may have begun it in between. What has no run yet may still be anything, so
        // that a slip in a recipe that could not be trained does not stay.
        if !path.join(RECIPE).is_file() || !begun(&path)? {
            let rounds = vec![seeds.to_vec()];
            write_rounds(&path, &rounds)?;
            // Last, because it makes the folder a comparison.
            write_atomic(path.join(RECIPE), recipe.to_toml()?)?;
            return Ok(Self { path, rounds, _lock: lock });
        }
        let there = Recipe::read(&path.join(RECIPE), &[])?;
        let mut differing = differing_keys(&there, recipe)?;
        let mut rounds = read_rounds(&path)?;
        let old: Vec<u64> = rounds.concat();
        if old.iter().any(|seed| !seeds.contains(seed)) {
            differing.push(format!("seeds ({} there, {} here)", listed(&old), listed(seeds)));
        }
        if !differing.is_empty() {
            return Err(Error::usage(format!("this is another comparison; it differs in {}", differing.join(", ")))
                .at(Place::file(&path))
                .hint("the same recipe goes on with it; another `name` begins a new one. Seeds may be added, not left out"));
        }
        let added: Vec<u64> = seeds.iter().copied().filter(|seed| !old.contains(seed)).collect();
        if !added.is_empty() {
            notify(&format!("adds seeds {} to {}", listed(&added), listed(&old)));
            rounds.push(added);
            write_rounds(&path, &rounds)?;
        }
        Ok(Self { path, rounds, _lock: lock })
    }

    /// Checks that what stands under a run's name is this run, and says whether anything does.
    pub fn holds(&self, recipe: &Recipe) -> Result<bool> {
        let run = self.path.join(&recipe.name);
        let found = match fs::symlink_metadata(&run) {
            Ok(found) => found,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(Error::reading(&run, cause)),
        };
        let other = |what: &str| {
            Err(Error::cannot_write(format!("expected a run of this comparison, found {what}"))
                .at(Place::file(&run))
                .hint("move it away: nothing that is not of this comparison is removed"))
        };
        if !found.is_dir() {
            return other("something that is no folder");
        }
        let file = run.join(RECIPE);
        if !file.exists() {
            // A process that was killed while it made the folder leaves no more than this.
            return if names(&run)?.iter().all(|name| is_temporary(name) || name == LOCK) {
                Ok(true)
            } else {
                other("no recipe.toml")
            };
        }
        let differing = differing_keys(&Recipe::read(&file, &[])?, recipe)?;
        if differing.is_empty() {
            Ok(true)
        } else {
            other(&format!("a recipe that differs in {}", differing.join(", ")))
        }
    }

    /// Removes folders of a finished run, which [`Folder::holds`] has checked, by their names.
    pub fn tidy(&self, run: &str, goes: impl Fn(&str) -> bool) -> Result<()> {
        let run = self.path.join(run);
        for name in names(&run)?.into_iter().filter(|name| goes(name)) {
            remove_folder(&run.join(name))?;
        }
        Ok(())
    }

    /// Removes an unfinished run, which [`Folder::holds`] has checked.
    pub fn clear(&self, run: &str) -> Result<()> {
        let run = self.path.join(run);
        fs::remove_dir_all(&run).map_err(|cause| Error::writing(&run, cause))
    }
}

/// Whether any run was made.
fn begun(folder: &Path) -> Result<bool> {
    let own = |name: &String| is_temporary(name) || [RECIPE, SEEDS, LOCK].contains(&name.as_str());
    Ok(!names(folder)?.iter().all(own))
}

fn write_rounds(folder: &Path, rounds: &[Vec<u64>]) -> Result<()> {
    let text = serde_json::to_string(rounds).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
    write_atomic(folder.join(SEEDS), text + "\n")
}

fn read_rounds(folder: &Path) -> Result<Vec<Vec<u64>>> {
    let path = folder.join(SEEDS);
    let text = fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
    serde_json::from_str(&text)
        .map_err(|cause| Error::data(format!("expected lists of seeds: {cause}")).at(Place::file(&path)))
}

fn listed(seeds: &[u64]) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// The keys in which two recipes differ, with both values. Where they write and which seed they name does not count:
/// seeds are the comparison's own, and a folder may be moved.
fn differing_keys(there: &Recipe, here: &Recipe) -> Result<Vec<String>> {
    let mut found: Vec<String> = differences(&there.to_toml()?, &here.to_toml()?)?
        .into_iter()
        .filter(|Difference { key, .. }| !matches!(key.as_str(), "output" | "seed"))
        .map(|Difference { key, old, new }| format!("{key} ({old} there, {new} here)"))
        .collect();
    // Tables have no order, but tasks take turns in that of the recipe.
    if found.is_empty() && !there.tasks.keys().eq(here.tasks.keys()) {
        found.push("the order of the tasks".to_owned());
    }
    Ok(found)
}
