//! The parameters of a model, in order, and the reading of them from a checkpoint.
//!
//! [`Parameters`] is an ordered list (order decides every sum over parameters, so it must not change from process to
//! process). [`Weights`] hands the tensors of a checkpoint to whoever declares them, and checks names and shapes.

use crate::error::{Error, Place, Result};
use candle_core::{DType, Device, Tensor};
use polyhead_kernels::rng::Key;
use polyhead_kernels::{Gradient, Weight};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Whether a parameter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Train {
    /// It is trained.
    Yes,
    /// It is kept and saved as it is: no task uses it.
    No,
}

/// Whose parameter it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The shared encoder's.
    Encoder,
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
    /// Whether it is trained.
    pub train: Train,
    /// Whose it is.
    pub owner: Owner,
}

impl Parameter {
    /// Whether AdamW decays it: biases and LayerNorm weights are left alone, as the reference trainers do.
    pub fn decays(&self) -> bool {
        !(self.name.ends_with(".bias") || self.name.contains("LayerNorm."))
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
    fn from(Parameter { name, weight, train, owner }: &Parameter) -> Self {
        Self { name: name.clone(), dims: weight.dims().to_vec(), train: *train, owner: owner.clone() }
    }
}

/// The parameters of a model in the order of their declaration.
#[derive(Clone, Default)]
pub struct Parameters(Vec<Parameter>);

/// The gradients that a loss sent to trained parameters, in the order of these.
pub struct Gradients(Vec<Option<Gradient>>);

impl Gradients {
    /// Each trained parameter with its gradient, if it received one.
    pub fn of<'a>(&'a self, parameters: &'a Parameters) -> impl Iterator<Item = (&'a Parameter, Option<&'a Gradient>)> {
        parameters.trained().zip(self.0.iter().map(Option::as_ref))
    }
}

impl Parameters {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// Those that are trained.
    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.iter().filter(|parameter| parameter.train == Train::Yes)
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.iter().find(|parameter| parameter.name == name)
    }

    /// The name and the value of each.
    pub fn tensors(&self) -> Result<Vec<(&str, &Tensor)>> {
        self.iter().map(|parameter| Ok((parameter.name.as_str(), parameter.weight.tensor()?))).collect()
    }

    /// Sends the gradient of a loss back to the parameters.
    ///
    /// Those of the encoder gather at their weights, those of heads come from candle's own graph.
    pub fn backward(&self, loss: &Tensor) -> Result<Gradients> {
        for parameter in self.trained() {
            // What a backward pass that failed half-way left behind.
            parameter.weight.take_gradient();
        }
        let store = loss.backward()?;
        let of = |parameter: &Parameter| -> Result<Option<Gradient>> {
            match (parameter.weight.take_gradient(), store.get(parameter.weight.var()?)) {
                (Some(gradient), _) => Ok(Some(gradient)),
                (None, Some(tensor)) => Ok(Some(Gradient::from_tensor(tensor)?)),
                (None, None) => Ok(None),
            }
        };
        Ok(Gradients(self.trained().map(of).collect::<Result<_>>()?))
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

/// How a new tensor begins.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// Uniform between minus this and this.
    Uniform(f64),
}

/// Where the tensors of heads come from.
#[derive(Debug, Clone, Copy)]
pub enum Heads {
    /// From the checkpoint where it has them; the others are initialised with this key.
    New(Key),
    /// From the checkpoint, which must have them all.
    Stored,
}

/// The tensors of a checkpoint, handed out by name to the encoder and the heads that declare them.
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    parameters: Vec<Parameter>,
    owner: Owner,
    heads: Heads,
    device: Device,
    problems: Vec<Error>,
    /// What was declared, where there is no checkpoint and only shapes are asked for.
    shapes: Option<Vec<Shape>>,
}

/// A checkpoint of a BERT with a language-modelling head, and what older versions of transformers saved beside it.
const IGNORED: &[&str] = &["embeddings.position_ids", "cls."];

