//! ONNX files, read back by a reader that shares nothing with the writer: their structure, and what a small interpreter of the
//! operators computes with them. `checks/onnx_check.py` does the same with onnx.checker and ONNX Runtime.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::{D, DType, Device, Tensor};
use common::{Tensors, each_fixture, error, logits, tiny_adjusted, tiny_named, windows};
use polyhead::batch::Features;
use polyhead::encoders::{ENCODERS, EncoderOverrides};
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::onnx::{Format, WeightType};
use polyhead::parameters::Int8;
use polyhead::tasks::TASKS;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::rng::Key;
use polyhead_kernels::{
    Activation, Attention, DropoutAt, Index, Inputs, Items, Linear, LowRank, Ops, Part, Pass, Precision, Segments,
    Tape, Value, Weight,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The fields of a message of protocol buffers, in order: number and value.
struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    fn parse(mut bytes: &'a [u8]) -> Self {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let (byte, rest) = bytes.split_first().expect("a whole number");
                *bytes = rest;
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(value)
                }
                5 => {
                    let (value, rest) = bytes.split_at(4);
                    bytes = rest;
                    Field::Float(f32::from_le_bytes(value.try_into().unwrap()))
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    fn bytes(&self, number: u64) -> Vec<&'a [u8]> {
        let of = |(field, value): &(u64, Field<'a>)| match value {
            Field::Bytes(bytes) if *field == number => Some(*bytes),
            _ => None,
        };
        self.0.iter().filter_map(of).collect()
    }

    fn messages(&self, number: u64) -> Vec<Message<'a>> {
        self.bytes(number).into_iter().map(Message::parse).collect()
    }

    fn texts(&self, number: u64) -> Vec<&'a str> {
        self.bytes(number).into_iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
    }

    fn text(&self, number: u64) -> &'a str {
        self.texts(number)[0]
    }

    fn numbers(&self, number: u64) -> Vec<i64> {
        let of = |(field, value): &(u64, Field)| match value {
            Field::Number(value) if *field == number => Some(*value as i64),
            _ => None,
        };
        self.0.iter().filter_map(of).collect()
    }

    fn float(&self, number: u64) -> f32 {
        let of = |(field, value): &(u64, Field)| match value {
            Field::Float(value) if *field == number => Some(*value),
            _ => None,
        };
        self.0.iter().find_map(of).unwrap()
    }
}

/// The initialisers of a graph by name, whole numbers as f32 too: none is large.
fn initializers(graph: &Message) -> BTreeMap<String, Tensor> {
    let mut found = BTreeMap::new();
    for tensor in graph.messages(5) {
        let shape: Vec<usize> = tensor.numbers(1).into_iter().map(|length| length as usize).collect();
        let raw = tensor.bytes(9)[0];
        let values: Vec<f32> = match tensor.numbers(2)[0] {
            1 => raw.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect(),
            2 => raw.iter().map(|&byte| f32::from(byte)).collect(),
            3 => raw.iter().map(|&byte| f32::from(byte.cast_signed())).collect(),
            7 => raw.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f32).collect(),
            10 => raw.chunks_exact(2).map(|bytes| half(u16::from_le_bytes(bytes.try_into().unwrap()))).collect(),
            other => panic!("type {other}"),
        };
        let tensor_value = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        assert!(found.insert(tensor.text(8).to_owned(), tensor_value).is_none(), "two of one name");
    }
    found
}

/// A normal or denormal number of f16.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f32::from(bits & 1023) / 1024.0);
    assert!(exponent < 31, "not finite");
    let value = match exponent {
        0 => fraction * 2.0_f32.powi(-14),
        exponent => (1.0 + fraction) * 2.0_f32.powi(exponent - 15),
    };
    if sign == 1 { -value } else { value }
}

