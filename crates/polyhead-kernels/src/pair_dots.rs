//! Dot products of the rows of a pair, several for each pair: the bilinear part of a biaffine classifier (Dozat and Manning,
//! 2017, <https://arxiv.org/abs/1611.01734>).
//!
//! ```text
//! forward   z[p, k] = x[i, block k] · y[j]            x [ranges, outputs * width] in blocks of y's width, y [ranges, width],
//!                                                     pair p = (i, j) of one sequence, z [pairs, outputs]
//! backward  dx[i, block k] += dz[p, k] y[j]           dy[j] += Σ_k dz[p, k] x[i, block k], in the order of p
//! ```
//!
//! With `x = h Wᵀ + b` of a linear layer that is `hᵢᵀ W_kᵀ yⱼ + b_k · yⱼ`: no row is ever copied for a pair, of which a sequence
//! of n words has n².

use crate::gemm::Matrix;
use crate::math::{dot, simd};
use crate::pass::{Inputs, Items};
use crate::plain::rows_of;
use crate::pool::for_each_chunk;
use crate::storage::Parts;
use crate::tape::Tape;
use crate::value::{Fused, Rows, Value};
use crate::workspace::Buffer;
use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// So many pairs are one piece of parallel work.
const TOGETHER: usize = 64;

/// Refuses values whose rows are not the ranges of the batch, and pairs that leave their sequence. Returns the outputs of a pair.
pub(crate) fn outputs(inputs: &Inputs, [x, y]: [&Value; 2], columns: [usize; 2]) -> Result<usize> {
    if let Some(other) = [x, y].into_iter().find(|value| value.rows_of() != Rows::Ranges) {
        candle_core::bail!("dot products are of rows that are {:?}, found {:?}", Rows::Ranges, other.rows_of());
    }
    let (ranges, pairs) = (&inputs.ranges, &inputs.pairs);
    let counts = [x.rows()?, y.rows()?];
    let whole = |items: &Items| items.segments.rows() == items.items.len();
    if counts != [ranges.items.len(); 2]
        || ranges.segments.len() != pairs.segments.len()
        || ![ranges, pairs].into_iter().all(whole)
    {
        candle_core::bail!("dot products of {counts:?} rows in a batch of {} ranges", ranges.items.len());
    }
    for (own, pair) in ranges.segments.iter().zip(pairs.segments.iter()) {
        let of_sequence = |&range: &u32| (own.start..own.start + own.rows).contains(&(range as usize));
        let all = pairs.items.get(pair.start..pair.start + pair.rows).unwrap_or(&[]);
        if let Some((first, second)) = all.iter().find(|(first, second)| !of_sequence(first) || !of_sequence(second)) {
            candle_core::bail!("the pair {first}, {second} of a sequence with {} ranges from {}", own.rows, own.start);
        }
    }
    let [of_x, width] = columns;
    if width == 0 || of_x % width != 0 {
        candle_core::bail!("dot products of {of_x} columns with {width}");
    }
    Ok(of_x / width)
}

/// The same in candle's own operators: all products of a sequence, of which its pairs are chosen.
pub(crate) fn plain(x: &Tensor, y: &Tensor, inputs: &Inputs, outputs: usize) -> Result<Tensor> {
    let width = y.dim(1)?;
    let mut parts = Vec::new();
    for (ranges, pairs) in inputs.ranges.segments.iter().zip(inputs.pairs.segments.iter()) {
        if pairs.rows == 0 {
            continue;
        }
        let (start, count) = (ranges.start as u32, ranges.rows);
        let x = x.narrow(0, ranges.start, count)?.reshape((count * outputs, width))?;
        let all = x.matmul(&y.narrow(0, ranges.start, count)?.t()?)?;
        let all =
            all.reshape((count, outputs, count))?.transpose(1, 2)?.contiguous()?.reshape((count * count, outputs))?;
        let own = &inputs.pairs.items[pairs.start..pairs.start + pairs.rows];
        let numbers: Vec<u32> =
            own.iter().map(|(first, second)| (first - start) * count as u32 + second - start).collect();
        parts.push(rows_of(&all, &numbers)?);
    }
    if parts.is_empty() {
        return Tensor::zeros((0, outputs), DType::F32, x.device());
    }
    Tensor::cat(&parts, 0)
}

simd! {
    /// The products of one pair.
    fn products(x: &[f32], y: &[f32], z: &mut [f32]) {
        for (z, x) in z.iter_mut().zip(x.chunks_exact(y.len())) {
            *z = dot(x, y);
        }
    }
}

simd! {
    /// What the gradients of one pair's products add to those of its rows. Most products of a sequence are in no loss: theirs is 0.
    fn add_gradients(dz: &[f32], x: &[f32], y: &[f32], dx: &mut [f32], dy: &mut [f32]) {
        let blocks = x.chunks_exact(y.len()).zip(dx.chunks_exact_mut(y.len()));
        for (&dz, (x, dx)) in dz.iter().zip(blocks).filter(|(dz, _)| **dz != 0.0) {
            for ((dx, dy), (x, y)) in dx.iter_mut().zip(dy.iter_mut()).zip(x.iter().zip(y)) {
                *dx = dz.mul_add(*y, *dx);
                *dy = dz.mul_add(*x, *dy);
            }
        }
    }
}

