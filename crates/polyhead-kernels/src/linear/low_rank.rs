//! Low-rank additions to linear layers (LoRA; Hu et al., arXiv:2106.09685), in the same product as the layer.
//!
//! ```text
//! y = x Wᵀ + s (m x) Aᵀ Bᵀ + b = [x  t] [W  s B]ᵀ + b      t = (m x) Aᵀ      A [rank, in], B [out, rank], m dropout's mask
//! [dx'  dt] = dy [W  s B]    dB = s dyᵀ t    dA = dtᵀ (m x)    dx = dx' + m (dt A)
//! ```
//!
//! The input is widened by t, and the weights by s B: what becomes of the product (a GELU, a LayerNorm) is then the same with
//! and without an addition. Where several layers lie side by side, each one's t meets zeros in the rows of the others.

use super::{Linear, Part};
use crate::dropout::{Dropout, masked};
use crate::gemm::{Matrix, MicroKernel, PackedA, PackedB, Store, Values, ViewA, add_to, product};
use crate::pass::{DropoutAt, Setting};
use crate::tape::GradientBuffers;
use crate::value::{Node, Rows};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::Result;
use rayon::prelude::*;
use std::sync::Arc;

/// What is added to a linear layer: `scale · dropout(x) Aᵀ Bᵀ`.
#[derive(Clone)]
pub struct LowRank {
    /// `[rank, in]`
    pub a: Weight,
    /// `[out, rank]`
    pub b: Weight,
    /// Usually α / rank.
    pub scale: f32,
    /// Dropout of its input alone.
    pub dropout: DropoutAt,
}

impl LowRank {
    fn rank(&self) -> usize {
        self.a.dims().first().copied().unwrap_or(0)
    }

    /// Columns that it takes in a widened input: even, as bf16 numbers stand in pairs.
    fn columns(&self) -> usize {
        self.rank().next_multiple_of(2)
    }

    pub(super) fn is_trained(&self) -> bool {
        self.a.is_trained() || self.b.is_trained()
    }

    pub(super) fn fits(&self, outer: usize, inner: usize) -> bool {
        // An odd width would put t in the middle of a pair.
        *self.a.dims() == [self.rank(), inner] && *self.b.dims() == [outer, self.rank()] && inner.is_multiple_of(2)
    }
}

/// The input of a layer as its product reads it, and what the backward pass needs of its additions.
pub(crate) struct Operand {
    matrix: Arc<Matrix>,
    additions: Vec<Addition>,
}

/// The addition of one part.
struct Addition {
    part: usize,
    /// Where t begins in the widened input.
    column: usize,
    mask: Option<Dropout>,
    /// `m x`
    input: Arc<Matrix>,
}

impl Operand {
    pub(crate) fn matrix(&self) -> &Matrix {
        &self.matrix
    }
}

impl Linear {
    /// The columns of its input, widened by those of its additions.
    pub(super) fn width(&self) -> usize {
        self.inner + self.parts.iter().filter_map(|part| part.low_rank.as_ref()).map(LowRank::columns).sum::<usize>()
    }

    /// `[W  s B]` of all parts.
    pub(super) fn extended(&self) -> Result<Vec<f32>> {
        let width = self.width();
        let mut whole = vec![0.0; self.outer * width];
        let (mut row, mut column) = (0, self.inner);
        for part in &self.parts {
            let rows = &mut whole[row * width..(row + part.outputs()) * width];
            part.weight.read(|weight| {
                let pairs = rows.chunks_exact_mut(width).zip(weight.chunks_exact(self.inner.max(1)));
                pairs.for_each(|(row, weight)| row[..self.inner].copy_from_slice(weight));
                Ok(())
            })?;
            if let Some(low_rank) = &part.low_rank {
                low_rank.b.read(|b| {
                    for (row, b) in rows.chunks_exact_mut(width).zip(b.chunks_exact(low_rank.rank().max(1))) {
                        row[column..].iter_mut().zip(b).for_each(|(to, b)| *to = low_rank.scale * b);
                    }
                    Ok(())
                })?;
                column += low_rank.columns();
            }
            row += part.outputs();
        }
        Ok(whole)
    }

