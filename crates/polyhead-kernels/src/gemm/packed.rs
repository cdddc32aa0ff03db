//! The factors of a product as its tiles read them, in [elements](super::element::PackedElement) along k.
//!
//! ```text
//! A  m x k   row by row as activations lie, or in tiles of so many rows: [m / rows][k][rows]
//! B  k x n   in panels of up to three registers of columns: [n / width][k][width]
//! ```

use super::element::{PackedElement, copy_few, turn};
use super::isa::Isa;
use crate::pool::{for_each_chunk, for_each_init};
use crate::storage::Parts;
use crate::workspace::Buffer;
use std::ops::Range;

/// A, or a part of it: the element `p` of row `r` stands at `r * row + (p - start) * step`, within a tile if A is in tiles.
#[derive(Clone, Copy)]
pub(crate) struct ViewA<'a, T> {
    pub elements: &'a [T],
    pub rows: usize,
    /// Rows of a tile.
    pub height: Option<usize>,
    /// From one tile to the next.
    tile: usize,
    pub row: usize,
    /// From one element along k to the next, and the first that is here.
    pub step: usize,
    pub start: usize,
}

impl<'a, T: PackedElement> ViewA<'a, T> {
    /// Row by row, `stride` elements from one to the next.
    pub(crate) fn plain(elements: &'a [T], rows: usize, stride: usize) -> Self {
        Self { elements, rows, height: None, tile: 0, row: stride, step: 1, start: 0 }
    }

    /// `[k][rows]`: elements across the rows of the matrix whose transpose this is, `stride` elements from one to the next.
    pub(crate) fn across(elements: &'a [T], rows: usize, stride: usize) -> Self {
        Self { elements, rows, height: None, tile: 0, row: 1, step: stride, start: 0 }
    }

    /// Where a row begins.
    pub(super) fn at(&self, row: usize) -> usize {
        self.height.map_or(row * self.row, |height| row / height * self.tile + row % height * self.row)
    }

    /// Of one that is not in tiles: some rows, and some elements along k, in tiles. `tasks` share the work.
    pub(super) fn tiled(&self, rows: Range<usize>, depth: Range<usize>, height: usize, tasks: usize) -> PackedA<T> {
        let mut elements = Buffer::uninit(rows.len().div_ceil(height) * depth.len() * height);
        let size = (depth.len() * height).max(1);
        let fill = |index: usize, tile: &mut [T]| {
            let first = rows.start + index * height;
            let count = height.min(rows.end - first);
            if self.step == 1 {
                let from = &self.elements[self.at(first) + depth.start..];
                turn(tile, height, from, self.row, (count, depth.len()));
            } else {
                for (tile, p) in tile.chunks_exact_mut(height).zip(depth.clone()) {
                    copy_few(&mut tile[..count], &self.elements[self.at(first) + p * self.step..][..count]);
                }
            }
        };
        match tasks {
            1 => elements.chunks_exact_mut(size).enumerate().for_each(|(index, tile)| fill(index, tile)),
            _ => {
                let tiles = rows.len().div_ceil(height);
                for_each_chunk(&mut elements, size, tiles.div_ceil(tasks), fill);
            }
        }
        PackedA { elements, rows: rows.len(), start: depth.start, depth: depth.len(), height: Some(height) }
    }
}

/// A left factor in tiles, each tile's elements end to end: `[rows / height][depth][height]`. For an instruction set that takes
/// rows it is no more than that: `[rows][depth]`.
pub(crate) struct PackedA<T: PackedElement> {
    elements: Buffer<T>,
    rows: usize,
    start: usize,
    depth: usize,
    height: Option<usize>,
}

impl<T: PackedElement> PackedA<T> {
    /// The transpose of `columns` (from an even one on) of a matrix of so many rows, of which a row takes `stride` elements.
    pub(crate) fn transposed(matrix: &[T], rows: usize, columns: Range<usize>, stride: usize) -> Self {
        Self::transposed_for(matrix, rows, columns, stride, Isa::here(T::PRECISION))
    }

