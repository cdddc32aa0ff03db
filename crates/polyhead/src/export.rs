//! A model for other programs: single-task folders of transformers, ONNX, and a folder for browsers.
//!
//! ```text
//! single_task      DIR/config.json, model.safetensors, the tokenizer's files, README.md
//! single_onnx      DIR/model.onnx in place of model.safetensors: the layout of Optimum; and config.pbtxt, for Triton
//! all_heads_onnx   DIR/polyhead.onnx with all heads, config.json, the tokenizer's files, README.md,
//!                  and DIR/TASK/, as single_onnx writes it, of each task that transformers has a class for
//! for_browsers     DIR/polyhead.onnx, config.json, the tokenizer's files, README.md, and info.json: what a server says of a model;
//!                  and the page and the programs that answer with them
//! ```

use crate::encoders::{EncoderKind, HeadTransform};
use crate::error::{Error, Place, Result};
use crate::info::ModelInfo;
use crate::io::{write_atomic, write_folder_atomic};
use crate::model::{Model, NamedTask, card, case_embeddings};
use crate::onnx::{self, Format};
use crate::parameters::Merged;
use crate::tasks::SingleTask;
use serde_json::{Value, json};
use std::path::Path;

/// The file with all heads.
pub const ALL_HEADS: &str = "polyhead.onnx";
/// The file of one task, as Optimum names it.
pub const ONE_HEAD: &str = "model.onnx";
/// What Triton asks to know of either.
const TRITON: &str = "config.pbtxt";
/// What a folder for browsers says of its model, as `GET /info` of a server.
pub const INFO: &str = "info.json";

/// A task as a single-task model of transformers.
pub(crate) struct Described {
    /// Its class, and what that is for.
    pub task: SingleTask,
    /// `config.json` of that model.
    pub config: Value,
    /// How its encoder is built.
    pub encoder: &'static EncoderKind,
}

/// A task as a single-task model of transformers.
///
/// # Errors
/// transformers has no class for it, or would give the encoder other inputs.
pub(crate) fn as_single_task(model: &Model, task: &NamedTask) -> Result<Described> {
    described(model, task).ok_or_else(|| no_single_task(model, task))?
}

/// The same; none where there is no such class.
fn described(model: &Model, task: &NamedTask) -> Option<Result<Described>> {
    if case_embeddings::has(model.config()) {
        return None;
    }
    let describe = |encoder: &'static EncoderKind| {
        let single = task.task.single(encoder)?;
        let mut config = model.config().clone();
        if let Some(fields) = config.as_object_mut() {
            for name in ["id2label", "label2id", "num_labels"] {
                fields.shift_remove(name);
            }
            fields.insert("architectures".into(), json!([model.architecture(single.architecture)]));
            fields.extend(single.config.clone());
        }
        Some(Described { task: single, config, encoder })
    };
    EncoderKind::of(Path::new("config.json"), model.config()).map(describe).transpose()
}

fn no_single_task(model: &Model, task: &NamedTask) -> Error {
    if case_embeddings::has(model.config()) {
        let message = "transformers' tokenizers do not tell this encoder how words are written: `case_embeddings` of its config.json";
        return Error::usage(message).hint(
            "a model trained with encoder.case_embeddings = false can be exported for it; without `--task` a model is written for ONNX \
             as it is",
        );
    }
    Error::usage(format!("transformers has no single-task model for `{}`", task.name))
}

/// Writes one task of a model as the single-task folder that transformers loads.
///
/// # Errors
/// transformers has no class for it or one with another head, or the folder can't be written.
pub fn single_task(model: &Model, task: &NamedTask, folder: &Path) -> Result<()> {
    let Described { task: single, config, encoder: kind } = as_single_task(model, task)?;
    if !model.is_plain_for_each()? {
        let message = format!(
            "sharing: transformers has no class for an encoder with the private parts of `{}`",
            model.sharing.name
        );
        return Err(Error::usage(message).hint("`polyhead export --onnx --task NAME` writes what it computes"));
    }
    let prefix = kind.naming.prefix;
    let head = task.task.export(kind)?;
    if kind.head_transform.is_some() {
        HeadTransform::check(model.config())?;
    }
    // These classes of transformers have no pooler, or one that is the head's, and know nothing of LoRA.
    let encoder = model
        .parameters
        .encoder_of(&task.name, Merged::Yes(model.lora.as_ref().or(model.private_lora.as_ref())))?
        .into_iter();
    let encoder = encoder.filter(|(name, _)| !name.starts_with("pooler."));
    let encoder = encoder.map(|(name, tensor)| (format!("{prefix}{name}"), tensor));
    let tensors: Vec<_> = encoder.chain(head).collect();
    write_folder_atomic(folder, |folder| {
        model.write(folder, config, &tensors, card::single_task_card(model, task, &single))
    })
}

