//! The parameters of a model, in order, and the reading of them from a checkpoint.
//!
//! [`Parameters`] is an ordered list (order decides every sum over parameters, so it must not change from process to
//! process). [`Weights`] hands the tensors of a checkpoint to whoever declares them, and checks names and shapes.

mod int8;
mod kept_gradients;
mod lora;
mod names;
mod safetensors_file;
mod vectors;
mod weights;

pub use int8::{Int8, Multiplies, Quantized};
pub use kept_gradients::KeptGradients;
pub use lora::{Lora, LoraOf, Merged};
pub(crate) use names::without_number;
pub use safetensors_file::{holds, write_numbers, write_tensors, write_tensors_in_bytes};
pub use vectors::{Ia3Layers, TaskVectors};
pub use weights::{Heads, Init, Naming, Weights};

use crate::error::{Error, Result};
use candle_core::Tensor;
use polyhead_kernels::{Gradient, Weight};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the names of tensors begin with that are private to a task; its name follows.
const PRIVATE: &str = "private.";

/// What the names of the tensors that are private to a task begin with.
pub(crate) fn private_prefix(name: &str) -> String {
    format!("{PRIVATE}{name}.")
}

/// Whether a parameter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Train {
    /// It is trained.
    Yes,
    /// It is kept and saved as it is: it is frozen, or no task uses it.
    No,
}

/// What a parameter is in its layer, which decides whether weight decay holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A matrix or a table: it decays.
    Weight,
    /// A bias: it does not decay, as the reference trainers do.
    Bias,
    /// A factor or an offset of a LayerNorm: it does not decay, as the reference trainers do.
    Norm,
    /// A factor of a low-rank addition to a linear layer ([`Lora`]): it decays, and is trained though the layer is not.
    LowRank,
    /// A vector around a linear layer ([`TaskVectors`]): it does not decay, and is trained though the layer is not.
    Vector,
    /// Kept and saved as it is: no task uses it.
    Unused,
}

/// Where in the network a parameter stands: it decides its learning rate, and whether it is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The embeddings.
    Embeddings,
    /// A layer of the encoder, counted from 0.
    Layer(usize),
    /// What stands on top of the layers.
    Pooler,
    /// The head of a task.
    Head,
}

/// The part of the encoder that is not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// None of it.
    #[default]
    Nothing,
    /// The embeddings.
    Embeddings,
    /// The embeddings and the first so many layers.
    Layers(usize),
}

impl Freeze {
    fn holds(self, group: Group) -> bool {
        match (self, group) {
            (Self::Nothing, _) => false,
            (Self::Embeddings | Self::Layers(_), Group::Embeddings) => true,
            (Self::Layers(count), Group::Layer(layer)) => layer < count,
            _ => false,
        }
    }
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_u64(0),
            Self::Embeddings => serializer.serialize_str("embeddings"),
            Self::Layers(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        const EXPECTED: &str = "expected `embeddings` or a number of layers";
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected `embeddings` or a number of layers")]
        enum Form {
            Layers(usize),
            Name(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Layers(0) => Ok(Self::Nothing),
            Form::Layers(count) => Ok(Self::Layers(count)),
            Form::Name(name) if name == "embeddings" => Ok(Self::Embeddings),
            Form::Name(_) => Err(serde::de::Error::custom(EXPECTED)),
        }
    }
}

/// Whose parameter it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The shared encoder's.
    Encoder,
    /// Of a part of the encoder that is private to the named task.
    Private(String),
    /// The head's of the named task.
    Head(String),
}

/// One named tensor of a model.
#[derive(Clone)]
pub struct Parameter {
    /// Its name in the model folder.
    pub name: String,
    /// Its value and its gradient, shared with the layer that computes with it.
    pub weight: Weight,
    /// Whose it is.
    pub owner: Owner,
    /// Where in the network it stands.
    pub group: Group,
    /// What it is in its layer.
    pub role: Role,
}

impl Parameter {
    /// Whether it is trained. Its [`Weight`] knows, and computes gradients accordingly.
    pub fn is_trained(&self) -> bool {
        self.weight.is_trained()
    }

    /// Whether AdamW decays it.
    pub fn decays(&self) -> bool {
        matches!(self.role, Role::Weight | Role::LowRank)
    }
}

/// A parameter without its value: what there is to know of it before a checkpoint is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name in the model folder.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Whether it is trained.
    pub train: Train,
    /// Whose it is.
    pub owner: Owner,
}

impl Shape {
    /// The numbers that it holds.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }
}

impl From<&Parameter> for Shape {
    fn from(Parameter { name, weight, owner, .. }: &Parameter) -> Self {
        let train = if weight.is_trained() { Train::Yes } else { Train::No };
        Self { name: name.clone(), dims: weight.dims().to_vec(), train, owner: owner.clone() }
    }
}

