//! LoRA (Hu et al., arXiv:2106.09685): the encoder is frozen, and chosen linear layers get a low-rank addition that is trained, one for all
//! tasks or one for each.
//!
//! ```text
//! y = x Wᵀ + b + alpha / rank · dropout(x) Aᵀ Bᵀ     W [out, in], frozen    A [rank, in], B [out, rank], trained
//!
//! NAME.weight [out, in]   NAME.bias [out]   NAME.lora_A.weight [rank, in]   NAME.lora_B.weight [out, rank]
//! merged: NAME.weight = W + alpha / rank · B A
//! ```
//!
//! With `rslora` it is alpha / √rank (Kalajdzievski, arXiv:2312.03732). With `dora` there is a vector besides (`vectors.rs`).
//!
//! Names, defaults and beginnings are those of PEFT: A is uniform within 1/√in (Kaiming, a = √5), B is zero, so that training
//! begins with the encoder as it was. Encoders ask [`Weights::low_rank`] at each of their linear layers.

use super::names::{names_layer, without_number};
use super::vectors::merge_vectors;
use super::{Init, Owner, Parameter, Parameters, Role, Weights, private_prefix};
use crate::error::{Error, Place, Result};
use candle_core::Tensor;
use polyhead_kernels::{DropoutAt, LowRank};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// The settings of LoRA: `[encoder.lora]` of a recipe, `polyhead.lora` of a model's `config.json`; or the options of `sharing`, where each
/// task has its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// The rank of the additions.
    pub rank: usize,
    /// The additions count `alpha / rank`.
    pub alpha: f64,
    /// They count `alpha / √rank` instead: large ranks are then of use.
    pub rslora: bool,
    /// The lengths of the rows of what they are added to are learnt by themselves (DoRA).
    pub dora: bool,
    /// Dropout of what the additions read.
    pub dropout: f64,
    /// The linear layers, by the last parts of their names; left out, those that the encoder's kind names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<String>>,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 8, alpha: 8.0, rslora: false, dora: false, dropout: 0.0, targets: None }
    }
}

/// A value that is out of its range: its key, what was expected, what was found.
pub type OutOfRange = (&'static str, String, String);

impl Lora {
    /// The first value that is out of its range, whatever the encoder is.
    pub fn out_of_range(&self) -> Option<OutOfRange> {
        let fault = |key, expected: &str, found: String| Some((key, expected.to_owned(), found));
        let Self { rank, alpha, dropout, targets, .. } = self;
        if *rank == 0 {
            return fault("rank", "at least 1", "0".to_owned());
        }
        if !(*alpha > 0.0 && alpha.is_finite()) {
            return fault("alpha", "a number above 0", alpha.to_string());
        }
        if !(0.0..1.0).contains(dropout) {
            return fault("dropout", "a rate from 0 up to 1", dropout.to_string());
        }
        let targets = targets.as_ref()?;
        let mut seen = BTreeSet::new();
        let bad = targets.iter().find(|name| name.is_empty() || !seen.insert(name.as_str()));
        match bad {
            Some(name) if name.is_empty() => fault("targets", "names of linear layers", "an empty name".to_owned()),
            Some(name) => fault("targets", "each name once", format!("`{name}` twice")),
            None if targets.is_empty() => fault("targets", "at least one name of a linear layer", "none".to_owned()),
            None => None,
        }
    }

    /// The same with the layers named, for an encoder of this default.
    #[must_use]
    pub fn resolved(&self, default: &[&str]) -> Self {
        let targets = self.targets.clone().unwrap_or_else(|| default.iter().map(|&name| name.to_owned()).collect());
        Self { targets: Some(targets), ..self.clone() }
    }

    /// Whether the tensors of one fit the other and mean the same. Dropout may differ, and so may the order of the targets.
    pub fn fits(&self, other: &Self) -> bool {
        let targets = |lora: &Self| lora.targets.clone().map(BTreeSet::from_iter);
        self.rank == other.rank
            && self.alpha == other.alpha
            && self.rslora == other.rslora
            && self.dora == other.dora
            && targets(self) == targets(other)
    }

    /// What the product of B and A is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// In words, for people.
    pub fn described(&self) -> String {
        let Self { rank, alpha, rslora, dora, targets, .. } = self;
        let targets = targets.as_deref().unwrap_or_default().join(", ");
        let of_rank = if *rslora { " / √rank" } else { "" };
        let dora = if *dora { ", DoRA" } else { "" };
        format!("rank {rank}, alpha {alpha}{of_rank}{dora}, on {targets}")
    }

    /// The targets that name a layer; several may.
    fn targets_of(&self, name: &str) -> impl Iterator<Item = &String> {
        self.targets.iter().flatten().filter(move |target| names_layer(target, name))
    }
}

/// Who has additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraOf {
    /// All tasks have the same.
    AllTasks,
    /// Each task has its own.
    EachTask,
}