/// Runs the nodes of a graph on its inputs; all values by name.
fn interpret(graph: &Message, inputs: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let mut values = initializers(graph);
    values.extend(inputs);
    // An input that is left out.
    values.insert(String::new(), Tensor::new(0.0_f32, &Device::Cpu).unwrap());
    for node in graph.messages(1) {
        let x: Vec<&Tensor> = node.texts(1).into_iter().map(|name| &values[name]).collect();
        let attributes: BTreeMap<&str, Message> =
            node.messages(5).into_iter().map(|attribute| (attribute.text(1), attribute)).collect();
        let whole = |tensor: &Tensor| -> Vec<i64> {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(|value| value as i64).collect()
        };
        let y = match node.text(4) {
            "Add" => x[0].broadcast_add(x[1]),
            "Sub" => x[0].broadcast_sub(x[1]),
            "Mul" => x[0].broadcast_mul(x[1]),
            "Div" => x[0].broadcast_div(x[1]),
            "Erf" => x[0].erf(),
            "Identity" => Ok(x[0].clone()),
            "Cast" => {
                assert!([1, 6].contains(&attributes["to"].numbers(3)[0]));
                Ok(x[0].clone())
            }
            "MatMul" => x[0].contiguous().unwrap().broadcast_matmul(&x[1].contiguous().unwrap()),
            "Abs" => x[0].abs(),
            "Cos" => x[0].cos(),
            "Sin" => x[0].sin(),
            "Sigmoid" => (x[0].neg().unwrap().exp().unwrap() + 1.0).and_then(|sum| sum.recip()),
            "Clip" => x[0].broadcast_maximum(x[1]).and_then(|held| held.broadcast_minimum(x[2])),
            "Greater" => x[0].broadcast_gt(x[1]).and_then(|greater| greater.to_dtype(DType::F32)),
            "Shape" => {
                let lengths: Vec<f32> = x[0].dims().iter().map(|length| *length as f32).collect();
                Tensor::new(lengths, &Device::Cpu)
            }
            "Expand" => {
                let shape: Vec<usize> = whole(x[1]).into_iter().map(|length| length as usize).collect();
                x[0].broadcast_as(shape).unwrap().contiguous()
            }
            "GatherElements" => {
                assert_eq!(attributes["axis"].numbers(3), [-1]);
                let index = x[1].to_dtype(DType::U32).unwrap();
                x[0].contiguous().unwrap().gather(&index, D::Minus1)
            }
            // Zeros around the second of three axes.
            "Pad" => {
                let ends = whole(x[1]);
                assert!(ends.len() == 6 && ends[1] == ends[4] && [0, 2, 3, 5].iter().all(|axis| ends[*axis] == 0));
                x[0].pad_with_zeros(1, ends[1] as usize, ends[4] as usize)
            }
            "Tanh" => x[0].tanh(),
            "Relu" => x[0].relu(),
            "Slice" => {
                let (start, end, axis) = (whole(x[1])[0], whole(x[2])[0], whole(x[3])[0]);
                let axis = if axis < 0 { x[0].rank() - 1 } else { axis as usize };
                let length = x[0].dims()[axis] as i64;
                let end = if end < 0 { length + end } else { end.min(length) };
                x[0].narrow(axis, start as usize, (end - start) as usize)
            }
            // The first of several largest ones.
            "ArgMax" => {
                assert_eq!((attributes["axis"].numbers(3), attributes["keepdims"].numbers(3)), (vec![1], vec![1]));
                let rows = x[0].to_vec2::<f32>().unwrap();
                let first = |row: &Vec<f32>| {
                    let largest = row.iter().copied().fold(f32::MIN, f32::max);
                    row.iter().position(|value| *value == largest).unwrap() as f32
                };
                Tensor::from_vec(rows.iter().map(first).collect(), (rows.len(), 1), &Device::Cpu)
            }
            "GatherND" => {
                assert_eq!(attributes["batch_dims"].numbers(3), [1]);
                // Indices [batch, 1] or [batch, count, 1]: the rows of each batch; [batch, count, 2]: of its matrix of rows.
                let axes = x[1].dims()[x[1].rank() - 1];
                let batches = (0..x[1].dims()[0]).map(|batch| {
                    let (own, numbers) = (x[0].get(batch).unwrap(), whole(&x[1].get(batch).unwrap()));
                    let rows = numbers.chunks(axes).map(|at| match *at {
                        [row] => row as u32,
                        [row, column] => (row as usize * own.dims()[1] + column as usize) as u32,
                        _ => panic!("{axes} axes"),
                    });
                    let rows = Tensor::new(rows.collect::<Vec<_>>(), &Device::Cpu).unwrap();
                    let flat = [vec![own.dims()[..axes].iter().product()], own.dims()[axes..].to_vec()].concat();
                    own.contiguous().unwrap().reshape(flat).unwrap().index_select(&rows, 0).unwrap()
                });
                let picked = Tensor::stack(&batches.collect::<Vec<_>>(), 0).unwrap();
                if x[1].rank() == 2 { picked.squeeze(1) } else { Ok(picked) }
            }
            "CumSum" => x[0].cumsum(whole(x[1])[0] as usize),
            "Unsqueeze" => whole(x[1]).into_iter().try_fold(x[0].clone(), |x, axis| {
                let axis = if axis < 0 { x.rank() } else { axis as usize };
                x.unsqueeze(axis)
            }),
            "Concat" => {
                assert_eq!(attributes["axis"].numbers(3), [-1]);
                Tensor::cat(&x, D::Minus1)
            }
            "Transpose" => {
                let order: Vec<usize> = attributes["perm"].numbers(8).into_iter().map(|axis| axis as usize).collect();
                x[0].permute(order).unwrap().contiguous()
            }
            "Reshape" => {
                let lengths = whole(x[1]);
                let kept = |(axis, length): (usize, &i64)| match *length {
                    0 => x[0].dims()[axis],
                    length => length.max(1) as usize,
                };
                let mut shape: Vec<usize> = lengths.iter().enumerate().map(kept).collect();
                // What the others leave.
                if let Some(rest) = lengths.iter().position(|length| *length == -1) {
                    shape[rest] = x[0].elem_count() / shape.iter().product::<usize>();
                }
                x[0].reshape(shape)
            }
            "ReduceMax" => {
                assert_eq!(x.get(1).map_or_else(|| attributes["axes"].numbers(8), |axes| whole(axes)), vec![-1]);
                x[0].max_keepdim(D::Minus1)
            }
            "QuantizeLinear" => {
                let scaled = x[0].broadcast_div(x[1]).unwrap().round().unwrap();
                scaled.broadcast_add(x[2]).unwrap().clamp(0.0, 255.0)
            }
            // Of a weight: a scale for each column, no zero.
            "DequantizeLinear" if attributes.contains_key("axis") => {
                assert_eq!((attributes["axis"].numbers(3), x.len()), (vec![1], 2));
                x[0].broadcast_mul(x[1])
            }
            "DequantizeLinear" => x[0].broadcast_sub(x[2]).unwrap().broadcast_mul(x[1]),
            "MatMulInteger" => {
                let x0 = x[0].broadcast_sub(x[2]).unwrap().contiguous().unwrap();
                x0.broadcast_matmul(&x[1].contiguous().unwrap())
            }
            "Gather" if attributes.contains_key("axis") => {
                assert_eq!((attributes["axis"].numbers(3), x[1].rank()), (vec![-1], 0));
                x[0].get_on_dim(D::Minus1, whole(x[1])[0] as usize)
            }
            "Gather" => {
                let index = x[1].flatten_all().unwrap().to_dtype(DType::U32).unwrap();
                let shape = [x[1].dims(), &x[0].dims()[1..]].concat();
                x[0].index_select(&index, 0).unwrap().reshape(shape)
            }
            "Less" => x[0].broadcast_lt(x[1]).and_then(|less| less.to_dtype(DType::F32)),
            "LessOrEqual" => x[0].broadcast_le(x[1]).and_then(|less| less.to_dtype(DType::F32)),
            "And" => x[0].broadcast_mul(x[1]),
            "Max" => x[0].broadcast_maximum(x[1]),
            "ReduceSum" => {
                assert_eq!(whole(x[1]), [-1]);
                x[0].sum_keepdim(D::Minus1)
            }
            "Softmax" => {
                assert_eq!(attributes["axis"].numbers(3), [-1]);
                let weights = x[0].broadcast_sub(&x[0].max_keepdim(D::Minus1).unwrap()).unwrap().exp().unwrap();
                weights.broadcast_div(&weights.sum_keepdim(D::Minus1).unwrap())
            }
            "LayerNormalization" => {
                assert_eq!(attributes["axis"].numbers(3), [-1]);
                let centred = x[0].broadcast_sub(&x[0].mean_keepdim(D::Minus1).unwrap()).unwrap();
                let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
                let deviation = (variance + f64::from(attributes["epsilon"].float(2))).unwrap().sqrt().unwrap();
                let normal = centred.broadcast_div(&deviation).unwrap();
                let scaled = normal.broadcast_mul(x[1]).unwrap();
                x.get(2).map_or(Ok(scaled.clone()), |bias| scaled.broadcast_add(bias))
            }
            "Attention" | "MultiHeadAttention" => {
                assert_eq!(node.texts(7), ["com.microsoft"]);
                assert_eq!(attributes["mask_filter_value"].float(2), f32::MIN);
                let heads = attributes["num_heads"].numbers(3)[0] as usize;
                match node.text(4) {
                    "Attention" => {
                        let projected = x[0].broadcast_matmul(x[1]).unwrap().broadcast_add(x[2]).unwrap();
                        let parts = projected.chunk(3, D::Minus1).unwrap();
                        fused_attention([&parts[0], &parts[1], &parts[2]], x[3], x.get(5).copied(), heads)
                    }
                    _ => fused_attention([x[0], x[1], x[2]], x[4], x.get(5).copied(), heads),
                }
            }
            other => panic!("{other} is not one of the operators of these graphs"),
        };
        let y = y.unwrap_or_else(|failed| panic!("{}: {failed}", node.text(3)));
        assert!(values.insert(node.text(2).to_owned(), y).is_none(), "{} is made twice", node.text(2));
    }
    values
}

