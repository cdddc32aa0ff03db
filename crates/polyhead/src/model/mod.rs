//! A model: one encoder, a head for each task, the tokenizer, and what is known of its origin.

mod about;
pub mod card;
mod command;
mod folder;
mod shapes;
mod start;

pub use about::Provenance;
pub(crate) use about::without_path;
pub use command::{arguments, shell_word};
pub use folder::{export_single_task, read_config};
pub use shapes::{Share, shapes, shares};
pub use start::{KeepHeads, Start};

use crate::batch::{Batch, Features, Padding};
use crate::encoders::{self, Encoder, EncoderKind, EncoderOverrides, Pass};
use crate::error::{Error, Place, Result};
use crate::parameters::{Freeze, Owner, Parameters, Weights};
use crate::tasks::{AnyTask, HeadShape, Logits, LogitsFn};
use crate::text::Tokenizer;
use candle_core::Tensor;
use polyhead_kernels::{Ops, Value};
use serde_json::Value as Json;
use start::Left;
use std::collections::HashMap;
use std::path::Path;

/// A task under the name that a recipe gives it.
pub struct NamedTask {
    /// Its name: also that of its tensors, `heads.{name}. ...`.
    pub name: String,
    /// The task.
    pub task: Box<dyn AnyTask>,
}

/// One encoder with a head for each task.
pub struct Model {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The shared encoder.
    pub encoder: Box<dyn Encoder>,
    /// All tensors, in order.
    pub parameters: Parameters,
    /// The tasks, in the order of the recipe.
    pub tasks: Vec<NamedTask>,
    /// Where it came from and how it was made.
    pub about: Provenance,
    /// The encoder's `config.json`.
    config: Json,
    /// The tokenizer's files, kept as they were: name and bytes.
    files: Vec<(String, Vec<u8>)>,
}

/// The loss of a batch and what went into it.
pub struct Loss {
    /// A scalar with its graph.
    pub value: Tensor,
    /// Real tokens of the batch, padding not counted.
    pub tokens: usize,
    /// Rows that were computed, padding included.
    pub rows: usize,
}

impl Model {
    fn assemble(
        folder: &Path,
        config: Json,
        about: Provenance,
        mut tasks: Vec<NamedTask>,
        adjust: &EncoderOverrides,
        mut weights: Weights,
    ) -> Result<(Self, Left)> {
        check_names(&tasks).map_err(|error| error.at_least(Place::file(folder.join("config.json"))))?;
        // Folders of earlier versions hold more of the machine that made them.
        let about = about.without_paths();
        about.kept_heads.iter().for_each(|name| weights.keep_still(name));
        let encoder = build(&folder.join("config.json"), &config, adjust, &mut tasks, &mut weights)?;
        let left = Left {
            aside: weights.left_aside().into_iter().map(str::to_owned).collect(),
            by_label: weights.taken_by_label().to_vec(),
        };
        let parameters = weights.finish()?;
        for NamedTask { name, task } in &tasks {
            let (most, found) = (encoder.max_tokens(), task.max_length());
            if found > most {
                let message =
                    format!("tasks.{name}.max_length: the encoder takes at most {most} tokens, found {found}");
                return Err(Error::usage(message).hint("lower max_length, or take an encoder with more positions"));
            }
        }
        let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
        if tokenizer.vocabulary() > encoder.vocabulary() {
            let message = format!(
                "expected ids below the encoder's vocabulary of {}, found ids up to {}",
                encoder.vocabulary(),
                tokenizer.vocabulary() - 1
            );
            return Err(Error::data(message)
                .at(Place::file(folder.join("tokenizer.json")))
                .hint("tokenizer.json and model.safetensors must be of one model"));
        }
        let files = folder::read_tokenizer_files(folder)?;
        Ok((Self { tokenizer, encoder, parameters, tasks, about, config, files }, left))
    }

    /// The encoder's `config.json`.
    pub fn config(&self) -> &Json {
        &self.config
    }