impl Weights {
    /// Reads `model.safetensors`.
    ///
    /// Names are brought to one form: a prefix `bert.` is taken off, and `gamma` and `beta` of early checkpoints become
    /// `weight` and `bias`.
    pub fn read(path: &Path, heads: Heads, device: &Device) -> Result<Self> {
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
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let plain = plain_name(&name);
            if IGNORED.iter().any(|known| plain.starts_with(known)) {
                continue;
            }
            let place = || Place::tensor(path, &name);
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::F64 => DType::F64,
                other => {
                    return Err(Error::data(format!("expected floating point numbers, found {other:?}")).at(place()));
                }
            };
            let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)?.to_dtype(DType::F32)?;
            // Nothing but NaN and infinity differs from 0 after a product with 0 (a plain sum may overflow).
            if tensor.affine(0.0, 0.0)?.sum_all()?.to_scalar::<f32>()? != 0.0 {
                return Err(Error::data("expected finite numbers, found NaN or infinity").at(place()));
            }
            if tensors.insert(plain.clone(), tensor).is_some() {
                return Err(Error::data(format!("two tensors for `{plain}`")).at(place()));
            }
        }
        let (parameters, problems) = (Vec::new(), Vec::new());
        Ok(Self {
            path: path.to_owned(),
            tensors,
            parameters,
            owner: Owner::Encoder,
            heads,
            device: device.clone(),
            problems,
            shapes: None,
        })
    }

    /// Weights that hold every tensor that is asked for, in the shape that is asked for, and none of its values:
    /// [`Weights::into_shapes`] then says what was declared. Nothing of the model's size is allocated.
    pub fn shapes_only() -> Self {
        Self {
            path: PathBuf::new(),
            tensors: BTreeMap::new(),
            parameters: Vec::new(),
            owner: Owner::Encoder,
            heads: Heads::Stored,
            device: Device::Cpu,
            problems: Vec::new(),
            shapes: Some(Vec::new()),
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

    /// Whether the checkpoint has this tensor (and it was not yet handed out).
    pub fn holds(&self, name: &str) -> bool {
        self.shapes.is_some() || self.tensors.contains_key(name)
    }

    /// What is declared from here on belongs to `owner`.
    pub fn for_owner(&mut self, owner: Owner) {
        self.owner = owner;
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

    /// The named tensor, which must be there in this shape.
    ///
    /// A missing or misshapen one is remembered, and zeros of no use stand in for it: [`Weights::finish`] then names all
    /// of them at once.
    pub fn get(&mut self, name: &str, shape: &[usize], train: Train) -> Result<Weight> {
        if let Some(shapes) = &mut self.shapes {
            shapes.push(Shape { name: name.to_owned(), dims: shape.to_vec(), train, owner: self.owner.clone() });
            return self.stand_in();
        }
        let place = Place::tensor(&self.path, name);
        let tensor = match self.tensors.remove(name) {
            Some(tensor) if tensor.dims() == shape => tensor,
            Some(tensor) => {
                let found = tensor.dims();
                self.problems.push(Error::data(format!("expected the shape {shape:?}, found {found:?}")).at(place));
                return self.stand_in();
            }
            None => {
                self.problems
                    .push(Error::data(format!("expected a tensor {shape:?}, found none of this name")).at(place));
                return self.stand_in();
            }
        };
        self.declare(name, &tensor, train)
    }

    /// The named tensor of a head; a new one where the checkpoint has none of this name and [`Heads`] allow it.
    pub fn get_or_init(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let key = match self.heads {
            // Nothing is made for a checkpoint that is refused: its sizes may be anything.
            Heads::New(key) if self.problems.is_empty() && !self.holds(name) => key.purpose(name),
            _ => return Ok(self.get(name, shape, Train::Yes)?.tensor()?.clone()),
        };
        let values: Vec<f32> = (0..shape.iter().product::<usize>() as u64)
            .map(|index| match init {
                Init::Uniform(bound) => ((2.0 * key.uniform(index) - 1.0) * bound) as f32,
            })
            .collect();
        let weight = self.declare(name, &Tensor::from_vec(values, shape, &self.device)?, Train::Yes)?;
        Ok(weight.tensor()?.clone())
    }

    fn declare(&mut self, name: &str, tensor: &Tensor, train: Train) -> Result<Weight> {
        let weight = Weight::new(tensor)?;
        let (name, owner) = (name.to_owned(), self.owner.clone());
        self.parameters.push(Parameter { name, weight: weight.clone(), train, owner });
        Ok(weight)
    }

    /// What is handed out where there is nothing to hand out.
    fn stand_in(&self) -> Result<Weight> {
        Ok(Weight::new(&Tensor::zeros(1, DType::F32, &self.device)?)?)
    }

    /// All declared parameters; an error that names every missing, misshapen and unknown tensor if there is one.
    pub fn finish(self) -> Result<Parameters> {
        let mut problems: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        // A model that begins with the encoder of another leaves that one's heads behind.
        let left = |name: &&String| matches!(self.heads, Heads::New(_)) && name.starts_with("heads.");
        for name in self.tensors.keys().filter(|name| !left(name)) {
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

/// One form for the names of all checkpoints.
fn plain_name(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
        (Some(stem), _) => format!("{stem}.weight"),
        (_, Some(stem)) => format!("{stem}.bias"),
        _ => name.to_owned(),
    }
}

/// Weights in a format that is not read, where `model.safetensors` is missing.
fn other_weights_beside(path: &Path) -> Option<&'static str> {
    let names = ["pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5", "model.onnx"];
    names.into_iter().find(|name| path.with_file_name(name).exists())
}

/// The bytes of a safetensors file of these tensors, in f32, with names as given.
pub fn to_safetensors<'a>(tensors: impl Iterator<Item = (String, &'a Tensor)>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (name, tensor) in tensors {
        all.push((name, tensor.dims().to_vec(), tensor.flatten_all()?.to_vec1::<f32>()?));
    }
    numbers_to_safetensors(all.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice())))
}

/// The same of plain numbers: name, shape, values.
pub fn numbers_to_safetensors<'a>(tensors: impl Iterator<Item = (String, Vec<usize>, &'a [f32])>) -> Result<Vec<u8>> {
    struct Raw {
        shape: Vec<usize>,
        bytes: Vec<u8>,
    }
    impl safetensors::View for &Raw {
        fn dtype(&self) -> Dtype {
            Dtype::F32
        }
        fn shape(&self) -> &[usize] {
            &self.shape
        }
        fn data(&self) -> std::borrow::Cow<'_, [u8]> {
            (&self.bytes).into()
        }
        fn data_len(&self) -> usize {
            self.bytes.len()
        }
    }
    let raw: Vec<(String, Raw)> = tensors
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, Raw { shape, bytes })
        })
        .collect();
    // transformers refuses files that do not say which framework's layout they follow.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(raw.iter().map(|(name, raw)| (name, raw)), Some(metadata))
        .map_err(|cause| Error::internal(format!("can't serialise tensors: {cause}")))
}
