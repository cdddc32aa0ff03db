//! A tile of a product, in registers: some rows ([`Isa::rows`]) and up to three registers of columns, over a range of k.
//!
//! ```text
//! C[r][j] = begin + Σ_p A[r][p] B[p][j]     A broadcast cell by cell, B in whole registers, sums never leave theirs
//! ```
//!
//! One loop serves both precisions and every instruction set but AMX, whose registers are tiles themselves (`amx.rs`):
//! [`Register`] is what an instruction set can do, and [`Multiply`] how it multiplies [cells](super::PackedElement). Every sum runs
//! over k in order, in fused multiply-adds, so each instruction set gives the same bits (`vdpbf16ps` too, which adds the odd
//! product of a pair before the even one; it alone takes denormal numbers for zeros). AMX gives its own.

use super::PackedElement;
use super::panels::{PackedB, ViewA};
#[cfg(target_arch = "x86_64")]
use super::{amx, x86};
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// An instruction set that products are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// The matrix unit, which multiplies pairs alone. It never comes without AVX-512 BF16.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// The same code with the unit in plain Rust, for tests where there is no unit.
    #[cfg(all(test, target_arch = "x86_64"))]
    AmxEmulated,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Four lanes in plain Rust. On 64-bit Arm the compiler makes NEON of it, fused multiply-adds included.
    Portable,
}

impl Isa {
    /// All that this processor multiplies such cells with, the best first.
    pub(crate) fn all<T: PackedElement>() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            let pairs = wide && is_x86_feature_detected!("avx512bf16");
            let candidates = [
                (Self::Amx, T::DEPTH == 2 && pairs && amx::available()),
                (Self::Avx512Bf16, pairs),
                (Self::Avx512, wide),
                (Self::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            ];
            all.extend(candidates.into_iter().filter_map(|(isa, here)| here.then_some(isa)));
        }
        all.push(Self::Portable);
        all
    }

    /// All that there are on processors of this kind, the best first.
    pub(crate) const EVERY: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Amx,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Bf16,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Portable,
    ];

    /// All that the tests can run on this processor: the matrix unit's code in any case.
    #[cfg(test)]
    pub(crate) fn tested<T: PackedElement>() -> Vec<Self> {
        let mut all = Self::all::<T>();
        #[cfg(target_arch = "x86_64")]
        if T::DEPTH == 2 {
            all.push(Self::AmxEmulated);
        }
        all
    }

    /// The best that this processor multiplies such cells with.
    pub(crate) fn here<T: PackedElement>() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            static F32: LazyLock<Isa> = LazyLock::new(|| Isa::all::<f32>()[0]);
            static PAIRS: LazyLock<Isa> = LazyLock::new(|| Isa::all::<u32>()[0]);
            if T::DEPTH == 2 { *PAIRS } else { *F32 }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx_bf16",
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => "amx_bf16, emulated",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512_bf16",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether it multiplies bf16 in one instruction. Without, pairs are widened: right, but no faster than f32.
    pub(crate) fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self, Self::Amx | Self::Avx512Bf16);
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether a left factor must lie row by row.
    pub(crate) fn takes_rows(self) -> bool {
        #[cfg(all(test, target_arch = "x86_64"))]
        if self == Self::AmxEmulated {
            return true;
        }
        #[cfg(target_arch = "x86_64")]
        return self == Self::Amx;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Rows of a tile: with the registers across, as many sums as there are registers for.
    pub(crate) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::ROWS,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => amx::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 | Self::Avx512 => x86::ROWS_512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::ROWS_256,
            Self::Portable => ROWS_PORTABLE,
        }
    }

    /// Registers across a tile at most.
    pub(crate) fn across(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => 3,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => 3,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 2,
            Self::Portable if cfg!(target_arch = "aarch64") => 3,
            Self::Portable => 2,
        }
    }

    /// Numbers that a register holds.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => 16,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            Self::Portable => 4,
        }
    }
}

