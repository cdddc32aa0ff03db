//! A parameter as the fused operators use it: its value, and where its gradient gathers.
//!
//! candle's own backward pass makes a tensor of zeros for every gradient and adds to it, whole tables of embeddings
//! included. Gradients of weights go here instead: written in place, and for a table only the rows that were used.

use crate::gradient::{Gradient, GradientValues};
use crate::storage::{f32s, with_f32s};
use crate::workspace::Buffer;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A parameter. Clones are the same parameter.
#[derive(Clone)]
pub struct Weight(Arc<Inner>);

struct Inner {
    name: String,
    var: Var,
    frozen: AtomicBool,
    /// Counts the changes of the value: what was made from an older one is stale.
    version: AtomicU64,
    gradient: Mutex<Option<Gradient>>,
    deferred: Mutex<Deferred>,
}

/// Lazy decay: the factors that rows of a table have yet to get, see [`Weight::defer`].
#[derive(Default)]
struct Deferred {
    /// The factors of all steps since every row was flushed.
    factors: Vec<f32>,
    /// How many of them each row has had; empty while there is no factor.
    had: Vec<u32>,
}

impl Weight {
    /// A parameter of this value, without a name.
    pub fn new(value: &Tensor) -> Result<Self> {
        Self::named("", value)
    }

    /// A parameter of this name and value. It is trained until it is frozen.
    pub fn named(name: &str, value: &Tensor) -> Result<Self> {
        let (name, var) = (name.to_owned(), Var::from_tensor(value)?);
        let (frozen, version, gradient, deferred) = Default::default();
        Ok(Self(Arc::new(Inner { name, var, frozen, version, gradient, deferred })))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// From now on no gradient is computed for it, nor for what only led to it.
    pub fn freeze(&self) {
        self.0.frozen.store(true, Ordering::Release);
    }

    /// Whether gradients are computed for it.
    pub fn is_trained(&self) -> bool {
        !self.0.frozen.load(Ordering::Acquire)
    }

    /// Its value, up to date; operators of candle's own send their gradient for it to candle's store.
    pub fn tensor(&self) -> Result<&Tensor> {
        self.flush_all()?;
        Ok(self.0.var.as_tensor())
    }

    /// Its value as the variable that candle knows.
    pub fn var(&self) -> Result<&Var> {
        self.flush_all()?;
        Ok(&self.0.var)
    }

    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        self.0.var.dims()
    }

    /// Its elements, in number.
    pub fn count(&self) -> usize {
        self.0.var.elem_count()
    }

    /// Rises with every change of the value.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Reads its numbers.
    ///
    /// # Errors
    /// It is not f32 on the CPU, or the function fails.
    pub fn read<R>(&self, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
        self.flush_all()?;
        with_f32s([self.0.var.as_tensor()], |[values]| f(values))
    }

    /// Its value, of which only these rows need be up to date.
    pub(crate) fn tensor_of_rows(&self, rows: &[u32]) -> Result<&Tensor> {
        self.flush(rows)?;
        Ok(self.0.var.as_tensor())
    }

