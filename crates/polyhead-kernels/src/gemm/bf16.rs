//! `C = A B` with the factors rounded to bf16 and products accumulated in f32 (AVX-512 BF16: `vdpbf16ps`).
//!
//! ```text
//! A  m x k   pairs (k, k + 1) of one u32: row by row as activations lie, or in tiles where A is read transposed
//! B  k x n   the same pairs, in panels of up to 48 columns: [n / 48][k / 2][48]
//! C  m x n   f32, made in tiles of 8 x 48: 24 registers of 16 sums each over all of k
//! ```
//!
//! A tile's sums never leave the registers, so each element of C is one sum in one fixed order, whatever the threads.
//! An instruction takes a pair from each side: A's is broadcast from memory, B's are three loads of 16 columns. The
//! finished tile goes to a [`Sink`] while it is in the first cache.

use super::{Part, Sink};
use crate::storage::Parts;
use crate::workspace::Buffer;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Columns of a register.
const LANES: usize = 16;
/// Columns of the widest panel.
const WIDEST: usize = 3 * LANES;

/// Whether this processor multiplies bf16.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::LazyLock;
        static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
            is_x86_feature_detected!("avx512bf16")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
        });
        *AVAILABLE
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A, or a part of it: the pair `p` of row `r` stands at `(r / 8) * tile + (r % 8) * row + p * pair`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pairs: &'a [u32],
    rows: usize,
    tile: usize,
    row: usize,
    pair: usize,
}

impl<'a> Left<'a> {
    /// Row by row, `stride` pairs from one to the next.
    pub(crate) fn plain(pairs: &'a [u32], rows: usize, stride: usize) -> Self {
        Self { pairs, rows, tile: ROWS * stride, row: stride, pair: 1 }
    }

    /// `[k / 2][rows]`: pairs across the rows of the matrix whose transpose this is.
    pub(crate) fn across(pairs: &'a [u32], rows: usize) -> Self {
        Self { pairs, rows, tile: ROWS, row: 1, pair: rows }
    }
}

/// The transpose of a rounded matrix as a left factor: `[rows / 8][k / 2][8]`, each tile's pairs end to end.
pub(crate) struct Transposed {
    pairs: Buffer<u32>,
    rows: usize,
    half: usize,
}

impl Transposed {
    /// Of `columns` (from an even one on) of a matrix of so many rows, of which a row takes `stride` pairs.
    pub(crate) fn new(matrix: &[u32], rows: usize, columns: Range<usize>, stride: usize) -> Self {
        /// Pairs of rows that one task takes.
        const BLOCK: usize = 32;
        let (half, count) = (rows.div_ceil(2), columns.len());
        let mut pairs = Buffer::uninit(count.div_ceil(ROWS) * half * ROWS);
        let parts = Parts::new(&mut pairs);
        (0..half.div_ceil(BLOCK)).into_par_iter().for_each_init(Vec::new, |across, block| {
            // The last tile may lack rows of the result: they are read, and their sums thrown away.
            across.resize(count.next_multiple_of(ROWS), 0);
            for p in block * BLOCK..half.min((block + 1) * BLOCK) {
                let row = |row: usize| &matrix[row * stride + columns.start / 2..][..count.div_ceil(2)];
                interleave(&mut across[..count], row(2 * p), (2 * p + 1 < rows).then(|| row(2 * p + 1)));
                for (tile, across) in across.chunks_exact(ROWS).enumerate() {
                    // SAFETY: each pair of rows is visited once.
                    unsafe { parts.part((tile * half + p) * ROWS, ROWS) }.copy_from_slice(across);
                }
            }
        });
        Self { pairs, rows: columns.len(), half }
    }

    pub(crate) fn left(&self) -> Left<'_> {
        Left { pairs: &self.pairs, rows: self.rows, tile: ROWS * self.half, row: 1, pair: ROWS }
    }
}

