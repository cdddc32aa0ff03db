//! The tensors of a checkpoint, handed out by name to the encoder and the heads that declare them.
//!
//! ```text
//! bert.encoder.layer.0.output.LayerNorm.gamma -> encoder.layer.0.output.LayerNorm.weight   the encoder's
//! heads.ner.weight                                                                         a head's, of ours
//! private.ner.encoder.layer.5.output.dense.weight                                          the encoder's, private to a task
//! classifier.weight                                                                        of a head that is not ours
//! ```

use super::int8::{Int8, Multiplies, Quantized};
use super::lora::Declared;
use super::vectors;
use super::{Freeze, Group, HeadTensor, Owner, PRIVATE, Parameter, Parameters, Role, Shape, Train, private_prefix};
use crate::error::{Error, Place, Result};
use crate::io::{INT8_WEIGHTS, SHARD_INDEX, ShardIndex};
use candle_core::{DType, Device, Tensor};
use polyhead_kernels::Weight;
use polyhead_kernels::rng::Key;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How a new tensor begins.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// Uniform between minus this and this.
    Uniform(f64),
    /// Zero.
    Zeros,
    /// One.
    Ones,
}

/// Where the tensors of heads come from.
#[derive(Debug, Clone, Copy)]
pub enum Heads {
    /// From the checkpoint for the heads of [`Weights::match_head`]; the others are initialised with this key.
    New(Key),
    /// From the checkpoint, which must have them all.
    Stored,
}

/// How the checkpoints of an architecture name its tensors.
#[derive(Debug, Clone, Copy)]
pub struct Naming {
    /// What models with a head of their own put before the encoder's names: `bert.`
    pub prefix: &'static str,
    /// What the encoder's names begin with: `embeddings.`, `encoder.`. Anything else is of some head.
    pub parts: &'static [&'static str],
    /// What old versions of transformers saved beside the weights.
    pub ignored: &'static [&'static str],
    /// The heads of pretraining: a model of ours or of a single task loses nothing with them.
    pub pretraining: &'static [&'static str],
}

/// What PyTorch's wrappers and PEFT put before the names of a model.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "base_model.model."];

/// Whose a tensor is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Encoder,
    /// A head as we name it.
    Head,
    /// A head as others name theirs.
    Foreign,
}

impl Naming {
    /// One form for the names of all checkpoints: without what wrappers of PyTorch and models with a head put before
    /// them, and with `weight` and `bias` for the `gamma` and `beta` of early checkpoints.
    fn plain(&self, name: &str) -> (String, Side) {
        let mut bare = name;
        while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| bare.strip_prefix(wrapper)) {
            bare = rest;
        }
        let (bare, prefixed) = bare.strip_prefix(self.prefix).map_or((bare, false), |rest| (rest, true));
        let plain = match (bare.strip_suffix(".gamma"), bare.strip_suffix(".beta")) {
            (Some(stem), _) => format!("{stem}.weight"),
            (_, Some(stem)) => format!("{stem}.bias"),
            _ => bare.to_owned(),
        };
        let side = match () {
            () if prefixed || self.parts.iter().any(|part| plain.starts_with(part)) => Side::Encoder,
            () if is_of_a_task(&plain) => Side::Head,
            () => Side::Foreign,
        };
        (plain, side)
    }

    fn is_of(names: &[&str], plain: &str) -> bool {
        names.iter().any(|known| plain.starts_with(known))
    }
}

/// The labels that a head of the checkpoint was made for, and those of the head that begins with it.
#[derive(Debug, Clone)]
struct Match {
    stored: Vec<String>,
    own: Vec<String>,
}

