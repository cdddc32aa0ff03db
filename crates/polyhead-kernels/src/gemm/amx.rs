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
//!
//! [`Unit`] is the unit itself: its instructions, or what they do in plain Rust (`emulated.rs`), so that all of this file
//! is tested on processors without one.

#[cfg(test)]
mod emulated;
mod unit;

#[cfg(test)]
pub(super) use emulated::Emulated;
pub(super) use unit::Instructions;

use super::arguments::{AccumulatorInit, Arguments, Target};
use super::isa::ROWS_AMX as ROWS;
use std::mem::MaybeUninit;
use unit::{Shapes, Unit};

/// Rows, columns and pairs along k of a register.
const TILE: usize = 16;

/// Registers across at most.
const ACROSS: usize = 3;

/// All rows, two registers of rows at a time; what is over, one.
///
/// # Safety
/// As for [`run`](super::dispatch::run).
pub(super) unsafe fn tiles<U: Unit>(mut arguments: Arguments<u32>, mut target: Target, mut rows: usize) {
    // SAFETY: the caller's promise, and for each part its rows of it.
    unsafe {
        while rows > 0 {
            let count = if rows >= ROWS { ROWS } else { rows.min(TILE) };
            match count {
                ROWS => across::<U, 2>(arguments, target, TILE),
                _ => across::<U, 1>(arguments, target, count),
            }
            arguments.a = arguments.a.wrapping_add(count * arguments.row);
            target.c = target.c.wrapping_add(count * target.stride);
            rows -= count;
        }
    }
}

#[inline(always)]
unsafe fn across<U: Unit, const R: usize>(arguments: Arguments<u32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match arguments.width / TILE {
            3 => fixed::<U, R, 3>(arguments, target, rows),
            2 => fixed::<U, R, 2>(arguments, target, rows),
            _ => fixed::<U, R, 1>(arguments, target, rows),
        }
    }
}

/// `R` registers of so many rows each, `V` across.
///
/// # Safety
/// As for [`run`](super::dispatch::run).
unsafe fn fixed<U: Unit, const R: usize, const V: usize>(arguments: Arguments<u32>, target: Target, rows: usize) {
    let Target { c, stride, columns, begin } = target;
    let width = V * TILE;
    // Registers are loaded and stored whole: a panel with fewer columns than they have gets a C of its own.
    let mut whole = MaybeUninit::<[f32; ROWS * ACROSS * TILE]>::uninit();
    let whole = whole.as_mut_ptr().cast::<f32>();
    let own = columns < width;
    let (at, step) = if own { (whole, width) } else { (c, stride) };
    let every_row = || (0..R * rows).map(|row| (c.wrapping_add(row * stride), whole.wrapping_add(row * width)));
    // SAFETY: the caller's promise: C has the rows and columns, A and B the elements.
    unsafe {
        configure::<U>(rows);
        match begin {
            AccumulatorInit::Zeros => zero::<U, R, V>(),
            AccumulatorInit::Bias(bias) => {
                let mut row = [0.0; ACROSS * TILE];
                row[..columns].copy_from_slice(bias);
                // The same row again and again.
                load_sums::<U, R, V>(row.as_ptr(), 0, 0);
            }
            AccumulatorInit::There => {
                if own {
                    for (from, to) in every_row() {
                        std::ptr::copy_nonoverlapping(from, to, columns);
                    }
                }
                load_sums::<U, R, V>(at, step, rows);
            }
        }
        let full = arguments.depth / TILE * TILE;
        if arguments.step == 1 {
            for p in (0..full).step_by(TILE) {
                multiply::<U, R, V>(arguments.a.add(p), arguments.row, rows, arguments.b.add(p * width));
            }
        } else {
            let mut elements = [0; ROWS * TILE];
            for p in (0..full).step_by(TILE) {
                gather(&mut elements, arguments, R * rows, p, TILE);
                multiply::<U, R, V>(elements.as_ptr(), TILE, rows, arguments.b.add(p * width));
            }
        }
        let rest = arguments.depth - full;
        if rest > 0 {
            let (mut left, mut right) = ([0; ROWS * TILE], [0; TILE * ACROSS * TILE]);
            gather(&mut left, arguments, R * rows, full, rest);
            std::ptr::copy_nonoverlapping(arguments.b.add(full * width), right.as_mut_ptr(), rest * width);
            multiply::<U, R, V>(left.as_ptr(), TILE, rows, right.as_ptr());
        }
        store_sums::<U, R, V>(at, step, rows);
        if own {
            for (to, from) in every_row() {
                std::ptr::copy_nonoverlapping(from, to, columns);
            }
        }
    }
}

