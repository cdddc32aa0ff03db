//! Multi-head self-attention over packed sequences (Vaswani et al., arXiv:1706.03762), with the projection to queries, keys
//! and values and with dropout inside.
//!
//! ```text
//! forward   [Q K V] = x Wᵀ + b                                            one product for all three
//!           S = Q Kᵀ / √d,  P = softmax(S),  O = (P m) V                  per sequence and head
//! backward  dV = (P m)ᵀ dO,  dP = (dO Vᵀ) m,  dS = P (dP - Σ dP P),  dQ = dS K / √d,  dK = dSᵀ Q / √d
//! ```
//!
//! x is `[rows, hidden]`; queries, keys and values lie side by side, `[rows, 3 hidden]`, each `[heads, d]`; O is
//! `[rows, hidden]`. A sequence attends to its own real tokens only; rows of padding come out as zeros. Probabilities are
//! made for a block of queries at a time, and made again in the backward pass from the largest score and the sum of each row:
//! what lives in between grows with the tokens, not with their square. Queries and keys may be turned before they meet (`turn.rs`), a window
//! may hide tokens that are far away (its keys alone are read), and numbers may be added to the scores, by distance (`added.rs`, one
//! `[n, n]` for each thread).

mod added;
mod head;
pub mod positions;
mod turn;

