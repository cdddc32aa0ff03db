//! Linear layer and a function of each element, as one operator: the beginning of every feed-forward sub-layer.
//!
//! ```text
//! forward   u = x Wᵀ + b,  y = f(u)                   f and its slope: `activation.rs`
//! backward  du = dy f'(u),  dx = du W,  dW = duᵀ x,  db = Σ du
//! ```
//!
//! x is `[tokens, in]`; u, which the backward pass keeps, and y are `[tokens, out]` in the precision of products.

use crate::activation::Activation;
use crate::gemm::{Epilogue, Matrix, Part, Precision, Writer, add_to, sum_rows};
use crate::linear::Linear;
use crate::pool::for_each_chunk;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use crate::workspace::Buffer;
use candle_core::Result;
use std::sync::Arc;

impl Tape {
    /// `f(x Wᵀ + b)`, for products to read.
    pub(crate) fn fused_linear_activation(
        &mut self,
        x: &Fused,
        layer: &Arc<Linear>,
        activation: Activation,
    ) -> Result<Value> {
        let precision = layer.precision(self.precision);
        let operand = layer.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        let needs_gradient = self.trains() && (x.node.needs_gradient || layer.is_trained());
        let (rows, columns) = (x.node.rows, layer.outputs());
        let mut y = Matrix::uninit(precision, rows, columns);
        let mut u = needs_gradient.then(|| Matrix::uninit(precision, rows, columns));
        let bias = layer.bias()?;
        let end = End { activation, u: u.as_mut().map(Matrix::writer), y: y.writer(), bias: bias.as_deref() };
        layer.forward(&operand, &end)?;
        let mut y = self.inner(y, x.node.rows_of, needs_gradient);
        if let Some(u) = u.map(Arc::new) {
            // In bf16 u is rounded, and y is of what it was before.
            if precision == Precision::F32 {
                let of = u.clone();
                y = self.remade_by(y, move || Ok(activated(&of, activation)));
            }
            let (layer, input, output, operand) =
                (layer.clone(), x.node, y.node, layer.kept(operand, x.remake.as_ref()));
            self.record(output, move |buffers| {
                let dy = buffers.take(output)?;
                let mut du = Matrix::uninit(dy.precision(), rows, columns);
                let sums = backward(activation, &dy, &u, &mut du);
                drop((dy, u));
                layer.backward(buffers, input, None, &operand, &du, &sums)
            });
        }
        Ok(Value::Fused(y))
    }
}

/// `f(u)` of a matrix in f32.
fn activated(u: &Matrix, activation: Activation) -> Matrix {
    let mut y = Buffer::uninit(u.rows * u.columns);
    for_each_chunk(&mut y, u.columns, 16, |row, y| {
        u.read(row, 0, y);
        activation.forward(y);
    });
    Matrix::f32(u.rows, u.columns, y)
}

struct End<'a> {
    activation: Activation,
    u: Option<Writer<'a>>,
    y: Writer<'a>,
    bias: Option<&'a [f32]>,
}

impl Epilogue for End<'_> {
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
        self.activation.forward(&mut part.values[..all]);
        for (row, values) in part.each_row() {
            // SAFETY: as above.
            unsafe { self.y.write(row, column, values) };
        }
    }
}

/// From dy to du; returns `db`.
fn backward(activation: Activation, dy: &Matrix, u: &Matrix, du: &mut Matrix) -> Vec<f32> {
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
            activation.backward(gradient, u_values);
            add_to(sums, gradient);
            // SAFETY: every row is visited once.
            unsafe { writer.write(row, column, gradient) };
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::activation::Activation;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, outer, activation) in [
            (1, 8, 6, Activation::Gelu),
            (70, 34, 130, Activation::Gelu),
            (600, 64, 96, Activation::Gelu),
            (70, 34, 130, Activation::GeluTanh),
            (33, 12, 40, Activation::QuickGelu),
            (33, 12, 40, Activation::ClippedGelu),
            (33, 12, 40, Activation::Silu),
            (33, 12, 40, Activation::Tanh),
        ] {
            let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
            assert_tapes(&args, |ops, [x, w, b]| {
                let x = ops.parameter(x)?;
                ops.linear_activation(&x, &weights([(w, b)]), activation)
            });
        }
    }
}
