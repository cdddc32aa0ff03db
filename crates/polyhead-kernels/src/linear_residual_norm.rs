//! Linear layer, dropout, residual connection and LayerNorm as one operator: the end of every BERT sub-layer.
//!
//! ```text
//! forward   h = dropout(x Wᵀ + b) + residual,  y = LayerNorm(h)
//! backward  dh through LayerNorm,  dresidual = dh,  dz = dh m,  dx = dz W,  dW = dzᵀ x,  db = Σ dz
//! ```
//!
//! x is `[tokens, in]`; residual, h and y are `[tokens, hidden]`. The rows of the product are normalised while they are in
//! the processor's cache; h is what the backward pass keeps.

use crate::dropout::{Dropout, masked};
use crate::gemm::{Epilogue, Matrix, Place, Writer, sum_rows};
use crate::layer_norm::{Norm, NormValues, end_of_layer, gradient, normalise, scale};
use crate::linear::Linear;
use crate::pass::DropoutAt;
use crate::storage::Parts;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use crate::workspace::Buffer;
use candle_core::Result;
use std::ops::Range;
use std::sync::Arc;

impl Tape {
    /// `LayerNorm(dropout(x Wᵀ + b) + residual)`, a hidden state.
    pub(crate) fn fused_linear_residual_norm(
        &mut self,
        x: &Fused,
        layer: &Arc<Linear>,
        residual: &Fused,
        norm: &Norm,
        dropout: DropoutAt,
    ) -> Result<Value> {
        let (rows, columns) = (x.node.rows, layer.outputs());
        let mask = self.setting.mask(dropout, x.node.rows_of, columns);
        let precision = layer.precision(self.precision);
        let operand = layer.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        let values = norm.values(columns)?;
        if residual.node.rows != rows || residual.node.columns != columns {
            candle_core::bail!("linear-residual-norm: {rows} x {columns} onto {:?}", residual.node);
        }
        // Of the layer and its input alone: the residual's gradient needs neither.
        let needs_product = x.node.needs_gradient || layer.is_trained();
        let needs_gradient = self.trains() && (needs_product || residual.node.needs_gradient || norm.is_trained());
        let mut y = Buffer::uninit(rows * columns);
        let mut h = needs_gradient.then(|| Buffer::uninit(rows * columns));
        let mut rounded = self.rounded(rows, columns);
        layer.forward(
            &operand,
            &End {
                y: Parts::new(&mut y),
                h: h.as_mut().map(|h| Parts::new(h)),
                rounded: rounded.as_mut().map(Matrix::writer),
                columns,
                bias: layer.bias()?.as_deref(),
                residual: residual.floats()?,
                dropout: mask,
                norm: &values,
            },
        )?;
        let y = self.hidden(Matrix::f32(rows, columns, y), rounded, x.node.rows_of, needs_gradient);
        if let Some(h) = h {
            let (layer, norm, operand) = (layer.clone(), norm.clone(), layer.kept(operand, x.remake.as_ref()));
            let (output, residual, input) = (y.node, residual.node, x.node);
            self.record(output, move |buffers| {
                let mut dh = buffers.take_hidden(output)?;
                let mut dz = Matrix::uninit(precision, rows, columns);
                let sums = backward(&mut dh, h, &mut dz, &norm.values(columns)?, mask);
                buffers.add(residual, dh)?;
                if needs_product {
                    layer.backward(buffers, input, None, &operand, &dz, &sums[2 * columns..])?;
                }
                norm.gather(&sums[..2 * columns])
            });
        }
        Ok(Value::Fused(y))
    }
}

/// Ends the rows of the product.
struct End<'a> {
    y: Parts<'a, f32>,
    h: Option<Parts<'a, f32>>,
    rounded: Option<Writer<'a>>,
    columns: usize,
    bias: Option<&'a [f32]>,
    residual: &'a [f32],
    dropout: Option<Dropout>,
    norm: &'a NormValues,
}

