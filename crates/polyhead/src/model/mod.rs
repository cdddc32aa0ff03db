//! A model: one encoder, a head for each task, the tokenizer, and what is known of its origin.

mod about;
pub mod card;
pub(crate) mod case_embeddings;
mod codec;
mod command;
mod folder;
mod quantized;
mod shapes;
mod start;

pub use about::Provenance;
pub(crate) use about::without_path;
pub use case_embeddings::{CaseEmbeddings, has as has_case_embeddings};
pub use codec::Codec;
pub use command::{arguments, shell_word};
pub use folder::read_config;
pub use shapes::{Share, shapes, shares};
pub use start::{KeepHeads, Start};

use crate::batch::{Batch, Features, HeadInputs, Merge, Padding, Targets};
use crate::encoders::{self, Encoder, EncoderKind, EncoderOverrides, Offset, Output, Pass, Reads};
use crate::error::{Error, Place, Result};
use crate::parameters::{Freeze, Int8, Lora, LoraOf, Owner, Parameters, Weights};
use crate::sharing;
use crate::strategy::Strategy;
use crate::tasks::{AnyTask, Calibration, HeadShape, Logits, LogitsFn};
use crate::text::Tokenizer;
use candle_core::Tensor;
use folder::TokenizerFiles;
use polyhead_kernels::{Inputs, Join, Ops, Value, Weight};
use serde_json::Value as Json;
use start::Left;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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
    /// The low-rank additions of its encoder.
    pub lora: Option<Lora>,
    /// Those that each task has for itself.
    pub private_lora: Option<Lora>,
    /// What of the encoder its tasks share.
    pub sharing: Strategy,
    /// Whether the layers that they share have parts that are private to each.
    sharing_inside: bool,
    /// Which of the encoder's linear layers multiply bytes.
    pub int8: Int8,
    /// These layers: the names of each that stand side by side in one product.
    pub linear_layers: Vec<Vec<String>>,
    /// The encoder's `config.json`.
    config: Json,
    /// The tokenizer's files, kept as they were: name and bytes.
    files: Vec<(String, Vec<u8>)>,
}

/// A head's part of a batch that several heads read.
pub struct HeadPart<'a> {
    /// The task.
    pub task: &'a NamedTask,
    /// Its windows.
    pub windows: Vec<&'a Features>,
    /// The targets of the whole step: see [`crate::tasks::Task::target_count`].
    pub count: f64,
    /// Where these windows begin among those of the step.
    pub begins: Offset,
}

/// The loss of a batch and what went into it.
pub struct Loss {
    /// A scalar with its graph.
    pub value: Tensor,
    /// What the head read.
    pub inputs: Arc<Inputs>,
}

impl Loss {
    fn of(task: &NamedTask, windows: &[&Features], output: &Output, inputs: &Arc<Inputs>, count: f64) -> Result<Self> {
        let targets: Vec<&Targets> = windows.iter().map(|window| &window.targets).collect();
        let value = task.task.loss(&output.logits, &output.segments, &targets, count)?;
        Ok(Self { value, inputs: inputs.clone() })
    }
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
        let left = Left { aside: weights.left_aside().into_iter().map(str::to_owned).collect() };
        let (lora, private_lora) = match weights.declared_lora()? {
            Some((lora, LoraOf::AllTasks)) => (Some(lora), None),
            Some((lora, LoraOf::EachTask)) => (None, Some(lora)),
            None => (None, None),
        };
        let sharing = adjust.sharing.clone();
        let sharing_inside = sharing::open(&sharing)?.is_inside_layers();
        let (int8, linear_layers) = (adjust.int8.clone(), weights.linear_layers().to_vec());
        let parameters = weights.finish()?;
        for NamedTask { name, task } in &tasks {
            let (most, found) = (encoder.max_tokens(), task.max_length());
            if found > most {
                let message =
                    format!("tasks.{name}.max_length: the encoder takes at most {most} tokens, found {found}");
                return Err(Error::usage(message).hint("lower max_length, or take an encoder with more positions"));
            }
        }
        let read = TokenizerFiles::read(folder, &config)?;
        let tokenizer = read.tokenizer(case_embeddings::has(&config))?;
        if tokenizer.vocabulary() > encoder.vocabulary() {
            let message = format!(
                "expected ids below the encoder's vocabulary of {}, found ids up to {}",
                encoder.vocabulary(),
                tokenizer.vocabulary() - 1
            );
            return Err(Error::data(message)
                .at(Place::file(&read.made_of))
                .hint("tokenizer and weights must be of one model"));
        }
        let files = read.files;
        let model = Self {
            tokenizer,
            encoder,
            parameters,
            tasks,
            about,
            lora,
            private_lora,
            sharing,
            sharing_inside,
            int8,
            linear_layers,
            config,
            files,
        };
        Ok((model, left))
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

    /// The number of a task, which the encoder knows its private parts by.
    pub(crate) fn number(&self, named: &NamedTask) -> Result<usize> {
        let number = self.tasks.iter().position(|task| task.name == named.name);
        number.ok_or_else(|| Error::internal(format!("no task `{}`", named.name)))
    }

