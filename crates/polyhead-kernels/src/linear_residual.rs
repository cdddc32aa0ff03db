//! Linear layer, dropout and residual connection as one operator, and LayerNorm by itself: the sub-layers of encoders that normalise first.
//!
//! ```text
//! forward   h = dropout(x Wᵀ + b) + residual                    y = LayerNorm(h)
//! backward  dresidual = dh,  dz = dh m,  dx = dz W,  dW = dzᵀ x,  db = Σ dz
//! ```
//!
//! x is `[tokens, in]`; residual, h and y are `[tokens, hidden]`.

use crate::dropout::{Dropout, masked};
use crate::gemm::{Epilogue, Matrix, Place, Precision, Values, Writer, add_to, column_sums, sum_rows};
use crate::layer_norm::{Norm, NormValues, end_of_layer, gradient, normalise, scale};
use crate::linear::Linear;
use crate::pass::DropoutAt;
use crate::pool::for_each_chunk;
use crate::storage::Parts;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use crate::workspace::Buffer;
use candle_core::Result;
use std::ops::Range;
use std::sync::Arc;

/// Rows that one thread takes at a time.
const GRAIN: usize = 16;

impl Tape {
    /// `dropout(x Wᵀ + b) + residual`, a hidden state.
    pub(crate) fn fused_linear_residual(
        &mut self,
        x: &Fused,
        layer: &Arc<Linear>,
        residual: &Fused,
        dropout: DropoutAt,
    ) -> Result<Value> {
        let (rows, columns) = (x.node.rows, layer.outputs());
        let mask = self.setting.mask(dropout, x.node.rows_of, columns);
        let precision = layer.precision(self.precision);
        let operand = layer.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        if residual.node.rows != rows || residual.node.columns != columns {
            candle_core::bail!("linear-residual: {rows} x {columns} onto {:?}", residual.node);
        }
        // Of the layer and its input alone: the residual's gradient needs neither.
        let needs_product = x.node.needs_gradient || layer.is_trained();
        let needs_gradient = self.trains() && (needs_product || residual.node.needs_gradient);
        let mut h = Buffer::uninit(rows * columns);
        layer.forward(
            &operand,
            &End {
                h: Parts::new(&mut h),
                columns,
                bias: layer.bias()?.as_deref(),
                residual: residual.floats()?,
                dropout: mask,
            },
        )?;
        let h = self.hidden(Matrix::f32(rows, columns, h), None, x.node.rows_of, needs_gradient);
        if needs_gradient {
            let (layer, operand) = (layer.clone(), layer.kept(operand, x.remake.as_ref()));
            let (output, residual, input) = (h.node, residual.node, x.node);
            self.record(output, move |buffers| {
                let dh = buffers.take_hidden(output)?;
                if !needs_product {
                    return buffers.add(residual, dh);
                }
                if mask.is_none() && precision == Precision::F32 {
                    // dz is dh itself.
                    let dz = Matrix::f32(rows, columns, dh);
                    let sums = if layer.trains_a_bias() { column_sums(&dz) } else { Vec::new() };
                    layer.backward(buffers, input, None, &operand, &dz, &sums)?;
                    return match dz.values {
                        Values::F32(dh) => buffers.add(residual, dh),
                        Values::Bf16(_) => candle_core::bail!("linear-residual: a gradient that is not f32"),
                    };
                }
                let mut dz = Matrix::uninit(precision, rows, columns);
                let sums = masked_rows(&dh, &mut dz, mask);
                layer.backward(buffers, input, None, &operand, &dz, &sums)?;
                buffers.add(residual, dh)
            });
        }
        Ok(Value::Fused(h))
    }

