//! One head of one sequence with products in bf16 and everything else in f32.
//!
//! Scores and probabilities exist for [`BLOCK`] queries at a time. On the way back `dS` and `P m` of the whole head are
//! kept rounded, as pairs across two queries: so the products for dK and dV read them.

use super::{Task, soften, through_softmax};
use crate::gemm::Writer;
use crate::gemm::bf16::{Left, Panels, product_into, round_across, round_along};

/// Queries whose probabilities are made at a time: two tiles of a product. Even, so that pairs do not cross blocks.
const BLOCK: usize = 16;

/// What one thread works in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[BLOCK, tokens]`, rows filled up to whole registers: loops over them have no remainder.
    s: Vec<f32>,
    dp: Vec<f32>,
    pm: Vec<f32>,
    /// Rounded, pairs along: `[BLOCK, tokens / 2]`.
    rounded: Vec<u32>,
    /// Pairs across: `[tokens / 2, tokens]`.
    ds_across: Vec<u32>,
    pm_across: Vec<u32>,
    /// `[tokens, d]`.
    out: Vec<f32>,
}

/// Queries (0), keys (1) or values (2) of a head from a row on, in `[rows, 3 hidden / 2]` pairs.
fn part(task: Task, qkv: &[u32], which: usize, row: usize) -> &[u32] {
    &qkv[(task.start + row) * stride(task) + (which * task.hidden + task.column) / 2..]
}

/// The length of a row of scores.
fn filled(tokens: usize) -> usize {
    tokens.next_multiple_of(16)
}

/// Pairs from one row to the next.
fn stride(task: Task) -> usize {
    (3 * task.hidden).div_ceil(2)
}

pub(super) fn forward(task: Task, qkv: &[u32], out: &Writer, statistics: &mut [f32], scratch: &mut Scratch) {
    let Task { tokens: n, size, .. } = task;
    let (line, stride) = (filled(n), stride(task));
    let Scratch { s, rounded, out: o, .. } = scratch;
    s.resize(BLOCK * line, 0.0);
    rounded.resize(BLOCK * line / 2, 0);
    o.resize(BLOCK * size, 0.0);
    let keys = Panels::along_rounded(part(task, qkv, 1, 0), n, size, stride);
    let values = Panels::across_rounded(part(task, qkv, 2, 0), n, size, stride);
    for first in (0..n).step_by(BLOCK) {
        let rows = BLOCK.min(n - first);
        // SAFETY: s holds BLOCK rows of `line`.
        unsafe { product_into(Left::plain(part(task, qkv, 0, first), rows, stride), &keys, s.as_mut_ptr(), line) };
        let lines = s.chunks_exact_mut(line).zip(rounded.chunks_exact_mut(line / 2));
        for (row, (s, rounded)) in lines.take(rows).enumerate() {
            // What fills the row up has a probability of next to nothing, and meets no value.
            s[n..].fill(f32::NEG_INFINITY);
            let (largest, inverse) = soften(s, task.scale(), task.dropout, ((first + row) * n) as u32);
            statistics[2 * (first + row)..][..2].copy_from_slice(&[largest, inverse]);
            round_along(rounded, s);
        }
        // SAFETY: o holds BLOCK rows of a head.
        unsafe { product_into(Left::plain(rounded, rows, line / 2), &values, o.as_mut_ptr(), size) };
        task.end(first, &mut o[..rows * size], statistics, out);
    }
}

pub(super) fn backward(
    task: Task,
    qkv: &[u32],
    statistics: &[f32],
    dout: &[u32],
    dqkv: &Writer,
    scratch: &mut Scratch,
) {
    let Task { tokens: n, size, hidden, .. } = task;
    let (line, half, stride) = (filled(n), n.div_ceil(2), stride(task));
    let Scratch { s, dp, pm, rounded, ds_across, pm_across, out } = scratch;
    for x in [&mut *s, &mut *dp, &mut *pm] {
        x.resize(BLOCK * line, 0.0);
    }
    rounded.resize(BLOCK * line / 2, 0);
    for x in [&mut *ds_across, &mut *pm_across] {
        x.resize(half * n, 0);
    }
    out.resize(n.max(BLOCK) * size, 0.0);
    let (q, k, v) = (part(task, qkv, 0, 0), part(task, qkv, 1, 0), part(task, qkv, 2, 0));
    let gradient_stride = hidden.div_ceil(2);
    let gradient = &dout[task.start * gradient_stride + task.column / 2..];
    let keys_along = Panels::along_rounded(k, n, size, stride);
    let values_along = Panels::along_rounded(v, n, size, stride);
    let keys = Panels::across_rounded(k, n, size, stride);
    for first in (0..n).step_by(BLOCK) {
        let rows = BLOCK.min(n - first);
        // SAFETY: s and dp hold BLOCK rows of `line`.
        unsafe {
            product_into(Left::plain(&q[first * stride..], rows, stride), &keys_along, s.as_mut_ptr(), line);
            let gradient = Left::plain(&gradient[first * gradient_stride..], rows, gradient_stride);
            product_into(gradient, &values_along, dp.as_mut_ptr(), line);
        }
        for row in 0..rows {
            let [s, dp, pm] = [&mut *s, &mut *dp, &mut *pm].map(|x| &mut x[row * line..(row + 1) * line]);
            s[n..].fill(f32::NEG_INFINITY);
            dp[n..].fill(0.0);
            let (largest, inverse) = (statistics[2 * (first + row)], statistics[2 * (first + row) + 1]);
            let start = ((first + row) * n) as u32;
            through_softmax(s, dp, pm, largest, inverse, task.scale(), task.dropout, start);
            round_along(&mut rounded[row * line / 2..(row + 1) * line / 2], s);
        }
        for row in (0..rows).step_by(2) {
            let pair = (first + row) / 2;
            for (source, target) in [(&*s, &mut *ds_across), (&*pm, &mut *pm_across)] {
                let odd = (row + 1 < rows).then(|| &source[(row + 1) * line..][..n]);
                round_across(&mut target[pair * n..(pair + 1) * n], &source[row * line..][..n], odd);
            }
        }
        // SAFETY: out holds BLOCK rows of a head.
        unsafe { product_into(Left::plain(rounded, rows, line / 2), &keys, out.as_mut_ptr(), size) };
        task.write(dqkv, first, 0, &out[..rows * size]);
    }
    let queries = Panels::across_rounded(q, n, size, stride);
    let gradient = Panels::across_rounded(gradient, n, size, gradient_stride);
    for (which, left, right) in [(1, ds_across, queries), (2, pm_across, gradient)] {
        // SAFETY: out holds n rows of a head.
        unsafe { product_into(Left::across(&left[..half * n], n), &right, out.as_mut_ptr(), size) };
        task.write(dqkv, 0, which, &out[..n * size]);
    }
}
