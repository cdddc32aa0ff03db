//! Vectors that each task has for itself around the linear layers of a frozen encoder.
//!
//! ```text
//! IA³      y = l (x Wᵀ + b)            l [out], begun as ones, at keys and values
//!          y = (l x) Wᵀ + b            l [in], begun as ones, before the last layer of a feed-forward network
//! BitFit   y = x Wᵀ + b + c            c [out], begun as zeros, at every layer with a bias
//! DoRA     y = m / |W + s B A| (x Wᵀ + s x Aᵀ Bᵀ) + b      m [out], begun as the lengths |W| of its rows
//!
//! NAME.ia3_l   NAME.bias_shift   NAME.lora_magnitude_vector
//! merged: W = l W, b = l b   W = W l   b = b + c   W = m / |W + s B A| (W + s B A)
//! ```
//!
//! Liu et al. 2022 (arXiv:2205.05638); Ben Zaken et al. 2022 (arXiv:2106.10199); Liu et al. 2024 (arXiv:2402.09353), whose lengths have no gradient. Names and
//! beginnings of IA³ and DoRA are those of PEFT.

use super::names::names_layer;
use super::{Init, Role, Weights};
use crate::error::{Error, Result};
use candle_core::Tensor;
use polyhead_kernels::{Affine, AffinePart, Around, Factor, LowRank, Part, Scale, Vectors, Weight};
use std::collections::BTreeMap;
use std::sync::Arc;

const IA3: &str = ".ia3_l";
const SHIFT: &str = ".bias_shift";
pub(super) const MAGNITUDE: &str = ".lora_magnitude_vector";

/// Where the vectors of IA³ stand in an encoder: layers by the last parts of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ia3Layers {
    /// Whose outputs are multiplied: keys and values.
    pub outputs: &'static [&'static str],
    /// Whose inputs are: the last of a feed-forward network.
    pub inputs: &'static [&'static str],
}

/// Which vectors each task has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskVectors {
    /// IA³.
    Ia3(Ia3Layers),
    /// BitFit: what is added to biases.
    Biases,
}

/// Vectors while an encoder declares its layers.
pub(super) struct Declared {
    settings: TaskVectors,
    /// The layers that have one so far.
    count: usize,
}

impl Weights {
    /// What is declared from here on is an encoder whose tasks have vectors for themselves.
    pub fn with_vectors(&mut self, settings: TaskVectors) {
        self.vectors = Some(Declared { settings, count: 0 });
    }

    /// The vectors around linear layers of these names, side by side.
    ///
    /// # Errors
    /// A tensor of the checkpoint does not fit.
    pub fn vectors_around(&mut self, names: &[String], parts: &[Part], [outer, inner]: [usize; 2]) -> Result<Vectors> {
        let mut vectors = Vectors { makes: self.magnitudes(names, parts, outer)?, ..Vectors::default() };
        let Some(Declared { settings, count }) = &mut self.vectors else { return Ok(vectors) };
        match *settings {
            TaskVectors::Ia3(Ia3Layers { outputs, inputs }) => {
                let is_of = |targets: &[&str], name: &String| targets.iter().any(|target| names_layer(target, name));
                let multiplied: Vec<bool> = names.iter().map(|name| is_of(outputs, name)).collect();
                let read = names.iter().find(|name| is_of(inputs, name));
                *count += multiplied.iter().filter(|is| **is).count() + usize::from(read.is_some());
                if multiplied.contains(&true) {
                    vectors.makes = self.of_each_part(names, &multiplied, outer, Kind::Times)?;
                }
                if let Some(name) = read {
                    let affines = self.for_each_task(|weights, _| {
                        let scale = weights.vector(name, &[1, inner], Kind::Times)?;
                        Ok(Affine(vec![AffinePart { columns: inner, scale: Some(plain(scale)), shift: None }]))
                    })?;
                    vectors.reads = Around::EachTask(affines);
                }
            }
            TaskVectors::Biases => {
                let biased: Vec<bool> = parts.iter().map(|part| part.bias.is_some()).collect();
                *count += biased.iter().filter(|is| **is).count();
                if biased.contains(&true) {
                    vectors.makes = self.of_each_part(names, &biased, outer, Kind::Plus)?;
                }
            }
        }
        Ok(vectors)
    }

    /// What each task adds behind a LayerNorm of this name, where biases are private.
    ///
    /// # Errors
    /// A tensor of the checkpoint does not fit.
    pub fn shifts(&mut self, name: &str, columns: usize) -> Result<Around> {
        if !matches!(&self.vectors, Some(Declared { settings: TaskVectors::Biases, .. })) {
            return Ok(Around::Nothing);
        }
        let affines = self.for_each_task(|weights, _| {
            let shift = Some(weights.vector(name, &[columns], Kind::Plus)?);
            Ok(Affine(vec![AffinePart { columns, scale: None, shift }]))
        })?;
        Ok(Around::EachTask(affines))
    }

    /// Refuses vectors where no layer has one, once the encoder has declared its layers.
    ///
    /// # Errors
    /// No layer has a bias that could be private.
    pub fn check_vectors(&self) -> Result<()> {
        match &self.vectors {
            Some(Declared { count: 0, .. }) => {
                Err(Error::usage("sharing: expected an encoder with biases, found one without")
                    .hint("`ia3` and `lora` need none"))
            }
            _ => Ok(()),
        }
    }

