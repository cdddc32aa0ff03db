//! A model as an ONNX file, for programs that know nothing of polyhead.
//!
//! ```text
//! encoder, heads --Ops--> Graph (nodes, initialisers) --> File --> bytes
//! ```
//!
//! The file has one encoder and the heads that are asked for. Inputs are those that files of transformers have: `input_ids`,
//! `attention_mask` and, where the encoder knows token types, `token_type_ids`, int64 `[batch_size, sequence_length]`. Outputs are those that they
//! have, too: `logits`, `[batch_size, sequence_length, outputs]` (or `[batch_size, outputs]`); of questions `start_logits` and `end_logits`,
//! `[batch_size, sequence_length]`. In a file with several heads each name begins with that of the task: `TASK.logits`. A head that
//! reads ranges or pairs of them has the inputs `TASK.ranges`, `[batch_size, TASK_ranges, 2]` (first token, and the one behind the
//! last, counted along `input_ids`), and `TASK.pairs`, `[batch_size, TASK_pairs, 2]` (indices into the ranges). The same model gives the
//! same bytes.

mod attention;
mod file;
mod fused_attention;
mod graph;
mod pair_dots;
mod protobuf;
mod ranges;
mod triton;
mod weights;

use crate::encoders::{EncoderKind, Reads};
use crate::error::{Error, Result};
use crate::model::{Model, NamedTask};
use file::File;
use graph::Graph;
use polyhead_kernels::{Ops, Value};
use serde_json::json;
use std::path::Path;
use std::str::FromStr;
pub use triton::Signature;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Format {
    /// The set of operators.
    pub opset: Opset,
    /// What the encoder's weights are written in.
    pub weights: WeightType,
    /// Attention is one operator of ONNX Runtime (`com.microsoft`) where it has one: faster there, and other runtimes do not read it.
    pub fused_attention: bool,
    /// Weights lie in a file beside it (`model.onnx_data`). Beyond 2 GiB they do in any case.
    pub external_data: bool,
}

/// A set of operators by its number: each has another version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opset(i64);

impl Opset {
    /// The first, which has LayerNormalization, and the last that files were checked with.
    pub const ALL: std::ops::RangeInclusive<i64> = 17..=23;

    fn number(self) -> i64 {
        self.0
    }

    /// The version of the format that brought it (ONNX, "Versioning").
    fn ir_version(self) -> i64 {
        match self.0 {
            ..=18 => 8,
            19 | 20 => 9,
            21 | 22 => 10,
            _ => 11,
        }
    }
}

impl Default for Opset {
    fn default() -> Self {
        Self(*Self::ALL.start())
    }
}

impl FromStr for Opset {
    type Err = String;

    fn from_str(said: &str) -> std::result::Result<Self, String> {
        let known = said.parse().ok().filter(|number| Self::ALL.contains(number));
        known.map(Self).ok_or_else(|| {
            format!("expected a set of operators from {} to {}, found `{said}`", Self::ALL.start(), Self::ALL.end())
        })
    }
}

/// What the encoder's weights are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightType {
    /// f32.
    #[default]
    F32,
    /// f16, half the bytes; computed in f32.
    F16,
    /// Bytes with a scale for each output, a quarter of the bytes; multiplied in whole numbers (dynamic
    /// quantisation, with a scale for each token).
    Int8,
    /// Bytes, and what they are multiplied with in bytes of one range for all inputs (static quantisation: pairs of `QuantizeLinear` and
    /// `DequantizeLinear`), which [`crate::quantize::with_input_ranges`] measures; layers without a range stay in f32.
    Qdq,
}

/// A head of a file.
struct Head<'a> {
    task: &'a NamedTask,
    /// What the names of its inputs and outputs begin with.
    prefix: String,
}

impl<'a> Head<'a> {
    /// In a file with several.
    fn of(task: &'a NamedTask) -> Self {
        Self { task, prefix: format!("{}.", task.name) }
    }

    fn outputs(&self, encoder: &EncoderKind) -> Vec<String> {
        let outputs = self.task.task.single(encoder).map_or(&["logits"][..], |single| single.outputs);
        outputs.iter().map(|output| format!("{}{output}", self.prefix)).collect()
    }

    fn items(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }
}

/// What a file with several heads calls the inputs and outputs of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadNames {
    /// Its logits: of one name, or of one for each column.
    pub outputs: Vec<String>,
    /// The ranges of tokens that it reads, if it reads any.
    pub ranges: String,
    /// The pairs of ranges.
    pub pairs: String,
}