impl LoraOf {
    /// The table of a recipe that has its settings.
    fn key(self) -> &'static str {
        match self {
            Self::AllTasks => "encoder.lora",
            Self::EachTask => "sharing",
        }
    }
}

/// LoRA while an encoder declares its layers.
pub(super) struct Declared {
    pub(super) settings: Lora,
    of: LoraOf,
    /// Targets that named no layer yet.
    unmet: BTreeSet<String>,
    /// The linear layers so far.
    layers: Vec<String>,
    /// Those of them that have an addition.
    added: usize,
}

impl Weights {
    /// What is declared from here on is an encoder with LoRA: it is frozen, and additions are found in the checkpoint or
    /// begin anew.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn with_lora(&mut self, settings: Lora, of: LoraOf) -> Result<()> {
        if let Some((key, expected, found)) = settings.out_of_range() {
            return Err(Error::usage(format!("{}.{key}: expected {expected}, found {found}", of.key())));
        }
        let unmet = settings.targets.iter().flatten().cloned().collect();
        self.lora = Some(Declared { settings, of, unmet, layers: Vec::new(), added: 0 });
        Ok(())
    }

    /// The additions of the linear layer of this name, `[outer, inner]`: none, one, or one of each task. They are declared after the
    /// layer's own tensors.
    ///
    /// # Errors
    /// The rank is larger than one side of the layer, or its input has an odd width.
    pub fn low_rank(&mut self, name: &str, outer: usize, inner: usize) -> Result<Vec<LowRank>> {
        // What is private to a task is trained whole.
        if matches!(self.owner, Owner::Private(_)) {
            return Ok(Vec::new());
        }
        let Some(Declared { settings, of, unmet, layers, added }) = &mut self.lora else { return Ok(Vec::new()) };
        layers.push(name.to_owned());
        let found: Vec<&String> = settings.targets_of(name).collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        found.into_iter().for_each(|target| _ = unmet.remove(target));
        let (of, rank, scale) = (*of, settings.rank, settings.scale() as f32);
        let dropout = DropoutAt::new(settings.dropout, "lora").of_layer(*added);
        *added += 1;
        let side = outer.min(inner);
        if rank > side {
            let message = format!(
                "{}.rank: expected at most {side}, the smaller side of `{name}` [{outer}, {inner}], found {rank}",
                of.key()
            );
            return Err(Error::usage(message));
        }
        if !inner.is_multiple_of(2) {
            let message = format!(
                "{}.targets: expected layers whose inputs have an even width, found `{name}` [{outer}, {inner}]",
                of.key()
            );
            return Err(Error::usage(message).hint("name other layers"));
        }
        let addition = |weights: &mut Self, task: Option<usize>| {
            let (a, b) = (format!("{name}{A}"), format!("{name}{B}"));
            let init = Init::Uniform(1.0 / (inner as f64).sqrt());
            let a = weights.get_or_begin(&a, &[rank, inner], Role::LowRank, init)?;
            let b = weights.get_or_begin(&b, &[outer, rank], Role::LowRank, Init::Zeros)?;
            Ok(LowRank { a, b, scale, dropout, task })
        };
        match of {
            LoraOf::AllTasks => Ok(vec![addition(self, None)?]),
            LoraOf::EachTask => self.for_each_task(|weights, task| addition(weights, Some(task))),
        }
    }

    /// The settings of LoRA and who has it, once the encoder has declared its layers.
    ///
    /// # Errors
    /// A target names none of them.
    pub fn declared_lora(&self) -> Result<Option<(Lora, LoraOf)>> {
        let Some(Declared { settings, of, unmet, layers, .. }) = &self.lora else { return Ok(None) };
        let Some(unknown) = unmet.first() else { return Ok(Some((settings.clone(), *of))) };
        let mut known: Vec<&str> = Vec::new();
        for name in layers.iter().map(|name| without_number(name)) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        let message = format!(
            "{}.targets: expected names of linear layers of this encoder ({}), or the last parts of them, found \
             `{unknown}`",
            of.key(),
            known.join(", ")
        );
        let error = Error::usage(message);
        let last = |name: &&str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let near = known.iter().find(|name| last(name).contains(unknown.as_str()) || unknown.contains(&last(name)));
        Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    }

    /// Adds the additions of a checkpoint to the weights of its linear layers, where its encoder is to be trained without
    /// them or with others.
    ///
    /// # Errors
    /// They are not those of these settings.
    pub fn merge_lora(&mut self, settings: &Lora) -> Result<()> {
        let path = self.path.clone();
        merge(&mut self.tensors, settings).map_err(|error| error.at_least(Place::file(path)))
    }
}

