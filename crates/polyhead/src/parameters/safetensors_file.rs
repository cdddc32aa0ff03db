//! Files of safetensors, written tensor by tensor: a model that is saved is not copied in memory.
//!
//! ```text
//! length of the header (8 bytes)   header: JSON, {NAME: {dtype, shape, data_offsets}}   numbers: f32, little-endian, by name
//! ```

use crate::error::{Error, Result};
use crate::io::{CHUNK, write_atomic_with};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::path::Path;

/// The header is as long as a multiple of this, so that the numbers are aligned.
const ALIGNED: usize = 8;

/// Writes tensors under these names, in f32. Their order is that of the names.
///
/// # Errors
/// The file can't be written; the old one is then untouched.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let plain = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
    let held = tensors.iter().map(|(_, tensor)| plain(tensor)).collect::<candle_core::Result<Vec<_>>>()?;
    let guards: Vec<_> = held.iter().map(Tensor::storage_and_layout).collect();
    let mut all = Vec::with_capacity(tensors.len());
    for ((name, _), (storage, layout)) in tensors.iter().zip(&guards) {
        let numbers = match (&**storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => numbers.get(start..end),
            _ => None,
        };
        let numbers = numbers.ok_or_else(|| Error::internal(format!("`{name}` can't be read to be saved")))?;
        all.push((name.clone(), layout.dims(), numbers));
    }
    write_numbers(path, all)
}

/// The same of plain numbers: name, shape, values.
pub fn write_numbers(path: &Path, mut tensors: Vec<(String, &[usize], &[f32])>) -> Result<()> {
    tensors.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, shape, values)| {
        let start = end;
        end += size_of_val(*values);
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.to_vec(), data_offsets: (start, end) })
    });
    // transformers refuses files that do not say which framework's layout they follow.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let internal = |cause: &dyn std::error::Error| Error::internal(format!("can't serialise tensors: {cause}"));
    let metadata = Metadata::new(Some(about), infos.collect()).map_err(|cause| internal(&cause))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|cause| internal(&cause))?;
    header.resize(header.len().next_multiple_of(ALIGNED), b' ');
    write_atomic_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut bytes = vec![[0; size_of::<f32>()]; CHUNK];
        for piece in tensors.iter().flat_map(|(_, _, values)| values.chunks(CHUNK)) {
            for (bytes, value) in bytes.iter_mut().zip(piece) {
                *bytes = value.to_le_bytes();
            }
            file.write_all(bytes[..piece.len()].as_flattened())?;
        }
        Ok(())
    })
}
