//! Every operator in candle's own: the reference that kernels are compared with, the way on devices that have no kernels
//! of ours, and where a new operator begins.

use crate::activation::Activation;
use crate::affine::{self, Affine};
use crate::attention::{self, positions::PositionTensors};
use crate::concat;
use crate::dropout;
use crate::gate;
use crate::layer_norm::Norm;
use crate::linear::Linear;
use crate::mean_ranges;
use crate::neighbours;
use crate::ops::{Attention, Body, Disentangled, Ops, Positions, TaskBody};
use crate::pair_dots;
use crate::pass::{DropoutAt, Index, Inputs, Pass, Setting};
use crate::stitch::{self, Stitch};
use crate::sum;
use crate::task_parts::{self, Apart};
use crate::value::{Rows, Value};
use crate::weight::Weight;
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// One pass in f32, on any device. candle's own backward pass follows it.
pub struct Plain {
    setting: Setting,
}

impl Plain {
    /// For one pass over a batch, on the device of the weights.
    pub fn new(pass: Pass, inputs: Arc<Inputs>) -> Self {
        Self { setting: Setting { pass, inputs, recomputes: false } }
    }

    /// What a head reads of the hidden states of the whole batch, as [`crate::Tape::for_head`].
    pub fn for_head(&mut self, hidden: &Value, rows: Option<&[u32]>, pass: Pass, inputs: Arc<Inputs>) -> Result<Value> {
        let own = match rows {
            Some(rows) => Value::Tensor(rows_of(hidden.tensor()?, rows)?, Rows::Tokens),
            None => hidden.clone(),
        };
        self.setting = Setting { pass, inputs, ..self.setting };
        Ok(own)
    }

    /// The values as tensors with candle's graph.
    pub fn finish(self, values: &[Value]) -> Result<Vec<Tensor>> {
        values.iter().map(|value| value.tensor().cloned()).collect()
    }

    /// A weight, with a graph where the pass trains and so does the weight.
    fn weight(&self, weight: &Weight) -> Result<Tensor> {
        let tensor = weight.tensor()?;
        Ok(if self.setting.pass.trains() && weight.is_trained() { tensor.clone() } else { tensor.detach() })
    }
}

/// The rows of a tensor that these numbers name.
pub(crate) fn rows_of(table: &Tensor, rows: &[u32]) -> Result<Tensor> {
    table.index_select(&Tensor::new(rows, table.device())?, 0)
}

impl Apart for Plain {
    fn setting(&mut self) -> &mut Setting {
        &mut self.setting
    }

    fn rows(&mut self, x: &Value, rows: &[u32]) -> Result<Value> {
        Ok(Value::Tensor(rows_of(x.tensor()?, rows)?, x.rows_of()))
    }

    fn joined(&mut self, parts: &[Value], rows: &[&[u32]]) -> Result<Value> {
        let tensors = parts.iter().map(Value::tensor).collect::<Result<Vec<_>>>()?;
        // Which row of all parts end to end comes at each place.
        let places: Vec<u32> = rows.concat();
        let mut from = vec![0; places.len()];
        (0..).zip(&places).for_each(|(at, &place)| from[place as usize] = at);
        Ok(Value::Tensor(rows_of(&Tensor::cat(&tensors, 0)?, &from)?, Rows::Tokens))
    }
}

impl Ops for Plain {
    fn parameter(&mut self, weight: &Weight) -> Result<Value> {
        Ok(Value::Tensor(self.weight(weight)?, Rows::Tokens))
    }

    fn table(&mut self, weight: &Weight) -> Result<Value> {
        Ok(Value::Tensor(self.weight(weight)?, Rows::Table))
    }

    fn embedding(&mut self, table: &Weight, index: Index) -> Result<Value> {
        let rows = self.setting.inputs.rows(index);
        index.check(&rows, table)?;
        Ok(Value::Tensor(rows_of(&self.weight(table)?, &rows)?, index.rows_of()))
    }

