//! The runs of a comparison in its folder: what is finished stays, what is unfinished goes on, what is not there begins.

use super::folder::Folder;
use crate::error::{Error, Place, Result};
use crate::events::Outcome;
use crate::recipe::Recipe;
use crate::tasks::TaskKind;
use crate::train::Trainer;
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
    /// All of them, in the order in which they are to be done.
    fn runs(&self) -> Vec<Self::Run>;
    /// The name of a run, and that of its folder.
    fn name(&self, run: &Self::Run) -> String;
    /// Whether a run is finished. What stands under its name must be this run, or nothing.
    fn is_finished(&self, run: &Self::Run) -> Result<bool>;
    /// Opens a run: what is finished stays, what is unfinished goes on.
    fn open_run(&self, run: &Self::Run, notify: &mut dyn FnMut(&str)) -> Result<Opened>;
    /// Removes what a finished run need not keep. What was measured is in its metrics.
    fn tidy(&self, run: &Self::Run) -> Result<()>;
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
