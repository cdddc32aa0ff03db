//! `C = A B` with the factors rounded to bf16 and products accumulated in f32 (AVX-512 BF16: `vdpbf16ps`).
//!
//! ```text
//! A  m x k   rounded to pairs (k, k + 1) of one u32, kept in the order in which they lie
//! B  k x n   rounded to pairs, in panels of 32 columns: [n / 32][k / 2][32]
//! C  m x n   f32, made in tiles of 12 x 32: 24 registers of 16 sums each over all of k
//! ```
//!
//! A tile's sums never leave the registers, so each element of C is one sum in one fixed order, whatever the threads.
//! An instruction takes a pair from each side: A's is broadcast from memory, B's are two loads of 16 columns.

#![cfg(target_arch = "x86_64")]

use super::{Factor, Form};
use crate::storage::Parts;
use rayon::prelude::*;
use std::arch::x86_64::*;

/// Rows of a tile.
const ROWS: usize = 12;
/// Columns of a tile and of a panel of B.
const COLUMNS: usize = 32;
/// Tiles of rows that one task makes with all panels of its columns: what A needs of the L2 cache.
const TILES: usize = 16;

/// Whether this processor multiplies bf16.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// A rounded to pairs: the pair `p` of row `r` stands at `r * row + p * pair`.
struct Left {
    pairs: Vec<u32>,
    row: usize,
    pair: usize,
}

/// B rounded to pairs, in panels.
struct Right {
    pairs: Vec<u32>,
}

/// `A B`, plus `bias` on every row if there is one; `[m, n]` row by row. The processor must have the instructions.
pub(crate) fn matmul(a: Factor, b: Factor, bias: Option<&[f32]>) -> Vec<f32> {
    assert!(available());
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let mut c = crate::storage::uninit(m * n);
    let half = k.div_ceil(2);
    let (left, right) = rayon::join(|| left(a), || right(b));
    let panels = n.div_ceil(COLUMNS);
    // Tasks are blocks of C: rows by TILES tiles, columns by as many panels as give each thread a few tasks.
    let row_blocks = m.div_ceil(ROWS * TILES);
    let panel_block = panels.div_ceil(16_usize.div_ceil(row_blocks)).max(1);
    let column_blocks = panels.div_ceil(panel_block);
    let parts = Parts::new(&mut c);
    (0..row_blocks * column_blocks).into_par_iter().for_each(|task| {
        let (row_block, column_block) = (task % row_blocks, task / row_blocks);
        let rows = row_block * ROWS * TILES..m.min((row_block + 1) * ROWS * TILES);
        for panel in column_block * panel_block..panels.min((column_block + 1) * panel_block) {
            let column = panel * COLUMNS;
            let b = &right.pairs[panel * half * COLUMNS..(panel + 1) * half * COLUMNS];
            let width = COLUMNS.min(n - column);
            let mask = u32::MAX >> (COLUMNS - width);
            let start = bias.map(|bias| &bias[column..column + width]);
            for row in rows.clone().step_by(ROWS) {
                let count = ROWS.min(rows.end - row);
                let tile = Tile {
                    a: left.pairs[row * left.row..].as_ptr(),
                    row: left.row,
                    pair: left.pair,
                    b: b.as_ptr(),
                    half,
                    c: parts.pointer(row * n + column),
                    stride: n,
                    mask,
                    start,
                };
                // SAFETY: the instructions are there (asserted above); the rows of A and the panel of B lie in their
                // buffers by construction; no other task writes these elements of C.
                unsafe { tile.make(count) };
            }
        }
    });
    c
}

struct Tile<'a> {
    a: *const u32,
    row: usize,
    pair: usize,
    b: *const u32,
    half: usize,
    c: *mut f32,
    stride: usize,
    mask: u32,
    start: Option<&'a [f32]>,
}

impl Tile<'_> {
    /// # Safety
    /// The pointers must be good for `count` rows, `half` pairs and the columns of the mask; the processor must have
    /// AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn make(&self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                12 => self.rows::<12>(),
                11 => self.rows::<11>(),
                10 => self.rows::<10>(),
                9 => self.rows::<9>(),
                8 => self.rows::<8>(),
                7 => self.rows::<7>(),
                6 => self.rows::<6>(),
                5 => self.rows::<5>(),
                4 => self.rows::<4>(),
                3 => self.rows::<3>(),
                2 => self.rows::<2>(),
                _ => self.rows::<1>(),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn rows<const R: usize>(&self) {
        let (low_mask, high_mask) = (self.mask as u16, (self.mask >> 16) as u16);
        // SAFETY: the caller's promise, for every load and store below.
        unsafe {
            let (low, high) = match self.start {
                Some(bias) => (
                    _mm512_maskz_loadu_ps(low_mask, bias.as_ptr()),
                    _mm512_maskz_loadu_ps(high_mask, bias.as_ptr().wrapping_add(16)),
                ),
                None => (_mm512_setzero_ps(), _mm512_setzero_ps()),
            };
            let mut sums = [[low, high]; R];
            let (mut a, mut b) = (self.a, self.b);
            for _ in 0..self.half {
                let b0: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
                let b1: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.wrapping_add(16).cast()));
                for (r, sum) in sums.iter_mut().enumerate() {
                    let pair: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.wrapping_add(r * self.row) as i32));
                    sum[0] = _mm512_dpbf16_ps(sum[0], pair, b0);
                    sum[1] = _mm512_dpbf16_ps(sum[1], pair, b1);
                }
                a = a.wrapping_add(self.pair);
                b = b.wrapping_add(COLUMNS);
            }
            for (r, sum) in sums.iter().enumerate() {
                let c = self.c.wrapping_add(r * self.stride);
                _mm512_mask_storeu_ps(c, low_mask, sum[0]);
                _mm512_mask_storeu_ps(c.wrapping_add(16), high_mask, sum[1]);
            }
        }
    }
}

