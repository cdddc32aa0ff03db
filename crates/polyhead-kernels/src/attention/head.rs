//! One head of one sequence: products of [elements](PackedElement), everything else in f32.
//!
//! Scores and probabilities exist for a block of queries at a time. In the backward pass `dS` and `P m` of [`CHUNK`] blocks are
//! kept, as elements across queries: so the products for dK and dV read them.

use super::added::{self, Added, GradientParts};
use super::{Task, soften, through_softmax};
use crate::gemm::{AccumulatorInit, MicroKernel, PackedB, Section, ViewA, Writer, add_to, section_into, tile_rows};
use std::ops::Range;

/// Queries whose probabilities are made at a time: two tiles of a product. Even, so that pairs do not cross blocks.
fn block<T: MicroKernel>() -> usize {
    2 * tile_rows::<T>()
}

/// Blocks of queries whose part of dK and dV is summed at a time: many enough that reading and writing the sums costs
/// little.
const CHUNK: usize = 8;

/// Keys whose part of dK and dV is summed over the queries that see some of them, where there is a window. Whole tiles of a product.
const KEYS: usize = 64;

/// The queries of a chunk, counted in it, that see some of these keys.
fn seen_by(task: Task, keys: Range<usize>, chunk: Range<usize>) -> Range<usize> {
    let window = task.window.unwrap_or(task.tokens);
    let (first, end) = (keys.start.saturating_sub(window).max(chunk.start), (keys.end + window).min(chunk.end));
    first - chunk.start..end.max(first) - chunk.start
}

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
    added: added::Scratch<T>,
}