impl Epilogue for End<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn place(&self) -> Option<Place> {
        Some(Place { c: self.y.pointer(0), stride: self.columns, adds: false })
    }

    fn rows(&self, rows: Range<usize>) {
        for row in rows {
            let start = row * self.columns;
            // SAFETY: every row comes once, after all of its columns.
            let y = unsafe { self.y.part(start, self.columns) };
            end_of_layer(y, &self.residual[start..start + self.columns], self.dropout, start as u32);
            if let Some(h) = &self.h {
                // SAFETY: as above.
                unsafe { h.part(start, self.columns) }.copy_from_slice(y);
            }
            normalise(y, self.norm.epsilon);
            scale(y, &self.norm.gamma, &self.norm.beta);
            if let Some(rounded) = &self.rounded {
                // SAFETY: as above.
                unsafe { rounded.write(row, 0, y) };
            }
        }
    }
}

/// From dy to dh, in place, and dz; returns `[dγ, dβ, db]`.
fn backward(
    dh: &mut Buffer<f32>,
    mut h: Buffer<f32>,
    dz: &mut Matrix,
    norm: &NormValues,
    dropout: Option<Dropout>,
) -> Vec<f32> {
    let (rows, columns) = (dz.rows, dz.columns);
    let (dh, h, dz) = (Parts::new(dh), Parts::new(&mut h), dz.writer());
    sum_rows(rows, 3 * columns, |row, sums| {
        let start = row * columns;
        // SAFETY: each row is visited once, and writes its own parts.
        let (dh, n) = unsafe { (dh.part(start, columns), h.part(start, columns)) };
        let (dgamma, rest) = sums.split_at_mut(columns);
        let (dbeta, dbias) = rest.split_at_mut(columns);
        let inverse = normalise(n, norm.epsilon);
        gradient(dh, n, &norm.gamma, inverse, dgamma, dbeta);
        // h has served: its row becomes that of dz.
        n.copy_from_slice(dh);
        masked(n, dropout, start as u32);
        crate::gemm::add_to(dbias, n);
        // SAFETY: as above.
        unsafe { dz.write(row, 0, n) };
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::testing::{assert_tapes, normal, weights};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::testing::cases(60))]

        /// Two layers, so that values between them and gradients of both kinds are at work. Rows of sixteen and more: those
        /// of two or three numbers may be nearly equal, and LayerNorm then makes any rounding large.
        #[test]
        fn a_feed_forward_layer_is_that_of_the_plain_references_for_any_shape(
            tokens in 1_usize..700, hidden in 16_usize..70, half in 1_usize..60, drop in 0.0..0.4,
        ) {
            let inner = 2 * half;
            let args = [
                normal(1, &[tokens, hidden]),
                (normal(2, &[inner, hidden]) * 0.2).unwrap(),
                normal(3, &[inner]),
                (normal(4, &[hidden, inner]) * 0.2).unwrap(),
                normal(5, &[hidden]),
                normal(6, &[hidden]),
                normal(7, &[hidden]),
            ];
            assert_tapes(&args,
                    |ops, [x, w, b, w2, b2, gamma, beta]| {
                        let x = ops.parameter(x)?;
                        let inner = ops.linear_activation(&x, &weights([(w, b)]), Activation::Gelu)?;
                        let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
                        let drop = DropoutAt::new(drop, "output");
                        ops.linear_residual_norm(&inner, &weights([(w2, b2)]), &x, &norm, drop)
                    });
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, hidden) in [(1, 8, 6), (5, 34, 98), (600, 64, 64)] {
            for rate in [0.0, 0.2] {
                let args = [
                    normal(1, &[tokens, inner]),
                    normal(2, &[hidden, inner]),
                    normal(3, &[hidden]),
                    normal(4, &[tokens, hidden]),
                    normal(5, &[hidden]),
                    normal(6, &[hidden]),
                ];
                assert_tapes(&args, |ops, [x, w, b, residual, gamma, beta]| {
                    let (x, residual) = (ops.parameter(x)?, ops.parameter(residual)?);
                    let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
                    ops.linear_residual_norm(&x, &weights([(w, b)]), &residual, &norm, DropoutAt::new(rate, "output"))
                });
            }
        }
    }
}