/// The tensors of a checkpoint, handed out by name to the encoder and the heads that declare them.
pub struct Weights {
    pub(super) path: PathBuf,
    pub(super) tensors: BTreeMap<String, Tensor>,
    parameters: Vec<Parameter>,
    pub(super) owner: Owner,
    group: Group,
    freeze: Freeze,
    /// Which of the encoder's linear layers multiply bytes.
    int8: Int8,
    /// Those layers, as they were declared: the names of each that stand side by side in one product.
    layers: Vec<Vec<String>>,
    pub(super) lora: Option<Declared>,
    pub(super) vectors: Option<vectors::Declared>,
    heads: Heads,
    device: Device,
    problems: Vec<Error>,
    /// The tensors of heads that are not ours.
    foreign: BTreeSet<String>,
    /// Those of them that hold no floating point numbers, and are not read.
    whole_numbers: Vec<String>,
    /// Heads that begin with tensors of the checkpoint.
    matched: BTreeMap<String, Match>,
    /// The numbers of one label in each tensor that was declared by label.
    by_label: BTreeMap<String, usize>,
    /// Heads that are not trained.
    still: BTreeSet<String>,
    /// The tasks of the model, some parts of whose encoder may be private to each.
    tasks: Vec<String>,
    /// Whether nothing of the encoder is trained but what is private.
    shared_is_frozen: bool,
    /// What private tensors began as copies of.
    copied: BTreeSet<String>,
    /// What was declared, where there is no checkpoint and only shapes are asked for.
    shapes: Option<Vec<Shape>>,
}

impl Weights {
    /// Reads `model.safetensors`, or, where that is not there, the file in bytes beside it, or those that an index lists. Names are brought to the one form of [`Naming`].
    pub fn read(path: &Path, naming: Naming, heads: Heads, device: &Device) -> Result<Self> {
        let in_bytes = path.with_file_name(INT8_WEIGHTS);
        let path = if !path.exists() && in_bytes.is_file() { &in_bytes } else { path };
        let mut weights = Self { path: path.to_owned(), heads, device: device.clone(), ..Self::empty() };
        let index = path.with_file_name(SHARD_INDEX);
        if path.exists() || !index.is_file() {
            weights.add_file(path, naming, &|_| true)?;
            return Ok(weights);
        }
        let listed = ShardIndex::read(&index)?;
        for name in listed.names() {
            weights.add_file(&path.with_file_name(name), naming, &|tensor| {
                listed.files.get(tensor).is_some_and(|file| file == name)
            })?;
        }
        let lacking = |tensor: &&String| {
            let (plain, _) = naming.plain(tensor);
            !weights.tensors.contains_key(&plain)
                && !weights.whole_numbers.contains(&plain)
                && !weights.is_left_out(naming, &plain)
        };
        match listed.files.keys().find(lacking) {
            Some(tensor) => {
                let file = listed.files.get(tensor).map_or("", String::as_str);
                Err(Error::data(format!("expected this tensor in {file}, found none"))
                    .at(Place::tensor(&index, tensor))
                    .hint("was the download cut short?"))
            }
            None => Ok(weights),
        }
    }

    /// These tensors, for a model that has all it needs. `path` is for errors.
    pub fn of(path: &Path, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { path: path.to_owned(), tensors, ..Self::empty() }
    }

