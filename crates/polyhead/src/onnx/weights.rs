//! Weights of a graph in the type that is asked for, and the nodes that multiply with them.
//!
//! ```text
//! f32    W                                       x W
//! f16    W in f16, half the bytes                x Cast(W): computed in f32
//! int8   W[i][j] = q[i][j] s[j], q from -127 to 127, s[j] = max |W[.][j]| / 127
//!        x[r] = (u[r] - 128) t[r], t[r] = max |x[r]| / 127           (u - 128) q  s[j] t[r]: computed in whole numbers
//! qdq    the same W; x = (u - z) t, t and z of the inputs that the layer had while it was watched
//! ```
//!
//! `int8` is dynamic quantisation with a scale for each token: `DynamicQuantizeLinear` has one for a whole batch, and logits are then more
//! than twice as far off. `qdq` is static quantisation: pairs of `QuantizeLinear` and `DequantizeLinear` say what is in bytes, and a
//! runtime that knows how multiplies these.
//! Of an embedding each row has a scale of its own. Attention, LayerNorm, biases and heads stay in f32.

use super::WeightType;
use super::file::{Attribute, Numbers, Type};
use super::graph::Graph;
use crate::parameters::Quantized;
use candle_core::{Device, Result, Tensor};
use polyhead_kernels::{LowRank, Part, Weight};

const TO_FLOAT: Attribute = Attribute::Int("to", Type::Float as i64);

impl Graph {
    /// A weight under its own name, in f32 where it is used.
    pub(super) fn weight(&mut self, weight: &Weight) -> Result<String> {
        let tensor = weight.tensor()?.detach();
        Ok(self.once(&format!("weight {}", weight.name()), |graph| graph.in_type(weight.name(), tensor)))
    }

    /// A new initialiser of this name in the type of weights, and its numbers in f32. Vectors are always f32.
    pub(super) fn in_type(&mut self, name: &str, tensor: Tensor) -> String {
        if self.weight_type != WeightType::F16 || tensor.rank() < 2 {
            return self.initializer(name, Numbers::Tensor(tensor));
        }
        let half = self.initializer(name, Numbers::Half(tensor));
        self.emit("Cast", name, &[&half], &[TO_FLOAT])
    }

    /// The rows of a table that an index names: `[batch_size, sequence_length, columns]`.
    pub(super) fn rows_of(&mut self, table: &Weight, rows: &str) -> Result<String> {
        let (name, at) = (table.name(), table.name().trim_end_matches(".weight"));
        let tensor = table.tensor()?.detach();
        match self.weight_type {
            WeightType::F32 => {
                let table = self.weight(table)?;
                Ok(self.emit("Gather", at, &[&table, rows], &[]))
            }
            WeightType::F16 => {
                let table = self.once(&format!("half {name}"), |graph| graph.initializer(name, Numbers::Half(tensor)));
                let chosen = self.emit("Gather", at, &[&table, rows], &[]);
                Ok(self.emit("Cast", at, &[&chosen], &[TO_FLOAT]))
            }
            WeightType::Int8 | WeightType::Qdq => {
                let [values, scales] = self.in_bytes(name, || {
                    let Quantized { values, scales, .. } = Quantized::by_row(&tensor)?;
                    let scales = Tensor::from_vec(scales, (tensor.dim(0)?, 1), &Device::Cpu)?;
                    Ok((Numbers::Bytes(values, tensor.dims().to_vec()), scales))
                })?;
                let chosen = self.emit("Gather", at, &[&values, rows], &[]);
                let chosen = self.emit("Cast", at, &[&chosen], &[TO_FLOAT]);
                let scales = self.emit("Gather", at, &[&scales, rows], &[]);
                Ok(self.emit("Mul", at, &[&chosen, &scales], &[]))
            }
        }
    }

    /// `x Wᵀ`, additions merged into W; `range` is that of x, where it is known.
    pub(super) fn product(&mut self, x: &str, part: &Part, range: Option<[f32; 2]>) -> Result<String> {
        let name = part.weight.name();
        let at = name.trim_end_matches(".weight").to_owned();
        let matrix = self.merged(part)?;
        let range = match self.weight_type {
            WeightType::Int8 => None,
            WeightType::Qdq if range.is_some() => range,
            WeightType::Qdq | WeightType::F32 | WeightType::F16 => {
                let matrix = matrix.t()?;
                let matrix = self.once(&format!("transposed {name}"), |graph| graph.in_type(name, matrix));
                return Ok(self.emit("MatMul", &at, &[x, &matrix], &[]));
            }
        };
        let [matrix, scales] = self.in_bytes(name, || {
            let (outer, inner) = matrix.dims2()?;
            let Quantized { values, scales, .. } = Quantized::by_row(&matrix)?;
            let across = (0..inner).flat_map(|i| values.iter().copied().skip(i).step_by(inner)).collect();
            Ok((Numbers::Bytes(across, vec![inner, outer]), Tensor::from_vec(scales, outer, &Device::Cpu)?))
        })?;
        if let Some(range) = range {
            let x = self.through_bytes(x, range);
            let matrix = self.once(&format!("numbers of {name}"), |graph| {
                graph.emit("DequantizeLinear", &at, &[&matrix, &scales], &[Attribute::Int("axis", 1)])
            });
            return Ok(self.emit("MatMul", &at, &[&x, &matrix], &[]));
        }
        let ([bytes, scale], zero) = (self.quantized(x), self.byte_of_zero());
        let sums = self.emit("MatMulInteger", &at, &[&bytes, &matrix, &zero], &[]);
        let sums = self.emit("Cast", &at, &[&sums], &[TO_FLOAT]);
        let by_output = self.emit("Mul", &at, &[&sums, &scales], &[]);
        Ok(self.emit("Mul", &at, &[&by_output, &scale], &[]))
    }