impl Tape {
    /// So many dot products of each pair of the batch.
    pub(crate) fn fused_pair_dots(&mut self, x: &Fused, y: &Fused, outputs: usize) -> Result<Value> {
        let inputs = self.setting.inputs.clone();
        let (of_x, width) = (x.node.columns, y.node.columns);
        let (xs, ys, pairs) = (x.floats()?, y.floats()?, &inputs.pairs.items);
        let mut z = Buffer::uninit(pairs.len() * outputs);
        for_each_chunk(&mut z, TOGETHER * outputs, 1, |index, z| {
            let pairs = &pairs[index * TOGETHER..pairs.len().min((index + 1) * TOGETHER)];
            for (z, &(first, second)) in z.chunks_exact_mut(outputs.max(1)).zip(pairs) {
                products(row_of(xs, first, of_x), row_of(ys, second, width), z);
            }
        });
        let needs_gradient = self.trains() && (x.node.needs_gradient || y.node.needs_gradient);
        let z = self.hidden(Matrix::f32(pairs.len(), outputs, z), None, Rows::Pairs, needs_gradient);
        let (x, y, output) = (x.clone(), y.clone(), z.node);
        self.record(output, move |buffers| {
            let dz = buffers.take_hidden(output)?;
            let (xs, ys, ranges) = (x.floats()?, y.floats()?, inputs.ranges.items.len());
            let (mut dx, mut dy) = (Buffer::uninit(ranges * of_x), Buffer::uninit(ranges * width));
            let (of_dx, of_dy) = (Parts::new(&mut dx), Parts::new(&mut dy));
            let sequences = inputs.ranges.segments.iter().zip(inputs.pairs.segments.iter());
            sequences.collect::<Vec<_>>().into_par_iter().for_each(|(own, pairs)| {
                // SAFETY: the ranges of a sequence are its own, and its pairs are of them: `outputs` has seen to it.
                let (dx, dy) = unsafe {
                    (of_dx.part(own.start * of_x, own.rows * of_x), of_dy.part(own.start * width, own.rows * width))
                };
                dx.fill(0.0);
                dy.fill(0.0);
                for pair in pairs.start..pairs.start + pairs.rows {
                    let (first, second) = inputs.pairs.items[pair];
                    let dx = &mut dx[(first as usize - own.start) * of_x..][..of_x];
                    let dy = &mut dy[(second as usize - own.start) * width..][..width];
                    let dz = &dz[pair * outputs..][..outputs];
                    add_gradients(dz, row_of(xs, first, of_x), row_of(ys, second, width), dx, dy);
                }
            });
            buffers.add(x.node, dx)?;
            buffers.add(y.node, dy)
        });
        Ok(Value::Fused(z))
    }
}

