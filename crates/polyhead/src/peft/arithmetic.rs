//! What can be made of low-rank additions without training.
//!
//! ```text
//! merged    W + Σ s B A            one task, as a plain model
//! average   mean of s B A          of models with the same tasks: [A1; A2], [s1 B1  s2 B2] / 2, exact, at the sum of the ranks; heads are averaged
//! negated   -B                     what training added to the encoder is taken away from it
//! without   a model without some of its tasks
//! ```
//!
//! Averages and negations are those of PEFT and adapters (`add_weighted_adapter` with `cat`; task arithmetic, Ilharco et al. 2023, arXiv:2212.04089).

use super::parts::{Addition, Part, Parts};
use crate::error::{Error, Place, Result};
use crate::model::Model;
use crate::tasks::TaskKind;
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// One task of a model with LoRA as a plain model.
///
/// # Errors
/// The model has no LoRA, or no such task.
pub fn merged(model: &Path, task: &str, kinds: &[TaskKind]) -> Result<Model> {
    Parts::of_model(model, kinds)?.into_merged(task)
}

/// The model without these tasks; the answers of the others stay the same.
///
/// # Errors
/// It has no such task, or no other.
pub fn without(model: &Path, tasks: &[String], kinds: &[TaskKind]) -> Result<Model> {
    let mut parts = Parts::of_model(model, kinds)?;
    parts.check_names(tasks)?;
    parts.keep(&|name| !tasks.iter().any(|task| task == name));
    if parts.tasks.is_empty() {
        return Err(Error::usage("expected a task that stays, found none: a model has one at least")
            .hint("`polyhead export MODEL --adapter DIR --base ENCODER` writes the encoder by itself"));
    }
    parts.into_model()
}

/// The model in which the additions of these tasks, of all if none is named, count minus what they did.
///
/// # Errors
/// It has no LoRA, or no such task.
pub fn negated(model: &Path, tasks: &[String], kinds: &[TaskKind]) -> Result<Model> {
    let mut parts = Parts::of_model(model, kinds)?;
    parts.check_names(tasks)?;
    parts.check_sums(model)?;
    for part in &mut parts.tasks {
        let name = &part.task.name;
        if !tasks.is_empty() && !tasks.contains(name) {
            continue;
        }
        part.additions.values_mut().try_for_each(|addition| addition.b.neg().map(|b| addition.b = b))?;
        // They were of another model.
        parts.about.scores.remove(name);
        parts.about.examples.remove(name);
    }
    parts.into_model()
}

/// The mean of models that have the same encoder and the same tasks.
///
/// # Errors
/// There are fewer than two; a model has no LoRA, another encoder or other tasks.
pub fn average(models: &[&Path], kinds: &[TaskKind]) -> Result<Model> {
    let mut all = models.iter().map(|model| Parts::of_model(model, kinds)).collect::<Result<Vec<_>>>()?.into_iter();
    let (Some(mut mean), count) = (all.next(), models.len()) else {
        return Err(Error::usage("expected two models at least, found none"));
    };
    if count < 2 {
        return Err(Error::usage("expected two models at least, found one"));
    }
    mean.check_sums(&mean.folder)?;
    mean.about.scores.clear();
    let share = 1.0 / count as f64;
    for part in &mut mean.tasks {
        part.made_with = None;
        for addition in part.additions.values_mut() {
            addition.b = (&addition.b * (addition.scale * share))?;
            addition.scale = 1.0;
        }
        for tensor in part.head.values_mut() {
            *tensor = (&*tensor * share)?;
        }
    }
    for (other, path) in all.zip(models.iter().skip(1)) {
        other.check_sums(path)?;
        let fault = |what: &str| {
            Error::usage(format!("expected models of one encoder with the same tasks, found {what}"))
                .at(Place::file(path))
        };
        if !mean.encoder.holds_same(&other.encoder)? {
            return Err(fault("another encoder"));
        }
        let names = |parts: &Parts| parts.tasks.iter().map(|part| part.task.name.clone()).collect::<Vec<_>>();
        if names(&mean) != names(&other) {
            return Err(fault(&names(&other).join(", ")));
        }
        for (mean, other) in mean.tasks.iter_mut().zip(other.tasks) {
            if mean.task.task.labels() != other.task.task.labels() || mean.task.task.kind() != other.task.task.kind() {
                return Err(fault(&format!("`{}` with other labels", other.task.name)));
            }
            mean.add(other, share)?;
        }
    }
    mean.into_model()
}

impl Part {
    /// Adds a share of another part with the same head.
    fn add(&mut self, other: Self, share: f64) -> Result<()> {
        for (layer, Addition { a, b, scale, .. }) in other.additions {
            let b = (b * (scale * share))?;
            let sum = match self.additions.remove(&layer) {
                Some(mean) => Addition {
                    a: Tensor::cat(&[&mean.a, &a], 0)?,
                    b: Tensor::cat(&[&mean.b, &b], 1)?.contiguous()?,
                    scale: 1.0,
                    lengths: None,
                },
                None => Addition { a, b, scale: 1.0, lengths: None },
            };
            self.additions.insert(layer, sum);
        }
        let mut head = BTreeMap::new();
        for (name, tensor) in other.head {
            let mean = self.head.get(&name).filter(|mean| mean.dims() == tensor.dims());
            let mean =
                mean.ok_or_else(|| Error::usage(format!("expected heads of one form, found another `{name}`")))?;
            head.insert(name, (mean + (tensor * share)?)?);
        }
        self.head = head;
        Ok(())
    }
}

impl Parts {
    /// Refuses additions that are not all that training made.
    fn check_sums(&self, model: &Path) -> Result<()> {
        match self.tasks.iter().flat_map(|part| part.additions.values()).any(|addition| addition.lengths.is_some()) {
            true => Err(Error::usage("expected low-rank additions alone, found lengths of rows (DoRA) beside them")
                .at(Place::file(model))
                .hint("`polyhead merge` writes the sum of both")),
            false => Ok(()),
        }
    }

    fn check_names(&self, tasks: &[String]) -> Result<()> {
        let known: Vec<&str> = self.tasks.iter().map(|part| part.task.name.as_str()).collect();
        match tasks.iter().find(|task| !known.contains(&task.as_str())) {
            Some(unknown) => {
                Err(Error::usage(format!("expected tasks of the model ({}), found `{unknown}`", known.join(", "))))
            }
            None => Ok(()),
        }
    }
}