    /// The input as the product reads it.
    pub(crate) fn operand(&self, x: Arc<Matrix>, rows_of: Rows, setting: &Setting) -> Result<Operand> {
        let width = self.width();
        if width == self.inner {
            return Ok(Operand { matrix: x, additions: Vec::new() });
        }
        self.check("input", &x, self.inner)?;
        let (rows, inner) = (x.rows, self.inner);
        let (mut column, mut additions, mut products) = (inner, Vec::new(), Vec::new());
        for (index, part) in self.parts.iter().enumerate() {
            let Some(low_rank) = &part.low_rank else { continue };
            let mask = setting.mask(low_rank.dropout, rows_of, inner);
            let input = match mask {
                None => x.clone(),
                Some(_) => Arc::new(rebuilt(&x, inner, |row, values| {
                    x.read(row, 0, values);
                    masked(values, mask, (row * inner) as u32);
                })),
            };
            let mut t = Buffer::uninit(rows * low_rank.rank());
            low_rank.a.read(|a| {
                let a: Vec<&[f32]> = a.chunks_exact(inner).collect();
                match &input.values {
                    Values::F32(x) => times(x, rows, &PackedB::along(&a), &mut t),
                    Values::Bf16(x) => times(x, rows, &PackedB::along(&a), &mut t),
                }
                Ok(())
            })?;
            products.push((column, low_rank.rank(), t));
            additions.push(Addition { part: index, column, mask, input });
            column += low_rank.columns();
        }
        let widened = rebuilt(&x, width, |row, values| {
            let (own, added) = values.split_at_mut(inner);
            x.read(row, 0, own);
            added.fill(0.0);
            for (column, rank, t) in &products {
                added[column - inner..][..*rank].copy_from_slice(&t[row * rank..(row + 1) * rank]);
            }
        });
        Ok(Operand { matrix: Arc::new(widened), additions })
    }

    /// The backward pass of the product: from dy, and its sums over rows, to the weights and the input. `mask` is that of
    /// dropout before the layer.
    pub(crate) fn backward(
        &self,
        buffers: &mut GradientBuffers,
        input: Node,
        mask: Option<Dropout>,
        x: &Operand,
        dy: &Matrix,
        sums: &[f32],
    ) -> Result<()> {
        if x.additions.is_empty() && mask.is_none() {
            buffers.through(input, self, dy)?;
        } else if !x.additions.is_empty() || input.needs_gradient {
            let mut dx = match x.additions.is_empty() {
                true => {
                    let mut dx = Buffer::uninit(dy.rows * self.inner);
                    self.backward_input(dy, &Store::new(&mut dx, self.inner))?;
                    dx
                }
                false => self.backward_additions(x, dy)?,
            };
            mask_rows(&mut dx, self.inner, mask);
            buffers.add(input, dx)?;
        }
        self.backward_weights(dy, &x.matrix, sums)
    }

