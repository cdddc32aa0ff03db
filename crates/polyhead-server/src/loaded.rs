//! A model as the server has it: what it answers with, and what it says of it.

use crate::fields::OWN;
use crate::redact::{names_only, paths_in};
use polyhead::document::Block;
use polyhead::infer::{Products, Session};
use polyhead::model::{Model, NamedTask};
use polyhead::parameters::Parameters;
use polyhead::recipe::Recipe;
use polyhead::report::{self, Depth, html};
use polyhead::tasks::{Shape, TaskKind};
use polyhead::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A model with its folder.
pub struct Loaded {
    session: Session,
    path: PathBuf,
    kinds: &'static [TaskKind],
    report: OnceLock<Option<String>>,
}

/// What `/info` says of a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskInfo {
    /// Its name, which addresses have.
    pub name: String,
    /// What a recipe calls its kind.
    pub kind: String,
    /// What it does, in a few words.
    pub about: String,
    /// The shape of its answers.
    pub shape: Shape,
    /// The inference API of Hugging Face that it answers, if there is one.
    pub pipeline: Option<String>,
    /// The texts that a request has.
    pub fields: Vec<String>,
    /// For each of them a text that shows what is meant.
    pub examples: BTreeMap<String, String>,
    /// Fields that may be left out of `/analyze`, and the fields that then stand in for them.
    pub defaults: BTreeMap<String, String>,
    /// The task that finds the parts that this one relates, where a request to `/analyze` has a `text` and does not say which parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_from: Option<String>,
    /// What it tells apart.
    pub labels: Vec<String>,
    /// The longest window, in tokens; longer texts become overlapping windows.
    pub max_tokens: usize,
}

/// What `/info` says of the model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModelInfo {
    /// The name of its folder.
    pub name: String,
    /// The encoder that it was trained from, if that is known: its name on the Hub, or that of its folder.
    pub encoder: Option<String>,
    /// Numbers in it.
    pub parameters: usize,
    /// What matrix products are computed in.
    pub precision: String,
    /// The epoch after which it was kept, if that is known.
    pub epoch: Option<usize>,
    /// Its scores on the validation data, by task, where they are known.
    pub scores: BTreeMap<String, TaskScores>,
}

/// The scores of a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskScores {
    /// The name of the value that decides which epoch is kept.
    pub headline: String,
    /// All values by name; per cent, but for counts.
    pub values: BTreeMap<String, f64>,
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

    /// The task of this name and its place.
    pub fn task(&self, name: &str) -> Option<(usize, &NamedTask)> {
        self.model().tasks.iter().enumerate().find(|(_, task)| task.name == name)
    }

    /// The task at this place.
    pub fn task_at(&self, index: usize) -> Result<&NamedTask> {
        self.model().tasks.get(index).ok_or_else(|| Error::internal("a task beyond the model's last"))
    }

    /// What there is to say of it.
    pub fn info(&self) -> ModelInfo {
        let about = &self.model().about;
        let folder = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let recipe = about.recipe.as_ref().and_then(|text| Recipe::parse(text, Path::new("recipe.toml"), &[]).ok());
        ModelInfo {
            name: folder_name(&folder).unwrap_or_else(|| "model".into()),
            encoder: recipe.and_then(|recipe| checkpoint_name(&recipe.encoder.checkpoint)),
            parameters: Parameters::count(self.model().parameters.iter()),
            precision: self.session.products().name().to_owned(),
            epoch: about.epoch,
            scores: self.scores(),
        }
    }

    /// What its folder says of its scores.
    fn scores(&self) -> BTreeMap<String, TaskScores> {
        let known = &self.model().about.scores;
        let of = |NamedTask { name, task }: &NamedTask| {
            let numbers = known.get(name)?.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
            let (headline, values): (_, BTreeMap<String, f64>) = (task.headline(), numbers.collect());
            values.contains_key(&headline).then(|| (name.clone(), TaskScores { headline, values }))
        };
        self.model().tasks.iter().filter_map(of).collect()
    }

    /// What there is to say of its tasks, in order.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let finder = self.model().tasks.iter().find(|named| named.task.mentions()).map(|named| named.name.clone());
        let info = |NamedTask { name, task }: &NamedTask| TaskInfo {
            name: name.clone(),
            kind: task.kind().to_owned(),
            about: task.about().to_owned(),
            shape: task.shape(),
            pipeline: task.pipeline().map(|pipeline| pipeline.name.to_owned()),
            fields: task.fields().iter().map(|field| field.name.to_owned()).collect(),
            examples: task.fields().iter().map(|field| (field.name.to_owned(), field.example.to_owned())).collect(),
            defaults: task
                .fields()
                .iter()
                .filter_map(|field| Some((field.name.to_owned(), field.default?.to_owned())))
                .collect(),
            parts_from: task.takes_pairs().then(|| finder.clone()).flatten(),
            labels: kinds(task.labels()),
            max_tokens: task.max_length(),
        };
        self.model().tasks.iter().map(info).collect()
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

/// The name of a model's folder; of `runs/NAME/best` that of the run.
fn folder_name(folder: &Path) -> Option<String> {
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    named(folder).filter(|name| name != "best").or_else(|| named(folder.parent()?))
}

/// A checkpoint without the folder it lies in; names on the Hub, `owner/name`, stay whole.
fn checkpoint_name(checkpoint: &str) -> Option<String> {
    let path = Path::new(checkpoint);
    let is_path =
        path.is_absolute() || checkpoint.starts_with(['.', '~']) || checkpoint.ends_with('/') || path.is_dir();
    if is_path || checkpoint.matches('/').count() > 1 { folder_name(path) } else { Some(checkpoint.to_owned()) }
}

/// The types of IOB labels; other labels as they are.
fn kinds(labels: &[String]) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for label in labels.iter().filter(|label| *label != "O") {
        let kind = label.strip_prefix("B-").or_else(|| label.strip_prefix("I-")).unwrap_or(label);
        if !kinds.iter().any(|known| known == kind) {
            kinds.push(kind.to_owned());
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_known_by_its_name_alone() {
        for (checkpoint, name) in [
            ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
            ("bert-base-cased@main", "bert-base-cased@main"),
            ("/home/me/models/tiny-bert", "tiny-bert"),
            ("/home/me/models/tiny-bert/", "tiny-bert"),
            ("../secret/models/tiny-bert", "tiny-bert"),
            ("runs/secret/german/best", "german"),
            ("~/models/tiny", "tiny"),
        ] {
            assert_eq!(checkpoint_name(checkpoint).as_deref(), Some(name));
        }
    }
}
