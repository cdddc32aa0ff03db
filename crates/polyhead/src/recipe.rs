//! Recipes: a whole run in one TOML file (encoder, tasks, data, training), with overrides `key=value`.
//!
//! An unknown key is refused with its line and the nearest known one.

use crate::batch::Padding;
use crate::data::{Columns, Layout};
use crate::encoders::{Adjust, Precision};
use crate::error::{Error, Place, Result};
use crate::mix;
use crate::order::Order;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A run, as a recipe describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name of the run: also that of its folder.
    pub name: String,
    /// The seed of everything random.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The folder in which run folders are made.
    #[serde(default = "default_output")]
    pub output: PathBuf,
    /// The pretrained encoder.
    pub encoder: EncoderRecipe,
    /// How to train.
    #[serde(default)]
    pub train: TrainRecipe,
    /// The tasks, by name, in the order in which they take turns.
    pub tasks: toml::Table,
    /// The data of each task, under the task's name.
    pub data: BTreeMap<String, DataRecipe>,
}

fn default_seed() -> u64 {
    42
}

fn default_output() -> PathBuf {
    "runs".into()
}

/// The pretrained encoder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderRecipe {
    /// A folder in Hugging Face layout, or a name on the Hub (`owner/name`, `name`, with `@revision` if need be).
    pub checkpoint: String,
    /// Dropout of hidden states, instead of the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Dropout of attention probabilities, instead of the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_dropout: Option<f64>,
}

/// What matrix products are computed in. Weights, statistics and sums are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionRecipe {
    /// bf16 where the processor multiplies it natively, else f32.
    #[default]
    Auto,
    /// f32.
    F32,
    /// bf16 on any processor: the same results, but slow without such instructions.
    Bf16,
}

impl PrecisionRecipe {
    /// What it comes to on this machine.
    pub fn resolve(self) -> Precision {
        match self {
            PrecisionRecipe::F32 => Precision::F32,
            PrecisionRecipe::Bf16 => Precision::Bf16,
            PrecisionRecipe::Auto => Precision::auto(),
        }
    }
}

/// The data of one task: paths, or `hf://datasets/OWNER/NAME/PATH` for a file of a data set on the Hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// What the task trains on.
    pub train: String,
    /// What it is scored on after each epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Takes the first so many training examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Takes the first so many validation examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_limit: Option<usize>,
    /// The names of tags that the files write as numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_names: Vec<String>,
    /// Which columns of a column file hold the word and its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
}

impl DataRecipe {
    /// How its files are laid out.
    pub fn layout(&self) -> Layout {
        Layout { columns: self.columns, tag_names: self.tag_names.clone() }
    }
}

/// How to train.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRecipe {
    /// Passes over the data.
    pub epochs: usize,
    /// The peak of the learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay, not on biases and LayerNorm.
    pub weight_decay: f64,
    /// The share of the steps in which the learning rate rises; then it falls to 0.
    pub warmup: f64,
    /// Gradients are clipped to this global norm; 0 leaves them as they are.
    pub max_grad_norm: f64,
    /// Which task takes the next step: see [`crate::mix::MIXES`].
    pub mix: String,
    /// How windows come together in batches.
    pub order: Order,
    /// What matrix products are computed in.
    pub precision: PrecisionRecipe,
    /// How sequences of a batch are brought together.
    pub padding: Padding,
    /// Whether the tokenised training data are kept for later runs, in the cache folder.
    pub feature_cache: bool,
    /// Which epoch's model is kept: `mean` of the tasks' headline scores, `worst` of them, or a task's name.
    pub best: String,
    /// Evaluates after every so many steps too, besides the end of each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<usize>,
    /// Saves a checkpoint after every so many steps too, besides the end of each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<usize>,
    /// How many checkpoints are kept: the newest ones.
    pub keep_checkpoints: usize,
    /// Whether the last checkpoint of a finished run keeps the optimiser's state: only then can the run be made longer.
    pub keep_optimizer: bool,
    /// Compares the gradients of the tasks at every so many steps; 0 never does.
    pub diagnostics_every: usize,
    /// Stops after so many steps: for trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            epochs: 3,
            learning_rate: 5e-5,
            weight_decay: 0.01,
            warmup: 0.1,
            max_grad_norm: 1.0,
            mix: "round_robin".into(),
            order: Order::Random,
            precision: PrecisionRecipe::Auto,
            padding: Padding::Packed,
            feature_cache: true,
            best: "mean".into(),
            evaluate_every: None,
            save_every: None,
            keep_checkpoints: 2,
            keep_optimizer: false,
            diagnostics_every: 50,
            max_steps: None,
        }
    }
}

