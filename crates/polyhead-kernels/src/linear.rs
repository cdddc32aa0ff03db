//! Linear layers.
//!
//! ```text
//! forward   y = x Wᵀ + b               x [tokens, in], W [out, in], b [out] -> y [tokens, out]
//! backward  dx = dy W    dW = dyᵀ x    db = sum of dy over tokens
//! ```
//!
//! [`Linear`] is a layer of the encoder, or several side by side that read the same input and are computed as one
//! product (queries, keys and values). Its weights are rounded and brought into panels once a step, and once for all
//! where nothing trains. [`dropout_linear`] is the layer of a head, an operator of candle's graph in f32.

use crate::dropout::{self, Dropout, masked};
use crate::gemm::bf16::{self, Left, Panels, Transposed};
use crate::gemm::{Factor, Matrix, Sink, Store, Values, add_to, matmul, product_f32, sum_rows};
use crate::storage::{f32s, with_f32s};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Linear layers side by side, on one input.
pub struct Linear {
    parts: Vec<(Weight, Weight)>,
    inner: usize,
    outer: usize,
    /// All weights as one matrix `[out, in]`, and as panels for the product with an input and with a gradient.
    rows: Cache<Buffer<f32>>,
    forward: Cache<Panels>,
    backward: Cache<Panels>,
}

/// What was made from the weights, and of which version of them.
type Cache<T> = Mutex<Option<(u64, Arc<T>)>>;

impl Linear {
    /// Layers of these weights `[out, in]` and biases `[out]`; their outputs lie side by side.
    pub fn new(parts: Vec<(Weight, Weight)>) -> Self {
        let inner = parts.first().and_then(|(weight, _)| weight.dims().get(1).copied()).unwrap_or(0);
        let outer = parts.iter().map(|(_, bias)| bias.count()).sum();
        let (rows, forward, backward) = Default::default();
        Self { parts, inner, outer, rows, forward, backward }
    }

    /// The width of its output.
    pub fn outputs(&self) -> usize {
        self.outer
    }

    /// All biases, end to end.
    pub(crate) fn bias(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.outer);
        for (_, bias) in &self.parts {
            bias.read(|bias| {
                all.extend_from_slice(bias);
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// `x Wᵀ`, without the bias.
    pub(crate) fn forward<S: Sink>(&self, x: &Matrix, sink: &S) -> Result<()> {
        self.check("input", x, self.inner)?;
        match &x.values {
            Values::F32(values) => self.with_rows(|w| {
                let x = Factor::plain(values, x.rows, self.inner);
                product_f32(x, Factor::transposed(w, self.inner, self.outer), sink);
                Ok(())
            }),
            Values::Bf16(pairs) => {
                let panels = self.packed(&self.forward, Panels::along)?;
                bf16::product(Left::plain(pairs, x.rows, self.inner.div_ceil(2)), &panels, sink);
                Ok(())
            }
        }
    }

    /// `dy W`.
    pub(crate) fn backward_input<S: Sink>(&self, dy: &Matrix, sink: &S) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        match &dy.values {
            Values::F32(values) => self.with_rows(|w| {
                let dy = Factor::plain(values, dy.rows, self.outer);
                product_f32(dy, Factor::plain(w, self.outer, self.inner), sink);
                Ok(())
            }),
            Values::Bf16(pairs) => {
                let panels = self.packed(&self.backward, Panels::across)?;
                bf16::product(Left::plain(pairs, dy.rows, self.outer.div_ceil(2)), &panels, sink);
                Ok(())
            }
        }
    }

    /// Sends `dyᵀ x` and the sums of dy to the weights and biases.
    pub(crate) fn backward_weights(&self, dy: &Matrix, x: &Matrix, sums: &[f32]) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        self.check("input", x, self.inner)?;
        let (tokens, inner, outer) = (x.rows, self.inner, self.outer);
        let panels = match &x.values {
            Values::Bf16(pairs) => Some(Panels::across_rounded(pairs, tokens, inner, inner.div_ceil(2))),
            Values::F32(_) => None,
        };
        let mut start = 0;
        for (weight, bias) in &self.parts {
            let rows = start..start + bias.count();
            weight.gather(|sum, holds| {
                let sink = Store::new(sum, inner).adding(holds);
                match (&dy.values, &x.values, &panels) {
                    (Values::F32(dy), Values::F32(x), _) => {
                        let dy = Factor::transposed(dy, outer, tokens).rows_of_transposed(rows.clone());
                        product_f32(dy, Factor::plain(x, tokens, inner), &sink);
                    }
                    (Values::Bf16(dy), _, Some(panels)) => {
                        let dy = Transposed::new(dy, tokens, rows.clone(), outer.div_ceil(2));
                        bf16::product(dy.left(), panels, &sink);
                    }
                    _ => candle_core::bail!("linear: an input and a gradient of different precision"),
                }
                Ok(())
            })?;
            bias.add_gradient(&sums[rows.clone()])?;
            start = rows.end;
        }
        Ok(())
    }

    /// The same in candle's own operators, its weights as `weight` gives them.
    pub(crate) fn plain(&self, x: &Tensor, weight: impl Fn(&Weight) -> Result<Tensor>) -> Result<Tensor> {
        let outputs: Result<Vec<Tensor>> = self.parts.iter().map(|(w, b)| plain(x, &weight(w)?, &weight(b)?)).collect();
        Tensor::cat(&outputs?, 1)
    }

    fn check(&self, what: &str, x: &Matrix, columns: usize) -> Result<()> {
        let fits = |(weight, bias): &(Weight, Weight)| *weight.dims() == [bias.count(), self.inner];
        if x.columns == columns && self.parts.iter().all(fits) {
            return Ok(());
        }
        let parts: Vec<_> = self.parts.iter().map(|(weight, bias)| (weight.dims(), bias.dims())).collect();
        candle_core::bail!("linear: an {what} of {} columns for weights and biases {parts:?}", x.columns)
    }

    /// Reads all weights as one matrix `[out, in]`.
    fn with_rows<R>(&self, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
        if let [(weight, _)] = self.parts.as_slice() {
            return weight.read(f);
        }
        let inner = self.inner;
        let rows = self.packed(&self.rows, |rows| {
            let mut all = Buffer::uninit(rows.len() * inner);
            for (all, row) in all.chunks_exact_mut(inner.max(1)).zip(rows) {
                all.copy_from_slice(row);
            }
            all
        })?;
        f(&rows)
    }

    /// What `make` makes of the rows of all weights, made anew only when a weight has changed.
    fn packed<T>(&self, cache: &Cache<T>, make: impl FnOnce(&[&[f32]]) -> T) -> Result<Arc<T>> {
        let version = self.parts.iter().map(|(weight, _)| weight.version()).sum();
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, packed)) = &*cache
            && *of == version
        {
            return Ok(packed.clone());
        }
        // The old one's memory serves the new one.
        *cache = None;
        let tensors = self.parts.iter().map(|(weight, _)| weight.tensor()).collect::<Result<Vec<_>>>()?;
        let packed = match tensors.as_slice() {
            &[a] => with_f32s([a], |[a]| Ok(make(&rows_of(&[a], self.inner))))?,
            &[a, b, c] => with_f32s([a, b, c], |parts| Ok(make(&rows_of(&parts, self.inner))))?,
            all => {
                let whole = Tensor::cat(all, 0)?;
                with_f32s([&whole], |[a]| Ok(make(&rows_of(&[a], self.inner))))?
            }
        };
        let packed = Arc::new(packed);
        *cache = Some((version, packed.clone()));
        Ok(packed)
    }
}

