//! Weights in bytes: which linear layers multiply them, and how a folder keeps them.
//!
//! ```text
//! NAME         I8  [rows, columns]   q, from -127 to 127
//! NAME_scale   F32 [rows]            s = max |w| / 127 of the row: w is q s, to half of s
//! ```

use crate::error::{Error, Place, Result};
use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeSet;
use std::path::Path;

/// What the name of a tensor of bytes gets for that of its scales.
pub const SCALE: &str = "_scale";

/// Which linear layers of an encoder multiply bytes; the others compute in its precision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Int8 {
    /// None.
    #[default]
    No,
    /// Those that the model folder says; none where it says nothing.
    AsStored,
    /// Those that the model folder says; all where it says nothing.
    Yes,
    /// All but these, by their names in the model folder without `.weight`.
    AllBut(BTreeSet<String>),
    /// None, and the range of the inputs of each is noted: for static quantisation.
    Watched,
}

/// How a linear layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplies {
    /// In the precision of the encoder.
    Numbers,
    /// The same, and the range of its inputs is noted.
    Watched,
    /// In bytes.
    Bytes,
}

impl Int8 {
    /// What it comes to for a folder that names the layers it keeps as they are, or for one that says nothing.
    #[must_use]
    pub fn resolved(&self, stored: Option<&BTreeSet<String>>) -> Self {
        match (self, stored) {
            (Self::AsStored | Self::Yes, Some(kept)) => Self::AllBut(kept.clone()),
            (Self::Yes, None) => Self::AllBut(BTreeSet::new()),
            (Self::AsStored, None) => Self::No,
            (chosen, _) => chosen.clone(),
        }
    }

    /// How layers of these names are computed, side by side in one product.
    pub fn of(&self, names: &[String]) -> Multiplies {
        match self {
            Self::No | Self::AsStored => Multiplies::Numbers,
            Self::Watched => Multiplies::Watched,
            Self::AllBut(kept) if names.iter().any(|name| kept.contains(name)) => Multiplies::Numbers,
            Self::Yes | Self::AllBut(_) => Multiplies::Bytes,
        }
    }
}

/// A matrix in bytes, with a scale for each row: the largest number of a row becomes 127.
pub struct Quantized {
    /// `[rows, columns]`
    pub values: Vec<i8>,
    /// `[rows]`
    pub scales: Vec<f32>,
    /// Rows and columns.
    pub dims: [usize; 2],
}

impl Quantized {
    /// A matrix in f32.
    ///
    /// # Errors
    /// It is no matrix of f32.
    pub fn by_row(matrix: &Tensor) -> candle_core::Result<Self> {
        let (rows, columns) = matrix.dims2()?;
        let numbers = matrix.flatten_all()?.to_vec1::<f32>()?;
        let (mut values, mut scales) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(rows));
        for row in numbers.chunks_exact(columns.max(1)) {
            let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            // A row of zeros has any scale.
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            scales.push(scale);
            values.extend(row.iter().map(|x| (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        }
        Ok(Self { values, scales, dims: [rows, columns] })
    }

    /// The numbers that the bytes stand for, in f32.
    pub fn numbers(&self) -> Vec<f32> {
        let rows = self.values.chunks_exact(self.dims[1].max(1)).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q) * scale)).collect()
    }

    /// Whether a tensor of a file holds the scales of another.
    pub(super) fn is_scale(file: &SafeTensors, name: &str) -> bool {
        let bytes = name.strip_suffix(SCALE).and_then(|name| file.tensor(name).ok());
        bytes.is_some_and(|bytes| bytes.dtype() == Dtype::I8)
    }

    /// The matrix of this name in f32, out of a file (the path is for errors) that has it in bytes with scales; none where it has not.
    pub(super) fn read(file: &SafeTensors, name: &str, path: &Path, device: &Device) -> Result<Option<Tensor>> {
        let scale_name = format!("{name}{SCALE}");
        let bytes = file.tensor(name).ok().filter(|tensor| tensor.dtype() == Dtype::I8);
        let (Some(bytes), Ok(scales)) = (bytes, file.tensor(&scale_name)) else { return Ok(None) };
        let fault = |expected: String, found: String| {
            Err(Error::data(format!("expected {expected}, found {found}")).at(Place::tensor(path, &scale_name)))
        };
        let [rows, columns] = *bytes.shape() else {
            return fault(
                "scales of a matrix alone".into(),
                format!("those of a tensor of the shape {:?}", bytes.shape()),
            );
        };
        if scales.dtype() != Dtype::F32 || scales.shape() != [rows] {
            return fault(format!("{rows} scales in F32"), format!("{:?} {:?}", scales.dtype(), scales.shape()));
        }
        let scales = scales.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let values = bytes.data().iter().map(|byte| byte.cast_signed()).collect();
        let numbers = Self { values, scales, dims: [rows, columns] }.numbers();
        Ok(Some(Tensor::from_vec(numbers, (rows, columns), device)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_in_bytes_is_within_half_a_step_of_itself() {
        let rows = [[0.5_f32, -1.27, 0.004, 0.0], [0.0; 4], [1e-30, 2e-30, -3e-30, 0.0]];
        let matrix = Tensor::new(&rows, &Device::Cpu).unwrap();
        let quantized = Quantized::by_row(&matrix).unwrap();
        assert_eq!(quantized.values[..4], [50, -127, 0, 0]);
        let numbers = quantized.numbers();
        for ((row, numbers), scale) in rows.iter().zip(numbers.chunks(4)).zip(&quantized.scales) {
            for (x, number) in row.iter().zip(numbers) {
                assert!((x - number).abs() <= 0.5001 * scale, "{x} as {number}, a step is {scale}");
            }
        }
    }

    #[test]
    fn a_matrix_that_was_in_bytes_comes_to_the_same_bytes_again() {
        let numbers: Vec<f32> = (0..6000).map(|i| (i as f32 * 0.7).sin() * (1.0 + (i / 100) as f32)).collect();
        let matrix = Tensor::from_vec(numbers, (60, 100), &Device::Cpu).unwrap();
        let once = Quantized::by_row(&matrix).unwrap();
        let again = Quantized::by_row(&Tensor::from_vec(once.numbers(), (60, 100), &Device::Cpu).unwrap()).unwrap();
        assert_eq!(once.values, again.values);
    }

    #[test]
    fn the_folder_says_which_layers_are_kept_and_a_choice_stands_above_it() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let kept = names(&["b"]);
        let layers = |name: &str| vec!["a".to_owned(), name.to_owned()];
        for (int8, stored, in_bytes) in [
            (Int8::No, Some(&kept), [false, false]),
            (Int8::AsStored, None, [false, false]),
            (Int8::AsStored, Some(&kept), [false, true]),
            (Int8::Yes, None, [true, true]),
            (Int8::Yes, Some(&kept), [false, true]),
            (Int8::AllBut(names(&["c"])), Some(&kept), [true, false]),
        ] {
            let int8 = int8.resolved(stored);
            let found = ["b", "c"].map(|name| int8.of(&layers(name)) == Multiplies::Bytes);
            assert_eq!(found, in_bytes, "{int8:?}");
        }
    }
}
