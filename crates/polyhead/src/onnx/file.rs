//! The parts of an ONNX file: nodes, their attributes, initialisers, inputs and outputs, and the file made of them.
//!
//! Field numbers are those of `onnx.proto3`. Nothing in a file depends on time, place or the order of a hash table.

//!
//! No reader takes a file of more than 2 GiB. The numbers of its initialisers then lie in a file of their own, of whose name and
//! places the first one tells (`external_data`).

use super::Opset;
use super::protobuf::Message;
use crate::error::{Error, Place, Result};
use crate::io::write_atomic_with;
use candle_core::{DType, Tensor};
use half::f16;
use std::io::{Result as IoResult, Write};
use std::path::Path;

/// The numbers of `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Int32 = 6,
    Int64 = 7,
    Float16 = 10,
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

/// A node: an operator, and the values that it makes.
pub(super) fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
    let message = outputs.iter().fold(message, |message, output| message.text(2, output)).text(3, name).text(4, op);
    attributes.iter().fold(message, |message, attribute| message.message(5, &attribute.message()))
}

/// The same of an operator that is not of ONNX's own.
pub(super) fn node_of(
    domain: &str,
    op: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attributes: &[Attribute],
) -> Message {
    node(op, name, inputs, &[output], attributes).text(7, domain)
}

/// The length of an axis, known or named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Length {
    Known(usize),
    Named(String),
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub name: String,
    pub of: Type,
    pub lengths: Vec<Length>,
}

impl Port {
    pub(super) fn new(name: &str, of: Type, lengths: Vec<Length>) -> Self {
        Self { name: name.to_owned(), of, lengths }
    }

    fn message(&self) -> Message {
        let shape = self.lengths.iter().fold(Message::default(), |shape, length| {
            let length = match length {
                Length::Known(length) => Message::default().int(1, *length as i64),
                Length::Named(name) => Message::default().text(2, name),
            };
            shape.message(1, &length)
        });
        let tensor = Message::default().int(1, self.of as i64).message(2, &shape);
        Message::default().text(1, &self.name).message(2, &Message::default().message(1, &tensor))
    }
}

/// A tensor that is part of the file.
pub(super) struct Initializer {
    pub name: String,
    pub numbers: Numbers,
}

/// The numbers of an initialiser.
pub(super) enum Numbers {
    /// In f32. Not copied before they are written.
    Tensor(Tensor),
    /// The same, rounded to f16.
    Half(Tensor),
    /// Whole numbers of a byte, and their dimensions.
    Bytes(Vec<i8>, Vec<usize>),
    /// A number.
    Float(f32),
    /// A byte without sign.
    Byte(u8),
    /// A whole number.
    Int(i64),
    /// Whole numbers, of one axis.
    Ints(Vec<i64>),
}

impl Numbers {
    fn described(&self) -> (Vec<usize>, Type, usize) {
        match self {
            Self::Tensor(tensor) => (tensor.dims().to_vec(), Type::Float, 4 * tensor.elem_count()),
            Self::Half(tensor) => (tensor.dims().to_vec(), Type::Float16, 2 * tensor.elem_count()),
            Self::Bytes(values, dims) => (dims.clone(), Type::Int8, values.len()),
            Self::Float(_) => (Vec::new(), Type::Float, 4),
            Self::Byte(_) => (Vec::new(), Type::Uint8, 1),
            Self::Int(_) => (Vec::new(), Type::Int64, 8),
            Self::Ints(values) => (vec![values.len()], Type::Int64, 8 * values.len()),
        }
    }

    fn write(&self, into: &mut dyn Write) -> IoResult<()> {
        let other = std::io::Error::other::<candle_core::Error>;
        match self {
            Self::Tensor(tensor) => {
                let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(other)?;
                values.iter().try_for_each(|value| into.write_all(&value.to_le_bytes()))
            }
            Self::Half(tensor) => {
                let halves = tensor.to_dtype(DType::F16).and_then(|halves| halves.flatten_all());
                let values = halves.and_then(|flat| flat.to_vec1::<f16>()).map_err(other)?;
                values.iter().try_for_each(|value| into.write_all(&value.to_le_bytes()))
            }
            Self::Bytes(values, _) => values.iter().try_for_each(|value| into.write_all(&value.to_le_bytes())),
            Self::Float(value) => into.write_all(&value.to_le_bytes()),
            Self::Byte(value) => into.write_all(&[*value]),
            Self::Int(value) => into.write_all(&value.to_le_bytes()),
            Self::Ints(values) => values.iter().try_for_each(|value| into.write_all(&value.to_le_bytes())),
        }
    }
}

/// Where the numbers of an initialiser lie in the file beside.
struct Outside<'a> {
    file: &'a str,
    offset: usize,
}

impl Initializer {
    /// Its field of a graph but for the bytes of its numbers, which follow if they do not lie outside.
    fn head(&self, outside: Option<Outside>) -> Message {
        let (dims, of, bytes) = self.numbers.described();
        let message = dims.iter().fold(Message::default(), |message, length| message.int(1, *length as i64));
        let mut message = message.int(2, of as i64).text(8, &self.name);
        let mut inside = 0;
        match outside {
            Some(Outside { file, offset }) => {
                const EXTERNAL: i64 = 1;
                for (key, value) in
                    [("location", file.to_owned()), ("offset", offset.to_string()), ("length", bytes.to_string())]
                {
                    message = message.message(13, &Message::default().text(1, key).text(2, &value));
                }
                message = message.int(14, EXTERNAL);
            }
            None => {
                message.header(9, bytes);
                inside = bytes;
            }
        }
        let mut field = Message::default();
        field.header(5, message.len() + inside);
        field.append(&message);
        field
    }
}

