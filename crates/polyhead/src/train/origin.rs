//! Where a run was started: relative paths of its recipe are of that folder, from wherever the run is opened again.
//!
//! ```text
//! RUN/recipe.toml    train = "data/train.conll"        as it was written: can be shown, and copied with its data
//! RUN/origin.json    {"folder": "/home/ada/project"}   what makes it a place
//! ```
//!
//! It stands in a file of its own, so that neither the recipe nor a model folder names folders of this machine.

use crate::data::fixed_part;
use crate::error::{Error, Result};
use crate::io::write_atomic;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const FILE: &str = "origin.json";

/// Where a run was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The absolute folder; empty for where this process is.
    folder: PathBuf,
}

impl Origin {
    /// That of a run folder. A run without one (of an earlier version, or shown around) is read from where this process is.
    pub fn of(run: &Path) -> Self {
        let text = std::fs::read_to_string(run.join(FILE)).unwrap_or_default();
        let origin: Self = serde_json::from_str(&text).unwrap_or_default();
        // Messages name files as the recipe does where that is enough.
        if std::env::current_dir().is_ok_and(|here| here == origin.folder) { Self::default() } else { origin }
    }

    /// Writes where this process is into a run folder, unless the run was started somewhere before.
    pub(super) fn keep(run: &Path) -> Result<()> {
        let path = run.join(FILE);
        if path.exists() {
            return Ok(());
        }
        let folder = std::env::current_dir().map_err(|cause| Error::reading(".", cause))?;
        let text = serde_json::to_string(&Self { folder })
            .map_err(|cause| Error::internal(format!("the folder of the run as JSON: {cause}")))?;
        write_atomic(path, text + "\n")
    }

    /// The folder that a path of the recipe is of: where the run was started, or, empty, where this process is, if nothing is there
    /// (the project was moved).
    pub fn folder_of(&self, path: &str) -> &Path {
        if fixed_part(&self.folder.join(path)).exists() { &self.folder } else { Path::new("") }
    }

    /// A path of the recipe, in that folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder_of(path).join(path)
    }

    /// A path that a call names now, as the run is to keep it.
    pub(super) fn adopt(&self, path: &str) -> String {
        if self.folder.as_os_str().is_empty() || path.starts_with("hf://") {
            return path.to_owned();
        }
        std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_relative_path_is_of_the_folder_where_the_run_was_started_if_it_is_there() {
        let (project, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(project.path().join("data.conll"), "").unwrap();
        assert_eq!(Origin::of(run.path()), Origin::default());
        let origin = Origin { folder: project.path().to_owned() };
        std::fs::write(run.path().join(FILE), serde_json::to_string(&origin).unwrap()).unwrap();
        let origin = Origin::of(run.path());
        assert_eq!(origin.path("data.conll"), project.path().join("data.conll"));
        assert_eq!(origin.path("/elsewhere/data.conll"), Path::new("/elsewhere/data.conll"));
        assert_eq!(origin.path("gone.conll"), Path::new("gone.conll"));
        assert!(Path::new(&origin.adopt("new.conll")).is_absolute());
        assert_eq!(origin.adopt("hf://datasets/a/b/c.conll"), "hf://datasets/a/b/c.conll");
        // Who runs in the same folder is told paths as the recipe has them.
        Origin::keep(run.path()).unwrap();
        assert_eq!(Origin::of(run.path()), origin, "where it was started before stays");
        let fresh = tempfile::tempdir().unwrap();
        Origin::keep(fresh.path()).unwrap();
        assert_eq!(Origin::of(fresh.path()).path("Cargo.toml"), Path::new("Cargo.toml"));
    }
}
