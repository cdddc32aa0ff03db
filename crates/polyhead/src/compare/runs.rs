//! The runs of a comparison in its folder: what is finished stays, what is unfinished goes on, what is not there begins.

use super::folder::Folder;
use crate::document::Document;
use crate::error::{Error, Place, Result};
use crate::events::Outcome;
use crate::io::write_atomic;
use crate::recipe::{DataRecipe, Recipe};
use crate::report::{html, markdown};
use crate::tasks::TaskKind;
use crate::train::Trainer;
use serde::Serialize;
use std::path::Path;

/// A run that was opened.
pub enum Opened {
    /// It was finished before.
    Finished,
    /// It is to be trained: iterate over it to the end.
    Training(Box<Trainer>),
}

/// Runs that are compared, one after the other.
pub trait Series {
    /// One of them.
    type Run;
    /// The folder that they lie in.
    fn folder(&self) -> &Path;
    /// All that are known, in the order in which they are to be done; what finished ones came to may add more after them.
    fn runs(&self) -> Result<Vec<Self::Run>>;
    /// The name of a run, and that of its folder.
    fn name(&self, run: &Self::Run) -> String;
    /// Whether a run is finished. What stands under its name must be this run, or nothing.
    fn is_finished(&self, run: &Self::Run) -> Result<bool>;
    /// Opens a run: what is finished stays, what is unfinished goes on.
    fn open_run(&self, run: &Self::Run, notify: &mut dyn FnMut(&str)) -> Result<Opened>;
    /// Removes what a finished run need not keep. What was measured is in its metrics.
    fn tidy(&self, run: &Self::Run) -> Result<()>;
}

/// Whether every task has a score and every seed comes once.
pub(super) fn check(recipe: &Recipe, seeds: &[u64]) -> Result<()> {
    for task in recipe.tasks.keys() {
        if !recipe.data.get(task).is_some_and(DataRecipe::has_validation) {
            return Err(Error::usage(format!("data.{task}.validation: expected validation data, found none"))
                .hint("a comparison needs a score of every task"));
        }
    }
    if seeds.is_empty() {
        return Err(Error::usage("seeds: expected one at least, found none"));
    }
    for (at, seed) in seeds.iter().enumerate() {
        if seeds.iter().take(at).any(|other| other == seed) {
            return Err(Error::usage(format!("seeds: expected each once, found {seed} twice")));
        }
    }
    Ok(())
}

/// What a run came to; none if it is not finished.
pub(super) fn outcome(folder: &Folder, name: &str) -> Result<Option<Outcome>> {
    Outcome::read(&folder.path.join(name))
}

/// What a run came to that must be finished.
pub(super) fn finished(folder: &Folder, name: &str) -> Result<Outcome> {
    outcome(folder, name)?.ok_or_else(|| {
        Error::usage("expected a finished run, found none")
            .at(Place::file(folder.path.join(name)))
            .hint("`polyhead compare` with the same recipe trains what is missing")
    })
}

/// Whether the run of this recipe is finished. What stands under its name must be this run, or nothing.
pub(super) fn is_finished(folder: &Folder, recipe: &Recipe) -> Result<bool> {
    Ok(folder.holds(recipe)? && outcome(folder, &recipe.name)?.is_some())
}

/// Opens the run of this recipe, whose name it has in the folder.
pub(super) fn open(
    folder: &Folder,
    recipe: Recipe,
    kinds: &[TaskKind],
    notify: &mut dyn FnMut(&str),
) -> Result<Opened> {
    let there = folder.holds(&recipe)?;
    if there && outcome(folder, &recipe.name)?.is_some() {
        return Ok(Opened::Finished);
    }
    let path = folder.path.join(&recipe.name);
    if there && Trainer::has_checkpoint(&path)? {
        return Ok(Opened::Training(Box::new(Trainer::resume(&path, None, &[], kinds, notify)?)));
    }
    if there {
        notify(&format!("{} did not get to a checkpoint: it is removed and begins again", recipe.name));
        folder.clear(&recipe.name)?;
    }
    let trainer = Trainer::with_tasks(recipe, kinds, notify)?;
    if trainer.folder() != path {
        return Err(Error::internal(format!("a run went to {}", trainer.folder().display()))
            .at(Place::file(path))
            .hint("did something else write into the folder of the comparison?"));
    }
    Ok(Opened::Training(Box::new(trainer)))
}

/// Removes the model and the checkpoints of the run of this recipe, if it is finished.
pub(super) fn drop_model(folder: &Folder, recipe: &Recipe) -> Result<()> {
    match is_finished(folder, recipe)? {
        true => folder.tidy(&recipe.name, |name| name.starts_with("checkpoint-") || name == "best"),
        false => Ok(()),
    }
}

/// What matrix products were computed in: one or, if the machine changed, several.
pub(super) fn precisions<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for outcome in outcomes {
        if !found.contains(&outcome.precision) {
            found.push(outcome.precision.clone());
        }
    }
    found
}

/// Writes a report as `NAME.json`, `NAME.html` and `NAME.md`.
pub(super) fn write(folder: &Folder, name: &str, report: &impl Serialize, document: &Document) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
    let file = |ending: &str| folder.path.join(format!("{name}.{ending}"));
    write_atomic(file("json"), json + "\n")?;
    write_atomic(file("html"), html::page(document))?;
    write_atomic(file("md"), markdown::page(document))
}
