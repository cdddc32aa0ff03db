//! What Triton asks to know of a file: `config.pbtxt` of a model repository.
//!
//! ```text
//! REPOSITORY/NAME/config.pbtxt, REPOSITORY/NAME/1/model.onnx
//! ```
//!
//! Lengths are those behind the batch, which Triton puts first itself; -1 is any.

use super::file::{Length, Port, Type};
use std::fmt::Write;

/// The most requests that the server puts into one batch: those of one length.
const BATCH: usize = 64;

/// The inputs and outputs of a file.
#[derive(Debug, Clone)]
pub struct Signature {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
}

impl Signature {
    /// `config.pbtxt`, for the backend of ONNX Runtime. The server takes the model's name from its folder.
    pub fn triton_config(&self) -> String {
        let mut text = format!("backend: \"onnxruntime\"\nmax_batch_size: {BATCH}\n");
        for (what, ports) in [("input", &self.inputs), ("output", &self.outputs)] {
            for Port { name, of, lengths } in ports {
                let of = if *of == Type::Float { "TYPE_FP32" } else { "TYPE_INT64" };
                let length = |length: &Length| match length {
                    Length::Known(length) => length.to_string(),
                    Length::Named(_) => "-1".to_owned(),
                };
                let lengths: Vec<String> = lengths.iter().skip(1).map(length).collect();
                let lengths = lengths.join(", ");
                let _ = writeln!(text, "{what} {{ name: \"{name}\" data_type: {of} dims: [ {lengths} ] }}");
            }
        }
        text + "dynamic_batching { }\n"
    }
}
