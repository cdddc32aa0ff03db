//! Recipes: a whole run in one TOML file (encoder, tasks, data, training), with overrides `key=value`.
//!
//! An unknown key is refused with its line, all known ones and what may have been meant; a value that is none with its
//! line, or with the override that set it.

mod check;
mod differences;
mod fault;
mod keys;
mod learning_rate;
mod overrides;
mod renamed;
mod source;
mod strategies;
mod tasks;
mod unknown;
mod words;

pub(crate) use differences::{Difference, differences};
pub use keys::{Key, keys};
pub use learning_rate::LearningRate;
pub(crate) use learning_rate::two_digits;
pub use tasks::TaskRecipe;

use crate::batch::Padding;
use crate::data::{Columns, Encoding, Files, Layout};
use crate::encoders::{EncoderOverrides, Precision};
use crate::error::{Error, Place, Result};
use crate::model::{CaseEmbeddings, KeepHeads};
use crate::order::Order;
use crate::parameters::{Freeze, Int8, Lora};
use crate::sharing;
use crate::strategy::Strategy;
use serde::{Deserialize, Serialize};
use source::Source;
use std::collections::BTreeMap;
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
    /// What of the encoder the tasks share, and what is private to each: see [`crate::sharing::SHARINGS`].
    #[serde(default = "sharing::hard")]
    pub sharing: Strategy,
    /// How to train.
    #[serde(default)]
    pub train: TrainRecipe,
    /// The tasks, by name, in the order in which they take turns.
    pub tasks: toml::Table,
    /// The data of each task, under the task's name.
    pub data: BTreeMap<String, DataRecipe>,
    /// Where all this was written.
    #[serde(skip)]
    source: Source,
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
    /// A folder in Hugging Face layout (an encoder, a model of ours, a single-task model of transformers, a run), or a name
    /// on the Hub (`owner/name`, `name`, with `@revision` if need be).
    pub checkpoint: String,
    /// Which heads of the checkpoint stay in the model untrained, though the recipe has no task for them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_heads: KeepHeads,
    /// The tasks that begin with heads of the checkpoint under another name: from the head's name to the task's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename_heads: BTreeMap<String, String>,
    /// How many of its last layers are left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drop_layers: usize,
    /// Whether an encoder whose tokenizer lower-cases reads how words are written: `auto` where it can.
    #[serde(default, skip_serializing_if = "is_default")]
    pub case_embeddings: CaseEmbeddings,
    /// Dropout of hidden states, instead of the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Dropout of attention probabilities, instead of the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_dropout: Option<f64>,
    /// What of the encoder is not trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub freeze: Freeze,
    /// Low-rank additions to its linear layers; all else of it is then not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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

/// The data of one task: paths, each of a file, of a folder of files, or a pattern as in `news/*.jsonl`, or
/// `hf://datasets/OWNER/NAME/PATH` for a file of a data set on the Hub; one, or several as in `["a.jsonl", "b.jsonl"]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// What the task trains on.
    pub train: Files,
    /// What it is scored on after each epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Files>,
    /// The share of the training examples that are held out, by the seed, and scored on instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<f64>,
    /// The share of the training examples that are held back, by the seed, and decide how probable answers are said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<f64>,
    /// Takes the first so many training examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Takes the first so many validation examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_limit: Option<usize>,
    /// The names of tags that the files write as numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_names: Vec<String>,
    /// The names of labels that the files write as numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_names: Vec<String>,
    /// What stands between the labels of one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
    /// How the characters of its files are encoded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: Encoding,
    /// Which columns hold what, by the roles that the task knows: a word and its tag, a text and its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
}

impl DataRecipe {
    /// Whether there is anything to score the task on.
    pub fn has_validation(&self) -> bool {
        self.validation.is_some() || self.split.is_some()
    }

    /// How its files are laid out.
    pub fn layout(&self) -> Layout {
        let Self { columns, tag_names, label_names, label_separator, encoding, .. } = self;
        Layout {
            columns: columns.clone(),
            tag_names: tag_names.clone(),
            label_names: label_names.clone(),
            label_separator: label_separator.clone(),
            encoding: *encoding,
            ..Layout::default()
        }
    }
}

