//! A tile of a product in whole numbers: some rows and up to three registers of columns, all of k.

use super::Int8Isa;
use crate::gemm::prefetch::fetch;

/// Rows of a tile where there are sixteen registers.
pub(super) const ROWS_NARROW: usize = 4;

/// What a tile reads.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// `[rows][depth]`
    pub x: *const u32,
    pub row_scales: *const f32,
    pub row_zeros: *const i32,
    /// `[depth][width]`
    pub w: *const u32,
    /// As many steps along k of the next panel as the tile has rows, to be fetched meanwhile.
    pub next: *const u32,
    pub depth: usize,
    /// Of each column of the panel.
    pub sums: *const i32,
    pub scales: *const f32,
    pub bias: *const f32,
}

/// Where it goes: `stride` numbers from row to row, and the columns that are stored.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub c: *mut f32,
    pub stride: usize,
    pub columns: usize,
}

/// A register of sums.
///
/// # Safety
/// The methods may be called only where the processor has the instructions; pointers must be good for as many numbers as lanes,
/// a target for `count` of them.
pub(super) trait Sums: Copy {
    const LANES: usize;
    type X: Copy;
    type W: Copy;
    /// What sums begin with where 0 has this byte: less `zero` times the sums of the weights.
    unsafe fn start(sums: *const i32, zero: i32) -> Self;
    /// One element, for all lanes.
    unsafe fn x(element: *const u32) -> Self::X;
    unsafe fn w(elements: *const u32) -> Self::W;
    /// With the products of four bytes each.
    unsafe fn with(self, x: Self::X, w: Self::W) -> Self;
    /// Stores `sum (scale scales) + bias`.
    unsafe fn store(self, scale: f32, scales: *const f32, bias: *const f32, to: *mut f32, count: usize);
}

impl Tile {
    /// Makes so many rows of a panel of this width.
    ///
    /// # Safety
    /// There must be these rows, and all columns of the panel; the target must be good for them, and no one else may touch it.
    pub(super) unsafe fn run(self, isa: Int8Isa, rows: usize, width: usize, target: Target) {
        // SAFETY: the caller's promise; the panels were made for this instruction set.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Avx512Vnni => super::x86::avx512_vnni(self, rows, width, target),
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Avx2 => super::x86::avx2(self, rows, width, target),
                #[cfg(target_arch = "aarch64")]
                Int8Isa::Dotprod => super::arm::dotprod(self, rows, width, target),
                Int8Isa::Portable => self.of_rows::<Eight, ROWS_NARROW>(rows, width, target),
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn of_rows<S: Sums, const R: usize>(self, rows: usize, width: usize, target: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                7 if R > 7 => self.across::<S, 7>(width, target),
                6 if R > 6 => self.across::<S, 6>(width, target),
                5 if R > 5 => self.across::<S, 5>(width, target),
                4 if R > 4 => self.across::<S, 4>(width, target),
                3 if R > 3 => self.across::<S, 3>(width, target),
                2 if R > 2 => self.across::<S, 2>(width, target),
                1 if R > 1 => self.across::<S, 1>(width, target),
                _ => self.across::<S, R>(width, target),
            }
        }
    }

    #[inline(always)]
    unsafe fn across<S: Sums, const R: usize>(self, width: usize, target: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            match width / S::LANES {
                3 => self.fixed::<S, R, 3>(target),
                2 => self.fixed::<S, R, 2>(target),
                _ => self.fixed::<S, R, 1>(target),
            }
        }
    }

    #[inline(always)]
    unsafe fn fixed<S: Sums, const R: usize, const V: usize>(self, Target { c, stride, columns }: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::start(self.sums, 0); V]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::start(self.sums.add(v * S::LANES), *self.row_zeros.add(r));
                }
            }
            let (mut x, mut w) = (self.x, self.w);
            let steps = self.depth / R;
            for row in 0..=R {
                let steps = if row < R { steps } else { self.depth - R * steps };
                if row < R {
                    for v in 0..V {
                        fetch(self.next.wrapping_add((row * V + v) * S::LANES));
                    }
                }
                for _ in 0..steps {
                    let mut right = [S::w(w); V];
                    for (v, right) in right.iter_mut().enumerate().skip(1) {
                        *right = S::w(w.add(v * S::LANES));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let left = S::x(x.add(r * self.depth));
                        for (sum, right) in sums.iter_mut().zip(right) {
                            *sum = sum.with(left, right);
                        }
                    }
                    x = x.wrapping_add(1);
                    w = w.wrapping_add(V * S::LANES);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let scale = *self.row_scales.add(r);
                for (v, sum) in sums.iter().enumerate() {
                    let at = v * S::LANES;
                    let count = columns.saturating_sub(at).min(S::LANES);
                    sum.store(scale, self.scales.add(at), self.bias.add(at), c.wrapping_add(r * stride + at), count);
                }
            }
        }
    }
}

/// Eight sums in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Eight([i32; 8]);

impl Sums for Eight {
    const LANES: usize = 8;
    type X = [u8; 4];
    type W = [u32; 8];

    #[inline(always)]
    unsafe fn start(sums: *const i32, zero: i32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { sums.cast::<[i32; 8]>().read_unaligned() }.map(|sum| -zero * sum))
    }

    #[inline(always)]
    unsafe fn x(element: *const u32) -> [u8; 4] {
        // SAFETY: the caller's promise.
        unsafe { *element }.to_ne_bytes()
    }

    #[inline(always)]
    unsafe fn w(elements: *const u32) -> [u32; 8] {
        // SAFETY: the caller's promise.
        unsafe { elements.cast::<[u32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn with(mut self, x: [u8; 4], w: [u32; 8]) -> Self {
        for (sum, w) in self.0.iter_mut().zip(w) {
            for (x, w) in x.into_iter().zip(w.to_le_bytes()) {
                *sum += i32::from(x) * i32::from(w.cast_signed());
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn store(self, scale: f32, scales: *const f32, bias: *const f32, to: *mut f32, count: usize) {
        for (i, sum) in self.0.into_iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = sum as f32 * (scale * *scales.add(i)) + *bias.add(i) };
        }
    }
}