/// A tensor of a head, as its task declares it whatever labels it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadTensor {
    /// Its name in the model folder.
    pub name: String,
    /// Its dimensions; of one with rows for each label, the numbers of one label.
    pub dims: Vec<usize>,
    /// Whether it has rows for each label.
    pub by_label: bool,
}

/// The parameters of a model in the order of their declaration.
#[derive(Clone, Default)]
pub struct Parameters(Vec<Parameter>);

/// The gradients that a loss sent to parameters, in the order of these; frozen ones have none.
#[derive(Default)]
pub struct Gradients(Vec<Option<Gradient>>);

impl Gradients {
    /// The sum of the gradients of several tasks: those of the shared encoder times the weight of their task, those of heads
    /// as they are.
    pub fn weighted_sum(all: Vec<Self>, weights: &[f64], parameters: &Parameters) -> Result<Self> {
        let mut of_tasks: Vec<_> = all.into_iter().map(|gradients| gradients.0.into_iter()).collect();
        let sum = |parameter: &Parameter| -> Result<Option<Gradient>> {
            let factor = |weight: f64| if parameter.owner == Owner::Encoder { weight as f32 } else { 1.0 };
            let each = of_tasks.iter_mut().map(|gradients| gradients.next().flatten());
            let there = each.zip(weights).filter_map(|(gradient, &weight)| Some((gradient?, factor(weight))));
            let mut there: Vec<(Gradient, f32)> = there.collect();
            if there.is_empty() {
                return Ok(None);
            }
            let (mut first, own) = there.remove(0);
            first.weighted_sum(own, &there.iter().map(|(other, factor)| (other, *factor)).collect::<Vec<_>>())?;
            Ok(Some(first))
        };
        Ok(Self(parameters.iter().map(sum).collect::<Result<_>>()?))
    }

    /// Those of the shared encoder, and those of heads.
    pub fn split(self, parameters: &Parameters) -> (Self, Self) {
        let of_encoder = |(gradient, parameter): (Option<Gradient>, &Parameter)| match parameter.owner {
            Owner::Encoder => (gradient, None),
            _ => (None, gradient),
        };
        let (encoder, heads) = self.0.into_iter().zip(parameters.iter()).map(of_encoder).unzip();
        (Self(encoder), Self(heads))
    }

