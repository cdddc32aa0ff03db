//! The tape: a forward pass of fused operators, recorded so that it can be run backwards.
//!
//! ```text
//! tape.embeddings(...) -> tape.self_attention(...) -> ... -> heads -> tape.finish(&[logits, ...]): candle tensors
//! ```
//!
//! To candle the whole network is one custom operator: a loss is candle's own graph, and the gradients that arrive at the
//! outputs run back along the tape, once for all of them. In between, values live in buffers that are used again from
//! step to step, in the precision of the products that read them; gradients are written where they are needed, and those
//! of weights go to the [`Weight`]s. candle's own backward pass would add every one of them to a tensor of
//! zeros. What has nothing trained below it has no backward pass at all.

use crate::gemm::{Matrix, Precision, Store, StoreMatrix, Values};
use crate::linear::Linear;
use crate::pass::{Inputs, Pass, Setting};
use crate::pool::in_pool;
use crate::storage::with_f32s;
use crate::value::{Fused, Kind, Node, Rows, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var};
use std::sync::{Arc, Mutex, PoisonError};

/// One forward pass on the CPU, and its backward pass.
pub struct Tape {
    pub(crate) precision: Precision,
    pub(crate) setting: Setting,
    /// Whether what is recorded is kept.
    keeps: bool,
    values: usize,
    steps: Vec<Step>,
}

/// One operator's backward pass: takes the gradient of its output, adds those of its inputs and weights.
struct Step {
    /// The value that it made; none if it made several, and looks at their gradients itself.
    output: Option<usize>,
    run: Backward,
}

type Backward = Box<dyn FnOnce(&mut GradientBuffers) -> Result<()> + Send>;

impl Tape {
    /// A tape for one pass over a batch; products are in this precision where their layer does not say otherwise. One that
    /// does not train keeps nothing for a backward pass.
    pub fn new(precision: Precision, pass: Pass, inputs: Arc<Inputs>) -> Self {
        let setting = Setting { pass, inputs, recomputes: false };
        Self { precision, setting, keeps: true, values: 0, steps: Vec::new() }
    }

    /// The same, which keeps less for its backward pass and computes more in it, where a network says how ([`crate::Ops::recomputed`]).
    #[must_use]
    pub fn recomputing(mut self, recomputes: bool) -> Self {
        self.setting.recomputes = recomputes;
        self
    }

    /// A tape for a part of a network, and the inputs of the part as its first values.
    pub(crate) fn of_part(precision: Precision, setting: Setting, inputs: &[Fused], keeps: bool) -> (Self, Vec<Value>) {
        let tape = Self { precision, setting, keeps, values: inputs.len(), steps: Vec::new() };
        let own = |(index, input): (usize, &Fused)| Value::Fused(input.as_node(Node { index, ..input.node }));
        (tape, inputs.iter().enumerate().map(own).collect())
    }

    /// A value of another tape as one of this.
    pub(crate) fn adopted(&mut self, value: &Fused) -> Fused {
        self.values += 1;
        value.as_node(Node { index: self.values - 1, ..value.node })
    }

