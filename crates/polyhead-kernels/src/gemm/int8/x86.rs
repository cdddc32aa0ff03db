//! Sums of products of bytes in the registers of x86-64.

use super::tile::{ROWS_NARROW, Sums, Target, Tile};
use crate::gemm::x86::mask;
use std::arch::x86_64::*;

/// # Safety
/// As for [`Tile::run`], on a processor with AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn avx512_vnni(tile: Tile, rows: usize, width: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { tile.of_rows::<Sixteen, 8>(rows, width, target) }
}

/// # Safety
/// As for [`Tile::run`], on a processor with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(tile: Tile, rows: usize, width: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { tile.of_rows::<Eight, ROWS_NARROW>(rows, width, target) }
}

#[derive(Clone, Copy)]
struct Sixteen(__m512i);

impl Sums for Sixteen {
    const LANES: usize = 16;
    type X = __m512i;
    type W = __m512i;

    #[inline(always)]
    unsafe fn start(sums: *const i32, zero: i32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_mullo_epi32(_mm512_loadu_si512(sums.cast()), _mm512_set1_epi32(-zero)) })
    }

    #[inline(always)]
    unsafe fn x(element: *const u32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_epi32((*element).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn w(elements: *const u32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(elements.cast()) }
    }

    #[inline(always)]
    unsafe fn with(self, x: __m512i, w: __m512i) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_dpbusd_epi32(self.0, x, w) })
    }

    #[inline(always)]
    unsafe fn store(self, scale: f32, scales: *const f32, bias: *const f32, to: *mut f32, count: usize) {
        // SAFETY: the caller's promise; the mask ends at the last number.
        unsafe {
            let scales = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_loadu_ps(scales));
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), scales);
            _mm512_mask_storeu_ps(to, mask(count), _mm512_add_ps(scaled, _mm512_loadu_ps(bias)));
        }
    }
}

#[derive(Clone, Copy)]
struct Eight(__m256i);

impl Sums for Eight {
    const LANES: usize = 8;
    /// The even bytes and the odd ones, in 16 bits each.
    type X = [__m256i; 2];
    type W = [__m256i; 2];

    #[inline(always)]
    unsafe fn start(sums: *const i32, zero: i32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_mullo_epi32(_mm256_loadu_si256(sums.cast()), _mm256_set1_epi32(-zero)) })
    }

    #[inline(always)]
    unsafe fn x(element: *const u32) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        let x = unsafe { *element };
        let [even, odd] = [x & 0x00ff_00ff, x >> 8 & 0x00ff_00ff];
        // SAFETY: the caller's promise.
        unsafe { [_mm256_set1_epi32(even.cast_signed()), _mm256_set1_epi32(odd.cast_signed())] }
    }

    #[inline(always)]
    unsafe fn w(elements: *const u32) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let w = _mm256_loadu_si256(elements.cast());
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)), _mm256_srai_epi16::<8>(w)]
        }
    }

    #[inline(always)]
    unsafe fn with(self, x: [__m256i; 2], w: [__m256i; 2]) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let both = _mm256_add_epi32(_mm256_madd_epi16(x[0], w[0]), _mm256_madd_epi16(x[1], w[1]));
            Self(_mm256_add_epi32(self.0, both))
        }
    }

    #[inline(always)]
    unsafe fn store(self, scale: f32, scales: *const f32, bias: *const f32, to: *mut f32, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let scales = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_loadu_ps(scales));
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(self.0), scales);
            let sum = _mm256_add_ps(scaled, _mm256_loadu_ps(bias));
            if count == 8 {
                return _mm256_storeu_ps(to, sum);
            }
            let mut last = [0.0; 8];
            _mm256_storeu_ps(last.as_mut_ptr(), sum);
            std::ptr::copy_nonoverlapping(last.as_ptr(), to, count);
        }
    }
}
