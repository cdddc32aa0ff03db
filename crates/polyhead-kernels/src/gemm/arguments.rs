//! What a micro-kernel is given: where its factors lie, where the sums go and what they begin with.

use super::element::PackedElement;
use super::isa::Isa;
use super::packed::{PackedB, ViewA};
use std::ops::Range;

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

/// What the micro-kernel reads for some rows and one panel, over a range of k: pointers to the first elements, and distances.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<T> {
    pub(super) a: *const T,
    /// From the first row of a tile to that of the next.
    pub(super) tile: usize,
    pub(super) row: usize,
    /// From one element along k to the next.
    pub(super) step: usize,
    pub(super) b: *const T,
    /// The part of a panel that will be multiplied after this one, to be fetched meanwhile.
    pub(super) next: *const T,
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) isa: Isa,
}

impl<T: PackedElement> Arguments<T> {
    /// Of some rows, the first of which begins a tile, in a panel, over a range of elements along k; then come the panel and the
    /// element `next`, if there are such.
    pub(super) fn new(
        a: ViewA<T>,
        b: &PackedB<T>,
        rows: &Range<usize>,
        panel: usize,
        depth: Range<usize>,
        next: (usize, usize),
    ) -> Self {
        let (height, first) = (b.isa.rows(), depth.start - a.start);
        let last = a.at(a.rows - 1) + (depth.end - a.start).saturating_sub(1) * a.step;
        assert!(
            rows.start < a.rows
                && rows.end <= a.rows
                && a.height.is_none_or(|of| of == height && rows.start.is_multiple_of(of) && !b.isa.takes_rows())
                && last < a.elements.len().max(1)
                && depth.end <= b.depth,
            "a left factor beyond its elements"
        );
        Self {
            a: a.elements[a.at(rows.start) + first * a.step..].as_ptr(),
            tile: a.at(height),
            row: a.row,
            step: a.step,
            b: b.elements[(panel * b.depth + depth.start) * b.width..].as_ptr(),
            next: b.elements.as_ptr().wrapping_add((next.0 * b.depth + next.1) * b.width),
            width: b.width,
            depth: depth.len(),
            isa: b.isa,
        }
    }
}
