//! Folders of PEFT as a model: each becomes a task, with its additions and its head beside the encoder that all of them belong to.
//!
//! ```text
//! ner/adapter_model.safetensors  base_model.model.bert.encoder...query.lora_A.weight  ->  private.ner.encoder...query.lora_A.weight
//!                                base_model.model.classifier.weight                   ->  heads.ner.weight
//! qa/adapter_model.safetensors   ...                                                  ->  private.qa. ..., heads.qa. ...
//! ```
//!
//! A model has one rank, scale and choice of layers. Where folders differ, the largest rank and all layers are taken: what a folder does not have are
//! zeros, and its scale is multiplied into B.

use super::{CONFIG, Config, TASK_TYPES, TENSORS};
use crate::encoders::{EncoderKind, EncoderOverrides};
use crate::error::{Error, Place, Result};
use crate::model::{Model, NamedTask, Provenance, read_config};
use crate::parameters::{Heads, Lora, Weights, private_prefix, without_number};
use crate::strategy::Strategy;
use crate::tasks::TaskKind;
use candle_core::{Device, Tensor};
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

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

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
        let switches = [("use_dora", self.use_dora), ("fan_in_fan_out", self.fan_in_fan_out)];
        if let Some((field, _)) = switches.into_iter().find(|(_, is_on)| *is_on) {
            return fault(field, "false", "true".to_owned());
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

/// The additions of a task, and its head.
struct Part {
    task: NamedTask,
    /// By layer: A `[rank, in]`, B `[out, rank]`, what they count.
    layers: BTreeMap<String, (Tensor, Tensor, f64)>,
    head: Vec<(String, Tensor)>,
    config: Config,
}

/// Reads folders of PEFT that belong to one encoder as a model of that encoder, in which each task has low-rank additions of its own.
///
/// # Errors
/// A folder has what is computed in another way here, does not fit the encoder, or has no head of a known kind; two tasks have one name.
pub fn read(base: &Path, folders: &[Folder], kinds: &[TaskKind]) -> Result<Model> {
    let path = base.join("config.json");
    let mut config = read_config(&path)?;
    if config.get("polyhead").is_some() {
        return Err(Error::usage("expected an encoder of transformers, found a model of polyhead")
            .at(Place::file(base))
            .hint("`polyhead export MODEL --adapter DIR --base BASE` writes the encoder of such a model"));
    }
    let kind = EncoderKind::of(&path, &config)?;
    let mut weights = Weights::read(&base.join("model.safetensors"), kind.naming, Heads::Stored, &Device::Cpu)?;
    let parts = folders.iter().map(|folder| Part::read(folder, kind, &config, &weights, kinds));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let lora = settings(&parts, &weights)?;
    let named: BTreeSet<&String> = parts.iter().flat_map(|part| part.layers.keys()).collect();
    let named: BTreeMap<String, [usize; 2]> = named
        .into_iter()
        .map(|layer| {
            let dims = weights.dims(&format!("{layer}.weight"));
            let Some(&[outer, inner]) = dims else {
                return Err(Error::data(format!("expected a linear layer `{layer}` in the encoder, found none"))
                    .at(Place::file(base))
                    .hint("is this the encoder that the folder was trained with?"));
            };
            Ok((layer.clone(), [outer, inner]))
        })
        .collect::<Result<_>>()?;
    let mut tasks = Vec::new();
    for part in parts {
        for (layer, &[outer, inner]) in &named {
            let (a, b) = match part.layers.get(layer) {
                Some((a, b, scale)) => {
                    let fits = a.dims().get(1) == Some(&inner) && b.dims().first() == Some(&outer);
                    if !fits || a.dims().first() != b.dims().get(1) {
                        let (name, a, b) = (&part.task.name, a.dims(), b.dims());
                        return Err(Error::data(format!(
                            "{name}: expected an addition to `{layer}` [{outer}, {inner}], found A {a:?} and B {b:?}"
                        )));
                    }
                    let rank = a.dim(0)?;
                    let b = (b * (scale / lora.scale()))?;
                    (a.pad_with_zeros(0, 0, lora.rank - rank)?, b.pad_with_zeros(1, 0, lora.rank - rank)?.contiguous()?)
                }
                None => {
                    let zeros = |dims: [usize; 2]| Tensor::zeros(&dims, candle_core::DType::F32, &Device::Cpu);
                    (zeros([lora.rank, inner])?, zeros([outer, lora.rank])?)
                }
            };
            for (end, tensor) in [(A, a), (B, b)] {
                weights.put(&format!("{}{layer}{end}", private_prefix(&part.task.name)), tensor);
            }
        }
        part.head.into_iter().for_each(|(name, tensor)| weights.put(&name, tensor));
        tasks.push(part.task);
    }
    if let Some(fields) = config.as_object_mut() {
        fields.insert("architectures".into(), json!([]));
    }
    let options = toml::Table::try_from(&lora).map_err(|cause| Error::data(cause.to_string()))?;
    let sharing = Strategy { name: "lora".to_owned(), options };
    let adjust = EncoderOverrides { sharing, ..EncoderOverrides::default() };
    Model::of_parts(base, config, Provenance::default(), tasks, &adjust, weights)
}

/// One choice of rank, scale and layers that holds what all parts have.
fn settings(parts: &[Part], weights: &Weights) -> Result<Lora> {
    let ranks =
        parts.iter().flat_map(|part| part.layers.values()).map(|(a, ..)| a.dims().first().copied().unwrap_or(0));
    let rank = ranks.max().unwrap_or(0);
    let layers: BTreeSet<&str> = parts.iter().flat_map(|part| part.layers.keys()).map(String::as_str).collect();
    // `query` says it shortly, if it names no other layer.
    let matrices: Vec<&str> = weights.matrices().filter_map(|name| name.strip_suffix(".weight")).collect();
    let ends_so = |layer: &str, end: &str| layer.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    let mut targets: Vec<String> = Vec::new();
    for layer in &layers {
        let end = without_number(layer);
        let names_others = matrices.iter().any(|other| ends_so(other, end) && !layers.contains(other));
        let target = if names_others { (*layer).to_owned() } else { end.to_owned() };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let own = |config: &Config| (config.r, config.lora_alpha.to_bits(), config.use_rslora);
    let first = parts.first().map(|part| own(&part.config));
    let is_one = parts.iter().all(|part| Some(own(&part.config)) == first && part.config.rank_pattern.is_empty());
    let dropout = parts.iter().map(|part| part.config.lora_dropout).fold(0.0, f64::max);
    let lora = Lora { rank, alpha: rank as f64, rslora: false, dropout, targets: Some(targets) };
    Ok(match parts.first() {
        Some(Part { config, .. }) if is_one && config.r == rank => {
            Lora { alpha: config.lora_alpha, rslora: config.use_rslora, ..lora }
        }
        _ => lora,
    })
}

impl Part {
    fn read(folder: &Folder, kind: &EncoderKind, config: &Value, base: &Weights, kinds: &[TaskKind]) -> Result<Self> {
        let said = config_of(&folder.path)?;
        let file = folder.path.join(TENSORS);
        let mut weights = Weights::read(&file, kind.naming, Heads::Stored, &Device::Cpu)?;
        let mut layers = BTreeMap::new();
        let found: Vec<String> = weights.matrices().filter_map(|name| Some(name.strip_suffix(A)?.to_owned())).collect();
        for layer in found {
            let [a, b] = [A, B].map(|end| weights.take(&format!("{layer}{end}")));
            let (Some(a), Some(b)) = (a, b) else {
                let message = "expected B beside it, found none";
                return Err(Error::data(message).at(Place::tensor(&file, format!("{layer}{A}"))));
            };
            let scale = said.scale(a.dim(0)?);
            layers.insert(layer, (a, b, scale));
        }
        if layers.is_empty() {
            return Err(Error::data("expected low-rank additions (tensors `...lora_A.weight`), found none")
                .at(Place::file(&file)));
        }
        // A pooler belongs to the head here; PEFT leaves it with the encoder.
        for (name, tensor) in base.of_part("pooler.") {
            if !weights.holds(name) {
                weights.put(name, tensor.clone());
            }
        }
        let task = head(folder, &said, kind, config, kinds, &mut weights)?;
        let left: Vec<String> =
            weights.names().filter(|name| !name.starts_with("pooler.")).map(str::to_owned).collect();
        let prefix = format!("heads.{}.", task.name);
        let (head, other): (Vec<_>, Vec<_>) = left.into_iter().partition(|name| name.starts_with(&prefix));
        if let Some(other) = other.first() {
            return Err(Error::data("a tensor that is no part of LoRA and no part of the head")
                .at(Place::tensor(&file, other))
                .hint(
                    "merge it with PEFT (`merge_and_unload`), and import the folder of transformers that this makes",
                ));
        }
        let head = head.into_iter().filter_map(|name| Some((name.clone(), weights.take(&name)?))).collect();
        Ok(Self { task, layers, head, config: said })
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
