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
use crate::gemm::{Epilogue, Matrix, MicroKernel, PackedA, PackedB, Store, Values, ViewA, add_to, product, sum_rows};
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
    in_f32: Packed<f32>,
    in_bf16: Packed<u32>,
}

/// All weights as one matrix `[out, in]` in panels, for the product with an input and for that with a gradient.
#[derive(Default)]
struct Packed<T: MicroKernel> {
    forward: Cache<T>,
    backward: Cache<T>,
}

/// PackedB, and of which version of the weights they were made.
type Cache<T> = Mutex<Option<(u64, Arc<PackedB<T>>)>>;

impl Linear {
    /// Layers of these weights `[out, in]` and biases `[out]`; their outputs lie side by side.
    pub fn new(parts: Vec<(Weight, Weight)>) -> Self {
        let inner = parts.first().and_then(|(weight, _)| weight.dims().get(1).copied()).unwrap_or(0);
        let outer = parts.iter().map(|(_, bias)| bias.count()).sum();
        let (in_f32, in_bf16) = Default::default();
        Self { parts, inner, outer, in_f32, in_bf16 }
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
    pub(crate) fn forward<S: Epilogue>(&self, x: &Matrix, epilogue: &S) -> Result<()> {
        self.check("input", x, self.inner)?;
        match &x.values {
            Values::F32(elements) => self.multiply(x.rows, elements, &self.in_f32.forward, PackedB::along, epilogue),
            Values::Bf16(elements) => self.multiply(x.rows, elements, &self.in_bf16.forward, PackedB::along, epilogue),
        }
    }

    /// `dy W`.
    pub(crate) fn backward_input<S: Epilogue>(&self, dy: &Matrix, epilogue: &S) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        match &dy.values {
            Values::F32(elements) => self.multiply(dy.rows, elements, &self.in_f32.backward, PackedB::across, epilogue),
            Values::Bf16(elements) => {
                self.multiply(dy.rows, elements, &self.in_bf16.backward, PackedB::across, epilogue)
            }
        }
    }

    /// A matrix of so many rows, times the weights as `make` brings their rows into panels.
    fn multiply<T: MicroKernel, S: Epilogue>(
        &self,
        rows: usize,
        elements: &[T],
        cache: &Cache<T>,
        make: fn(&[&[f32]]) -> PackedB<T>,
        epilogue: &S,
    ) -> Result<()> {
        let panels = self.packed(cache, make)?;
        product(ViewA::plain(elements, rows, panels.depth), &panels, epilogue);
        Ok(())
    }

    /// Sends `dyᵀ x` and the sums of dy to the weights and biases.
    pub(crate) fn backward_weights(&self, dy: &Matrix, x: &Matrix, sums: &[f32]) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        self.check("input", x, self.inner)?;
        match (&dy.values, &x.values) {
            (Values::F32(dy), Values::F32(input)) => self.gather(x.rows, dy, input, sums),
            (Values::Bf16(dy), Values::Bf16(input)) => self.gather(x.rows, dy, input, sums),
            _ => candle_core::bail!("linear: an input and a gradient of different precision"),
        }
    }

    fn gather<T: MicroKernel>(&self, tokens: usize, dy: &[T], x: &[T], sums: &[f32]) -> Result<()> {
        let inputs = PackedB::across_elements(x, tokens, self.inner, T::count(self.inner));
        let mut start = 0;
        for (weight, bias) in &self.parts {
            let rows = start..start + bias.count();
            weight.gather(|sum, holds| {
                let dy = PackedA::transposed(dy, tokens, rows.clone(), T::count(self.outer));
                product(dy.left(), &inputs, &Store::new(sum, self.inner).adding(holds));
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

    /// What `make` makes of the rows of all weights, made anew only when a weight has changed.
    fn packed<T: MicroKernel>(&self, cache: &Cache<T>, make: fn(&[&[f32]]) -> PackedB<T>) -> Result<Arc<PackedB<T>>> {
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
    let dropout = dropout.map(|dropout| dropout.of_rows(x.dims().last().copied().unwrap_or(0)));
    if !x.device().is_cpu() {
        return plain(&dropout::plain(x, dropout)?, weight, bias);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Head(dropout))
}

/// `x Wᵀ + b` in candle's own operators.
pub(crate) fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

fn multiplied(a: ViewA<f32>, b: &PackedB<f32>, bias: Option<&[f32]>) -> Vec<f32> {
    let mut c = vec![0.0; a.rows * b.columns];
    product(a, b, &Store::new(&mut c, b.columns).with_bias(bias));
    c
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
        let y = multiplied(ViewA::plain(&x, tokens, inner), &PackedB::along_elements(w, outer, inner, inner), Some(b));
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
            let turned = PackedA::transposed(dy, tokens, 0..outer, outer);
            let dw = multiplied(turned.left(), &PackedB::across_elements(&x, tokens, inner, inner), None);
            let w = PackedB::across_elements(w, outer, inner, inner);
            let mut dx = multiplied(ViewA::plain(dy, tokens, outer), &w, None);
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
    use crate::testing::{assert_matches_reference, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        for (tokens, inner, outer) in [(1, 8, 3), (70, 33, 130), (200, 64, 16)] {
            for drop in [None, Dropout::new(0.3, Key::seed(1))] {
                let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
                assert_matches_reference(
                    &args,
                    |[x, w, b]| dropout_linear(x, w, b, drop),
                    |[x, w, b]| plain(&dropout::plain(x, drop)?, w, b),
                    1e-5,
                );
            }
        }
    }
}
