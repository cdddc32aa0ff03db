//! The examples of a task as its recipe names them: `data.NAME -> files -> examples -> those to train on, those to score on`.
//!
//! The files of a split are read in order, and are one list of examples; a limit takes the first of them. `split` holds a share of
//! the training examples out: all of one text, or of one document, stay on one side, by the seed ([`AnyTask::hold_out`]). `calibration` holds a share
//! of the others back.

use super::origin::Origin;
use crate::data::{Files, Layout};
use crate::error::Result;
use crate::hub::{self, HubEvent, HubOptions, NamedFile};
use crate::recipe::{DataRecipe, Recipe};
use crate::tasks::{AnyTask, Examples};
use polyhead_kernels::rng::Key;
use std::path::PathBuf;

/// Where the data of a run are found.
pub struct DataSource<'a> {
    /// Where the run was started.
    pub origin: &'a Origin,
    /// How the Hub is reached.
    pub options: &'a HubOptions,
    /// Who hears of downloads.
    pub notify: &'a mut dyn FnMut(HubEvent),
}

/// What the files of a split hold.
pub(super) struct ReadFiles {
    pub examples: Examples,
    /// Every file that was read, and how many examples were taken from it.
    pub files: Vec<(NamedFile, usize)>,
}

impl DataSource<'_> {
    /// Reads the files of a split. A limit takes the first examples of all; files beyond it are not read.
    pub(super) fn read(
        &mut self,
        named: &Files,
        limit: Option<usize>,
        layout: &Layout,
        task: &dyn AnyTask,
    ) -> Result<ReadFiles> {
        let folder_of = |path: &str| self.origin.folder_of(path);
        let found = hub::data_files(named, task.formats(), &folder_of, self.options, self.notify)?;
        let paths: Vec<PathBuf> = found.iter().map(|named| named.file.clone()).collect();
        let (examples, counts) = task.read_all(&paths, limit, layout)?;
        Ok(ReadFiles { examples, files: found.into_iter().zip(counts).collect() })
    }

    /// The training examples of a task as a run had them: without those that are held out.
    pub fn training(&mut self, recipe: &Recipe, data: &DataRecipe, task: &dyn AnyTask) -> Result<Examples> {
        let read = self.read(&data.train, data.limit, &data.layout(), task)?;
        let train = match data.split {
            Some(share) => hold_out(task, read.examples, share, recipe.seed)?.0,
            None => read.examples,
        };
        Ok(match data.calibration {
            Some(share) => hold_back(task, train, share, recipe.seed)?.0,
            None => train,
        })
    }

    /// The validation examples of a task, its own or those that are held out; `None` where it has none.
    pub fn validation(&mut self, recipe: &Recipe, data: &DataRecipe, task: &dyn AnyTask) -> Result<Option<Examples>> {
        if let Some(files) = &data.validation {
            return Ok(Some(self.read(files, data.validation_limit, &data.layout(), task)?.examples));
        }
        let Some(share) = data.split else { return Ok(None) };
        let read = self.read(&data.train, data.limit, &data.layout(), task)?;
        Ok(Some(hold_out(task, read.examples, share, recipe.seed)?.1))
    }
}

/// What stays to train on, and what is held out.
pub(super) fn hold_out(task: &dyn AnyTask, examples: Examples, share: f64, seed: u64) -> Result<(Examples, Examples)> {
    task.hold_out(examples, share, Key::seed(seed))
}

/// What stays to train on, and what is held back for calibration.
pub(super) fn hold_back(task: &dyn AnyTask, examples: Examples, share: f64, seed: u64) -> Result<(Examples, Examples)> {
    // Another draw than that of `split`, which left those of high rank.
    task.hold_out(examples, share, Key::seed(seed).purpose("calibration"))
}