    /// Whether layers that the tasks share have parts that are private to each.
    pub(crate) fn is_private_inside(&self) -> bool {
        self.sharing_inside
    }

    /// Whether the encoder of a task, what is private to it in its place, is one of its architecture.
    pub(crate) fn is_plain_for_each(&self) -> Result<bool> {
        Ok(sharing::open(&self.sharing)?.is_plain_for_each())
    }

    /// The windows of a task as a batch.
    fn batch_of(&self, task: &NamedTask, windows: &[&Features], padding: Padding, max_length: usize) -> Result<Batch> {
        let batch = Batch::new(windows, padding, max_length, self.tokenizer.pad);
        Ok(if self.sharing_inside { batch.of_task(self.number(task)?) } else { batch })
    }

    /// The numbers of tasks, where a batch must say which rows are of which.
    fn numbers_inside(&self, tasks: &[&NamedTask]) -> Result<Option<Vec<usize>>> {
        self.sharing_inside.then(|| tasks.iter().map(|task| self.number(task)).collect()).transpose()
    }

    /// The loss of a batch of training windows: the mean over its targets.
    pub fn loss(&self, task: &NamedTask, windows: &[&Features], padding: Padding, pass: Pass) -> Result<Loss> {
        let count = windows.iter().map(|window| task.task.target_count(&window.targets)).sum();
        self.loss_of_part(task, windows, padding, pass, count)
    }

    /// The loss of a part of a step, which has `count` targets in all (see [`crate::tasks::Task::target_count`]): the losses of all parts add up to that of the step.
    pub fn loss_of_part(
        &self,
        task: &NamedTask,
        windows: &[&Features],
        padding: Padding,
        pass: Pass,
        count: f64,
    ) -> Result<Loss> {
        let batch = self.batch_of(task, windows, padding, task.task.max_length())?;
        let mut outputs = self.forward(&batch, &[task], pass)?;
        let output = outputs.pop().ok_or_else(|| Error::internal("a head without logits"))?;
        Loss::of(task, windows, &output, &batch.inputs, count)
    }

    /// The losses of several heads, each on windows of its own, in one pass of the encoder: windows that several heads read (data
    /// that are annotated for several tasks) are encoded once. One backward pass of the sum of the losses sends all of them
    /// back. The batch is a whole step.
    pub fn losses_together(
        &self,
        tasks: &[(&NamedTask, Vec<&Features>)],
        padding: Padding,
        pass: Pass,
    ) -> Result<Vec<Loss>> {
        let count = |task: &NamedTask, windows: &[&Features]| {
            windows.iter().map(|window| task.task.target_count(&window.targets)).sum()
        };
        let mut heads = Vec::with_capacity(tasks.len());
        for (task, windows) in tasks {
            let (windows, count) = (windows.clone(), count(task, windows));
            heads.push(HeadPart { task, windows, count, begins: Offset::default() });
        }
        Ok(self.losses_of_parts(&heads, padding, pass, None)?.0)
    }

    /// The same of a part of a step; and what the encoder read. With a `join`, the heads' gradients on the hidden states pass through it.
    pub fn losses_of_parts(
        &self,
        heads: &[HeadPart],
        padding: Padding,
        pass: Pass,
        join: Option<Join>,
    ) -> Result<(Vec<Loss>, Arc<Inputs>)> {
        let longest = heads.iter().map(|head| head.task.task.max_length()).max().unwrap_or(0);
        let named: Vec<&NamedTask> = heads.iter().map(|head| head.task).collect();
        let windows: Vec<Vec<&Features>> = heads.iter().map(|head| head.windows.clone()).collect();
        let tasks = self.numbers_inside(&named)?;
        let batch = Batch::shared(&windows, Merge::AcrossHeads, tasks.as_deref(), padding, longest, self.tokenizer.pad);
        let batch = batch.beginning_at(&heads.iter().map(|head| head.begins).collect::<Vec<_>>());
        let outputs = self.forward_joined(&batch, &named, pass, join)?;
        let loss = |(head, (output, inputs)): (&HeadPart, (&Output, &HeadInputs))| {
            Loss::of(head.task, &head.windows, output, &inputs.inputs, head.count)
        };
        let losses = heads.iter().zip(outputs.iter().zip(&batch.heads)).map(loss).collect::<Result<_>>()?;
        Ok((losses, batch.inputs))
    }

    /// What each head makes of its part of a batch, in one pass of the encoder. In training a loss of the logits, one tensor, can
    /// be sent back once.
    pub fn forward(&self, batch: &Batch, tasks: &[&NamedTask], pass: Pass) -> Result<Vec<Output>> {
        self.forward_joined(batch, tasks, pass, None)
    }

