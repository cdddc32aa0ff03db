//! One head of one sequence in f32.

use super::{Task, soften, through_softmax};
use crate::gemm::{Strided, Writer, multiply};

/// Queries whose probabilities are made at a time.
const BLOCK: usize = 64;

/// What one thread works in.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[BLOCK, tokens]` three times, and results `[tokens, d]` three times.
    s: Vec<f32>,
    dp: Vec<f32>,
    pm: Vec<f32>,
    out: [Vec<f32>; 3],
}

/// Queries (0), keys (1) or values (2) of a head from a row on, with the distances within `[rows, 3 hidden]`.
fn part(task: Task, qkv: &[f32], which: usize, row: usize) -> Strided<*const f32> {
    let width = 3 * task.hidden;
    Strided(qkv[(task.start + row) * width + which * task.hidden + task.column..].as_ptr(), width as isize, 1)
}

fn turned<P>(Strided(pointer, row, column): Strided<P>) -> Strided<P> {
    Strided(pointer, column, row)
}

pub(super) fn forward(task: Task, qkv: &[f32], out: &Writer, statistics: &mut [f32], scratch: &mut Scratch) {
    let Task { tokens: n, size, .. } = task;
    let Scratch { s, out: [o, ..], .. } = scratch;
    s.resize(BLOCK * n, 0.0);
    o.resize(BLOCK * size, 0.0);
    for first in (0..n).step_by(BLOCK) {
        let rows = BLOCK.min(n - first);
        let block = Strided(s.as_mut_ptr(), n as isize, 1);
        // SAFETY: the operator checked that all rows of this sequence lie in qkv; s and o are ours.
        unsafe { multiply([rows, n, size], block, part(task, qkv, 0, first), turned(part(task, qkv, 1, 0)), false) };
        for (row, s) in s.chunks_exact_mut(n).take(rows).enumerate() {
            let (largest, inverse) = soften(s, task.scale(), task.dropout, ((first + row) * n) as u32);
            statistics[2 * (first + row)..][..2].copy_from_slice(&[largest, inverse]);
        }
        let p = Strided(s.as_ptr(), n as isize, 1);
        let target = Strided(o.as_mut_ptr(), size as isize, 1);
        // SAFETY: as above.
        unsafe { multiply([rows, size, n], target, p, part(task, qkv, 2, 0), false) };
        task.end(first, &mut o[..rows * size], statistics, out);
    }
}

pub(super) fn backward(
    task: Task,
    qkv: &[f32],
    statistics: &[f32],
    dout: &[f32],
    dqkv: &Writer,
    scratch: &mut Scratch,
) {
    let Task { tokens: n, size, hidden, .. } = task;
    let Scratch { s, dp, pm, out } = scratch;
    s.resize(BLOCK * n, 0.0);
    dp.resize(BLOCK * n, 0.0);
    pm.resize(BLOCK * n, 0.0);
    out.iter_mut().for_each(|out| out.resize(n * size, 0.0));
    for first in (0..n).step_by(BLOCK) {
        let rows = BLOCK.min(n - first);
        let gradient = dout[(task.start + first) * hidden + task.column..].as_ptr();
        let gradient = Strided(gradient, hidden as isize, 1);
        let q = part(task, qkv, 0, first);
        // SAFETY: the operator checked that all rows of this sequence lie in qkv and dout; the targets are ours.
        unsafe {
            let (s, dp) = (s.as_mut_ptr(), dp.as_mut_ptr());
            multiply([rows, n, size], Strided(s, n as isize, 1), q, turned(part(task, qkv, 1, 0)), false);
            multiply([rows, n, size], Strided(dp, n as isize, 1), gradient, turned(part(task, qkv, 2, 0)), false);
        }
        for row in 0..rows {
            let [s, dp, pm] = [&mut *s, &mut *dp, &mut *pm].map(|x| &mut x[row * n..(row + 1) * n]);
            let (largest, inverse) = (statistics[2 * (first + row)], statistics[2 * (first + row) + 1]);
            let start = ((first + row) * n) as u32;
            through_softmax(s, dp, pm, largest, inverse, task.scale(), task.dropout, start);
        }
        let [dq, dk, dv] = &mut *out;
        let target = |x: &mut [f32]| Strided(x.as_mut_ptr(), size as isize, 1);
        let (ds, pm) = (Strided(s.as_ptr(), n as isize, 1), Strided(pm.as_ptr(), n as isize, 1));
        // SAFETY: as above.
        unsafe {
            multiply([rows, size, n], target(&mut dq[first * size..]), ds, part(task, qkv, 1, 0), false);
            multiply([n, size, rows], target(dk), turned(ds), q, first > 0);
            multiply([n, size, rows], target(dv), turned(pm), gradient, first > 0);
        }
    }
    for (which, values) in out.iter().enumerate() {
        task.write(dqkv, 0, which, &values[..n * size]);
    }
}
