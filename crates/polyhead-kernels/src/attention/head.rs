//! One head of one sequence: products of [elements](PackedElement), everything else in f32.
//!
//! Scores and probabilities exist for a block of queries at a time. In the backward pass `dS` and `P m` of [`CHUNK`] blocks are
//! kept, as elements across queries: so the products for dK and dV read them.

use super::{Task, soften, through_softmax};
use crate::gemm::{AccumulatorInit, MicroKernel, PackedB, ViewA, Writer, product_into, tile_rows};

/// Queries whose probabilities are made at a time: two tiles of a product. Even, so that pairs do not cross blocks.
fn block<T: MicroKernel>() -> usize {
    2 * tile_rows::<T>()
}

/// Blocks of queries whose part of dK and dV is summed at a time: many enough that reading and writing the sums costs
/// little.
const CHUNK: usize = 8;

/// What one thread works in.
#[derive(Default)]
pub(super) struct Scratch<T> {
    /// `[block, tokens]`, rows filled up to whole registers: loops over them have no remainder.
    s: Vec<f32>,
    dp: Vec<f32>,
    pm: Vec<f32>,
    /// The same in elements along.
    lines: Vec<T>,
    /// Elements across: `[chunk, tokens]`.
    ds_across: Vec<T>,
    pm_across: Vec<T>,
    /// `[block, d]`: O, or dQ.
    out: Vec<f32>,
    /// `[tokens, d]`.
    dk: Vec<f32>,
    dv: Vec<f32>,
}

/// Queries (0), keys (1) or values (2) of a head from a row on, in `[rows, 3 hidden]` as elements.
fn part<T: MicroKernel>(task: Task, qkv: &[T], which: usize, row: usize) -> &[T] {
    let from = (task.start + row) * stride::<T>(task) + T::count(which * task.hidden + task.column);
    &qkv[from..]
}

/// The length of a row of scores.
fn filled(tokens: usize) -> usize {
    tokens.next_multiple_of(16)
}

/// Elements from one row to the next.
fn stride<T: MicroKernel>(task: Task) -> usize {
    T::count(3 * task.hidden)
}

pub(super) fn forward<T: MicroKernel>(
    task: Task,
    qkv: &[T],
    out: &Writer,
    statistics: &mut [f32],
    scratch: &mut Scratch<T>,
) {
    let Task { tokens: n, size, .. } = task;
    let (block, line, stride) = (block::<T>(), filled(n), stride::<T>(task));
    let elements = T::count(line);
    let Scratch { s, lines, out: o, .. } = scratch;
    s.resize(block * line, 0.0);
    lines.resize(block * elements, T::default());
    o.resize(block * size, 0.0);
    let keys = PackedB::along_elements(part(task, qkv, 1, 0), n, size, stride);
    let values = PackedB::across_elements(part(task, qkv, 2, 0), n, size, stride);
    for first in (0..n).step_by(block) {
        let rows = block.min(n - first);
        let queries = ViewA::plain(part(task, qkv, 0, first), rows, stride);
        // SAFETY: s holds a block of rows of `line`.
        unsafe { product_into(queries, &keys, AccumulatorInit::Zeros, s.as_mut_ptr(), line) };
        for (row, (s, elements)) in
            s.chunks_exact_mut(line).zip(lines.chunks_exact_mut(elements)).take(rows).enumerate()
        {
            // What fills the row up has a probability of next to nothing, and meets no value.
            s[n..].fill(f32::NEG_INFINITY);
            let (largest, inverse) = soften(s, task.scale(), task.dropout, ((first + row) * n) as u32);
            statistics[2 * (first + row)..][..2].copy_from_slice(&[largest, inverse]);
            T::along(elements, s);
        }
        // SAFETY: o holds a block of rows of a head.
        unsafe {
            product_into(ViewA::plain(lines, rows, elements), &values, AccumulatorInit::Zeros, o.as_mut_ptr(), size)
        };
        task.end(first, &mut o[..rows * size], statistics, out);
    }
}