/// Brings some elements along k of A into rows of [`TILE`].
///
/// # Safety
/// A must have them.
unsafe fn gather(elements: &mut [u32; ROWS * TILE], arguments: Arguments<u32>, rows: usize, from: usize, count: usize) {
    for p in 0..count {
        for (row, elements) in elements.chunks_exact_mut(TILE).take(rows).enumerate() {
            // SAFETY: the caller's promise.
            elements[p] = unsafe { *arguments.a.add(row * arguments.row + (from + p) * arguments.step) };
        }
    }
}

/// One step of 16 pairs: sums (0 to 2, and 3 to 5 of the second rows), A in register 6, B in 7.
///
/// # Safety
/// A (`row` elements from row to row) and B must be good for a step; the unit must be configured for `rows`.
#[inline(always)]
unsafe fn multiply<U: Unit, const R: usize, const V: usize>(a: *const u32, row: usize, rows: usize, b: *const u32) {
    let (step, width) = (row * size_of::<u32>(), V * TILE * size_of::<u32>());
    let low = a.wrapping_add(rows * row);
    // SAFETY: the caller's promise. A is loaded again only where the other rows took its place.
    unsafe {
        U::load::<6>(a.cast(), step);
        U::load::<7>(b.cast(), width);
        U::dot::<0>();
        if R > 1 {
            U::load::<6>(low.cast(), step);
            U::dot::<3>();
        }
        if V > 1 {
            U::load::<7>(b.wrapping_add(TILE).cast(), width);
            if R > 1 {
                U::dot::<4>();
                U::load::<6>(a.cast(), step);
            }
            U::dot::<1>();
        }
        if V > 2 {
            U::load::<7>(b.wrapping_add(2 * TILE).cast(), width);
            U::dot::<2>();
            if R > 1 {
                U::load::<6>(low.cast(), step);
                U::dot::<5>();
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
unsafe fn zero<U: Unit, const R: usize, const V: usize>() {
    // SAFETY: the caller's promise.
    each_sum!(R, V, |SUM, _second, _across| unsafe { U::clear::<SUM>() });
}

/// The sums from where C stands, `stride` numbers from row to row; the second registers `rows` further down.
///
/// # Safety
/// C must be good for them; the unit must be configured.
#[inline(always)]
unsafe fn load_sums<U: Unit, const R: usize, const V: usize>(c: *const f32, stride: usize, rows: usize) {
    each_sum!(R, V, |SUM, second, across| {
        let from = c.wrapping_add(second * rows * stride + across * TILE);
        // SAFETY: the caller's promise.
        unsafe { U::load::<SUM>(from.cast(), stride * size_of::<f32>()) };
    });
}

/// The sums to where C stands.
///
/// # Safety
/// As for [`load_sums`].
#[inline(always)]
unsafe fn store_sums<U: Unit, const R: usize, const V: usize>(c: *mut f32, stride: usize, rows: usize) {
    each_sum!(R, V, |SUM, second, across| {
        let to = c.wrapping_add(second * rows * stride + across * TILE);
        // SAFETY: the caller's promise.
        unsafe { U::store::<SUM>(to.cast(), stride * size_of::<f32>()) };
    });
}

/// Gives sums and A so many rows, and B all, if the unit has them otherwise.
///
/// The unit is asked, as nothing here can know: the registers belong to whoever runs on the thread, and a library that
/// shares it may have given them other shapes or released them since. To ask costs a twentieth of a tile at most, to
/// give shapes ten times as much.
///
/// # Safety
/// The unit must be there.
#[inline(always)]
unsafe fn configure<U: Unit>(rows: usize) {
    let shapes = Shapes::of_rows(rows as u8);
    // SAFETY: the caller's promise; the shapes are of the first palette.
    unsafe {
        if U::shapes() != shapes {
            U::configure(&shapes);
        }
    }
}
