//! The tape: the encoder's forward pass, noted down so that it can be run backwards.
//!
//! ```text
//! tape.embeddings(...) -> tape.self_attention(...) -> tape.linear_residual_norm(...) -> ... -> tape.finish(h): a candle tensor
//! ```
//!
//! To candle a whole encoder is one custom operator: what a head does with the hidden states is candle's own graph, and
//! the gradient that arrives at them runs back along the tape. In between, values live in buffers that are used again from
//! step to step, in the precision of the products that read them; gradients are written where they are needed, and those
//! of weights go to the [`Weight`]s. candle's own backward pass would add every one of them to a tensor of zeros.
//!
//! On devices that the fused operators do not serve every method runs its plain reference instead, in candle's operators.

use crate::gemm::{Matrix, Precision, Store, StoreMatrix, Values};
use crate::linear::Linear;
use crate::storage::with_f32s;
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var};
use std::sync::{Arc, Mutex, PoisonError};

/// One forward pass, and its backward pass.
pub struct Tape {
    pub(crate) precision: Precision,
    pub(crate) trains: bool,
    /// Whether the operators are the fused ones, or their plain references.
    pub(crate) fused: bool,
    device: Device,
    values: usize,
    steps: Vec<Step>,
}

/// One operator's backward pass: takes the gradient of its output, adds those of its inputs and weights.
pub(crate) type Step = Box<dyn FnOnce(&mut GradientBuffers) -> Result<()> + Send>;

/// A value on the tape: `[rows, columns]`.
#[derive(Clone)]
pub struct Value(pub(crate) State);

#[derive(Clone)]
pub(crate) enum State {
    Fused(Fused),
    Plain(Tensor),
}

/// A value of the fused operators.
#[derive(Clone)]
pub(crate) struct Fused {
    pub node: Node,
    /// In f32, if it is a hidden state: residual connections and statistics read this.
    pub hidden: Option<Arc<Matrix>>,
    /// As products read it.
    pub operand: Arc<Matrix>,
}

/// Where the gradient of a value gathers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    index: usize,
    pub rows: usize,
    pub columns: usize,
    /// The gradient of a hidden state is summed in f32; that of a value between two products is in their precision.
    hidden: bool,
    precision: Precision,
}

impl Tape {
    /// A tape for one pass. One that does not train keeps nothing for the backward pass.
    pub fn new(precision: Precision, trains: bool, device: &Device) -> Self {
        let fused = device.is_cpu();
        Self { precision, trains, fused, device: device.clone(), values: 0, steps: Vec::new() }
    }

