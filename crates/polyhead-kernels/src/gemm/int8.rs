//! Products in whole numbers, for models that answer: both factors in bytes, sums exact in i32.
//!
//! ```text
//! x[r][p] = (u[r][p] - z[r]) s[r]   u from 0 to 255, s[r] = (max x[r] - min x[r]) / 255, of these and 0: a scale for each token
//! W[j][p] = q[j][p] t[j]            q from -127 to 127, t[j] = max |W[j]| / 127: a scale for each output
//! y[r][j] = (Σ u q - z[r] Σ q[j]) (s[r] t[j]) + b[j]
//! ```
//!
//! Four bytes that are neighbours along k are an element: x `[rows][k / 4]`, W in panels `[n / width][k / 4][width]`. Sums are
//! whole numbers, so every instruction set gives the same bits. They do not overflow below k = 33,000.

#[cfg(target_arch = "aarch64")]
mod arm;
mod rows;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use rows::Int8Rows;

use super::epilogue::{Epilogue, Part, Place};
#[cfg(target_arch = "x86_64")]
use super::isa::{Isa, Precision};
use super::packed::width_of;
use super::product::{Split, split};
use crate::pool::for_each_chunk;
use crate::storage::Parts;
use crate::workspace::Buffer;
use rows::quantize_weights;
use std::ops::Range;
use tile::{Target, Tile};

/// Numbers of an element.
const QUAD: usize = 4;

/// An instruction set for these products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Int8Isa {
    /// `vpdpbusd`: 64 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// `vpmaddwd` of bytes that are widened: 16 products an instruction, none of which saturates.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `sdot`: 16 products an instruction.
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    Portable,
}

impl Int8Isa {
    /// All that this processor has, the best first.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = Isa::all(Precision::F32).contains(&Isa::Avx512);
            let vnni = wide && is_x86_feature_detected!("avx512vnni");
            let candidates = [(Self::Avx512Vnni, vnni), (Self::Avx2, is_x86_feature_detected!("avx2"))];
            all.extend(candidates.into_iter().filter_map(|(isa, here)| here.then_some(isa)));
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            all.push(Self::Dotprod);
        }
        all.push(Self::Portable);
        all
    }

    fn here() -> Self {
        static HERE: std::sync::LazyLock<Int8Isa> = std::sync::LazyLock::new(|| Int8Isa::all()[0]);
        *HERE
    }

    /// Rows of a tile.
    fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => tile::ROWS_NARROW,
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod => 8,
            Self::Portable => tile::ROWS_NARROW,
        }
    }

    /// Numbers of a register, and how many registers a tile has across at most.
    fn registers(self) -> (usize, usize) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => (16, 3),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => (8, 2),
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod => (4, 3),
            Self::Portable => (8, 1),
        }
    }
}

/// Weights in bytes, in panels.
pub(crate) struct Int8Panels {
    elements: Buffer<u32>,
    /// Of each output, and zeros for those that the last panel lacks.
    scales: Vec<f32>,
    /// `Σ q[j]`
    sums: Vec<i32>,
    depth: usize,
    columns: usize,
    width: usize,
    isa: Int8Isa,
}

impl Int8Panels {
    /// `rows[j]` are the weights of output `j`.
    pub(crate) fn of(rows: &[&[f32]]) -> Self {
        Self::of_for(rows, Int8Isa::here())
    }

    fn of_for(rows: &[&[f32]], isa: Int8Isa) -> Self {
        let (columns, depth) = (rows.len(), rows.first().map_or(0, |row| row.len()).div_ceil(QUAD));
        let width = width_of(columns, isa.registers());
        let padded = columns.next_multiple_of(width);
        let mut elements = Buffer::uninit(padded * depth);
        let (mut scales, mut sums) = (vec![0.0; padded], vec![0; padded]);
        let (of_scales, of_sums) = (Parts::new(&mut scales), Parts::new(&mut sums));
        for_each_chunk(&mut elements, depth * width, 1, |index, panel| {
            // SAFETY: each panel comes once.
            let (scales, sums) = unsafe { (of_scales.part(index * width, width), of_sums.part(index * width, width)) };
            panel.fill(0);
            let mut bytes = vec![0; depth * QUAD];
            for (j, row) in rows.iter().skip(index * width).take(width).enumerate() {
                scales[j] = quantize_weights(&mut bytes, row);
                for (p, quad) in bytes.chunks_exact(QUAD).enumerate() {
                    let signed = [0, 1, 2, 3].map(|at| quad[at] ^ 0x80);
                    sums[j] += signed.iter().map(|byte| i32::from(byte.cast_signed())).sum::<i32>();
                    panel[p * width + j] = u32::from_le_bytes(signed);
                }
            }
        });
        Self { elements, scales, sums, depth, columns, width, isa }
    }

    /// Bytes that they take.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        4 * self.elements.len()
    }
}

