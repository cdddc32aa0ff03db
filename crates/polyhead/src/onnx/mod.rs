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
use polyhead_kernels::Value;
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
    let mut graph = Graph::default();
    let hidden = model.encoder.forward(&mut graph, None)?;
    let mut outputs = Vec::with_capacity(tasks.len());
    for NamedTask { name, task } in tasks {
        let Value::Node(logits) = task.logits(&hidden, &mut graph)? else {
            return Err(Error::internal(format!("the head of `{name}` made no node of a graph")));
        };
        let name = format!("{name}.logits");
        graph.output(&logits, &name);
        let columns = Dimension::Known(logits.columns);
        outputs.push(match graph.rows(&logits) {
            Rows::Tokens => value(&name, Type::Float, &[Dimension::Named(BATCH), Dimension::Named(SEQUENCE), columns]),
            Rows::Sequences => value(&name, Type::Float, &[Dimension::Named(BATCH), columns]),
        });
    }
    let described: Vec<_> = tasks
        .iter()
        .map(|named| json!({ "name": named.name, "kind": named.task.kind(), "labels": named.task.labels() }))
        .collect();
    let metadata = vec![("polyhead.tasks".to_owned(), json!(described).to_string())];
    let inputs = graph.declared_inputs();
    File { nodes: graph.nodes, initializers: graph.initializers, inputs, outputs, metadata }.into_bytes()
}
