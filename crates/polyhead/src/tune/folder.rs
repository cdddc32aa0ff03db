//! The folder of a search: what it searches, and room for its trials.
//!
//! ```text
//! NAME-tune/recipe.toml     what is searched for: the recipe with every default written out
//! NAME-tune/search.json     the settings of the search, and what the recipe comes to: steps, examples, width of the encoder
//! NAME-tune/trials/TRIAL/   .lock, held by the process that trains it; run/, an ordinary run folder; failed.txt
//! NAME-tune/best.toml, tune.json, tune.html, tune.md
//! ```

use super::Settings;
use crate::error::{Error, Place, Result};
use crate::io::{LOCK, is_temporary, names, try_lock_folder, write_atomic};
use crate::recipe::{Difference, Recipe, differences};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const TRIALS: &str = "trials";
const RECIPE: &str = "recipe.toml";
const SEARCH: &str = "search.json";

/// What a recipe comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Of the encoder's hidden states.
    pub width: usize,
    /// Training examples of each task.
    pub examples: BTreeMap<String, usize>,
    /// Steps of a training on all of them.
    pub steps: usize,
}

#[derive(Serialize, Deserialize)]
struct Search {
    settings: Settings,
    facts: Facts,
}

pub(super) struct Folder {
    pub path: PathBuf,
    pub facts: Facts,
}

impl Folder {
    /// Opens `OUTPUT/NAME-tune` for this recipe and these settings, or makes it, with the facts that `look` finds.
    pub fn open(
        recipe: &Recipe,
        settings: &Settings,
        notify: &mut dyn FnMut(&str),
        look: impl FnOnce(&mut dyn FnMut(&str)) -> Result<Facts>,
    ) -> Result<Self> {
        let path = recipe.output.join(format!("{}-tune", recipe.name));
        fs::create_dir_all(&path).map_err(|cause| Error::writing(&path, cause))?;
        let known = |path: &Path| path.join(RECIPE).is_file() && path.join(SEARCH).is_file();
        let ours = |name: &str| name == LOCK || name == SEARCH || is_temporary(name);
        if !known(&path)
            && let Some(other) = names(&path)?.into_iter().find(|name| !ours(name))
        {
            return Err(Error::cannot_write(format!("expected a search here or nothing, found `{other}`"))
                .at(Place::file(&path))
                .hint("move the folder away, or give the recipe another name"));
        }
        // Held while the search is begun, not while it runs: others may work on it.
        let mut told = false;
        let _lock = loop {
            if let Some(lock) = try_lock_folder(&path)? {
                break lock;
            }
            if !std::mem::replace(&mut told, true) {
                notify("another process begins this search: waiting for it");
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        let file = path.join(SEARCH);
        // What has no trial yet may still be anything, so that a slip does not stay.
        if known(&path) && path.join(TRIALS).is_dir() {
            let text = fs::read_to_string(&file).map_err(|cause| Error::reading(&file, cause))?;
            let search: Search = serde_json::from_str(&text).map_err(|cause| {
                Error::data(format!("expected the settings of a search: {cause}")).at(Place::file(&file))
            })?;
            let there = Recipe::read(&path.join(RECIPE), &[])?;
            let mut differing: Vec<String> = differences(&there.to_toml()?, &recipe.to_toml()?)?
                .into_iter()
                .filter(|Difference { key, .. }| key != "output")
                .map(|Difference { key, old, new }| format!("{key} ({old} there, {new} here)"))
                .collect();
            if search.settings != *settings {
                differing.push("the budget or the keys that are searched".to_owned());
            }
            if !differing.is_empty() {
                return Err(Error::usage(format!("this is another search; it differs in {}", differing.join(", ")))
                    .at(Place::file(&path))
                    .hint("the same call goes on with it; another `name` begins a new one"));
            }
            return Ok(Self { path, facts: search.facts });
        }
        let facts = look(notify)?;
        let search = Search { settings: settings.clone(), facts };
        let text = serde_json::to_string_pretty(&search).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
        write_atomic(&file, text + "\n")?;
        // Last, because it makes the folder a search.
        write_atomic(path.join(RECIPE), recipe.to_toml()?)?;
        Ok(Self { path, facts: search.facts })
    }

    /// The folder of a trial, which is made.
    pub fn of_trial(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(TRIALS).join(name);
        fs::create_dir_all(&folder).map_err(|cause| Error::writing(&folder, cause))?;
        Ok(folder)
    }
}
