//! The registers of x86-64: of AVX-512 16 numbers, of AVX2 8.
//!
//! Pairs of bf16 numbers are multiplied by `vdpbf16ps` where there is one, and else widened to two registers of f32.

use super::arguments::{Arguments, Target};
use super::element::PackedElement;
use super::isa::{ROWS_256, ROWS_512};
use super::tile::{Multiply, Register, halves, tiles};
use std::arch::x86_64::*;

/// # Safety
/// As for [`run`](super::dispatch::run).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")]
pub(super) unsafe fn avx512_bf16(arguments: Arguments<u32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<Pairs, u32, ROWS_512>(arguments, target, rows) }
}

/// # Safety
/// As for [`run`](super::dispatch::run).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
pub(super) unsafe fn avx512<T: PackedElement>(arguments: Arguments<T>, target: Target, rows: usize)
where
    __m512: Multiply<T>,
{
    // SAFETY: the caller's promise.
    unsafe { tiles::<__m512, T, ROWS_512>(arguments, target, rows) }
}

/// # Safety
/// As for [`run`](super::dispatch::run).
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2<T: PackedElement>(arguments: Arguments<T>, target: Target, rows: usize)
where
    __m256: Multiply<T>,
{
    // SAFETY: the caller's promise.
    unsafe { tiles::<__m256, T, ROWS_256>(arguments, target, rows) }
}

impl Register for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's promise; the mask ends at the last number.
        unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self) }
    }
}

#[inline(always)]
pub(super) fn mask(count: usize) -> u16 {
    (0xffff_u32 >> (16 - count as u32)) as u16
}

impl Multiply<f32> for __m512 {
    type ViewA = Self;
    type Right = Self;

    #[inline(always)]
    unsafe fn left(element: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(*element) }
    }

    #[inline(always)]
    unsafe fn right(elements: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(elements) }
    }

    #[inline(always)]
    unsafe fn with(self, left: Self, right: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(left, right, self) }
    }
}

impl Multiply<u32> for __m512 {
    type ViewA = (Self, Self);
    type Right = __m512i;

    #[inline(always)]
    unsafe fn left(element: *const u32) -> (Self, Self) {
        // SAFETY: the caller's promise.
        unsafe {
            let (first, second) = halves(*element);
            (_mm512_set1_ps(first), _mm512_set1_ps(second))
        }
    }

    #[inline(always)]
    unsafe fn right(elements: *const u32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(elements.cast()) }
    }

    #[inline(always)]
    unsafe fn with(self, (first, second): (Self, Self), right: __m512i) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(right));
            let high = _mm512_castsi512_ps(_mm512_and_si512(right, _mm512_set1_epi32(-65536)));
            _mm512_fmadd_ps(first, low, _mm512_fmadd_ps(second, high, self))
        }
    }
}

/// Sixteen sums of products of pairs.
#[derive(Clone, Copy)]
pub(super) struct Pairs(__m512);

impl Register for Pairs {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { <__m512 as Register>::zero() })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { <__m512 as Register>::load(from, count) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.store(to, count) }
    }
}

impl Multiply<u32> for Pairs {
    type ViewA = __m512bh;
    type Right = __m512bh;

    #[inline(always)]
    unsafe fn left(element: *const u32) -> __m512bh {
        // SAFETY: the caller's promise; 64 bytes each.
        unsafe { std::mem::transmute(_mm512_set1_epi32(*element as i32)) }
    }

    #[inline(always)]
    unsafe fn right(elements: *const u32) -> __m512bh {
        // SAFETY: the caller's promise; 64 bytes each.
        unsafe { std::mem::transmute(_mm512_loadu_si512(elements.cast())) }
    }

    #[inline(always)]
    unsafe fn with(self, left: __m512bh, right: __m512bh) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_dpbf16_ps(self.0, left, right) })
    }
}

impl Register for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's promise; the mask ends at the last number.
        unsafe {
            match count {
                8 => _mm256_loadu_ps(from),
                _ => _mm256_maskload_ps(from, lanes_below(count)),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        // A masked store takes many times as long, even of a whole register.
        // SAFETY: as above.
        unsafe {
            match count {
                8 => _mm256_storeu_ps(to, self),
                _ => _mm256_maskstore_ps(to, lanes_below(count), self),
            }
        }
    }
}

#[inline(always)]
unsafe fn lanes_below(count: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

impl Multiply<f32> for __m256 {
    type ViewA = Self;
    type Right = Self;

    #[inline(always)]
    unsafe fn left(element: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_set1_ps(*element) }
    }

    #[inline(always)]
    unsafe fn right(elements: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(elements) }
    }

    #[inline(always)]
    unsafe fn with(self, left: Self, right: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_fmadd_ps(left, right, self) }
    }
}

impl Multiply<u32> for __m256 {
    type ViewA = (Self, Self);
    type Right = __m256i;

    #[inline(always)]
    unsafe fn left(element: *const u32) -> (Self, Self) {
        // SAFETY: the caller's promise.
        unsafe {
            let (first, second) = halves(*element);
            (_mm256_set1_ps(first), _mm256_set1_ps(second))
        }
    }

    #[inline(always)]
    unsafe fn right(elements: *const u32) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(elements.cast()) }
    }

    #[inline(always)]
    unsafe fn with(self, (first, second): (Self, Self), right: __m256i) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(right));
            let high = _mm256_castsi256_ps(_mm256_and_si256(right, _mm256_set1_epi32(-65536)));
            _mm256_fmadd_ps(first, low, _mm256_fmadd_ps(second, high, self))
        }
    }
}

/// Blocks of 8 rows and 8 columns, turned: `to[p * line + j] = from[j * row + p]`. What is over of rows and columns is left.
///
/// # Safety
/// The processor must have AVX2; both must have all these elements.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn turn(to: *mut f32, line: usize, from: *const f32, row: usize, rows: usize, columns: usize) {
    for j in (0..rows / 8 * 8).step_by(8) {
        for p in (0..columns / 8 * 8).step_by(8) {
            // SAFETY: the caller's promise.
            unsafe {
                let (mut x, mut y) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
                for (i, x) in x.iter_mut().enumerate() {
                    *x = _mm256_loadu_ps(from.add((j + i) * row + p));
                }
                // Pairs of rows, then pairs of pairs, then halves.
                for i in (0..8).step_by(2) {
                    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
                    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
                }
                for i in [0, 1, 4, 5] {
                    let first = i / 4 * 4 + i % 4 * 2;
                    x[first] = _mm256_shuffle_ps::<0x44>(y[i], y[i + 2]);
                    x[first + 1] = _mm256_shuffle_ps::<0xee>(y[i], y[i + 2]);
                }
                for i in 0..4 {
                    let (first, second) = (to.add((p + i) * line + j), to.add((p + i + 4) * line + j));
                    _mm256_storeu_ps(first, _mm256_permute2f128_ps::<0x20>(x[i], x[i + 4]));
                    _mm256_storeu_ps(second, _mm256_permute2f128_ps::<0x31>(x[i], x[i + 4]));
                }
            }
        }
    }
}