/// Writes one task of a model as a folder with an ONNX file that Optimum, transformers.js and pipelines load.
///
/// # Errors
/// They have no class for it, or the folder can't be written.
pub fn single_onnx(model: &Model, task: &NamedTask, format: Format, folder: &Path) -> Result<()> {
    model.parameters.check_finite()?;
    write_folder_atomic(folder, |folder| write_single_onnx(model, task, format, folder))
}

fn write_single_onnx(model: &Model, task: &NamedTask, format: Format, folder: &Path) -> Result<()> {
    let Described { task: single, config, .. } = described(model, task).ok_or_else(|| {
        no_single_task(model, task)
            .hint(format!("without `--task` the model is written with all its heads: {ALL_HEADS}"))
    })??;
    model.write_beside(folder, config, card::single_onnx_card(model, task, &single))?;
    let signature = onnx::write_single(model, task, format, folder.join(ONE_HEAD))?;
    write_atomic(folder.join(TRITON), signature.triton_config())
}

/// Writes a model as one ONNX file with all heads, and beside it a folder for each task as [`single_onnx`] does, where
/// there is a class for it. Returns the names of the tasks that have one.
///
/// # Errors
/// The folder can't be written.
pub fn all_heads_onnx<'a>(model: &'a Model, format: Format, folder: &Path) -> Result<Vec<&'a str>> {
    model.parameters.check_finite()?;
    write_folder_atomic(folder, |folder| {
        let tasks: Vec<&NamedTask> = model.tasks.iter().collect();
        model.write_beside(folder, model.config_with_tasks(None, None), card::onnx_card(model, ALL_HEADS))?;
        let signature = onnx::write(model, &tasks, format, folder.join(ALL_HEADS))?;
        write_atomic(folder.join(TRITON), signature.triton_config())?;
        let mut alone = Vec::new();
        for task in tasks.into_iter().filter(|task| described(model, task).is_some()) {
            let inside = folder.join(&task.name);
            std::fs::create_dir(&inside).map_err(|cause| Error::writing(&inside, cause))?;
            write_single_onnx(model, task, format, &inside)?;
            alone.push(task.name.as_str());
        }
        Ok(alone)
    })
}

/// Writes a model as a folder that browsers answer with: the file with all heads, what is needed to read texts, what there is to
/// say of the model, and `beside` it the page and its programs, by name.
///
/// # Errors
/// The model is larger than a browser can hold, or the folder can't be written.
pub fn for_browsers(
    model: &Model,
    info: &ModelInfo,
    format: Format,
    beside: &[(String, &[u8])],
    folder: &Path,
) -> Result<()> {
    model.parameters.check_finite()?;
    write_folder_atomic(folder, |folder| {
        let tasks: Vec<&NamedTask> = model.tasks.iter().collect();
        model.write_beside(folder, model.config_with_tasks(None, None), card::browser_card(model, ALL_HEADS))?;
        onnx::write(model, &tasks, Format { external_data: false, ..format }, folder.join(ALL_HEADS))?;
        if folder.join(format!("{ALL_HEADS}_data")).exists() {
            return Err(Error::usage(
                "expected a model of at most 2 GiB, which a browser can hold, found a larger one",
            )
            .at(Place::file(ALL_HEADS))
            .hint("in int8 it has a quarter of the bytes"));
        }
        let info = json!({ "name": "polyhead", "version": env!("CARGO_PKG_VERSION"), "model": info });
        write_atomic(folder.join(INFO), format!("{info:#}\n"))?;
        for (name, bytes) in beside {
            let path = folder.join(name);
            let inside = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(inside).map_err(|cause| Error::writing(inside, cause))?;
            write_atomic(path, bytes)?;
        }
        Ok(())
    })
}