/// Rounds A. Row by row it stays so, `[m][k / 2]`; transposed it becomes `[k / 2][m]`.
fn left(a: Factor) -> Left {
    let (m, k) = (a.rows, a.columns);
    let half = k.div_ceil(2);
    let mut pairs = crate::storage::uninit(m * half);
    match a.form {
        Form::Plain => {
            pairs.par_chunks_mut(half.max(1) * 16).zip(a.values.par_chunks(k.max(1) * 16)).for_each(
                |(pairs, values)| {
                    for (pairs, values) in pairs.chunks_exact_mut(half).zip(values.chunks_exact(k)) {
                        // SAFETY: `matmul` asserted that the instructions are there.
                        unsafe { round_along(pairs, values) };
                    }
                },
            );
            Left { pairs, row: half, pair: 1 }
        }
        Form::Transposed => {
            pairs.par_chunks_mut(m.max(1)).enumerate().for_each(|(p, pairs)| {
                let (even, odd) = two_rows(a.values, 2 * p, m);
                // SAFETY: as above.
                unsafe { round_across(pairs, even, odd) };
            });
            Left { pairs, row: 1, pair: m }
        }
    }
}

/// Rounds B into panels.
fn right(b: Factor) -> Right {
    let (k, n) = (b.rows, b.columns);
    let half = k.div_ceil(2);
    let mut pairs = vec![0; n.div_ceil(COLUMNS) * half * COLUMNS];
    pairs.par_chunks_mut((half * COLUMNS).max(1)).enumerate().for_each(|(panel, pairs)| {
        let column = panel * COLUMNS;
        let width = COLUMNS.min(n - column);
        match b.form {
            Form::Plain => {
                for (p, pairs) in pairs.chunks_exact_mut(COLUMNS).enumerate() {
                    let (even, odd) = two_rows(b.values, 2 * p, n);
                    let odd = odd.map(|odd| &odd[column..column + width]);
                    // SAFETY: `matmul` asserted that the instructions are there.
                    unsafe { round_across(&mut pairs[..width], &even[column..column + width], odd) };
                }
            }
            Form::Transposed => {
                let mut rounded = vec![0_u32; half];
                for j in 0..width {
                    // SAFETY: as above.
                    unsafe { round_along(&mut rounded, &b.values[(column + j) * k..(column + j + 1) * k]) };
                    for (p, &pair) in rounded.iter().enumerate() {
                        pairs[p * COLUMNS + j] = pair;
                    }
                }
            }
        }
    });
    Right { pairs }
}

/// Rows `row` and `row + 1` of a matrix of this width; the second is missing after the last.
fn two_rows(values: &[f32], row: usize, width: usize) -> (&[f32], Option<&[f32]>) {
    let odd = values.get((row + 1) * width..(row + 2) * width);
    (&values[row * width..(row + 1) * width], odd)
}

/// Pairs of neighbours: `pairs[p] = (values[2 p], values[2 p + 1])`, the last with 0 if it has none.
///
/// # Safety
/// The processor must have AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_along(pairs: &mut [u32], values: &[f32]) {
    let mut at = 0;
    while at + 32 <= values.len() {
        // SAFETY: 32 values from `at` on, and 16 pairs, are in bounds.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(values.as_ptr().add(at)), _mm512_loadu_ps(values.as_ptr().add(at + 16)));
            let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(pairs.as_mut_ptr().add(at / 2).cast(), rounded);
        }
        at += 32;
    }
    while at < values.len() {
        let odd = values.get(at + 1).copied().unwrap_or(0.0);
        pairs[at / 2] = round(values[at]) | round(odd) << 16;
        at += 2;
    }
}

/// Pairs of two rows: `pairs[j] = (even[j], odd[j])`, with 0 for a missing row.
///
/// # Safety
/// The processor must have AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_across(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
    let mut at = 0;
    while at + 16 <= even.len() {
        // SAFETY: 16 values of each row from `at` on, and 16 pairs, are in bounds.
        unsafe {
            let widen = |row: &[f32]| {
                let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(row.as_ptr().add(at))));
                _mm512_cvtepu16_epi32(rounded)
            };
            let low = widen(even);
            let high = odd.map_or(_mm512_setzero_si512(), |odd| _mm512_slli_epi32::<16>(widen(odd)));
            _mm512_storeu_si512(pairs.as_mut_ptr().add(at).cast(), _mm512_or_si512(low, high));
        }
        at += 16;
    }
    for at in at..even.len() {
        pairs[at] = round(even[at]) | odd.map_or(0, |odd| round(odd[at]) << 16);
    }
}

/// To bf16, ties to even, as the instructions round.
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) | 0x40;
    }
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16
}
