//! A model as the server has it: what it answers with, and what it says of it.

use polyhead::document::Block;
use polyhead::model::{Model, NamedTask};
use polyhead::parameters::Parameters;
use polyhead::recipe::{PrecisionRecipe, Recipe};
use polyhead::report::{self, Depth, html};
use polyhead::tasks::TASKS;
use polyhead::{Error, Result, infer::Session};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A model with its folder.
pub struct Loaded {
    session: Session,
    path: PathBuf,
    report: OnceLock<Option<String>>,
}

/// What `/info` says of a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskInfo {
    /// Its name, which addresses have.
    pub name: String,
    /// What it is: `ner`, `qa`.
    pub kind: String,
    /// The inference API of Hugging Face that it answers, if there is one.
    pub pipeline: Option<String>,
    /// The texts that a request has.
    pub fields: Vec<String>,
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
    /// The encoder that it was trained from, as its recipe names it, if that is known.
    pub encoder: Option<String>,
    /// Numbers in it.
    pub parameters: usize,
    /// What matrix products are computed in.
    pub precision: String,
}

impl Loaded {
    /// Loads a model folder, or the best model of a run folder.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { session: Session::open_with(path, TASKS)?, path: path.to_owned(), report: OnceLock::new() })
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
        // Of `runs/NAME/best` the run has the name.
        let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = named(&folder).filter(|name| name != "best").or_else(|| named(folder.parent()?));
        let recipe = about.recipe.as_ref().and_then(|text| Recipe::parse(text, Path::new("recipe.toml"), &[]).ok());
        ModelInfo {
            name: name.unwrap_or_else(|| "model".into()),
            encoder: recipe.map(|recipe| recipe.encoder.checkpoint),
            parameters: Parameters::count(self.model().parameters.iter()),
            precision: PrecisionRecipe::Auto.resolve().name().to_owned(),
        }
    }

    /// What there is to say of its tasks, in order.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let info = |NamedTask { name, task }: &NamedTask| TaskInfo {
            name: name.clone(),
            kind: task.kind().to_owned(),
            pipeline: task.pipeline().map(|pipeline| pipeline.name.to_owned()),
            fields: task.fields().iter().map(|&field| field.to_owned()).collect(),
            labels: kinds(task.labels()),
            max_tokens: task.max_length(),
        };
        self.model().tasks.iter().map(info).collect()
    }

    /// The report of the run that it came from, as a page: the one that `polyhead report` wrote there, or else what the run
    /// itself recorded. None where there is no run around it.
    pub fn report(&self) -> Option<&str> {
        let made = self.report.get_or_init(|| {
            let parent = self.path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
            let run = [Some(self.path.clone()), parent]
                .into_iter()
                .flatten()
                .find(|path| path.join("metrics.jsonl").is_file())?;
            if let Ok(page) = std::fs::read_to_string(run.join("report.html")) {
                return Some(page);
            }
            let mut document = report::report(&[run], TASKS, Depth::Records, &mut |_| {}).ok()?;
            // Nobody asked for the rest: that it is missing need not be said.
            for section in &mut document.sections {
                section.blocks.retain(|block| !matches!(block, Block::Missing(_)));
            }
            document.sections.retain(|section| section.blocks.iter().any(|block| !matches!(block, Block::Heading(_))));
            Some(html::page(&document))
        });
        made.as_deref()
    }
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
