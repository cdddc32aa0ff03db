//! A model as the server has it: what it answers with, and what it says of it.

use crate::redact::{names_only, paths_in};
use polyhead::ask::OWN;
use polyhead::document::Block;
use polyhead::infer::{Products, Session};
use polyhead::info::{ModelInfo, TaskInfo};
use polyhead::model::{Model, NamedTask};
use polyhead::report::{self, Depth, html};
use polyhead::tasks::TaskKind;
use polyhead::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A model with its folder.
pub struct Loaded {
    session: Session,
    path: PathBuf,
    kinds: &'static [TaskKind],
    report: OnceLock<Option<String>>,
}

impl Loaded {
    /// Loads a model folder, or the best model of a run folder.
    pub fn open(path: &Path, kinds: &'static [TaskKind], precision: Products) -> Result<Self> {
        let session = Session::open_in(path, kinds, precision)?;
        for named in &session.model.tasks {
            if let Some(taken) = named.task.fields().iter().find(|field| OWN.contains(&field.name)) {
                let message = format!("the task `{}` has a field of the name `{}`", named.name, taken.name);
                return Err(Error::usage(message).hint("a server takes that name for itself: rename the field"));
            }
        }
        Ok(Self { session, path: path.to_owned(), kinds, report: OnceLock::new() })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.session.model
    }

    /// The task at this place.
    pub fn task_at(&self, index: usize) -> Result<&NamedTask> {
        self.model().tasks.get(index).ok_or_else(|| Error::internal("a task beyond the model's last"))
    }

    /// What there is to say of it.
    pub fn info(&self) -> ModelInfo {
        ModelInfo::of(self.model(), &self.path, self.session.products().name())
    }

    /// What there is to say of its tasks, in order.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        TaskInfo::all(&self.model().tasks)
    }

    /// The report of the run that it came from, as a page: the one that `polyhead report` wrote there, or else what the run
    /// itself recorded. None where there is no run around it. Folders of this machine are left out of it.
    pub fn report(&self) -> Option<&str> {
        let made = self.report.get_or_init(|| {
            let real = self.path.canonicalize().ok();
            let parent = real.as_ref().and_then(|path| Some(path.parent()?.to_owned()));
            let run = [Some(self.path.clone()), parent.clone()]
                .into_iter()
                .flatten()
                .find(|path| path.join(polyhead::events::FILE).is_file())?;
            let folders = [Some(self.path.clone()), real, parent, Some(run.clone()), std::env::current_dir().ok()];
            let mut known: Vec<String> = folders.iter().flatten().map(|path| path.display().to_string()).collect();
            known.extend(std::env::var("HOME").ok());
            for file in ["recipe.toml", "environment.json"] {
                known.extend(std::fs::read_to_string(run.join(file)).iter().flat_map(|text| paths_in(text)));
            }
            if let Ok(page) = std::fs::read_to_string(run.join("report.html")) {
                return Some(names_only(&page, &known));
            }
            let mut document = report::report(&[run], self.kinds, Depth::Records, &mut |_| {}).ok()?;
            // Nobody asked for the rest: that it is missing need not be said.
            for section in &mut document.sections {
                section.blocks.retain(|block| !matches!(block, Block::Missing(_)));
            }
            document.sections.retain(|section| section.blocks.iter().any(|block| !matches!(block, Block::Heading(_))));
            Some(names_only(&html::page(&document), &known))
        });
        made.as_deref()
    }
}