use crate::dropout::Dropout;
use crate::gemm::{Matrix, MicroKernel, StoreMatrix, Values, Writer, column_sums};
use crate::linear::Linear;
use crate::math::{dot, exp, max, simd, sum};
use crate::ops::{Attention, Disentangled, Positions};
use crate::pool::{for_each_chunk, for_each_of_init};
use crate::segments::{Segment, Segments};
use crate::storage::Parts;
use crate::tape::{GradientBuffers, Tape};
use crate::value::{Fused, Node, Rows, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use added::{Added, GradientParts};
use candle_core::{D, Result, Shape, Tensor};
use positions::PositionTensors;
use std::sync::Arc;
use turn::{Direction, Turn};

impl Tape {
    /// Attention of each sequence to itself; `qkv` projects to queries, keys and values side by side.
    pub(crate) fn fused_self_attention(&mut self, x: &Fused, qkv: &Arc<Linear>, attention: Attention) -> Result<Value> {
        let (rows, width) = (x.node.rows, qkv.outputs());
        let job = self.attention_job((rows, width), attention)?;
        let precision = qkv.precision(self.precision);
        let operand = qkv.operand(x.operand(precision), x.node.rows_of, &self.setting)?;
        let needs_gradient = x.node.needs_gradient || qkv.is_trained();
        let mut projected = Matrix::uninit(precision, rows, width);
        qkv.forward(&operand, &StoreMatrix { writer: projected.writer(), bias: qkv.bias()?.as_deref() })?;
        let (qkv, input, operand) = (qkv.clone(), x.node, qkv.kept(operand, x.remake.as_ref()));
        self.attended(projected, x.node.rows_of, needs_gradient, job, move |buffers, gradient| {
            let sums = if qkv.trains_a_bias() { column_sums(&gradient) } else { Vec::new() };
            qkv.backward(buffers, input, None, &operand, &gradient, &sums)
        })
    }

    /// The same of queries, keys and values that are there.
    pub(crate) fn fused_attention(&mut self, qkv: &Fused, attention: Attention) -> Result<Value> {
        let (rows, width) = (qkv.node.rows, qkv.node.columns);
        let job = self.attention_job((rows, width), attention)?;
        let projected = Matrix::rounded(self.precision, rows, width, &qkv.to_vec());
        let input = qkv.node;
        self.attended(projected, input.rows_of, input.needs_gradient, job, move |buffers, gradient| {
            let mut dx = Buffer::uninit(rows * width);
            for_each_chunk(&mut dx, width, 16, |row, dx| gradient.read(row, 0, dx));
            buffers.add(input, dx)
        })
    }

    /// What attention computes, of queries, keys and values of this shape.
    fn attention_job(&self, (rows, width): (usize, usize), attention: Attention) -> Result<Whole> {
        let Attention { heads, dropout, positions, window } = attention;
        let segments = self.setting.inputs.segments.clone();
        check((rows, width), &segments, attention)?;
        let turn = match positions {
            Positions::Rotary(base) => Some(Turn::new(&segments, width / 3 / heads, base)),
            _ => None,
        };
        let (added, sources) = added_of(positions, width / 3)?;
        let dropout = self.setting.pass.mask(dropout);
        Ok(Whole { job: Job { segments, heads, hidden: width / 3, dropout, window, added }, sources, turn })
    }

    /// Attention of projected queries, keys and values; `back` takes their gradient.
    fn attended(
        &mut self,
        mut projected: Matrix,
        rows_of: Rows,
        needs_gradient: bool,
        Whole { job, sources, turn }: Whole,
        back: impl FnOnce(&mut GradientBuffers, Matrix) -> Result<()> + Send + 'static,
    ) -> Result<Value> {
        let (rows, width) = (projected.rows, projected.columns);
        if let Some(turn) = &turn {
            turn.apply(&mut projected, &job, Direction::Forward);
        }
        let mut out = Matrix::uninit(projected.precision(), rows, job.hidden);
        // Of every row and head: the largest score, and one over the sum.
        let mut statistics = Buffer::uninit(rows * job.heads * 2);
        job.forward(&projected, &mut out, &mut statistics)?;
        let needs_gradient = self.trains() && (needs_gradient || sources.need_a_gradient());
        let out = self.inner(out, rows_of, needs_gradient);
        let output = out.node;
        self.record(output, move |buffers| {
            let gradient = buffers.take(output)?;
            let mut projected_gradient = Matrix::uninit(gradient.precision(), rows, width);
            let mut of_added = job.added.as_ref().map(|added| added.gradients(&job));
            {
                let parts = of_added.as_mut().map(added::Gradients::parts);
                job.backward(&projected, &statistics, &gradient, &mut projected_gradient, parts.as_ref())?;
            }
            if let (Some(added), Some(gradients)) = (&job.added, &of_added) {
                sources.gather(buffers, added.gather(&job, gradients))?;
            }
            drop((gradient, projected, statistics));
            if let Some(turn) = &turn {
                turn.apply(&mut projected_gradient, &job, Direction::Backward);
            }
            back(buffers, projected_gradient)
        });
        Ok(Value::Fused(out))
    }
}

/// All that attention needs besides queries, keys and values.
struct Whole {
    job: Job,
    sources: Sources,
    turn: Option<Turn>,
}

/// Refuses queries, keys and values of this shape that are not of the batch, or do not fit into the heads.
pub(crate) fn check(
    (rows, width): (usize, usize),
    segments: &Segments,
    Attention { heads, positions, .. }: Attention,
) -> Result<()> {
    if segments.rows() != rows || heads == 0 || !width.is_multiple_of(3 * heads) {
        candle_core::bail!("attention: [{rows}, {width}] for {} rows and {heads} heads", segments.rows());
    }
    if let Positions::Bias(table) = positions
        && *table.dims() != [positions::BIAS_BUCKETS, heads]
    {
        candle_core::bail!("attention: a table of biases {:?} for {heads} heads", table.dims());
    }
    if matches!(positions, Positions::Rotary(_)) && !(width / 3 / heads).is_multiple_of(2) {
        candle_core::bail!("attention: heads of an odd width ({}) can't be turned", width / 3 / heads);
    }
    Ok(())
}

/// Attention of packed `[rows, 3 hidden]` queries, keys and values in candle's own operators, sequence by sequence. `tensors` are those
/// of the positions.
pub(crate) fn plain(
    qkv: &Tensor,
    segments: &Segments,
    Attention { heads, positions, window, .. }: Attention,
    tensors: &PositionTensors,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let hidden = qkv.dim(1)? / 3;
    let size = hidden / heads;
    let mut parts = Vec::with_capacity(segments.len());
    for (index, Segment { start, rows, tokens }) in segments.iter().enumerate() {
        // [tokens, 3 hidden] -> three of [heads, tokens, size]
        let part = qkv.narrow(0, start, tokens)?;
        let of = |i: usize| {
            part.narrow(1, i * hidden, hidden)?.reshape((tokens, heads, size))?.transpose(0, 1)?.contiguous()
        };
        let (q, k, v) = (of(0)?, of(1)?, of(2)?);
        let mut scores = positions::scores(&q, &k, positions, tensors)?;
        if let Some(window) = window.filter(|window| *window + 1 < tokens) {
            scores = scores.broadcast_add(&positions::window(tokens, window, qkv.device())?)?;
        }
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let mut p = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        if let Some(dropout) = dropout {
            let shape = Shape::from((tokens, tokens));
            let mask = |head| dropout.of_head(index, heads, head).mask(&shape, qkv.device());
            p = p.mul(&Tensor::stack(&(0..heads).map(mask).collect::<Result<Vec<_>>>()?, 0)?)?;
        }
        let out = p.matmul(&v)?.transpose(0, 1)?.reshape((tokens, hidden))?;
        parts.push(out.pad_with_zeros(0, 0, rows - tokens)?);
    }
    Tensor::cat(&parts, 0)
}

/// Where what is added to scores comes from.
#[derive(Clone)]
enum Sources {
    Nothing,
    Table(Weight),
    Vectors { keys: Option<Node>, queries: Option<Node> },
}

/// What is added to scores, and where it comes from.
fn added_of(positions: Positions, hidden: usize) -> Result<(Option<Added>, Sources)> {
    Ok(match positions {
        Positions::InHiddenStates | Positions::Rotary(_) => (None, Sources::Nothing),
        Positions::Bias(table) => {
            let heads = table.dims().last().copied().unwrap_or(0);
            let added = Added::Bias { table: table.read(|values| Ok(values.to_vec()))?, heads };
            (Some(added), Sources::Table(table.clone()))
        }
        Positions::Disentangled(Disentangled { keys, queries, distances }) => {
            let numbers = |value: &Value| {
                let Node { rows, columns, .. } = value.fused()?.node;
                if (rows, columns) != (2 * distances.span, hidden) {
                    candle_core::bail!("attention: vectors [{rows}, {columns}] of {distances:?} for {hidden} columns");
                }
                Ok(value.fused()?.to_vec())
            };
            let node = |value: &Value| Ok::<_, candle_core::Error>(value.fused()?.node);
            let added = Added::Disentangled {
                keys: keys.map(numbers).transpose()?,
                queries: queries.map(numbers).transpose()?,
                distances,
            };
            let (keys, queries) = (keys.map(node).transpose()?, queries.map(node).transpose()?);
            (Some(added), Sources::Vectors { keys, queries })
        }
    })
}

impl Sources {
    fn need_a_gradient(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Table(table) => table.is_trained(),
            Self::Vectors { keys, queries } => keys.iter().chain(queries).any(|node| node.needs_gradient),
        }
    }

    fn gather(&self, buffers: &mut GradientBuffers, [first, second]: [Option<Buffer<f32>>; 2]) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Table(table) => match first {
                Some(gradient) if table.is_trained() => table.add_gradient(&gradient),
                _ => Ok(()),
            },
            Self::Vectors { keys, queries } => {
                for (node, gradient) in [(keys, first), (queries, second)] {
                    if let (Some(node), Some(gradient)) = (node, gradient) {
                        buffers.add(*node, gradient)?;
                    }
                }
                Ok(())
            }
        }
    }
}