fn rows_of<'a>(parts: &[&'a [f32]], inner: usize) -> Vec<&'a [f32]> {
    parts.iter().flat_map(|part| part.chunks_exact(inner.max(1))).collect()
}

/// `dropout(x) Wᵀ + b` for x `[tokens, in]`, weight `[out, in]` and bias `[out]`: `[tokens, out]`, the layer of a head.
pub fn dropout_linear(x: &Tensor, weight: &Tensor, bias: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain(&dropout::plain(x, dropout)?, weight, bias);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Head(dropout))
}

/// `x Wᵀ + b` in candle's own operators.
pub(crate) fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

struct Head(Option<Dropout>);

impl Head {
    /// Multiplies the rows of a matrix with their masks.
    fn mask(&self, values: &mut [f32], columns: usize) {
        if self.0.is_some() {
            values.par_chunks_mut(columns.max(1)).with_min_len(16).enumerate().for_each(|(row, values)| {
                masked(values, self.0, (row * columns) as u32);
            });
        }
    }
}

impl CustomOp3 for Head {
    fn name(&self) -> &'static str {
        "dropout-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((tokens, inner), (outer, w_inner)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        if inner != w_inner || b_layout.shape().dims1()? != outer {
            candle_core::bail!("linear: x is [{tokens}, {inner}], W [{outer}, {w_inner}], b {:?}", b_layout.shape());
        }
        let (x, w, b) =
            (f32s("linear x", x, x_layout)?, f32s("linear W", w, w_layout)?, f32s("linear b", b, b_layout)?);
        let mut x = Buffer::copy_of(x);
        self.mask(&mut x, inner);
        let y = matmul(Factor::plain(&x, tokens, inner), Factor::transposed(w, inner, outer), Some(b));
        Ok((CpuStorage::F32(y), (tokens, outer).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((tokens, inner), outer) = (x.dims2()?, w.dim(0)?);
        let (dx, dw, db) = with_f32s([x, w, dy], |[x, w, dy]| {
            let mut x = Buffer::copy_of(x);
            self.mask(&mut x, inner);
            let dw = matmul(Factor::transposed(dy, outer, tokens), Factor::plain(&x, tokens, inner), None);
            let mut dx = matmul(Factor::plain(dy, tokens, outer), Factor::plain(w, outer, inner), None);
            self.mask(&mut dx, inner);
            let db = sum_rows(tokens, outer, |row, sums| add_to(sums, &dy[row * outer..(row + 1) * outer]));
            Ok((dx, dw, db))
        })?;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, (tokens, inner), device)?),
            Some(Tensor::from_vec(dw, (outer, inner), device)?),
            Some(Tensor::from_vec(db, outer, device)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        for (tokens, inner, outer) in [(1, 8, 3), (70, 33, 130), (200, 64, 16)] {
            for drop in [None, Dropout::new(0.3, Key::seed(1))] {
                let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
                assert_twins(
                    &args,
                    |[x, w, b]| dropout_linear(x, w, b, drop),
                    |[x, w, b]| plain(&dropout::plain(x, drop)?, w, b),
                    1e-5,
                );
            }
        }
    }
}