pub(super) fn backward<T: MicroKernel>(
    task: Task,
    qkv: &[T],
    statistics: &[f32],
    dout: &[T],
    dqkv: &Writer,
    scratch: &mut Scratch<T>,
) {
    let Task { tokens: n, size, hidden, .. } = task;
    let (line, stride, gradient_stride) = (filled(n), stride::<T>(task), T::count(hidden));
    let (block, elements) = (block::<T>(), T::count(line));
    let long = CHUNK * block;
    let Scratch { s, dp, pm, lines, ds_across, pm_across, out, dk, dv } = scratch;
    for x in [&mut *s, &mut *dp, &mut *pm] {
        x.resize(block * line, 0.0);
    }
    lines.resize(block * elements, T::default());
    for x in [&mut *ds_across, &mut *pm_across] {
        x.resize(T::count(long) * n, T::default());
    }
    out.resize(block * size, 0.0);
    for x in [&mut *dk, &mut *dv] {
        x.resize(n * size, 0.0);
    }
    let queries_from = |row: usize| part(task, qkv, 0, row);
    let gradient_from = |row: usize| &dout[(task.start + row) * gradient_stride + T::count(task.column)..];
    let (k, v) = (part(task, qkv, 1, 0), part(task, qkv, 2, 0));
    let keys_along = PackedB::along_elements(k, n, size, stride);
    let values_along = PackedB::along_elements(v, n, size, stride);
    let keys = PackedB::across_elements(k, n, size, stride);
    for chunk in (0..n).step_by(long) {
        let chunk_rows = long.min(n - chunk);
        for first in (chunk..chunk + chunk_rows).step_by(block) {
            let rows = block.min(n - first);
            // SAFETY: s and dp hold a block of rows of `line`.
            unsafe {
                let queries = ViewA::plain(queries_from(first), rows, stride);
                product_into(queries, &keys_along, AccumulatorInit::Zeros, s.as_mut_ptr(), line);
                let gradient = ViewA::plain(gradient_from(first), rows, gradient_stride);
                product_into(gradient, &values_along, AccumulatorInit::Zeros, dp.as_mut_ptr(), line);
            }
            for row in 0..rows {
                let [s, dp, pm] = [&mut *s, &mut *dp, &mut *pm].map(|x| &mut x[row * line..(row + 1) * line]);
                s[n..].fill(f32::NEG_INFINITY);
                dp[n..].fill(0.0);
                let (largest, inverse) = (statistics[2 * (first + row)], statistics[2 * (first + row) + 1]);
                let start = ((first + row) * n) as u32;
                through_softmax(s, dp, pm, largest, inverse, task.scale(), task.dropout, start);
                T::along(&mut lines[row * elements..(row + 1) * elements], s);
            }
            for row in (0..rows).step_by(T::DEPTH) {
                let at = (first - chunk + row) / T::DEPTH * n;
                for (source, target) in [(&*s, &mut *ds_across), (&*pm, &mut *pm_across)] {
                    let second = (row + 1 < rows).then(|| &source[(row + 1) * line..][..n]);
                    T::across(&mut target[at..at + n], &source[row * line..][..n], second);
                }
            }
            // SAFETY: out holds a block of rows of a head.
            unsafe {
                product_into(ViewA::plain(lines, rows, elements), &keys, AccumulatorInit::Zeros, out.as_mut_ptr(), size)
            };
            task.write(dqkv, first, 0, &out[..rows * size]);
        }
        let begin = if chunk == 0 { AccumulatorInit::Zeros } else { AccumulatorInit::There };
        let queries = PackedB::across_elements(queries_from(chunk), chunk_rows, size, stride);
        let gradient = PackedB::across_elements(gradient_from(chunk), chunk_rows, size, gradient_stride);
        for (left, right, sums) in [(&*ds_across, queries, &mut *dk), (&*pm_across, gradient, &mut *dv)] {
            let left = ViewA::across(&left[..T::count(chunk_rows) * n], n);
            // SAFETY: the sums hold n rows of a head.
            unsafe { product_into(left, &right, begin, sums.as_mut_ptr(), size) };
        }
    }
    for (which, values) in [(1, dk), (2, dv)] {
        task.write(dqkv, 0, which, &values[..n * size]);
    }
}
