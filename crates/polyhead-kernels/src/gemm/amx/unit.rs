//! The matrix unit of Intel's processors: the shapes of its registers, its instructions.

use std::arch::asm;

/// The shapes of the registers as `LDTILECFG` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(in crate::gemm) struct Shapes {
    pub palette: u8,
    pub start_row: u8,
    reserved: [u8; 14],
    pub bytes_of_a_row: [u16; 16],
    pub rows: [u8; 16],
}

impl Shapes {
    /// Of registers that are released.
    pub(super) const NONE: Self =
        Self { palette: 0, start_row: 0, reserved: [0; 14], bytes_of_a_row: [0; 16], rows: [0; 16] };

    /// So many rows in registers 0 to 6, sixteen in 7, and 64 bytes in each row.
    pub(super) fn of_rows(rows: u8) -> Self {
        let mut shapes = Self { palette: 1, ..Self::NONE };
        shapes.bytes_of_a_row[..8].fill(64);
        shapes.rows[..7].fill(rows);
        shapes.rows[7] = super::TILE as u8;
        shapes
    }
}

/// What the unit does.
///
/// # Safety
/// The unit must be there and, but for `shapes` and `configure`, its registers must have shapes; pointers must be good for all
/// rows of a register, `step` bytes from one to the next.
pub(in crate::gemm) trait Unit {
    /// The shapes of the registers.
    unsafe fn shapes() -> Shapes;
    /// Gives them others, which the palette must have; all registers are zeros then.
    unsafe fn configure(shapes: &Shapes);
    /// Zeros.
    unsafe fn clear<const T: u8>();
    unsafe fn load<const T: u8>(from: *const u8, step: usize);
    unsafe fn store<const T: u8>(to: *mut u8, step: usize);
    /// Adds the product of registers 6 and 7.
    unsafe fn dot<const T: u8>();
}

/// The instructions. The compiler uses none of the registers, so none is named as changed.
pub(in crate::gemm) struct Instructions;

impl Unit for Instructions {
    #[inline(always)]
    unsafe fn shapes() -> Shapes {
        let mut shapes = Shapes::NONE;
        // SAFETY: the caller's promise; room for 64 bytes.
        unsafe { asm!("sttilecfg [{}]", in(reg) &raw mut shapes, options(nostack, preserves_flags)) };
        shapes
    }

    #[inline(always)]
    unsafe fn configure(shapes: &Shapes) {
        // SAFETY: the caller's promise; 64 bytes of shapes that the palette has.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const *shapes, options(nostack, preserves_flags, readonly)) };
    }

    #[inline(always)]
    unsafe fn clear<const T: u8>() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack, preserves_flags, nomem)) };
    }

    #[inline(always)]
    unsafe fn load<const T: u8>(from: *const u8, step: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!("tileloadd tmm{t}, [{from} + {step}*1]", t = const T, from = in(reg) from, step = in(reg) step,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn store<const T: u8>(to: *mut u8, step: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!("tilestored [{to} + {step}*1], tmm{t}", t = const T, to = in(reg) to, step = in(reg) step,
                options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn dot<const T: u8>() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tdpbf16ps tmm{t}, tmm6, tmm7", t = const T, options(nostack, preserves_flags, nomem)) };
    }
}

#[cfg(test)]
impl Instructions {
    /// Gives the registers back, as any library on this thread may.
    ///
    /// # Safety
    /// The unit must be there.
    pub(in crate::gemm) unsafe fn release() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}