    pub(crate) fn transposed_for(matrix: &[T], rows: usize, columns: Range<usize>, stride: usize, isa: Isa) -> Self {
        /// Elements along k that one task takes.
        const BLOCK: usize = 32;
        let height = (!isa.takes_rows()).then(|| isa.rows());
        let (depth, count) = (rows.div_ceil(T::DEPTH), columns.len());
        // The last tile may lack rows of the result: they are read, and their sums thrown away.
        let whole = count.next_multiple_of(height.unwrap_or(1));
        let mut elements = Buffer::uninit(whole * depth);
        let parts = Parts::new(&mut elements);
        let (start, take) = (columns.start / T::DEPTH, count.div_ceil(T::DEPTH));
        let line = |across: &mut [T], p| {
            T::interleave(&mut across[..count], rows_of_element(matrix, p, rows, stride, start, take));
        };
        for_each_init(depth.div_ceil(BLOCK), Vec::new, |across, block| {
            let block = block * BLOCK..depth.min((block + 1) * BLOCK);
            if let Some(height) = height {
                across.resize(whole, T::default());
                for p in block {
                    line(across, p);
                    for (tile, across) in across.chunks_exact(height).enumerate() {
                        // SAFETY: each element along k is visited once.
                        copy_few(unsafe { parts.part((tile * depth + p) * height, height) }, across);
                    }
                }
                return;
            }
            // All lines of the block first, so that a row's elements go to one place together.
            across.resize(BLOCK * whole, T::default());
            for (across, p) in across.chunks_exact_mut(whole.max(1)).zip(block.clone()) {
                line(across, p);
            }
            for row in 0..count {
                // SAFETY: as above.
                let elements = unsafe { parts.part(row * depth + block.start, block.len()) };
                for (element, across) in elements.iter_mut().zip(across[row..].iter().step_by(whole)) {
                    *element = *across;
                }
            }
        });
        Self { elements, rows: count, start: 0, depth, height }
    }

    pub(crate) fn left(&self) -> ViewA<'_, T> {
        let Self { rows, start, depth, .. } = *self;
        match self.height {
            Some(height) => {
                let tile = height * depth;
                ViewA { elements: &self.elements, rows, height: Some(height), tile, row: 1, step: height, start }
            }
            None => ViewA::plain(&self.elements, rows, depth),
        }
    }
}

/// Of the rows of a matrix that one element along k stands for, `take` elements from `start` on; the second may be missing.
fn rows_of_element<T: PackedElement>(
    matrix: &[T],
    p: usize,
    rows: usize,
    stride: usize,
    start: usize,
    take: usize,
) -> (&[T], Option<&[T]>) {
    let row = |row: usize| &matrix[row * stride + start..][..take];
    let first = T::DEPTH * p;
    (row(first), (T::DEPTH > 1 && first + 1 < rows).then(|| row(first + 1)))
}

/// B in panels.
pub(crate) struct PackedB<T: PackedElement> {
    pub elements: Buffer<T>,
    /// Elements along k.
    pub depth: usize,
    pub columns: usize,
    pub width: usize,
    /// What the width was chosen for, and what will multiply.
    pub isa: Isa,
}

impl<T: PackedElement> PackedB<T> {
    fn uninit(k: usize, columns: usize, isa: Isa) -> Self {
        let (depth, width) = (k.div_ceil(T::DEPTH), width_of(columns, (isa.lanes(), isa.across())));
        let mut elements = Buffer::uninit(columns.div_ceil(width) * depth * width);
        // The columns that the last panel lacks: read, and their sums thrown away, but they must be numbers.
        if !columns.is_multiple_of(width) {
            let last = columns / width * depth * width;
            elements[last..].fill(T::default());
        }
        Self { elements, depth, columns, width, isa }
    }

    /// B whose column `j` is `rows[j]`: elements lie along the rows that are given.
    pub(crate) fn along(rows: &[&[f32]]) -> Self {
        Self::along_for(rows, Isa::here(T::PRECISION))
    }

    pub(crate) fn along_for(rows: &[&[f32]], isa: Isa) -> Self {
        let k = rows.first().map_or(0, |row| row.len());
        let mut panels = Self::uninit(k, rows.len(), isa);
        let (depth, width) = (panels.depth, panels.width);
        for_each_chunk(&mut panels.elements, depth * width, 1, |index, panel| {
            set_columns(panel, width, depth, &rows[index * width..rows.len().min((index + 1) * width)]);
        });
        panels
    }

    /// B whose rows are given: elements lie across them.
    pub(crate) fn across(rows: &[&[f32]]) -> Self {
        Self::across_for(rows, Isa::here(T::PRECISION))
    }