    fn product(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value> {
        let columns = x.tensor()?.dims2()?.1;
        let mask = |at| self.setting.mask(at, x.rows_of(), columns);
        let tasks = &self.setting.inputs.tasks;
        let y = layer.plain(x.tensor()?, x.rows_of(), tasks, |weight| self.weight(weight), mask)?;
        Ok(Value::Tensor(y, x.rows_of()))
    }

    fn activation(&mut self, x: &Value, kind: Activation) -> Result<Value> {
        Ok(Value::Tensor(kind.plain(x.tensor()?)?, x.rows_of()))
    }

    fn weighted_sum(&mut self, values: &[(&Value, f32)]) -> Result<Value> {
        let rows = values.first().map_or(Rows::Tokens, |(value, _)| value.rows_of());
        let values = values.iter().map(|(value, factor)| Ok((value.tensor()?, *factor))).collect::<Result<Vec<_>>>()?;
        Ok(Value::Tensor(sum::plain(&values)?, rows))
    }

    fn layer_norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        Ok(Value::Tensor(norm.plain(x.tensor()?, |weight| self.weight(weight))?, x.rows_of()))
    }

    fn dropout(&mut self, x: &Value, dropout: DropoutAt) -> Result<Value> {
        let (tensor, rows) = (x.tensor()?, x.rows_of());
        let mask = self.setting.mask(dropout, rows, tensor.dims2()?.1);
        Ok(Value::Tensor(dropout::plain(tensor, mask)?, rows))
    }

    fn attention(&mut self, qkv: &Value, attention: Attention) -> Result<Value> {
        let (tensor, segments) = (qkv.tensor()?, &self.setting.inputs.segments);
        attention::check(tensor.dims2()?, segments, attention)?;
        let of = |value: &Value| value.tensor().cloned();
        let tensors = match attention.positions {
            Positions::InHiddenStates | Positions::Rotary(_) => PositionTensors::default(),
            Positions::Bias(table) => PositionTensors { bias: Some(self.weight(table)?), ..Default::default() },
            Positions::Disentangled(Disentangled { keys, queries, .. }) => {
                PositionTensors { bias: None, keys: keys.map(of).transpose()?, queries: queries.map(of).transpose()? }
            }
        };
        let mixed = attention::plain(tensor, segments, attention, &tensors, self.setting.pass.mask(attention.dropout))?;
        Ok(Value::Tensor(mixed, qkv.rows_of()))
    }

    fn gated(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        Ok(Value::Tensor(gate::plain(x.tensor()?, activation)?, x.rows_of()))
    }

    fn neighbours(&mut self, x: &Value, size: usize) -> Result<Value> {
        x.check_tokens()?;
        Ok(Value::Tensor(neighbours::plain(x.tensor()?, &self.setting.inputs.segments, size)?, x.rows_of()))
    }

    fn select_rows(&mut self, x: &Value, index: Index) -> Result<Value> {
        index.check_rows_of(x)?;
        Ok(Value::Tensor(rows_of(x.tensor()?, &self.setting.inputs.rows(index))?, index.rows_of()))
    }

    fn pair_dots(&mut self, x: &Value, y: &Value) -> Result<Value> {
        let ([a, b], inputs) = ([x.tensor()?, y.tensor()?], &self.setting.inputs);
        let outputs = pair_dots::outputs(inputs, [x, y], [a.dims2()?.1, b.dims2()?.1])?;
        Ok(Value::Tensor(pair_dots::plain(a, b, inputs, outputs)?, Rows::Pairs))
    }

    fn mean_ranges(&mut self, x: &Value) -> Result<Value> {
        x.check_tokens()?;
        let means = mean_ranges::plain(x.tensor()?, &self.setting.inputs.ranges.items)?;
        Ok(Value::Tensor(means, Rows::Ranges))
    }

    fn recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value> {
        body(self, x, beside)
    }

    fn of_each_task(&mut self, values: &[&Value], body: &TaskBody) -> Result<Value> {
        task_parts::of_each_task(self, values, body)
    }

    fn affine(&mut self, x: &Value, affine: &Affine) -> Result<Value> {
        Ok(Value::Tensor(affine::plain(x.tensor()?, affine, |weight| self.weight(weight))?, x.rows_of()))
    }

    fn stitched(&mut self, values: &[&Value], stitch: &Stitch) -> Result<Value> {
        let rows = concat::rows_of(values)?;
        let tensors = values.iter().map(|value| value.tensor()).collect::<Result<Vec<_>>>()?;
        Ok(Value::Tensor(stitch::plain(&tensors, stitch, |weight| self.weight(weight))?, rows))
    }

    fn concat(&mut self, values: &[&Value]) -> Result<Value> {
        let rows = concat::rows_of(values)?;
        let tensors = values.iter().map(|value| value.tensor()).collect::<Result<Vec<_>>>()?;
        Ok(Value::Tensor(Tensor::cat(&tensors, 1)?, rows))
    }
}