    /// The same, where the heads' gradients on the hidden states pass through a `join` on their way back.
    fn forward_joined(
        &self,
        batch: &Batch,
        tasks: &[&NamedTask],
        pass: Pass,
        join: Option<Join>,
    ) -> Result<Vec<Output>> {
        if tasks.len() != batch.heads.len() {
            return Err(Error::internal(format!("{} heads on a batch for {}", tasks.len(), batch.heads.len())));
        }
        let numbers = tasks.iter().map(|named| self.number(named)).collect::<Result<Vec<_>>>()?;
        let head = |head: usize, hidden: &Value, ops: &mut dyn Ops| match (tasks.get(head), numbers.get(head)) {
            (Some(named), Some(number)) => {
                let own = self.encoder.of_task(ops, *number, hidden, named.task.reads())?;
                named.task.logits(&own, ops)
            }
            _ => Err(Error::internal(format!("no head {head}"))),
        };
        let first_alone = tasks.iter().all(|named| named.task.reads() == Reads::FirstTokens);
        let reads = if first_alone { Reads::FirstTokens } else { Reads::AllTokens };
        encoders::run(&*self.encoder, batch, pass, reads, join, &head)
    }

    /// The logits of each window.
    pub fn logits(&self, task: &NamedTask, windows: &[&Features]) -> Result<Vec<Logits>> {
        let batch = self.batch_of(task, windows, Padding::Packed, task.task.max_length())?;
        let outputs = self.forward(&batch, &[task], Pass::Evaluate)?;
        Ok(outputs.iter().map(Logits::split).collect::<Result<Vec<_>>>()?.concat())
    }

    /// Calibrates each task: divides its logits by the temperature, by way of its head's weights, and sets from which score on it answers.
    /// Returns the weights with what they were.
    pub(crate) fn calibrate(&mut self, found: &BTreeMap<String, Calibration>) -> Result<Vec<(Weight, Tensor)>> {
        let mut before = Vec::new();
        for NamedTask { name, task } in &mut self.tasks {
            let Some(calibration) = found.get(name) else { continue };
            task.set_calibration(Some(calibration));
            before.extend(self.parameters.divide(&task.output_tensors(name), calibration.temperature)?);
        }
        Ok(before)
    }

    /// The encoder's last hidden states of each window, `[tokens, hidden]`.
    ///
    /// # Errors
    /// Each task has hidden states of its own.
    pub fn hidden(&self, windows: &[&Features]) -> Result<Vec<Logits>> {
        if self.sharing_inside {
            let message = format!(
                "sharing: with `{}` each task has hidden states of its own, and there are none without a task",
                self.sharing.name
            );
            return Err(Error::usage(message));
        }
        let batch = Batch::new(windows, Padding::Packed, 0, self.tokenizer.pad);
        let as_they_are = |_: usize, hidden: &Value, _: &mut dyn Ops| Ok(hidden.clone());
        let outputs = encoders::run(&*self.encoder, &batch, Pass::Evaluate, Reads::AllTokens, None, &as_they_are)?;
        Ok(outputs.iter().map(Logits::split).collect::<Result<Vec<_>>>()?.concat())
    }

    /// The logits of windows of several tasks, told by their index, in one pass of the encoder. Windows that are the same to
    /// the token are encoded once, whatever tasks they are of; each head computes its own.
    pub fn logits_together(&self, windows: &[(usize, &Features)]) -> Result<Vec<Logits>> {
        let mut used: Vec<usize> = windows.iter().map(|(task, _)| *task).collect();
        used.sort_unstable();
        used.dedup();
        let beyond = |task: &usize| Error::internal(format!("a window of task {task} of {}", self.tasks.len()));
        let tasks =
            used.iter().map(|task| self.tasks.get(*task).ok_or_else(|| beyond(task))).collect::<Result<Vec<_>>>()?;
        let of = |&task: &usize| windows.iter().filter(|(of, _)| *of == task).map(|(_, window)| *window).collect();
        let heads: Vec<Vec<&Features>> = used.iter().map(of).collect();
        let numbers = self.sharing_inside.then_some(&used[..]);
        let batch = Batch::shared(&heads, Merge::Equal, numbers, Padding::Packed, 0, self.tokenizer.pad);
        let outputs = self.forward(&batch, &tasks, Pass::Evaluate)?;
        let split = |output| Ok(Logits::split(output)?.into_iter());
        let mut logits = outputs.iter().map(split).collect::<Result<Vec<_>>>()?;
        let next = |(task, _): &(usize, &Features)| logits.get_mut(used.binary_search(task).ok()?)?.next();
        let found = windows.iter().map(next);
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
    let kind = EncoderKind::of(path, config)?;
    weights.freeze(adjust.freeze);
    weights.use_int8(adjust.int8.clone());
    if let Some(lora) = &adjust.lora {
        weights.with_lora(lora.resolved(kind.lora_targets), LoraOf::AllTasks)?;
    }
    let sharing = sharing::open(&adjust.sharing)?;
    if let Some(lora) = sharing.lora() {
        weights.with_lora(lora.resolved(kind.lora_targets), LoraOf::EachTask)?;
    }
    if let Some(vectors) = sharing.vectors(kind.ia3) {
        weights.with_vectors(vectors);
    }
    if sharing.freezes_encoder() {
        weights.freeze_shared();
    }
    weights.for_tasks(tasks.iter().map(|task| task.name.clone()));
    let encoder = (kind.open)(kind, path, config, adjust, weights)?;
    weights.check_vectors()?;
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