    /// Runs the backward pass of a part of a network: from the gradient of its output on, to those of the values of another tape that are its
    /// first. What these have gathered there is added to in the order in which it would have been without a tape of its own.
    pub(crate) fn backward(
        self,
        output: Node,
        gradient: Matrix,
        inputs: &[Node],
        outer: &mut GradientBuffers,
    ) -> Result<()> {
        let mut own = GradientBuffers { gradients: (0..self.values).map(|_| None).collect() };
        for (own, input) in own.gradients.iter_mut().zip(inputs) {
            *own = outer.gradients[input.index].take();
        }
        own.add_matrix(output, gradient)?;
        own.run(self.steps)?;
        for (gradient, input) in own.gradients.into_iter().zip(inputs) {
            match (gradient, outer.gradients[input.index].is_some()) {
                (Some(gradient), true) => outer.add_matrix(*input, gradient)?,
                (gradient, false) => outer.gradients[input.index] = gradient,
                (None, true) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn trains(&self) -> bool {
        self.setting.pass.trains()
    }

    /// Room for the rounded copy of a hidden state, where products are in bf16.
    pub(crate) fn rounded(&self, rows: usize, columns: usize) -> Option<Matrix> {
        (self.precision == Precision::Bf16).then(|| Matrix::uninit(Precision::Bf16, rows, columns))
    }

    /// A hidden state: its f32 numbers, and a rounded copy if it was made with them.
    pub(crate) fn hidden(
        &mut self,
        values: Matrix,
        rounded: Option<Matrix>,
        rows_of: Rows,
        needs_gradient: bool,
    ) -> Fused {
        let node = self.node(&values, Kind::Hidden, rows_of, needs_gradient);
        Fused::new(node, values, rounded)
    }

    /// A value that only products read.
    pub(crate) fn inner(&mut self, values: Matrix, rows_of: Rows, needs_gradient: bool) -> Fused {
        let node = self.node(&values, Kind::Inner(values.precision()), rows_of, needs_gradient);
        Fused::new(node, values, None)
    }

    fn node(&mut self, values: &Matrix, kind: Kind, rows_of: Rows, needs_gradient: bool) -> Node {
        self.values += 1;
        let Matrix { rows, columns, .. } = *values;
        Node { index: self.values - 1, rows, columns, rows_of, kind, needs_gradient }
    }

    /// Says how a value is made again, where a backward pass may ask.
    pub(crate) fn remade_by(&self, value: Fused, remake: impl Fn() -> Result<Matrix> + Send + Sync + 'static) -> Fused {
        if value.node.needs_gradient && self.keeps { value.remade_by(Arc::new(remake)) } else { value }
    }

    /// Records the backward pass of the operator that made a value.
    pub(crate) fn record(
        &mut self,
        output: Node,
        run: impl FnOnce(&mut GradientBuffers) -> Result<()> + Send + 'static,
    ) {
        if output.needs_gradient && self.keeps {
            self.steps.push(Step { output: Some(output.index), run: Box::new(run) });
        }
    }

    /// The same of an operator that made several values, any of which may have no gradient.
    pub(crate) fn record_always(&mut self, run: impl FnOnce(&mut GradientBuffers) -> Result<()> + Send + 'static) {
        if self.keeps {
            self.steps.push(Step { output: None, run: Box::new(run) });
        }
    }

    /// The operators that have a backward pass.
    #[cfg(test)]
    pub(crate) fn recorded(&self) -> usize {
        self.steps.len()
    }

    /// A given hidden state `[rows, columns]` that has no use for its gradient.
    pub fn constant(&mut self, tensor: &Tensor) -> Result<Value> {
        let (rows, columns) = tensor.dims2()?;
        let values = with_f32s([tensor], |[values]| Ok(Buffer::copy_of(values)))?;
        Ok(Value::Fused(self.hidden(Matrix::f32(rows, columns, values), None, Rows::Tokens, false)))
    }

    /// A weight as a hidden state with these rows.
    pub(crate) fn weight_as_value(&mut self, weight: &Weight, rows_of: Rows) -> Result<Value> {
        let (rows, columns) = weight.tensor()?.dims2()?;
        let values = weight.read(|values| Ok(Buffer::copy_of(values)))?;
        let needs_gradient = self.trains() && weight.is_trained();
        let value = self.hidden(Matrix::f32(rows, columns, values), None, rows_of, needs_gradient);
        let (node, weight) = (value.node, weight.clone());
        self.record(node, move |buffers| weight.add_gradient(&buffers.take_hidden(node)?));
        Ok(Value::Fused(value))
    }

    /// What a head reads of the hidden states of the whole batch: these of their rows, or all of them. All that follows is of
    /// this pass and of these inputs, which are those of the head.
    pub fn for_head(&mut self, hidden: &Value, rows: Option<&[u32]>, pass: Pass, inputs: Arc<Inputs>) -> Result<Value> {
        let own = match rows {
            Some(rows) => self.fused_select_rows(hidden.fused()?, rows.to_vec(), Rows::Tokens)?,
            None => hidden.clone(),
        };
        self.setting = Setting { pass, inputs, ..self.setting };
        Ok(own)
    }

    /// The end of the pass: values as candle tensors. Their gradients run back along the tape together, so a loss must be
    /// one tensor: a sum, where several outputs have one each.
    pub fn finish(mut self, values: &[Value]) -> Result<Vec<Tensor>> {
        let values: Vec<&Fused> = values.iter().map(Value::fused).collect::<Result<_>>()?;
        let outputs: Vec<Node> = values.iter().map(|value| value.node).filter(|node| node.needs_gradient).collect();
        if outputs.is_empty() {
            return values.into_iter().map(|value| Value::Fused(value.clone()).to_tensor()).collect();
        }
        let with_gradient = values.iter().filter(|value| value.node.needs_gradient);
        let numbers: Vec<f32> = with_gradient.flat_map(|value| value.to_vec()).collect();
        // candle walks back to variables only: this one stands for all that the tape holds.
        let anchor = Var::zeros(1, DType::F32, &Device::Cpu)?;
        let steps = Mutex::new(Some(std::mem::take(&mut self.steps)));
        let network = Network { outputs, values: self.values, steps, numbers: Mutex::new(numbers) };
        let all = anchor.as_tensor().apply_op1(network)?;
        let mut start = 0;
        let tensor = |value: &Fused| {
            let Node { rows, columns, needs_gradient, .. } = value.node;
            if !needs_gradient {
                return Value::Fused(value.clone()).to_tensor();
            }
            let part =
                if rows * columns == all.elem_count() { all.clone() } else { all.narrow(0, start, rows * columns)? };
            start += rows * columns;
            part.reshape((rows, columns))
        };
        values.into_iter().map(tensor).collect()
    }
}

/// A whole tape as candle sees it: its outputs end to end.
struct Network {
    outputs: Vec<Node>,
    values: usize,
    steps: Mutex<Option<Vec<Step>>>,
    numbers: Mutex<Vec<f32>>,
}

impl CustomOp1 for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let numbers = std::mem::take(&mut *self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
        let shape = numbers.len().into();
        Ok((CpuStorage::F32(numbers), shape))
    }

    fn bwd(&self, _anchor: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Some(steps) = self.steps.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            candle_core::bail!("a second backward pass along one tape")
        };
        let mut buffers = GradientBuffers { gradients: (0..self.values).map(|_| None).collect() };
        with_f32s([gradient], |[mut rest]| {
            for node in &self.outputs {
                let (own, others) = rest.split_at(node.rows * node.columns);
                buffers.add(*node, Buffer::copy_of(own))?;
                rest = others;
            }
            Ok(())
        })?;
        // In the pool: a parallel loop that starts there needs no thread to be woken first.
        in_pool(|| buffers.run(steps))?;
        Ok(None)
    }
}

/// The gradients of the values, while the backward pass runs.
pub(crate) struct GradientBuffers {
    gradients: Vec<Option<Matrix>>,
}

impl GradientBuffers {
    /// Runs operators backwards, the last one first.
    fn run(&mut self, steps: Vec<Step>) -> Result<()> {
        for step in steps.into_iter().rev() {
            // A value that the outputs do not depend on has no gradient, nor has its operator a backward pass.
            let has_gradient = |output: usize| self.gradients.get(output).is_some_and(Option::is_some);
            if step.output.is_none_or(has_gradient) {
                (step.run)(self)?;
            }
        }
        Ok(())
    }

