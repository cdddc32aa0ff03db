//! Learnt mixtures of values with the same rows: what the streams of several tasks give to each other.
//!
//! ```text
//! forward   y[r, g w + j] = Σ_u Σ_h α[g, u G + h] x_u[r, h w + j]      α = start + change, [G, U G]
//! backward  dx_u[r, h w + j] = Σ_g α[g, u G + h] dy[r, g w + j]        dα[g, u G + h] = Σ_r Σ_j dy[r, g w + j] x_u[r, h w + j]
//! ```
//!
//! U values `[rows, columns]`, each of G blocks of w = columns / G columns. With one block it is a number for each value (cross-stitch units, Misra et
//! al., arXiv:1604.03539), with several a number for each pair of blocks (sluice networks, Ruder et al., arXiv:1705.08142).

use crate::gemm::{Matrix, sum_rows};
use crate::math::{dot, simd};
use crate::pool::for_each_chunk;
use crate::tape::Tape;
use crate::value::{Fused, Node, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};

/// Rows that one thread takes at a time.
const GRAIN: usize = 16;

/// What a mixture begins with, and what training has made of it.
#[derive(Clone)]
pub struct Stitch {
    /// `[G, U G]`, row by row.
    pub start: Vec<f32>,
    /// `[G, U G]`
    pub change: Weight,
}

impl Stitch {
    /// G.
    pub fn blocks(&self) -> usize {
        self.change.dims().first().copied().unwrap_or(0)
    }

    /// α, row by row.
    ///
    /// # Errors
    /// The change can't be read.
    pub fn values(&self) -> Result<Vec<f32>> {
        self.change.read(|change| Ok(self.start.iter().zip(change).map(|(start, change)| start + change).collect()))
    }

    /// Refuses values of so many columns, so many of them.
    ///
    /// # Errors
    /// They do not fit.
    pub fn check(&self, values: usize, columns: usize) -> Result<()> {
        let blocks = self.blocks();
        let fits = *self.change.dims() == [blocks, values * blocks] && self.start.len() == self.change.count();
        if values == 0 || blocks == 0 || !columns.is_multiple_of(blocks) || !fits {
            let dims = self.change.dims();
            candle_core::bail!("a mixture {dims:?} of {values} values of {columns} columns");
        }
        Ok(())
    }
}

impl Tape {
    /// A mixture of values of one shape: a hidden state.
    pub(crate) fn fused_stitched(&mut self, values: &[&Fused], stitch: &Stitch) -> Result<Value> {
        let Some(first) = values.first() else { candle_core::bail!("a mixture of nothing") };
        let Node { rows, columns, rows_of, .. } = first.node;
        let different = |node: &Node| (node.rows, node.columns, node.rows_of) != (rows, columns, rows_of);
        if let Some(other) = values.iter().find(|value| different(&value.node)) {
            candle_core::bail!("a mixture of {:?} and {:?}", first.node, other.node);
        }
        stitch.check(values.len(), columns)?;
        let (alpha, blocks) = (stitch.values()?, stitch.blocks());
        let width = columns / blocks;
        let inputs = values.iter().map(|value| value.floats()).collect::<Result<Vec<_>>>()?;
        let mut y = Buffer::uninit(rows * columns);
        for_each_chunk(&mut y, columns, GRAIN, |row, y| {
            y.fill(0.0);
            for (y, alpha) in y.chunks_exact_mut(width).zip(alpha.chunks_exact(values.len() * blocks)) {
                for (x, alpha) in blocks_of(&inputs, row, columns, width).zip(alpha) {
                    add_scaled(y, x, *alpha);
                }
            }
        });
        let needs_gradient =
            self.trains() && (stitch.change.is_trained() || values.iter().any(|value| value.node.needs_gradient));
        let y = self.hidden(Matrix::f32(rows, columns, y), None, rows_of, needs_gradient);
        let output = y.node;
        let (values, stitch): (Vec<Fused>, Stitch) =
            (values.iter().map(|&value| value.clone()).collect(), stitch.clone());
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            for (of, value) in values.iter().enumerate().filter(|(_, value)| value.node.needs_gradient) {
                let mut dx = Buffer::uninit(rows * columns);
                for_each_chunk(&mut dx, columns, GRAIN, |row, dx| {
                    dx.fill(0.0);
                    for (block, dx) in dx.chunks_exact_mut(width).enumerate() {
                        for (to, dy) in dy[row * columns..][..columns].chunks_exact(width).enumerate() {
                            let at = (to * values.len() + of) * blocks + block;
                            add_scaled(dx, dy, alpha[at]);
                        }
                    }
                });
                buffers.add(value.node, dx)?;
            }
            if !stitch.change.is_trained() {
                return Ok(());
            }
            let inputs = values.iter().map(Fused::floats).collect::<Result<Vec<_>>>()?;
            let sums = sum_rows(rows, alpha.len(), |row, sums| {
                let dy = &dy[row * columns..][..columns];
                for (dy, sums) in dy.chunks_exact(width).zip(sums.chunks_exact_mut(values.len() * blocks)) {
                    for (x, sum) in blocks_of(&inputs, row, columns, width).zip(sums) {
                        *sum += dot(dy, x);
                    }
                }
            });
            stitch.change.add_gradient(&sums)
        });
        Ok(Value::Fused(y))
    }
}