struct Job {
    segments: Segments,
    heads: usize,
    hidden: usize,
    dropout: Option<Dropout>,
    /// How far apart tokens may be that attend to each other.
    window: Option<usize>,
    /// What is added to scores.
    added: Option<Added>,
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Task {
    /// The first row of its sequence.
    start: usize,
    tokens: usize,
    /// The width of a head, and the first column of this one in O.
    size: usize,
    column: usize,
    hidden: usize,
    /// Where its statistics begin.
    statistics: usize,
    dropout: Option<Dropout>,
    /// How far apart tokens may be that attend to each other, where some are farther apart.
    window: Option<usize>,
    /// What scores are multiplied with.
    scale: f32,
    /// Its number: that of its sequence times the heads, plus that of its head.
    number: usize,
    /// Where its gradients of vectors of distances begin.
    vectors: usize,
}

impl Task {
    /// Divides rows of `(exp m) V`, from the query `first` on, by the sums of their exponentials, and writes them.
    fn end(self, first: usize, o: &mut [f32], statistics: &[f32], out: &Writer) {
        for (row, o) in o.chunks_exact_mut(self.size).enumerate() {
            let inverse = statistics[2 * (first + row) + 1];
            o.iter_mut().for_each(|o| *o *= inverse);
        }
        self.write(out, first, 0, o);
    }