/// What the sums of a tile begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AccumulatorInit<'a> {
    Zeros,
    /// One number a column, for every row.
    Bias(&'a [f32]),
    /// What stands in C.
    There,
}

/// Where a tile goes: `stride` numbers from row to row, and the columns that are stored.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub c: *mut f32,
    pub stride: usize,
    pub columns: usize,
    pub begin: AccumulatorInit<'a>,
}

/// What the tiles of some rows and one panel read, over a range of k: pointers to their first cells, and distances.
#[derive(Clone, Copy)]
pub(crate) struct Strip<T> {
    pub(super) a: *const T,
    /// From the first row of a tile to that of the next.
    tile: usize,
    pub(super) row: usize,
    /// From one cell along k to the next.
    pub(super) step: usize,
    pub(super) b: *const T,
    pub(super) width: usize,
    pub(super) depth: usize,
    isa: Isa,
}

impl<T: PackedElement> Strip<T> {
    /// Of some rows, the first of which begins a tile, in a panel, over a range of cells along k.
    pub(super) fn new(a: ViewA<T>, b: &PackedB<T>, rows: &Range<usize>, panel: usize, depth: Range<usize>) -> Self {
        let (height, first) = (b.isa.rows(), depth.start - a.start);
        let last = a.at(a.rows - 1) + (depth.end - a.start).saturating_sub(1) * a.step;
        assert!(
            rows.start < a.rows
                && rows.end <= a.rows
                && a.height.is_none_or(|of| of == height && rows.start.is_multiple_of(of) && !b.isa.takes_rows())
                && last < a.cells.len().max(1)
                && depth.end <= b.depth,
            "a left factor beyond its cells"
        );
        Self {
            a: a.cells[a.at(rows.start) + first * a.step..].as_ptr(),
            tile: a.at(height),
            row: a.row,
            step: a.step,
            b: b.cells[(panel * b.depth + depth.start) * b.width..].as_ptr(),
            width: b.width,
            depth: depth.len(),
            isa: b.isa,
        }
    }

    /// Makes so many rows of the panel's width and stores the columns that the target has.
    ///
    /// # Safety
    /// A must have the rows; the target must be good for them, and no one else may touch it; the processor must have the
    /// instructions.
    pub(super) unsafe fn make(self, target: Target, rows: usize) {
        let fits = match target.begin {
            AccumulatorInit::Bias(bias) => bias.len() == target.columns,
            AccumulatorInit::Zeros | AccumulatorInit::There => true,
        };
        assert!(fits && target.columns <= self.width);
        // SAFETY: the caller's promise.
        unsafe { T::strip(self, target, rows) }
    }
}

/// A register of f32 numbers.
///
/// # Safety
/// The methods may be called only where the processor has the instructions; pointers must be good for `count` numbers, or
/// cells, of which there are at most as many as lanes.
pub(super) trait Register: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32, count: usize);
}

/// How a register multiplies cells.
///
/// # Safety
/// As for [`Register`]; `left` reads one cell, `right` as many as there are lanes.
pub(super) trait Multiply<T>: Register {
    type ViewA: Copy;
    type Right: Copy;
    unsafe fn left(cell: *const T) -> Self::ViewA;
    unsafe fn right(cells: *const T) -> Self::Right;
    /// The sums with the products added.
    unsafe fn with(self, left: Self::ViewA, right: Self::Right) -> Self;
}

/// All rows, in tiles of `R`.
///
/// # Safety
/// As for [`Strip::make`].
#[inline(always)]
pub(super) unsafe fn tiles<S: Multiply<T>, T: PackedElement, const R: usize>(
    mut strip: Strip<T>,
    mut target: Target,
    rows: usize,
) {
    for row in (0..rows).step_by(R) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows - row {
                7 if R > 7 => across::<S, T, 7>(strip, target),
                6 if R > 6 => across::<S, T, 6>(strip, target),
                5 if R > 5 => across::<S, T, 5>(strip, target),
                4 if R > 4 => across::<S, T, 4>(strip, target),
                3 if R > 3 => across::<S, T, 3>(strip, target),
                2 if R > 2 => across::<S, T, 2>(strip, target),
                1 if R > 1 => across::<S, T, 1>(strip, target),
                _ => across::<S, T, R>(strip, target),
            }
        }
        strip.a = strip.a.wrapping_add(strip.tile);
        target.c = target.c.wrapping_add(R * target.stride);
    }
}