    /// Whether others are the same to the bit.
    ///
    /// # Errors
    /// A tensor can't be read.
    pub fn holds_same(&self, others: &Self) -> Result<bool> {
        if !self.tensors.keys().eq(others.tensors.keys()) {
            return Ok(false);
        }
        for (one, other) in self.tensors.values().zip(others.tensors.values()) {
            let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
                Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
            };
            if one.dims() != other.dims() || bits(one)? != bits(other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a tensor is not read at all.
    fn is_left_out(&self, naming: Naming, plain: &str) -> bool {
        let pretraining = matches!(self.heads, Heads::Stored) && Naming::is_of(naming.pretraining, plain);
        pretraining || Naming::is_of(naming.ignored, plain)
    }

    /// Takes the tensors of a file that are meant.
    fn add_file(&mut self, path: &Path, naming: Naming, is_meant: &dyn Fn(&str) -> bool) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|cause| {
            Error::reading(path, cause).hint(match other_weights_beside(path) {
                Some(other) => format!("`{other}` is there, but only one file of safetensors is read: convert it"),
                None => "a model folder has config.json, model.safetensors and tokenizer.json".to_owned(),
            })
        })?;
        let file = SafeTensors::deserialize(&bytes).map_err(|cause| {
            Error::data(format!("not a safetensors file: {cause}"))
                .at(Place::file(path))
                .hint("was the download cut short? Other formats (.bin, .pt) are not read: they may hold code")
        })?;
        for (name, view) in file.tensors() {
            let (plain, side) = naming.plain(&name);
            if !is_meant(&name) || self.is_left_out(naming, &plain) || Quantized::is_scale(&file, &name) {
                continue;
            }
            let place = || Place::tensor(path, &name);
            let in_f32 = |dtype| {
                let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &self.device)?;
                tensor.to_dtype(DType::F32)
            };
            let in_bytes = Quantized::read(&file, &name, path, &self.device)?;
            let tensor = match (view.dtype(), in_bytes) {
                (_, Some(tensor)) => tensor,
                (Dtype::F32, _) => in_f32(DType::F32)?,
                (Dtype::F16, _) => in_f32(DType::F16)?,
                (Dtype::BF16, _) => in_f32(DType::BF16)?,
                (Dtype::F64, _) => in_f32(DType::F64)?,
                // Counters of a head that is left aside anyway.
                (_, None) if side == Side::Foreign => {
                    self.whole_numbers.push(plain);
                    continue;
                }
                (Dtype::I8, None) => {
                    let message = format!("expected its scales beside it, `{name}_scale`, found none");
                    return Err(Error::data(message)
                        .at(place())
                        .hint("`polyhead quantize` writes bytes with their scales"));
                }
                (other, None) => {
                    return Err(Error::data(format!("expected floating point numbers, found {other:?}")).at(place()));
                }
            };
            // Nothing but NaN and infinity differs from 0 after a product with 0 (a plain sum may overflow).
            if tensor.affine(0.0, 0.0)?.sum_all()?.to_scalar::<f32>()? != 0.0 {
                return Err(Error::data("expected finite numbers, found NaN or infinity").at(place()));
            }
            if side == Side::Foreign {
                self.foreign.insert(plain.clone());
            }
            if self.tensors.insert(plain.clone(), tensor).is_some() {
                return Err(Error::data(format!("two tensors for `{plain}`")).at(place()));
            }
        }
        Ok(())
    }

    /// Weights that hold every tensor that is asked for, in the shape that is asked for, and none of its values:
    /// [`Weights::into_shapes`] then says what was declared. Nothing of the model's size is allocated.
    pub fn shapes_only() -> Self {
        Self { shapes: Some(Vec::new()), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            path: PathBuf::new(),
            tensors: BTreeMap::new(),
            parameters: Vec::new(),
            owner: Owner::Encoder,
            group: Group::Embeddings,
            freeze: Freeze::Nothing,
            int8: Int8::No,
            layers: Vec::new(),
            lora: None,
            vectors: None,
            heads: Heads::Stored,
            device: Device::Cpu,
            problems: Vec::new(),
            foreign: BTreeSet::new(),
            whole_numbers: Vec::new(),
            matched: BTreeMap::new(),
            by_label: BTreeMap::new(),
            still: BTreeSet::new(),
            tasks: Vec::new(),
            shared_is_frozen: false,
            copied: BTreeSet::new(),
            shapes: None,
        }
    }

    /// Where the tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What was declared to [`Weights::shapes_only`], in order.
    pub fn into_shapes(self) -> Vec<Shape> {
        self.shapes.unwrap_or_default()
    }

    /// The same of a head, without how many labels it has.
    pub fn into_head_tensors(self) -> Vec<HeadTensor> {
        let Self { shapes, by_label, .. } = self;
        let tensor = |shape: Shape| match by_label.get(&shape.name) {
            Some(&of_label) => HeadTensor { name: shape.name, dims: vec![of_label], by_label: true },
            None => HeadTensor { name: shape.name, dims: shape.dims, by_label: false },
        };
        shapes.unwrap_or_default().into_iter().map(tensor).collect()
    }

    /// Whether the checkpoint has this tensor (and it was not yet handed out).
    pub fn holds(&self, name: &str) -> bool {
        self.shapes.is_some() || self.tensors.contains_key(name)
    }

    /// Whether a parameter of this name was declared.
    pub fn declared(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// The dimensions of a tensor of the checkpoint that was not yet handed out.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Tensor::dims)
    }

    /// What is declared from here on belongs to `owner`.
    pub fn for_owner(&mut self, owner: Owner) {
        if matches!(owner, Owner::Head(_)) {
            self.group = Group::Head;
        }
        self.owner = owner;
    }

    /// The model has these tasks.
    pub fn for_tasks(&mut self, names: impl Iterator<Item = String>) {
        self.tasks = names.collect();
    }

    /// Nothing of the encoder is trained but what is private to tasks.
    pub fn freeze_shared(&mut self) {
        self.shared_is_frozen = true;
    }

    /// The tasks of the model.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// What `declare` declares, for each task with its number, is a part of the encoder that is private to it.
    pub fn for_each_task<R>(&mut self, mut declare: impl FnMut(&mut Self, usize) -> Result<R>) -> Result<Vec<R>> {
        let tasks = self.tasks.clone().into_iter().enumerate();
        tasks.map(|(number, task)| self.private_to(&task, |weights| declare(weights, number))).collect()
    }

    /// What `declare` declares is a part of the encoder that is private to a task. A tensor that the checkpoint does not have as the task's
    /// own begins as a copy of the one that it has for all.
    fn private_to<R>(&mut self, task: &str, declare: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let before = std::mem::replace(&mut self.owner, Owner::Private(task.to_owned()));
        let declared = declare(self);
        self.owner = before;
        declared
    }

    /// The name of what is declared now: a task's own where it is private.
    fn own_name(&self, name: &str) -> String {
        match &self.owner {
            Owner::Private(task) => format!("{PRIVATE}{task}.{name}"),
            _ => name.to_owned(),
        }
    }

    /// Puts a copy of the tensor that all tasks have in the place of a private one that the checkpoint does not have.
    fn copy_shared(&mut self, own: &str, name: &str) -> Result<()> {
        let may_copy = matches!((&self.owner, self.heads), (Owner::Private(_), Heads::New(_)));
        if !may_copy || self.tensors.contains_key(own) {
            return Ok(());
        }
        let declared = self.parameters.iter().find(|parameter| parameter.name == name);
        let shared = match (self.tensors.get(name), declared) {
            (Some(tensor), _) => {
                self.copied.insert(name.to_owned());
                Some(tensor.clone())
            }
            (None, Some(parameter)) => Some(parameter.weight.tensor()?.copy()?),
            (None, None) => None,
        };
        if let Some(shared) = shared {
            self.tensors.insert(own.to_owned(), shared);
        }
        Ok(())
    }

    /// What is declared from here on stands in `group`.
    pub fn in_group(&mut self, group: Group) {
        self.group = group;
    }

    /// What is declared from here on is not trained where this says so.
    pub fn freeze(&mut self, freeze: Freeze) {
        self.freeze = freeze;
    }

    /// These linear layers of the encoder are to multiply bytes.
    pub fn use_int8(&mut self, int8: Int8) {
        self.int8 = int8;
    }

    /// Notes a linear layer of the encoder, or several side by side in one product; how it is computed.
    pub fn linear_layer(&mut self, names: &[String]) -> Multiplies {
        let names: Vec<String> = names.iter().map(|name| self.own_name(name)).collect();
        let multiplies = self.int8.of(&names);
        self.layers.push(names);
        multiplies
    }

    /// The linear layers of the encoder that were noted.
    pub fn linear_layers(&self) -> &[Vec<String>] {
        &self.layers
    }

    /// The names of the tensors that were not yet handed out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Those of them that are matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|(_, tensor)| tensor.rank() == 2).map(|(name, _)| name.as_str())
    }

    /// Those whose names begin so, with their tensors.
    pub fn of_part(&self, prefix: &str) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Renames a tensor of the checkpoint, if it is there: single-task folders name their heads in their own way.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(tensor) = self.tensors.remove(from) {
            self.tensors.insert(to.to_owned(), tensor);
        }
    }

    /// Takes a tensor out of the checkpoint.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Puts a tensor in.
    pub fn put(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Leaves the encoder's layers from this one on behind, counted from 0.
    pub fn drop_layers(&mut self, from: usize) {
        let number = |name: &str| {
            let mut parts = name.split('.').skip_while(|part| !matches!(*part, "layer" | "layers")).skip(1);
            parts.next()?.parse::<usize>().ok()
        };
        let is_head = |name: &str| is_of_a_task(name) || self.foreign.contains(name);
        self.tensors.retain(|name, _| is_head(name) || number(name).is_none_or(|layer| layer < from));
    }

    // Heads of the checkpoint that a model begins with

    /// Whether the checkpoint has a head of this name.
    pub fn has_head(&self, name: &str) -> bool {
        let prefix = head_prefix(name);
        self.tensors.keys().any(|tensor| tensor.starts_with(&prefix))
    }

    /// Gives a head of the checkpoint another name, and what is private to its task.
    pub fn rename_head(&mut self, from: &str, to: &str) {
        for prefix in [head_prefix, private_prefix] {
            let (from, to) = (prefix(from), prefix(to));
            let names: Vec<String> = self.tensors.keys().filter(|name| name.starts_with(&from)).cloned().collect();
            for name in names {
                self.rename(&name, &name.replacen(&from, &to, 1));
            }
        }
    }

    /// Leaves behind every head of ours but these, and what is private to the tasks of the others.
    pub fn keep_heads(&mut self, names: &[&str]) {
        let kept: Vec<String> = names.iter().flat_map(|name| [head_prefix(name), private_prefix(name)]).collect();
        self.tensors.retain(|name, _| !is_of_a_task(name) || kept.iter().any(|head| name.starts_with(head)));
    }

    /// The head of this name begins with that of the checkpoint, whose tensor rows stand for the labels `stored`; its own
    /// are for `own`.
    pub fn match_head(&mut self, name: &str, stored: &[String], own: &[String]) {
        self.matched.insert(name.to_owned(), Match { stored: stored.to_vec(), own: own.to_vec() });
    }

    /// The head of this name is not trained.
    pub fn keep_still(&mut self, name: &str) {
        self.still.insert(name.to_owned());
    }

    /// The tensors of heads that are not ours and that nobody took, by name.
    pub fn left_aside(&self) -> Vec<&str> {
        let there = self.foreign.iter().filter(|name| self.tensors.contains_key(*name));
        let mut names: Vec<&str> = there.chain(&self.whole_numbers).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    // Declaration

    /// The named tensor, which must be there in this shape.
    ///
    /// A missing or misshapen one is remembered, and zeros of no use stand in for it: [`Weights::finish`] then names all
    /// of them at once.
    pub fn get(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Weight> {
        let (train, own) = (self.train(role), self.own_name(name));
        if let Some(shapes) = &mut self.shapes {
            shapes.push(Shape { name: own, dims: shape.to_vec(), train, owner: self.owner.clone() });
            return self.stand_in();
        }
        self.copy_shared(&own, name)?;
        match self.stored(&own, shape) {
            Some(tensor) => self.declare(&own, &tensor, role),
            None => self.stand_in(),
        }
    }

    /// The named tensor of something that is added to the encoder: that of the checkpoint; where that has none and anything may be new, a new one.
    pub fn get_or_begin(&mut self, name: &str, shape: &[usize], role: Role, init: Init) -> Result<Weight> {
        let own = self.own_name(name);
        match self.new_key() {
            Some(key) if !self.holds(&own) => self.initialised(&own, shape, init, key, role, |_, _| {}),
            _ => self.get(name, shape, role),
        }
    }

    /// The same, where what is new is computed of what was declared before.
    pub fn get_or_begin_as(
        &mut self,
        name: &str,
        shape: &[usize],
        role: Role,
        begins: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Weight> {
        let own = self.own_name(name);
        match self.new_key() {
            Some(_) if !self.holds(&own) => self.declare(&own, &begins()?, role),
            _ => self.get(name, shape, role),
        }
    }

    /// The named tensor of a head, which serves all its labels alike: where the head begins with that of the checkpoint it is kept,
    /// whatever labels that was made for; else it is initialised.
    pub fn get_or_init(&mut self, name: &str, shape: &[usize], role: Role, init: Init) -> Result<Weight> {
        match self.heads {
            Heads::New(key) if self.matched_head().is_none() => {
                self.tensors.remove(name);
                self.initialised(name, shape, init, key, role, |_, _| {})
            }
            _ => self.get(name, shape, role),
        }
    }

    /// The named tensor of a head. Where it is new, it begins as a copy of `of`, which was declared before, if there is such a
    /// one of this shape; else it is initialised.
    pub fn get_or_copy(&mut self, name: &str, of: &str, shape: &[usize], role: Role, init: Init) -> Result<Weight> {
        let matched = self.matched_head().is_some();
        let model = self.parameters.iter().find(|parameter| parameter.name == of);
        let model = model.map(|parameter| parameter.weight.tensor().cloned()).transpose()?;
        match (self.heads, model.filter(|tensor| tensor.dims() == shape)) {
            (Heads::New(_), Some(tensor)) if !matched => {
                self.tensors.remove(name);
                self.declare(name, &tensor.copy()?, role)
            }
            _ => self.get_or_init(name, shape, role, init),
        }
    }

    /// The named tensor of a head, `[labels, ...row]`, with a row for each label. Where the checkpoint's head was made for
    /// other labels, or for these in another order, every label has the row that it had there, and those that it did not
    /// have are initialised as the rows of a new head are.
    pub fn get_or_init_by_label(
        &mut self,
        name: &str,
        labels: &[String],
        row: &[usize],
        role: Role,
        init: Init,
    ) -> Result<Weight> {
        self.rows_by_label(name, labels, row.iter().product(), |labels| [&[labels], row].concat(), role, init)
    }

    /// The same with several rows for each label, one label after the other: `[labels * block[0], block[1] ..]`.
    pub fn get_or_init_blocks_by_label(
        &mut self,
        name: &str,
        labels: &[String],
        block: &[usize],
        role: Role,
        init: Init,
    ) -> Result<Weight> {
        let shape = |labels: usize| match block.split_first() {
            Some((rows, rest)) => [&[labels * rows], rest].concat(),
            None => vec![labels],
        };
        self.rows_by_label(name, labels, block.iter().product(), shape, role, init)
    }

    /// A tensor with `width` numbers for each label, one label after the other, which has this shape for so many labels.
    fn rows_by_label(
        &mut self,
        name: &str,
        labels: &[String],
        width: usize,
        shape: impl Fn(usize) -> Vec<usize>,
        role: Role,
        init: Init,
    ) -> Result<Weight> {
        self.by_label.insert(name.to_owned(), width);
        let (Heads::New(key), Some(Match { stored, own })) = (self.heads, self.matched_head().cloned()) else {
            return self.get_or_init(name, &shape(labels.len()), role, init);
        };
        if stored == own {
            return self.get_or_init(name, &shape(labels.len()), role, init);
        }
        let Some(old) = self.stored(name, &shape(stored.len())) else {
            return self.stand_in();
        };
        let old = old.flatten_all()?.to_vec1::<f32>()?;
        self.initialised(name, &shape(labels.len()), init, key, role, |index, value| {
            let (row, column) = (index / width.max(1), index % width.max(1));
            let label = labels.get(row);
            let place = label.and_then(|label| stored.iter().position(|known| known == label));
            if let Some(kept) = place.and_then(|place| old.get(place * width + column)) {
                *value = *kept;
            }
        })
    }

    /// A tensor of the checkpoint in this shape; if there is none, that is remembered.
    fn stored(&mut self, name: &str, shape: &[usize]) -> Option<Tensor> {
        let problem = match self.tensors.remove(name) {
            Some(tensor) if tensor.dims() == shape => return Some(tensor),
            Some(tensor) => format!("expected the shape {shape:?}, found {:?}", tensor.dims()),
            None => format!("expected a tensor {shape:?}, found none of this name"),
        };
        self.problems.push(Error::data(problem).at(Place::tensor(&self.path, name)));
        None
    }

    /// A new tensor: values that follow from the key, its name and their place in it, changed by `adapt`.
    pub(super) fn initialised(
        &mut self,
        name: &str,
        shape: &[usize],
        init: Init,
        key: Key,
        role: Role,
        adapt: impl Fn(usize, &mut f32),
    ) -> Result<Weight> {
        // Nothing is made for a checkpoint that is refused: its sizes may be anything.
        if !self.problems.is_empty() {
            return self.stand_in();
        }
        let key = key.purpose(name);
        let value = |index: usize| {
            let mut value = match init {
                Init::Zeros => 0.0,
                Init::Ones => 1.0,
                Init::Uniform(bound) => ((2.0 * key.uniform(index as u64) - 1.0) * bound) as f32,
            };
            adapt(index, &mut value);
            value
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        self.declare(name, &Tensor::from_vec(values, shape, &self.device)?, role)
    }

    /// The key of what is new, where anything may be.
    pub(super) fn new_key(&self) -> Option<Key> {
        match self.heads {
            Heads::New(key) => Some(key),
            Heads::Stored => None,
        }
    }

    fn matched_head(&self) -> Option<&Match> {
        let Owner::Head(name) = &self.owner else { return None };
        self.matched.get(name)
    }

    /// Whether what is declared now is trained.
    fn train(&self, role: Role) -> Train {
        let frozen = match (&self.owner, role) {
            (_, Role::Unused) => true,
            (Owner::Head(name) | Owner::Private(name), _) => self.still.contains(name),
            (Owner::Encoder, Role::LowRank | Role::Vector) => false,
            (Owner::Encoder, _) => self.shared_is_frozen || self.lora.is_some() || self.freeze.holds(self.group),
        };
        if frozen { Train::No } else { Train::Yes }
    }

    fn declare(&mut self, name: &str, tensor: &Tensor, role: Role) -> Result<Weight> {
        let train = self.train(role);
        let weight = Weight::named(name, tensor)?;
        if train == Train::No {
            weight.freeze();
        }
        let (name, owner, group) = (name.to_owned(), self.owner.clone(), self.group);
        self.parameters.push(Parameter { name, weight: weight.clone(), owner, group, role });
        Ok(weight)
    }

    /// What is handed out where there is nothing to hand out.
    fn stand_in(&self) -> Result<Weight> {
        Ok(Weight::new(&Tensor::zeros(1, DType::F32, &self.device)?)?)
    }

    /// All declared parameters; an error that names every missing, misshapen and unknown tensor if there is one.
    pub fn finish(self) -> Result<Parameters> {
        let mut problems: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        // A model that begins with the encoder of another leaves that one's head behind.
        let aside: BTreeSet<&str> = match self.heads {
            Heads::New(_) => self.left_aside().into_iter().collect(),
            Heads::Stored => BTreeSet::new(),
        };
        let unknown = self.tensors.keys().filter(|name| !self.copied.contains(*name)).chain(&self.whole_numbers);
        for name in unknown.map(String::as_str).filter(|name| !aside.contains(name)) {
            problems.push(format!("{}: unknown to this model", Place::tensor(&self.path, name)));
        }
        let Some((first, rest)) = problems.split_first() else { return Ok(Parameters(self.parameters)) };
        let more = match rest.len() {
            0 => String::new(),
            count => format!("\nand {count} more:\n{}", rest[..count.min(20)].join("\n")),
        };
        Err(Error::data(format!("{first}{more}"))
            .hint("do config.json and model.safetensors belong together? Shapes follow from hidden_size, vocab_size and so on"))
    }
}

/// Whether a tensor is of one task: its head's, or private to it.
fn is_of_a_task(name: &str) -> bool {
    name.starts_with("heads.") || name.starts_with(PRIVATE)
}

/// What the names of a head's tensors begin with.
fn head_prefix(name: &str) -> String {
    format!("heads.{name}.")
}

/// Weights in a format that is not read, where `model.safetensors` is missing.
fn other_weights_beside(path: &Path) -> Option<&'static str> {
    let names = ["pytorch_model.bin", "tf_model.h5", "model.onnx"];
    names.into_iter().find(|name| path.with_file_name(name).exists())
}