impl HeadNames {
    /// Those of a task on such an encoder.
    pub fn of(task: &NamedTask, encoder: &EncoderKind) -> Self {
        let head = Head::of(task);
        Self { outputs: head.outputs(encoder), ranges: head.items(RANGES), pairs: head.items(PAIRS) }
    }
}

/// What names of inputs end with.
const RANGES: &str = "ranges";
const PAIRS: &str = "pairs";

/// Writes the encoder with the heads of these tasks to a file: names begin with those of the tasks.
///
/// # Errors
/// The file can't be written.
pub fn write(model: &Model, tasks: &[&NamedTask], format: Format, path: impl AsRef<Path>) -> Result<Signature> {
    write_file(file_of(model, &heads(tasks), format)?, format, path.as_ref())
}

/// Writes the encoder with the head of one task: names are those of single-task models.
///
/// # Errors
/// The file can't be written.
pub fn write_single(model: &Model, task: &NamedTask, format: Format, path: impl AsRef<Path>) -> Result<Signature> {
    let head = Head { task, prefix: String::new() };
    write_file(file_of(model, &[head], format)?, format, path.as_ref())
}

fn write_file(file: File, format: Format, path: &Path) -> Result<Signature> {
    file.write(path, format.external_data)?;
    Ok(Signature { inputs: file.inputs, outputs: file.outputs })
}

/// The bytes of a file with the heads of these tasks.
///
/// # Errors
/// The model is larger than 2 GiB.
pub fn to_bytes(model: &Model, tasks: &[&NamedTask], format: Format) -> Result<Vec<u8>> {
    file_of(model, &heads(tasks), format)?.into_bytes()
}

fn heads<'a>(tasks: &[&'a NamedTask]) -> Vec<Head<'a>> {
    tasks.iter().map(|&task| Head::of(task)).collect()
}

fn file_of(model: &Model, heads: &[Head], format: Format) -> Result<File> {
    let encoder = EncoderKind::of(Path::new("config.json"), model.config())?;
    let described: Vec<_> = heads
        .iter()
        .map(|Head { task: NamedTask { name, task }, .. }| {
            json!({ "name": name, "kind": task.kind(), "labels": task.labels() })
        })
        .collect();
    let metadata = vec![("polyhead.tasks".to_owned(), json!(described).to_string())];
    let task = match heads {
        [head] => Some(model.number(head.task)?),
        _ if model.is_private_inside() => {
            let message = format!(
                "sharing: `{}` gives each task an encoder of its own, so that one graph has one task",
                model.sharing.name
            );
            return Err(Error::usage(message).hint("`polyhead export --onnx --task NAME` writes it"));
        }
        _ => None,
    };
    let network = |graph: &mut Graph| -> Result<()> {
        graph.task = task;
        let hidden = model.encoder.forward(graph, Reads::AllTokens, None)?;
        for head in heads {
            graph.for_head(head.prefix.clone());
            let own = model.encoder.of_task(graph, model.number(head.task)?, &hidden, Reads::AllTokens)?;
            let logits = head.task.task.logits(&own, graph)?;
            graph.outputs(&logits, &head.outputs(encoder))?;
        }
        Ok(())
    };
    file(network, metadata, format)
}

/// The bytes of a file of any network that is written against [`Ops`]. It names its outputs; `metadata` are names and values that
/// the file carries.
///
/// # Errors
/// The network fails, or its weights are larger than 2 GiB.
pub fn network_to_bytes(
    network: impl FnOnce(&mut dyn Ops) -> Result<Vec<(String, Value)>>,
    metadata: Vec<(String, String)>,
) -> Result<Vec<u8>> {
    let write = |graph: &mut Graph| -> Result<()> {
        let outputs = network(graph)?;
        Ok(outputs.into_iter().try_for_each(|(name, value)| graph.outputs(&value, &[name]))?)
    };
    file(write, metadata, Format::default())?.into_bytes()
}

fn file(write: impl FnOnce(&mut Graph) -> Result<()>, metadata: Vec<(String, String)>, format: Format) -> Result<File> {
    let mut graph = Graph::new(format);
    write(&mut graph)?;
    let inputs = graph.declared_inputs();
    let Graph { domain, nodes, initializers, outputs, .. } = graph;
    Ok(File { opset: format.opset, domain, nodes, initializers, inputs, outputs, metadata })
}