impl Parameters {
    /// The values of all parameters by name, with every addition of LoRA merged into its linear layer.
    pub fn merged(&self, settings: Option<&Lora>) -> Result<Vec<(String, Tensor)>> {
        let named = self.iter().map(|parameter| Ok((parameter.name.clone(), parameter.weight.tensor()?.clone())));
        let mut tensors: BTreeMap<String, Tensor> = named.collect::<Result<_>>()?;
        if let Some(settings) = settings {
            merge(&mut tensors, settings)?;
        }
        let order = self.iter().map(|parameter| parameter.name.clone());
        Ok(order.filter_map(|name| Some((name.clone(), tensors.remove(&name)?))).collect())
    }

    /// The same of the encoder alone as a task has it, under the names that it would have if nothing were private.
    pub fn encoder_of(&self, task: &str, merged: Merged) -> Result<Vec<(String, Tensor)>> {
        let prefix = private_prefix(task);
        let name = |parameter: &Parameter| match parameter.owner {
            Owner::Encoder => Some(parameter.name.clone()),
            Owner::Private(_) => parameter.name.strip_prefix(&prefix).map(str::to_owned),
            Owner::Head(_) => None,
        };
        let named = self.iter().filter_map(|parameter| Some((name(parameter)?, &parameter.weight)));
        let named = named.map(|(name, weight)| Ok((name, weight.tensor()?.clone())));
        let mut tensors: BTreeMap<String, Tensor> = named.collect::<Result<_>>()?;
        match merged {
            Merged::No => {}
            Merged::Yes(Some(settings)) => merge(&mut tensors, settings)?,
            Merged::Yes(None) => merge_vectors(&mut tensors)?,
        }
        Ok(tensors.into_iter().collect())
    }
}

/// Whether additions and vectors are put into the layers that they stand at.
#[derive(Debug, Clone, Copy)]
pub enum Merged<'a> {
    /// They stay as they are.
    No,
    /// With the settings of LoRA, where there is some.
    Yes(Option<&'a Lora>),
}

