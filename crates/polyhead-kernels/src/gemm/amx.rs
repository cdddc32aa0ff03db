//! Tiles of a product on the matrix unit of Intel processors (AMX): sums of 16 rows by 16 columns in each of eight registers.
//!
//! ```text
//! C[r][j] += Σ_p A[r][p] B[p][j]     A 16 rows of 16 pairs as they lie, B 16 rows of a panel, C 16 x 16 sums
//! ```
//!
//! A panel of pairs lies in memory just as the unit wants its right factor; a left factor must lie row by row. Six of the
//! eight registers are sums (two tiles of rows, three of columns), one is A, one is B. What is over of k meets zeros.
//!
//! The unit sums the even and the odd numbers of 16 pairs apart before it adds both to C, and takes denormal numbers for
//! zeros: its last bits are not those of other instruction sets. The source is Intel's Software Developer's Manual, volume 2,
//! `TDPBF16PS`.

use super::tile::{Begin, Strip, Target};
use std::arch::asm;
use std::cell::Cell;
use std::mem::MaybeUninit;

/// Rows, columns and pairs along k of a register.
const TILE: usize = 16;

/// Rows that are made at a time: two registers.
pub(super) const ROWS: usize = 2 * TILE;

/// Registers across at most.
const ACROSS: usize = 3;

/// Whether the processor has the unit and the kernel lets this process use it.
pub(super) fn available() -> bool {
    has_unit() && is_permitted()
}

/// What CPUID says: AMX-TILE and AMX-BF16, and that the kernel saves their state.
fn has_unit() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// # Safety
    /// The processor must have XSAVE, and the kernel must use it.
    #[target_feature(enable = "xsave")]
    unsafe fn saved() -> u64 {
        // SAFETY: the caller's promise.
        unsafe { _xgetbv(0) }
    }

    const OSXSAVE: u32 = 1 << 27;
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const STATE: u64 = 1 << 17 | 1 << 18;
    __cpuid(0).eax >= 7
        && __cpuid(1).ecx & OSXSAVE != 0
        && __cpuid_count(7, 0).edx & BF16_AND_TILE == BF16_AND_TILE
        // SAFETY: OSXSAVE says both.
        && unsafe { saved() } & STATE == STATE
}

/// Asks for the large state of the registers, which Linux gives only to processes that ask for it.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: a request that changes nothing but what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// All rows of a strip, two registers of rows at a time; what is over, one.
///
/// # Safety
/// As for [`Strip::make`].
pub(super) unsafe fn strip(mut strip: Strip<u32>, mut target: Target, mut rows: usize) {
    // SAFETY: the caller's promise, and for each part its rows of it.
    unsafe {
        while rows > 0 {
            let count = if rows >= ROWS { ROWS } else { rows.min(TILE) };
            match count {
                ROWS => across::<2>(strip, target, TILE),
                _ => across::<1>(strip, target, count),
            }
            strip.a = strip.a.wrapping_add(count * strip.row);
            target.c = target.c.wrapping_add(count * target.stride);
            rows -= count;
        }
    }
}

#[inline(always)]
unsafe fn across<const R: usize>(strip: Strip<u32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match strip.width / TILE {
            3 => fixed::<R, 3>(strip, target, rows),
            2 => fixed::<R, 2>(strip, target, rows),
            _ => fixed::<R, 1>(strip, target, rows),
        }
    }
}

/// `R` registers of so many rows each, `V` across.
///
/// # Safety
/// As for [`Strip::make`].
unsafe fn fixed<const R: usize, const V: usize>(strip: Strip<u32>, target: Target, rows: usize) {
    let Target { c, stride, columns, begin } = target;
    let width = V * TILE;
    // Registers are loaded and stored whole: a panel with fewer columns than they have gets a C of its own.
    let mut whole = MaybeUninit::<[f32; ROWS * ACROSS * TILE]>::uninit();
    let whole = whole.as_mut_ptr().cast::<f32>();
    let own = columns < width;
    let (at, step) = if own { (whole, width) } else { (c, stride) };
    let every_row = || (0..R * rows).map(|row| (c.wrapping_add(row * stride), whole.wrapping_add(row * width)));
    // SAFETY: the caller's promise: C has the rows and columns, A and B the cells.
    unsafe {
        configure(rows);
        match begin {
            Begin::Zeros => zero::<R, V>(),
            Begin::Bias(bias) => {
                let mut row = [0.0; ACROSS * TILE];
                row[..columns].copy_from_slice(bias);
                // The same row again and again.
                load_sums::<R, V>(row.as_ptr(), 0, 0);
            }
            Begin::There => {
                if own {
                    for (from, to) in every_row() {
                        std::ptr::copy_nonoverlapping(from, to, columns);
                    }
                }
                load_sums::<R, V>(at, step, rows);
            }
        }
        let full = strip.depth / TILE * TILE;
        if strip.step == 1 {
            for p in (0..full).step_by(TILE) {
                multiply::<R, V>(strip.a.add(p), strip.row, rows, strip.b.add(p * width));
            }
        } else {
            let mut cells = [0; ROWS * TILE];
            for p in (0..full).step_by(TILE) {
                gather(&mut cells, strip, R * rows, p, TILE);
                multiply::<R, V>(cells.as_ptr(), TILE, rows, strip.b.add(p * width));
            }
        }
        let rest = strip.depth - full;
        if rest > 0 {
            let (mut left, mut right) = ([0; ROWS * TILE], [0; TILE * ACROSS * TILE]);
            gather(&mut left, strip, R * rows, full, rest);
            std::ptr::copy_nonoverlapping(strip.b.add(full * width), right.as_mut_ptr(), rest * width);
            multiply::<R, V>(left.as_ptr(), TILE, rows, right.as_ptr());
        }
        store_sums::<R, V>(at, step, rows);
        if own {
            for (to, from) in every_row() {
                std::ptr::copy_nonoverlapping(from, to, columns);
            }
        }
    }
}