/// A graph, and what a file says beside it.
pub(super) struct File {
    pub opset: Opset,
    /// The set of operators beside ONNX's own, if nodes are of it.
    pub domain: Option<&'static str>,
    pub nodes: Vec<Message>,
    pub initializers: Vec<Initializer>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Names and values, in order.
    pub metadata: Vec<(String, String)>,
}

/// The largest file that readers take, less what stands beside a graph.
const LARGEST: usize = (1 << 31) - (1 << 16);

/// Numbers that take no more bytes than this are never outside.
const SMALL: usize = 1024;

/// Numbers outside begin at a multiple of this, so that they can be mapped into memory.
const PAGE: usize = 4096;

impl File {
    /// Writes the file, and beside it one with the numbers where it would be too large or `outside` asks for it.
    ///
    /// # Errors
    /// A file can't be written.
    pub(super) fn write(&self, path: &Path, outside: bool) -> Result<()> {
        if !outside && self.size() <= LARGEST {
            return write_atomic_with(path, |into| self.write_to(into, None));
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::usage("expected the name of a file in UTF-8").at(Place::file(path)));
        };
        let data = format!("{name}_data");
        write_atomic_with(path.with_file_name(&data), |into| self.write_outside(into))?;
        write_atomic_with(path, |into| self.write_to(into, Some(&data)))
    }

    /// The bytes of the file, with all numbers in it.
    ///
    /// # Errors
    /// It would be larger than 2 GiB.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        let size = self.size();
        if size > LARGEST {
            return Err(Error::usage(format!("expected a model of at most 2 GiB, found {size} bytes"))
                .hint("write it to a file: its weights then lie in a file beside"));
        }
        let mut bytes = Vec::with_capacity(size + (1 << 16));
        self.write_to(&mut bytes, None).map_err(|cause| Error::internal(cause.to_string()))?;
        Ok(bytes)
    }

    /// Bytes of the graph with all numbers in it.
    fn size(&self) -> usize {
        self.initializers.iter().map(|one| one.head(None).len() + one.numbers.described().2).sum::<usize>()
            + self.nodes.iter().map(Message::len).sum::<usize>()
    }

    /// The initialisers with the places of those whose numbers lie outside, in order.
    fn places(&self) -> impl Iterator<Item = (&Initializer, Option<usize>)> {
        let mut end: usize = 0;
        self.initializers.iter().map(move |initializer| {
            let bytes = initializer.numbers.described().2;
            if bytes <= SMALL {
                return (initializer, None);
            }
            let offset = end.next_multiple_of(PAGE);
            end = offset + bytes;
            (initializer, Some(offset))
        })
    }

    fn write_outside(&self, into: &mut dyn Write) -> IoResult<()> {
        let mut end = 0;
        for (initializer, offset) in self.places() {
            let Some(offset) = offset else { continue };
            into.write_all(&vec![0; offset - end])?;
            initializer.numbers.write(into)?;
            end = offset + initializer.numbers.described().2;
        }
        Ok(())
    }

    fn write_to(&self, into: &mut dyn Write, data: Option<&str>) -> IoResult<()> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        let graph = graph.text(2, "polyhead");
        let ends = self.inputs.iter().fold(Message::default(), |ends, input| ends.message(11, &input.message()));
        let ends = self.outputs.iter().fold(ends, |ends, output| ends.message(12, &output.message()));
        let heads: Vec<(Message, Option<&Numbers>)> = self
            .places()
            .map(|(initializer, offset)| match (data, offset) {
                (Some(file), Some(offset)) => (initializer.head(Some(Outside { file, offset })), None),
                _ => (initializer.head(None), Some(&initializer.numbers)),
            })
            .collect();
        let of_numbers = |numbers: &Option<&Numbers>| numbers.map_or(0, |numbers| numbers.described().2);
        let size = heads.iter().map(|(head, inside)| head.len() + of_numbers(inside)).sum::<usize>();
        let mut file =
            Message::default().int(1, self.opset.ir_version()).text(2, "polyhead").text(3, env!("CARGO_PKG_VERSION"));
        file.header(7, graph.len() + size + ends.len());
        file.append(&graph);
        into.write_all(file.bytes())?;
        for (head, inside) in heads {
            into.write_all(head.bytes())?;
            if let Some(numbers) = inside {
                numbers.write(into)?;
            }
        }
        into.write_all(ends.bytes())?;
        let opset = Message::default().message(8, &Message::default().text(1, "").int(2, self.opset.number()));
        let beside = |domain| Message::default().text(1, domain).int(2, 1);
        let opsets = self.domain.map(beside).iter().fold(opset, |opsets, one| opsets.message(8, one));
        let entry = |(key, value): &(String, String)| Message::default().text(1, key).text(2, value);
        let rest = self.metadata.iter().fold(opsets, |rest, pair| rest.message(14, &entry(pair)));
        into.write_all(rest.bytes())
    }
}
