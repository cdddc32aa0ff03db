//! Activations in bytes: each row with a scale of its own.

use super::QUAD;
use crate::gemm::matrix::{Matrix, Values};
use crate::math::simd;
use crate::workspace::Buffer;
use rayon::prelude::*;

/// Rows of bytes, 128 more than what they stand for.
pub(crate) struct Int8Rows {
    /// `[rows][depth]`
    pub(super) elements: Buffer<u32>,
    /// What a byte counts in each row.
    pub(super) scales: Vec<f32>,
    pub(super) depth: usize,
}

impl Int8Rows {
    /// The rows of a matrix.
    pub(crate) fn of(matrix: &Matrix) -> Self {
        /// Numbers that one task takes at least.
        const TASK: usize = 1 << 15;
        let (columns, depth) = (matrix.columns, matrix.columns.div_ceil(QUAD));
        let mut elements = Buffer::uninit(matrix.rows * depth);
        let mut scales = vec![0.0; matrix.rows];
        elements
            .par_chunks_mut(depth.max(1))
            .zip(&mut scales)
            .enumerate()
            .with_min_len(TASK.div_ceil(columns.max(1)))
            .for_each_init(Vec::new, |wide, (row, (elements, scale))| {
                let bytes = bytes_of(elements);
                *scale = match &matrix.values {
                    Values::F32(values) => quantize(bytes, &values[row * columns..][..columns]),
                    Values::Bf16(_) => {
                        wide.resize(columns, 0.0);
                        matrix.read(row, 0, wide);
                        quantize(bytes, wide)
                    }
                };
            });
        Self { elements, scales, depth }
    }
}

fn bytes_of(elements: &mut [u32]) -> &mut [u8] {
    // SAFETY: the same memory, of which any bits are a value; bytes have no alignment.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), 4 * elements.len()) }
}

simd! {
    /// Numbers in bytes, 128 more than what they stand for (also where there are more bytes); returns what a byte counts. The largest
    /// number becomes 127; ties go to the even byte.
    pub(super) fn quantize(bytes: &mut [u8], values: &[f32]) -> f32 {
        // Of numbers without sign the order is that of their bits.
        let largest = values.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        // 1.5 2²³: the last bits of a sum with it are the whole number that is nearest.
        const ROUND: f32 = 12_582_912.0;
        let (own, rest) = bytes.split_at_mut(values.len());
        for (byte, x) in own.iter_mut().zip(values) {
            *byte = ((x * inverse + ROUND).to_bits() as u8) ^ 0x80;
        }
        rest.fill(0x80);
        largest / 127.0
    }
}
