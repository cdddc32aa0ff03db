//! What scores know of positions, in candle's own operators.
//!
//! ```text
//! of a sequence   Q, K  [heads, n, d]   ->   S  [heads, n, n]
//! bias            S = Q Kᵀ / √d + T[bucket(j - i), head]                       T [32, heads]: MPNet, T5
//! rotary          S = R(i) Q · R(j) K / √d                                      R(p) turns dimensions a and a + d/2 by p base^(-2a/d)
//! disentangled    S = (Q Kᵀ + Q P_k[r]ᵀ + K P_q[r]ᵀ) / √(terms d)               r = bucket(i - j) + span: DeBERTa
//! ```
//!
//! Distances that are far fall into buckets that widen with their logarithm. The rules are those of transformers, in f32 as there:
//! `MPNetEncoder.relative_position_bucket`, `make_log_bucket_position`.

use crate::ops::Positions;
use candle_core::{D, Device, Result, Tensor};

/// Rows of the table of [`Positions::Bias`].
pub const BIAS_BUCKETS: usize = 32;
/// From this distance on all fall into the last bucket.
const BIAS_FARTHEST: f32 = 128.0;

/// The row of the table for a distance from a query to a key, `j - i`: half of the buckets for either direction, half of those exact.
pub fn bias_row(distance: i64) -> usize {
    let half = BIAS_BUCKETS / 2;
    let exact = half / 2;
    let far = distance.unsigned_abs() as usize;
    let start = if distance > 0 { half } else { 0 };
    let bucket = if far < exact {
        far
    } else {
        let share = (far as f32 / exact as f32).ln() / (BIAS_FARTHEST / exact as f32).ln();
        (exact + (share * (half - exact) as f32) as usize).min(half - 1)
    };
    start + bucket
}

/// Which row of the vectors of distances is of which distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distances {
    /// Half of the rows: those of distances to one side.
    pub span: usize,
    /// The distance from which on all fall into the last bucket, where far ones share rows.
    pub farthest: Option<usize>,
}

impl Distances {
    /// The row of the distance from a key to a query, `i - j`.
    pub fn row(self, distance: i64) -> usize {
        let span = self.span as i64;
        (self.bucket(distance) + span).clamp(0, 2 * span - 1) as usize
    }

    fn bucket(self, distance: i64) -> i64 {
        let Some(farthest) = self.farthest else { return distance };
        let middle = (self.span / 2) as i64;
        let far = distance.abs();
        if far <= middle {
            return distance;
        }
        let share = (far as f32 / middle as f32).ln() / ((farthest as f64 - 1.0) / middle as f64).ln() as f32;
        distance.signum() * ((share * (middle - 1) as f32).ceil() as i64 + middle)
    }
}

/// The tensors of [`Positions`]: the table, or the vectors that queries meet and those that keys meet.
#[derive(Default)]
pub(crate) struct PositionTensors {
    pub bias: Option<Tensor>,
    pub keys: Option<Tensor>,
    pub queries: Option<Tensor>,
}

/// By how much each position turns each pair of dimensions further, of heads of this width: `[d/2]`.
pub fn angle_steps(size: usize, base: f64) -> Vec<f32> {
    (0..size / 2).map(|at| 1.0 / (base as f32).powf((2 * at) as f32 / size as f32)).collect()
}

/// Cosines and sines of a sequence, `[n, d/2]` each.
pub(crate) fn angles(tokens: usize, size: usize, base: f64) -> [Vec<f32>; 2] {
    let turns = angle_steps(size, base);
    let all = |f: fn(f32) -> f32| {
        (0..tokens).flat_map(|position| turns.iter().map(move |turn| f(position as f32 * turn))).collect()
    };
    [all(f32::cos), all(f32::sin)]
}