/// One task, as a recipe describes it: what the trainer needs, and the rest for the task itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecipe {
    /// Its name.
    pub name: String,
    /// Its kind; its name if the recipe gives none.
    pub kind: String,
    /// Examples (windows) of one step.
    pub batch_size: usize,
    /// What multiplies its loss.
    pub loss_weight: f64,
    /// What the task itself reads.
    pub config: serde_json::Value,
}

impl Recipe {
    /// Reads a recipe and applies overrides, each `key=value` with a dotted key: `train.epochs=1`. A value that is not
    /// TOML is a string.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        Self::parse(&text, path, overrides)
    }

    /// The same from a text; `path` is for errors.
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self> {
        let fault = |cause: toml::de::Error| {
            let at = cause.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or("");
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let place = Place::column(path, before.matches('\n').count() + 1, column);
            with_suggestion(Error::usage(cause.message().to_owned()).at(place), cause.message())
        };
        let mut table: toml::Table = toml::from_str(text).map_err(fault)?;
        if overrides.is_empty() {
            // Straight from the text, for the line of whatever is wrong.
            let recipe: Self = toml::from_str(text).map_err(fault)?;
            return recipe.checked(path);
        }
        for pair in overrides {
            set(&mut table, pair)?;
        }
        let recipe: Self = table.try_into().map_err(|cause: toml::de::Error| {
            let message = cause.to_string().trim().replace('\n', " ");
            with_suggestion(
                Error::usage(format!("{message} (with --set {})", overrides.join(" --set "))).at(Place::file(path)),
                cause.message(),
            )
        })?;
        recipe.checked(path)
    }

    /// What the recipe changes about the checkpoint.
    pub fn adjust(&self) -> Adjust {
        Adjust {
            precision: self.train.precision.resolve(),
            dropout: self.encoder.dropout,
            attention_dropout: self.encoder.attention_dropout,
        }
    }

    /// The recipe as TOML: with every default written out, and runnable as it is.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|cause| Error::internal(format!("can't write the recipe: {cause}")))
    }

    /// The tasks in order.
    pub fn tasks(&self) -> Result<Vec<TaskRecipe>> {
        self.tasks
            .iter()
            .map(|(name, value)| {
                let mut table = value.as_table().cloned().ok_or_else(|| {
                    Error::usage(format!("tasks.{name}: expected a table, found {}", value.type_str()))
                })?;
                let fault = |key: &str, expected: &str, found: &toml::Value| {
                    Error::usage(format!("tasks.{name}.{key}: expected {expected}, found {found}"))
                };
                let kind = match table.remove("kind") {
                    None => name.clone(),
                    Some(toml::Value::String(kind)) => kind,
                    Some(other) => return Err(fault("kind", "a string", &other)),
                };
                let batch_size = match table.remove("batch_size") {
                    None => 16,
                    Some(toml::Value::Integer(size)) if (1..=4096).contains(&size) => size as usize,
                    Some(other) => return Err(fault("batch_size", "a number from 1 to 4096", &other)),
                };
                let loss_weight = match table.remove("loss_weight") {
                    None => 1.0,
                    Some(toml::Value::Float(weight)) if weight > 0.0 && weight.is_finite() => weight,
                    Some(toml::Value::Integer(weight)) if weight > 0 => weight as f64,
                    Some(other) => return Err(fault("loss_weight", "a positive number", &other)),
                };
                let config =
                    serde_json::to_value(table).map_err(|cause| Error::usage(format!("tasks.{name}: {cause}")))?;
                Ok(TaskRecipe { name: name.clone(), kind, batch_size, loss_weight, config })
            })
            .collect()
    }

    fn checked(self, path: &Path) -> Result<Self> {
        self.check().map_err(|error| error.at_least(Place::file(path)))?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let fault = |key: &str, expected: &str, found: String| {
            Err(Error::usage(format!("{key}: expected {expected}, found {found}")))
        };
        let name_is_plain = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        };
        if !name_is_plain(&self.name) {
            return fault("name", "lower-case letters, digits, `-` and `_`, at most 64", format!("`{}`", self.name));
        }
        if self.tasks.is_empty() {
            return fault("tasks", "at least one task", "none".into());
        }
        let known: Vec<&str> = self.tasks.keys().map(String::as_str).collect();
        for name in &known {
            if !name_is_plain(name) {
                return fault("tasks", "a name of lower-case letters, digits, `-` and `_`", format!("`{name}`"));
            }
            if !self.data.contains_key(*name) {
                return fault(&format!("data.{name}"), "the task's data", "nothing".into());
            }
        }
        if let Some(name) = self.data.keys().find(|name| !self.tasks.contains_key(*name)) {
            let error = Error::usage(format!("data.{name}: there is no task `{name}`"));
            return Err(suggest(error, name, known.iter().copied()));
        }
        let TrainRecipe { epochs, learning_rate, weight_decay, warmup, max_grad_norm, .. } = self.train;
        if epochs == 0 {
            return fault("train.epochs", "at least 1", "0".into());
        }
        for (key, value) in [
            ("train.learning_rate", learning_rate),
            ("train.weight_decay", weight_decay),
            ("train.max_grad_norm", max_grad_norm),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return fault(key, "a number of at least 0", value.to_string());
            }
        }
        if learning_rate == 0.0 {
            return fault("train.learning_rate", "a number above 0", "0".into());
        }
        let TrainRecipe { max_steps, evaluate_every, save_every, keep_checkpoints, .. } = self.train;
        let counts = [
            ("train.max_steps", max_steps),
            ("train.evaluate_every", evaluate_every),
            ("train.save_every", save_every),
            ("train.keep_checkpoints", Some(keep_checkpoints)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .chain(self.data.iter().flat_map(|(name, data)| {
            [("limit", data.limit), ("validation_limit", data.validation_limit)]
                .map(|(key, value)| (format!("data.{name}.{key}"), value))
        }));
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == Some(0)) {
            return fault(&key, "at least 1", "0".into());
        }
        for (name, data) in &self.data {
            let place = |error: Error| Error::usage(format!("data.{name}.{error}"));
            data.layout().check().map_err(place)?;
        }
        if !(0.0..=1.0).contains(&warmup) {
            return fault("train.warmup", "a share from 0 to 1", warmup.to_string());
        }
        if mix::find(&self.train.mix).is_none() {
            let names = mix::MIXES.iter().map(|mix| mix.name);
            let error = Error::usage(format!(
                "train.mix: expected one of {}, found `{}`",
                names.clone().collect::<Vec<_>>().join(", "),
                self.train.mix
            ));
            return Err(suggest(error, &self.train.mix, names));
        }
        let rules = ["mean", "worst"].into_iter().chain(known.iter().copied());
        if !rules.clone().any(|rule| rule == self.train.best) {
            let error = Error::usage(format!(
                "train.best: expected one of {}, found `{}`",
                rules.clone().collect::<Vec<_>>().join(", "),
                self.train.best
            ));
            return Err(suggest(error, &self.train.best, rules));
        }
        if let Some(DataRecipe { validation: None, .. }) = self.data.get(&self.train.best) {
            let task = &self.train.best;
            return fault(
                "train.best",
                "a task with validation data",
                format!("`{task}`, and there is no data.{task}.validation"),
            );
        }
        self.tasks().map(|_| ())
    }
}