/// `x Wᵀ` and the epilogue's bias, handed to the epilogue part by part.
pub(crate) fn product_int8<S: Epilogue>(x: &Int8Rows, w: &Int8Panels, epilogue: &S) {
    assert!(x.depth == w.depth, "a product of {} elements along k with {}", x.depth, w.depth);
    let padded = w.scales.len();
    let mut bias = vec![0.0; padded];
    if let Some(own) = epilogue.bias() {
        bias[..own.len()].copy_from_slice(own);
    }
    let panels = padded / w.width;
    let run = |rows: Range<usize>, panels: Range<usize>| {
        let (height, place) = (w.isa.rows(), epilogue.place());
        let mut values = Buffer::uninit(if place.is_some() { 0 } else { height * w.width });
        for panel in panels {
            let column = panel * w.width;
            let columns = w.width.min(w.columns - column);
            for first in rows.clone().step_by(height) {
                let count = height.min(rows.end - first);
                let (c, stride) = match place {
                    Some(Place { c, stride, .. }) => (c.wrapping_add(first * stride + column), stride),
                    None => (values.as_mut_ptr(), w.width),
                };
                let tile = Tile {
                    x: x.elements[first * x.depth..].as_ptr(),
                    row_scales: x.scales[first..first + count].as_ptr(),
                    row_zeros: x.zeros[first..first + count].as_ptr(),
                    w: w.elements[panel * w.depth * w.width..].as_ptr(),
                    next: w.elements.as_ptr().wrapping_add(((panel + 1) * w.depth + first - rows.start) * w.width),
                    depth: w.depth,
                    sums: w.sums[column..].as_ptr(),
                    scales: w.scales[column..].as_ptr(),
                    bias: bias[column..].as_ptr(),
                };
                // SAFETY: rows and panel have all these elements; the target is good for the tile, which comes once.
                unsafe { tile.run(w.isa, count, w.width, Target { c, stride, columns }) };
                if place.is_none() {
                    let (values, stride) = (&mut values[..], w.width);
                    epilogue.part(Part { row: first, column, rows: count, columns, values, stride });
                }
            }
        }
    };
    assert!(epilogue.place().is_none_or(|place| !place.adds), "a product in whole numbers is added to nothing");
    let whole = Split { rows: x.scales.len(), panels, height: w.isa.rows(), tasks: 32, work: padded * w.depth };
    split(whole, run, |rows| epilogue.rows(rows));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::{Matrix, Precision, Store, StoreMatrix, Values};
    use crate::rng::Key;

    fn normal(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| Key::seed(seed).normal(i) as f32).collect()
    }

    /// The definition, in loops.
    fn reference([m, n, k]: [usize; 3], x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
        let of_weights = |row: &[f32]| {
            let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            (row.iter().map(|x| (x * inverse).round_ties_even() as i64).collect::<Vec<_>>(), largest / 127.0)
        };
        let of_tokens = |row: &[f32]| {
            let (low, high) = row.iter().fold((0.0_f32, 0.0_f32), |(low, high), &x| (low.min(x), high.max(x)));
            let inverse = if high > low { 255.0 / (high - low) } else { 0.0 };
            let zero = (-low * inverse).round_ties_even();
            let byte = |x: &f32| (f64::from(x * inverse) + f64::from(zero)).round_ties_even().clamp(0.0, 255.0) as i64;
            (row.iter().map(|x| byte(x) - zero as i64).collect::<Vec<_>>(), (high - low) / 255.0)
        };
        let (x, w): (Vec<_>, Vec<_>) = (x.chunks(k).map(of_tokens).collect(), w.chunks(k).map(of_weights).collect());
        let one = |(x, s): &(Vec<i64>, f32), (w, t): &(Vec<i64>, f32), bias: f32| {
            x.iter().zip(w).map(|(x, w)| x * w).sum::<i64>() as f32 * (s * t) + bias
        };
        (0..m).flat_map(|r| (0..n).map(move |j| (r, j))).map(|(r, j)| one(&x[r], &w[j], bias[j])).collect()
    }

    #[test]
    fn products_are_those_of_three_loops_on_every_instruction_set_to_the_last_bit() {
        for shape in [[1, 1, 4], [3, 5, 8], [1, 200, 33], [200, 1, 34], [9, 70, 64], [205, 98, 131], [600, 50, 20]] {
            let [m, n, k] = shape;
            let (mut x, w, bias) = (normal(1, m * k), normal(2, n * k), normal(3, n));
            x[..k].fill(0.0); // a row of padding
            if m > 2 {
                x[k..2 * k].iter_mut().for_each(|x| *x = x.max(-0.17)); // as behind GELU
                x[2 * k..3 * k].iter_mut().for_each(|x| *x = -x.abs()); // of one sign
            }
            let want = reference(shape, &x, &w, &bias);
            for isa in Int8Isa::all() {
                let panels = Int8Panels::of_for(&w.chunks(k).collect::<Vec<_>>(), isa);
                assert!(panels.bytes() >= n * k);
                let rows = Int8Rows::of(&Matrix::rounded(Precision::F32, m, k, &x));
                let mut c = vec![f32::NAN; m * n];
                product_int8(&rows, &panels, &Store::new(&mut c, n).with_bias(Some(&bias)));
                assert!(c == want, "{shape:?} on {isa:?}");
                let mut parts = Matrix::uninit(Precision::Bf16, m, n);
                product_int8(&rows, &panels, &StoreMatrix { writer: parts.writer(), bias: Some(&bias) });
                let rounded = Matrix::rounded(Precision::Bf16, m, n, &want);
                let (Values::Bf16(found), Values::Bf16(want)) = (&parts.values, &rounded.values) else {
                    panic!("not in bf16")
                };
                assert!(found[..] == want[..], "{shape:?} on {isa:?}: an epilogue's parts");
            }
        }
    }

    #[test]
    fn rows_in_bf16_are_those_of_their_numbers() {
        let (m, k) = (5, 37);
        let narrow = Matrix::rounded(Precision::Bf16, m, k, &normal(4, m * k));
        let wide = Matrix::rounded(Precision::F32, m, k, &narrow.to_vec());
        let (narrow, wide) = (Int8Rows::of(&narrow), Int8Rows::of(&wide));
        assert!(narrow.elements[..] == wide.elements[..] && narrow.scales == wide.scales && narrow.zeros == wide.zeros);
    }
}
