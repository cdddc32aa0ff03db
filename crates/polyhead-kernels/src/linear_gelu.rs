//! Linear layer and Gaussian error linear unit, the exact one (Hendrycks and Gimpel, arXiv:1606.08415), as one operator.
//!
//! ```text
//! forward   u = x Wᵀ + b,  y = u Φ(u),  Φ(u) = (1 + erf(u / √2)) / 2
//! backward  du = dy (Φ(u) + u φ(u)),  φ(u) = exp(-u² / 2) / √(2π),  dx = du W,  dW = duᵀ x,  db = Σ du
//! ```
//!
//! x is `[tokens, in]`; u, which the backward pass keeps, and y are `[tokens, out]` in the precision of products.

use crate::gemm::{Epilogue, Matrix, Part, Writer, add_to, sum_rows};
use crate::linear::Linear;
use crate::math::{erf, exp, simd};
use crate::tape::Tape;
use crate::value::{Fused, Value};
use candle_core::Result;
use std::sync::Arc;

impl Tape {
    /// `gelu(x Wᵀ + b)`, for products to read.
    pub(crate) fn fused_linear_gelu(&mut self, x: &Fused, layer: &Arc<Linear>) -> Result<Value> {
        let precision = layer.precision(self.precision);
        let operand = layer.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        let needs_gradient = self.trains() && (x.node.needs_gradient || layer.is_trained());
        let (rows, columns) = (x.node.rows, layer.outputs());
        let mut y = Matrix::uninit(precision, rows, columns);
        let mut u = needs_gradient.then(|| Matrix::uninit(precision, rows, columns));
        let bias = layer.bias()?;
        let end = Gelu { u: u.as_mut().map(Matrix::writer), y: y.writer(), bias: bias.as_deref() };
        layer.forward(&operand, &end)?;
        let y = self.inner(y, x.node.rows_of, needs_gradient);
        if let Some(u) = u {
            let (layer, input, output, operand) = (layer.clone(), x.node, y.node, layer.kept(operand));
            self.record(output, move |buffers| {
                let dy = buffers.take(output)?;
                let mut du = Matrix::uninit(dy.precision(), rows, columns);
                let sums = backward(&dy, &u, &mut du);
                drop((dy, u));
                layer.backward(buffers, input, None, &operand, &du, &sums)
            });
        }
        Ok(Value::Fused(y))
    }
}

struct Gelu<'a> {
    u: Option<Writer<'a>>,
    y: Writer<'a>,
    bias: Option<&'a [f32]>,
}

impl Epilogue for Gelu<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn part(&self, mut part: Part<'_>) {
        let column = part.column;
        if let Some(u) = &self.u {
            for (row, values) in part.each_row() {
                // SAFETY: each element comes once.
                unsafe { u.write(row, column, values) };
            }
        }
        // What lies between the rows of a part is ours too: one loop over all of it.
        let all = part.values.len().min(part.rows * part.stride);
        forward(&mut part.values[..all]);
        for (row, values) in part.each_row() {
            // SAFETY: as above.
            unsafe { self.y.write(row, column, values) };
        }
    }
}

/// From dy to du; returns `db`.
fn backward(dy: &Matrix, u: &Matrix, du: &mut Matrix) -> Vec<f32> {
    /// Columns that are brought to f32 at a time.
    const BLOCK: usize = 256;
    let columns = dy.columns;
    let writer = du.writer();
    sum_rows(dy.rows, columns, |row, sums| {
        let (mut gradient, mut u_values) = ([0.0; BLOCK], [0.0; BLOCK]);
        for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
            let (column, gradient) = (block * BLOCK, &mut gradient[..sums.len()]);
            let u_values = &mut u_values[..sums.len()];
            dy.read(row, column, gradient);
            u.read(row, column, u_values);
            through(gradient, u_values);
            add_to(sums, gradient);
            // SAFETY: every row is visited once.
            unsafe { writer.write(row, column, gradient) };
        }
    })
}

simd! {
    fn forward(x: &mut [f32]) {
        for x in x.iter_mut() {
            *x = *x * 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

simd! {
    fn through(gradient: &mut [f32], u: &[f32]) {
        let density = 0.398_942_3_f32;
        for (gradient, &u) in gradient.iter_mut().zip(u) {
            let distribution = 0.5 * (1.0 + erf(u * std::f32::consts::FRAC_1_SQRT_2));
            *gradient *= distribution + u * density * exp(-0.5 * u * u);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::Activation;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, outer) in [(1, 8, 6), (70, 34, 130), (600, 64, 96)] {
            let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
            assert_tapes(&args, |ops, [x, w, b]| {
                let x = ops.parameter(x)?;
                ops.linear_activation(&x, &weights([(w, b)]), Activation::Gelu)
            });
        }
    }
}