/// A dotted key in which two recipes differ, and its value in each as TOML, or `nothing`.
pub(crate) struct Difference {
    pub key: String,
    pub old: String,
    pub new: String,
}

/// Where two recipes in TOML differ, by key.
pub(crate) fn differences(old: &str, new: &str) -> Result<Vec<Difference>> {
    let (old, new) = (values(old)?, values(new)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |values: &BTreeMap<String, String>, key| values.get(key).cloned().unwrap_or_else(|| "nothing".into());
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    Ok(differing.map(|key| Difference { key: key.clone(), old: shown(&old, key), new: shown(&new, key) }).collect())
}

/// Every value of a recipe in TOML, under its dotted key.
fn values(text: &str) -> Result<BTreeMap<String, String>> {
    fn walk(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&key, value, into);
                }
            }
            value => _ = into.insert(prefix.to_owned(), value.to_string()),
        }
    }
    let table: toml::Table = toml::from_str(text).map_err(|cause| Error::data(format!("not a recipe: {cause}")))?;
    let mut all = BTreeMap::new();
    walk("", &toml::Value::Table(table), &mut all);
    Ok(all)
}

/// Sets a dotted key of a table from `key=value`.
fn set(table: &mut toml::Table, pair: &str) -> Result<()> {
    let fault = |message: &str| Error::usage(format!("--set {pair}: {message}")).hint("as in --set train.epochs=1");
    let (key, value) = pair.split_once('=').ok_or_else(|| fault("expected key=value"))?;
    // A document of one pair is the shortest way to a TOML value; what is none is a string.
    let parsed =
        toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut one| one.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = key.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| fault("expected a key before `=`"))?;
    let mut table = table;
    for key in keys {
        let entry = table.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().ok_or_else(|| fault(&format!("`{key}` is a value, not a table")))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

/// Adds the nearest of the known names as a hint.
fn suggest<'a>(error: Error, found: &str, known: impl Iterator<Item = &'a str>) -> Error {
    // Jaro-Winkler sees no likeness between short names with two letters exchanged (`nre`); Damerau-Levenshtein does.
    let alike =
        |known: &str| strsim::jaro_winkler(found, known).max(strsim::normalized_damerau_levenshtein(found, known));
    let nearest = known.max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|near| alike(near) > 0.6) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Adds the nearest known field to serde's complaint about an unknown one.