    /// The task of this name, or the only one of this kind.
    pub fn task(&self, name: &str) -> Result<&NamedTask> {
        let by_kind = || {
            let mut of_kind = self.tasks.iter().filter(|task| task.task.kind() == name);
            of_kind.next().filter(|_| of_kind.next().is_none())
        };
        self.tasks.iter().find(|task| task.name == name).or_else(by_kind).ok_or_else(|| {
            let known: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
            Error::usage(format!("expected one of this model's tasks ({}), found `{name}`", known.join(", ")))
        })
    }

    /// The loss of a batch of training windows: the mean over its targets.
    pub fn loss(&self, task: &NamedTask, windows: &[&Features], padding: Padding, pass: Pass) -> Result<Loss> {
        let count = windows.iter().map(|window| task.task.target_count(&window.target)).sum();
        self.loss_of_part(task, windows, padding, pass, count)
    }

    /// The loss of a part of a step, which has `count` targets in all: the losses of all parts add up to that of the step.
    pub fn loss_of_part(
        &self,
        task: &NamedTask,
        windows: &[&Features],
        padding: Padding,
        pass: Pass,
        count: usize,
    ) -> Result<Loss> {
        let batch = Batch::new(windows, padding, task.task.max_length(), self.tokenizer.pad);
        let targets: Vec<&[i64]> = windows.iter().map(|window| window.target.as_slice()).collect();
        let value = task.task.loss(&self.forward_one(&batch, task, pass)?, batch.segments(), &targets, count)?;
        Ok(Loss { value, tokens: batch.segments().tokens(), rows: batch.segments().rows() })
    }

    /// The losses of several heads on one batch, in one pass of the encoder: data that are annotated for several tasks. Each
    /// task comes with the targets of every window. One backward pass of the sum of the losses sends all of them back.
    pub fn losses_together(
        &self,
        tasks: &[(&NamedTask, &[&[i64]])],
        windows: &[&Features],
        padding: Padding,
        pass: Pass,
    ) -> Result<Vec<Loss>> {
        let longest = tasks.iter().map(|(task, _)| task.task.max_length()).max().unwrap_or(0);
        let batch = Batch::new(windows, padding, longest, self.tokenizer.pad);
        let named: Vec<&NamedTask> = tasks.iter().map(|(task, _)| *task).collect();
        let logits = self.forward(&batch, &named, pass)?;
        let loss = |((task, targets), logits): (&(&NamedTask, &[&[i64]]), Tensor)| {
            let count = targets.iter().map(|targets| task.task.target_count(targets)).sum();
            let value = task.task.loss(&logits, batch.segments(), targets, count)?;
            Ok(Loss { value, tokens: batch.segments().tokens(), rows: batch.segments().rows() })
        };
        tasks.iter().zip(logits).map(loss).collect()
    }

    /// The logits of several heads on one batch, `[rows, outputs]` each, in one pass of the encoder. In training a loss of
    /// them, one tensor, can be sent back once.
    pub fn forward(&self, batch: &Batch, tasks: &[&NamedTask], pass: Pass) -> Result<Vec<Tensor>> {
        let heads = |hidden: &Value, ops: &mut dyn Ops| -> Result<Vec<Value>> {
            tasks.iter().map(|named| named.task.logits(hidden, ops)).collect()
        };
        encoders::run(&*self.encoder, batch, pass, &heads)
    }

    fn forward_one(&self, batch: &Batch, task: &NamedTask, pass: Pass) -> Result<Tensor> {
        self.forward(batch, &[task], pass)?.pop().ok_or_else(|| Error::internal("a head without logits"))
    }

    /// The logits of each window.
    pub fn logits(&self, task: &NamedTask, windows: &[&Features]) -> Result<Vec<Logits>> {
        let batch = Batch::new(windows, Padding::Packed, task.task.max_length(), self.tokenizer.pad);
        Logits::split(&self.forward_one(&batch, task, Pass::Evaluate)?, batch.segments())
    }