#[inline(always)]
unsafe fn across<S: Multiply<T>, T: PackedElement, const R: usize>(strip: Strip<T>, target: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        match strip.width / S::LANES {
            3 => fixed::<S, T, R, 3>(strip, target),
            2 => fixed::<S, T, R, 2>(strip, target),
            _ => fixed::<S, T, R, 1>(strip, target),
        }
    }
}

#[inline(always)]
unsafe fn fixed<S: Multiply<T>, T: PackedElement, const R: usize, const V: usize>(strip: Strip<T>, target: Target) {
    let Target { c, stride, columns, begin } = target;
    let count = |v: usize| columns.saturating_sub(v * S::LANES).min(S::LANES);
    // SAFETY: the caller's promise: the target and a bias have as many columns, A and B as many cells.
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
        let (mut a, mut b) = (strip.a, strip.b);
        for _ in 0..strip.depth {
            let mut right = [S::right(b); V];
            for (v, right) in right.iter_mut().enumerate().skip(1) {
                *right = S::right(b.add(v * S::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let left = S::left(a.add(r * strip.row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = sum.with(left, right);
                }
            }
            a = a.wrapping_add(strip.step);
            b = b.wrapping_add(V * S::LANES);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(c.wrapping_add(r * stride + v * S::LANES), count(v));
            }
        }
    }
}

/// The tiles of f32 numbers.
///
/// # Safety
/// As for [`Strip::make`].
pub(super) unsafe fn of_f32(strip: Strip<f32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match strip.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512 => x86::avx512(strip, target, rows),
            #[cfg(all(test, target_arch = "x86_64"))]
            Isa::AmxEmulated => unreachable!("the unit multiplies pairs alone"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(strip, target, rows),
            Isa::Portable => portable(strip, target, rows),
        }
    }
}

/// The tiles of pairs of bf16 numbers.
///
/// # Safety
/// As for [`Strip::make`].
pub(super) unsafe fn of_pairs(strip: Strip<u32>, target: Target, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match strip.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::strip::<amx::Instructions>(strip, target, rows),
            #[cfg(all(test, target_arch = "x86_64"))]
            Isa::AmxEmulated => amx::strip::<amx::Emulated>(strip, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => x86::avx512_bf16(strip, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(strip, target, rows),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(strip, target, rows),
            Isa::Portable => portable(strip, target, rows),
        }
    }
}

/// As many sums as there are registers for.
const ROWS_PORTABLE: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };

unsafe fn portable<T: PackedElement>(strip: Strip<T>, target: Target, rows: usize)
where
    Four: Multiply<T>,
{
    // SAFETY: the caller's promise.
    unsafe { tiles::<Four, T, ROWS_PORTABLE>(strip, target, rows) }
}

/// A pair of bf16 numbers as f32: the first of the two, and the second.
#[inline(always)]
pub(super) fn halves(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

/// Four lanes in plain Rust.
#[derive(Clone, Copy)]
struct Four([f32; 4]);

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
    unsafe fn left(cell: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *cell }
    }

    #[inline(always)]
    unsafe fn right(cells: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { cells.cast::<[f32; 4]>().read_unaligned() }
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
    unsafe fn left(cell: *const u32) -> (f32, f32) {
        // SAFETY: the caller's promise.
        halves(unsafe { *cell })
    }

    #[inline(always)]
    unsafe fn right(cells: *const u32) -> [u32; 4] {
        // SAFETY: the caller's promise.
        unsafe { cells.cast::<[u32; 4]>().read_unaligned() }
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
