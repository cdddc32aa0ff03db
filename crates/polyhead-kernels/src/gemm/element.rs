//! What products are made of: an element is four bytes that stand for one or two steps along k.
//!
//! ```text
//! f32    one number
//! u32    a pair of bf16 numbers, the first in the lower half; the last of an odd number has a 0 beside it
//! ```
//!
//! A bf16 number is the upper half of an f32 one, rounded to the nearest, ties to even.

#[cfg(target_arch = "x86_64")]
use super::isa::Isa;
use super::isa::Precision;
use crate::math::simd;
use crate::workspace::Plain;

/// An element.
pub(crate) trait PackedElement: Plain + Default {
    /// Numbers along k that it holds.
    const DEPTH: usize;
    /// The precision of these numbers.
    const PRECISION: Precision;

    /// Elements that hold so many numbers.
    fn count(numbers: usize) -> usize {
        numbers.div_ceil(Self::DEPTH)
    }

    /// A row of numbers in elements.
    fn along(elements: &mut [Self], values: &[f32]);

    /// Elements across two rows of numbers, the second of which may be missing; where an element holds one number, of one row.
    fn across(elements: &mut [Self], first: &[f32], second: Option<&[f32]>);

    /// From rows of elements along to one row of elements across.
    fn interleave(elements: &mut [Self], rows: (&[Self], Option<&[Self]>));
}

impl PackedElement for f32 {
    const DEPTH: usize = 1;
    const PRECISION: Precision = Precision::F32;

    fn along(elements: &mut [f32], values: &[f32]) {
        elements[..values.len()].copy_from_slice(values);
    }

    fn across(elements: &mut [f32], first: &[f32], _: Option<&[f32]>) {
        copy_few(elements, first);
    }

    fn interleave(elements: &mut [f32], (first, _): (&[f32], Option<&[f32]>)) {
        copy_few(elements, first);
    }
}

impl PackedElement for u32 {
    const DEPTH: usize = 2;
    const PRECISION: Precision = Precision::Bf16;

    fn along(elements: &mut [u32], values: &[f32]) {
        round_along(elements, values);
    }

    fn across(elements: &mut [u32], first: &[f32], second: Option<&[f32]>) {
        round_across(elements, first, second);
    }

    fn interleave(elements: &mut [u32], (first, second): (&[u32], Option<&[u32]>)) {
        interleave(elements, first, second);
    }
}

