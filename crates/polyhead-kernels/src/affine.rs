//! Columns times and plus vectors: what a task changes about the output of a layer that is frozen.
//!
//! ```text
//! forward   y = s (x - c) + c + b                  x [rows, columns], s = l f; all vectors [columns]
//! backward  dx = s dy    dl = f Σ_r (x - c) dy     db = Σ_r dy
//! ```
//!
//! l and b are trained, c (a bias that the scale leaves as it is) and f are not. Parts lie side by side, as those of a linear layer do; what a part does not
//! have is 1 or 0.

use crate::gemm::{Matrix, sum_rows};
use crate::math::simd;
use crate::pool::for_each_chunk;
use crate::tape::Tape;
use crate::value::{Fused, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Rows that one thread takes at a time.
const GRAIN: usize = 16;

/// What a scale is multiplied by, which is computed from weights as they are: `[columns]`.
pub type Factor = Arc<dyn Fn() -> Result<Vec<f32>> + Send + Sync>;

/// A vector that columns are multiplied by.
#[derive(Clone)]
pub struct Scale {
    /// l `[columns]`
    pub weight: Weight,
    /// f; none: 1.
    pub factor: Option<Factor>,
    /// c `[columns]`; none: 0.
    pub around: Option<Weight>,
}

/// Neighbouring columns.
#[derive(Clone)]
pub struct AffinePart {
    /// How many.
    pub columns: usize,
    /// What they are multiplied by.
    pub scale: Option<Scale>,
    /// b `[columns]`: what is added.
    pub shift: Option<Weight>,
}

/// Columns times and plus vectors.
#[derive(Clone)]
pub struct Affine(pub Vec<AffinePart>);

/// `y = times x + plus`, and what the backward pass needs besides.
struct Vectors {
    times: Vec<f32>,
    plus: Vec<f32>,
    factor: Vec<f32>,
    around: Vec<f32>,
}

impl Affine {
    fn columns(&self) -> usize {
        self.0.iter().map(|part| part.columns).sum()
    }

    fn is_trained(&self) -> bool {
        let weights = self.0.iter().flat_map(|part| part.scale.iter().map(|scale| &scale.weight).chain(&part.shift));
        weights.into_iter().any(Weight::is_trained)
    }

    /// The columns of each part.
    fn parts(&self) -> impl Iterator<Item = (Range<usize>, &AffinePart)> {
        let mut end = 0;
        self.0.iter().map(move |part| {
            let begin = end;
            end += part.columns;
            (begin..end, part)
        })
    }

    fn vectors(&self, columns: usize) -> Result<Vectors> {
        if self.columns() != columns {
            candle_core::bail!("vectors for {} columns, found {columns}", self.columns());
        }
        let (zeros, ones) = (vec![0.0; columns], vec![1.0; columns]);
        let mut found = Vectors { times: ones.clone(), plus: zeros.clone(), factor: ones, around: zeros };
        for (at, part) in self.parts() {
            let copied = |weight: &Weight, to: &mut [f32]| match weight.count() == to.len() {
                true => weight.read(|values| {
                    to.copy_from_slice(values);
                    Ok(())
                }),
                false => candle_core::bail!("a vector {:?} for {} columns", weight.dims(), to.len()),
            };
            if let Some(Scale { weight, factor, around }) = &part.scale {
                copied(weight, &mut found.times[at.clone()])?;
                if let Some(factor) = factor {
                    let factor = factor()?;
                    if factor.len() != part.columns {
                        candle_core::bail!("{} factors for {} columns", factor.len(), part.columns);
                    }
                    found.factor[at.clone()].copy_from_slice(&factor);
                    found.times[at.clone()].iter_mut().zip(factor).for_each(|(times, factor)| *times *= factor);
                }
                if let Some(around) = around {
                    copied(around, &mut found.around[at.clone()])?;
                }
            }
            if let Some(shift) = &part.shift {
                copied(shift, &mut found.plus[at])?;
            }
        }
        let moved = found.plus.iter_mut().zip(&found.times).zip(&found.around);
        moved.for_each(|((plus, times), around)| *plus += around - times * around);
        Ok(found)
    }

    /// `y = times x + plus` of each column, as weights are now.
    ///
    /// # Errors
    /// A vector has another length than its columns.
    pub fn values(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let Vectors { times, plus, .. } = self.vectors(self.columns())?;
        Ok((times, plus))
    }
}

simd! {
    fn times_plus(y: &mut [f32], times: &[f32], plus: &[f32]) {
        y.iter_mut().zip(times).zip(plus).for_each(|((y, times), plus)| *y = times * *y + plus);
    }
}

simd! {
    fn add_product(sums: &mut [f32], x: &[f32], around: &[f32], dy: &[f32]) {
        sums.iter_mut().zip(x).zip(around).zip(dy).for_each(|(((sum, x), around), dy)| *sum += (x - around) * dy);
    }
}

impl Tape {
    /// A hidden state with the rows of a value.
    pub(crate) fn fused_affine(&mut self, x: &Fused, affine: &Affine) -> Result<Value> {
        let (rows, columns, rows_of) = (x.node.rows, x.node.columns, x.node.rows_of);
        let Vectors { times, plus, factor, around } = affine.vectors(columns)?;
        let mut y = Buffer::uninit(rows * columns);
        for_each_chunk(&mut y, columns, GRAIN, |row, y| {
            x.read_row(row, y);
            times_plus(y, &times, &plus);
        });
        let needs_gradient = self.trains() && (x.node.needs_gradient || affine.is_trained());
        let y = self.hidden(Matrix::f32(rows, columns, y), None, rows_of, needs_gradient);
        let output = y.node;
        let (x, affine) = (x.clone(), affine.clone());
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            let of_row = |row: usize| &dy[row * columns..][..columns];
            if affine.0.iter().any(|part| part.scale.as_ref().is_some_and(|scale| scale.weight.is_trained())) {
                let x = x.to_buffer();
                let mut sums = sum_rows(rows, columns, |row, sums| {
                    add_product(sums, &x[row * columns..][..columns], &around, of_row(row));
                });
                sums.iter_mut().zip(&factor).for_each(|(sum, factor)| *sum *= factor);
                for (at, part) in affine.parts() {
                    if let Some(scale) = part.scale.as_ref().filter(|scale| scale.weight.is_trained()) {
                        scale.weight.add_gradient(&sums[at])?;
                    }
                }
            }
            if affine.0.iter().any(|part| part.shift.as_ref().is_some_and(Weight::is_trained)) {
                let sums = sum_rows(rows, columns, |row, sums| crate::gemm::add_to(sums, of_row(row)));
                for (at, part) in affine.parts() {
                    if let Some(shift) = part.shift.as_ref().filter(|shift| shift.is_trained()) {
                        shift.add_gradient(&sums[at])?;
                    }
                }
            }
            if x.node.needs_gradient {
                let mut dx = Buffer::uninit(rows * columns);
                let nothing = vec![0.0; columns];
                for_each_chunk(&mut dx, columns, GRAIN, |row, dx| {
                    dx.copy_from_slice(of_row(row));
                    times_plus(dx, &times, &nothing);
                });
                buffers.add(x.node, dx)?;
            }
            Ok(())
        });
        Ok(Value::Fused(y))
    }
}