/// B in panels.
pub(crate) struct Panels {
    pub pairs: Buffer<u32>,
    pub half: usize,
    pub columns: usize,
    pub width: usize,
}

impl Panels {
    fn uninit(k: usize, columns: usize) -> Self {
        let (half, width) = (k.div_ceil(2), width_of(columns));
        let mut pairs = Buffer::uninit(columns.div_ceil(width) * half * width);
        // The columns that the last panel lacks: read, and their sums thrown away, but they must be numbers.
        if !columns.is_multiple_of(width) {
            let last = columns / width * half * width;
            pairs[last..].fill(0);
        }
        Self { pairs, half, columns, width }
    }

    /// B whose column `j` is `rows[j]`: pairs lie along the rows that are given.
    pub(crate) fn along(rows: &[&[f32]]) -> Self {
        let k = rows.first().map_or(0, |row| row.len());
        let mut panels = Self::uninit(k, rows.len());
        let (half, width) = (panels.half, panels.width);
        panels.pairs.par_chunks_mut((half * width).max(1)).zip(rows.par_chunks(width)).for_each(|(panel, rows)| {
            let mut rounded = vec![0_u32; half];
            for (j, row) in rows.iter().enumerate() {
                round_along(&mut rounded, row);
                for (p, &pair) in rounded.iter().enumerate() {
                    panel[p * width + j] = pair;
                }
            }
        });
        panels
    }

    /// B whose rows are given: pairs lie across two of them.
    pub(crate) fn across(rows: &[&[f32]]) -> Self {
        let columns = rows.first().map_or(0, |row| row.len());
        let mut panels = Self::uninit(rows.len(), columns);
        let (half, width) = (panels.half, panels.width);
        panels.pairs.par_chunks_mut((half * width).max(1)).enumerate().for_each(|(index, panel)| {
            let at = index * width..columns.min((index + 1) * width);
            for (panel, two) in panel.chunks_exact_mut(width).zip(rows.chunks(2)) {
                let odd = two.get(1).map(|row| &row[at.clone()]);
                round_across(&mut panel[..at.len()], &two[0][at.clone()], odd);
            }
        });
        panels
    }

    /// B whose column `j` is row `j` of a rounded matrix `[columns, k]` of which a row takes `stride` pairs; in this thread.
    pub(crate) fn along_rounded(matrix: &[u32], columns: usize, k: usize, stride: usize) -> Self {
        let mut panels = Self::uninit(k, columns);
        let (half, width) = (panels.half, panels.width);
        for (index, panel) in panels.pairs.chunks_exact_mut((half * width).max(1)).enumerate() {
            for j in 0..width.min(columns - index * width) {
                let row = &matrix[(index * width + j) * stride..][..half];
                for (p, &pair) in row.iter().enumerate() {
                    panel[p * width + j] = pair;
                }
            }
        }
        panels
    }

    /// B whose rows are those of a rounded matrix of which a row takes `stride` pairs.
    pub(crate) fn across_rounded(matrix: &[u32], rows: usize, columns: usize, stride: usize) -> Self {
        let mut panels = Self::uninit(rows, columns);
        let (half, width) = (panels.half, panels.width);
        panels.pairs.par_chunks_mut((half * width).max(1)).enumerate().for_each(|(index, panel)| {
            let (start, count) = (index * width, width.min(columns - index * width));
            for (p, panel) in panel.chunks_exact_mut(width).enumerate() {
                let row = |row: usize| &matrix[row * stride + start / 2..][..count.div_ceil(2)];
                let odd = (2 * p + 1 < rows).then(|| row(2 * p + 1));
                interleave(&mut panel[..count], row(2 * p), odd);
            }
        });
        panels
    }
}

/// The width of panels for this many columns: whole registers, as many as leave the fewest columns empty.
fn width_of(columns: usize) -> usize {
    let narrow = 2 * LANES;
    match columns.next_multiple_of(LANES).max(LANES) {
        whole if whole <= WIDEST => whole,
        _ if columns.next_multiple_of(narrow) < columns.next_multiple_of(WIDEST) => narrow,
        _ => WIDEST,
    }
}