/// Scores of one sequence, `[heads, n, n]`, out of queries and keys `[heads, n, d]`.
pub(crate) fn scores(q: &Tensor, k: &Tensor, positions: Positions, tensors: &PositionTensors) -> Result<Tensor> {
    let (heads, tokens, size) = q.dims3()?;
    let device = q.device();
    let root = (size as f64).sqrt();
    match positions {
        Positions::InHiddenStates => q.matmul(&k.t()?)? / root,
        Positions::Rotary(base) => {
            let [cosines, sines] = angles(tokens, size, base);
            let shape = (1, tokens, size / 2);
            let [cosines, sines] = [cosines, sines].map(|values| Tensor::from_vec(values, shape, device));
            let (cosines, sines) = (cosines?, sines?);
            let turned = |x: &Tensor| {
                let [a, b] = [0, size / 2].map(|start| x.narrow(2, start, size / 2));
                let (a, b) = (a?, b?);
                let first = a.broadcast_mul(&cosines)?.sub(&b.broadcast_mul(&sines)?)?;
                let second = b.broadcast_mul(&cosines)?.add(&a.broadcast_mul(&sines)?)?;
                Tensor::cat(&[first, second], 2)
            };
            turned(q)?.matmul(&turned(k)?.t()?.contiguous()?)? / root
        }
        Positions::Bias(_) => {
            let Some(table) = &tensors.bias else { candle_core::bail!("attention: no table of biases") };
            let rows = each_distance(tokens, |distance| bias_row(-distance), device)?;
            let bias = table.index_select(&rows, 0)?.reshape((tokens, tokens, heads))?.permute((2, 0, 1))?;
            (q.matmul(&k.t()?)? / root)?.add(&bias)
        }
        Positions::Disentangled(vectors) => {
            let rows = each_distance(tokens, |distance| vectors.distances.row(distance), device)?;
            let rows = rows.reshape((1, tokens, tokens))?.expand((heads, tokens, tokens))?.contiguous()?;
            let of_heads = |x: &Tensor| x.reshape((x.dim(0)?, heads, size))?.permute((1, 2, 0))?.contiguous();
            let mut sum = q.matmul(&k.t()?)?;
            let mut terms = 1.0;
            if let Some(keys) = &tensors.keys {
                sum = sum.add(&q.matmul(&of_heads(keys)?)?.gather(&rows, D::Minus1)?)?;
                terms += 1.0;
            }
            if let Some(queries) = &tensors.queries {
                let of_keys = k.matmul(&of_heads(queries)?)?.gather(&rows.t()?.contiguous()?, D::Minus1)?;
                sum = sum.add(&of_keys.t()?)?;
                terms += 1.0;
            }
            sum / (terms * size as f64).sqrt()
        }
    }
}

/// For each pair of a query i and a key j, row by row, what belongs to `i - j`.
fn each_distance(tokens: usize, row: impl Fn(i64) -> usize, device: &Device) -> Result<Tensor> {
    let tokens = tokens as i64;
    let rows: Vec<u32> =
        (0..tokens).flat_map(|i| (0..tokens).map(move |j| i - j)).map(|distance| row(distance) as u32).collect();
    Tensor::from_vec(rows, (tokens * tokens) as usize, device)
}

/// What is added to scores so that tokens farther apart than `window` do not see each other, `[1, n, n]`.
pub(crate) fn window(tokens: usize, window: usize, device: &Device) -> Result<Tensor> {
    let of = |i: usize, j: usize| if i.abs_diff(j) > window { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..tokens).flat_map(|i| (0..tokens).map(move |j| of(i, j))).collect();
    Tensor::from_vec(values, (1, tokens, tokens), device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `fixtures/distances.json` holds what transformers computes, made by `fixtures/distances.py`.
    #[test]
    fn buckets_are_those_of_transformers() {
        let text = include_str!("../../../../fixtures/distances.json");
        let known: serde_json::Value = serde_json::from_str(text).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<i64> {
            value.as_array().unwrap().iter().map(|one| one.as_i64().unwrap()).collect()
        };
        let from = known["from"].as_i64().unwrap();
        for (distance, bucket) in (from..).zip(numbers(&known["bias"])) {
            assert_eq!(bias_row(distance) as i64, bucket, "{distance}");
        }
        for case in known["distances"].as_array().unwrap() {
            let farthest = case["farthest"].as_u64().map(|farthest| farthest as usize);
            let distances = Distances { span: case["span"].as_u64().unwrap() as usize, farthest };
            let rows = numbers(&case["rows"]);
            assert!(rows.len() > 1000);
            for (distance, row) in (from..).zip(rows) {
                assert_eq!(distances.row(distance) as i64, row, "{distances:?}: {distance}");
            }
        }
    }
}