pub(crate) fn with_suggestion(error: Error, message: &str) -> Error {
    let mut names = message.split('`').skip(1).step_by(2);
    match names.next() {
        Some(found) if message.contains("unknown field") => suggest(error, found, names),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RECIPE: &str = r#"
name = "tiny"
[encoder]
checkpoint = "somewhere"
[tasks.ner]
batch_size = 8
max_length = 64
[data.ner]
train = "train.conll"
[train]
epochs = 2
"#;

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        Recipe::parse(text, Path::new("tiny.toml"), &overrides)
    }

    fn failure(text: &str, overrides: &[&str]) -> String {
        let error = parse(text, overrides).unwrap_err();
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    }

    #[test]
    fn a_recipe_reads_with_its_defaults_and_its_own_toml_reads_the_same() {
        let recipe = parse(RECIPE, &[]).unwrap();
        let tasks = recipe.tasks().unwrap();
        assert_eq!((tasks[0].kind.as_str(), tasks[0].batch_size, tasks[0].loss_weight), ("ner", 8, 1.0));
        assert_eq!(tasks[0].config, serde_json::json!({ "max_length": 64 }));
        assert_eq!((recipe.seed, recipe.train.epochs, recipe.train.learning_rate), (42, 2, 5e-5));
        let text = recipe.to_toml().unwrap();
        assert_eq!(parse(&text, &[]).unwrap().to_toml().unwrap(), text);
    }

    #[test]
    fn overrides_set_any_value() {
        let recipe =
            parse(RECIPE, &["train.epochs=7", "data.ner.train=/a/b.txt", "encoder.checkpoint=x/y", "name=other"]);
        let recipe = recipe.unwrap();
        assert_eq!((recipe.train.epochs, recipe.name.as_str()), (7, "other"));
        assert_eq!(recipe.data["ner"].train, "/a/b.txt");
        let values = ["train.best=ner", "data.ner.validation=x", "train.max_steps=3", "tasks.ner.loss_weight=2"];
        assert!(parse(RECIPE, &values).is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        let text = RECIPE.replace("epochs", "epoch");
        let message = failure(&text, &[]);
        assert!(message.contains("tiny.toml:11:1: unknown field `epoch`"), "{message}");
        assert!(message.ends_with("did you mean `epochs`?"), "{message}");
        let message = failure(RECIPE, &["train.lerning_rate=1"]);
        assert!(message.contains("`lerning_rate`") && message.ends_with("did you mean `learning_rate`?"), "{message}");
        let message = failure(RECIPE, &["data.nre.train=x"]);
        assert!(message.contains("no task `nre`") && message.ends_with("did you mean `ner`?"), "{message}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (pair, what) in [
            ("train.epochs=0", "train.epochs: expected at least 1"),
            ("train.learning_rate=-1", "train.learning_rate"),
            ("train.warmup=1.5", "train.warmup"),
            ("train.mix=roundrobin", "did you mean `round_robin`"),
            ("train.best=best", "train.best"),
            ("tasks.ner.batch_size=0", "tasks.ner.batch_size"),
            ("tasks.ner.loss_weight=-1", "tasks.ner.loss_weight"),
            ("name=../x", "name: expected"),
            ("nonsense", "expected key=value"),
            ("train.epochs.x=1", "is a value, not a table"),
        ] {
            let message = failure(RECIPE, &[pair]);
            assert!(message.contains(what), "{pair}: {message}");
        }
        assert!(failure("name = ", &[]).contains("tiny.toml:1:"));
        assert!(failure("", &[]).contains("missing field"));
    }
}
