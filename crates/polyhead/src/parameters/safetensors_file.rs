//! Files of safetensors, written tensor by tensor: a model that is saved is not copied in memory.
//!
//! ```text
//! length of the header (8 bytes)   header: JSON, {NAME: {dtype, shape, data_offsets}}   numbers: f32, little-endian, or bytes, by name
//! ```

use super::int8::{Quantized, SCALE};
use crate::error::{Error, Place, Result};
use crate::io::{CHUNK, write_atomic_with};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// The header is as long as a multiple of this, so that the numbers are aligned.
const ALIGNED: usize = 8;

/// Writes tensors under these names, in f32. Their order is that of the names.
///
/// # Errors
/// The file can't be written; the old one is then untouched.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    write_tensors_in_bytes(path, tensors, &|_| false)
}

/// Whether a file holds these tensors and no others, bit by bit.
///
/// # Errors
/// It can't be read, or is no file of safetensors.
pub fn holds(path: &Path, tensors: &[(String, Tensor)]) -> Result<bool> {
    let bytes = std::fs::read(path).map_err(|cause| Error::reading(path, cause))?;
    let not_so = |cause| Error::data(format!("not a safetensors file: {cause}")).at(Place::file(path));
    let file = SafeTensors::deserialize(&bytes).map_err(not_so)?;
    for (name, tensor) in tensors {
        let Ok(view) = file.tensor(name) else { return Ok(false) };
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let is_same = view.dtype() == Dtype::F32
            && view.shape() == tensor.dims()
            && view.data().chunks_exact(4).eq(values.iter().map(|value| value.to_le_bytes()));
        if !is_same {
            return Ok(false);
        }
    }
    Ok(file.len() == tensors.len())
}

/// The same with the matrices of these names in bytes, each with its scales beside it (see `int8.rs`).
///
/// # Errors
/// The file can't be written; the old one is then untouched.
pub fn write_tensors_in_bytes(
    path: &Path,
    tensors: &[(String, Tensor)],
    in_bytes: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let plain = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
    let (small, whole): (Vec<_>, Vec<_>) = tensors.iter().partition(|(name, _)| in_bytes(name));
    let quantized = small.iter().map(|(name, tensor)| Ok((name, Quantized::by_row(&plain(tensor)?)?)));
    let quantized = quantized.collect::<Result<Vec<_>>>()?;
    let held = whole.iter().map(|(_, tensor)| plain(tensor)).collect::<candle_core::Result<Vec<_>>>()?;
    let guards: Vec<_> = held.iter().map(Tensor::storage_and_layout).collect();
    let mut all = Vec::with_capacity(tensors.len());
    let rows: Vec<_> = quantized.iter().map(|(_, matrix)| [matrix.dims[0]]).collect();
    for ((name, matrix), rows) in quantized.iter().zip(&rows) {
        all.push(((*name).clone(), &matrix.dims[..], Numbers::Bytes(&matrix.values)));
        all.push((format!("{name}{SCALE}"), rows, Numbers::F32(&matrix.scales)));
    }
    for ((name, _), (storage, layout)) in whole.iter().zip(&guards) {
        let numbers = match (&**storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => numbers.get(start..end),
            _ => None,
        };
        let numbers = numbers.ok_or_else(|| Error::internal(format!("`{name}` can't be read to be saved")))?;
        all.push((name.clone(), layout.dims(), Numbers::F32(numbers)));
    }
    write(path, all)
}

/// The same of plain numbers: name, shape, values.
pub fn write_numbers(path: &Path, tensors: Vec<(String, &[usize], &[f32])>) -> Result<()> {
    write(path, tensors.into_iter().map(|(name, shape, values)| (name, shape, Numbers::F32(values))).collect())
}

/// The numbers of a tensor.
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    U32(&'a [u32]),
    Bytes(&'a [i8]),
}

impl Numbers<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U32(_) => Dtype::U32,
            Self::Bytes(_) => Dtype::I8,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::F32(numbers) => size_of_val(*numbers),
            Self::U32(numbers) => size_of_val(*numbers),
            Self::Bytes(numbers) => numbers.len(),
        }
    }

    fn write(&self, file: &mut dyn Write) -> std::io::Result<()> {
        match self {
            Self::F32(numbers) => {
                let mut bytes = vec![[0; size_of::<f32>()]; CHUNK.min(numbers.len())];
                for piece in numbers.chunks(CHUNK) {
                    for (bytes, value) in bytes.iter_mut().zip(piece) {
                        *bytes = value.to_le_bytes();
                    }
                    file.write_all(bytes[..piece.len()].as_flattened())?;
                }
            }
            Self::U32(numbers) => {
                for piece in numbers.chunks(CHUNK) {
                    let bytes: Vec<[u8; 4]> = piece.iter().map(|number| number.to_le_bytes()).collect();
                    file.write_all(bytes.as_flattened())?;
                }
            }
            Self::Bytes(numbers) => {
                for piece in numbers.chunks(CHUNK) {
                    let bytes: Vec<u8> = piece.iter().map(|byte| byte.cast_unsigned()).collect();
                    file.write_all(&bytes)?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn write(path: &Path, mut tensors: Vec<(String, &[usize], Numbers)>) -> Result<()> {
    // Numbers of four bytes first, so that all of them are aligned.
    tensors.sort_by(|(a, _, x), (b, _, y)| (y.dtype(), a).cmp(&(x.dtype(), b)));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, shape, values)| {
        let start = end;
        end += values.size();
        (name.clone(), TensorInfo { dtype: values.dtype(), shape: shape.to_vec(), data_offsets: (start, end) })
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
        tensors.iter().try_for_each(|(_, _, values)| values.write(file))
    })
}