/// `A B`, handed to `sink` part by part. The processor must have the instructions.
pub(crate) fn product<S: Sink>(a: Left, b: &Panels, sink: &S) {
    assert!(available());
    let (m, n) = (a.rows, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    let panels = n.div_ceil(b.width);
    // Many rows: a task makes some rows from the first column to the last, and the sink sees them while they are in the
    // second cache. Few rows: tasks are blocks of both, so that there are enough of them.
    const MANY: usize = 512;
    if m >= MANY {
        let block = (m / 32).next_multiple_of(ROWS).clamp(32, 128);
        (0..m.div_ceil(block)).into_par_iter().for_each(|task| {
            let rows = task * block..m.min((task + 1) * block);
            tiles(a, b, rows.clone(), 0..panels, sink);
            sink.rows(rows);
        });
        return;
    }
    let row_blocks = m.div_ceil(128);
    let panel_block = if m * n * b.half < 1 << 16 { panels } else { panels.div_ceil(16_usize.div_ceil(row_blocks)) };
    let column_blocks = panels.div_ceil(panel_block);
    let run = |task: usize| {
        let (row_block, column_block) = (task % row_blocks, task / row_blocks);
        let rows = row_block * 128..m.min((row_block + 1) * 128);
        tiles(a, b, rows, column_block * panel_block..panels.min((column_block + 1) * panel_block), sink);
    };
    match row_blocks * column_blocks {
        1 => run(0),
        tasks => (0..tasks).into_par_iter().for_each(run),
    }
    const FEW: usize = 16;
    match m.div_ceil(FEW) {
        1 => sink.rows(0..m),
        tasks => (0..tasks).into_par_iter().for_each(|task| sink.rows(task * FEW..m.min((task + 1) * FEW))),
    }
}

/// The same into a matrix of which a row takes `stride` numbers, in this thread.
///
/// # Safety
/// `c` must be good for all rows and columns, and no one else may touch them.
pub(crate) unsafe fn product_into(a: Left, b: &Panels, c: *mut f32, stride: usize) {
    debug_assert!(available());
    for panel in 0..b.columns.div_ceil(b.width) {
        let column = panel * b.width;
        let columns = b.width.min(b.columns - column);
        for row in (0..a.rows).step_by(ROWS) {
            let tile = Tile::new(a, b, row, panel);
            // SAFETY: the caller's promise.
            unsafe { tile.make(c.add(row * stride + column), stride, ROWS.min(a.rows - row), b.width, columns, None) };
        }
    }
}

fn tiles<S: Sink>(a: Left, b: &Panels, rows: Range<usize>, panels: Range<usize>, sink: &S) {
    let mut values = [0.0_f32; ROWS * WIDEST];
    let bias = sink.bias();
    for panel in panels {
        let column = panel * b.width;
        let columns = b.width.min(b.columns - column);
        let start = bias.map(|bias| &bias[column..column + columns]);
        for row in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - row);
            let tile = Tile::new(a, b, row, panel);
            match sink.place(row, column) {
                // SAFETY: the sink's place is good for what comes into it, and each element comes once.
                Some((place, stride)) => unsafe { tile.make(place, stride, count, b.width, columns, start) },
                None => {
                    // SAFETY: the tile fits into `values`.
                    unsafe { tile.make(values.as_mut_ptr(), WIDEST, count, b.width, columns, start) };
                    sink.part(Part { row, column, rows: count, columns, values: &mut values, stride: WIDEST });
                }
            }
        }
    }
}

/// What a tile reads: pointers to its first pairs.
#[derive(Clone, Copy)]
struct Tile {
    a: *const u32,
    row: usize,
    pair: usize,
    b: *const u32,
    half: usize,
}

