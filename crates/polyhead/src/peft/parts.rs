//! A model with low-rank additions as its encoder and the parts of its tasks, and such parts as a model.
//!
//! ```text
//! encoder.layer.0.attention.self.query.weight                            the encoder's, without any addition
//! task ner: encoder.layer.0.attention.self.query -> A [rank, in], B [out, rank], what they count;   heads.ner.weight ...
//! task qa:  ...
//! ```
//!
//! A model has one rank, scale and choice of layers. Where parts differ, the largest rank and all layers are taken: what a part does not have are
//! zeros, and what it counts is multiplied into its B.

use crate::encoders::EncoderOverrides;
use crate::error::{Error, Place, Result};
use crate::hub::model_folder;
use crate::model::{Model, NamedTask, Provenance};
use crate::parameters::{Lora, Merged, Owner, Weights, private_prefix, without_number};
use crate::strategy::Strategy;
use crate::tasks::TaskKind;
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) const A: &str = ".lora_A.weight";
pub(super) const B: &str = ".lora_B.weight";
pub(super) const LENGTHS: &str = ".lora_magnitude_vector";

/// An addition to a linear layer.
pub(super) struct Addition {
    /// `[rank, in]`
    pub a: Tensor,
    /// `[out, rank]`
    pub b: Tensor,
    /// What their product is multiplied by.
    pub scale: f64,
    /// The lengths of the rows of the sum, `[out]`, where they are learnt by themselves (DoRA).
    pub lengths: Option<Tensor>,
}

/// What a task has for itself.
pub(super) struct Part {
    pub task: NamedTask,
    /// By the names of layers.
    pub additions: BTreeMap<String, Addition>,
    /// By the names that they have in a model.
    pub head: BTreeMap<String, Tensor>,
    /// What the additions were made with: the same for all of them; none if that is not so.
    pub made_with: Option<Lora>,
}

/// An encoder, and the tasks that have additions to it.
pub(super) struct Parts {
    /// Where the tokenizer is.
    pub folder: PathBuf,
    /// The encoder's `config.json`.
    pub config: Value,
    pub encoder: Weights,
    pub tasks: Vec<Part>,
    pub about: Provenance,
}

impl Parts {
    /// Those of a model with LoRA, of all tasks or of each.
    ///
    /// # Errors
    /// It has none.
    pub fn of_model(folder: &Path, kinds: &[TaskKind]) -> Result<Self> {
        let model = Model::load(folder, kinds)?;
        let Some(lora) = model.lora.as_ref().or(model.private_lora.as_ref()) else {
            return Err(Error::usage("expected a model with LoRA, found one without")
                .at(Place::file(folder))
                .hint("`sharing = \"lora\"` or [encoder.lora] in a recipe trains one"));
        };
        let tensors = |keep: &dyn Fn(&Owner, &str) -> bool| -> Result<BTreeMap<String, Tensor>> {
            let kept = model.parameters.iter().filter(|parameter| keep(&parameter.owner, &parameter.name));
            kept.map(|parameter| Ok((parameter.name.clone(), parameter.weight.tensor()?.clone()))).collect()
        };
        let is_addition = |name: &str| [A, B, LENGTHS].iter().any(|end| name.ends_with(end));
        let encoder = tensors(&|owner, name| *owner == Owner::Encoder && !is_addition(name))?;
        let mut tasks = Vec::new();
        for NamedTask { name, task } in &model.tasks {
            let mut own: BTreeMap<String, Tensor> =
                model.parameters.encoder_of(name, Merged::No)?.into_iter().collect();
            let layers: Vec<String> =
                own.keys().filter_map(|tensor| Some(tensor.strip_suffix(A)?.to_owned())).collect();
            let mut additions = BTreeMap::new();
            for layer in layers {
                let lengths = own.remove(&format!("{layer}{LENGTHS}"));
                if let [Some(a), Some(b)] = [A, B].map(|end| own.remove(&format!("{layer}{end}"))) {
                    additions.insert(layer, Addition { a, b, scale: lora.scale(), lengths });
                }
            }
            let head = tensors(&|owner, _| matches!(owner, Owner::Head(task) if task == name))?;
            let opened = kinds.iter().find(|kind| kind.kind == task.kind()).map(|kind| (kind.open)(task.config()));
            let task = opened.transpose()?.ok_or_else(|| Error::internal("a task of an unknown kind"))?;
            let task = NamedTask { name: name.clone(), task };
            tasks.push(Part { task, additions, head, made_with: Some(lora.clone()) });
        }
        let folder = model_folder(folder);
        let encoder = Weights::of(&folder.join("model.safetensors"), encoder);
        Ok(Self { folder, config: model.config().clone(), encoder, tasks, about: model.about.clone() })
    }

