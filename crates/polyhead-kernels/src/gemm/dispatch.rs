//! The micro-kernel of each instruction set: which code makes the tiles of f32 numbers, and which those of pairs.

use super::arguments::{AccumulatorInit, Arguments, Target};
use super::element::PackedElement;
use super::isa::Isa;
use super::tile::portable;
#[cfg(target_arch = "x86_64")]
use super::{amx, x86};

/// Elements that there is a micro-kernel for, and how a product of them is blocked.
pub(crate) trait MicroKernel: PackedElement {
    /// Elements along k that a tile takes at a time, of a panel of this width: of f32 as many as keep its part in the first cache.
    fn block(width: usize) -> usize;
    /// Whether rows of A are brought into tiles before they meet many panels. f32 gains a third by it (AVX2): its tiles read
    /// twice the bytes for each sum. Pairs run at the peak of their instruction without.
    const TILED: bool;
    /// Elements along k of a task's rows that the second cache is to hold while all panels pass by.
    const LEFT: usize;
    /// Tasks that many rows are split into: few where a panel's part must be fetched again for each.
    const TASKS: usize;

    /// # Safety
    /// As for [`run`].
    unsafe fn tiles(arguments: Arguments<Self>, target: Target, rows: usize);
}

impl MicroKernel for f32 {
    const TILED: bool = true;
    const LEFT: usize = 768;
    const TASKS: usize = 10;

    fn block(width: usize) -> usize {
        /// Numbers of a panel's part: half of a first cache of 48 KiB, three quarters of one of 32.
        const PART: usize = 6 * 1024;
        /// Beyond it a pass over C costs next to nothing.
        const LONGEST: usize = 256;
        (PART / width.max(1)).clamp(1, LONGEST)
    }

    unsafe fn tiles(arguments: Arguments<f32>, target: Target, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { of_f32(arguments, target, rows) }
    }
}

impl MicroKernel for u32 {
    const TILED: bool = false;
    const LEFT: usize = usize::MAX;
    const TASKS: usize = 32;

    /// Half the bytes for each number, and a pass over C for every block: without blocks it is faster.
    fn block(_width: usize) -> usize {
        usize::MAX
    }

    unsafe fn tiles(arguments: Arguments<u32>, target: Target, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { of_pairs(arguments, target, rows) }
    }
}

/// Makes so many rows of the panel's width and stores the columns that the target has.
///
/// # Safety
/// A must have the rows; the target must be good for them, and no one else may touch it; the processor must have the
/// instructions.
pub(super) unsafe fn run<T: MicroKernel>(arguments: Arguments<T>, target: Target, rows: usize) {
    let fits = match target.begin {
        AccumulatorInit::Bias(bias) => bias.len() == target.columns,
        AccumulatorInit::Zeros | AccumulatorInit::There => true,
    };
    assert!(fits && target.columns <= arguments.width);
    // SAFETY: the caller's promise.
    unsafe { T::tiles(arguments, target, rows) }
}

/// The tiles of f32 numbers.
///
/// # Safety
/// As for [`run`].
unsafe fn of_f32(arguments: Arguments<f32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match arguments.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512 => x86::avx512(arguments, target, rows),
            #[cfg(all(test, target_arch = "x86_64"))]
            Isa::AmxEmulated => unreachable!("the unit multiplies pairs alone"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(arguments, target, rows),
            Isa::Portable => portable(arguments, target, rows),
        }
    }
}

/// The tiles of pairs of bf16 numbers.
///
/// # Safety
/// As for [`run`].
unsafe fn of_pairs(arguments: Arguments<u32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match arguments.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::tiles::<amx::Instructions>(arguments, target, rows),
            #[cfg(all(test, target_arch = "x86_64"))]
            Isa::AmxEmulated => amx::tiles::<amx::Emulated>(arguments, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => x86::avx512_bf16(arguments, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(arguments, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(arguments, target, rows),
            Isa::Portable => portable(arguments, target, rows),
        }
    }
}