/// A row of a value.
fn row_of(values: &[f32], row: u32, columns: usize) -> &[f32] {
    &values[row as usize * columns..][..columns]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weight;
    use crate::gemm::Precision;
    use crate::linear::{Linear, Part};
    use crate::ops::Ops;
    use crate::pass::{DropoutAt, Index, Pass};
    use crate::plain::Plain;
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::testing::{assert_same_on_every_instruction_set, assert_tapes_on, flat, normal};
    use std::sync::Arc;

    /// Three sequences: pairs in any order, one of them twice, one of a range with itself; a sequence without pairs.
    fn inputs() -> Inputs {
        let ranges = Items {
            items: vec![(0, 1), (2, 3), (1, 2), (4, 6), (6, 7), (5, 7)],
            segments: Segments::packed(&[3, 1, 2]),
        };
        let pairs = Items {
            items: vec![(2, 0), (0, 1), (2, 0), (1, 1), (4, 5), (5, 4)],
            segments: Segments::packed(&[4, 0, 2]),
        };
        Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[4, 1, 2])) }
    }

    /// A layer of a head, which is in f32 in any pass.
    fn layer(weight: &Weight, bias: &Weight) -> Arc<Linear> {
        let part = Part::new(weight.clone(), Some(bias.clone()));
        Arc::new(Linear::new(vec![part]).in_precision(Precision::F32))
    }

    /// A biaffine classifier: both sides of a pair through layers of their own, products, and what the first side says alone.
    fn biaffine(ops: &mut dyn Ops, args: [&Weight; 7]) -> Result<Value> {
        let [x, first, first_b, second, second_b, own, own_b] = args;
        let x = ops.parameter(x)?;
        let words = ops.select_rows(&x, Index::RangeStarts)?;
        let (one, other) = (ops.linear(&words, &layer(first, first_b))?, ops.linear(&words, &layer(second, second_b))?);
        let other = ops.dropout(&other, DropoutAt::new(0.2, "other"))?;
        let products = ops.pair_dots(&one, &other)?;
        let own = ops.linear(&words, &layer(own, own_b))?;
        let own = ops.select_rows(&own, Index::PairFirsts)?;
        ops.add(&products, &own)
    }

    fn args(outputs: usize, width: usize) -> [Tensor; 7] {
        let (of_x, hidden) = (outputs * width, 6);
        [
            normal(1, &[7, hidden]),
            normal(2, &[of_x, hidden]),
            normal(3, &[of_x]),
            normal(4, &[width, hidden]),
            normal(5, &[width]),
            normal(6, &[outputs, hidden]),
            normal(7, &[outputs]),
        ]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (outputs, width) in [(1, 5), (3, 1), (4, 19), (2, 32)] {
            assert_tapes_on(&inputs(), &args(outputs, width), biaffine);
        }
    }

    #[test]
    fn a_product_is_that_of_the_block_of_its_output() {
        let x = Tensor::new(&[[1.0_f32, 2.0, 3.0, 4.0], [0.5, -1.0, 0.0, 2.0]], &candle_core::Device::Cpu).unwrap();
        let y = Tensor::new(&[[1.0_f32, 1.0], [10.0, -1.0]], &candle_core::Device::Cpu).unwrap();
        let ranges = Items { items: vec![(0, 1), (1, 2)], segments: Segments::packed(&[2]) };
        let pairs = Items { items: vec![(0, 1), (1, 0)], segments: Segments::packed(&[2]) };
        let inputs = Arc::new(Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[2])) });
        let of = |ops: &mut dyn Ops| {
            let [x, y] = [&x, &y].map(|value| {
                let tokens = ops.parameter(&Weight::new(value).unwrap()).unwrap();
                ops.select_rows(&tokens, Index::RangeStarts).unwrap()
            });
            let z = ops.pair_dots(&x, &y).unwrap();
            assert_eq!(z.rows_of(), Rows::Pairs);
            flat(&z.to_tensor().unwrap())
        };
        let want = [10.0 - 2.0, 30.0 - 4.0, 0.5 - 1.0, 0.0 + 2.0];
        assert_eq!(of(&mut Tape::new(Precision::F32, Pass::Evaluate, inputs.clone())), want);
        assert_eq!(of(&mut Plain::new(Pass::Evaluate, inputs)), want);
    }

    #[test]
    fn there_and_back_has_the_same_bits_on_every_instruction_set() {
        assert_same_on_every_instruction_set(|| {
            let weights = args(3, 37).map(|arg| Weight::new(&arg).unwrap());
            let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(2)), Arc::new(inputs()));
            let z = biaffine(&mut tape, weights.each_ref()).unwrap();
            let z = tape.finish(&[z]).unwrap().remove(0);
            z.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let gradients = weights.iter().map(|weight| {
                let gradient = weight.take_gradient().unwrap();
                flat(&gradient.to_tensor(weight.dims()).unwrap())
            });
            std::iter::once(flat(&z)).chain(gradients).flatten().collect()
        });
    }

    #[test]
    fn a_batch_without_a_pair_has_no_row() {
        let ranges = Items { items: vec![(0, 1)], segments: Segments::packed(&[1]) };
        let pairs = Items { items: Vec::new(), segments: Segments::packed(&[0]) };
        let inputs = Arc::new(Inputs { ranges, pairs, ..Inputs::of_rows(Segments::packed(&[7])) });
        let weights = args(3, 2).map(|arg| Weight::new(&arg).unwrap());
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, inputs.clone());
        let mut plain = Plain::new(Pass::Evaluate, inputs);
        for ops in [&mut tape as &mut dyn Ops, &mut plain] {
            assert_eq!(biaffine(ops, weights.each_ref()).unwrap().to_tensor().unwrap().dims(), [0, 3]);
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let fault = |inputs: Inputs, columns: [usize; 2]| {
            let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs));
            let [x, y] = columns.map(|columns| {
                let tokens = tape.parameter(&Weight::new(&normal(1, &[7, columns])).unwrap()).unwrap();
                tape.select_rows(&tokens, Index::RangeStarts).unwrap()
            });
            tape.pair_dots(&x, &y).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(fault(inputs(), [6, 3]), "");
        assert!(fault(inputs(), [7, 3]).starts_with("dot products of 7 columns with 3"));
        let mut astray = inputs();
        astray.pairs.items[5] = (5, 2);
        let said = fault(astray, [6, 3]);
        assert!(said.starts_with("the pair 5, 2 of a sequence with 2 ranges from 4"), "{said}");
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs()));
        let tokens = tape.parameter(&Weight::new(&normal(1, &[6, 4])).unwrap()).unwrap();
        let said = tape.pair_dots(&tokens, &tokens).err().unwrap().to_string();
        assert!(said.starts_with("dot products are of rows that are Ranges, found Tokens"), "{said}");
    }
}