    /// A tape whose operators are the plain references, in f32, on any device: what the fused ones are compared with.
    pub fn plain(trains: bool, device: &Device) -> Self {
        Self { fused: false, ..Self::new(Precision::F32, trains, device) }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// A weight for a plain reference: with candle's graph only where the pass trains.
    pub(crate) fn weight(&self, weight: &Weight) -> Result<Tensor> {
        let tensor = weight.tensor()?;
        Ok(if self.trains { tensor.clone() } else { tensor.detach() })
    }

    /// Room for the rounded copy of a hidden state, where products are in bf16.
    pub(crate) fn rounded(&self, rows: usize, columns: usize) -> Option<Matrix> {
        (self.precision == Precision::Bf16).then(|| Matrix::uninit(Precision::Bf16, rows, columns))
    }

    /// A hidden state: its f32 numbers, and a rounded copy where products are in bf16.
    pub(crate) fn hidden(&mut self, values: Matrix, rounded: Option<Matrix>) -> Fused {
        let node = self.node(values.rows, values.columns, true);
        let hidden = Arc::new(values);
        let operand = rounded.map_or_else(|| hidden.clone(), Arc::new);
        Fused { node, hidden: Some(hidden), operand }
    }

    /// A value that only products read.
    pub(crate) fn inner(&mut self, values: Matrix) -> Fused {
        let node = self.node(values.rows, values.columns, false);
        Fused { node, hidden: None, operand: Arc::new(values) }
    }

    fn node(&mut self, rows: usize, columns: usize, hidden: bool) -> Node {
        self.values += 1;
        Node { index: self.values - 1, rows, columns, hidden, precision: self.precision }
    }

    /// Records the backward pass of an operator, if the tape trains.
    pub(crate) fn record(&mut self, step: impl FnOnce(&mut GradientBuffers) -> Result<()> + Send + 'static) {
        if self.trains {
            self.steps.push(Box::new(step));
        }
    }

    /// A given hidden state `[rows, columns]` that has no use for its gradient.
    pub fn constant(&mut self, tensor: &Tensor) -> Result<Value> {
        if !self.fused {
            return Ok(Value(State::Plain(tensor.to_device(&self.device)?.detach())));
        }
        let (rows, columns) = tensor.dims2()?;
        let values = with_f32s([tensor], |[values]| Ok(Buffer::copy_of(values)))?;
        let rounded =
            (self.precision == Precision::Bf16).then(|| Matrix::rounded(self.precision, rows, columns, &values));
        Ok(Value(State::Fused(self.hidden(Matrix::f32(rows, columns, values), rounded))))
    }

    /// A given hidden state, whose gradient goes to the weight that holds it.
    pub fn input(&mut self, weight: &Weight) -> Result<Value> {
        if !self.fused {
            return Ok(Value(State::Plain(self.weight(weight)?)));
        }
        let value = self.constant(weight.tensor()?)?;
        let (node, weight) = (value.fused()?.node, weight.clone());
        self.record(move |buffers| {
            let gradient = buffers.take_hidden(node)?;
            weight.add_gradient(&gradient)
        });
        Ok(value)
    }

    /// A copy of a hidden state, without a graph.
    pub fn peek(&self, value: &Value) -> Result<Tensor> {
        match &value.0 {
            State::Plain(tensor) => Ok(tensor.detach()),
            State::Fused(fused) => {
                Tensor::from_vec(fused.to_vec(), (fused.node.rows, fused.node.columns), &self.device)
            }
        }
    }

    /// The end of the pass: a hidden state as a candle tensor. Its gradient runs back along the tape.
    pub fn finish(mut self, value: &Value) -> Result<Tensor> {
        let fused = match &value.0 {
            State::Plain(tensor) => return Ok(tensor.clone()),
            State::Fused(fused) => fused,
        };
        if !self.trains {
            return self.peek(value);
        }
        // candle walks back to variables only: this one stands for all that the tape holds.
        let anchor = Var::zeros(1, DType::F32, &self.device)?;
        let steps = Mutex::new(Some(std::mem::take(&mut self.steps)));
        let output = Mutex::new(fused.to_vec());
        anchor.as_tensor().apply_op1(Pass { node: fused.node, values: self.values, steps, output })
    }
}

impl Value {
    /// Its rows.
    pub fn rows(&self) -> Result<usize> {
        match &self.0 {
            State::Fused(fused) => Ok(fused.node.rows),
            State::Plain(tensor) => tensor.dim(0),
        }
    }

    pub(crate) fn tensor(&self) -> Result<&Tensor> {
        match &self.0 {
            State::Plain(tensor) => Ok(tensor),
            State::Fused(_) => candle_core::bail!("a value of another tape"),
        }
    }

    pub(crate) fn fused(&self) -> Result<&Fused> {
        match &self.0 {
            State::Fused(fused) => Ok(fused),
            State::Plain(_) => candle_core::bail!("a value of another tape"),
        }
    }
}

impl Fused {
    fn to_vec(&self) -> Vec<f32> {
        match self.hidden.as_ref().map(|matrix| &matrix.values) {
            Some(Values::F32(values)) => values.to_vec(),
            _ => {
                let mut values = vec![0.0; self.node.rows * self.node.columns];
                for (row, values) in values.chunks_exact_mut(self.node.columns.max(1)).enumerate() {
                    self.operand.read(row, 0, values);
                }
                values
            }
        }
    }

