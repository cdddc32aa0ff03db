//! Sums of products of bytes in the registers of 64-bit Arm.

use super::tile::{Sums, Target, Tile};
use std::arch::aarch64::*;
use std::arch::asm;

/// # Safety
/// As for [`Tile::run`], on a processor with the dot product of bytes.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dotprod(tile: Tile, rows: usize, width: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { tile.of_rows::<Four, 8>(rows, width, target) }
}

#[derive(Clone, Copy)]
struct Four(int32x4_t);

impl Sums for Four {
    const LANES: usize = 4;
    type X = int8x16_t;
    type W = int8x16_t;

    /// Bytes have signs here, 128 less than they are.
    #[inline(always)]
    unsafe fn start(sums: *const i32, zero: i32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { vmulq_n_s32(vld1q_s32(sums), 128 - zero) })
    }

    #[inline(always)]
    unsafe fn x(element: *const u32) -> int8x16_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s8_u32(vdupq_n_u32(*element ^ 0x8080_8080)) }
    }

    #[inline(always)]
    unsafe fn w(elements: *const u32) -> int8x16_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s8_u32(vld1q_u32(elements)) }
    }

    #[inline(always)]
    unsafe fn with(self, x: int8x16_t, w: int8x16_t) -> Self {
        let mut sums = self.0;
        // The intrinsic (vdotq_s32) is not stable.
        // SAFETY: the caller's promise; it touches no memory.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {x:v}.16b, {w:v}.16b",
                sums = inout(vreg) sums,
                x = in(vreg) x,
                w = in(vreg) w,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        Self(sums)
    }

    #[inline(always)]
    unsafe fn store(self, scale: f32, scales: *const f32, bias: *const f32, to: *mut f32, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let scales = vmulq_f32(vdupq_n_f32(scale), vld1q_f32(scales));
            let sum = vaddq_f32(vmulq_f32(vcvtq_f32_s32(self.0), scales), vld1q_f32(bias));
            if count == 4 {
                return vst1q_f32(to, sum);
            }
            let mut last = [0.0; 4];
            vst1q_f32(last.as_mut_ptr(), sum);
            std::ptr::copy_nonoverlapping(last.as_ptr(), to, count);
        }
    }
}
