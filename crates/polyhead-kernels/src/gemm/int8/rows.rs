//! Activations in bytes: each row with a scale and a zero of its own.

use super::QUAD;
use crate::gemm::matrix::{Matrix, Values};
use crate::math::simd;
use crate::pool::for_each_of_init;
use crate::storage::Parts;
use crate::workspace::Buffer;

/// Rows of bytes.
pub(crate) struct Int8Rows {
    /// `[rows][depth]`
    pub(super) elements: Buffer<u32>,
    /// What a byte counts in each row.
    pub(super) scales: Vec<f32>,
    /// The byte of 0 in each row.
    pub(super) zeros: Vec<i32>,
    pub(super) depth: usize,
}

impl Int8Rows {
    /// The rows of a matrix.
    pub(crate) fn of(matrix: &Matrix) -> Self {
        /// Numbers that one task takes at least.
        const TASK: usize = 1 << 15;
        let (columns, depth) = (matrix.columns, matrix.columns.div_ceil(QUAD));
        let mut elements = Buffer::uninit(matrix.rows * depth);
        let (mut scales, mut zeros) = (vec![0.0; matrix.rows], vec![0; matrix.rows]);
        {
            let (elements, scales, zeros) =
                (Parts::new(&mut elements), Parts::new(&mut scales), Parts::new(&mut zeros));
            for_each_of_init(matrix.rows, TASK.div_ceil(columns.max(1)), Vec::new, |wide, row| {
                // SAFETY: every row is visited once.
                let (elements, scale, zero) =
                    unsafe { (elements.part(row * depth, depth), scales.part(row, 1), zeros.part(row, 1)) };
                let bytes = bytes_of(elements);
                (scale[0], zero[0]) = match &matrix.values {
                    Values::F32(values) => quantize_row(bytes, &values[row * columns..][..columns]),
                    Values::Bf16(_) => {
                        wide.resize(columns, 0.0);
                        matrix.read(row, 0, wide);
                        quantize_row(bytes, wide)
                    }
                };
            });
        }
        Self { elements, scales, zeros, depth }
    }
}

fn bytes_of(elements: &mut [u32]) -> &mut [u8] {
    // SAFETY: the same memory, of which any bits are a value; bytes have no alignment.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), 4 * elements.len()) }
}

/// 1.5 2²³: the last bits of a sum with it are the whole number that is nearest.
const ROUND: f32 = 12_582_912.0;

simd! {
    /// Numbers in bytes (0 where there are more bytes); returns what a byte counts, and the byte of 0. The least number, or 0, becomes
    /// 0, and the largest, or 0, 255; ties go to the even byte.
    pub(super) fn quantize_row(bytes: &mut [u8], values: &[f32]) -> (f32, i32) {
        // Whole numbers in the order of the numbers, so that the least and the largest are found many at a time.
        let ordered = |bits: i32| bits ^ (bits >> 31 & 0x7fff_ffff);
        let (low, high) = values.iter().fold((0, 0), |(low, high), x| {
            let x = ordered(x.to_bits().cast_signed());
            (x.min(low), x.max(high))
        });
        let [low, high] = [low, high].map(|x: i32| f32::from_bits(ordered(x).cast_unsigned()));
        let inverse = if high > low { 255.0 / (high - low) } else { 0.0 };
        let zero = (-low * inverse).round_ties_even();
        let (own, rest) = bytes.split_at_mut(values.len());
        for (byte, x) in own.iter_mut().zip(values) {
            // Both ends are rounded: one more than 255 may come of it.
            *byte = ((x * inverse + (ROUND + zero)).to_bits() & 0x1ff).min(255) as u8;
        }
        rest.fill(0);
        ((high - low) / 255.0, zero as i32)
    }
}

simd! {
    /// Numbers in bytes, 128 more than what they stand for (also where there are more bytes); returns what a byte counts. The largest
    /// number becomes 127; ties go to the even byte.
    pub(super) fn quantize_weights(bytes: &mut [u8], values: &[f32]) -> f32 {
        // Of numbers without sign the order is that of their bits.
        let largest = values.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let (own, rest) = bytes.split_at_mut(values.len());
        for (byte, x) in own.iter_mut().zip(values) {
            *byte = ((x * inverse + ROUND).to_bits() as u8) ^ 0x80;
        }
        rest.fill(0x80);
        largest / 127.0
    }
}