    /// `LayerNorm(x)`, a hidden state.
    pub(crate) fn fused_layer_norm(&mut self, x: &Fused, norm: &Norm) -> Result<Value> {
        let (rows, columns) = (x.node.rows, x.node.columns);
        let values = norm.values(columns)?;
        let needs_gradient = self.trains() && (x.node.needs_gradient || norm.is_trained());
        let mut rounded = self.rounded(rows, columns);
        let y = normalised(x.floats()?, columns, &values, rounded.as_mut().map(Matrix::writer).as_ref());
        let y = self.hidden(y, rounded, x.node.rows_of, needs_gradient);
        let (of, by) = (x.clone(), norm.clone());
        let y = self.remade_by(y, move || Ok(normalised(of.floats()?, columns, &by.values(columns)?, None)));
        if needs_gradient {
            let (norm, x, output) = (norm.clone(), x.clone(), y.node);
            self.record(output, move |buffers| {
                let mut dy = buffers.take_hidden(output)?;
                let values = norm.values(columns)?;
                let input = x.floats()?;
                let parts = Parts::new(&mut dy);
                let sums = sum_rows(rows, 2 * columns, |row, sums| {
                    // SAFETY: each row is visited once, and writes its own part.
                    let dy = unsafe { parts.part(row * columns, columns) };
                    let mut n = input[row * columns..][..columns].to_vec();
                    let inverse = normalise(&mut n, values.epsilon);
                    let (dgamma, dbeta) = sums.split_at_mut(columns);
                    gradient(dy, &n, &values.gamma, inverse, dgamma, dbeta);
                });
                norm.gather(&sums)?;
                buffers.add(x.node, dy)
            });
        }
        Ok(Value::Fused(y))
    }
}

/// LayerNorm of each row; written to `rounded`, too, where there is one.
fn normalised(input: &[f32], columns: usize, values: &NormValues, rounded: Option<&Writer>) -> Matrix {
    let mut y = Buffer::uninit(input.len());
    for_each_chunk(&mut y, columns, GRAIN, |row, y| {
        y.copy_from_slice(&input[row * columns..][..columns]);
        normalise(y, values.epsilon);
        scale(y, &values.gamma, &values.beta);
        if let Some(writer) = rounded {
            // SAFETY: each row is visited once.
            unsafe { writer.write(row, 0, y) };
        }
    });
    Matrix::f32(input.len() / columns.max(1), columns, y)
}

/// Ends the rows of the product.
struct End<'a> {
    h: Parts<'a, f32>,
    columns: usize,
    bias: Option<&'a [f32]>,
    residual: &'a [f32],
    dropout: Option<Dropout>,
}

impl Epilogue for End<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn place(&self) -> Option<Place> {
        Some(Place { c: self.h.pointer(0), stride: self.columns, adds: false })
    }

    fn rows(&self, rows: Range<usize>) {
        for row in rows {
            let start = row * self.columns;
            // SAFETY: every row comes once, after all of its columns.
            let h = unsafe { self.h.part(start, self.columns) };
            end_of_layer(h, &self.residual[start..start + self.columns], self.dropout, start as u32);
        }
    }
}

/// From dh to dz; returns `db`.
fn masked_rows(dh: &[f32], dz: &mut Matrix, dropout: Option<Dropout>) -> Vec<f32> {
    let (rows, columns) = (dz.rows, dz.columns);
    let writer = dz.writer();
    sum_rows(rows, columns, |row, sums| {
        let start = row * columns;
        let mut own = dh[start..start + columns].to_vec();
        masked(&mut own, dropout, start as u32);
        add_to(sums, &own);
        // SAFETY: each row is visited once.
        unsafe { writer.write(row, 0, &own) };
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, hidden) in [(1, 8, 6), (5, 34, 98), (600, 64, 64)] {
            for rate in [0.0, 0.2] {
                let args = [
                    normal(1, &[tokens, inner]),
                    normal(2, &[hidden, inner]),
                    normal(3, &[hidden]),
                    normal(4, &[tokens, hidden]),
                ];
                assert_tapes(&args, |ops, [x, w, b, residual]| {
                    let (x, residual) = (ops.parameter(x)?, ops.parameter(residual)?);
                    ops.linear_residual(&x, &weights([(w, b)]), &residual, DropoutAt::new(rate, "output"))
                });
            }
        }
    }

    #[test]
    fn a_norm_by_itself_is_that_of_the_plain_reference_with_and_without_an_offset() {
        for (tokens, hidden) in [(1, 8), (70, 34), (300, 64)] {
            let args = [normal(1, &[tokens, hidden]), normal(2, &[hidden]), normal(3, &[hidden])];
            assert_tapes(&args, |ops, [x, gamma, beta]| {
                let x = ops.parameter(x)?;
                let first = ops.layer_norm(&x, &Norm::new(gamma.clone(), beta.clone(), 1e-5))?;
                let second = ops.layer_norm(&x, &Norm::without_bias(gamma.clone(), 1e-5))?;
                ops.add(&first, &second)
            });
        }
    }
}