impl Tile {
    fn new(a: Left, b: &Panels, row: usize, panel: usize) -> Self {
        let at = |row: usize| row / ROWS * a.tile + row % ROWS * a.row;
        let last = at(a.rows - 1) + (b.half.max(1) - 1) * a.pair;
        assert!(
            row < a.rows && row.is_multiple_of(ROWS) && last < a.pairs.len().max(1),
            "a left factor beyond its pairs"
        );
        Self {
            a: a.pairs[at(row)..].as_ptr(),
            row: a.row,
            pair: a.pair,
            b: b.pairs[panel * b.half * b.width..].as_ptr(),
            half: b.half,
        }
    }

    /// Makes `rows` rows of the panel's width and stores the first `columns` columns; sums begin with `start`.
    ///
    /// # Safety
    /// The pointers must be good for that; on x86-64 the processor must have AVX-512 BF16.
    unsafe fn make(self, c: *mut f32, stride: usize, rows: usize, width: usize, columns: usize, start: Option<&[f32]>) {
        assert!(start.is_none_or(|start| start.len() == columns));
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise; `start` is as long as there are columns.
        unsafe {
            x86::make(
                self,
                x86::Target { c, stride, columns, start: start.map_or(std::ptr::null(), <[f32]>::as_ptr) },
                rows,
                width,
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        for r in 0..rows {
            for j in 0..columns {
                let mut sum = start.map_or(0.0, |start| start[j]);
                for p in 0..self.half {
                    // SAFETY: the caller's promise.
                    let (a, b) = unsafe { (*self.a.add(r * self.row + p * self.pair), *self.b.add(p * width + j)) };
                    let (low, high) = (|x: u32| f32::from_bits(x << 16), |x: u32| f32::from_bits(x & 0xffff_0000));
                    sum += low(a) * low(b) + high(a) * high(b);
                }
                // SAFETY: the caller's promise.
                unsafe { *c.add(r * stride + j) = sum };
            }
        }
    }
}

/// Pairs of neighbours: `pairs[p] = (values[2 p], values[2 p + 1])`, the last with 0 if it has none.
pub(crate) fn round_along(pairs: &mut [u32], values: &[f32]) {
    assert!(pairs.len() >= values.len().div_ceil(2));
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the instructions, and there are as many pairs as values need.
        return unsafe { x86::round_along(pairs, values) };
    }
    for (pair, two) in pairs.iter_mut().zip(values.chunks(2)) {
        *pair = round(two[0]) | two.get(1).map_or(0, |&odd| round(odd) << 16);
    }
}

/// Pairs of two rows: `pairs[j] = (even[j], odd[j])`, with 0 for a missing row.
pub(crate) fn round_across(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
    assert!(pairs.len() == even.len() && odd.is_none_or(|odd| odd.len() == even.len()));
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the instructions, and all have one length.
        return unsafe { x86::round_across(pairs, even, odd) };
    }
    for (j, (pair, &even)) in pairs.iter_mut().zip(even).enumerate() {
        *pair = round(even) | odd.map_or(0, |odd| round(odd[j]) << 16);
    }
}

/// From two rows of pairs along to one row of pairs across: `pairs[j] = (even[j], odd[j])`.
pub(crate) fn interleave(pairs: &mut [u32], even: &[u32], odd: Option<&[u32]>) {
    let needs = pairs.len().div_ceil(2);
    assert!(even.len() >= needs && odd.is_none_or(|odd| odd.len() >= needs));
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(odd) = odd
        && available()
    {
        // SAFETY: the processor has the instructions, and all are long enough.
        done = unsafe { x86::interleave(pairs, even, odd) };
    }
    for (at, pair) in pairs.iter_mut().enumerate().skip(done) {
        let half = |row: &[u32]| row[at / 2] >> (16 * (at % 2)) & 0xffff;
        *pair = half(even) | odd.map_or(0, half) << 16;
    }
}