    pub(crate) fn across_for(rows: &[&[f32]], isa: Isa) -> Self {
        let columns = rows.first().map_or(0, |row| row.len());
        let mut panels = Self::uninit(rows.len(), columns, isa);
        let (depth, width) = (panels.depth, panels.width);
        for_each_chunk(&mut panels.elements, depth * width, 1, |index, panel| {
            let at = index * width..columns.min((index + 1) * width);
            for (panel, rows) in panel.chunks_exact_mut(width).zip(rows.chunks(T::DEPTH)) {
                let second = rows.get(1).map(|row| &row[at.clone()]);
                T::across(&mut panel[..at.len()], &rows[0][at.clone()], second);
            }
        });
        panels
    }

    /// Puts other numbers in: of [`PackedB::along`], `rows[j]` from the number `from` on, an even one.
    pub(crate) fn set_along(&mut self, from: usize, rows: &[&[f32]]) {
        let (depth, width, first) = (self.depth, self.width, from / T::DEPTH);
        for_each_chunk(&mut self.elements, depth * width, 1, |index, panel| {
            let rows = &rows[index * width..rows.len().min((index + 1) * width)];
            set_columns(&mut panel[first * width..], width, depth - first, rows);
        });
    }

    /// B whose column `j` is row `j` of a matrix of elements `[columns, k]` of which a row takes `stride`; in this thread.
    pub(crate) fn along_elements(matrix: &[T], columns: usize, k: usize, stride: usize) -> Self {
        Self::along_elements_for(matrix, columns, k, stride, Isa::here(T::PRECISION))
    }

    pub(crate) fn along_elements_for(matrix: &[T], columns: usize, k: usize, stride: usize, isa: Isa) -> Self {
        let mut panels = Self::uninit(k, columns, isa);
        let (depth, width) = (panels.depth, panels.width);
        for (index, panel) in panels.elements.chunks_exact_mut((depth * width).max(1)).enumerate() {
            let count = width.min(columns - index * width);
            turn(panel, width, &matrix[index * width * stride..], stride, (count, depth));
        }
        panels
    }

    /// B whose rows are those of a matrix of elements of which a row takes `stride`.
    pub(crate) fn across_elements(matrix: &[T], rows: usize, columns: usize, stride: usize) -> Self {
        Self::across_elements_for(matrix, rows, columns, stride, Isa::here(T::PRECISION))
    }

    pub(crate) fn across_elements_for(matrix: &[T], rows: usize, columns: usize, stride: usize, isa: Isa) -> Self {
        let mut panels = Self::uninit(rows, columns, isa);
        let (depth, width) = (panels.depth, panels.width);
        for_each_chunk(&mut panels.elements, depth * width, 1, |index, panel| {
            let (column, count) = (index * width, width.min(columns - index * width));
            let (start, take) = (column / T::DEPTH, count.div_ceil(T::DEPTH));
            for (p, panel) in panel.chunks_exact_mut(width).enumerate() {
                T::interleave(&mut panel[..count], rows_of_element(matrix, p, rows, stride, start, take));
            }
        });
        panels
    }
}

/// Rows of numbers as the columns of a panel: `panel[p * width + j]` is element `p` of `rows[j]`.
fn set_columns<T: PackedElement>(panel: &mut [T], width: usize, depth: usize, rows: &[&[f32]]) {
    /// Rows that are turned together.
    const TOGETHER: usize = 8;
    let mut elements = vec![T::default(); TOGETHER * depth];
    for (at, rows) in rows.chunks(TOGETHER).enumerate() {
        for (elements, row) in elements.chunks_exact_mut(depth.max(1)).zip(rows) {
            T::along(elements, row);
        }
        turn(&mut panel[at * TOGETHER..], width, &elements, depth, (rows.len(), depth));
    }
}

/// The width of panels for this many columns, of numbers a register and registers across: whole registers, as many as leave the fewest columns empty.
pub(super) fn width_of(columns: usize, (lanes, across): (usize, usize)) -> usize {
    let widest = lanes * across;
    match columns.next_multiple_of(lanes).max(lanes) {
        whole if whole <= widest => whole,
        _ if across > 1 && columns.next_multiple_of(widest - lanes) < columns.next_multiple_of(widest) => {
            widest - lanes
        }
        _ => widest,
    }
}
