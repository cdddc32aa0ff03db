//! `C = A B`: which thread makes which part of C, and in which order.
//!
//! A task makes tiles of a block of rows, panel by panel, and the epilogue sees them while they are in cache. Where k is long
//! it is taken in blocks, so that a panel's part stays in the first cache while all rows of the task pass by, and those
//! rows' part in the second; C holds the sums in between.

use super::arguments::{AccumulatorInit, Arguments, Target};
use super::dispatch::{self, MicroKernel};
use super::epilogue::{Epilogue, Part, Place};
use super::packed::{PackedA, PackedB, ViewA};
use crate::pool::for_each;
use crate::workspace::Buffer;
use std::ops::Range;

/// The most rows that a task takes, about.
const TALLEST: usize = 128;

/// Panels of B that rows of A must meet for it to pay that they are brought into tiles first.
const MEETS: usize = 8;

/// `A B`, handed to `epilogue` part by part.
pub(crate) fn product<T: MicroKernel, S: Epilogue>(a: ViewA<T>, b: &PackedB<T>, epilogue: &S) {
    let (panels, height) = (b.columns.div_ceil(b.width), b.isa.rows());
    let whole = Split { rows: a.rows, panels, height, tasks: T::TASKS, work: b.columns * b.depth };
    // Tasks that share rows: A is brought into tiles for all of them.
    let shared = !whole.has_many_rows() && a.rows > height;
    let tiles =
        if shared { in_tiles(a, 0..a.rows, 0..b.depth, panels, height, rayon::current_num_threads()) } else { None };
    let a = tiles.as_ref().map_or(a, PackedA::left);
    split(whole, |rows, panels| part(a, b, rows, panels, epilogue), |rows| epilogue.rows(rows));
}

/// A product to be split into tasks.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub rows: usize,
    pub panels: usize,
    /// Rows of a tile.
    pub height: usize,
    /// How many tasks many rows are split into.
    pub tasks: usize,
    /// Products of elements for each row.
    pub work: usize,
}

impl Split {
    /// Whether a task makes all columns of its rows.
    fn has_many_rows(self) -> bool {
        const MANY: usize = 512;
        self.rows >= MANY
    }
}

/// Runs `part` for rows and panels, and `finish` for rows whose columns are all there.
pub(super) fn split(
    whole: Split,
    part: impl Fn(Range<usize>, Range<usize>) + Sync,
    finish: impl Fn(Range<usize>) + Sync,
) {
    let Split { rows: m, panels, height, tasks, work } = whole;
    if m == 0 || panels == 0 {
        return;
    }
    let tallest = TALLEST.next_multiple_of(height);
    // Many rows: a task makes some rows from the first column to the last, and the epilogue sees them while they are in the
    // second cache. Few rows: tasks are blocks of both, so that there are enough of them.
    if whole.has_many_rows() {
        let block = (m / tasks).clamp(TALLEST / 4, TALLEST).next_multiple_of(height);
        for_each(m.div_ceil(block), |task| {
            let rows = task * block..m.min((task + 1) * block);
            part(rows.clone(), 0..panels);
            finish(rows);
        });
        return;
    }
    let row_blocks = m.div_ceil(tallest);
    let panel_block = if m * work < 1 << 16 { panels } else { panels.div_ceil(16_usize.div_ceil(row_blocks)) };
    let column_blocks = panels.div_ceil(panel_block);
    let run = |task: usize| {
        let (row_block, column_block) = (task % row_blocks, task / row_blocks);
        let rows = row_block * tallest..m.min((row_block + 1) * tallest);
        part(rows, column_block * panel_block..panels.min((column_block + 1) * panel_block));
    };
    for_each(row_blocks * column_blocks, run);
    const FEW: usize = 16;
    for_each(m.div_ceil(FEW), |task| finish(task * FEW..m.min((task + 1) * FEW)));
}

/// The same into a matrix of which a row takes `stride` numbers, in this thread.
/// Sums begin with zeros or with what is there.
///
/// # Safety
/// `c` must be good for all rows and columns (initialised where sums begin there), and no one else may touch them.
pub(crate) unsafe fn product_into<T: MicroKernel>(
    a: ViewA<T>,
    b: &PackedB<T>,
    start: AccumulatorInit,
    c: *mut f32,
    stride: usize,
) {
    let whole = Section { rows: 0..a.rows, panels: 0..b.columns.div_ceil(b.width), depth: 0..b.depth };
    // SAFETY: the caller's promise.
    unsafe { section_into(a, b, whole, start, c, stride) };
}

/// Some rows and panels of C, of some elements along k: where the others are known to be zero, or nobody wants them.
#[derive(Clone)]
pub(crate) struct Section {
    pub rows: Range<usize>,
    pub panels: Range<usize>,
    pub depth: Range<usize>,
}

/// The same of a section. `c` is where the first element of the whole of C would go.
///
/// # Safety
/// As for [`product_into`], of the section's rows and panels.
pub(crate) unsafe fn section_into<T: MicroKernel>(
    a: ViewA<T>,
    b: &PackedB<T>,
    Section { rows, panels, depth }: Section,
    start: AccumulatorInit,
    c: *mut f32,
    stride: usize,
) {
    for (index, depth) in blocks::<T>(depth, b.width).enumerate() {
        let begin = if index == 0 { start } else { AccumulatorInit::There };
        for panel in panels.clone() {
            let (c, next) = (c.wrapping_add(rows.start * stride + panel * b.width), (panel + 1, depth.start));
            // SAFETY: the caller's promise.
            unsafe { panel_rows(a, b, rows.clone(), panel, &depth, next, begin, c, stride) };
        }
    }
}