    /// The logits of windows of several tasks, told by their index, in one pass of the encoder. Windows that are the same to
    /// the token are encoded once, whatever tasks they are of.
    pub fn logits_together(&self, windows: &[(usize, &Features)]) -> Result<Vec<Logits>> {
        let mut unique: Vec<&Features> = Vec::with_capacity(windows.len());
        let mut known: HashMap<(&[u32], &[u32]), usize> = HashMap::with_capacity(windows.len());
        let mut places = Vec::with_capacity(windows.len());
        for &(_, window) in windows {
            let next = unique.len();
            let place = *known.entry((window.ids.as_slice(), window.types.as_slice())).or_insert(next);
            if place == next {
                unique.push(window);
            }
            places.push(place);
        }
        let batch = Batch::new(&unique, Padding::Packed, 0, self.tokenizer.pad);
        let mut used: Vec<usize> = windows.iter().map(|(task, _)| *task).collect();
        used.sort_unstable();
        used.dedup();
        let beyond = |task: &usize| Error::internal(format!("a window of task {task} of {}", self.tasks.len()));
        let tasks =
            used.iter().map(|task| self.tasks.get(*task).ok_or_else(|| beyond(task))).collect::<Result<Vec<_>>>()?;
        // A head is small beside the encoder: it takes all rows, those of other tasks too.
        let all = self.forward(&batch, &tasks, Pass::Evaluate)?;
        let all = all.iter().map(|logits| Logits::split(logits, batch.segments())).collect::<Result<Vec<_>>>()?;
        let of = |(&(task, _), place): (&(usize, &Features), usize)| {
            let logits = all.get(used.binary_search(&task).ok()?)?;
            logits.get(place).cloned()
        };
        let found = windows.iter().zip(places).map(of);
        found.map(|logits| logits.ok_or_else(|| Error::internal("a window without logits"))).collect()
    }

    /// Runs `f` with what a task needs to run examples through this model.
    pub fn run<R>(&self, task: &NamedTask, f: impl FnOnce(&dyn AnyTask, &LogitsFn) -> Result<R>) -> Result<R> {
        let logits = |windows: &[&Features]| self.logits(task, windows);
        f(&*task.task, &LogitsFn { tokenizer: &self.tokenizer, logits: &logits })
    }
}

/// Builds the encoder that `config.json` describes, and the head of each task, out of the weights.
fn build(
    path: &Path,
    config: &Json,
    adjust: &EncoderOverrides,
    tasks: &mut [NamedTask],
    weights: &mut Weights,
) -> Result<Box<dyn Encoder>> {
    weights.freeze(adjust.freeze);
    let kind = EncoderKind::of(path, config)?;
    let encoder = (kind.open)(kind, path, config, adjust, weights)?;
    if let Freeze::Layers(count) = adjust.freeze
        && count > encoder.layers()
    {
        let layers = encoder.layers();
        return Err(Error::usage(format!(
            "encoder.freeze: expected at most the {layers} layers of the encoder, found {count}"
        )));
    }
    let shape = HeadShape { hidden: encoder.hidden_size() };
    for NamedTask { name, task } in tasks {
        weights.for_owner(Owner::Head(name.clone()));
        task.bind(name, shape, weights)?;
    }
    Ok(encoder)
}

/// Names are parts of tensor names (`heads.{name}.weight`) and of addresses: a dot or two equal ones would mix heads up.
fn check_names(tasks: &[NamedTask]) -> Result<()> {
    for (index, NamedTask { name, .. }) in tasks.iter().enumerate() {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if !name.starts_with(|c: char| c != '_' && c != '-' && fits(c)) || !name.chars().all(fits) || name.len() > 64 {
            let message = format!("tasks: expected a name of lower-case letters, digits, `-` and `_`, found `{name}`");
            return Err(Error::usage(message).hint("at most 64 characters, of which the first is a letter or a digit"));
        }
        if tasks.iter().take(index).any(|other| other.name == *name) {
            return Err(Error::usage(format!("tasks: two tasks of the name `{name}`")).hint("give each its own name"));
        }
    }
    Ok(())
}