/// Copies a few elements: calling the library's copy would take longer than the copy.
#[inline(always)]
pub(super) fn copy_few<T: Copy>(to: &mut [T], from: &[T]) {
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<8>(), from.as_chunks::<8>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// Rows as columns: `to[p * line + j] = from[j * row + p]`.
pub(super) fn turn<T: PackedElement>(
    to: &mut [T],
    line: usize,
    from: &[T],
    row: usize,
    (rows, columns): (usize, usize),
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((columns - 1) * line + rows <= to.len() && (rows - 1) * row + columns <= from.len());
    #[cfg(target_arch = "x86_64")]
    let (rows_done, columns_done) = match is_x86_feature_detected!("avx2") {
        true => {
            // SAFETY: the processor has the instructions; an element is four bytes, and all of them are there.
            unsafe { super::x86::turn(to.as_mut_ptr().cast(), line, from.as_ptr().cast(), row, rows, columns) };
            (rows / 8 * 8, columns / 8 * 8)
        }
        false => (0, 0),
    };
    #[cfg(not(target_arch = "x86_64"))]
    let (rows_done, columns_done) = (0, 0);
    for j in 0..rows {
        let from = &from[j * row..][..columns];
        for p in if j < rows_done { columns_done } else { 0 }..columns {
            to[p * line + j] = from[p];
        }
    }
}

/// Pairs of neighbours: `pairs[p] = (values[2 p], values[2 p + 1])`, the last with 0 if it has none.
fn round_along(pairs: &mut [u32], values: &[f32]) {
    assert!(pairs.len() >= values.len().div_ceil(2));
    #[cfg(target_arch = "x86_64")]
    if Isa::here(Precision::Bf16).multiplies_bf16() {
        // SAFETY: the processor has the instructions, and there are as many pairs as values need.
        return unsafe { x86::round_along(pairs, values) };
    }
    round_along_plain(pairs, values);
}

simd! {
    fn round_along_plain(pairs: &mut [u32], values: &[f32]) {
        let (two, last) = values.as_chunks::<2>();
        for (pair, &[even, odd]) in pairs.iter_mut().zip(two) {
            *pair = round(even) | round(odd) << 16;
        }
        if let (Some(pair), Some(&last)) = (pairs.get_mut(two.len()), last.first()) {
            *pair = round(last);
        }
    }
}

/// Pairs of two rows: `pairs[j] = (even[j], odd[j])`, with 0 for a missing row.
fn round_across(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
    assert!(pairs.len() == even.len() && odd.is_none_or(|odd| odd.len() == even.len()));
    #[cfg(target_arch = "x86_64")]
    if Isa::here(Precision::Bf16).multiplies_bf16() {
        // SAFETY: the processor has the instructions, and all have one length.
        return unsafe { x86::round_across(pairs, even, odd) };
    }
    round_across_plain(pairs, even, odd);
}

simd! {
    fn round_across_plain(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
        for (pair, &even) in pairs.iter_mut().zip(even) {
            *pair = round(even);
        }
        for (pair, &odd) in pairs.iter_mut().zip(odd.unwrap_or_default()) {
            *pair |= round(odd) << 16;
        }
    }
}

/// From two rows of pairs along to one row of pairs across: `pairs[j] = (even[j], odd[j])`.
fn interleave(pairs: &mut [u32], even: &[u32], odd: Option<&[u32]>) {
    let needs = pairs.len().div_ceil(2);
    assert!(even.len() >= needs && odd.is_none_or(|odd| odd.len() >= needs));
    #[cfg(target_arch = "x86_64")]
    let done = match odd {
        // SAFETY: the processor has the instructions, and all are long enough.
        Some(odd) if Isa::here(Precision::Bf16).multiplies_bf16() => unsafe { x86::interleave(pairs, even, odd) },
        _ => 0,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for (at, pair) in pairs.iter_mut().enumerate().skip(done) {
        let half = |row: &[u32]| row[at / 2] >> (16 * (at % 2)) & 0xffff;
        *pair = half(even) | odd.map_or(0, half) << 16;
    }
}

/// Copies a row of 16-bit numbers from pairs to f32.
#[inline(always)]
pub(crate) fn widen(values: &mut [f32], pairs: &[u32]) {
    let count = values.len() / 2;
    let (two, last) = values.split_at_mut(2 * count);
    for (values, &pair) in two.chunks_exact_mut(2).zip(pairs) {
        values[0] = f32::from_bits(pair << 16);
        values[1] = f32::from_bits(pair & 0xffff_0000);
    }
    if let (Some(last), Some(&pair)) = (last.first_mut(), pairs.get(count)) {
        *last = f32::from_bits(pair << 16);
    }
}

/// To bf16, ties to even, as the instructions round.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// The instructions themselves.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::round;
    use std::arch::x86_64::*;

    /// Numbers of a register.
    const LANES: usize = 16;

    /// As many pairs across as whole registers give; returns how many that are.
    ///
    /// # Safety
    /// The processor must have AVX-512 BW; the rows must have a pair for every two of `pairs`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn interleave(pairs: &mut [u32], even: &[u32], odd: &[u32]) -> usize {
        // Of 32 numbers of each row: number j of the first, then of the second (from 32 on), for 16 columns.
        let order = |from: i16| -> __m512i {
            let lanes: [i16; 32] = std::array::from_fn(|i| from + (i / 2) as i16 + 32 * (i % 2) as i16);
            // SAFETY: both are 64 bytes.
            unsafe { std::mem::transmute(lanes) }
        };
        let (low, high) = (order(0), order(16));
        let whole = pairs.len() / 32;
        for i in 0..whole {
            // SAFETY: 16 pairs of each row and 32 of the result are in bounds.
            unsafe {
                let e = _mm512_loadu_si512(even.as_ptr().add(16 * i).cast());
                let o = _mm512_loadu_si512(odd.as_ptr().add(16 * i).cast());
                let target = pairs.as_mut_ptr().add(32 * i);
                _mm512_storeu_si512(target.cast(), _mm512_permutex2var_epi16(e, low, o));
                _mm512_storeu_si512(target.add(16).cast(), _mm512_permutex2var_epi16(e, high, o));
            }
        }
        let rest = pairs.len() - 32 * whole;
        if rest >= 16 {
            // SAFETY: 8 pairs of each row and 16 of the result are in bounds.
            unsafe {
                let e = _mm512_castsi256_si512(_mm256_loadu_si256(even.as_ptr().add(16 * whole).cast()));
                let o = _mm512_castsi256_si512(_mm256_loadu_si256(odd.as_ptr().add(16 * whole).cast()));
                let target = pairs.as_mut_ptr().add(32 * whole);
                _mm512_storeu_si512(target.cast(), _mm512_permutex2var_epi16(e, low, o));
            }
            return 32 * whole + 16;
        }
        32 * whole
    }

    /// Pairs of neighbours: `pairs[p] = (values[2 p], values[2 p + 1])`, the last with 0 if it has none.
    ///
    /// # Safety
    /// The processor must have AVX-512 BF16, and there must be a pair for every two values.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn round_along(pairs: &mut [u32], values: &[f32]) {
        let mut at = 0;
        while at + 2 * LANES <= values.len() {
            // SAFETY: 32 values from `at` on, and 16 pairs, are in bounds.
            unsafe {
                let low = _mm512_loadu_ps(values.as_ptr().add(at));
                let high = _mm512_loadu_ps(values.as_ptr().add(at + LANES));
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(pairs.as_mut_ptr().add(at / 2).cast(), rounded);
            }
            at += 2 * LANES;
        }
        let rest = values.len() - at;
        if rest > 0 {
            // SAFETY: the masks end at the last value; a missing odd one is a 0.
            unsafe {
                let mask = u32::MAX >> (2 * LANES - rest);
                let low = _mm512_maskz_loadu_ps(mask as u16, values.as_ptr().add(at));
                let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, values.as_ptr().wrapping_add(at + LANES));
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                let mask = 0xffff_u16 >> (LANES - rest.div_ceil(2));
                _mm512_mask_storeu_epi32(pairs.as_mut_ptr().add(at / 2).cast(), mask, rounded);
            }
        }
    }

    /// Pairs of two rows: `pairs[j] = (even[j], odd[j])`, with 0 for a missing row.
    ///
    /// # Safety
    /// The processor must have AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn round_across(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
        let mut at = 0;
        while at + LANES <= even.len() {
            // SAFETY: 16 values of each row from `at` on, and 16 pairs, are in bounds.
            unsafe {
                let widen = |row: &[f32]| {
                    let rounded: __m256i =
                        std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(row.as_ptr().add(at))));
                    _mm512_cvtepu16_epi32(rounded)
                };
                let low = widen(even);
                let high = odd.map_or(_mm512_setzero_si512(), |odd| _mm512_slli_epi32::<16>(widen(odd)));
                _mm512_storeu_si512(pairs.as_mut_ptr().add(at).cast(), _mm512_or_si512(low, high));
            }
            at += LANES;
        }
        for at in at..even.len() {
            pairs[at] = round(even[at]) | odd.map_or(0, |odd| round(odd[at]) << 16);
        }
    }
}
