//! A recipe for files of one's own: `files -> what each holds -> tasks -> a recipe that trains`.
//!
//! ```text
//! news/train.jsonl        JSON Lines, 1,200 examples of ner (PER 410, LOC 120) and of classify (sport 300, ...)   English
//! news/validation.jsonl
//!   -> tasks.ner, tasks.classify: train, validation
//! ```
//!
//! Each kind of task tries to read each file, and says by its own checks whether there is anything to learn from it
//! ([`look`]). Files that belong together by name and content become the splits of a task ([`tasks`]). Where the files do not say enough, the
//! error says what to say.

mod columns;
mod language;
mod look;
mod tasks;
mod write;

pub use look::{Lengths, LookedAt, Reading};
pub use tasks::ProposedTask;

use crate::data::{Columns, FileFormats, Files, expand};
use crate::error::{Error, Place, Result};
use crate::recipe::Recipe;
use crate::tasks::TaskKind;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is known besides the files.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The kind of task that they are for, where only one is meant.
    pub kind: Option<String>,
    /// Which columns hold what.
    pub columns: Option<Columns>,
    /// The encoder, instead of one for the language of the files.
    pub encoder: Option<String>,
    /// The name of the recipe.
    pub name: Option<String>,
}

/// What was found, and the recipe that comes of it.
#[derive(Debug, Clone, Serialize)]
pub struct Proposal {
    /// What each file holds, in order.
    pub files: Vec<LookedAt>,
    /// The tasks that they are for.
    pub tasks: Vec<ProposedTask>,
    /// Files that no task trains on or is scored on, and why.
    pub left_out: Vec<LeftOut>,
    /// The encoder to begin with.
    pub encoder: String,
    /// The recipe, as TOML with comments.
    pub recipe: String,
}

/// A file that the recipe does not name.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// Where it lies.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// Any file of data: whoever looks at a folder does not know yet what it is for.
struct AnyKind<'a>(&'a [TaskKind]);

impl FileFormats for AnyKind<'_> {
    fn examples(&self) -> &'static str {
        "data"
    }

    fn columns(&self) -> crate::data::ColumnNames {
        crate::data::ColumnNames::NONE
    }

    fn extensions(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = self.0.iter().flat_map(|kind| kind.formats.extensions()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn format(&self, extension: &str) -> Option<crate::data::FormatName> {
        self.0.iter().find_map(|kind| kind.formats.format(extension))
    }
}

/// Looks at files and proposes a recipe for them.
///
/// # Errors
/// A file is not there or malformed, no kind of task can learn from it, or it can't be told what is meant: the hint says what to say.
pub fn propose(named: &Files, known: &Known, kinds: &[TaskKind]) -> Result<Proposal> {
    let kinds: Vec<TaskKind> = match &known.kind {
        None => kinds.to_vec(),
        Some(name) => {
            let Some(kind) = kinds.iter().find(|kind| kind.kind == name) else {
                let all: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
                return Err(Error::usage(format!("--kind: expected one of {}, found `{name}`", all.join(", "))));
            };
            vec![*kind]
        }
    };
    let mut files: Vec<LookedAt> = Vec::new();
    for path in named.iter() {
        for file in expand(Path::new(path), &AnyKind(&kinds))? {
            if files.iter().any(|looked| looked.file == file) {
                return Err(Error::usage("expected each file once, found it twice").at(Place::file(&file)));
            }
            files.push(look::look(&file, known.columns.as_ref(), &kinds)?);
        }
    }
    let (tasks, left_out) = tasks::tasks(&files)?;
    let encoder = known.encoder.clone().unwrap_or_else(|| language::encoder(&files).to_owned());
    let recipe = write::recipe(known.name.as_deref(), &encoder, known.encoder.is_some(), &files, &tasks);
    // What is written must be read; that it says what was meant is for the tests.
    Recipe::parse(&recipe, Path::new("recipe.toml"), &[])?;
    Ok(Proposal { files, tasks, left_out, encoder, recipe })
}
