//! Values side by side: what a head reads of several places at once.
//!
//! ```text
//! forward   y = [a | b | ...]        each [rows, its columns], y [rows, the sum of their columns]
//! backward  da, db, ... are the columns of dy
//! ```

use crate::gemm::Matrix;
use crate::tape::Tape;
use crate::value::{Fused, Node, Rows, Value};
use crate::workspace::Buffer;
use candle_core::Result;

/// What the rows of all of them stand for.
pub(crate) fn rows_of(values: &[&Value]) -> Result<Rows> {
    let Some((first, rest)) = values.split_first() else { candle_core::bail!("nothing to put side by side") };
    match rest.iter().find(|value| value.rows_of() != first.rows_of()) {
        Some(other) => candle_core::bail!("rows that are {:?} beside {:?}", other.rows_of(), first.rows_of()),
        None => Ok(first.rows_of()),
    }
}

impl Tape {
    /// Hidden states of as many rows, side by side.
    pub(crate) fn fused_concat(&mut self, values: &[&Fused], rows_of: Rows) -> Result<Value> {
        let nodes: Vec<Node> = values.iter().map(|value| value.node).collect();
        let rows = nodes.first().map_or(0, |node| node.rows);
        if let Some(node) = nodes.iter().find(|node| node.rows != rows) {
            candle_core::bail!("{} rows beside {rows}", node.rows);
        }
        let columns: usize = nodes.iter().map(|node| node.columns).sum();
        let mut y = Buffer::uninit(rows * columns);
        let mut at = 0;
        for value in values {
            let (own, numbers) = (value.node.columns, value.floats()?);
            for (y, x) in y.chunks_exact_mut(columns.max(1)).zip(numbers.chunks_exact(own.max(1))) {
                y[at..at + own].copy_from_slice(x);
            }
            at += own;
        }
        let needs_gradient = self.trains() && nodes.iter().any(|node| node.needs_gradient);
        let y = self.hidden(Matrix::f32(rows, columns, y), None, rows_of, needs_gradient);
        let output = y.node;
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            let mut at = 0;
            for node in nodes {
                let mut dx = Buffer::uninit(rows * node.columns);
                for (dx, dy) in dx.chunks_exact_mut(node.columns.max(1)).zip(dy.chunks_exact(columns.max(1))) {
                    dx.copy_from_slice(&dy[at..at + node.columns]);
                }
                at += node.columns;
                buffers.add(node, dx)?;
            }
            Ok(())
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use crate::Weight;
    use crate::gemm::Precision;
    use crate::ops::Ops;
    use crate::pass::{Index, Inputs, Items, Pass};
    use crate::segments::Segments;
    use crate::tape::Tape;
    use crate::testing::{assert_tapes_on, normal, weights};
    use std::sync::Arc;

    fn inputs() -> Inputs {
        let ranges = Items { items: vec![(1, 3), (2, 3), (5, 7)], segments: Segments::packed(&[2, 1]) };
        let pairs = Items { items: vec![(0, 1), (1, 0), (1, 1), (2, 2)], segments: Segments::packed(&[3, 1]) };
        Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[4, 3])) }
    }

    /// A sequence beside both ranges of each of its pairs, as a head of relations reads them; one of them twice.
    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let args = [normal(1, &[7, 6]), normal(2, &[5, 6]), normal(3, &[5]), normal(4, &[4, 23]), normal(5, &[4])];
        assert_tapes_on(&inputs(), &args, |ops: &mut dyn Ops, [x, narrow, narrow_b, w, b]| {
            let x = ops.parameter(x)?;
            let first = ops.select_rows(&x, Index::FirstTokens)?;
            let first = ops.select_rows(&first, Index::PairSequences)?;
            let ranges = ops.select_rows(&x, Index::RangeStarts)?;
            let one = ops.select_rows(&ranges, Index::PairFirsts)?;
            let other = ops.select_rows(&ranges, Index::PairSeconds)?;
            let narrow = ops.linear(&other, &weights([(narrow, narrow_b)]))?;
            let all = ops.concat(&[&first, &one, &narrow, &one])?;
            ops.linear(&all, &weights([(w, b)]))
        });
    }

    #[test]
    fn rows_that_do_not_go_together_are_refused() {
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs()));
        let tokens = tape.parameter(&Weight::new(&normal(1, &[7, 4])).unwrap()).unwrap();
        let fewer = tape.parameter(&Weight::new(&normal(1, &[6, 4])).unwrap()).unwrap();
        let ranges = tape.select_rows(&tokens, Index::RangeStarts).unwrap();
        let fault = tape.concat(&[&tokens, &ranges]).err().unwrap().to_string();
        assert!(fault.starts_with("rows that are Ranges beside Tokens"), "{fault}");
        let fault = tape.concat(&[&tokens, &fewer]).err().unwrap().to_string();
        assert!(fault.starts_with("6 rows beside 7"), "{fault}");
        assert!(tape.concat(&[]).is_err());
    }
}