/// The blocks of a row of all values, one after the other.
fn blocks_of<'a>(values: &'a [&[f32]], row: usize, columns: usize, width: usize) -> impl Iterator<Item = &'a [f32]> {
    values.iter().flat_map(move |value| value[row * columns..][..columns].chunks_exact(width))
}

simd! {
    fn add_scaled(y: &mut [f32], x: &[f32], factor: f32) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
    }
}

/// The same in candle's operators, with the change as `weight` gives it.
pub(crate) fn plain(values: &[&Tensor], stitch: &Stitch, weight: impl Fn(&Weight) -> Result<Tensor>) -> Result<Tensor> {
    let Some(first) = values.first() else { candle_core::bail!("a mixture of nothing") };
    let (rows, columns) = first.dims2()?;
    stitch.check(values.len(), columns)?;
    let (blocks, change) = (stitch.blocks(), weight(&stitch.change)?);
    let alpha = (Tensor::from_slice(&stitch.start, change.dims(), change.device())? + change)?;
    // [U G, rows w]
    let parts = values.iter().flat_map(|value| (0..blocks).map(move |block| (value, block)));
    let width = columns / blocks;
    let parts = parts.map(|(value, block)| value.narrow(1, block * width, width)?.reshape(rows * width));
    let mixed = alpha.matmul(&Tensor::stack(&parts.collect::<Result<Vec<_>>>()?, 0)?)?;
    let blocks = (0..blocks).map(|block| mixed.narrow(0, block, 1)?.reshape((rows, width)));
    Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Ops;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for blocks in [1, 2, 3] {
            let of = 3 * blocks;
            let args = [
                normal(1, &[70, 6]),
                normal(2, &[70, 6]),
                normal(3, &[6, 6]),
                normal(4, &[6]),
                (normal(5, &[blocks, of]) * 0.3).unwrap(),
            ];
            let start: Vec<f32> = (0..blocks * of).map(|at| (at % 3) as f32 * 0.4).collect();
            assert_tapes(&args, |ops: &mut dyn Ops, [a, b, w, bias, change]| {
                let (a, b) = (ops.parameter(a)?, ops.parameter(b)?);
                let c = ops.linear(&a, &weights([(w, bias)]))?;
                ops.stitched(&[&a, &b, &c], &Stitch { start: start.clone(), change: change.clone() })
            });
        }
    }

    #[test]
    fn mixtures_of_other_shapes_are_refused() {
        let value = |columns| normal(1, &[4, columns]);
        let change = Weight::new(&normal(2, &[2, 4])).unwrap();
        let stitch = Stitch { start: vec![0.0; 8], change };
        let mixed = |values: &[&Tensor]| plain(values, &stitch, |weight| weight.tensor().cloned());
        assert!(mixed(&[&value(6), &value(6)]).is_ok());
        assert!(mixed(&[]).is_err() && mixed(&[&value(6)]).is_err() && mixed(&[&value(5), &value(5)]).is_err());
    }
}
