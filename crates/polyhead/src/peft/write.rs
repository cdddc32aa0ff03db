//! A task of a model with LoRA as a folder of PEFT, and the encoder that it belongs to as a folder of transformers.

use super::{CONFIG, Config, PREFIX, TASK_TYPES, TENSORS};
use crate::error::{Error, Place, Result};
use crate::export;
use crate::hub::SourceKind;
use crate::io::{write_atomic, write_folder_atomic};
use crate::model::{Model, NamedTask, card};
use crate::parameters::{Merged, Owner, holds, write_tensors};
use candle_core::Tensor;
use serde_json::json;
use std::path::Path;

/// The encoder that additions belong to, as those who load them find it.
pub struct Base {
    /// A folder, or a name on the Hub.
    pub name: String,
    /// The revision there.
    pub revision: Option<String>,
}

impl Base {
    /// The checkpoint that a model was trained from, if that is on the Hub and its encoder is still the same.
    pub fn of_source(model: &Model) -> Option<Self> {
        let source = model.about.source.as_ref()?;
        let is_there = matches!(source.kind, SourceKind::Hub | SourceKind::HubCache);
        let recipe: toml::Table = toml::from_str(model.about.recipe.as_ref()?).ok()?;
        let encoder = recipe.get("encoder")?.as_table()?;
        let whole = encoder.get("drop_layers").and_then(toml::Value::as_integer).unwrap_or(0) == 0;
        let name = encoder.get("checkpoint")?.as_str()?.to_owned();
        // A checkpoint with heads may have had additions of its own, which were merged.
        (is_there && whole && model.about.heads.is_empty()).then(|| Self { name, revision: source.revision.clone() })
    }
}

/// Writes the additions of one task and its head as a folder of PEFT.
///
/// # Errors
/// The model has no LoRA, transformers has no class for the task, or the folder can't be written.
pub fn write(model: &Model, task: &NamedTask, base: &Base, folder: &Path) -> Result<()> {
    let Some(lora) = model.lora.as_ref().or(model.private_lora.as_ref()) else {
        return Err(Error::usage("expected a model with LoRA, found one without: PEFT has no name for what it has")
            .hint("`sharing = \"lora\"` or [encoder.lora] in a recipe trains one; `--to DIR` writes any task for transformers"));
    };
    let single = export::as_single_task(model, task)?;
    let Some((task_type, _)) = TASK_TYPES.iter().find(|(_, class)| *class == single.task.architecture) else {
        let message = format!("PEFT has no type of task for `{}`", task.name);
        return Err(Error::usage(message));
    };
    let prefix = single.encoder.naming.prefix;
    let additions = model.parameters.encoder_of(&task.name, Merged::No)?.into_iter();
    let additions: Vec<(String, Tensor)> = additions.filter(|(name, _)| name.contains(".lora_")).collect();
    let head = task.task.export(single.encoder)?;
    // A module is saved whole: `classifier`, or the pooler before it.
    let mut saved: Vec<String> = Vec::new();
    for (name, _) in &head {
        let module = name.strip_prefix(prefix).unwrap_or(name).split('.').next().unwrap_or_default();
        if !saved.iter().any(|known| known == module) {
            saved.push(module.to_owned());
        }
    }
    let targets = lora.targets.clone().unwrap_or_default();
    // A target means every module whose name ends so: in a head, too. Whole names mean one.
    let in_head = |target: &String| head.iter().any(|(name, _)| name.contains(&format!("{target}.")));
    let layer = |name: &str| Some(format!("{prefix}{}", name.strip_suffix(".lora_A.weight")?));
    let whole = || additions.iter().filter_map(|(name, _)| layer(name)).collect();
    let targets: Vec<String> = if targets.iter().any(in_head) { whole() } else { targets };
    let config = Config {
        peft_type: "LORA".to_owned(),
        task_type: Some((*task_type).to_owned()),
        base_model_name_or_path: Some(base.name.clone()),
        revision: base.revision.clone(),
        r: lora.rank,
        lora_alpha: lora.alpha,
        lora_dropout: lora.dropout,
        use_rslora: lora.rslora,
        use_dora: lora.dora,
        target_modules: json!(targets),
        modules_to_save: Some(saved),
        inference_mode: true,
        ..Config::default()
    };
    let encoder = additions.into_iter().map(|(name, tensor)| (format!("{PREFIX}{prefix}{name}"), tensor));
    let head = head.into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor));
    let tensors: Vec<_> = encoder.chain(head).collect();
    write_folder_atomic(folder, |folder| {
        write_atomic(folder.join(CONFIG), format!("{:#}\n", json!(config)))?;
        write_atomic(folder.join("README.md"), card::peft_card(model, task, &single.task, &base.name))?;
        write_tensors(&folder.join(TENSORS), &tensors)
    })
}

/// Writes the encoder that all tasks of a model share, without additions and heads, as a folder of transformers. One that is there with the same
/// weights is left as it is.
///
/// # Errors
/// The folder is there with other weights, or can't be written.
pub fn write_base(model: &Model, folder: &Path) -> Result<()> {
    let shared = model.parameters.iter().filter(|parameter| parameter.owner == Owner::Encoder);
    let shared = shared.filter(|parameter| !parameter.name.contains(".lora_"));
    let shared = shared.map(|parameter| Ok((parameter.name.clone(), parameter.weight.tensor()?.clone())));
    let tensors: Vec<(String, Tensor)> = shared.collect::<Result<_>>()?;
    let file = folder.join("model.safetensors");
    if file.is_file() {
        return match holds(&file, &tensors)? {
            true => Ok(()),
            false => Err(Error::usage("expected the encoder of this model, found other weights")
                .at(Place::file(&file))
                .hint("name another folder")),
        };
    }
    let mut config = model.config().clone();
    if let Some(fields) = config.as_object_mut() {
        ["id2label", "label2id", "num_labels"].into_iter().for_each(|name| _ = fields.shift_remove(name));
        fields.insert("architectures".into(), json!([model.architecture("Model")]));
    }
    write_folder_atomic(folder, |folder| model.write(folder, config, &tensors, card::base_card(model)))
}
