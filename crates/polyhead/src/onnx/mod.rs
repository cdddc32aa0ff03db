//! A model as an ONNX file, for programs that know nothing of polyhead.
//!
//! ```text
//! encoder, heads --Ops--> Graph (nodes, initialisers) --> File --> bytes
//! ```
//!
//! The file has one encoder and the heads that are asked for. Inputs are those that files of transformers have: `input_ids`,
//! `attention_mask` and, where the encoder knows token types, `token_type_ids`, int64 `[batch_size, sequence_length]`; each task has the output `TASK.logits`,
//! `[batch_size, sequence_length, outputs]` (or `[batch_size, outputs]`). A head that reads ranges or pairs of them has the inputs
//! `TASK.ranges`, `[batch_size, TASK_ranges, 2]` (first token, and the one behind the last, counted along `input_ids`), and
//! `TASK.pairs`, `[batch_size, TASK_pairs, 2]` (indices into the ranges). The same model gives the same bytes.

mod attention;
mod file;
mod graph;
mod pair_dots;
mod protobuf;
mod ranges;

use crate::encoders::Reads;
use crate::error::Result;
use crate::io::write_atomic;
use crate::model::{Model, NamedTask};
use file::File;
use graph::Graph;
use polyhead_kernels::{Ops, Value};
use serde_json::json;
use std::path::Path;

/// Writes the encoder with the heads of these tasks to a file.
///
/// # Errors
/// The model is larger than 2 GiB, or the file can't be written.
pub fn write(model: &Model, tasks: &[&NamedTask], path: impl AsRef<Path>) -> Result<()> {
    write_atomic(path, to_bytes(model, tasks)?)
}

/// The bytes of such a file.
///
/// # Errors
/// The model is larger than 2 GiB.
pub fn to_bytes(model: &Model, tasks: &[&NamedTask]) -> Result<Vec<u8>> {
    let described: Vec<_> = tasks
        .iter()
        .map(|named| json!({ "name": named.name, "kind": named.task.kind(), "labels": named.task.labels() }))
        .collect();
    let metadata = vec![("polyhead.tasks".to_owned(), json!(described).to_string())];
    let network = |graph: &mut Graph| -> Result<()> {
        let hidden = model.encoder.forward(graph, Reads::AllTokens, None)?;
        for NamedTask { name, task } in tasks {
            graph.for_head(name);
            let logits = task.logits(&hidden, graph)?;
            graph.output(&logits, &format!("{name}.logits"))?;
        }
        Ok(())
    };
    bytes(network, metadata)
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
        Ok(outputs.iter().try_for_each(|(name, value)| graph.output(value, name))?)
    };
    bytes(write, metadata)
}

fn bytes(write: impl FnOnce(&mut Graph) -> Result<()>, metadata: Vec<(String, String)>) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    write(&mut graph)?;
    let inputs = graph.declared_inputs();
    let Graph { nodes, initializers, outputs, .. } = graph;
    File { nodes, initializers, inputs, outputs, metadata }.into_bytes()
}