    /// Writes rows `[.., d]` of this head, from the token `first` on, into the part `which` of a row (of queries, keys and
    /// values; O has one part).
    fn write(self, target: &Writer, first: usize, which: usize, values: &[f32]) {
        for (row, values) in values.chunks_exact(self.size).enumerate() {
            // SAFETY: this task alone writes the columns of its head in the rows of its sequence.
            unsafe { target.write(self.start + first + row, which * self.hidden + self.column, values) };
        }
    }
}

impl Job {
    /// The long sequences first: the last tasks to end are then short ones.
    fn tasks(&self) -> Vec<Task> {
        let size = self.hidden / self.heads;
        let terms = self.added.as_ref().map_or(1, Added::terms);
        let scale = 1.0 / ((size * terms) as f32).sqrt();
        let mut before = 0;
        let mut tasks = Vec::with_capacity(self.segments.len() * self.heads);
        for (index, Segment { start, tokens, .. }) in self.segments.iter().enumerate() {
            for head in 0..self.heads {
                let dropout = self.dropout.map(|dropout| dropout.of_head(index, self.heads, head));
                let statistics = 2 * (start * self.heads + head * tokens);
                let window = self.window.filter(|window| window + 1 < tokens);
                let (column, hidden) = (head * size, self.hidden);
                let (number, vectors) = (index * self.heads + head, before + head * added::rows_of(tokens) * size);
                tasks.push(Task {
                    start,
                    tokens,
                    size,
                    column,
                    hidden,
                    statistics,
                    dropout,
                    window,
                    scale,
                    number,
                    vectors,
                });
            }
            before += added::rows_of(tokens) * self.hidden;
        }
        tasks.retain(|task| task.tokens > 0);
        tasks.sort_by_key(|task| std::cmp::Reverse(task.tokens));
        tasks
    }

    /// Heads that one thread takes at a time: of short sequences several, so that handing them out costs little.
    fn grain(&self) -> usize {
        128 / self.segments.lengths().iter().copied().max().unwrap_or(1).clamp(1, 128)
    }

    fn forward(&self, qkv: &Matrix, out: &mut Matrix, statistics: &mut [f32]) -> Result<()> {
        match &qkv.values {
            Values::F32(qkv) => self.forward_elements::<f32>(qkv, out, statistics),
            Values::Bf16(qkv) => self.forward_elements::<u32>(qkv, out, statistics),
        }
    }

    fn forward_elements<T: MicroKernel>(&self, qkv: &[T], out: &mut Matrix, statistics: &mut [f32]) -> Result<()> {
        self.check_elements::<T>()?;
        let (statistics, writer) = (Parts::new(statistics), out.writer());
        self.clear_padding(&writer, self.hidden);
        self.for_each_task(|task, scratch| {
            // SAFETY: each task has its own statistics.
            let statistics = unsafe { statistics.part(task.statistics, 2 * task.tokens) };
            head::forward(task, qkv, self.added.as_ref(), &writer, statistics, scratch);
        });
        Ok(())
    }

