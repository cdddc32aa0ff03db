//! A model as an ONNX file, for programs that know nothing of polyhead.
//!
//! ```text
//! encoder, heads --Ops--> Graph (nodes, initialisers) --> File --> bytes
//! ```
//!
//! The file has one encoder and the heads that are asked for. Inputs are those of BERT in ONNX everywhere: `input_ids`,
//! `attention_mask` and `token_type_ids`, int64 `[batch_size, sequence_length]`; each task has the output `TASK.logits`,
//! `[batch_size, sequence_length, outputs]` (or `[batch_size, outputs]`). The same model gives the same bytes.

mod file;
mod graph;
mod protobuf;

use crate::error::{Error, Result};
use crate::io::write_atomic;
use crate::model::{Model, NamedTask};
use file::{Dimension, File, Type, value};
use graph::{BATCH, Graph, Rows, SEQUENCE};
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
    let network = |ops: &mut dyn Ops| -> Result<Vec<(String, Value)>> {
        let hidden = model.encoder.forward(ops, None)?;
        let output = |named: &&NamedTask| Ok((format!("{}.logits", named.name), named.task.logits(&hidden, ops)?));
        tasks.iter().map(output).collect()
    };
    network_to_bytes(network, metadata)
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
    let mut graph = Graph::default();
    let mut outputs = Vec::new();
    for (name, found) in network(&mut graph)? {
        let Value::Node(node) = found else {
            return Err(Error::internal(format!("the output `{name}` is no node of a graph")));
        };
        graph.output(&node, &name);
        let columns = Dimension::Known(node.columns);
        outputs.push(match graph.rows(&node) {
            Rows::Tokens => value(&name, Type::Float, &[Dimension::Named(BATCH), Dimension::Named(SEQUENCE), columns]),
            Rows::Sequences => value(&name, Type::Float, &[Dimension::Named(BATCH), columns]),
        });
    }
    let inputs = graph.declared_inputs();
    File { nodes: graph.nodes, initializers: graph.initializers, inputs, outputs, metadata }.into_bytes()
}
