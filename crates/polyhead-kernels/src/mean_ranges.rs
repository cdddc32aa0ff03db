//! The mean of the rows of each range: one vector for a word or a span of several tokens.
//!
//! ```text
//! forward   y[i] = Σ x[start_i .. end_i] / n_i        x [tokens, columns], y [ranges, columns], n_i = end_i - start_i
//! backward  dx[row] += dy[i] / n_i for each row of range i, in the order of i
//! ```
//!
//! Ranges may overlap. The mean of an empty one is 0, and nothing flows back through it.

use crate::gemm::{Matrix, add_to};
use crate::tape::Tape;
use crate::value::{Fused, Rows, Value};
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};

/// Refuses ranges that end before they start, or beyond the last row.
pub(crate) fn check(ranges: &[(u32, u32)], rows: usize) -> Result<()> {
    match ranges.iter().find(|(start, end)| start > end || *end as usize > rows) {
        Some((start, end)) => candle_core::bail!("the range {start}..{end} of a value of {rows} rows"),
        None => Ok(()),
    }
}

/// The means as a product: each row of the left matrix has 1/n where its range lies.
pub(crate) fn plain(x: &Tensor, ranges: &[(u32, u32)]) -> Result<Tensor> {
    let rows = x.dim(0)?;
    check(ranges, rows)?;
    let mut shares = vec![0.0_f32; ranges.len() * rows];
    for (row, &(start, end)) in shares.chunks_exact_mut(rows.max(1)).zip(ranges) {
        row[start as usize..end as usize].fill(share(start, end));
    }
    Tensor::from_vec(shares, (ranges.len(), rows), x.device())?.matmul(x)
}

/// What a row of a range counts for.
fn share(start: u32, end: u32) -> f32 {
    1.0 / (end - start).max(1) as f32
}

impl Tape {
    /// The means of a hidden state over these ranges of its rows.
    pub(crate) fn fused_mean_ranges(&mut self, x: &Fused, ranges: Vec<(u32, u32)>) -> Result<Value> {
        let (rows, columns, values) = (x.node.rows, x.node.columns, x.floats()?);
        check(&ranges, rows)?;
        let mut y = Buffer::uninit(ranges.len() * columns);
        y.fill(0.0);
        for (y, &(start, end)) in y.chunks_exact_mut(columns.max(1)).zip(&ranges) {
            let of_range = &values[start as usize * columns..end as usize * columns];
            of_range.chunks_exact(columns.max(1)).for_each(|row| add_to(y, row));
            let share = share(start, end);
            y.iter_mut().for_each(|y| *y *= share);
        }
        let needs_gradient = self.trains() && x.node.needs_gradient;
        let y = self.hidden(Matrix::f32(ranges.len(), columns, y), None, Rows::Ranges, needs_gradient);
        let (input, output) = (x.node, y.node);
        self.record(output, move |buffers| {
            let mut dy = buffers.take_hidden(output)?;
            let mut dx = Buffer::uninit(rows * columns);
            dx.fill(0.0);
            for (dy, &(start, end)) in dy.chunks_exact_mut(columns.max(1)).zip(&ranges) {
                let share = share(start, end);
                dy.iter_mut().for_each(|dy| *dy *= share);
                let of_range = &mut dx[start as usize * columns..end as usize * columns];
                of_range.chunks_exact_mut(columns.max(1)).for_each(|row| add_to(row, dy));
            }
            buffers.add(input, dx)
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weight;
    use crate::gemm::Precision;
    use crate::ops::Ops;
    use crate::pass::{Index, Inputs, Items, Pass};
    use crate::plain::Plain;
    use crate::segments::Segments;
    use crate::testing::{assert_tapes_on, flat, normal, weights};
    use std::sync::Arc;

    fn inputs(items: &[(u32, u32)]) -> Inputs {
        let ranges = Items { items: items.to_vec(), segments: Segments::packed(&[items.len()]) };
        let pairs = Items { items: vec![(0, 1), (1, 0), (2, 2)], segments: Segments::packed(&[3]) };
        Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[7])) }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        // Of one row, of several, overlapping, empty, of all.
        let inputs = inputs(&[(1, 2), (2, 6), (3, 7), (4, 4), (0, 7)]);
        let args = [normal(1, &[7, 6]), normal(2, &[4, 6]), normal(3, &[4])];
        assert_tapes_on(&inputs, &args, |ops: &mut dyn Ops, [x, w, b]| {
            let x = ops.parameter(x)?;
            let means = ops.mean_ranges(&x)?;
            let firsts = ops.select_rows(&means, Index::PairFirsts)?;
            let seconds = ops.select_rows(&means, Index::PairSeconds)?;
            let sum = ops.add(&firsts, &seconds)?;
            ops.linear(&sum, &weights([(w, b)]))
        });
    }

    #[test]
    fn a_mean_is_that_of_its_rows_and_that_of_no_row_is_zero() {
        let x = Tensor::new(&[[1.0_f32, -2.0], [3.0, 4.0], [8.0, 0.5]], &candle_core::Device::Cpu).unwrap();
        let inputs = Arc::new(Inputs {
            ranges: Items { items: vec![(0, 3), (1, 2), (2, 2)], segments: Segments::packed(&[3]) },
            ..Inputs::of_rows(Segments::packed(&[3]))
        });
        let of = |ops: &mut dyn Ops| {
            let x = ops.parameter(&Weight::new(&x).unwrap()).unwrap();
            let means = ops.mean_ranges(&x).unwrap();
            assert_eq!(means.rows_of(), Rows::Ranges);
            flat(&means.to_tensor().unwrap())
        };
        for found in [
            of(&mut Tape::new(Precision::F32, Pass::Evaluate, inputs.clone())),
            of(&mut Plain::new(Pass::Evaluate, inputs)),
        ] {
            let far = found.iter().zip([4.0, 2.5 / 3.0, 3.0, 4.0, 0.0, 0.0]).map(|(a, b)| (a - b).abs());
            assert!(found.len() == 6 && far.fold(0.0, f32::max) < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn ranges_beyond_the_rows_and_values_that_are_no_tokens_are_refused() {
        let x = Weight::new(&normal(1, &[7, 4])).unwrap();
        for (range, said) in [((3, 8), "the range 3..8 of a value of 7 rows"), ((3, 2), "the range 3..2 of a value")] {
            let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs(&[range])));
            let tokens = tape.parameter(&x).unwrap();
            let fault = tape.mean_ranges(&tokens).err().unwrap().to_string();
            assert!(fault.starts_with(said), "{fault}");
        }
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs(&[(0, 1), (1, 2), (2, 3)])));
        let tokens = tape.parameter(&x).unwrap();
        let ranges = tape.select_rows(&tokens, Index::RangeStarts).unwrap();
        let fault = tape.mean_ranges(&ranges).err().unwrap().to_string();
        assert!(fault.starts_with("a mean is of rows that are Tokens, found Ranges"), "{fault}");
    }
}