    /// The model in which each task has its additions for itself.
    ///
    /// # Errors
    /// Additions do not fit the encoder, or two tasks have one name.
    pub fn into_model(mut self) -> Result<Model> {
        let lora = self.settings()?;
        let layers = self.layers()?;
        let mut tasks = Vec::new();
        for part in self.tasks {
            for (layer, &[outer, inner]) in &layers {
                let addition = part.additions.get(layer);
                let [a, b] = match addition {
                    Some(addition) => addition
                        .of_rank(&lora, [outer, inner])
                        .map_err(|error| error.at_least(Place::tensor(format!("task {}", part.task.name), layer)))?,
                    None => {
                        let zeros = |dims: [usize; 2]| Tensor::zeros(&dims, DType::F32, &Device::Cpu);
                        [zeros([lora.rank, inner])?, zeros([outer, lora.rank])?]
                    }
                };
                let mut tensors = vec![(A, a), (B, b)];
                if lora.dora {
                    let weight = self.encoder.of_part(&format!("{layer}.weight")).next();
                    let weight = weight.ok_or_else(|| Error::internal("a layer without weights"))?.1;
                    let of_weight = || weight.sqr()?.sum(1)?.sqrt();
                    let lengths = addition.and_then(|addition| addition.lengths.clone()).map_or_else(of_weight, Ok)?;
                    tensors.push((LENGTHS, lengths));
                }
                for (end, tensor) in tensors {
                    self.encoder.put(&format!("{}{layer}{end}", private_prefix(&part.task.name)), tensor);
                }
            }
            part.head.into_iter().for_each(|(name, tensor)| self.encoder.put(&name, tensor));
            tasks.push(part.task);
        }
        let options = toml::Table::try_from(&lora).map_err(|cause| Error::internal(cause.to_string()))?;
        let sharing = Strategy { name: "lora".to_owned(), options };
        let adjust = EncoderOverrides { sharing, ..EncoderOverrides::default() };
        if let Some(fields) = self.config.as_object_mut() {
            fields.insert("architectures".into(), json!([]));
        }
        Model::of_parts(&self.folder, self.config, self.about, tasks, &adjust, self.encoder)
    }

    /// The model of one task alone, with its additions in the weights of the encoder.
    ///
    /// # Errors
    /// There is no such task, or the additions do not fit the encoder.
    pub fn into_merged(mut self, task: &str) -> Result<Model> {
        self.layers()?;
        self.keep(&|name| name == task);
        let Some(part) = self.tasks.pop() else { return Err(Error::usage(format!("there is no task `{task}`"))) };
        for (layer, Addition { a, b, scale, lengths }) in part.additions {
            let name = format!("{layer}.weight");
            let weight = self.encoder.take(&name).ok_or_else(|| Error::internal("a layer without weights"))?;
            let sum = (weight + (b.matmul(&a)? * scale)?)?;
            self.encoder.put(
                &name,
                match lengths {
                    Some(lengths) => sum.broadcast_mul(&(lengths / sum.sqr()?.sum(1)?.sqrt()?)?.unsqueeze(1)?)?,
                    None => sum,
                },
            );
        }
        part.head.into_iter().for_each(|(name, tensor)| self.encoder.put(&name, tensor));
        let adjust = EncoderOverrides::default();
        Model::of_parts(&self.folder, self.config, self.about, vec![part.task], &adjust, self.encoder)
    }