/// What ONNX Runtime's operators of attention compute, as its documentation of operators has it.
fn fused_attention(
    qkv: [&Tensor; 3],
    mask: &Tensor,
    added: Option<&Tensor>,
    heads: usize,
) -> candle_core::Result<Tensor> {
    let (batch, length, hidden) = qkv[0].dims3()?;
    let size = hidden / heads;
    let [q, k, v] = qkv.map(|x| x.reshape((batch, length, heads, size))?.transpose(1, 2)?.contiguous());
    let (q, k, v) = (q?, k?, v?);
    let mut scores = (q.matmul(&k.t()?.contiguous()?)? / (size as f64).sqrt())?;
    if let Some(added) = added {
        scores = scores.broadcast_add(added)?;
    }
    let hidden_keys = ((1.0 - mask)? * f64::from(f32::MIN))?.reshape((batch, 1, 1, length))?;
    let scores = scores.broadcast_add(&hidden_keys)?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, hidden))
}

/// Inputs (field 11) or outputs (12) of a graph: name, type of elements, lengths.
fn described<'a>(graph: &Message<'a>, field: u64) -> Vec<(&'a str, i64, Vec<String>)> {
    let of = |value: Message<'a>| -> (&'a str, i64, Vec<String>) {
        let tensor = &value.messages(2)[0].messages(1)[0];
        let dimension = |dimension: &Message| match dimension.texts(2).first() {
            Some(name) => (*name).to_owned(),
            None => dimension.numbers(1)[0].to_string(),
        };
        (value.text(1), tensor.numbers(1)[0], tensor.messages(2)[0].messages(1).iter().map(dimension).collect())
    };
    graph.messages(field).into_iter().map(of).collect()
}

