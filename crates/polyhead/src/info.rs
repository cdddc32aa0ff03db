//! What a model is, for those who ask it: what it was trained from, its scores, its tasks with their fields and labels.
//!
//! `GET /info` of a server answers with these types, and a folder for browsers has them in `info.json`.

use crate::model::{Model, NamedTask};
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use crate::tasks::Shape;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What a server or a page says of a task.
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
    /// The task that finds the parts that this one relates, where a request to `/analyze` has a `text` and does not say which
    /// parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_from: Option<String>,
    /// What it tells apart.
    pub labels: Vec<String>,
    /// The longest window, in tokens; longer texts become overlapping windows.
    pub max_tokens: usize,
}

/// What it says of the model.
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

impl ModelInfo {
    /// Of a model that lies in this folder, whose matrix products are computed in `precision`.
    pub fn of(model: &Model, folder: &Path, precision: &str) -> Self {
        let about = &model.about;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let recipe = about.recipe.as_ref().and_then(|text| Recipe::parse(text, Path::new("recipe.toml"), &[]).ok());
        Self {
            name: folder_name(&folder).unwrap_or_else(|| "model".into()),
            encoder: recipe.and_then(|recipe| checkpoint_name(&recipe.encoder.checkpoint)),
            parameters: Parameters::count(model.parameters.iter()),
            precision: precision.to_owned(),
            epoch: about.epoch,
            scores: scores(model),
        }
    }
}

/// What its folder says of its scores.
fn scores(model: &Model) -> BTreeMap<String, TaskScores> {
    let known = &model.about.scores;
    let of = |NamedTask { name, task }: &NamedTask| {
        let numbers = known.get(name)?.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        let (headline, values): (_, BTreeMap<String, f64>) = (task.headline(), numbers.collect());
        values.contains_key(&headline).then(|| (name.clone(), TaskScores { headline, values }))
    };
    model.tasks.iter().filter_map(of).collect()
}

impl TaskInfo {
    /// Of all tasks of a model, in order.
    pub fn all(tasks: &[NamedTask]) -> Vec<Self> {
        let finder = tasks.iter().find(|named| named.task.mentions()).map(|named| named.name.clone());
        let info = |NamedTask { name, task }: &NamedTask| Self {
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
        tasks.iter().map(info).collect()
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