/// `W + scale B A` for W, and neither A nor B any more.
fn merge(tensors: &mut BTreeMap<String, Tensor>, settings: &Lora) -> Result<()> {
    let layers: Vec<String> = tensors.keys().filter_map(|name| Some(name.strip_suffix(A)?.to_owned())).collect();
    let mut unmet: BTreeSet<&String> = settings.targets.iter().flatten().collect();
    for layer in layers {
        settings.targets_of(&layer).for_each(|target| _ = unmet.remove(target));
        let mut take = |end: &str| {
            let name = format!("{layer}{end}");
            let found = tensors.remove(&name).filter(|tensor| tensor.rank() == 2);
            found.ok_or_else(|| Error::data(format!("`{name}`: expected a matrix, found none")))
        };
        let (a, b, w) = (take(A)?, take(B)?, take(".weight")?);
        let ([rank, inner], [outer, columns]) = ([a.dim(0)?, a.dim(1)?], [b.dim(0)?, b.dim(1)?]);
        if rank != settings.rank || columns != rank || w.dims() != [outer, inner] {
            let (rank, [a, b, w]) = (settings.rank, [a.dims(), b.dims(), w.dims()]);
            let message = format!("`{layer}`: expected an addition of rank {rank} to {w:?}, found A {a:?} and B {b:?}");
            return Err(Error::data(message));
        }
        let merged = (w.detach() + (b.detach().matmul(&a.detach())? * settings.scale())?)?;
        tensors.insert(format!("{layer}.weight"), merged);
    }
    merge_vectors(tensors)?;
    match unmet.first() {
        Some(target) => Err(Error::data(format!("expected tensors `...{target}{A}`, found none"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    fn lora(targets: &[&str]) -> Lora {
        Lora { targets: Some(targets.iter().map(|&name| name.to_owned()).collect()), ..Lora::default() }
    }

    #[test]
    fn the_same_additions_fit_and_others_do_not() {
        let one = lora(&["query", "value"]);
        assert!(one.fits(&Lora { dropout: 0.1, ..lora(&["value", "query"]) }));
        for other in [Lora { rank: 4, ..one.clone() }, Lora { alpha: 1.0, ..one.clone() }, lora(&["query"])] {
            assert!(!one.fits(&other), "{other:?}");
        }
        assert_eq!(Lora::default().resolved(&["query", "value"]), one);
    }

    #[test]
    fn merging_adds_the_scaled_product_and_names_what_is_missing() {
        let tensor = |values: &[f32], shape: (usize, usize)| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let settings = Lora { rank: 1, alpha: 2.0, ..lora(&["query"]) };
        let whole = || {
            BTreeMap::from([
                ("layer.0.query.weight".to_owned(), tensor(&[1.0, 2.0, 3.0, 4.0], (2, 2))),
                ("layer.0.query.lora_A.weight".to_owned(), tensor(&[1.0, -1.0], (1, 2))),
                ("layer.0.query.lora_B.weight".to_owned(), tensor(&[1.0, 10.0], (2, 1))),
                ("layer.0.key.weight".to_owned(), tensor(&[1.0], (1, 1))),
            ])
        };
        let mut tensors = whole();
        merge(&mut tensors, &settings).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["layer.0.key.weight", "layer.0.query.weight"]);
        let merged = tensors["layer.0.query.weight"].to_vec2::<f32>().unwrap();
        assert_eq!(merged, [[3.0, 0.0], [23.0, -16.0]]);
        for (without, settings, said) in [
            ("layer.0.query.lora_B.weight", settings.clone(), "`layer.0.query.lora_B.weight`"),
            ("layer.0.query.weight", settings.clone(), "`layer.0.query.weight`"),
            ("layer.0.query.lora_A.weight", settings.clone(), "`...query.lora_A.weight`, found none"),
            (
                "none",
                Lora { rank: 2, ..settings.clone() },
                "an addition of rank 2 to [2, 2], found A [1, 2] and B [2, 1]",
            ),
            ("none", Lora { targets: lora(&["query", "key"]).targets, ..settings.clone() }, "`...key.lora_A.weight`"),
        ] {
            let mut tensors = whole();
            tensors.remove(without);
            let error = merge(&mut tensors, &settings).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