/// Queries (0), keys (1) or values (2) of a head from a row on, in `[rows, 3 hidden]` as elements.
pub(super) fn part<T: MicroKernel>(task: Task, qkv: &[T], which: usize, row: usize) -> &[T] {
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

/// The keys that some queries see, and where each of these queries begins and ends among them.
#[derive(Clone, Copy)]
struct Reach {
    start: usize,
    end: usize,
}

impl Task {
    /// What so many queries from one on see together.
    fn reach(&self, first: usize, rows: usize) -> Reach {
        match self.window {
            None => Reach { start: 0, end: self.tokens },
            Some(window) => {
                Reach { start: first.saturating_sub(window), end: (first + rows + window).min(self.tokens) }
            }
        }
    }

    /// Makes what a query does not see unlikely: what is before and behind its window, and what fills the row up.
    fn hide(&self, row: &mut [f32], query: usize, Reach { start, end }: Reach, value: f32) {
        let own = self.reach(query, 1);
        row[..own.start - start].fill(value);
        row[own.end - start..end - start].fill(value);
        row[end - start..].fill(value);
    }
}

/// The scores that are made for a block of queries, of those with the keys that its chunk sees: where there is a window, those of the panels
/// that the block sees something of.
struct Made {
    /// Panels of the keys, and their columns in a row of scores.
    panels: Range<usize>,
    columns: Range<usize>,
    /// The keys themselves.
    keys: Reach,
}

impl Made {
    /// `width` is that of a panel, `line` the length of a row of scores.
    fn of(task: Task, chunk: Reach, block: Reach, width: usize, line: usize) -> Self {
        let panels = (block.start - chunk.start) / width..(block.end - chunk.start).div_ceil(width);
        let columns = match task.window {
            None => 0..line,
            Some(_) => panels.start * width..line.min(panels.end * width),
        };
        let keys = Reach { start: chunk.start + columns.start, end: chunk.end.min(chunk.start + columns.end) };
        Self { panels, columns, keys }
    }
}

/// Queries of a chunk: all of them where every query sees every key, so that keys are packed once.
fn chunk_of(task: Task, long: usize) -> usize {
    if task.window.is_some() { long } else { task.tokens }
}

pub(super) fn forward<T: MicroKernel>(
    task: Task,
    qkv: &[T],
    added: Option<&Added>,
    out: &Writer,
    statistics: &mut [f32],
    scratch: &mut Scratch<T>,
) {
    let Task { tokens: n, size, .. } = task;
    let (block, stride) = (block::<T>(), stride::<T>(task));
    let long = chunk_of(task, CHUNK * block);
    if let Some(added) = added {
        added.add(task, qkv, &mut scratch.added);
    }
    let Scratch { s, lines, out: o, added: to_add, .. } = scratch;
    o.resize(block * size, 0.0);
    for chunk in (0..n).step_by(long) {
        let reach = task.reach(chunk, long.min(n - chunk));
        let seen = reach.end - reach.start;
        let line = filled(seen);
        let elements = T::count(line);
        s.resize(block * line, 0.0);
        lines.resize(block * elements, T::default());
        let keys = PackedB::along_elements(part(task, qkv, 1, reach.start), seen, size, stride);
        let values = PackedB::across_elements(part(task, qkv, 2, reach.start), seen, size, stride);
        for first in (chunk..n.min(chunk + long)).step_by(block) {
            let rows = block.min(n.min(chunk + long) - first);
            let queries = ViewA::plain(part(task, qkv, 0, first), rows, stride);
            let Made { panels, columns, keys: made } = Made::of(task, reach, task.reach(first, rows), keys.width, line);
            let scores = Section { rows: 0..rows, panels, depth: 0..keys.depth };
            // SAFETY: s holds a block of rows of `line`.
            unsafe { section_into(queries, &keys, scores, AccumulatorInit::Zeros, s.as_mut_ptr(), line) };
            let each = s.chunks_exact_mut(line).zip(lines.chunks_exact_mut(elements));
            for (query, (s, elements)) in (first..first + rows).zip(each) {
                let s = &mut s[columns.clone()];
                if added.is_some() {
                    add_to(s, &to_add.added[query * n + made.start..][..made.end - made.start]);
                }
                // What is hidden has no probability.
                task.hide(s, query, made, f32::NEG_INFINITY);
                let start = (query * n + made.start) as u32;
                let (largest, inverse) = soften(s, task.scale, task.dropout, start);
                statistics[2 * query..][..2].copy_from_slice(&[largest, inverse]);
                T::along(&mut elements[T::count(columns.start)..], s);
            }
            let depth = T::count(columns.start)..values.depth.min(T::count(columns.end));
            let mixed = Section { rows: 0..rows, panels: 0..size.div_ceil(values.width), depth };
            let probabilities = ViewA::plain(lines, rows, elements);
            // SAFETY: o holds a block of rows of a head.
            unsafe { section_into(probabilities, &values, mixed, AccumulatorInit::Zeros, o.as_mut_ptr(), size) };
            task.end(first, &mut o[..rows * size], statistics, out);
        }
    }
}

pub(super) fn backward<T: MicroKernel>(
    task: Task,
    qkv: &[T],
    statistics: &[f32],
    dout: &[T],
    added: Option<(&Added, &GradientParts)>,
    dqkv: &Writer,
    scratch: &mut Scratch<T>,
) {
    let Task { tokens: n, size, hidden, .. } = task;
    let (stride, gradient_stride) = (stride::<T>(task), T::count(hidden));
    let block = block::<T>();
    let long = CHUNK * block;
    if let Some((added, _)) = added {
        added.add(task, qkv, &mut scratch.added);
        scratch.added.queries.resize(n * size, 0.0);
    }
    let Scratch { s, dp, pm, lines, ds_across, pm_across, out, dk, dv, added: to_add } = scratch;
    out.resize(block * size, 0.0);
    for x in [&mut *dk, &mut *dv] {
        x.clear();
        x.resize(n * size, 0.0);
    }
    let queries_from = |row: usize| part(task, qkv, 0, row);
    let gradient_from = |row: usize| &dout[(task.start + row) * gradient_stride + T::count(task.column)..];
    let mut packed = None;
    for chunk in (0..n).step_by(long) {
        let chunk_rows = long.min(n - chunk);
        let reach = task.reach(chunk, chunk_rows);
        let seen = reach.end - reach.start;
        let line = filled(seen);
        let elements = T::count(line);
        for x in [&mut *s, &mut *dp, &mut *pm] {
            x.resize(block * line, 0.0);
        }
        lines.resize(block * elements, T::default());
        for x in [&mut *ds_across, &mut *pm_across] {
            x.resize(T::count(long) * seen, T::default());
        }
        let (keys_along, values_along, keys) = match packed.take() {
            Some(panels) if task.window.is_none() => panels,
            _ => {
                let (k, v) = (part(task, qkv, 1, reach.start), part(task, qkv, 2, reach.start));
                (
                    PackedB::along_elements(k, seen, size, stride),
                    PackedB::along_elements(v, seen, size, stride),
                    PackedB::across_elements(k, seen, size, stride),
                )
            }
        };
        for first in (chunk..chunk + chunk_rows).step_by(block) {
            let rows = block.min(chunk + chunk_rows - first);
            let Made { panels, columns, keys: made } =
                Made::of(task, reach, task.reach(first, rows), keys_along.width, line);
            let count = made.end - made.start;
            let scores = Section { rows: 0..rows, panels, depth: 0..keys_along.depth };
            // SAFETY: s and dp hold a block of rows of `line`.
            unsafe {
                let queries = ViewA::plain(queries_from(first), rows, stride);
                section_into(queries, &keys_along, scores.clone(), AccumulatorInit::Zeros, s.as_mut_ptr(), line);
                let gradient = ViewA::plain(gradient_from(first), rows, gradient_stride);
                section_into(gradient, &values_along, scores, AccumulatorInit::Zeros, dp.as_mut_ptr(), line);
            }
            for row in 0..rows {
                let query = first + row;
                let of_row = row * line + columns.start..row * line + columns.end;
                let [s, dp, pm] = [&mut *s, &mut *dp, &mut *pm].map(|x| &mut x[of_row.clone()]);
                let to_add = added.map(|_| &mut to_add.added[query * n + made.start..][..count]);
                if let Some(to_add) = &to_add {
                    add_to(s, to_add);
                }
                task.hide(s, query, made, f32::NEG_INFINITY);
                dp[count..].fill(0.0);
                let (largest, inverse) = (statistics[2 * query], statistics[2 * query + 1]);
                let start = (query * n + made.start) as u32;
                through_softmax(s, dp, pm, largest, inverse, task.scale, task.dropout, start);
                // From here on it is the gradient of what was added.
                if let Some(to_add) = to_add {
                    to_add.copy_from_slice(&s[..count]);
                }
                T::along(&mut lines[row * elements + T::count(columns.start)..][..T::count(s.len())], s);
            }
            for row in (0..rows).step_by(T::DEPTH) {
                let at = (first - chunk + row) / T::DEPTH * seen;
                for (source, target) in [(&*s, &mut *ds_across), (&*pm, &mut *pm_across)] {
                    let of = |row: usize| &source[row * line + columns.start..][..count];
                    let target = &mut target[at..at + seen];
                    // The others of the chunk's keys, which these queries do not see.
                    target[..columns.start].fill(T::default());
                    target[columns.start + count..].fill(T::default());
                    let second = (row + 1 < rows).then(|| of(row + 1));
                    T::across(&mut target[columns.start..][..count], of(row), second);
                }
            }
            let depth = T::count(columns.start)..keys.depth.min(T::count(columns.end));
            let of_queries = Section { rows: 0..rows, panels: 0..size.div_ceil(keys.width), depth };
            let gradient = ViewA::plain(lines, rows, elements);
            // SAFETY: out holds a block of rows of a head.
            unsafe { section_into(gradient, &keys, of_queries, AccumulatorInit::Zeros, out.as_mut_ptr(), size) };
            match added {
                None => task.write(dqkv, first, 0, &out[..rows * size]),
                Some(_) => to_add.queries[first * size..][..rows * size].copy_from_slice(&out[..rows * size]),
            }
        }
        let queries = PackedB::across_elements(queries_from(chunk), chunk_rows, size, stride);
        let gradient = PackedB::across_elements(gradient_from(chunk), chunk_rows, size, gradient_stride);
        for (left, right, sums) in [(&*ds_across, queries, &mut *dk), (&*pm_across, gradient, &mut *dv)] {
            let left = ViewA::across(&left[..T::count(chunk_rows) * seen], seen, seen);
            let sums = sums[reach.start * size..].as_mut_ptr();
            let panels = 0..size.div_ceil(right.width);
            let step = if task.window.is_some() { KEYS } else { seen };
            for from in (0..seen).step_by(step) {
                let rows = from..seen.min(from + step);
                let depth = seen_by(task, reach.start + rows.start..reach.start + rows.end, chunk..chunk + chunk_rows);
                let depth = depth.start / T::DEPTH..T::count(depth.end);
                let section = Section { rows, panels: panels.clone(), depth };
                // SAFETY: the sums hold as many rows of a head from `reach.start` on as are seen.
                unsafe { section_into(left, &right, section, AccumulatorInit::There, sums, size) };
            }
        }
        packed = Some((keys_along, values_along, keys));
    }
    if let Some((added, gradients)) = added {
        added.backward(task, qkv, dk, gradients, to_add);
        task.write(dqkv, 0, 0, &to_add.queries[..n * size]);
    }
    for (which, values) in [(1, dk), (2, dv)] {
        task.write(dqkv, 0, which, &values[..n * size]);
    }
}
