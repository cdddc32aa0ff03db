//! A linear layer as an operator of its own, with dropout before it: the layer of a head.

use super::Linear;
use super::low_rank::mask_rows;
use crate::gemm::{Matrix, Store, add_to, sum_rows};
use crate::pass::DropoutAt;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use crate::workspace::Buffer;
use candle_core::Result;
use std::sync::Arc;

impl Tape {
    /// `dropout(x) Wᵀ + b` for x `[rows, in]`: a hidden state `[rows, out]`.
    pub(crate) fn fused_linear(&mut self, x: &Fused, layer: &Arc<Linear>, dropout: Option<DropoutAt>) -> Result<Value> {
        let precision = layer.precision(self.precision);
        let (rows, inner, outer) = (x.node.rows, x.node.columns, layer.outputs());
        let mask = dropout.and_then(|dropout| self.setting.mask(dropout, x.node.rows_of, inner));
        let input = match mask {
            None => x.operand(precision),
            Some(_) => {
                let mut values = x.to_buffer();
                mask_rows(&mut values, inner, mask, 0);
                let values = Matrix::f32(rows, inner, values);
                Arc::new(values.in_precision(precision))
            }
        };
        let operand = layer.operand(input, x.node.rows_of, &self.setting)?;
        let mut y = Buffer::uninit(rows * outer);
        layer.forward(&operand, &Store::new(&mut y, outer).with_bias(layer.bias()?.as_deref()))?;
        let needs_gradient = self.trains() && (x.node.needs_gradient || layer.is_trained());
        let y = self.hidden(Matrix::f32(rows, outer, y), None, x.node.rows_of, needs_gradient);
        let (layer, input, output, operand) =
            (layer.clone(), x.node, y.node, layer.kept(operand, x.remake.as_ref().filter(|_| mask.is_none())));
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            let sums = match layer.trains_a_bias() {
                true => sum_rows(rows, outer, |row, sums| add_to(sums, &dy[row * outer..(row + 1) * outer])),
                false => Vec::new(),
            };
            let dy = Matrix::f32(rows, outer, dy).in_precision(precision);
            layer.backward(buffers, input, mask, &operand, &dy, &sums)
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use crate::gemm::Precision;
    use crate::linear::{Linear, LowRank, Part};
    use crate::ops::Ops;
    use crate::pass::{DropoutAt, Inputs, Pass, TaskRows, Tasks};
    use crate::segments::Segments;
    use crate::tape::Tape;
    use crate::testing::{assert_tape, assert_tapes, assert_tapes_on, normal, weights};
    use crate::weight::Weight;
    use std::sync::Arc;

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, outer) in [(1, 8, 3), (70, 34, 130), (200, 64, 16)] {
            for rate in [0.0, 0.3] {
                let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
                assert_tapes(&args, |ops: &mut dyn Ops, [x, w, b]| {
                    let x = ops.parameter(x)?;
                    ops.dropout_linear(&x, &weights([(w, b)]), DropoutAt::new(rate, "head"))
                });
            }
        }
    }

    #[test]
    fn a_layer_of_a_head_is_f32_in_a_pass_in_bf16() {
        let args = [normal(1, &[70, 33]), normal(2, &[5, 33]), normal(3, &[5])];
        assert_tape(
            &args,
            Precision::Bf16,
            |ops, [x, w, b]| {
                let layer = Linear::new(vec![Part::new(w.clone(), Some(b.clone()))]).in_precision(Precision::F32);
                let x = ops.parameter(x)?;
                ops.dropout_linear(&x, &Arc::new(layer), DropoutAt::new(0.2, "head"))
            },
            1e-5,
        );
    }

    #[test]
    fn parts_without_a_bias_and_with_low_rank_additions_are_those_of_the_plain_reference() {
        for rate in [0.0, 0.3] {
            let args = [
                normal(1, &[70, 34]),
                (normal(2, &[24, 34]) * 0.2).unwrap(),
                (normal(3, &[18, 34]) * 0.2).unwrap(),
                normal(4, &[18]),
                (normal(5, &[3, 34]) * 0.3).unwrap(),
                normal(6, &[24, 3]),
                (normal(7, &[4, 34]) * 0.3).unwrap(),
                normal(8, &[18, 4]),
            ];
            assert_tapes(&args, |ops: &mut dyn Ops, [x, w, w2, b2, a, b, a2, bb2]| {
                let addition = |a: &crate::Weight, b: &crate::Weight, layer| LowRank {
                    a: a.clone(),
                    b: b.clone(),
                    scale: 0.5,
                    dropout: DropoutAt::new(rate, "addition").of_layer(layer),
                    task: None,
                };
                let first = Part::new(w.clone(), None).with_low_rank(addition(a, b, 0));
                let second = Part::new(w2.clone(), Some(b2.clone())).with_low_rank(addition(a2, bb2, 1));
                let x = ops.parameter(x)?;
                ops.linear(&x, &Arc::new(Linear::new(vec![first, second])))
            });
        }
    }

    /// One addition of all rows, one of a task that the batch has not, and two of tasks that it has: in a batch of one task, and in one of two
    /// whose rows lie mixed.
    #[test]
    fn additions_that_are_private_to_tasks_are_those_of_the_plain_reference() {
        let of = |task, rows: Vec<u32>| {
            let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[rows.len()])));
            TaskRows { task, rows, inputs, begins: None }
        };
        let several = Tasks::Several(vec![of(2, (0..30).chain(50..70).collect()), of(0, (30..50).collect())]);
        let weight = |seed, shape: &[usize]| Weight::new(&normal(seed, shape)).unwrap();
        for (tasks, own) in [(Tasks::One(1), [1, 1]), (several, [0, 2])] {
            let inputs = Inputs { tasks, ..Inputs::of_rows(Segments::packed(&[30, 20, 20])) };
            for rate in [0.0, 0.3] {
                let factors = |seed, rank| [(normal(seed, &[rank, 34]) * 0.3).unwrap(), normal(seed + 1, &[24, rank])];
                let [[a0, b0], [a1, b1], [a2, b2]] = [factors(3, 3), factors(5, 4), factors(7, 2)];
                let args = [normal(1, &[70, 34]), (normal(2, &[24, 34]) * 0.2).unwrap(), a0, b0, a1, b1, a2, b2];
                assert_tapes_on(&inputs, &args, |ops: &mut dyn Ops, [x, w, a0, b0, a1, b1, a2, b2]| {
                    let dropout = DropoutAt::new(rate, "addition");
                    let addition = |a: &Weight, b: &Weight, task| LowRank {
                        a: a.clone(),
                        b: b.clone(),
                        scale: 0.5,
                        dropout,
                        task,
                    };
                    let part = Part::new(w.clone(), None)
                        .with_low_rank(addition(a0, b0, None))
                        .with_low_rank(addition(&weight(20, &[3, 34]), &weight(21, &[24, 3]), Some(7)))
                        .with_low_rank(addition(a1, b1, Some(own[0])))
                        .with_low_rank(addition(a2, b2, Some(own[1])));
                    let x = ops.parameter(x)?;
                    ops.linear(&x, &Arc::new(Linear::new(vec![part])))
                });
            }
        }
    }

    #[test]
    fn a_private_addition_needs_a_batch_that_says_whose_its_rows_are() {
        let weight = |seed, shape: &[usize]| Weight::new(&normal(seed, shape)).unwrap();
        let dropout = DropoutAt::new(0.0, "addition");
        let addition = LowRank { a: weight(1, &[3, 34]), b: weight(2, &[24, 3]), scale: 1.0, dropout, task: Some(0) };
        let layer = Arc::new(Linear::new(vec![Part::new(weight(3, &[24, 34]), None).with_low_rank(addition)]));
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(Inputs::of_rows(Segments::packed(&[70]))));
        let x = tape.parameter(&weight(4, &[70, 34])).unwrap();
        let fault = tape.linear(&x, &layer).err().unwrap().to_string();
        assert!(fault.starts_with("an addition that is private to a task, in a batch that is of none"), "{fault}");
    }
}