/// Copies a row of 16-bit numbers from pairs to f32.
#[inline(always)]
pub(crate) fn widen(values: &mut [f32], pairs: &[u32]) {
    let count = values.len() / 2;
    let (two, last) = values.split_at_mut(2 * count);
    for (values, &pair) in two.chunks_exact_mut(2).zip(pairs) {
        values[0] = f32::from_bits(pair << 16);
        values[1] = f32::from_bits(pair & 0xffff_0000);
    }
    if let (Some(last), Some(&pair)) = (last.first_mut(), pairs.get(count)) {
        *last = f32::from_bits(pair << 16);
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

/// The instructions themselves.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Tile, round};
    use std::arch::x86_64::*;

    /// Where a tile goes, and what its sums begin with (null for zeros).
    #[derive(Clone, Copy)]
    pub(super) struct Target {
        pub c: *mut f32,
        pub stride: usize,
        pub columns: usize,
        pub start: *const f32,
    }

    /// Makes `rows` rows of the panel's width.
    ///
    /// # Safety
    /// The pointers must be good for that; the processor must have AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn make(tile: Tile, target: Target, rows: usize, width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match width / LANES {
                3 => wide::<3>(tile, target, rows),
                2 => wide::<2>(tile, target, rows),
                _ => wide::<1>(tile, target, rows),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    unsafe fn wide<const V: usize>(tile: Tile, target: Target, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                8 => fixed::<8, V>(tile, target),
                7 => fixed::<7, V>(tile, target),
                6 => fixed::<6, V>(tile, target),
                5 => fixed::<5, V>(tile, target),
                4 => fixed::<4, V>(tile, target),
                3 => fixed::<3, V>(tile, target),
                2 => fixed::<2, V>(tile, target),
                _ => fixed::<1, V>(tile, target),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    unsafe fn fixed<const R: usize, const V: usize>(tile: Tile, target: Target) {
        let Target { c, stride, columns, start } = target;
        let masks: [u16; V] = std::array::from_fn(|v| {
            let rest = columns.saturating_sub(v * LANES).min(LANES) as u32;
            (0xffff_u32 >> (LANES as u32 - rest)) as u16
        });
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        if !start.is_null() {
            for (v, &mask) in masks.iter().enumerate() {
                // SAFETY: the caller's promise: as many numbers as columns.
                let begin = unsafe { _mm512_maskz_loadu_ps(mask, start.wrapping_add(v * LANES)) };
                for sums in &mut sums {
                    sums[v] = begin;
                }
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.half {
            // SAFETY: the caller's promise: `half` pairs of R rows, and of the panel.
            unsafe {
                let right: [__m512bh; V] =
                    std::array::from_fn(|v| std::mem::transmute(_mm512_loadu_si512(b.add(v * LANES).cast())));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let pair: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.add(r * tile.row) as i32));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = _mm512_dpbf16_ps(*sum, pair, right);
                    }
                }
            }
            a = a.wrapping_add(tile.pair);
            b = b.wrapping_add(V * LANES);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, (&sum, &mask)) in sums.iter().zip(&masks).enumerate() {
                // SAFETY: the caller's promise: R rows of `columns` columns.
                unsafe { _mm512_mask_storeu_ps(c.wrapping_add(r * stride + v * LANES), mask, sum) };
            }
        }
    }

    /// As many pairs across as whole registers give; returns how many that are.
    ///
    /// # Safety
    /// The processor must have AVX-512 BW; the rows must have a pair for every two of `pairs`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn interleave(pairs: &mut [u32], even: &[u32], odd: &[u32]) -> usize {
        // Of 32 numbers of each row: number j of the first, then of the second (from 32 on), for 16 columns.
        let order = |from: i16| -> __m512i {
            let lanes: [i16; 32] = std::array::from_fn(|i| from + (i / 2) as i16 + 32 * (i % 2) as i16);
            // SAFETY: both are 64 bytes.
            unsafe { std::mem::transmute(lanes) }
        };
        let (low, high) = (order(0), order(16));
        let whole = pairs.len() / 32;
        for i in 0..whole {
            // SAFETY: 16 pairs of each row and 32 of the result are in bounds.
            unsafe {
                let e = _mm512_loadu_si512(even.as_ptr().add(16 * i).cast());
                let o = _mm512_loadu_si512(odd.as_ptr().add(16 * i).cast());
                let target = pairs.as_mut_ptr().add(32 * i);
                _mm512_storeu_si512(target.cast(), _mm512_permutex2var_epi16(e, low, o));
                _mm512_storeu_si512(target.add(16).cast(), _mm512_permutex2var_epi16(e, high, o));
            }
        }
        let rest = pairs.len() - 32 * whole;
        if rest >= 16 {
            // SAFETY: 8 pairs of each row and 16 of the result are in bounds.
            unsafe {
                let e = _mm512_castsi256_si512(_mm256_loadu_si256(even.as_ptr().add(16 * whole).cast()));
                let o = _mm512_castsi256_si512(_mm256_loadu_si256(odd.as_ptr().add(16 * whole).cast()));
                let target = pairs.as_mut_ptr().add(32 * whole);
                _mm512_storeu_si512(target.cast(), _mm512_permutex2var_epi16(e, low, o));
            }
            return 32 * whole + 16;
        }
        32 * whole
    }

    /// Pairs of neighbours: `pairs[p] = (values[2 p], values[2 p + 1])`, the last with 0 if it has none.
    ///
    /// # Safety
    /// The processor must have AVX-512 BF16, and there must be a pair for every two values.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn round_along(pairs: &mut [u32], values: &[f32]) {
        let mut at = 0;
        while at + 2 * LANES <= values.len() {
            // SAFETY: 32 values from `at` on, and 16 pairs, are in bounds.
            unsafe {
                let low = _mm512_loadu_ps(values.as_ptr().add(at));
                let high = _mm512_loadu_ps(values.as_ptr().add(at + LANES));
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(pairs.as_mut_ptr().add(at / 2).cast(), rounded);
            }
            at += 2 * LANES;
        }
        let rest = values.len() - at;
        if rest > 0 {
            // SAFETY: the masks end at the last value; a missing odd one is a 0.
            unsafe {
                let mask = u32::MAX >> (2 * LANES - rest);
                let low = _mm512_maskz_loadu_ps(mask as u16, values.as_ptr().add(at));
                let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, values.as_ptr().wrapping_add(at + LANES));
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                let mask = 0xffff_u16 >> (LANES - rest.div_ceil(2));
                _mm512_mask_storeu_epi32(pairs.as_mut_ptr().add(at / 2).cast(), mask, rounded);
            }
        }
    }

    /// Pairs of two rows: `pairs[j] = (even[j], odd[j])`, with 0 for a missing row.
    ///
    /// # Safety
    /// The processor must have AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub(super) unsafe fn round_across(pairs: &mut [u32], even: &[f32], odd: Option<&[f32]>) {
        let mut at = 0;
        while at + LANES <= even.len() {
            // SAFETY: 16 values of each row from `at` on, and 16 pairs, are in bounds.
            unsafe {
                let widen = |row: &[f32]| {
                    let rounded: __m256i =
                        std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(row.as_ptr().add(at))));
                    _mm512_cvtepu16_epi32(rounded)
                };
                let low = widen(even);
                let high = odd.map_or(_mm512_setzero_si512(), |odd| _mm512_slli_epi32::<16>(widen(odd)));
                _mm512_storeu_si512(pairs.as_mut_ptr().add(at).cast(), _mm512_or_si512(low, high));
            }
            at += LANES;
        }
        for at in at..even.len() {
            pairs[at] = round(even[at]) | odd.map_or(0, |odd| round(odd[at]) << 16);
        }
    }
}
