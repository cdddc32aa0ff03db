//! Rows of a value, chosen by number: the first tokens of sequences, the words of a sentence, the windows of one head.
//!
//! ```text
//! forward   y[i] = x[rows[i]]            x [rows, columns], y [chosen, columns]
//! backward  dx[rows[i]] += dy[i], in the order of i
//! ```

use crate::gemm::{Matrix, add_to};
use crate::tape::Tape;
use crate::value::{Fused, Kind, Node, Rows, Value};
use crate::workspace::Buffer;
use candle_core::Result;

impl Tape {
    /// These rows of a value, which stand for `rows_of`.
    pub(crate) fn fused_select_rows(&mut self, x: &Fused, rows: Vec<u32>, rows_of: Rows) -> Result<Value> {
        let Node { rows: all, columns, kind, .. } = x.node;
        if let Some(row) = rows.iter().find(|&&row| row as usize >= all) {
            candle_core::bail!("row {row} of a value of {all}");
        }
        let mut y = Buffer::uninit(rows.len() * columns);
        for (y, &row) in y.chunks_exact_mut(columns.max(1)).zip(&rows) {
            x.read_row(row as usize, y);
        }
        let needs_gradient = self.trains() && x.node.needs_gradient;
        let y = Matrix::f32(rows.len(), columns, y);
        let y = match kind {
            Kind::Hidden => self.hidden(y, None, rows_of, needs_gradient),
            Kind::Inner(precision) => self.inner(y.in_precision(precision), rows_of, needs_gradient),
        };
        let (input, output) = (x.node, y.node);
        self.record(output, move |buffers| {
            let gradient = buffers.take(output)?;
            let mut dx = Buffer::uninit(all * columns);
            dx.fill(0.0);
            let mut dy = vec![0.0; columns];
            for (at, &row) in rows.iter().enumerate() {
                gradient.read(at, 0, &mut dy);
                add_to(&mut dx[row as usize * columns..][..columns], &dy);
            }
            buffers.add(input, dx)
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::Ops;
    use crate::pass::{Index, Inputs, Items};
    use crate::segments::Segments;
    use crate::testing::{assert_tapes_on, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        // Rows that are chosen twice, and one that is not.
        let ranges = Items { items: vec![(1, 3), (2, 3), (1, 2), (5, 7)], segments: Segments::packed(&[3, 1]) };
        let pairs = Items { items: vec![(0, 1), (0, 2), (2, 0), (3, 3)], segments: Segments::packed(&[3, 1]) };
        let inputs = Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[4, 3])) };
        let args = [normal(1, &[7, 6]), normal(2, &[4, 6]), normal(3, &[4])];
        assert_tapes_on(&inputs, &args, |ops: &mut dyn Ops, [x, w, b]| {
            let x = ops.parameter(x)?;
            let ranges = ops.select_rows(&x, Index::RangeStarts)?;
            let firsts = ops.select_rows(&ranges, Index::PairFirsts)?;
            let seconds = ops.select_rows(&ranges, Index::PairSeconds)?;
            let sum = ops.add(&firsts, &seconds)?;
            let sum = ops.add(&sum, &firsts)?;
            ops.linear(&sum, &weights([(w, b)]))
        });
    }
}
