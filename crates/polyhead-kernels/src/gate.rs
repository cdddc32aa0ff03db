//! Gated linear units (Shazeer, arXiv:2002.05202): a function of one half of a layer's outputs times the other half.
//!
//! ```text
//! forward   [a g] = x Wᵀ + b,  y = f(a) g              [a g] is [rows, 2 columns], y [rows, columns]
//! backward  da = dy g f'(a),  dg = dy f(a),  dx = [da dg] W,  dW = [da dg]ᵀ x,  db = Σ [da dg]
//! ```

use crate::activation::Activation;
use crate::gemm::{Matrix, StoreMatrix, add_to, sum_rows};
use crate::linear::Linear;
use crate::math::simd;
use crate::pool::for_each_of;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// Columns that are brought to f32 at a time.
const BLOCK: usize = 256;
/// Rows that one thread takes at a time.
const GRAIN: usize = 16;

impl Tape {
    /// `f(a) g` of the halves of `x Wᵀ + b`, for products to read.
    pub(crate) fn fused_linear_gated(
        &mut self,
        x: &Fused,
        layer: &Arc<Linear>,
        activation: Activation,
    ) -> Result<Value> {
        let (rows, width) = (x.node.rows, layer.outputs());
        check(width)?;
        let precision = layer.precision(self.precision);
        let operand = layer.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        let needs_gradient = self.trains() && (x.node.needs_gradient || layer.is_trained());
        let mut halves = Matrix::uninit(precision, rows, width);
        layer.forward(&operand, &StoreMatrix { writer: halves.writer(), bias: layer.bias()?.as_deref() })?;
        let y = self.inner(gated(&halves, activation), x.node.rows_of, needs_gradient);
        let halves = Arc::new(halves);
        let of = halves.clone();
        let y = self.remade_by(y, move || Ok(gated(&of, activation)));
        if needs_gradient {
            let (layer, input, output, operand) =
                (layer.clone(), x.node, y.node, layer.kept(operand, x.remake.as_ref()));
            self.record(output, move |buffers| {
                let dy = buffers.take(output)?;
                let mut gradient = Matrix::uninit(dy.precision(), rows, width);
                let sums = backward(activation, &dy, &halves, &mut gradient);
                drop((dy, halves));
                layer.backward(buffers, input, None, &operand, &gradient, &sums)
            });
        }
        Ok(Value::Fused(y))
    }
}

/// `f(a) g` of the halves of each row, in their precision.
fn gated(halves: &Matrix, activation: Activation) -> Matrix {
    let (rows, columns) = (halves.rows, halves.columns / 2);
    let mut y = Matrix::uninit(halves.precision(), rows, columns);
    let writer = y.writer();
    for_each_of(rows, GRAIN, |row| {
        let (mut a, mut g) = ([0.0; BLOCK], [0.0; BLOCK]);
        for start in (0..columns).step_by(BLOCK) {
            let length = BLOCK.min(columns - start);
            let (a, g) = (&mut a[..length], &mut g[..length]);
            halves.read(row, start, a);
            halves.read(row, columns + start, g);
            activation.forward(a);
            multiply(a, g);
            // SAFETY: every row is visited once.
            unsafe { writer.write(row, start, a) };
        }
    });
    y
}

fn check(width: usize) -> Result<()> {
    if width.is_multiple_of(2) { Ok(()) } else { candle_core::bail!("gate: rows of an odd width ({width})") }
}

/// From dy to the gradient of both halves; returns `db`.
fn backward(activation: Activation, dy: &Matrix, halves: &Matrix, gradient: &mut Matrix) -> Vec<f32> {
    let columns = dy.columns;
    let writer = gradient.writer();
    sum_rows(dy.rows, 2 * columns, |row, sums| {
        let [mut a, mut da, mut dg] = [[0.0; BLOCK]; 3];
        let (of_a, of_g) = sums.split_at_mut(columns);
        for ((start, of_a), of_g) in (0..columns).step_by(BLOCK).zip(of_a.chunks_mut(BLOCK)).zip(of_g.chunks_mut(BLOCK))
        {
            let length = of_a.len();
            let [a, da, dg] = [&mut a, &mut da, &mut dg].map(|block| &mut block[..length]);
            dy.read(row, start, dg);
            halves.read(row, columns + start, da);
            halves.read(row, start, a);
            // da = dy g f'(a)
            multiply(da, dg);
            activation.backward(da, a);
            // dg = dy f(a)
            activation.forward(a);
            multiply(dg, a);
            add_to(of_a, da);
            add_to(of_g, dg);
            // SAFETY: every row is visited once.
            unsafe {
                writer.write(row, start, da);
                writer.write(row, columns + start, dg);
            }
        }
    })
}

simd! {
    fn multiply(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }
}

/// `f(a) g` of the halves of each row, in candle's own operators.
pub(crate) fn plain(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let columns = x.dim(1)?;
    check(columns)?;
    let [input, gate] = [0, columns / 2].map(|start| x.narrow(1, start, columns / 2));
    activation.plain(&input?.contiguous()?)?.mul(&gate?)
}

#[cfg(test)]
mod tests {
    use crate::activation::Activation;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, columns, activation) in
            [(1, 8, 6, Activation::Gelu), (70, 34, 130, Activation::Gelu), (40, 64, 300, Activation::Silu)]
        {
            let args = [normal(1, &[tokens, inner]), normal(2, &[2 * columns, inner]), normal(3, &[2 * columns])];
            assert_tapes(&args, |ops, [x, w, b]| {
                let x = ops.parameter(x)?;
                ops.linear_gated(&x, &weights([(w, b)]), activation)
            });
        }
    }
}