    /// Leaves the other tasks out, and what is known of them.
    pub fn keep(&mut self, stays: &dyn Fn(&str) -> bool) {
        self.tasks.retain(|part| stays(&part.task.name));
        self.about.scores.retain(|name, _| stays(name));
        self.about.examples.retain(|name, _| stays(name));
        self.about.calibration.retain(|name, _| stays(name));
        self.about.kept_heads.retain(|name| stays(name));
    }

    /// All layers that any part has an addition to, `[out, in]`.
    fn layers(&self) -> Result<BTreeMap<String, [usize; 2]>> {
        let named: BTreeSet<&String> = self.tasks.iter().flat_map(|part| part.additions.keys()).collect();
        let with_dims = |layer: &String| match self.encoder.dims(&format!("{layer}.weight")) {
            Some(&[outer, inner]) => Ok((layer.clone(), [outer, inner])),
            _ => Err(Error::data(format!("expected a linear layer `{layer}` in the encoder, found none"))
                .at(Place::file(&self.folder))
                .hint("is this the encoder that the additions were trained with?")),
        };
        named.into_iter().map(with_dims).collect()
    }

    /// One choice of rank, scale and layers that holds what all parts have.
    ///
    /// # Errors
    /// Some are of DoRA and some are not.
    fn settings(&self) -> Result<Lora> {
        let additions = || self.tasks.iter().flat_map(|part| part.additions.values());
        let rank = additions().map(Addition::rank).max().unwrap_or(0);
        let made_with = self.tasks.first().and_then(|part| part.made_with.as_ref());
        let all_alike =
            self.tasks.iter().all(|part| part.made_with.as_ref().zip(made_with).is_some_and(|(a, b)| a.fits(b)));
        if let Some(lora) = made_with.filter(|lora| all_alike && lora.rank == rank) {
            return Ok(lora.clone());
        }
        let dora = additions().any(|addition| addition.lengths.is_some());
        if dora && additions().any(|addition| addition.lengths.is_none()) {
            return Err(Error::usage("expected additions with lengths of rows (DoRA) in all tasks or in none"));
        }
        let layers: BTreeSet<&str> =
            self.tasks.iter().flat_map(|part| part.additions.keys()).map(String::as_str).collect();
        let targets = targets(&layers, &self.encoder);
        let loras = self.tasks.iter().filter_map(|part| part.made_with.as_ref());
        let dropout = loras.map(|lora| lora.dropout).fold(0.0, f64::max);
        Ok(Lora { rank, alpha: rank as f64, rslora: false, dora, dropout, targets: Some(targets) })
    }
}

/// Names that mean these layers of an encoder and no others: the last parts where those say enough.
pub(super) fn targets(layers: &BTreeSet<&str>, encoder: &Weights) -> Vec<String> {
    let matrices: Vec<&str> = encoder.matrices().filter_map(|name| name.strip_suffix(".weight")).collect();
    let ends_so = |layer: &str, end: &str| layer.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    let mut targets: Vec<String> = Vec::new();
    for layer in layers {
        let end = without_number(layer);
        let names_others = matrices.iter().any(|other| ends_so(other, end) && !layers.contains(other));
        let target = if names_others { (*layer).to_owned() } else { end.to_owned() };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

impl Addition {
    fn rank(&self) -> usize {
        self.a.dims().first().copied().unwrap_or(0)
    }

    /// A and B for a model with these settings, of a layer `[out, in]`.
    fn of_rank(&self, lora: &Lora, [outer, inner]: [usize; 2]) -> Result<[Tensor; 2]> {
        let (a, b, rank) = (&self.a, &self.b, self.rank());
        if *a.dims() != [rank, inner] || *b.dims() != [outer, rank] {
            let (a, b) = (a.dims(), b.dims());
            let message = format!("expected an addition to a layer [{outer}, {inner}], found A {a:?} and B {b:?}");
            return Err(Error::data(message));
        }
        let b = if self.scale == lora.scale() { b.clone() } else { (b * (self.scale / lora.scale()))? };
        let more = lora.rank - rank;
        Ok([a.pad_with_zeros(0, 0, more)?.contiguous()?, b.pad_with_zeros(1, 0, more)?.contiguous()?])
    }
}
