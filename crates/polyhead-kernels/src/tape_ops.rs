//! The tape as a backend: fused methods where there is a kernel, plain candle inside the tape for the rest.

use crate::activation::Activation;
use crate::affine::Affine;
use crate::concat;
use crate::dropout;
use crate::gate;
use crate::layer_norm::Norm;
use crate::linear::Linear;
use crate::neighbours;
use crate::ops::{Attention, Body, Ops, TaskBody, composed};
use crate::pair_dots;
use crate::pass::{DropoutAt, Index};
use crate::plain::rows_of;
use crate::stitch::Stitch;
use crate::tape::Tape;
use crate::task_parts;
use crate::value::{Rows, Value};
use crate::weight::Weight;
use candle_core::Result;
use std::sync::Arc;

impl Ops for Tape {
    fn parameter(&mut self, weight: &Weight) -> Result<Value> {
        self.weight_as_value(weight, Rows::Tokens)
    }

    fn table(&mut self, weight: &Weight) -> Result<Value> {
        self.weight_as_value(weight, Rows::Table)
    }

    fn embedding(&mut self, table: &Weight, index: Index) -> Result<Value> {
        let rows = self.setting.inputs.rows(index).into_owned();
        index.check(&rows, table)?;
        self.candle(&[], &[table], index.rows_of(), |_, tables| rows_of(&tables[0], &rows))
    }

    fn product(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value> {
        self.fused_linear(x.fused()?, layer, None)
    }

    fn activation(&mut self, x: &Value, kind: Activation) -> Result<Value> {
        self.candle(&[x], &[], x.rows_of(), |x, _| kind.plain(&x[0]))
    }

    fn weighted_sum(&mut self, values: &[(&Value, f32)]) -> Result<Value> {
        let values = values.iter().map(|(value, factor)| Ok((value.fused()?, *factor))).collect::<Result<Vec<_>>>()?;
        self.fused_weighted_sum(&values)
    }

    fn layer_norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        self.fused_layer_norm(x.fused()?, norm)
    }

    fn dropout(&mut self, x: &Value, dropout: DropoutAt) -> Result<Value> {
        let node = x.fused()?.node;
        match self.setting.mask(dropout, node.rows_of, node.columns) {
            None => Ok(x.clone()),
            mask => self.candle(&[x], &[], node.rows_of, |x, _| dropout::plain(&x[0], mask)),
        }
    }

    fn attention(&mut self, qkv: &Value, attention: Attention) -> Result<Value> {
        self.fused_attention(qkv.fused()?, attention)
    }

    fn gated(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        self.candle(&[x], &[], x.rows_of(), |x, _| gate::plain(&x[0], activation))
    }

    fn neighbours(&mut self, x: &Value, size: usize) -> Result<Value> {
        x.check_tokens()?;
        let inputs = self.setting.inputs.clone();
        self.candle(&[x], &[], x.rows_of(), |x, _| neighbours::plain(&x[0], &inputs.segments, size))
    }

    fn select_rows(&mut self, x: &Value, index: Index) -> Result<Value> {
        index.check_rows_of(x)?;
        let rows = self.setting.inputs.rows(index).into_owned();
        self.fused_select_rows(x.fused()?, rows, index.rows_of())
    }

    fn pair_dots(&mut self, x: &Value, y: &Value) -> Result<Value> {
        let [a, b] = [x.fused()?, y.fused()?];
        let outputs = pair_dots::outputs(&self.setting.inputs, [x, y], [a.node.columns, b.node.columns])?;
        self.fused_pair_dots(a, b, outputs)
    }

    fn mean_ranges(&mut self, x: &Value) -> Result<Value> {
        x.check_tokens()?;
        let ranges = self.setting.inputs.ranges.items.clone();
        self.fused_mean_ranges(x.fused()?, ranges)
    }

    fn recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value> {
        if self.trains() && self.setting.recomputes {
            return self.fused_recomputed(x, beside, body);
        }
        body(self, x, beside)
    }

    fn stitched(&mut self, values: &[&Value], stitch: &Stitch) -> Result<Value> {
        let values = values.iter().map(|value| value.fused()).collect::<Result<Vec<_>>>()?;
        self.fused_stitched(&values, stitch)
    }

    fn affine(&mut self, x: &Value, affine: &Affine) -> Result<Value> {
        self.fused_affine(x.fused()?, affine)
    }

    fn concat(&mut self, values: &[&Value]) -> Result<Value> {
        let rows = concat::rows_of(values)?;
        let values = values.iter().map(|value| value.fused()).collect::<Result<Vec<_>>>()?;
        self.fused_concat(&values, rows)
    }

    fn of_each_task(&mut self, values: &[&Value], body: &TaskBody) -> Result<Value> {
        task_parts::of_each_task(self, values, body)
    }

    fn embeddings(&mut self, tables: &[(Weight, Index)], norm: &Norm, dropout: DropoutAt) -> Result<Value> {
        self.fused_embeddings(tables, norm, dropout)
    }

    fn self_attention(&mut self, x: &Value, qkv: &Arc<Linear>, attention: Attention) -> Result<Value> {
        if qkv.vectors().is_some() {
            return composed::self_attention(self, x, qkv, attention);
        }
        self.fused_self_attention(x.fused()?, qkv, attention)
    }

    fn linear_activation(&mut self, x: &Value, layer: &Arc<Linear>, activation: Activation) -> Result<Value> {
        if layer.vectors().is_some() {
            return composed::linear_activation(self, x, layer, activation);
        }
        self.fused_linear_activation(x.fused()?, layer, activation)
    }

    fn linear_residual(
        &mut self,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        dropout: DropoutAt,
    ) -> Result<Value> {
        if layer.vectors().is_some() {
            return composed::linear_residual(self, x, layer, residual, dropout);
        }
        self.fused_linear_residual(x.fused()?, layer, residual.fused()?, dropout)
    }

    fn linear_gated(&mut self, x: &Value, layer: &Arc<Linear>, activation: Activation) -> Result<Value> {
        if layer.vectors().is_some() {
            return composed::linear_gated(self, x, layer, activation);
        }
        self.fused_linear_gated(x.fused()?, layer, activation)
    }

    fn linear_residual_norm(
        &mut self,
        x: &Value,
        layer: &Arc<Linear>,
        residual: &Value,
        norm: &Norm,
        dropout: DropoutAt,
    ) -> Result<Value> {
        if layer.vectors().is_some() {
            return composed::linear_residual_norm(self, x, layer, residual, norm, dropout);
        }
        self.fused_linear_residual_norm(x.fused()?, layer, residual.fused()?, norm, dropout)
    }

    fn dropout_linear(&mut self, x: &Value, layer: &Arc<Linear>, dropout: DropoutAt) -> Result<Value> {
        self.fused_linear(x.fused()?, layer, Some(dropout))
    }
}
