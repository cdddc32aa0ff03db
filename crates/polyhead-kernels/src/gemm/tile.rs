//! A tile of a product, in registers: some rows ([`Isa::rows`](super::isa::Isa::rows)) and up to three registers of columns, over a range of k.
//!
//! ```text
//! C[r][j] = begin + Σ_p A[r][p] B[p][j]     A broadcast element by element, B in whole registers, sums never leave theirs
//! ```
//!
//! One loop serves both precisions and every instruction set but AMX, whose registers are tiles themselves (`amx.rs`):
//! [`Register`] is what an instruction set can do, and [`Multiply`] how it multiplies [elements](super::element::PackedElement). Every sum runs
//! over k in order, in fused multiply-adds, so each instruction set gives the same bits (`vdpbf16ps` too, which adds the odd
//! product of a pair before the even one; it alone takes denormal numbers for zeros). AMX gives its own.

use super::arguments::{AccumulatorInit, Arguments, Target};
use super::element::PackedElement;
use super::isa::ROWS_PORTABLE;
use super::prefetch::{fetch, fetch_near};

/// A register of f32 numbers.
///
/// # Safety
/// The methods may be called only where the processor has the instructions; pointers must be good for `count` numbers, or
/// elements, of which there are at most as many as lanes.
pub(super) trait Register: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32, count: usize);
}

/// What a tile fetches while it multiplies: it would wait for both, since they come from far.
#[derive(Clone, Copy)]
struct Ahead<T> {
    /// The next tile of C.
    c: *const f32,
    /// Of the part of B that is next, as many steps along k as the tile has rows.
    b: *const T,
}

/// How a register multiplies elements.
///
/// # Safety
/// As for [`Register`]; `left` reads one element, `right` as many as there are lanes.
pub(super) trait Multiply<T>: Register {
    type ViewA: Copy;
    type Right: Copy;
    unsafe fn left(element: *const T) -> Self::ViewA;
    unsafe fn right(elements: *const T) -> Self::Right;
    /// The sums with the products added.
    unsafe fn with(self, left: Self::ViewA, right: Self::Right) -> Self;
}

/// All rows, in tiles of `R`.
///
/// # Safety
/// As for [`run`](super::dispatch::run).
#[inline(always)]
pub(super) unsafe fn tiles<S: Multiply<T>, T: PackedElement, const R: usize>(
    mut arguments: Arguments<T>,
    mut target: Target,
    rows: usize,
) {
    let mut ahead = Ahead { c: target.c.cast_const(), b: arguments.next };
    let next_panel = target.c.wrapping_add(arguments.width).cast_const();
    for row in (0..rows).step_by(R) {
        ahead.c = if row + R < rows { ahead.c.wrapping_add(R * target.stride) } else { next_panel };
        // SAFETY: the caller's promise.
        unsafe {
            match rows - row {
                7 if R > 7 => across::<S, T, 7>(arguments, target, ahead),
                6 if R > 6 => across::<S, T, 6>(arguments, target, ahead),
                5 if R > 5 => across::<S, T, 5>(arguments, target, ahead),
                4 if R > 4 => across::<S, T, 4>(arguments, target, ahead),
                3 if R > 3 => across::<S, T, 3>(arguments, target, ahead),
                2 if R > 2 => across::<S, T, 2>(arguments, target, ahead),
                1 if R > 1 => across::<S, T, 1>(arguments, target, ahead),
                _ => across::<S, T, R>(arguments, target, ahead),
            }
        }
        arguments.a = arguments.a.wrapping_add(arguments.tile);
        target.c = target.c.wrapping_add(R * target.stride);
        ahead.b = ahead.b.wrapping_add(R * arguments.width);
    }
}

#[inline(always)]
unsafe fn across<S: Multiply<T>, T: PackedElement, const R: usize>(
    arguments: Arguments<T>,
    target: Target,
    ahead: Ahead<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match arguments.width / S::LANES {
            3 => fixed::<S, T, R, 3>(arguments, target, ahead),
            2 => fixed::<S, T, R, 2>(arguments, target, ahead),
            _ => fixed::<S, T, R, 1>(arguments, target, ahead),
        }
    }
}

