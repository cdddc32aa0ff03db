//! Folders of PEFT as a model: each becomes a task, with its additions and its head beside the encoder that all of them belong to.
//!
//! ```text
//! ner/adapter_model.safetensors  base_model.model.bert.encoder...query.lora_A.weight  ->  private.ner.encoder...query.lora_A.weight
//!                                base_model.model.classifier.weight                   ->  heads.ner.weight
//! qa/adapter_model.safetensors   ...                                                  ->  private.qa. ..., heads.qa. ...
//! ```

use super::parts::{A, Addition, B, LENGTHS, Part, Parts, targets};
use super::{CONFIG, Config, TASK_TYPES, TENSORS};
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::model::{Model, NamedTask, Provenance, read_config};
use crate::parameters::{Heads, Lora, Weights};
use crate::tasks::TaskKind;
use candle_core::Device;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A folder of PEFT that is to become a task.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The name of the task; the kind's if it is left out.
    pub task: Option<String>,
    /// The labels of its head in order, which PEFT does not store; those of the encoder's `config.json` if they are left out and fit.
    pub labels: Option<Vec<String>>,
}

/// The encoder that a folder says it belongs to, `NAME` or `NAME@REVISION`.
///
/// # Errors
/// The folder can't be read, or names none.
pub fn base_of(folder: &Path) -> Result<String> {
    let config = config_of(folder)?;
    match (config.base_model_name_or_path, config.revision) {
        (Some(name), Some(revision)) if !name.is_empty() => Ok(format!("{name}@{revision}")),
        (Some(name), None) if !name.is_empty() => Ok(name),
        _ => Err(Error::data("expected the encoder that it belongs to, found none")
            .at(Place::field(folder.join(CONFIG), "base_model_name_or_path"))
            .hint("--base names it: a folder, or a name on the Hub")),
    }
}

fn config_of(folder: &Path) -> Result<Config> {
    let path = folder.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
    let config: Config = serde_json::from_str(&text).map_err(|cause| {
        Error::data(format!("not a configuration of PEFT: {cause}")).at(Place::column(
            &path,
            cause.line(),
            cause.column(),
        ))
    })?;
    config.check().map_err(|error| error.at_least(Place::file(&path)))?;
    Ok(config)
}

impl Config {
    /// Refuses what is computed in another way here.
    fn check(&self) -> Result<()> {
        let fault = |field: &str, expected: &str, found: String| {
            Err(Error::data(format!("`{field}`: expected {expected}, found {found}"))
                .hint("merge it with PEFT (`merge_and_unload`), and import the folder of transformers that this makes"))
        };
        if self.peft_type != "LORA" {
            return fault("peft_type", "LORA", self.peft_type.clone());
        }
        if self.bias != "none" {
            return fault("bias", "none", self.bias.clone());
        }
        if self.fan_in_fan_out {
            return fault("fan_in_fan_out", "false", "true".to_owned());
        }
        if !self.alpha_pattern.is_empty() {
            return fault("alpha_pattern", "one alpha for all layers", json!(self.alpha_pattern).to_string());
        }
        Ok(())
    }