/// How to train.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRecipe {
    /// Passes over the data.
    pub epochs: usize,
    /// The peak of the learning rate: a number, or `auto`.
    pub learning_rate: LearningRate,
    /// What multiplies the learning rate of heads.
    pub head_rate: f64,
    /// What multiplies the learning rate from each layer of the encoder to the one below it.
    pub layer_decay: f64,
    /// Decoupled weight decay, not on biases and LayerNorm.
    pub weight_decay: f64,
    /// The share of the steps in which the learning rate rises; then it falls to 0.
    pub warmup: f64,
    /// Gradients are clipped to this global norm; 0 leaves them as they are.
    pub max_grad_norm: f64,
    /// The tasks whose batches make up each step: see [`crate::sample::SAMPLERS`].
    pub sample: Strategy,
    /// How the losses and gradients of several tasks become one gradient: see [`crate::balance::BALANCERS`].
    pub balance: Strategy,
    /// Whether tasks that train on the same windows go through the encoder together.
    pub shared_pass: bool,
    /// Batches of a task whose gradients add up to that of one step.
    pub accumulate: usize,
    /// How windows come together in batches.
    pub order: Order,
    /// What matrix products are computed in.
    pub precision: PrecisionRecipe,
    /// Whether only the input of each layer is kept for the backward pass, and the rest of it computed again there.
    pub recompute: bool,
    /// How sequences of a batch are brought together.
    pub padding: Padding,
    /// Whether the tokenised training data are kept for later runs, in the cache folder.
    pub feature_cache: bool,
    /// Which epoch's model is kept: `mean` of the tasks' headline scores, `worst` of them, or a task's name.
    pub best: String,
    /// Ends training when so many evaluations in a row were not better than the best one before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
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
            learning_rate: LearningRate::Fixed(5e-5),
            head_rate: 1.0,
            layer_decay: 1.0,
            weight_decay: 0.01,
            warmup: 0.1,
            max_grad_norm: 1.0,
            sample: Strategy::named("round_robin"),
            balance: Strategy::named("equal"),
            shared_pass: false,
            accumulate: 1,
            order: Order::Random,
            precision: PrecisionRecipe::Auto,
            recompute: false,
            padding: Padding::Packed,
            feature_cache: true,
            best: "mean".into(),
            patience: None,
            evaluate_every: None,
            save_every: None,
            keep_checkpoints: 2,
            keep_optimizer: false,
            diagnostics_every: 50,
            max_steps: None,
        }
    }
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
        let source = Source::new(path, text, &renamed::in_overrides(overrides));
        let table: toml::Table = toml::from_str(text).map_err(|cause| source.malformed(&cause))?;
        Self::of(table, source)
    }

    /// The same from a table that some other program made; `name` stands for it in errors.
    pub fn from_table(table: toml::Table, name: &str, overrides: &[String]) -> Result<Self> {
        Self::of(table, Source::new(name.as_ref(), "", &renamed::in_overrides(overrides)))
    }

    fn of(mut table: toml::Table, source: Source) -> Result<Self> {
        renamed::in_table(&mut table, |key| source.place(key))?;
        for pair in source.overrides() {
            overrides::set(&mut table, pair)?;
        }
        unknown::check(&table, &source)?;
        let mut recipe: Self = table.clone().try_into().map_err(|cause: toml::de::Error| {
            // The same again from text, for the place of whatever is wrong.
            let text = toml::to_string(&table).unwrap_or_default();
            let cause = toml::from_str::<Self>(&text).err().unwrap_or(cause);
            source.refused(&cause, &text)
        })?;
        recipe.source = source;
        check::check(&recipe)?;
        Ok(recipe)
    }

    /// Where a dotted key stands: its line, or the override that set it.
    pub fn place(&self, key: &str) -> Place {
        self.source.place(key)
    }

    /// What the recipe changes about the checkpoint.
    pub fn adjust(&self) -> EncoderOverrides {
        EncoderOverrides {
            int8: Int8::No,
            precision: self.train.precision.resolve(),
            dropout: self.encoder.dropout,
            attention_dropout: self.encoder.attention_dropout,
            freeze: self.encoder.freeze,
            lora: self.encoder.lora.clone(),
            sharing: self.sharing.clone(),
            recompute: self.train.recompute,
        }
    }

    /// The recipe as TOML: with every default written out, and runnable as it is.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|cause| Error::internal(format!("can't write the recipe: {cause}")))
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
        assert_eq!((recipe.seed, recipe.train.epochs, recipe.train.learning_rate), (42, 2, LearningRate::Fixed(5e-5)));
        let text = recipe.to_toml().unwrap();
        assert_eq!(parse(&text, &[]).unwrap().to_toml().unwrap(), text);
    }

    #[test]
    fn a_table_is_a_recipe_as_its_text_is_and_what_is_wrong_in_it_has_its_key() {
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        let overrides = ["train.mix=proportional".to_owned(), "train.epochs=3".to_owned()];
        let read = Recipe::from_table(table(RECIPE), "recipe", &overrides).unwrap();
        let text = parse(RECIPE, &["train.sample=proportional", "train.epochs=3"]).unwrap();
        assert_eq!(read.to_toml().unwrap(), text.to_toml().unwrap());
        for (old, new, message) in [
            ("epochs", "epoch", "recipe: unknown key `epoch` in [train]"),
            ("epochs = 2", "epochs = 'x'", "recipe: train.epochs: expected a whole number"),
        ] {
            let error = Recipe::from_table(table(&RECIPE.replacen(old, new, 1)), "recipe", &[]).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }

    #[test]
    fn overrides_set_any_value() {
        let recipe =
            parse(RECIPE, &["train.epochs=7", "data.ner.train=/a/b.txt", "encoder.checkpoint=x/y", "name=other"]);
        let recipe = recipe.unwrap();
        assert_eq!((recipe.train.epochs, recipe.name.as_str()), (7, "other"));
        assert_eq!(recipe.data["ner"].train, Files::from("/a/b.txt"));
        let values = ["train.best=ner", "data.ner.validation=x", "train.max_steps=3", "tasks.ner.loss_weight=2"];
        assert!(parse(RECIPE, &values).is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_all_known_ones_and_what_was_meant() {
        for (old, new, place, hint) in [
            (
                "epochs",
                "epoch",
                "tiny.toml:11:1: unknown key `epoch` in [train]; known: epochs,",
                "did you mean `epochs`?",
            ),
            ("epochs", "num_train_epochs", "tiny.toml:11:1: unknown key `num_train_epochs`", "`train.epochs` here"),
            ("epochs", "batch_size", "tiny.toml:11:1", "it stands elsewhere: `tasks.ner.batch_size`"),
            ("epochs", "seed", "tiny.toml:11:1", "`seed` stands at the top of a recipe"),
            (
                "epochs",
                "dropout",
                "tiny.toml:11:1",
                "elsewhere: `encoder.dropout`, `encoder.lora.dropout`, `sharing.dropout`, `tasks.ner.dropout`",
            ),
            (
                "epochs",
                "early_stopping_patience",
                "tiny.toml:11:1",
                "called `train.patience` here; a number of evaluations",
            ),
            ("epochs", "min_delta", "tiny.toml:11:1", "there is no `min_delta`: any gain counts"),
            ("epochs", "device", "tiny.toml:11:1", "there is no `device`: polyhead"),
            ("epochs", "max_lenght", "tiny.toml:11:1", "did you mean `tasks.ner.max_length`?"),
            ("epochs", "colour", "keep_optimizer, diagnostics_every, max_steps", "none"),
            ("name =", "epochs =", "tiny.toml:2:1: unknown key `epochs` at the top", "elsewhere: `train.epochs`"),
            ("checkpoint", "model_name_or_path", "tiny.toml:4:1", "called `encoder.checkpoint` here"),
            ("train =", "train_file =", "tiny.toml:9:1: unknown key `train_file` in [data.ner]", "`data.ner.train`"),
        ] {
            let message = failure(&RECIPE.replacen(old, new, 1), &[]);
            assert!(message.contains(place) && message.contains(hint), "{new}: {message}");
        }
    }

    #[test]
    fn an_override_that_is_at_fault_is_named_and_no_other() {
        let others = ["seed=1", "output=x", "train.warmup=0.2"];
        for (pair, what, hint) in [
            ("train.lerning_rate=1", "unknown key `lerning_rate` in [train]", "did you mean `learning_rate`?"),
            ("train.lr=1", "unknown key `lr` in [train]", "called `train.learning_rate` here"),
            ("batch_size=8", "unknown key `batch_size` at the top", "elsewhere: `tasks.ner.batch_size`"),
            ("data.nre.train=x", "data.nre: expected the data of a task, found no task `nre`", "did you mean `ner`?"),
            (
                "tasks.nre.batch_size=2",
                "tasks.nre: expected its data, as [data.nre], found nothing",
                "did you mean `ner`?",
            ),
            ("data.ner.limit=many", "data.ner.limit: expected a whole number of at least 0, found \"many\"", "none"),
            ("train.precision=fp32", "train.precision: expected one of auto, f32, bf16, found \"fp32\"", "none"),
            ("train.epochs=0", "train.epochs: expected at least 1, found 0", "none"),
            ("train=3", "train: expected a table, found 3", "none"),
        ] {
            let message = failure(RECIPE, &[&others[..], &[pair]].concat());
            assert!(message.starts_with(&format!("--set {pair}: {what}")), "{message}");
            assert!(message.contains(hint), "{message}");
            assert!(others.iter().all(|other| !message.contains(other)), "{message}");
        }
        // What the file has wrong is the file's, overrides or not.
        let message = failure(&RECIPE.replace("epochs", "epoch"), &others);
        assert!(message.starts_with("tiny.toml:11:1: unknown key `epoch`"), "{message}");
    }

    #[test]
    fn a_value_that_is_none_is_reported_where_it_stands() {
        for (old, new, what) in [
            (
                "epochs = 2",
                "epochs = \"2\"",
                "tiny.toml:11:1: train.epochs: expected a whole number of at least 0, found \"2\"",
            ),
            ("epochs = 2", "epochs = 0", "tiny.toml:11:1: train.epochs: expected at least 1"),
            ("epochs = 2", "warmup = 500", "tiny.toml:11:1: train.warmup: expected a share from 0 to 1, found 500"),
            ("epochs = 2", "padding = \"long\"", "tiny.toml:11:1: train.padding: expected one of packed, longest, max"),
            (
                "batch_size = 8",
                "batch_size = \"8\"",
                "tiny.toml:6:1: tasks.ner.batch_size: expected a whole number from",
            ),
            ("checkpoint = \"somewhere\"", "", "tiny.toml:3:2: encoder.checkpoint: expected the pretrained encoder"),
            ("name = \"tiny\"", "", "tiny.toml: name: expected the name of the run"),
            ("[data.ner]", "[data.nre]", "tiny.toml:8:7: data.nre: expected the data of a task"),
            (
                "train =",
                "columns = { tag = 2 }\ntrain =",
                "tiny.toml:9:1: data.ner.columns.word: expected a column, counted",
            ),
            ("name = \"tiny\"", "name = tiny", "tiny.toml:2:8: "),
            ("[tasks.ner]", "[tasks.NER]", "tiny.toml:5:8: tasks.NER: expected a name of lower-case"),
        ] {
            let message = failure(&RECIPE.replacen(old, new, 1), &[]);
            assert!(message.starts_with(what), "{new}: {message}");
        }
        let inline = "name = \"x\"\nencoder = { checkpoint = 3 }\ntasks.ner.batch_size = 4\ndata.ner.train = \"x\"\n";
        assert!(failure(inline, &[]).starts_with("tiny.toml:2:13: encoder.checkpoint: expected a string, found 3"));
    }

    fn opened(text: &str, overrides: &[&str]) -> String {
        let recipe = parse(text, overrides).unwrap();
        let task = recipe.tasks().unwrap().remove(0);
        let error = recipe.open_task(crate::tasks::TASKS, &task).err().unwrap();
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    }

    #[test]
    fn what_a_task_does_not_read_is_refused_as_any_other_key() {
        for (new, what, hint) in [
            (
                "max_lenght = 64",
                "tiny.toml:7:1: unknown key `max_lenght` in [tasks.ner]; known: kind, batch_size, loss_weight, max_length,",
                "did you mean `max_length`?",
            ),
            (
                "max_seq_length = 64",
                "tiny.toml:7:1: unknown key `max_seq_length`",
                "called `tasks.ner.max_length` here",
            ),
            ("epochs = 3", "tiny.toml:7:1: unknown key `epochs`", "elsewhere: `train.epochs`"),
            ("train = \"x\"", "tiny.toml:7:1: unknown key `train`", "elsewhere: `data.ner.train`"),
            ("n_best = 3", "tiny.toml:7:1: unknown key `n_best`", "elsewhere: `tasks.NAME.n_best`"),
            (
                "max_length = \"64\"",
                "tiny.toml:7:1: tasks.ner.max_length: expected a whole number of at least 0, found \"64\"",
                "none",
            ),
            ("max_length = 1", "tiny.toml:7:1: tasks.ner.max_length: expected at least 3 tokens, found 1", "none"),
            ("labels = [\"O\", 1]", "tiny.toml:7:1: tasks.ner.labels: expected a string, found a list", "none"),
        ] {
            let message = opened(&RECIPE.replace("max_length = 64", new), &[]);
            assert!(message.starts_with(what) && message.contains(hint), "{new}: {message}");
        }
        let message = opened(RECIPE, &["tasks.ner.stirde=8"]);
        assert!(message.starts_with("--set tasks.ner.stirde=8: unknown key `stirde`"), "{message}");
        assert!(message.ends_with("did you mean `stride`?"), "{message}");
    }

    #[test]
    fn a_task_whose_name_is_no_kind_is_asked_for_its_kind() {
        let people = RECIPE.replace(".ner]", ".people]");
        let message = opened(&people, &[]);
        let kinds: Vec<&str> = crate::tasks::TASKS.iter().map(|kind| kind.kind).collect();
        let expected = format!("tiny.toml:5:8: tasks.people.kind: expected one of {}, found nothing", kinds.join(", "));
        assert!(message.starts_with(&expected), "{message}");
        let keys: Vec<String> = kinds.iter().map(|kind| format!("kind = \"{kind}\"")).collect();
        assert!(message.ends_with(&format!("add {} to [tasks.people]", keys.join(" or "))), "{message}");
        let squad = RECIPE.replace(".ner]", ".squad]");
        assert!(opened(&squad, &[]).ends_with("add kind = \"qa\" to [tasks.squad]"));
        for (kind, near) in
            [("token-classification", "did you mean `ner`?"), ("nre", "did you mean `ner`?"), ("x", "none")]
        {
            let message = opened(&people, &[&format!("tasks.people.kind={kind}")]);
            assert!(
                message.starts_with(&format!("--set tasks.people.kind={kind}: tasks.people.kind: expected one of")),
                "{message}"
            );
            assert!(message.ends_with(near), "{message}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (pair, what) in [
            ("train.epochs=0", "train.epochs: expected at least 1"),
            ("train.learning_rate=-1", "train.learning_rate"),
            ("train.warmup=1.5", "train.warmup"),
            ("train.sample=roundrobin", "did you mean `round_robin`"),
            ("train.mix=roundrobin", "did you mean `round_robin`"),
            (
                "train.sample={ name = \"temperature\", temp = 3 }",
                "unknown key `temp` in [train.sample]; known: name, temperature, cap",
            ),
            (
                "train.sample={ name = \"temperature\", temperature = 0 }",
                "train.sample.temperature: expected a number of at least 0.001, found 0",
            ),
            ("train.sample={ temperature = 2 }", "expected a name, or a table with a name"),
            ("train.balance=uncertain", "did you mean `uncertainty`"),
            ("train.accumulate=0", "train.accumulate: expected at least 1"),
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
        assert!(failure("", &[]).contains("tiny.toml: name: expected the name of the run"));
    }
}