    fn backward(
        &self,
        qkv: &Matrix,
        statistics: &[f32],
        dout: &Matrix,
        dqkv: &mut Matrix,
        of_added: Option<&GradientParts>,
    ) -> Result<()> {
        match (&qkv.values, &dout.values) {
            (Values::F32(qkv), Values::F32(dout)) => {
                self.backward_elements::<f32>(qkv, statistics, dout, dqkv, of_added);
            }
            (Values::Bf16(qkv), Values::Bf16(dout)) => {
                self.backward_elements::<u32>(qkv, statistics, dout, dqkv, of_added);
            }
            _ => candle_core::bail!("attention: values and a gradient of different precision"),
        }
        Ok(())
    }

    fn backward_elements<T: MicroKernel>(
        &self,
        qkv: &[T],
        statistics: &[f32],
        dout: &[T],
        dqkv: &mut Matrix,
        of_added: Option<&GradientParts>,
    ) {
        let writer = dqkv.writer();
        self.clear_padding(&writer, 3 * self.hidden);
        self.for_each_task(|task, scratch| {
            let statistics = &statistics[task.statistics..][..2 * task.tokens];
            let added = self.added.as_ref().zip(of_added);
            head::backward(task, qkv, statistics, dout, added, &writer, scratch);
        });
    }

    fn for_each_task<T: MicroKernel>(&self, run: impl Fn(Task, &mut head::Scratch<T>) + Send + Sync) {
        let (tasks, grain) = (self.tasks(), self.grain());
        for_each_of_init(tasks.len(), grain, head::Scratch::default, |scratch, index| run(tasks[index], scratch));
    }

    /// Elements must not reach across heads.
    fn check_elements<T: MicroKernel>(&self) -> Result<()> {
        if (self.hidden / self.heads).is_multiple_of(T::DEPTH) {
            return Ok(());
        }
        candle_core::bail!("attention: heads of an odd width ({}) in bf16", self.hidden / self.heads)
    }