    fn of_each_part(&mut self, names: &[String], has: &[bool], columns: usize, kind: Kind) -> Result<Around> {
        let affines = self.for_each_task(|weights, _| {
            let part = |(name, has): (&String, &bool)| {
                let mut affine = AffinePart { columns, scale: None, shift: None };
                match kind {
                    _ if !has => {}
                    Kind::Times => affine.scale = Some(plain(weights.vector(name, &[columns], kind)?)),
                    Kind::Plus => affine.shift = Some(weights.vector(name, &[columns], kind)?),
                }
                Ok(affine)
            };
            Ok(Affine(names.iter().zip(has).map(part).collect::<Result<_>>()?))
        })?;
        Ok(Around::EachTask(affines))
    }

    fn vector(&mut self, layer: &str, dims: &[usize], kind: Kind) -> Result<Weight> {
        let (end, init) = match kind {
            Kind::Times => (IA3, Init::Ones),
            Kind::Plus => (SHIFT, Init::Zeros),
        };
        self.get_or_begin(&format!("{layer}{end}"), dims, Role::Vector, init)
    }

    /// The lengths that the rows of layers with low-rank additions have, where these are learnt: of all tasks, or of each.
    fn magnitudes(&mut self, names: &[String], parts: &[Part], columns: usize) -> Result<Around> {
        if !self.lora.as_ref().is_some_and(|lora| lora.settings.dora)
            || parts.iter().all(|part| part.low_rank.is_empty())
        {
            return Ok(Around::Nothing);
        }
        let affine = |weights: &mut Self, task: Option<usize>| {
            let part = |(name, part): (&String, &Part)| {
                let own = part.low_rank.iter().find(|low_rank| low_rank.task == task);
                let scale = own.map(|low_rank| weights.magnitude(name, part, low_rank, columns)).transpose()?;
                Ok(AffinePart { columns, scale, shift: None })
            };
            Ok(Affine(names.iter().zip(parts).map(part).collect::<Result<_>>()?))
        };
        let is_of_all = parts.iter().flat_map(|part| &part.low_rank).any(|low_rank| low_rank.task.is_none());
        match is_of_all {
            true => Ok(Around::AllTasks(affine(self, None)?)),
            false => Ok(Around::EachTask(self.for_each_task(|weights, task| affine(weights, Some(task)))?)),
        }
    }

    fn magnitude(&mut self, name: &str, part: &Part, low_rank: &LowRank, columns: usize) -> Result<Scale> {
        let (weight, low_rank) = (part.weight.clone(), low_rank.clone());
        let factor: Factor = Arc::new(move || {
            let found: Vec<f32> = lengths(&sum(weight.tensor()?, &low_rank)?)?.to_vec1()?;
            Ok(found.into_iter().map(f32::recip).collect())
        });
        let name = format!("{name}{MAGNITUDE}");
        // B begins with zeros: what begins is W.
        let begins = || Ok(lengths(&part.weight.tensor()?.detach())?);
        let magnitude = self.get_or_begin_as(&name, &[columns], Role::Vector, begins)?;
        Ok(Scale { weight: magnitude, factor: Some(factor), around: part.bias.clone() })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Times,
    Plus,
}

fn plain(weight: Weight) -> Scale {
    Scale { weight, factor: None, around: None }
}

/// `W + s B A`
fn sum(weight: &Tensor, LowRank { a, b, scale, .. }: &LowRank) -> candle_core::Result<Tensor> {
    let product = b.tensor()?.detach().matmul(&a.tensor()?.detach())?;
    weight.detach() + (product * f64::from(*scale))?
}

/// The lengths of the rows of a matrix.
fn lengths(matrix: &Tensor) -> candle_core::Result<Tensor> {
    matrix.sqr()?.sum(1)?.sqrt()
}

/// Puts vectors into the weights and biases that they stand around, and takes them away.
pub(super) fn merge_vectors(tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let ends = [IA3, SHIFT, MAGNITUDE];
    let named = |name: &String| ends.iter().find_map(|end| Some((name.strip_suffix(end)?.to_owned(), *end)));
    let found: Vec<(String, &str)> = tensors.keys().filter_map(named).collect();
    for (layer, end) in found {
        let missing = |name: &str| Error::data(format!("`{layer}`: expected `{name}` beside its vector, found none"));
        let vector = tensors.remove(&format!("{layer}{end}")).ok_or_else(|| missing(end))?;
        let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
        if end == SHIFT {
            let sum = (tensors.get(&bias).ok_or_else(|| missing("bias"))? + vector)?;
            tensors.insert(bias, sum);
            continue;
        }
        let matrix = tensors.get(&weight).ok_or_else(|| missing("weight"))?.clone();
        let (outer, inner) = matrix.dims2()?;
        let by_row = |vector: &Tensor| matrix.broadcast_mul(&vector.reshape((outer, 1))?);
        let changed = match end {
            MAGNITUDE => by_row(&(vector / lengths(&matrix)?)?)?,
            // A square layer reads as much as it makes: where its vector stands, its shape says.
            _ if vector.dims() == [1, inner] => matrix.broadcast_mul(&vector)?,
            _ => {
                if let Some(old) = tensors.get(&bias) {
                    let changed = (old * &vector.flatten_all()?)?;
                    tensors.insert(bias, changed);
                }
                by_row(&vector)?
            }
        };
        tensors.insert(weight, changed);
    }
    Ok(())
}