fn bytes_of(model: &Model) -> Vec<u8> {
    polyhead::onnx::to_bytes(model, &model.tasks.iter().collect::<Vec<&NamedTask>>(), Format::default()).unwrap()
}

/// What a file of an encoder asks for.
fn inputs(model: &Model) -> &'static [&'static str] {
    let types = model.parameters.iter().find(|parameter| parameter.name.contains("token_type_embeddings"));
    match types.is_some_and(|table| table.weight.dims()[0] > 1) {
        true => &["input_ids", "attention_mask", "token_type_ids"],
        false => &["input_ids", "attention_mask"],
    }
}

#[test]
fn a_file_has_the_inputs_outputs_and_weights_of_the_model_and_the_same_bytes_twice() {
    for (fixture, model, _) in each_fixture() {
        let bytes = bytes_of(&model);
        assert!(bytes == bytes_of(&tiny_named(fixture).0), "another file of the same model");
        let file = Message::parse(&bytes);
        assert_eq!((file.numbers(1), file.text(2)), (vec![8], "polyhead"));
        let sets: Vec<_> = file.messages(8).iter().map(|set| (set.text(1), set.numbers(2))).collect();
        assert_eq!(sets, [("", vec![17])]);
        let graph = &file.messages(7)[0];
        let ends = || vec!["batch_size".to_owned(), "sequence_length".to_owned()];
        let inputs: Vec<_> = inputs(&model).iter().map(|name| (*name, 7, ends())).collect();
        assert_eq!(described(graph, 11), inputs);
        let labels = model.task("ner").unwrap().task.labels().len();
        let of_labels = [ends(), vec![labels.to_string()]].concat();
        let outputs = [("ner.logits", of_labels), ("qa.start_logits", ends()), ("qa.end_logits", ends())];
        assert_eq!(described(graph, 12), outputs.map(|(name, lengths)| (name, 1, lengths)));
        let weights = initializers(graph);
        for parameter in model.parameters.iter().filter(|parameter| !parameter.name.starts_with("pooler.")) {
            let (found, want) = (&weights[&parameter.name], parameter.weight.tensor().unwrap());
            let is_table = ["_embeddings.weight", "relative_attention_bias.weight"]
                .iter()
                .any(|table| parameter.name.ends_with(table));
            let want = match want.rank() >= 2 && !is_table {
                true => want.flatten_from(1).unwrap().t().unwrap().contiguous().unwrap(),
                false => want.clone(),
            };
            assert_eq!(found.dims(), want.dims(), "{}", parameter.name);
            assert_eq!(error(found, &want), 0.0, "{}", parameter.name);
        }
        // As the format asks: every value is made before it is read, and every node has a name of its own.
        let inputs = inputs.iter().map(|(name, ..)| *name);
        let mut known: BTreeSet<&str> = weights.keys().map(String::as_str).chain(inputs).collect();
        let mut names = BTreeSet::new();
        for node in graph.messages(1) {
            assert!(
                node.texts(1).iter().all(|input| known.contains(input)),
                "{} reads what is not there",
                node.text(3)
            );
            assert!(names.insert(node.text(3)), "two nodes {}", node.text(3));
            known.extend(node.texts(2));
        }
    }
}

