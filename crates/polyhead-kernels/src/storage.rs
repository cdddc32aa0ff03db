//! Access to the numbers behind candle tensors, and to disjoint parts of a slice from parallel tasks.

use candle_core::{CpuStorage, Layout, Result, Tensor};

/// The numbers of a contiguous f32 tensor on the CPU.
pub(crate) fn f32s<'a>(name: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("{name}: expected f32, found {:?}", storage_dtype(storage))
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => candle_core::bail!("{name}: expected a contiguous tensor, found strides {:?}", layout.stride()),
    }
}

fn storage_dtype(storage: &CpuStorage) -> candle_core::DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Runs `f` over the numbers of f32 CPU tensors, made contiguous first where they are not.
pub(crate) fn with_f32s<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    with_all_f32s(&tensors, |all| {
        let mut slices = [&[] as &[f32]; N];
        slices.copy_from_slice(all);
        f(slices)
    })
}

/// The same of any number of tensors.
pub(crate) fn with_all_f32s<R>(tensors: &[&Tensor], f: impl FnOnce(&[&[f32]]) -> Result<R>) -> Result<R> {
    let contiguous = tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = Vec::with_capacity(tensors.len());
    for (guard, layout) in &guards {
        let candle_core::Storage::Cpu(storage) = &**guard else { candle_core::bail!("expected a tensor on the CPU") };
        slices.push(f32s("a tensor", storage, layout)?);
    }
    f(&slices)
}

/// A slice that the tasks of one parallel loop write to, each its own part.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer comes from an exclusive borrow that outlives it, and `part` hands out what its callers promise to
// be disjoint parts.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Shares `slice` for the length of a parallel loop.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// The part from `start` of length `len`.
    ///
    /// # Safety
    /// No two parts that are alive at once may overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: in bounds by the assertion, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// A pointer to the element at `start`, for strided writes.
    pub(crate) fn pointer(&self, start: usize) -> *mut T {
        assert!(start <= self.len);
        // SAFETY: in bounds by the assertion.
        unsafe { self.start.add(start) }
    }
}
