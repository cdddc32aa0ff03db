//! What becomes of the parts of a product while they are in cache: [`Epilogue`], and the plain one, [`Store`].

use crate::storage::Parts;
use std::ops::Range;

/// A finished part of C: `values[r * stride + c]` is the element `(row + r, column + c)`, for the epilogue to change at will.
pub(crate) struct Part<'a> {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
    pub values: &'a mut [f32],
    pub stride: usize,
}

impl Part<'_> {
    /// The rows of this part, each with its number in C.
    pub(crate) fn each_row(&mut self) -> impl Iterator<Item = (usize, &mut [f32])> {
        let (row, columns) = (self.row, self.columns);
        self.values.chunks_mut(self.stride).take(self.rows).enumerate().map(move |(r, x)| (row + r, &mut x[..columns]))
    }
}

/// Memory for C: its first element, and how far it is from row to row.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub c: *mut f32,
    pub stride: usize,
    /// Whether C is added to what stands there; no bias is, then.
    pub adds: bool,
}

/// Where the parts of C go.
pub(crate) trait Epilogue: Sync {
    /// What is added to every row of C before anyone sees it.
    fn bias(&self) -> Option<&[f32]> {
        None
    }

    /// Where C is to be stored, if the epilogue wants nothing but to have it in memory: its parts then go straight there, and
    /// [`Epilogue::part`] is not called.
    fn place(&self) -> Option<Place> {
        None
    }

    /// Takes a part. Every element of C comes once, from any thread.
    fn part(&self, _part: Part<'_>) {}

    /// All columns of these rows have come; every row is named once, from any thread.
    fn rows(&self, _rows: Range<usize>) {}
}

/// C as an f32 matrix `[rows, columns]`, or added to one.
pub(crate) struct Store<'a> {
    values: Parts<'a, f32>,
    columns: usize,
    bias: Option<&'a [f32]>,
    /// Whether the matrix holds something that C is added to.
    add: bool,
}

impl<'a> Store<'a> {
    pub(crate) fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self { values: Parts::new(values), columns, bias: None, add: false }
    }

    /// Adds a bias to every row.
    pub(crate) fn with_bias(self, bias: Option<&'a [f32]>) -> Self {
        Self { bias, ..self }
    }

    /// Adds C to what is there.
    pub(crate) fn adding(self, add: bool) -> Self {
        Self { add, ..self }
    }
}

impl Epilogue for Store<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn place(&self) -> Option<Place> {
        Some(Place { c: self.values.pointer(0), stride: self.columns, adds: self.add })
    }
}