/// The outputs of a task as one tensor `[batch, tokens, outputs]`.
fn logits_of(values: &BTreeMap<String, Tensor>, task: &str) -> Tensor {
    match task {
        "qa" => Tensor::stack(&["start", "end"].map(|end| &values[&format!("qa.{end}_logits")]), 2).unwrap(),
        task => values[&format!("{task}.logits")].clone(),
    }
}

#[test]
fn a_file_computes_the_logits_of_the_model_whatever_the_padding() {
    for (_, model, reference) in each_fixture() {
        assert_logits(&model, &reference, Format::default(), 1e-5);
    }
}

/// One operator a layer, and the set that it is of; none where positions need more than a bias.
#[test]
fn fused_attention_computes_the_same() {
    for (fixture, model, reference) in each_fixture() {
        let fused = Format { fused_attention: true, ..Format::default() };
        assert_logits(&model, &reference, fused, 1e-5);
        assert_logits(&model, &reference, Format { weights: WeightType::Int8, ..fused }, 0.2);
        for (weights, op) in [(WeightType::F32, "Attention"), (WeightType::Int8, "MultiHeadAttention")] {
            let tasks: Vec<&NamedTask> = model.tasks.iter().collect();
            let bytes = polyhead::onnx::to_bytes(&model, &tasks, Format { weights, ..fused }).unwrap();
            let file = Message::parse(&bytes);
            let layers = file.messages(7)[0].messages(1).iter().filter(|node| node.text(4) == op).count();
            let sets = file.messages(8).iter().filter(|set| set.text(1) == "com.microsoft").count();
            let is_fused = !["deberta", "modernbert"].iter().any(|family| fixture.contains(family));
            assert_eq!((layers, sets), if is_fused { (model.encoder.layers(), 1) } else { (0, 0) }, "{fixture}");
        }
    }
}

/// f16 has ten bits after the leading one; bytes have seven, of weights and of activations.
#[test]
fn weights_in_half_or_a_quarter_of_the_bytes_give_nearly_the_same_logits() {
    for (fixture, model, reference) in each_fixture() {
        let whole = assert_logits(&model, &reference, Format::default(), 1e-5);
        for (weights, share, bound) in [(WeightType::F16, 0.75, 5e-3), (WeightType::Int8, 0.6, 0.2)] {
            let found = assert_logits(&model, &reference, Format { weights, ..Format::default() }, bound);
            // Operators whose axes are an input since.
            assert_logits(
                &model,
                &reference,
                Format { weights, opset: "18".parse().unwrap(), ..Format::default() },
                bound,
            );
            assert!((found as f64) < share * whole as f64, "{fixture} in {weights:?}: {found} of {whole} bytes");
        }
    }
}

/// Once its layers were watched, all of them are in bytes; before, none is.
#[test]
fn inputs_in_bytes_of_the_ranges_that_they_had_give_nearly_the_same_logits() {
    let watched = EncoderOverrides { int8: Int8::Watched, ..EncoderOverrides::default() };
    let format = Format { weights: WeightType::Qdq, ..Format::default() };
    for fixture in ENCODERS.iter().map(|kind| kind.fixture) {
        let (model, reference) = tiny_adjusted(fixture, &watched);
        let in_bytes = || {
            let tasks: Vec<&NamedTask> = model.tasks.iter().collect();
            let bytes = polyhead::onnx::to_bytes(&model, &tasks, format).unwrap();
            let nodes = Message::parse(&bytes).messages(7)[0].messages(1);
            // Those of weights have an axis.
            nodes.iter().filter(|node| node.text(4) == "DequantizeLinear" && !node.bytes(5).is_empty()).count()
        };
        assert_eq!(in_bytes(), 0, "{fixture}");
        for task in ["ner", "qa"] {
            logits(&model, task, &windows(&reference));
        }
        let layers: BTreeSet<&String> = model.linear_layers.iter().flatten().collect();
        assert_eq!(in_bytes(), layers.len(), "{fixture}");
        assert_logits(&model, &reference, format, 0.2);
    }
}