    /// Changes its numbers in place, and tells those who keep copies.
    pub(crate) fn change(&self, f: impl FnOnce(&mut [f32]) + Send) -> Result<()> {
        self.0.var.inplace_op1(&Change(Mutex::new(Some(f))))?;
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Counts as changed from now on: packed forms of its value are rebuilt.
    pub fn touch(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Puts a new value in.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        self.flush_all()?;
        self.0.var.set(value)?;
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Adds to its gradient: `add` gets the buffer, and whether it holds a gradient already (else it holds anything).
    pub(crate) fn gather(&self, add: impl FnOnce(&mut [f32], bool) -> Result<()>) -> Result<()> {
        let mut slot = lock(&self.0.gradient);
        let existing = match slot.take() {
            Some(Gradient::Dense(values)) => Some(values),
            Some(rows @ Gradient::Rows { .. }) => {
                let whole = rows.to_tensor(self.dims())?;
                Some(with_f32s([&whole], |[values]| Ok(GradientValues(Buffer::copy_of(values))))?)
            }
            None => None,
        };
        let holds = existing.is_some();
        let mut values = existing.unwrap_or_else(|| GradientValues(Buffer::uninit(self.count())));
        add(&mut values.0, holds)?;
        *slot = Some(Gradient::Dense(values));
        Ok(())
    }

    /// Adds a whole gradient that is at hand.
    pub(crate) fn add_gradient(&self, gradient: &[f32]) -> Result<()> {
        self.gather(|sum, holds| {
            match holds {
                true => crate::gemm::add_to(sum, gradient),
                false => sum.copy_from_slice(gradient),
            }
            Ok(())
        })
    }

    /// Adds a whole gradient that candle computed.
    pub fn add_gradient_of_tensor(&self, gradient: &Tensor) -> Result<()> {
        if gradient.device().is_cpu() {
            return with_f32s([gradient], |[gradient]| self.add_gradient(gradient));
        }
        self.add_gradient(&gradient.flatten_all()?.to_vec1::<f32>()?)
    }

    /// Adds to its gradient the gradients of the rows that tokens took: `gradients` is `[tokens, columns]`. Each row's sum
    /// is made in the order of its tokens.
    pub fn add_gradient_of_rows(&self, tokens: &[u32], gradients: &[f32]) -> Result<()> {
        use rayon::prelude::*;
        let columns = self.dims().last().copied().unwrap_or(0);
        let mut slot = lock(&self.0.gradient);
        let before = slot.take();
        if let Some(Gradient::Dense(mut values)) = before {
            for (&row, gradient) in tokens.iter().zip(gradients.chunks_exact(columns)) {
                crate::gemm::add_to(&mut values.0[row as usize * columns..][..columns], gradient);
            }
            *slot = Some(Gradient::Dense(values));
            return Ok(());
        }
        // The uses of each row, in order: what it had before, then the tokens.
        let mut uses: BTreeMap<u32, Vec<&[f32]>> = BTreeMap::new();
        if let Some(Gradient::Rows { rows, values, .. }) = &before {
            for (&row, values) in rows.iter().zip(values.chunks_exact(columns)) {
                uses.entry(row).or_default().push(values);
            }
        }
        for (&row, gradient) in tokens.iter().zip(gradients.chunks_exact(columns)) {
            uses.entry(row).or_default().push(gradient);
        }
        let rows: Vec<u32> = uses.keys().copied().collect();
        let uses: Vec<Vec<&[f32]>> = uses.into_values().collect();
        let mut values = Buffer::uninit(rows.len() * columns);
        values.par_chunks_mut(columns.max(1)).zip(&uses).for_each(|(sum, uses)| {
            let mut uses = uses.iter();
            if let Some(first) = uses.next() {
                sum.copy_from_slice(first);
            }
            uses.for_each(|gradient| crate::gemm::add_to(sum, gradient));
        });
        *slot = Some(Gradient::Rows { rows, columns, values: GradientValues(values) });
        Ok(())
    }

    /// Takes the gradient that has gathered, if there is one.
    pub fn take_gradient(&self) -> Option<Gradient> {
        lock(&self.0.gradient).take()
    }

    /// Defers a factor for every row of this table but those whose flag says that they are up to date.
    ///
    /// A row that no step ever touched has moments of zero: AdamW only multiplies it by `1 - lr · decay`. It is spared
    /// that work until someone reads it, and then gets every factor, one by one and in order: the same bits as if it had
    /// had each in its step.
    pub(crate) fn defer(&self, factor: f32, done: &[bool]) {
        let mut deferred = lock(&self.0.deferred);
        let now = deferred.factors.len() as u32;
        deferred.had.resize(done.len(), 0);
        deferred.factors.push(factor);
        for (had, _) in deferred.had.iter_mut().zip(done).filter(|(_, done)| **done) {
            debug_assert_eq!(*had, now, "a row was updated before its decay was flushed");
            *had = now + 1;
        }
    }

    /// Brings these rows up to date.
    pub(crate) fn flush(&self, rows: &[u32]) -> Result<()> {
        let mut deferred = lock(&self.0.deferred);
        let now = deferred.factors.len() as u32;
        let mut late: Vec<u32> =
            rows.iter().copied().filter(|&row| deferred.had.get(row as usize).is_some_and(|&had| had < now)).collect();
        late.sort_unstable();
        late.dedup();
        self.flush_rows(&mut deferred, &late)
    }

    /// Brings every row up to date.
    fn flush_all(&self) -> Result<()> {
        let mut deferred = lock(&self.0.deferred);
        if deferred.factors.is_empty() {
            return Ok(());
        }
        let now = deferred.factors.len() as u32;
        let rows = deferred.had.iter().enumerate();
        let late: Vec<u32> = rows.filter(|(_, had)| **had < now).map(|(row, _)| row as u32).collect();
        self.flush_rows(&mut deferred, &late)?;
        *deferred = Deferred::default();
        Ok(())
    }

    fn flush_rows(&self, deferred: &mut Deferred, late: &[u32]) -> Result<()> {
        use rayon::prelude::*;
        if late.is_empty() {
            return Ok(());
        }
        let columns = self.dims().last().copied().unwrap_or(0);
        let (factors, had) = (&deferred.factors, &deferred.had);
        self.change(|values| {
            let parts = crate::storage::Parts::new(values);
            late.par_iter().with_min_len(16).for_each(|&row| {
                // SAFETY: `late` names each row once.
                let values = unsafe { parts.part(row as usize * columns, columns) };
                decay(values, &factors[had[row as usize] as usize..]);
            });
        })?;
        let now = deferred.factors.len() as u32;
        for &row in late {
            deferred.had[row as usize] = now;
        }
        Ok(())
    }
}

crate::math::simd! {
    fn decay(values: &mut [f32], factors: &[f32]) {
        for value in values.chunks_mut(64) {
            for factor in factors {
                for value in value.iter_mut() {
                    *value *= factor;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Change<F>(Mutex<Option<F>>);

impl<F: FnOnce(&mut [f32]) + Send> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        f32s("a weight", storage, layout)?;
        if let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) {
            lock(&self.0).take().into_iter().for_each(|f| f(&mut values[start..end]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn a_gradient_of_rows_is_the_sum_over_tokens_and_joins_a_dense_one() {
        let weight = Weight::new(&normal(1, &[5, 3])).unwrap();
        let gradients: Vec<f32> = (0..12).map(|i| i as f32).collect();
        weight.add_gradient_of_rows(&[4, 1, 4, 0], &gradients).unwrap();
        let rows = weight.take_gradient().unwrap();
        assert!(matches!(&rows, Gradient::Rows { rows, .. } if *rows == [0, 1, 4]));
        let whole = rows.to_tensor(&[5, 3]).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(whole, [[9., 10., 11.], [3., 4., 5.], [0.; 3], [0.; 3], [6., 8., 10.]]);
        for dense_first in [true, false] {
            let dense = |values: &mut [f32], holds: bool| {
                if !holds {
                    values.fill(0.0);
                }
                values.iter_mut().for_each(|value| *value += 1.0);
                Ok(())
            };
            if dense_first {
                weight.gather(dense).unwrap();
            }
            weight.add_gradient_of_rows(&[4, 1, 4, 0], &gradients).unwrap();
            if !dense_first {
                weight.gather(dense).unwrap();
            }
            let both = weight.take_gradient().unwrap().to_tensor(&[5, 3]).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(both, [[10., 11., 12.], [4., 5., 6.], [1.; 3], [1.; 3], [7., 9., 11.]]);
        }
        assert!(weight.take_gradient().is_none());
    }
}