    /// The gradients of the additions' weights; returns dx.
    fn backward_additions(&self, x: &Operand, dy: &Matrix) -> Result<Buffer<f32>> {
        let (rows, width) = (dy.rows, self.width());
        let mut widened = Buffer::uninit(rows * width);
        self.backward_input(dy, &Store::new(&mut widened, width))?;
        let mut dx = Buffer::uninit(rows * self.inner);
        dx.par_chunks_exact_mut(self.inner).zip(widened.par_chunks_exact(width)).with_min_len(16).for_each(
            |(to, from)| {
                to.copy_from_slice(&from[..self.inner]);
            },
        );
        for addition in &x.additions {
            let starts: usize = self.parts.iter().take(addition.part).map(Part::outputs).sum();
            let Some(Part { low_rank: Some(low_rank), .. }) = self.parts.get(addition.part) else { continue };
            let rank = low_rank.rank();
            let dt: Vec<f32> =
                widened.chunks_exact(width).flat_map(|row| &row[addition.column..][..rank]).copied().collect();
            let dt = Matrix::rounded(dy.precision(), rows, rank, &dt);
            let outputs = self.parts[addition.part].outputs();
            match (&dy.values, &x.matrix.values, &dt.values, &addition.input.values) {
                (Values::F32(dy), Values::F32(x), Values::F32(dt), Values::F32(input)) => {
                    self.gather_addition(low_rank, addition, rows, [starts, outputs], [dy, x, dt, input], &mut dx)
                }
                (Values::Bf16(dy), Values::Bf16(x), Values::Bf16(dt), Values::Bf16(input)) => {
                    self.gather_addition(low_rank, addition, rows, [starts, outputs], [dy, x, dt, input], &mut dx)
                }
                _ => candle_core::bail!("linear: an input and a gradient of different precision"),
            }?;
        }
        Ok(dx)
    }

    fn gather_addition<T: MicroKernel>(
        &self,
        low_rank: &LowRank,
        addition: &Addition,
        rows: usize,
        [start, outputs]: [usize; 2],
        [dy, x, dt, input]: [&[T]; 4],
        dx: &mut [f32],
    ) -> Result<()> {
        let (rank, inner) = (low_rank.rank(), self.inner);
        if low_rank.b.is_trained() {
            let t = PackedB::across_elements(&x[T::count(addition.column)..], rows, rank, T::count(self.width()));
            let dy = PackedA::transposed(dy, rows, start..start + outputs, T::count(self.outer));
            let mut db = vec![0.0; outputs * rank];
            product(dy.left(), &t, &Store::new(&mut db, rank));
            db.iter_mut().for_each(|db| *db *= low_rank.scale);
            low_rank.b.add_gradient(&db)?;
        }
        if low_rank.a.is_trained() {
            let inputs = PackedB::across_elements(input, rows, inner, T::count(inner));
            low_rank.a.gather(|sum, holds| {
                let dt = PackedA::transposed(dt, rows, 0..rank, T::count(rank));
                product(dt.left(), &inputs, &Store::new(sum, inner).adding(holds));
                Ok(())
            })?;
        }
        let mut back = Buffer::uninit(rows * inner);
        low_rank.a.read(|a| {
            let a: Vec<&[f32]> = a.chunks_exact(inner).collect();
            times(dt, rows, &PackedB::across(&a), &mut back);
            Ok(())
        })?;
        mask_rows(&mut back, inner, addition.mask);
        dx.par_chunks_mut(inner).zip(back.par_chunks(inner)).with_min_len(16).for_each(|(dx, back)| add_to(dx, back));
        Ok(())
    }
}

/// A matrix of so many columns, in the precision of another, whose rows `make` writes.
fn rebuilt(like: &Matrix, columns: usize, make: impl Fn(usize, &mut [f32]) + Sync) -> Matrix {
    let mut matrix = Matrix::uninit(like.precision(), like.rows, columns);
    let writer = matrix.writer();
    (0..like.rows).into_par_iter().with_min_len(16).for_each_init(
        || vec![0.0; columns],
        |values, row| {
            make(row, values);
            // SAFETY: every row is visited once.
            unsafe { writer.write(row, 0, values) };
        },
    );
    matrix
}

fn times<T: MicroKernel>(a: &[T], rows: usize, b: &PackedB<T>, into: &mut [f32]) {
    product(ViewA::plain(a, rows, b.depth), b, &Store::new(into, b.columns));
}

/// Multiplies the rows of a matrix with their masks.
pub(super) fn mask_rows(values: &mut [f32], columns: usize, mask: Option<Dropout>) {
    if mask.is_some() {
        values.par_chunks_mut(columns.max(1)).with_min_len(16).enumerate().for_each(|(row, values)| {
            masked(values, mask, (row * columns) as u32);
        });
    }
}