    /// The gradient of a value, where it has one.
    pub(crate) fn take_if_any(&mut self, node: Node) -> Option<Matrix> {
        self.gradients[node.index].take()
    }

    /// The gradient of a value, once all that used it have run.
    pub(crate) fn take(&mut self, node: Node) -> Result<Matrix> {
        match self.take_if_any(node) {
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

    /// The gradient of a hidden state so far.
    pub(crate) fn hidden(&mut self, node: Node) -> Result<&mut Buffer<f32>> {
        match self.gradients.get_mut(node.index).and_then(Option::as_mut).map(|gradient| &mut gradient.values) {
            Some(Values::F32(values)) => Ok(values),
            _ => candle_core::bail!("expected the gradient of a hidden state"),
        }
    }

    /// Adds to the gradient of a value, if it needs one.
    pub(crate) fn add(&mut self, node: Node, mut gradient: Buffer<f32>) -> Result<()> {
        if !node.needs_gradient {
            return Ok(());
        }
        let slot = &mut self.gradients[node.index];
        match slot.as_mut().map(|matrix| &mut matrix.values) {
            Some(Values::F32(sum)) => {
                crate::gemm::add_to(sum, &gradient);
                return Ok(());
            }
            Some(Values::Bf16(_)) => {
                let before = slot.as_ref().map(Matrix::to_vec).unwrap_or_default();
                crate::gemm::add_to(&mut gradient, &before);
            }
            None => {}
        }
        let sum = Matrix::f32(node.rows, node.columns, gradient);
        *slot = Some(match node.kind {
            Kind::Hidden => sum,
            Kind::Inner(precision) => sum.in_precision(precision),
        });
        Ok(())
    }

    /// The same of a gradient in any precision.
    pub(crate) fn add_matrix(&mut self, node: Node, gradient: Matrix) -> Result<()> {
        match gradient.values {
            Values::F32(values) => self.add(node, values),
            Values::Bf16(_) => self.add(node, Buffer::copy_of(&gradient.to_vec())),
        }
    }

    /// Adds what a linear layer sends back to its input, if that needs it: `dy W`.
    pub(crate) fn through(&mut self, node: Node, layer: &Linear, dy: &Matrix) -> Result<()> {
        if !node.needs_gradient {
            return Ok(());
        }
        let Node { rows, columns, kind, .. } = node;
        match (kind, self.gradients[node.index].take()) {
            (Kind::Inner(precision), None) => {
                let mut dx = Matrix::uninit(precision, rows, columns);
                layer.backward_input(dy, &StoreMatrix { writer: dx.writer(), bias: None })?;
                self.gradients[node.index] = Some(dx);
            }
            (Kind::Hidden, existing) => {
                let holds = existing.is_some();
                let mut sum = match existing.map(|matrix| matrix.values) {
                    Some(Values::F32(values)) => values,
                    _ => Buffer::uninit(rows * columns),
                };
                layer.backward_input(dy, &Store::new(&mut sum, columns).adding(holds))?;
                self.gradients[node.index] = Some(Matrix::f32(rows, columns, sum));
            }
            (Kind::Inner(_), existing) => {
                self.gradients[node.index] = existing;
                let mut dx = Buffer::uninit(rows * columns);
                layer.backward_input(dy, &Store::new(&mut dx, columns))?;
                self.add(node, dx)?;
            }
        }
        Ok(())
    }
}
