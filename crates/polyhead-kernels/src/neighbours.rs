//! The tokens around each token, side by side: what a convolution along a sequence reads.
//!
//! ```text
//! size 3   x [rows, columns] -> [rows, 3 columns]: of each column x[t-1], x[t], x[t+1], as the weights of a convolution lie;
//!          zeros where the sequence or its tokens end
//! ```

use crate::segments::{Segment, Segments};
use candle_core::{Result, Tensor};

/// The same in candle's own operators.
pub(crate) fn plain(x: &Tensor, segments: &Segments, size: usize) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    if size.is_multiple_of(2) || rows != segments.rows() {
        candle_core::bail!("neighbours: {size} of {rows} rows for {}", segments.rows());
    }
    // The rows are taken from x with a row of zeros behind it.
    let with_zeros = Tensor::cat(&[x, &Tensor::zeros((1, columns), x.dtype(), x.device())?], 0)?;
    let half = size / 2;
    let mut parts = Vec::with_capacity(size);
    for shift in 0..size {
        let mut taken = vec![rows as u32; rows];
        for Segment { start, tokens, .. } in segments.iter() {
            for token in 0..tokens {
                if let Some(other) = (token + shift).checked_sub(half).filter(|other| *other < tokens) {
                    taken[start + token] = (start + other) as u32;
                }
            }
        }
        parts.push(with_zeros.index_select(&Tensor::from_vec(taken, rows, x.device())?, 0)?);
    }
    // [rows, columns, size]
    Tensor::stack(&parts, 2)?.flatten_from(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_window_ends_where_its_sequence_does() {
        let x = Tensor::new(&[[1.0_f32], [2.0], [3.0], [4.0], [9.0]], &Device::Cpu).unwrap();
        let found = plain(&x, &Segments::padded(&[3, 1], 1), 3).unwrap_err();
        assert!(found.to_string().contains("neighbours"), "{found}");
        let found = plain(&x, &Segments::packed(&[3, 2]), 3).unwrap().to_vec2::<f32>().unwrap();
        let want = [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0], [0.0, 4.0, 9.0], [4.0, 9.0, 0.0]];
        assert_eq!(found, want);
        let x = Tensor::new(&[[1.0_f32, 5.0], [2.0, 6.0]], &Device::Cpu).unwrap();
        let found = plain(&x, &Segments::packed(&[2]), 3).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[0.0, 1.0, 2.0, 0.0, 5.0, 6.0], [1.0, 2.0, 0.0, 5.0, 6.0, 0.0]]);
    }
}