    /// What an addition of this rank counts.
    fn scale(&self, rank: usize) -> f64 {
        let rank = rank as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// Reads folders of PEFT that belong to one encoder as a model of that encoder, in which each task has low-rank additions of its own.
///
/// # Errors
/// A folder has what is computed in another way here, does not fit the encoder, or has no head of a known kind; two tasks have one name.
pub fn read(base: &Path, folders: &[Folder], kinds: &[TaskKind]) -> Result<Model> {
    let path = base.join("config.json");
    let config = read_config(&path)?;
    if config.get("polyhead").is_some() {
        return Err(Error::usage("expected an encoder of transformers, found a model of polyhead")
            .at(Place::file(base))
            .hint("`polyhead export MODEL --adapter DIR --base BASE` writes the encoder of such a model"));
    }
    let naming = EncoderKind::of(&path, &config)?.naming;
    let encoder = Weights::read(&base.join("model.safetensors"), naming, Heads::Stored, &Device::Cpu)?;
    let (folder, about) = (base.to_owned(), Provenance::default());
    with(Parts { folder, config, encoder, tasks: Vec::new(), about }, folders, kinds)
}

/// The same with the encoder and the tasks of a model with LoRA, whose answers stay the same.
///
/// # Errors
/// The model has no LoRA; and those of [`read`].
pub fn added(model: &Path, folders: &[Folder], kinds: &[TaskKind]) -> Result<Model> {
    with(Parts::of_model(model, kinds)?, folders, kinds)
}

fn with(mut parts: Parts, folders: &[Folder], kinds: &[TaskKind]) -> Result<Model> {
    let kind = EncoderKind::of(&parts.folder.join("config.json"), &parts.config)?;
    for folder in folders {
        let part = Part::read(folder, kind, &parts.config, &parts.encoder, kinds)?;
        parts.tasks.push(part);
    }
    parts.into_model()
}

impl Part {
    fn read(
        folder: &Folder,
        kind: &EncoderKind,
        config: &Value,
        encoder: &Weights,
        kinds: &[TaskKind],
    ) -> Result<Self> {
        let said = config_of(&folder.path)?;
        let file = folder.path.join(TENSORS);
        let mut weights = Weights::read(&file, kind.naming, Heads::Stored, &Device::Cpu)?;
        let mut additions = BTreeMap::new();
        let layers: Vec<String> =
            weights.matrices().filter_map(|name| Some(name.strip_suffix(A)?.to_owned())).collect();
        for layer in layers {
            let [Some(a), Some(b)] = [A, B].map(|end| weights.take(&format!("{layer}{end}"))) else {
                let message = "expected B beside it, found none";
                return Err(Error::data(message).at(Place::tensor(&file, format!("{layer}{A}"))));
            };
            let scale = said.scale(a.dim(0)?);
            let lengths = weights.take(&format!("{layer}{LENGTHS}"));
            if lengths.is_some() != said.use_dora {
                let [expected, found] =
                    if said.use_dora { ["lengths of rows (DoRA)", "none"] } else { ["none", "some"] };
                return Err(Error::data(format!("expected {expected} beside it, found {found}"))
                    .at(Place::tensor(&file, format!("{layer}{LENGTHS}"))));
            }
            additions.insert(layer, Addition { a, b, scale, lengths });
        }
        if additions.is_empty() {
            return Err(Error::data("expected low-rank additions (tensors `...lora_A.weight`), found none")
                .at(Place::file(&file)));
        }
        // A pooler belongs to the head here; PEFT leaves it with the encoder.
        for (name, tensor) in encoder.of_part("pooler.") {
            if !weights.holds(name) {
                weights.put(name, tensor.clone());
            }
        }
        let task = head(folder, &said, kind, config, kinds, &mut weights)?;
        let left: Vec<String> =
            weights.names().filter(|name| !name.starts_with("pooler.")).map(str::to_owned).collect();
        let prefix = format!("heads.{}.", task.name);
        if let Some(other) = left.iter().find(|name| !name.starts_with(&prefix)) {
            return Err(Error::data("a tensor that is no part of LoRA and no part of the head")
                .at(Place::tensor(&file, other))
                .hint(
                    "merge it with PEFT (`merge_and_unload`), and import the folder of transformers that this makes",
                ));
        }
        let head = left.into_iter().filter_map(|name| Some((name.clone(), weights.take(&name)?))).collect();
        let layers: BTreeSet<&str> = additions.keys().map(String::as_str).collect();
        let made_with = said.rank_pattern.is_empty().then(|| Lora {
            rank: said.r,
            alpha: said.lora_alpha,
            rslora: said.use_rslora,
            dora: said.use_dora,
            dropout: said.lora_dropout,
            targets: Some(targets(&layers, encoder)),
        });
        Ok(Self { task, additions, head, made_with })
    }
}

/// The task of a folder, whose tensors then have the names of a head of ours.
fn head(
    folder: &Folder,
    said: &Config,
    kind: &EncoderKind,
    config: &Value,
    kinds: &[TaskKind],
    weights: &mut Weights,
) -> Result<NamedTask> {
    let path = folder.path.join(CONFIG);
    let task_type = said.task_type.as_deref().unwrap_or("none");
    let Some((_, class)) = TASK_TYPES.iter().find(|(known, _)| *known == task_type) else {
        let known: Vec<&str> = TASK_TYPES.iter().map(|(known, _)| *known).collect();
        return Err(Error::data(format!("expected one of {}, found {task_type}", known.join(", ")))
            .at(Place::field(&path, "task_type"))
            .hint("without a head it can't answer: PEFT saves one with task_type and modules_to_save"));
    };
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.insert("architectures".into(), json!([format!("{}{class}", kind.name.class)]));
        let said = fields.get("id2label").and_then(Value::as_object).map(serde_json::Map::len);
        let fits = |name: &str| name.ends_with(".bias") && said.is_some_and(|said| weights.dims(name) == Some(&[said]));
        if let Some(labels) = &folder.labels {
            let named = labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label)));
            fields.insert("id2label".into(), Value::Object(named.collect()));
        } else if !weights.names().any(fits) {
            ["id2label", "label2id", "num_labels"].into_iter().for_each(|name| _ = fields.shift_remove(name));
        }
    }
    let mut task = Model::imported_task(&path, &config, kinds, weights)?;
    if let Some(name) = &folder.task {
        weights.rename_head(&task.name, name);
        task.name.clone_from(name);
    }
    Ok(task)
}