/// Brings some cells along k of A into rows of [`TILE`].
///
/// # Safety
/// A must have them.
unsafe fn gather(cells: &mut [u32; ROWS * TILE], strip: Strip<u32>, rows: usize, from: usize, count: usize) {
    for p in 0..count {
        for (row, cells) in cells.chunks_exact_mut(TILE).take(rows).enumerate() {
            // SAFETY: the caller's promise.
            cells[p] = unsafe { *strip.a.add(row * strip.row + (from + p) * strip.step) };
        }
    }
}

/// One step of 16 pairs: sums (0 to 2, and 3 to 5 of the second rows), A in register 6, B in 7.
///
/// # Safety
/// A (`row` cells from row to row) and B must be good for a step; the unit must be configured for `rows`.
#[inline(always)]
unsafe fn multiply<const R: usize, const V: usize>(a: *const u32, row: usize, rows: usize, b: *const u32) {
    let (step, width) = (row * size_of::<u32>(), V * TILE * size_of::<u32>());
    let low = a.wrapping_add(rows * row);
    // SAFETY: the caller's promise. A is loaded anew only where the other rows took its place.
    unsafe {
        load::<6>(a.cast(), step);
        load::<7>(b.cast(), width);
        dot::<0>();
        if R > 1 {
            load::<6>(low.cast(), step);
            dot::<3>();
        }
        if V > 1 {
            load::<7>(b.wrapping_add(TILE).cast(), width);
            if R > 1 {
                dot::<4>();
                load::<6>(a.cast(), step);
            }
            dot::<1>();
        }
        if V > 2 {
            load::<7>(b.wrapping_add(2 * TILE).cast(), width);
            dot::<2>();
            if R > 1 {
                load::<6>(low.cast(), step);
                dot::<5>();
            }
        }
    }
}

/// Does something with every register of sums that is in use: `$register` is its number, as a constant; `$second` and
/// `$across` say which rows and which columns it has.
macro_rules! each_sum {
    ($rows:ident, $columns:ident, |$register:ident, $second:ident, $across:ident| $body:expr) => {
        each_sum!(@ $rows, $columns, $register, $second, $across, $body, [0 1 2 3 4 5]);
    };
    (@ $rows:ident, $columns:ident, $register:ident, $second:ident, $across:ident, $body:expr, [$($number:literal)*]) => {
        $(
            if $number / ACROSS < $rows && $number % ACROSS < $columns {
                const $register: u8 = $number;
                let ($second, $across) = ($number / ACROSS, $number % ACROSS);
                $body
            }
        )*
    };
}

/// # Safety
/// The unit must be configured.
#[inline(always)]
unsafe fn zero<const R: usize, const V: usize>() {
    // SAFETY: the caller's promise.
    each_sum!(R, V, |SUM, _second, _across| unsafe { clear::<SUM>() });
}

/// The sums from where C stands, `stride` numbers from row to row; the second registers `rows` further down.
///
/// # Safety
/// C must be good for them; the unit must be configured.
#[inline(always)]
unsafe fn load_sums<const R: usize, const V: usize>(c: *const f32, stride: usize, rows: usize) {
    each_sum!(R, V, |SUM, second, across| {
        let from = c.wrapping_add(second * rows * stride + across * TILE);
        // SAFETY: the caller's promise.
        unsafe { load::<SUM>(from.cast(), stride * size_of::<f32>()) };
    });
}

/// The sums to where C stands.
///
/// # Safety
/// As for [`load_sums`].
#[inline(always)]
unsafe fn store_sums<const R: usize, const V: usize>(c: *mut f32, stride: usize, rows: usize) {
    each_sum!(R, V, |SUM, second, across| {
        let to = c.wrapping_add(second * rows * stride + across * TILE);
        // SAFETY: the caller's promise.
        unsafe { store::<SUM>(to.cast(), stride * size_of::<f32>()) };
    });
}

/// The shapes of the registers as `LDTILECFG` takes them, in the first palette.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_a_row: [u16; 16],
    rows: [u8; 16],
}

/// Gives sums and A so many rows, and B all; which it keeps if it has them.
///
/// # Safety
/// The unit must be there.
#[inline(always)]
unsafe fn configure(rows: usize) {
    thread_local! {
        static ROWS_NOW: Cell<usize> = const { Cell::new(0) };
    }
    if ROWS_NOW.get() == rows {
        return;
    }
    let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_a_row: [0; 16], rows: [0; 16] };
    shapes.bytes_of_a_row[..8].fill(64);
    shapes.rows[..7].fill(rows as u8);
    shapes.rows[7] = TILE as u8;
    // SAFETY: the caller's promise; 64 bytes of shapes that the palette has.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, preserves_flags, readonly)) };
    ROWS_NOW.set(rows);
}

/// # Safety
/// The unit must be configured, here and below.
#[inline(always)]
unsafe fn clear<const T: u8>() {
    // SAFETY: the caller's promise. The compiler uses none of these registers, so none is named as changed.
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

/// Adds the product of registers 6 and 7.
#[inline(always)]
unsafe fn dot<const T: u8>() {
    // SAFETY: the caller's promise.
    unsafe { asm!("tdpbf16ps tmm{t}, tmm6, tmm7", t = const T, options(nostack, preserves_flags, nomem)) };
}