/// The same in candle's operators, with vectors as `weight` gives them.
pub(crate) fn plain(x: &Tensor, affine: &Affine, weight: impl Fn(&Weight) -> Result<Tensor>) -> Result<Tensor> {
    let columns = x.dim(1)?;
    affine.vectors(columns)?;
    let mut parts = Vec::with_capacity(affine.0.len());
    for (at, part) in affine.parts() {
        let mut y = x.narrow(1, at.start, part.columns)?;
        if let Some(Scale { weight: scale, factor, around }) = &part.scale {
            let mut times = weight(scale)?;
            if let Some(factor) = factor {
                times = (times * Tensor::new(factor()?, x.device())?)?;
            }
            y = match around {
                Some(around) => {
                    let around = weight(around)?.detach();
                    y.broadcast_sub(&around)?.broadcast_mul(&times)?.broadcast_add(&around)?
                }
                None => y.broadcast_mul(&times)?,
            };
        }
        if let Some(shift) = &part.shift {
            y = y.broadcast_add(&weight(shift)?)?;
        }
        parts.push(y);
    }
    Tensor::cat(&parts, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Ops;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let args = [
            normal(1, &[70, 6]),
            normal(2, &[6, 6]),
            normal(3, &[6]),
            normal(4, &[2]),
            normal(5, &[2]),
            normal(6, &[3]),
        ];
        assert_tapes(&args, |ops: &mut dyn Ops, [x, w, bias, scale, shift, other]| {
            let x = ops.parameter(x)?;
            let y = ops.linear(&x, &weights([(w, bias)]))?;
            let around = Weight::new(&normal(7, &[3]))?;
            around.freeze();
            let factor: Factor = Arc::new(|| Ok(vec![0.5, -2.0, 3.0]));
            let plain = Scale { weight: scale.clone(), factor: None, around: None };
            let factored = Scale { weight: other.clone(), factor: Some(factor), around: Some(around) };
            let part = |columns, scale, shift| AffinePart { columns, scale, shift };
            let affine = Affine(vec![
                part(2, Some(plain), Some(shift.clone())),
                part(1, None, None),
                part(3, Some(factored), None),
            ]);
            let hidden = ops.affine(&y, &affine)?;
            // Of what a product would read, too.
            let inner = ops.linear_activation(&hidden, &weights([(w, bias)]), crate::Activation::Gelu)?;
            ops.affine(&inner, &affine)
        });
    }

    #[test]
    fn vectors_of_other_lengths_are_refused() {
        let x = normal(1, &[4, 6]);
        let of = |columns, length| {
            let shift = Some(Weight::new(&normal(2, &[length])).unwrap());
            plain(&x, &Affine(vec![AffinePart { columns, scale: None, shift }]), |weight| weight.tensor().cloned())
        };
        assert!(of(6, 6).is_ok());
        assert!(of(5, 5).is_err() && of(6, 5).is_err());
    }
}