/// Holds the logits of a file against the model's; returns how many bytes its initialisers have.
fn assert_logits(model: &Model, reference: &Tensors, format: Format, bound: f64) -> usize {
    let tasks: Vec<&NamedTask> = model.tasks.iter().collect();
    let bytes = polyhead::onnx::to_bytes(model, &tasks, format).unwrap();
    let graph = &Message::parse(&bytes).messages(7)[0];
    let windows = windows(reference);
    let lengths: BTreeSet<usize> = windows.iter().map(|window| window.ids.len()).collect();
    assert!(lengths.len() > 2, "of several lengths: {lengths:?}");
    for (batch, before) in [(&windows[..1], 0), (&windows[..], 0), (&windows[..], 3)] {
        let longest = before + batch.iter().map(|window| window.ids.len()).max().unwrap();
        // `before` padding tokens, the real ones, padding.
        let padded = |values: &dyn Fn(&Features) -> Vec<f32>| {
            let rows = batch.iter().flat_map(|window| {
                let mut row = vec![0.0; before];
                row.extend(values(window));
                row.resize(longest, 0.0);
                row
            });
            Tensor::from_vec(rows.collect(), (batch.len(), longest), &Device::Cpu).unwrap()
        };
        let numbers = |values: &[u32]| values.iter().map(|&value| value as f32).collect();
        let inputs = [
            ("input_ids", padded(&|window| numbers(&window.ids))),
            ("attention_mask", padded(&|window| vec![1.0; window.ids.len()])),
            ("token_type_ids", padded(&|window| numbers(&window.types))),
        ];
        // Another would not be read.
        let read = inputs.into_iter().filter(|(name, _)| self::inputs(model).contains(name));
        let inputs = read.map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        let values = interpret(graph, inputs);
        for task in ["ner", "qa"] {
            let found = &logits_of(&values, task);
            for (row, want) in logits(model, task, batch).into_iter().enumerate() {
                let tokens = batch[row].ids.len();
                let found = found.get(row).unwrap().narrow(0, before, tokens).unwrap();
                let want = Tensor::from_vec(want, found.dims(), &Device::Cpu).unwrap();
                let far = error(&found, &want);
                assert!(far <= bound, "{task}, {row}, {format:?}: {far}");
            }
        }
    }
    graph.messages(5).iter().map(|tensor| tensor.bytes(9)[0].len()).sum()
}

/// A head that reads ranges and pairs of them, in a file: these are inputs, and there are so many rows of logits as pairs.
fn assert_head_of_pairs(kind: &str, config: serde_json::Value, requests: [serde_json::Value; 3]) {
    let entry = TASKS.iter().find(|entry| entry.kind == kind).unwrap();
    let named = vec![NamedTask { name: "head".into(), task: (entry.open)(config).unwrap() }];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert");
    let model =
        Model::pretrained(&folder, Provenance::default(), named, &EncoderOverrides::default(), Key::seed(3)).unwrap();
    let task = &model.tasks[0];
    let window = |request| task.task.query(&request, &model.tokenizer).unwrap().windows.into_iter().next().unwrap();
    let windows = requests.map(window);
    let bytes = bytes_of(&model);
    let graph = &Message::parse(&bytes).messages(7)[0];
    let inputs: Vec<&str> = described(graph, 11).into_iter().skip(3).map(|(name, ..)| name).collect();
    assert_eq!(inputs, ["head.ranges", "head.pairs"]);
    let longest = windows.iter().map(|window| window.ids.len()).max().unwrap();
    let tokens = |values: &dyn Fn(&Features) -> Vec<u32>| {
        let rows = windows.iter().flat_map(|window| {
            let mut row: Vec<f32> = values(window).into_iter().map(|value| value as f32).collect();
            row.resize(longest, 0.0);
            row
        });
        Tensor::from_vec(rows.collect(), (3, longest), &Device::Cpu).unwrap()
    };
    let items = |of: fn(&Features) -> &[(u32, u32)]| padded([of(&windows[0]), of(&windows[1]), of(&windows[2])], 0);
    let inputs = [
        ("input_ids", tokens(&|window| window.ids.clone())),
        ("attention_mask", tokens(&|window| vec![1; window.ids.len()])),
        ("token_type_ids", tokens(&|window| window.types.clone())),
        ("head.ranges", items(|window| &window.ranges)),
        ("head.pairs", items(|window| &window.pairs)),
    ];
    let values = interpret(graph, inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect());
    let want = model.logits(task, &windows.iter().collect::<Vec<_>>()).unwrap();
    for (row, (want, window)) in want.iter().zip(&windows).enumerate() {
        let found = values["head.logits"].get(row).unwrap().narrow(0, 0, window.pairs.len()).unwrap();
        let want = want.rows().flatten().copied().collect::<Vec<f32>>();
        let want = Tensor::from_vec(want, found.dims(), &Device::Cpu).unwrap();
        assert!(error(&found, &want) <= 1e-5, "{kind}, {row}: {}", error(&found, &want));
    }
}

#[test]
fn heads_of_pairs_in_a_file_have_the_logits_of_the_model() {
    let request = |text: &str| serde_json::json!({ "marked_text": text });
    let texts = [
        "the <e1>queen of the north</e1> was in <e2>london</e2> .",
        "<e2>a</e2><e1>b</e1>",
        "<e1>ada <e2>left</e2></e1>",
    ];
    for markers in ["tokens", "spans"] {
        let config = serde_json::json!({
            "labels": ["a", "b", "c"], "marker_tokens": ["$", "@"], "markers": markers, "max_length": 48,
        });
        assert_head_of_pairs("relation", config, texts.map(request));
    }
    let request = |text: &str| serde_json::json!({ "text": text });
    let texts = ["the queen of the north was in london .", "unity", "ada left paris"];
    for vectors in ["first", "mean"] {
        let config = serde_json::json!({
            "labels": ["det", "nsubj", "root"], "max_length": 48, "arc_size": 12, "relation_size": 7, "word_vector": vectors,
        });
        assert_head_of_pairs("parse", config, texts.map(request));
    }
}

