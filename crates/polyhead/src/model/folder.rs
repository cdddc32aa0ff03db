//! Model folders in Hugging Face layout: `config.json`, `model.safetensors`, the tokenizer's files, a model card.
//!
//! The encoder's tensors keep the names that transformers gives them (`BertModel`), so `AutoModel.from_pretrained` loads the folder as
//! an encoder; the heads are `heads.{task}. ...` beside them, and the field `polyhead` of `config.json` says what they
//! are. Folders of single-task models of transformers load too; `export.rs` of the crate writes them.

use super::about::forget_paths;
use super::{Model, NamedTask, Provenance, card};
use crate::encoders::{EncoderKind, EncoderOverrides, Vocabulary};
use crate::error::{Error, Place, Result};
use crate::hub::{OPTIONAL, TOKENIZER, model_folder, no_model, no_tokenizer};
use crate::io::{write_atomic, write_folder_atomic};
use crate::parameters::{Heads, Lora, Weights, write_tensors};
use crate::sharing;
use crate::strategy::Strategy;
use crate::tasks::{SingleTaskFolder, TaskKind};
use crate::text::Tokenizer;
use crate::text::vocabulary;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The field `polyhead` of `config.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Polyhead {
    version: String,
    pub(super) tasks: Vec<SavedTask>,
    /// The low-rank additions whose tensors stand beside those of the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lora: Option<Lora>,
    /// What of its encoder the tasks share, if not all of it.
    #[serde(default = "sharing::hard", skip_serializing_if = "is_hard")]
    pub(super) sharing: Strategy,
    /// Where its weights are in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) int8: Option<SavedInt8>,
    #[serde(flatten)]
    pub(super) about: Provenance,
}

fn is_hard(sharing: &Strategy) -> bool {
    *sharing == sharing::hard()
}

/// The linear layers of an encoder multiply bytes, but for these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SavedInt8 {
    pub(super) kept: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedTask {
    pub(super) name: String,
    pub(super) kind: String,
    config: Value,
}

impl Polyhead {
    /// Takes it out of a `config.json` (the path is for errors), if it is there.
    pub(super) fn take(config: &mut Value, path: &Path) -> Result<Option<Self>> {
        let ours = config.as_object_mut().and_then(|fields| fields.shift_remove("polyhead"));
        let read = |ours| {
            serde_json::from_value::<Self>(ours).map_err(|cause| {
                Error::data(format!("not what this version writes: {cause}")).at(Place::field(path, "polyhead"))
            })
        };
        ours.map(read).transpose()
    }
}

impl SavedTask {
    pub(super) fn open(self, kinds: &[TaskKind], path: &Path) -> Result<NamedTask> {
        let at = || Place::field(path, "polyhead");
        let Self { name, kind, config } = self;
        let kind = kinds
            .iter()
            .find(|known| known.kind == kind)
            .ok_or_else(|| Error::data(format!("the task `{name}` is of the unknown kind `{kind}`")).at(at()))?;
        let task = (kind.open)(config).map_err(|error| error.at_least(at()))?;
        Ok(NamedTask { name, task })
    }
}

/// Reads a `config.json`.
pub fn read_config(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
    serde_json::from_str(&text).map_err(|cause| {
        Error::data(format!("not valid JSON: {cause}")).at(Place::column(path, cause.line(), cause.column()))
    })
}

/// The files of a tokenizer.
pub(super) struct TokenizerFiles {
    /// `tokenizer.json` first (where a checkpoint has none, made of its vocabulary), then what stands beside it, as it is.
    pub files: Vec<(String, Vec<u8>)>,
    /// What the first was read from.
    pub made_of: PathBuf,
}

impl TokenizerFiles {
    /// Those of a folder with this `config.json`.
    pub fn read(folder: &Path, config: &Value) -> Result<Self> {
        let path = folder.join(TOKENIZER);
        let (first, made_of) = match std::fs::read(&path) {
            Ok(bytes) => (bytes, path),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => make_tokenizer(folder, config)?,
            Err(cause) => return Err(Error::reading(&path, cause)),
        };
        let mut files = vec![(TOKENIZER.to_owned(), first)];
        for name in OPTIONAL {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => files.push((name.to_owned(), bytes)),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(Error::reading(&path, cause)),
            }
        }
        Ok(Self { files, made_of })
    }

    /// The tokenizer, for an encoder that reads how words are written or one that does not.
    pub fn tokenizer(&self, reads_case: bool) -> Result<Tokenizer> {
        let bytes = self.files.first().map_or(&[][..], |(_, bytes)| bytes);
        Ok(Tokenizer::from_bytes(bytes, &self.made_of)?.with_case(reads_case))
    }
}

/// A `tokenizer.json` of the vocabulary that a folder has in place of it, with the file that holds that.
fn make_tokenizer(folder: &Path, config: &Value) -> Result<(Vec<u8>, PathBuf)> {
    let kind = EncoderKind::of(&folder.join("config.json"), config)?;
    match kind.vocabulary.filter(|vocabulary| vocabulary.is_in(folder)) {
        Some(Vocabulary::WordPiece) => Ok((vocabulary::word_piece(folder)?, folder.join("vocab.txt"))),
        Some(Vocabulary::ByteLevelBpe) => Ok((vocabulary::byte_level_bpe(folder)?, folder.join("vocab.json"))),
        None => Err(no_tokenizer(|name| folder.join(name).is_file()).at(Place::file(folder))),
    }
}

impl Model {
    /// Loads a model folder of ours, or of a single task as transformers writes it; `kinds` are the known tasks.
    ///
    /// A run folder is taken for its best model.
    pub fn load(folder: &Path, kinds: &[TaskKind]) -> Result<Self> {
        Self::load_adjusted(folder, kinds, &EncoderOverrides::default())
    }

    /// The same with what may be changed about the encoder.
    pub fn load_adjusted(folder: &Path, kinds: &[TaskKind], adjust: &EncoderOverrides) -> Result<Self> {
        let folder = &model_folder(folder);
        if !folder.is_dir() {
            return Err(Error::missing("expected a model folder, found none")
                .at(Place::file(folder))
                .hint("`polyhead train RECIPE` makes one: RUN/best"));
        }
        if !folder.join("config.json").exists() && folder.join("recipe.toml").is_file() {
            return Err(no_model(folder));
        }
        let path = folder.join("config.json");
        let mut config = read_config(&path)?;
        let naming = EncoderKind::of(&path, &config)?.naming;
        let mut weights = Weights::read(&folder.join("model.safetensors"), naming, Heads::Stored, &Device::Cpu)?;
        let (tasks, lora, sharing, int8, about) = match Polyhead::take(&mut config, &path)? {
            Some(Polyhead { tasks, lora, sharing, int8, about, .. }) => {
                let tasks = tasks.into_iter().map(|task| task.open(kinds, &path));
                (tasks.collect::<Result<Vec<_>>>()?, lora, sharing, int8, about)
            }
            None => {
                let task = import(&path, &config, kinds, &mut weights)?;
                (vec![task], None, sharing::hard(), None, Provenance::default())
            }
        };
        let int8 = adjust.int8.resolved(int8.as_ref().map(|int8| &int8.kept));
        let adjust = EncoderOverrides { lora, sharing, int8, ..adjust.clone() };
        // Said of a recipe elsewhere.
        let of_lora = |error: Error| match error.to_string().strip_prefix("encoder.lora.") {
            Some(message) => Error::data(message).at(Place::field(&path, "polyhead.lora")),
            None => error,
        };
        Ok(Self::assemble(folder, config, about, tasks, &adjust, weights).map_err(of_lora)?.0)
    }

    /// The task that a single-task model of transformers has, by its `config.json`; its tensors then have the names of a head of ours.
    ///
    /// # Errors
    /// Its class is none that is known, or its head is of another form than here.
    pub(crate) fn imported_task(
        path: &Path,
        config: &Value,
        kinds: &[TaskKind],
        weights: &mut Weights,
    ) -> Result<NamedTask> {
        import(path, config, kinds, weights)
    }

    /// The model of an encoder's folder, with tasks whose tensors stand beside those of the encoder.
    ///
    /// # Errors
    /// They do not fit, or the folder has no tokenizer.
    pub(crate) fn of_parts(
        folder: &Path,
        config: Value,
        about: Provenance,
        tasks: Vec<NamedTask>,
        adjust: &EncoderOverrides,
        weights: Weights,
    ) -> Result<Self> {
        Ok(Self::assemble(folder, config, about, tasks, adjust, weights)?.0)
    }

    /// Writes the model folder, whole or not at all. An existing folder is replaced.
    pub fn save(&self, folder: &Path) -> Result<()> {
        write_folder_atomic(folder, |folder| self.save_into(folder))
    }

    /// Writes the files of the model folder into a folder that is being built.
    pub(crate) fn save_into(&self, folder: &Path) -> Result<()> {
        self.save_tensors(folder, self.lora.as_ref(), self.parameters.merged(None)?)
    }

    /// Writes the folder of the same model without LoRA: its additions are merged into the weights of the linear layers.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn save_merged(&self, folder: &Path) -> Result<()> {
        let tensors = self.parameters.merged(self.lora.as_ref())?;
        write_folder_atomic(folder, |folder| self.save_tensors(folder, None, tensors))
    }

    fn save_tensors(&self, folder: &Path, lora: Option<&Lora>, tensors: Vec<(String, Tensor)>) -> Result<()> {
        self.parameters.check_finite()?;
        self.write(folder, self.config_with_tasks(lora, None), &tensors, card::model_card(self, lora))
    }

    /// `config.json` with what the heads are, the encoder's additions, and for an encoder in bytes the layers that are kept.
    pub(crate) fn config_with_tasks(&self, lora: Option<&Lora>, kept: Option<&BTreeSet<String>>) -> Value {
        let tasks = self.tasks.iter().map(|NamedTask { name, task }| SavedTask {
            name: name.clone(),
            kind: task.kind().to_owned(),
            config: task.config(),
        });
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let int8 = kept.map(|kept| SavedInt8 { kept: kept.clone() });
        let (sharing, about) = (self.sharing.clone(), self.about.clone());
        let ours = Polyhead { version, tasks: tasks.collect(), lora: lora.cloned(), sharing, int8, about };
        let mut config = self.config.clone();
        if let Some(fields) = config.as_object_mut() {
            fields.insert("architectures".into(), json!([self.architecture("Model")]));
            // Those of a head that the checkpoint had.
            for name in ["id2label", "label2id", "num_labels"] {
                fields.shift_remove(name);
            }
            // The first task with labels names the model's outputs for tools that look for them.
            if let Some(labels) = self.tasks.iter().map(|task| task.task.labels()).find(|labels| !labels.is_empty()) {
                let pairs = || labels.iter().enumerate();
                fields.insert(
                    "id2label".into(),
                    pairs().map(|(id, l)| (id.to_string(), json!(l))).collect::<Map<_, _>>().into(),
                );
                fields.insert(
                    "label2id".into(),
                    pairs().map(|(id, l)| (l.clone(), json!(id))).collect::<Map<_, _>>().into(),
                );
            }
            fields.insert("polyhead".into(), json!(ours));
        }
        config
    }

    pub(crate) fn write(&self, folder: &Path, config: Value, tensors: &[(String, Tensor)], card: String) -> Result<()> {
        self.write_beside(folder, config, card)?;
        write_tensors(&folder.join("model.safetensors"), tensors)
    }

    /// Writes what stands beside weights: `config.json`, the tokenizer's files, a model card.
    pub(crate) fn write_beside(&self, folder: &Path, mut config: Value, card: String) -> Result<()> {
        let model_type = EncoderKind::of(&folder.join("config.json"), &config)?.name_in(&config).model_type;
        if let Some(fields) = config.as_object_mut() {
            // Without it transformers does not know what the folder is.
            fields.insert("model_type".into(), json!(model_type));
            forget_paths(fields);
            // transformers would load the weights, f32 now, in the precision that the first checkpoint had.
            for name in ["dtype", "torch_dtype"] {
                if let Some(dtype) = fields.get_mut(name) {
                    *dtype = json!("float32");
                }
            }
        }
        write_atomic(folder.join("config.json"), format!("{config:#}\n"))?;
        for (name, bytes) in &self.files {
            match without_paths(name, bytes) {
                Some(bytes) => write_atomic(folder.join(name), bytes)?,
                None => write_atomic(folder.join(name), bytes)?,
            }
        }
        write_atomic(folder.join("README.md"), card)
    }

    /// The class of transformers for this encoder: `BertModel`, `BertForTokenClassification`.
    pub(crate) fn architecture(&self, ending: &str) -> String {
        let kind = EncoderKind::of(Path::new("config.json"), &self.config);
        format!("{}{ending}", kind.map_or("", |kind| kind.name_in(&self.config).class))
    }
}

/// The notes of Python beside a tokenizer without paths of the machine that made them; none where there are no such paths.
fn without_paths(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    if name != "tokenizer_config.json" {
        return None;
    }
    let mut config: Value = serde_json::from_slice(bytes).ok()?;
    let changed = config.as_object_mut().map_or(0, forget_paths);
    (changed > 0).then(|| format!("{config:#}\n").into_bytes())
}

/// The task that a single-task model of transformers has, by its `config.json`; its tensors then have the names of a head of ours.
fn import(path: &Path, config: &Value, kinds: &[TaskKind], weights: &mut Weights) -> Result<NamedTask> {
    let architecture = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or("none").to_owned();
    let single = SingleTaskFolder { architecture, config: config.clone() };
    for kind in kinds {
        if let Some(task) = (kind.import)(&single, weights) {
            let task = task.map_err(|error| error.at_least(Place::file(path)))?;
            return Ok(NamedTask { name: kind.kind.to_owned(), task });
        }
    }
    let message = format!("expected a model of polyhead or a single-task model, found `{}`", single.architecture);
    Err(Error::data(message)
        .at(Place::field(path, "architectures"))
        .hint("a bare encoder has no heads to use: name it as `encoder.checkpoint` in a recipe and train"))
}