    /// The numbers of a hidden state.
    pub(crate) fn floats(&self) -> Result<&[f32]> {
        match self.hidden.as_ref().map(|matrix| &matrix.values) {
            Some(Values::F32(values)) => Ok(values),
            _ => candle_core::bail!("expected a hidden state"),
        }
    }
}

/// A whole tape as candle sees it.
struct Pass {
    node: Node,
    values: usize,
    steps: Mutex<Option<Vec<Step>>>,
    output: Mutex<Vec<f32>>,
}

impl CustomOp1 for Pass {
    fn name(&self) -> &'static str {
        "encoder"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = std::mem::take(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((CpuStorage::F32(output), (self.node.rows, self.node.columns).into()))
    }

    fn bwd(&self, _anchor: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Some(steps) = self.steps.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            candle_core::bail!("a second backward pass along one tape")
        };
        let mut buffers = GradientBuffers { gradients: (0..self.values).map(|_| None).collect() };
        let Node { rows, columns, hidden, precision, .. } = self.node;
        let precision = if hidden { Precision::F32 } else { precision };
        let gradient = with_f32s([gradient], |[values]| Ok(Matrix::rounded(precision, rows, columns, values)))?;
        buffers.gradients[self.node.index] = Some(gradient);
        // In the pool: a parallel loop that starts there needs no thread to be woken first.
        in_pool(|| steps.into_iter().rev().try_for_each(|step| step(&mut buffers)))?;
        Ok(None)
    }
}

/// Runs `f` on a thread of the pool.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// The gradients of the values, while the backward pass runs.
pub(crate) struct GradientBuffers {
    gradients: Vec<Option<Matrix>>,
}

impl GradientBuffers {
    /// The gradient of a value, once all that used it have run.
    pub(crate) fn take(&mut self, node: Node) -> Result<Matrix> {
        match self.gradients[node.index].take() {
            Some(gradient) => Ok(gradient),
            None => candle_core::bail!("a value that nothing uses"),
        }
    }

    /// The same of a hidden state.
    pub(crate) fn take_hidden(&mut self, node: Node) -> Result<Buffer<f32>> {
        match self.take(node)?.values {
            Values::F32(values) => Ok(values),
            Values::Bf16(_) => candle_core::bail!("expected the gradient of a hidden state"),
        }
    }

    /// Adds to the gradient of a hidden state.
    pub(crate) fn add(&mut self, node: Node, gradient: Buffer<f32>) -> Result<()> {
        let slot = &mut self.gradients[node.index];
        match slot.as_mut().map(|matrix| &mut matrix.values) {
            Some(Values::F32(sum)) => crate::gemm::add_to(sum, &gradient),
            Some(Values::Bf16(_)) => candle_core::bail!("expected the gradient of a hidden state"),
            None => *slot = Some(Matrix::f32(node.rows, node.columns, gradient)),
        }
        Ok(())
    }

    /// Adds what a linear layer sends back to its input: `dy W`.
    pub(crate) fn through(&mut self, node: Node, layer: &Linear, dy: &Matrix) -> Result<()> {
        let existing = self.gradients[node.index].take();
        if node.hidden {
            let holds = existing.is_some();
            let mut sum = match existing.map(|matrix| matrix.values) {
                Some(Values::F32(values)) => values,
                _ => Buffer::uninit(node.rows * node.columns),
            };
            layer.backward_input(dy, &Store::new(&mut sum, node.columns).adding(holds))?;
            self.gradients[node.index] = Some(Matrix::f32(node.rows, node.columns, sum));
            return Ok(());
        }
        if existing.is_some() {
            candle_core::bail!("a value between two products that is used twice");
        }
        let mut dx = Matrix::uninit(node.precision, node.rows, node.columns);
        layer.backward_input(dy, &StoreMatrix { writer: dx.writer(), bias: None })?;
        self.gradients[node.index] = Some(dx);
        Ok(())
    }
}