/// Every operator that a backend must have, each as it is and not as a part of a fused one.
fn primitives(ops: &mut dyn Ops) -> polyhead::Result<Vec<(String, Value)>> {
    let weight = |name: &str, shape: &[usize]| {
        let (key, count) = (Key::seed(1).purpose(name), shape.iter().product::<usize>() as u64);
        let values: Vec<f32> = (0..count).map(|at| 0.5 * key.normal(at) as f32).collect();
        Weight::named(name, &Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    };
    let drop = DropoutAt::new(0.5, "nowhere in evaluation");
    let (words, places) = (weight("words.weight", &[40, 12]), weight("places.weight", &[24, 12]));
    let norm = Norm::new(weight("norm.weight", &[12]), weight("norm.bias", &[12]), 1e-6);
    let addition = LowRank {
        a: weight("up.lora_A", &[3, 12]),
        b: weight("up.lora_B", &[36, 3]),
        scale: 0.7,
        dropout: drop,
        task: None,
    };
    let up = Arc::new(Linear::new(vec![Part::new(weight("up.weight", &[36, 12]), None).with_low_rank(addition)]));
    let down = |name: &str| {
        Part::new(weight(&format!("{name}.weight"), &[5, 12]), Some(weight(&format!("{name}.bias"), &[5])))
    };
    let down = Arc::new(Linear::new(vec![down("one"), down("other")]));

    let words = ops.embedding(&words, Index::TokenIds)?;
    let sum = ops.embedding(&places, Index::PositionsFrom(2))?;
    let sum = ops.add(&words, &sum)?;
    let shared = ops.embedding(&weight("shared.weight", &[1, 12]), Index::FirstRow)?;
    let sum = ops.add(&shared, &sum)?;
    let normal = ops.layer_norm(&sum, &norm)?;
    let normal = ops.dropout(&normal, drop)?;
    let projected = ops.linear(&normal, &up)?;
    let mixed = ops.attention(&projected, Attention::plain(3, drop))?;
    let gelu = ops.activation(&mixed, Activation::Gelu)?;
    let relu = ops.activation(&normal, Activation::Relu)?;
    let both = ops.add(&gelu, &relu)?;
    let first = ops.select_rows(&both, Index::FirstTokens)?;
    let first = ops.activation(&first, Activation::Tanh)?;
    let tokens = ops.linear(&both, &down)?;
    let sequences = ops.linear(&first, &down)?;
    let ranges = ops.select_rows(&both, Index::RangeStarts)?;
    let [one, other] = [Index::PairFirsts, Index::PairSeconds].map(|index| ops.select_rows(&ranges, index));
    let other = ops.activation(&other?, Activation::Tanh)?;
    let pairs = ops.add(&one?, &other)?;
    let means = ops.mean_ranges(&both)?;
    let seconds = ops.select_rows(&means, Index::PairSeconds)?;
    let of_sequences = ops.select_rows(&first, Index::PairSequences)?;
    let sides = ops.concat(&[&of_sequences, &pairs, &seconds])?;
    let joined = Part::new(weight("wide.weight", &[5, 36]), Some(weight("wide.bias", &[5])));
    let sides = ops.linear(&sides, &Arc::new(Linear::new(vec![joined])))?;
    let means = ops.linear(&means, &down)?;
    let wide = ops.linear(&ranges, &up)?;
    let products = ops.pair_dots(&wide, &ranges)?;
    let pairs = ops.linear(&pairs, &down)?;
    let ranges = ops.linear(&ranges, &down)?;
    let all = [
        ("tokens", tokens),
        ("sequences", sequences),
        ("ranges_out", ranges),
        ("pairs_out", pairs),
        ("means_out", means),
        ("sides_out", sides),
        ("products", products),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

#[test]
fn every_operator_of_the_graph_is_that_of_the_tape() {
    let bytes = polyhead::onnx::network_to_bytes(primitives, Vec::new()).unwrap();
    if let Some(path) = std::env::var_os("POLYHEAD_TEST_ONNX") {
        std::fs::write(path, &bytes).unwrap();
    }
    let graph = &Message::parse(&bytes).messages(7)[0];
    let names = |field| described(graph, field).into_iter().map(|(name, _, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(11), ["input_ids", "attention_mask", "ranges", "pairs"], "this network has no token types");
    let lengths = |lengths: &[&str]| lengths.iter().map(|&length| length.to_owned()).collect::<Vec<_>>();
    assert_eq!(described(graph, 11)[2], ("ranges", 7, lengths(&["batch_size", "ranges", "2"])));
    assert_eq!(described(graph, 12)[1], ("sequences", 1, lengths(&["batch_size", "10"])));
    assert_eq!(described(graph, 12)[3], ("pairs_out", 1, lengths(&["batch_size", "pairs", "10"])));
    assert_eq!(described(graph, 12)[6], ("products", 1, lengths(&["batch_size", "pairs", "3"])));

    // Of each sequence: ranges of its tokens, and pairs of its ranges.
    const RANGES: [&[(u32, u32)]; 3] = [&[(0, 2), (5, 7), (3, 4)], &[(0, 1)], &[(11, 12), (1, 5)]];
    const PAIRS: [&[(u32, u32)]; 3] = [&[(2, 0), (1, 1)], &[(0, 0)], &[(0, 1), (1, 0), (1, 1)]];
    let (lengths, longest) = ([7_usize, 1, 12], 14);
    let ids: Vec<u32> =
        (0..lengths.iter().sum::<usize>() as u64).map(|at| (Key::seed(2).bits(at) % 40) as u32).collect();
    let inputs = Inputs {
        positions: lengths.iter().flat_map(|&length| 0..length as u32).collect(),
        types: vec![0; ids.len()],
        ids: ids.clone(),
        ranges: items(RANGES, [0, 7, 8]),
        pairs: items(PAIRS, [0, 3, 4]),
        ..Inputs::of_rows(Segments::packed(&lengths))
    };
    let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs));
    let want: Vec<Tensor> =
        primitives(&mut tape).unwrap().iter().map(|(_, value)| value.to_tensor().unwrap()).collect();

    // Padding before and after.
    let (mut rows, mut mask, mut start) = (Vec::new(), Vec::new(), 0);
    for length in lengths {
        let own = ids[start..start + length].iter().map(|&id| id as f32);
        rows.extend([3.0].into_iter().chain(own).chain(std::iter::repeat_n(5.0, longest - length - 1)));
        mask.extend((0..longest).map(|at| if (1..=length).contains(&at) { 1.0 } else { 0.0 }));
        start += length;
    }
    let matrix = |values| Tensor::from_vec(values, (lengths.len(), longest), &Device::Cpu).unwrap();
    let (ranges, pairs) = (padded(RANGES, 1), padded(PAIRS, 0));
    let inputs = [("input_ids", matrix(rows)), ("attention_mask", matrix(mask)), ("ranges", ranges), ("pairs", pairs)];
    let values = interpret(graph, inputs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    assert!(error(&values["sequences"], &want[1]) <= 1e-5);
    let mut start = 0;
    for (row, length) in lengths.into_iter().enumerate() {
        let found = values["tokens"].get(row).unwrap().narrow(0, 1, length).unwrap();
        let far = error(&found, &want[0].narrow(0, start, length).unwrap());
        assert!(far <= 1e-5, "sequence {row}: {far}");
        start += length;
    }
    let (ranges, pairs) = (RANGES.map(<[_]>::len), PAIRS.map(<[_]>::len));
    for (name, want, counts) in [
        ("ranges_out", &want[2], ranges),
        ("pairs_out", &want[3], pairs),
        ("means_out", &want[4], ranges),
        ("sides_out", &want[5], pairs),
        ("products", &want[6], pairs),
    ] {
        let mut start = 0;
        for (row, count) in counts.into_iter().enumerate() {
            let found = values[name].get(row).unwrap().narrow(0, 0, count).unwrap();
            let far = error(&found, &want.narrow(0, start, count).unwrap());
            assert!(far <= 1e-5, "{name}, sequence {row}: {far}");
            start += count;
        }
    }
}

/// The items of three sequences, counted from the start of the batch.
fn items(of: [&[(u32, u32)]; 3], starts: [u32; 3]) -> Items {
    let items = of.iter().zip(starts).flat_map(|(items, from)| items.iter().map(move |(a, b)| (a + from, b + from)));
    Items { items: items.collect(), segments: Segments::packed(&of.map(<[_]>::len)) }
}

/// The same `[sequences, most, 2]`, counted from the start of each row, before which there is so much padding.
fn padded(of: [&[(u32, u32)]; 3], before: u32) -> Tensor {
    let most = of.iter().map(|items| items.len()).max().unwrap();
    let all = of.iter().flat_map(|items| (0..most).map(|at| items.get(at).copied().unwrap_or((0, 0))));
    let numbers = all.flat_map(|(a, b)| [(a + before) as f32, (b + before) as f32]);
    Tensor::from_vec(numbers.collect::<Vec<_>>(), (3, most, 2), &Device::Cpu).unwrap()
}