    /// `W + s B A` with the additions of all tasks and of the graph's own, as a matrix `[out, in]`.
    pub(super) fn merged(&self, Part { weight, low_rank, .. }: &Part) -> Result<Tensor> {
        let mut matrix = weight.tensor()?.detach().flatten_from(1)?;
        if self.task.is_none() && low_rank.iter().any(|one| one.task.is_some()) {
            candle_core::bail!("a graph of no task, of a layer with additions that are private to tasks");
        }
        for LowRank { a, b, scale, .. } in low_rank.iter().filter(|one| one.task.is_none() || one.task == self.task) {
            let addition = b.tensor()?.detach().matmul(&a.tensor()?.detach())?;
            matrix = (matrix + (addition * f64::from(*scale))?)?;
        }
        Ok(matrix)
    }

    /// The initialisers of a weight in bytes and of its scales, which `make` makes where they are not there yet.
    fn in_bytes(&mut self, name: &str, make: impl FnOnce() -> Result<(Numbers, Tensor)>) -> Result<[String; 2]> {
        let keys = [format!("bytes of {name}"), format!("scales of {name}")];
        if let [Some(bytes), Some(scales)] = keys.each_ref().map(|key| self.known(key)) {
            return Ok([bytes, scales]);
        }
        let (bytes, scales) = make()?;
        let bytes = self.once(&keys[0], |graph| graph.initializer(&format!("{name}_quantized"), bytes));
        let numbers = Numbers::Tensor(scales);
        let scales = self.once(&keys[1], |graph| graph.initializer(&format!("{name}_scale"), numbers));
        Ok([bytes, scales])
    }

    /// The numbers that the bytes of a value stand for: once for all layers that read it. 0 is a byte, whatever the range.
    fn through_bytes(&mut self, x: &str, [low, high]: [f32; 2]) -> String {
        self.once(&format!("through bytes {x}"), |graph| {
            let (low, high) = (low.min(0.0), high.max(0.0));
            let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
            let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8;
            let at = at_of(x);
            let scale = graph.initializer(&format!("{x}_scale"), Numbers::Float(scale));
            let zero = graph.initializer(&format!("{x}_zero_point"), Numbers::Byte(zero));
            let bytes = graph.emit("QuantizeLinear", at, &[x, &scale, &zero], &[]);
            graph.emit("DequantizeLinear", at, &[&bytes, &scale, &zero], &[])
        })
    }

    /// A value in bytes, 128 more than what they stand for, and the scale of each row: once for all layers that read it.
    fn quantized(&mut self, x: &str) -> [String; 2] {
        let at = at_of(x).to_owned();
        let scale = self.once(&format!("scales of {x}"), |graph| {
            let sizes = graph.emit("Abs", &at, &[x], &[]);
            let largest = graph.largest_of_row(&sizes, &at);
            let step = graph.float("step", 1.0 / 127.0);
            let scale = graph.emit("Mul", &at, &[&largest, &step], &[]);
            // A row of zeros has any scale.
            let least = graph.float("least", f32::MIN_POSITIVE);
            graph.emit("Max", &at, &[&scale, &least], &[])
        });
        let bytes = self.once(&format!("bytes of {x}"), |graph| {
            let scaled = graph.emit("Div", &at, &[x, &scale], &[]);
            let (one, zero) = (graph.float("float_1", 1.0), graph.byte_of_zero());
            graph.emit("QuantizeLinear", &at, &[&scaled, &one, &zero], &[])
        });
        [bytes, scale]
    }

    fn byte_of_zero(&mut self) -> String {
        self.constant("byte_128", Numbers::Byte(128))
    }

    /// `[.., columns] -> [.., 1]`. Axes are an input from this set of operators on.
    fn largest_of_row(&mut self, x: &str, at: &str) -> String {
        const AXES_ARE_AN_INPUT: i64 = 18;
        if self.opset.number() < AXES_ARE_AN_INPUT {
            return self.emit("ReduceMax", at, &[x], &[Attribute::Ints("axes", &[-1])]);
        }
        let last = self.ints("axis_last", &[-1]);
        self.emit("ReduceMax", at, &[x, &last], &[])
    }
}

/// The part of the network that a value is of, as its name says.
fn at_of(x: &str) -> &str {
    x.split_once('/').map_or(x, |(at, _)| at)
}