#[inline(always)]
unsafe fn fixed<S: Multiply<T>, T: PackedElement, const R: usize, const V: usize>(
    arguments: Arguments<T>,
    target: Target,
    ahead: Ahead<T>,
) {
    let Target { c, stride, columns, begin } = target;
    let count = |v: usize| columns.saturating_sub(v * S::LANES).min(S::LANES);
    // SAFETY: the caller's promise: the target and a bias have as many columns, A and B as many elements.
    unsafe {
        let mut sums = [[S::zero(); V]; R];
        match begin {
            AccumulatorInit::Zeros => {}
            AccumulatorInit::Bias(bias) => {
                for v in 0..V {
                    let begin = S::load(bias.as_ptr().wrapping_add(v * S::LANES), count(v));
                    for sums in &mut sums {
                        sums[v] = begin;
                    }
                }
            }
            AccumulatorInit::There => {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(c.wrapping_add(r * stride + v * S::LANES), count(v));
                    }
                }
            }
        }
        let (mut a, mut b) = (arguments.a, arguments.b);
        // Between the fetches for one row and the next lie steps along k, so that not all are under way at once.
        let steps = arguments.depth / R;
        for row in 0..=R {
            let steps = if row < R { steps } else { arguments.depth - R * steps };
            if row < R {
                for v in 0..V {
                    fetch_near(ahead.c.wrapping_add(row * stride + v * S::LANES));
                    fetch(ahead.b.wrapping_add((row * V + v) * S::LANES));
                }
            }
            for _ in 0..steps {
                let mut right = [S::right(b); V];
                for (v, right) in right.iter_mut().enumerate().skip(1) {
                    *right = S::right(b.add(v * S::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let left = S::left(a.add(r * arguments.row));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = sum.with(left, right);
                    }
                }
                a = a.wrapping_add(arguments.step);
                b = b.wrapping_add(V * S::LANES);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(c.wrapping_add(r * stride + v * S::LANES), count(v));
            }
        }
    }
}

pub(super) unsafe fn portable<T: PackedElement>(arguments: Arguments<T>, target: Target, rows: usize)
where
    Four: Multiply<T>,
{
    // SAFETY: the caller's promise.
    unsafe { tiles::<Four, T, ROWS_PORTABLE>(arguments, target, rows) }
}

/// A pair of bf16 numbers as f32: the first of the two, and the second.
#[inline(always)]
pub(super) fn halves(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

/// Four lanes in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Four([f32; 4]);

impl Register for Four {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 4];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *lane = unsafe { *from.add(i) };
        }
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        for (i, lane) in self.0.into_iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = lane };
        }
    }
}

impl Multiply<f32> for Four {
    type ViewA = f32;
    type Right = [f32; 4];

    #[inline(always)]
    unsafe fn left(element: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *element }
    }

    #[inline(always)]
    unsafe fn right(elements: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { elements.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn with(mut self, left: f32, right: [f32; 4]) -> Self {
        for (sum, right) in self.0.iter_mut().zip(right) {
            *sum = left.mul_add(right, *sum);
        }
        self
    }
}

impl Multiply<u32> for Four {
    type ViewA = (f32, f32);
    type Right = [u32; 4];

    #[inline(always)]
    unsafe fn left(element: *const u32) -> (f32, f32) {
        // SAFETY: the caller's promise.
        halves(unsafe { *element })
    }

    #[inline(always)]
    unsafe fn right(elements: *const u32) -> [u32; 4] {
        // SAFETY: the caller's promise.
        unsafe { elements.cast::<[u32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn with(mut self, (first, second): (f32, f32), right: [u32; 4]) -> Self {
        for (sum, right) in self.0.iter_mut().zip(right) {
            let right = halves(right);
            *sum = first.mul_add(right.0, second.mul_add(right.1, *sum));
        }
        self
    }
}
