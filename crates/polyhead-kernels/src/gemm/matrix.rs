//! A matrix of activations as products read it: row by row, in f32 or in bf16.
//!
//! ```text
//! f32    [rows, columns]
//! bf16   [rows, columns / 2] pairs of neighbours in one u32; an odd last column has a 0 beside it
//! ```

use super::element::{PackedElement, widen};
use super::epilogue::{Epilogue, Part, Place};
use super::isa::Precision;
use crate::storage::Parts;
use crate::workspace::Buffer;

/// Activations, or their gradient.
pub(crate) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Values,
}

/// The numbers of a matrix.
pub(crate) enum Values {
    F32(Buffer<f32>),
    Bf16(Buffer<u32>),
}

impl Matrix {
    /// A matrix that holds anything.
    pub(crate) fn uninit(precision: Precision, rows: usize, columns: usize) -> Self {
        let values = match precision {
            Precision::F32 => Values::F32(Buffer::uninit(rows * columns)),
            Precision::Bf16 => Values::Bf16(Buffer::uninit(rows * columns.div_ceil(2))),
        };
        Self { rows, columns, values }
    }

    /// An f32 matrix of these numbers.
    pub(crate) fn f32(rows: usize, columns: usize, values: Buffer<f32>) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self { rows, columns, values: Values::F32(values) }
    }

    /// A copy of f32 numbers in a precision.
    pub(crate) fn rounded(precision: Precision, rows: usize, columns: usize, values: &[f32]) -> Self {
        let mut matrix = Self::uninit(precision, rows, columns);
        let writer = matrix.writer();
        for (row, values) in values.chunks_exact(columns.max(1)).enumerate() {
            // SAFETY: one writer, one row after the other.
            unsafe { writer.write(row, 0, values) };
        }
        matrix
    }

    /// What it is in.
    pub(crate) fn precision(&self) -> Precision {
        match self.values {
            Values::F32(_) => Precision::F32,
            Values::Bf16(_) => Precision::Bf16,
        }
    }

    /// Its numbers in f32, row by row.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        match &self.values {
            Values::F32(values) => values.to_vec(),
            Values::Bf16(_) => {
                let mut all = vec![0.0; self.rows * self.columns];
                for (row, values) in all.chunks_exact_mut(self.columns.max(1)).enumerate() {
                    self.read(row, 0, values);
                }
                all
            }
        }
    }

    /// The same numbers in a precision: itself, if they are in it.
    pub(crate) fn in_precision(self, precision: Precision) -> Self {
        match &self.values {
            Values::F32(values) if precision == Precision::Bf16 => {
                Self::rounded(precision, self.rows, self.columns, values)
            }
            Values::Bf16(_) if precision == Precision::F32 => {
                Self::f32(self.rows, self.columns, Buffer::copy_of(&self.to_vec()))
            }
            _ => self,
        }
    }

    /// Writes into it from parallel tasks.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        match &mut self.values {
            Values::F32(values) => Writer::F32(Parts::new(values), self.columns),
            Values::Bf16(pairs) => Writer::Bf16(Parts::new(pairs), self.columns.div_ceil(2)),
        }
    }

    /// A copy of some columns of a row, in f32; the first column must be even.
    #[inline(always)]
    pub(crate) fn read(&self, row: usize, column: usize, into: &mut [f32]) {
        match &self.values {
            Values::F32(values) => into.copy_from_slice(&values[row * self.columns + column..][..into.len()]),
            Values::Bf16(pairs) => {
                let start = row * self.columns.div_ceil(2) + column / 2;
                widen(into, &pairs[start..][..into.len().div_ceil(2)]);
            }
        }
    }
}

/// Writes rows, or parts of rows, of a matrix.
pub(crate) enum Writer<'a> {
    /// The numbers, and how many a row has.
    F32(Parts<'a, f32>, usize),
    /// The pairs, and how many a row has.
    Bf16(Parts<'a, u32>, usize),
}

impl Writer<'_> {
    /// A copy of some columns of a row, in f32, from an even one on.
    ///
    /// # Safety
    /// No call at once may write the same elements.
    pub(crate) unsafe fn read(&self, row: usize, column: usize, into: &mut [f32]) {
        match self {
            // SAFETY: the caller's promise.
            Self::F32(parts, columns) => unsafe {
                into.copy_from_slice(parts.part(row * columns + column, into.len()));
            },
            // SAFETY: the caller's promise.
            Self::Bf16(parts, pairs) => unsafe {
                widen(into, parts.part(row * pairs + column / 2, into.len().div_ceil(2)));
            },
        }
    }

    /// Writes some columns of a row, from an even one on.
    ///
    /// # Safety
    /// No two calls at once may write the same elements.
    pub(crate) unsafe fn write(&self, row: usize, column: usize, values: &[f32]) {
        match self {
            // SAFETY: the caller's promise.
            Self::F32(parts, columns) => unsafe {
                parts.part(row * columns + column, values.len()).copy_from_slice(values);
            },
            // SAFETY: the caller's promise.
            Self::Bf16(parts, pairs) => unsafe {
                u32::along(parts.part(row * pairs + column / 2, values.len().div_ceil(2)), values);
            },
        }
    }
}

/// C as a matrix, plus a bias on every row.
pub(crate) struct StoreMatrix<'a> {
    pub writer: Writer<'a>,
    pub bias: Option<&'a [f32]>,
}

impl Epilogue for StoreMatrix<'_> {
    fn bias(&self) -> Option<&[f32]> {
        self.bias
    }

    fn place(&self) -> Option<Place> {
        match &self.writer {
            Writer::F32(parts, columns) => Some(Place { c: parts.pointer(0), stride: *columns, adds: false }),
            Writer::Bf16(..) => None,
        }
    }

    fn part(&self, mut part: Part<'_>) {
        let column = part.column;
        for (row, values) in part.each_row() {
            // SAFETY: each element comes once.
            unsafe { self.writer.write(row, column, values) };
        }
    }
}
