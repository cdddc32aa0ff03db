//! The parts of an ONNX file: nodes, their attributes, initialisers, inputs and outputs, and the file made of them.
//!
//! Field numbers are those of `onnx.proto3`. Nothing in a file depends on time, place or the order of a hash table.

use super::protobuf::Message;
use crate::error::{Error, Result};
use candle_core::Tensor;

/// The set of operators, and the version of the format that goes with it.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// The numbers of `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Float = 1,
    Int64 = 7,
}

/// The attribute of a node.
pub(super) enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, &'a [i64]),
    Float(&'a str, f32),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        const FLOAT: i64 = 1;
        const INT: i64 = 2;
        const INTS: i64 = 7;
        match self {
            Self::Float(name, value) => Message::default().text(1, name).float(2, *value).int(20, FLOAT),
            Self::Int(name, value) => Message::default().text(1, name).int(3, *value).int(20, INT),
            Self::Ints(name, values) => {
                let named = Message::default().text(1, name);
                values.iter().fold(named, |message, value| message.int(8, *value)).int(20, INTS)
            }
        }
    }
}

/// A node: an operator that makes one value.
pub(super) fn node(op: &str, name: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
    let message = message.text(2, output).text(3, name).text(4, op);
    attributes.iter().fold(message, |message, attribute| message.message(5, &attribute.message()))
}

/// A length, known or named.
pub(super) enum Dimension<'a> {
    Known(usize),
    Named(&'a str),
}

/// An input or an output.
pub(super) fn value(name: &str, of: Type, dimensions: &[Dimension]) -> Message {
    let shape = dimensions.iter().fold(Message::default(), |shape, dimension| {
        let dimension = match dimension {
            Dimension::Known(length) => Message::default().int(1, *length as i64),
            Dimension::Named(name) => Message::default().text(2, name),
        };
        shape.message(1, &dimension)
    });
    let tensor = Message::default().int(1, of as i64).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// A tensor that is part of the file.
pub(super) struct Initializer {
    pub name: String,
    pub values: Numbers,
}

/// The numbers of an initialiser.
pub(super) enum Numbers {
    /// Of a weight: not copied before it is written.
    Weight(Tensor),
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers, of one axis.
    Ints(Vec<i64>),
}

impl Initializer {
    /// All but the bytes of its numbers, and how many these are.
    fn head(&self) -> (Message, usize) {
        let (dims, of, count) = match &self.values {
            Numbers::Weight(tensor) => (tensor.dims().to_vec(), Type::Float, 4 * tensor.elem_count()),
            Numbers::Float(_) => (Vec::new(), Type::Float, 4),
            Numbers::Int(_) => (Vec::new(), Type::Int64, 8),
            Numbers::Ints(values) => (vec![values.len()], Type::Int64, 8 * values.len()),
        };
        let message = dims.iter().fold(Message::default(), |message, length| message.int(1, *length as i64));
        let mut message = message.int(2, of as i64).text(8, &self.name);
        message.header(9, count);
        (message, count)
    }

    fn write(&self, into: &mut Message) -> Result<()> {
        let (head, count) = self.head();
        into.header(5, head.len() + count);
        into.append(&head);
        match &self.values {
            Numbers::Weight(tensor) => into.append_floats(&tensor.flatten_all()?.to_vec1::<f32>()?),
            Numbers::Float(value) => into.append_floats(&[*value]),
            Numbers::Int(value) => into.append_int64(*value),
            Numbers::Ints(values) => values.iter().for_each(|value| into.append_int64(*value)),
        }
        Ok(())
    }

    /// Bytes that it takes in a graph.
    fn size(&self) -> usize {
        let (head, count) = self.head();
        let mut field = Message::default();
        field.header(5, head.len() + count);
        field.len() + head.len() + count
    }
}

/// A graph, and what a file says beside it.
pub(super) struct File {
    pub nodes: Vec<Message>,
    pub initializers: Vec<Initializer>,
    pub inputs: Vec<Message>,
    pub outputs: Vec<Message>,
    /// Names and values, in order.
    pub metadata: Vec<(String, String)>,
}

impl File {
    /// The bytes of the file.
    ///
    /// # Errors
    /// It would be larger than 2 GiB, which no reader takes.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        let graph = graph.text(2, "polyhead");
        let ends = self.inputs.iter().fold(Message::default(), |ends, input| ends.message(11, input));
        let ends = self.outputs.iter().fold(ends, |ends, output| ends.message(12, output));
        let size = graph.len() + ends.len() + self.initializers.iter().map(Initializer::size).sum::<usize>();
        const MOST: usize = (1 << 31) - (1 << 16);
        if size > MOST {
            return Err(Error::usage(format!("expected a model of at most 2 GiB in f32, found {size} bytes"))
                .hint("an ONNX file cannot be larger; take a smaller encoder"));
        }
        let mut file = Message::default().int(1, IR_VERSION).text(2, "polyhead").text(3, env!("CARGO_PKG_VERSION"));
        file.reserve(size + (1 << 16));
        file.header(7, size);
        file.append(&graph);
        for initializer in &self.initializers {
            initializer.write(&mut file)?;
        }
        file.append(&ends);
        let file = file.message(8, &Message::default().text(1, "").int(2, OPSET));
        let entry = |(key, value): &(String, String)| Message::default().text(1, key).text(2, value);
        Ok(self.metadata.iter().fold(file, |file, pair| file.message(14, &entry(pair))).into_bytes())
    }
}