    fn clear_padding(&self, writer: &Writer, columns: usize) {
        let zeros = vec![0.0; columns];
        for Segment { start, rows, tokens } in self.segments.iter() {
            for row in start + tokens..start + rows {
                // SAFETY: no task writes rows of padding.
                unsafe { writer.write(row, 0, &zeros) };
            }
        }
    }
}

simd! {
    /// From scores to `exp(scale (s - max))`, masked after they were summed; returns the largest score and one over the sum.
    fn soften(row: &mut [f32], scale: f32, dropout: Option<Dropout>, start: u32) -> (f32, f32) {
        let largest = max(row);
        for s in row.iter_mut() {
            *s = exp((*s - largest) * scale);
        }
        let inverse = 1.0 / sum(row);
        if let Some(dropout) = dropout {
            let factor = dropout.factors(start);
            for (i, p) in row.iter_mut().enumerate() {
                *p *= factor(i as u32);
            }
        }
        (largest, inverse)
    }
}

simd! {
    /// From scores in s and `dO Vᵀ` in dp to `dS / √d` in s and `P m` in pm.
    fn through_softmax(
        s: &mut [f32], dp: &mut [f32], pm: &mut [f32], largest: f32, inverse: f32, scale: f32,
        dropout: Option<Dropout>, start: u32,
    ) {
        for s in s.iter_mut() {
            *s = exp((*s - largest) * scale) * inverse;
        }
        match dropout {
            None => pm.copy_from_slice(s),
            Some(dropout) => {
                let factor = dropout.factors(start);
                for (i, ((s, dp), pm)) in s.iter().zip(dp.iter_mut()).zip(pm).enumerate() {
                    let factor = factor(i as u32);
                    *dp *= factor;
                    *pm = s * factor;
                }
            }
        }
        let along = dot(dp, s);
        for (s, dp) in s.iter_mut().zip(dp.iter()) {
            *s *= (dp - along) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::positions::Distances;
    use super::*;
    use crate::gemm::Precision;
    use crate::ops::Ops;
    use crate::pass::{DropoutAt, Inputs, Pass};
    use crate::testing::{assert_tapes_on, normal, weights};
    use proptest::prelude::*;

    fn attention(heads: usize, rate: f64) -> Attention<'static> {
        Attention::plain(heads, DropoutAt::new(rate, "attention"))
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (segments, heads, hidden) in [
            (Segments::packed(&[1]), 3, 24),
            (Segments::packed(&[3, 1, 17, 40]), 3, 24),
            (Segments::packed(&[100, 37]), 2, 128),
            (Segments::padded(&[3, 1, 9], 5), 3, 24),
            (Segments::packed(&[512]), 1, 32),
        ] {
            for rate in [0.0, 0.1] {
                let args = [
                    normal(1, &[segments.rows(), 16]),
                    (normal(2, &[3 * hidden, 16]) * 0.3).unwrap(),
                    normal(3, &[3 * hidden]),
                ];
                assert_tapes_on(&Inputs::of_rows(segments.clone()), &args, |ops, [x, w, b]| {
                    let x = ops.parameter(x)?;
                    ops.self_attention(&x, &weights([(w, b)]), attention(heads, rate))
                });
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(60))]

        #[test]
        fn so_they_are_for_any_lengths_and_widths(
            lengths in proptest::collection::vec(1_usize..90, 1..5), padded in 0_usize..40, heads in 1_usize..5,
            half in 1_usize..26, inner in 1_usize..40, drop in 0.0..0.4,
        ) {
            let (segments, hidden) = (Segments::padded(&lengths, padded), heads * 2 * half);
            let args = [
                normal(1, &[segments.rows(), inner]),
                (normal(2, &[3 * hidden, inner]) * 0.2).unwrap(),
                (normal(3, &[3 * hidden]) * 0.2).unwrap(),
            ];
            assert_tapes_on(&Inputs::of_rows(segments), &args, |ops, [x, w, b]| {
                let x = ops.parameter(x)?;
                ops.self_attention(&x, &weights([(w, b)]), attention(heads, drop))
            });
        }
    }

    /// Distances that have rows of their own and that share one, of one term and of both.
    #[test]
    fn biases_and_vectors_of_distances_are_those_of_the_plain_reference() {
        for (segments, heads, size) in [
            (Segments::packed(&[1, 2, 40, 3]), 3, 8),
            (Segments::packed(&[150, 37]), 2, 16),
            (Segments::padded(&[3, 70, 9], 75), 2, 8),
        ] {
            let hidden = heads * size;
            let args = [
                normal(1, &[segments.rows(), 16]),
                (normal(2, &[3 * hidden, 16]) * 0.3).unwrap(),
                normal(3, &[3 * hidden]),
                normal(4, &[positions::BIAS_BUCKETS, heads]),
            ];
            for rate in [0.0, 0.1] {
                assert_tapes_on(&Inputs::of_rows(segments.clone()), &args, |ops, [x, w, b, table]| {
                    let x = ops.parameter(x)?;
                    let attention = Attention { positions: Positions::Bias(table), ..attention(heads, rate) };
                    ops.self_attention(&x, &weights([(w, b)]), attention)
                });
                let attention = attention(heads, rate);
                let vectors = |rows: usize| [5, 6].map(|seed| (normal(seed, &[rows, hidden]) * 0.5).unwrap());
                let [x, w, b, _] = args.clone();
                let distances = Distances { span: 16, farthest: Some(64) };
                let [keys, queries] = vectors(32);
                let both = [x.clone(), w.clone(), b.clone(), keys, queries];
                assert_tapes_on(&Inputs::of_rows(segments.clone()), &both, |ops, [x, w, b, keys, queries]| {
                    let x = ops.parameter(x)?;
                    let (keys, queries) = (ops.table(keys)?, ops.table(queries)?);
                    let vectors = Disentangled { keys: Some(&keys), queries: Some(&queries), distances };
                    let positions = Positions::Disentangled(vectors);
                    ops.self_attention(&x, &weights([(w, b)]), Attention { positions, ..attention })
                });
                for of_queries in [true, false] {
                    let distances = Distances { span: 20, farthest: of_queries.then_some(64) };
                    let one = [x.clone(), w.clone(), b.clone(), vectors(40)[0].clone()];
                    assert_tapes_on(&Inputs::of_rows(segments.clone()), &one, |ops, [x, w, b, vectors]| {
                        let (x, vectors) = (ops.parameter(x)?, ops.table(vectors)?);
                        let (keys, queries) = if of_queries { (None, Some(&vectors)) } else { (Some(&vectors), None) };
                        let positions = Positions::Disentangled(Disentangled { keys, queries, distances });
                        ops.self_attention(&x, &weights([(w, b)]), Attention { positions, ..attention })
                    });
                }
            }
        }
    }

    /// Windows narrower and wider than blocks and sequences, and queries and keys that are turned.
    #[test]
    fn windows_and_turned_queries_are_those_of_the_plain_reference() {
        for (segments, heads, hidden) in [
            (Segments::packed(&[1, 2, 40, 3]), 3, 24),
            (Segments::packed(&[300, 37]), 2, 32),
            (Segments::padded(&[3, 70, 9], 75), 3, 24),
        ] {
            for (window, base) in
                [(None, Some(100.0)), (Some(1), None), (Some(8), Some(10_000.0)), (Some(64), Some(50.0))]
            {
                for rate in [0.0, 0.1] {
                    let args = [
                        normal(1, &[segments.rows(), 16]),
                        (normal(2, &[3 * hidden, 16]) * 0.3).unwrap(),
                        normal(3, &[3 * hidden]),
                    ];
                    let positions = base.map_or(Positions::InHiddenStates, Positions::Rotary);
                    let attention = Attention { positions, window, ..attention(heads, rate) };
                    assert_tapes_on(&Inputs::of_rows(segments.clone()), &args, |ops, [x, w, b]| {
                        let x = ops.parameter(x)?;
                        ops.self_attention(&x, &weights([(w, b)]), attention)
                    });
                }
            }
        }
    }

    #[test]
    fn queries_keys_and_values_of_three_layers_are_those_of_one() {
        let segments = Segments::packed(&[5, 9]);
        let parts: Vec<Tensor> =
            (0..3).flat_map(|i| [(normal(i, &[8, 6]) * 0.3).unwrap(), normal(9 + i, &[8])]).collect();
        let args: [Tensor; 7] = std::array::from_fn(|i| if i == 6 { normal(7, &[14, 6]) } else { parts[i].clone() });
        assert_tapes_on(&Inputs::of_rows(segments), &args, |ops, [qw, qb, kw, kb, vw, vb, x]| {
            let x = ops.parameter(x)?;
            ops.self_attention(&x, &weights([(qw, qb), (kw, kb), (vw, vb)]), attention(2, 0.0))
        });
    }

    #[test]
    fn neighbours_in_the_batch_change_nothing() {
        let args = [normal(2, &[36, 10]), normal(3, &[36])].map(|arg| Weight::new(&arg).unwrap());
        let layer = weights([(&args[0], &args[1])]);
        for precision in [Precision::F32, Precision::Bf16] {
            let run = |x: &Tensor, lengths: &[usize]| {
                let inputs = Inputs::of_rows(Segments::packed(lengths));
                let mut tape = Tape::new(precision, Pass::Evaluate, Arc::new(inputs));
                let x = tape.constant(x).unwrap();
                tape.self_attention(&x, &layer, attention(2, 0.0)).unwrap().to_tensor().unwrap()
            };
            let x = normal(1, &[20, 10]);
            let alone = run(&x.narrow(0, 5, 8).unwrap(), &[8]);
            let middle = run(&x, &[5, 8, 7]).narrow(0, 5, 8).unwrap();
            assert_eq!(middle.to_vec2::<f32>().unwrap(), alone.to_vec2::<f32>().unwrap());
        }
    }
}