    /// `kept self + taken other`, where a gradient that is not there counts as zeros.
    pub fn blend(&mut self, kept: f64, other: Self, taken: f64) -> Result<()> {
        self.0.resize_with(self.0.len().max(other.0.len()), || None);
        for (own, gradient) in self.0.iter_mut().zip(other.0) {
            match (own.as_mut(), gradient) {
                (Some(own), Some(gradient)) => own.weighted_sum(kept as f32, &[(&gradient, taken as f32)])?,
                (Some(own), None) => own.scale(kept as f32),
                (None, Some(mut gradient)) => {
                    gradient.scale(taken as f32);
                    *own = Some(gradient);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The weighted sum of gradients that stay.
    pub fn sum_of(all: &[(&Self, f64)]) -> Result<Self> {
        let count = all.iter().map(|(gradients, _)| gradients.0.len()).max().unwrap_or(0);
        let sum = |at: usize| -> Result<Option<Gradient>> {
            let there = all.iter().filter_map(|(all, weight)| Some((all.0.get(at)?.as_ref()?, *weight as f32)));
            let there: Vec<(&Gradient, f32)> = there.collect();
            let Some(((first, weight), others)) = there.split_first() else { return Ok(None) };
            let mut sum = first.scaled(*weight);
            sum.weighted_sum(1.0, others)?;
            Ok(Some(sum))
        };
        Ok(Self((0..count).map(sum).collect::<Result<_>>()?))
    }

    /// Adds the square of every number of other gradients, on the parameters of the shared encoder.
    pub fn add_squares(&mut self, other: &Self, parameters: &Parameters) -> Result<()> {
        self.0.resize_with(other.0.len(), || None);
        for ((sum, gradient), parameter) in self.0.iter_mut().zip(&other.0).zip(parameters.iter()) {
            if let (Some(gradient), Owner::Encoder) = (gradient, &parameter.owner) {
                sum.get_or_insert_with(|| gradient.scaled(0.0)).add_squares(gradient)?;
            }
        }
        Ok(())
    }

    /// The sum of the squares of all numbers on the shared encoder, each over the root of that number of `sums` plus `epsilon`.
    pub fn squares_over_roots(&self, sums: &Self, epsilon: f32) -> f64 {
        let both = self.0.iter().zip(&sums.0);
        both.filter_map(|(a, b)| Some(a.as_ref()?.squares_over_roots(b.as_ref()?, epsilon))).sum()
    }

    /// The dot product with other gradients, on the parameters of the shared encoder.
    pub fn dot_on_encoder(&self, other: &Self, parameters: &Parameters) -> f64 {
        let both = self.of(parameters).zip(other.of(parameters));
        let shared = both.filter(|((parameter, _), _)| parameter.owner == Owner::Encoder);
        shared.filter_map(|((_, a), (_, b))| Some(a?.dot(b?))).sum()
    }

    /// The dot products of all pairs, `[task][task]`, on the parameters of the shared encoder.
    pub fn products(all: &[&Self], parameters: &Parameters) -> Vec<Vec<f64>> {
        let mut products = vec![vec![0.0; all.len()]; all.len()];
        for (at, _) in parameters.iter().enumerate().filter(|(_, parameter)| parameter.owner == Owner::Encoder) {
            let there = all.iter().enumerate().filter_map(|(task, all)| Some((task, all.0.get(at)?.as_ref()?)));
            let (tasks, gradients): (Vec<usize>, Vec<&Gradient>) = there.unzip();
            for (i, row) in Gradient::products(&gradients).into_iter().enumerate() {
                for (j, product) in row.into_iter().enumerate() {
                    let (a, b) = (tasks[i], tasks[i + j]);
                    products[a][b] += product;
                    if a != b {
                        products[b][a] += product;
                    }
                }
            }
        }
        products
    }

    /// Each trained parameter with its gradient, if it received one.
    pub fn of<'a>(&'a self, parameters: &'a Parameters) -> impl Iterator<Item = (&'a Parameter, Option<&'a Gradient>)> {
        parameters.iter().zip(self.0.iter().map(Option::as_ref)).filter(|(parameter, _)| parameter.is_trained())
    }
}

impl Parameters {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// Those that are trained.
    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.iter().filter(|parameter| parameter.is_trained())
    }

    /// The layers of the encoder.
    pub fn layers(&self) -> usize {
        let number = |parameter: &Parameter| match parameter.group {
            Group::Layer(layer) => layer + 1,
            _ => 0,
        };
        self.iter().map(number).max().unwrap_or(0)
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.iter().find(|parameter| parameter.name == name)
    }

    /// Divides these by a number. Returns them with what they were.
    pub(crate) fn divide(&self, names: &[String], by: f64) -> Result<Vec<(Weight, Tensor)>> {
        let divided = |name: &String| {
            let parameter = self.get(name).ok_or_else(|| Error::internal(format!("expected `{name}`, found none")))?;
            let before = parameter.weight.tensor()?.copy()?;
            parameter.weight.set(&before.affine(1.0 / by, 0.0)?)?;
            Ok((parameter.weight.clone(), before))
        };
        names.iter().map(divided).collect()
    }

    /// The name and the value of each.
    pub fn tensors(&self) -> Result<Vec<(&str, &Tensor)>> {
        self.iter().map(|parameter| Ok((parameter.name.as_str(), parameter.weight.tensor()?))).collect()
    }

    /// The gradients of one loss.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients> {
        // What a backward pass that failed half-way left behind.
        self.clear_gradients();
        self.backward(loss)?;
        Ok(self.take_gradients())
    }

    /// Forgets the gradients that gathered at the parameters.
    pub fn clear_gradients(&self) {
        self.trained().for_each(|parameter| drop(parameter.weight.take_gradient()));
    }

    /// Adds the gradient of a loss to what has gathered at the parameters.
    ///
    /// The encoder's operators add theirs at the weights themselves; those of heads come from candle's own graph.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        let store = loss.backward()?;
        for parameter in self.trained() {
            if let Some(gradient) = store.get(parameter.weight.var()?) {
                parameter.weight.add_gradient_of_tensor(gradient)?;
            }
        }
        Ok(())
    }

    /// Takes the gradients that have gathered, each parameter's if it has one.
    pub fn take_gradients(&self) -> Gradients {
        Gradients(self.iter().map(|parameter| parameter.weight.take_gradient()).collect())
    }

    /// Refuses what [`Weights::read`] would refuse, before it is written: the last good model stays.
    pub fn check_finite(&self) -> Result<()> {
        for Parameter { name, weight, .. } in self.iter() {
            if !weight.tensor()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
                return Err(Error::internal(format!("the tensor `{name}` is not finite, so the model is not saved"))
                    .hint("a smaller train.learning_rate helps"));
            }
        }
        Ok(())
    }

    /// The numbers that these parameters hold, in all.
    pub fn count(parameters: impl Iterator<Item = impl std::borrow::Borrow<Parameter>>) -> usize {
        parameters.map(|parameter| parameter.borrow().weight.count()).sum()
    }
}
