//! Rotary positions (Su et al., arXiv:2104.09864): queries and keys are turned where they lie, and their gradients turned back.
//!
//! ```text
//! forward   [a b] -> [a cos - b sin,  b cos + a sin]      a, b the halves of each head of Q and K, the angles those of its position
//! backward  [a b] -> [a cos + b sin,  b cos - a sin]
//! ```

use super::{Job, positions::angles};
use crate::gemm::Matrix;
use crate::math::simd;
use crate::pool::for_each_of_init;
use crate::segments::{Segment, Segments};

/// The angles of all positions of a batch.
pub(super) struct Turn {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// Half of the width of a head.
    half: usize,
}

/// Which way is turned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

impl Turn {
    /// For the longest of these sequences, of heads of this width.
    pub fn new(segments: &Segments, size: usize, base: f64) -> Self {
        let longest = segments.lengths().iter().copied().max().unwrap_or(0);
        let [cosines, sines] = angles(longest, size, base);
        Self { cosines, sines, half: size / 2 }
    }

    /// Turns queries and keys of `[rows, 3 hidden]`.
    pub fn apply(&self, qkv: &mut Matrix, job: &Job, direction: Direction) {
        let mut position_of = vec![None; qkv.rows];
        for Segment { start, tokens, .. } in job.segments.iter() {
            for (position, slot) in position_of.iter_mut().skip(start).take(tokens).enumerate() {
                *slot = Some(position);
            }
        }
        let (half, both) = (self.half, 2 * job.hidden);
        /// Rows that a thread takes at a time.
        const TOGETHER: usize = 16;
        // Each thread reads and writes whole rows of its own.
        let shared = qkv.writer();
        for_each_of_init(
            position_of.len(),
            TOGETHER,
            || vec![0.0; both],
            |values, row| {
                let Some(position) = position_of[row] else { return };
                let [cosines, sines] = [&self.cosines, &self.sines].map(|all| &all[position * half..][..half]);
                // SAFETY: this task alone reads and writes this row.
                unsafe { shared.read(row, 0, values) };
                for head in values.chunks_exact_mut(2 * half) {
                    let (a, b) = head.split_at_mut(half);
                    match direction {
                        Direction::Forward => turn(a, b, cosines, sines),
                        Direction::Backward => turn(b, a, cosines, sines),
                    }
                }
                // SAFETY: as above.
                unsafe { shared.write(row, 0, values) };
            },
        );
    }
}

simd! {
    fn turn(a: &mut [f32], b: &mut [f32], cosines: &[f32], sines: &[f32]) {
        for (((a, b), cosine), sine) in a.iter_mut().zip(b).zip(cosines).zip(sines) {
            (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
        }
    }
}