/// A range along k in blocks that tiles take at a time, in elements, for panels of this width.
fn blocks<T: MicroKernel>(depth: Range<usize>, width: usize) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
    spans(depth, T::block(width))
}

/// A range in parts of about equal length, none of them longer than `longest`.
fn spans(range: Range<usize>, longest: usize) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
    let size = range.len().div_ceil(range.len().div_ceil(longest).max(1)).max(1);
    (0..range.len().div_ceil(size).max(1))
        .map(move |part| range.start + part * size..range.end.min(range.start + (part + 1) * size))
}

/// Some rows of A in tiles, where they are not and meet so many panels that it pays.
fn in_tiles<T: MicroKernel>(
    a: ViewA<T>,
    rows: Range<usize>,
    depth: Range<usize>,
    panels: usize,
    height: usize,
    tasks: usize,
) -> Option<PackedA<T>> {
    let pays = T::TILED && a.height.is_none() && (panels >= MEETS || a.step > 1);
    pays.then(|| a.tiled(rows, depth, height, tasks))
}

/// Some rows and panels of C.
fn part<T: MicroKernel, S: Epilogue>(
    a: ViewA<T>,
    b: &PackedB<T>,
    rows: Range<usize>,
    panels: Range<usize>,
    epilogue: &S,
) {
    let (bias, height) = (epilogue.bias(), b.isa.rows());
    let columns_of = |panel: usize| panel * b.width..b.columns.min((panel + 1) * b.width);
    let begin = |panel: usize, depth: &Range<usize>| match bias {
        _ if depth.start > 0 => AccumulatorInit::There,
        Some(bias) => AccumulatorInit::Bias(&bias[columns_of(panel)]),
        None => AccumulatorInit::Zeros,
    };
    let tiles_of = |depth| in_tiles(a, rows.clone(), depth, panels.len(), height, 1);
    if let Some(Place { c, stride, adds }) = epilogue.place() {
        for outer in spans(0..b.depth, T::LEFT) {
            let tiles = tiles_of(outer.clone());
            let (a, of) = tiles.as_ref().map_or((a, rows.clone()), |tiles| (tiles.left(), 0..rows.len()));
            for panel in panels.clone() {
                for depth in blocks::<T>(outer.clone(), b.width) {
                    let begin = if adds { AccumulatorInit::There } else { begin(panel, &depth) };
                    let next = if depth.end < outer.end { (panel, depth.end) } else { (panel + 1, outer.start) };
                    // SAFETY: the epilogue's place is good for C, and each element comes once.
                    unsafe {
                        let c = c.add(rows.start * stride + panel * b.width);
                        panel_rows(a, b, of.clone(), panel, &depth, next, begin, c, stride);
                    }
                }
            }
        }
        return;
    }
    let blocks = blocks::<T>(0..b.depth, b.width);
    // Rows that are finished together: those of a tile, or all where they must wait for the last block of k.
    let together = if blocks.len() == 1 { height } else { rows.len().next_multiple_of(height) };
    let mut values = Buffer::uninit(together * b.width);
    let tiles = tiles_of(0..b.depth);
    let (a, start) = tiles.as_ref().map_or((a, rows.start), |tiles| (tiles.left(), 0));
    for panel in panels.clone() {
        for first in (0..rows.len()).step_by(together) {
            let count = together.min(rows.len() - first);
            for depth in blocks.clone() {
                let of = start + first..start + first + count;
                let (begin, next) = (begin(panel, &depth), (panel, depth.end));
                // SAFETY: `values` has room for all rows that are finished together.
                unsafe { panel_rows(a, b, of, panel, &depth, next, begin, values.as_mut_ptr(), b.width) };
            }
            let columns = columns_of(panel);
            let (row, column, columns) = (rows.start + first, columns.start, columns.len());
            epilogue.part(Part { row, column, rows: count, columns, values: &mut values, stride: b.width });
        }
    }
}

/// Some rows of A times a block of a panel, to where `c` is the first element of the result. The panel and the element along k
/// that come `next` are fetched meanwhile.
///
/// # Safety
/// As for [`run`](super::dispatch::run).
#[allow(clippy::too_many_arguments)]
unsafe fn panel_rows<T: MicroKernel>(
    a: ViewA<T>,
    b: &PackedB<T>,
    rows: Range<usize>,
    panel: usize,
    depth: &Range<usize>,
    next: (usize, usize),
    begin: AccumulatorInit,
    c: *mut f32,
    stride: usize,
) {
    if rows.is_empty() {
        return;
    }
    let columns = b.width.min(b.columns - panel * b.width);
    // SAFETY: the caller's promise.
    unsafe {
        let arguments = Arguments::new(a, b, &rows, panel, depth.clone(), next);
        dispatch::run(arguments, Target { c, stride, columns, begin }, rows.len());
    }
}
