//! Attention, and what stands around a token, over padded sequences.
//!
//! ```text
//! q, k, v   [batch_size, heads, sequence_length, d]
//! scores    [batch_size, heads, sequence_length, sequence_length], queries along the rows
//! ```
//!
//! How positions enter the scores is that of `attention/positions.rs` of the kernels. Distances are those of positions along the mask, so that
//! padding before a sequence changes nothing.

use super::file::{Attribute, Numbers, Type};
use super::graph::{Graph, MASK};
use candle_core::{Device, Result, Tensor};
use polyhead_kernels::attention::positions::{angle_steps, bias_row};
use polyhead_kernels::{Attention, Disentangled, Distances, GraphNode, Positions, Weight};
use std::ops::Range;

/// Distances beyond this one share the last bucket of biases on either side.
const BIAS_REACH: usize = 128;

impl Graph {
    /// Attention of queries, keys and values `[batch_size, sequence_length, hidden]` each.
    pub(super) fn attend(
        &mut self,
        at: &str,
        [q, k, v]: [&str; 3],
        attention: Attention,
        hidden: usize,
    ) -> Result<String> {
        if let Some(name) = self.fused_heads(at, [q, k, v], attention)? {
            return Ok(name);
        }
        let Attention { heads, positions, window, .. } = attention;
        let size = hidden / heads;
        let apart = self.ints(&format!("shape_0_0_{heads}_{size}"), &[0, 0, heads as i64, size as i64]);
        let together = self.ints(&format!("shape_0_0_{hidden}"), &[0, 0, hidden as i64]);
        let mut of_heads = |x: &str| {
            let x = self.emit("Reshape", at, &[x, &apart], &[]);
            self.emit("Transpose", at, &[&x], &[Attribute::Ints("perm", &[0, 2, 1, 3])])
        };
        let (mut q, mut k, v) = (of_heads(q), of_heads(k), of_heads(v));
        if let Positions::Rotary(base) = positions {
            (q, k) = (self.turned(at, &q, size, base)?, self.turned(at, &k, size, base)?);
        }
        let across = self.emit("Transpose", at, &[&k], &[Attribute::Ints("perm", &[0, 1, 3, 2])]);
        let mut scores = self.emit("MatMul", at, &[&q, &across], &[]);
        let mut terms = 1.0;
        if let Positions::Disentangled(vectors) = positions {
            let Disentangled { keys, queries, .. } = vectors;
            terms += f64::from(u8::from(keys.is_some()) + u8::from(queries.is_some()));
            scores = self.disentangled(at, [&q, &k], &scores, vectors, heads, size)?;
        }
        let root = self.float(&format!("root_{}", terms * size as f64), (terms * size as f64).sqrt() as f32);
        scores = self.emit("Div", at, &[&scores, &root], &[]);
        if let Positions::Bias(table) = positions {
            let bias = self.bias_of_scores(table)?;
            scores = self.emit("Add", at, &[&scores, &bias], &[]);
        }
        let mask = self.mask_of_scores(window);
        let scores = self.emit("Add", at, &[&scores, &mask], &[]);
        let weights = self.emit("Softmax", at, &[&scores], &[Attribute::Int("axis", -1)]);
        let mixed = self.emit("MatMul", at, &[&weights, &v], &[]);
        let mixed = self.emit("Transpose", at, &[&mixed], &[Attribute::Ints("perm", &[0, 2, 1, 3])]);
        Ok(self.emit("Reshape", at, &[&mixed, &together], &[]))
    }

    /// What a table adds to scores by distance: `[batch_size, heads, sequence_length, sequence_length]`.
    pub(super) fn bias_of_scores(&mut self, table: &Weight) -> Result<String> {
        let reach = BIAS_REACH as i64;
        let rows: Vec<i64> = (-reach..=reach).map(|distance| bias_row(-distance) as i64).collect();
        let rows = self.rows_of_distances("bias", BIAS_REACH, &rows);
        let table = self.weight(table)?;
        Ok(self.once("bias of scores", |graph| {
            let bias = graph.emit("Gather", "bias", &[&table, &rows], &[]);
            graph.emit("Transpose", "bias", &[&bias], &[Attribute::Ints("perm", &[0, 3, 1, 2])])
        }))
    }

    /// What is added to scores: 0 for tokens that see each other, a very low number for the others and for padding.
    pub(super) fn mask_of_scores(&mut self, window: Option<usize>) -> String {
        let padding = self.once("padding of scores", |graph| {
            let mask = graph.input(MASK);
            let mask = graph.emit("Cast", "mask", &[mask], &[Attribute::Int("to", Type::Float as i64)]);
            let axes = graph.ints("axes_1_2", &[1, 2]);
            let mask = graph.emit("Unsqueeze", "mask", &[&mask, &axes], &[]);
            let one = graph.float("float_1", 1.0);
            graph.emit("Sub", "mask", &[&one, &mask], &[])
        });
        self.once(&format!("mask of scores {window:?}"), |graph| {
            let hidden = match window {
                None => padding,
                Some(window) => {
                    let distances = graph.distances();
                    let far = graph.emit("Abs", "window", &[&distances], &[]);
                    let window = graph.constant(&format!("int_{window}"), Numbers::Int(window as i64));
                    let far = graph.emit("Greater", "window", &[&far, &window], &[]);
                    let far = graph.emit("Cast", "window", &[&far], &[Attribute::Int("to", Type::Float as i64)]);
                    let axis = graph.ints("ints_1", &[1]);
                    let far = graph.emit("Unsqueeze", "window", &[&far, &axis], &[]);
                    graph.emit("Max", "window", &[&padding, &far], &[])
                }
            };
            let lowest = graph.float("lowest", f32::MIN);
            graph.emit("Mul", "mask", &[&hidden, &lowest], &[])
        })
    }

    /// From each query to each key, `i - j`: int64 `[batch_size, sequence_length, sequence_length]`.
    fn distances(&mut self) -> String {
        self.once("distances", |graph| {
            let positions = graph.positions(0);
            let [of_queries, of_keys] = [("ints_2", 2), ("ints_1", 1)].map(|(name, axis)| {
                let axis = graph.ints(name, &[axis]);
                graph.emit("Unsqueeze", "distances", &[&positions, &axis], &[])
            });
            graph.emit("Sub", "distances", &[&of_queries, &of_keys], &[])
        })
    }

    /// Of each pair the row of its distance, where `rows` are those of the distances from `-reach` on.
    fn rows_of_distances(&mut self, name: &str, reach: usize, rows: &[i64]) -> String {
        let distances = self.distances();
        self.once(&format!("rows of {name}"), |graph| {
            let reach = reach as i64;
            let [low, high] = [-reach, reach].map(|end| graph.constant(&format!("int_{end}"), Numbers::Int(end)));
            let held = graph.emit("Clip", name, &[&distances, &low, &high], &[]);
            let at = graph.emit("Add", name, &[&held, &high], &[]);
            let rows = graph.ints(&format!("rows_of_{name}"), rows);
            graph.emit("Gather", name, &[&rows, &at], &[])
        })
    }

    /// Queries or keys, turned by the angles of their positions.
    fn turned(&mut self, at: &str, x: &str, size: usize, base: f64) -> Result<String> {
        let steps = Tensor::from_vec(angle_steps(size, base), (1, 1, 1, size / 2), &Device::Cpu)?;
        let [cosines, sines] = ["Cos", "Sin"].map(|function| {
            self.once(&format!("{function} {size} {base}"), |graph| {
                let angles = graph.once(&format!("angles {size} {base}"), |graph| {
                    let positions = graph.positions(0);
                    let to = [Attribute::Int("to", Type::Float as i64)];
                    let positions = graph.emit("Cast", "angles", &[&positions], &to);
                    let axes = graph.ints("axes_1_3", &[1, 3]);
                    let positions = graph.emit("Unsqueeze", "angles", &[&positions, &axes], &[]);
                    let steps = graph.constant(&format!("angle_steps_{size}_{base}"), Numbers::Tensor(steps.clone()));
                    graph.emit("Mul", "angles", &[&positions, &steps], &[])
                });
                graph.emit(function, "angles", &[&angles], &[])
            })
        });
        let [first, second] = self.halves(x, size / 2, at);
        let mut product = |x: &str, y: &str| self.emit("Mul", at, &[x, y], &[]);
        let (a, b) = (product(&first, &cosines), product(&second, &sines));
        let (c, d) = (product(&second, &cosines), product(&first, &sines));
        let first = self.emit("Sub", at, &[&a, &b], &[]);
        let second = self.emit("Add", at, &[&c, &d], &[]);
        Ok(self.emit("Concat", at, &[&first, &second], &[Attribute::Int("axis", -1)]))
    }

    /// Both halves of the last axis, so wide each.
    pub(super) fn halves(&mut self, x: &str, columns: usize, at: &str) -> [String; 2] {
        [0, columns].map(|from| self.columns(x, at, from..from + columns))
    }

    /// Some of the last axis.
    pub(super) fn columns(&mut self, x: &str, at: &str, columns: Range<usize>) -> String {
        let axis = self.ints("axis_last", &[-1]);
        let [start, end] = [columns.start, columns.end].map(|end| self.ints(&format!("ints_{end}"), &[end as i64]));
        self.emit("Slice", at, &[x, &start, &end, &axis], &[])
    }

    /// Scores with what queries and keys have of the vectors of distances.
    fn disentangled(
        &mut self,
        at: &str,
        [q, k]: [&str; 2],
        scores: &str,
        Disentangled { keys, queries, distances }: Disentangled,
        heads: usize,
        size: usize,
    ) -> Result<String> {
        let Distances { span, farthest } = distances;
        let reach = farthest.unwrap_or(span).max(span);
        let all = -(reach as i64)..=reach as i64;
        let rows: Vec<i64> = all.map(|distance| distances.row(distance) as i64).collect();
        let rows = self.rows_of_distances("distance_rows", reach, &rows);
        let mut sum = scores.to_owned();
        for (x, vectors, of_keys) in [(q, keys, false), (k, queries, true)] {
            let Some(vectors) = vectors else { continue };
            let vectors = self.node(vectors)?.name.clone();
            let apart = self.ints(&format!("shape_rows_{heads}_{size}"), &[-1, heads as i64, size as i64]);
            let vectors = self.emit("Reshape", at, &[&vectors, &apart], &[]);
            let vectors = self.emit("Transpose", at, &[&vectors], &[Attribute::Ints("perm", &[1, 2, 0])]);
            let all = self.emit("MatMul", at, &[x, &vectors], &[]);
            let rows = self.once(&format!("rows of all heads {heads} {of_keys}"), |graph| {
                let shape = graph.emit("Shape", "distance_rows", &[scores], &[]);
                let axis = graph.ints("ints_1", &[1]);
                let rows = match of_keys {
                    false => rows.clone(),
                    true => graph.emit("Transpose", "distance_rows", &[&rows], &[Attribute::Ints("perm", &[0, 2, 1])]),
                };
                let rows = graph.emit("Unsqueeze", "distance_rows", &[&rows, &axis], &[]);
                graph.emit("Expand", "distance_rows", &[&rows, &shape], &[])
            });
            let mut term = self.emit("GatherElements", at, &[&all, &rows], &[Attribute::Int("axis", -1)]);
            if of_keys {
                term = self.emit("Transpose", at, &[&term], &[Attribute::Ints("perm", &[0, 1, 3, 2])]);
            }
            sum = self.emit("Add", at, &[&sum, &term], &[]);
        }
        Ok(sum)
    }

    /// Of each column the numbers of so many tokens around, and zeros for padding: `[batch_size, sequence_length, columns size]`.
    pub(super) fn around(&mut self, x: &GraphNode, size: usize) -> String {
        let real = self.once("mask of tokens", |graph| {
            let mask = graph.input(MASK);
            let mask = graph.emit("Cast", "mask", &[mask], &[Attribute::Int("to", Type::Float as i64)]);
            let axis = graph.ints("axis_last", &[-1]);
            graph.emit("Unsqueeze", "mask", &[&mask, &axis], &[])
        });
        let half = (size / 2) as i64;
        let x_real = self.emit("Mul", "around", &[&x.name, &real], &[]);
        let ends = self.ints(&format!("pads_{half}"), &[0, half, 0, 0, half, 0]);
        let wide = self.emit("Pad", "around", &[&x_real, &ends], &[]);
        let axis = self.ints("ints_1", &[1]);
        let shifted: Vec<String> = (0..size as i64)
            .map(|shift| {
                let start = self.ints(&format!("ints_{shift}"), &[shift]);
                // Negative ends count from behind; the last window reaches the end.
                let end = match shift - 2 * half {
                    0 => i64::MAX,
                    end => end,
                };
                let end = self.ints(&format!("end_{shift}_{size}"), &[end]);
                let part = self.emit("Slice", "around", &[&wide, &start, &end, &axis], &[]);
                let last = self.ints("axis_last", &[-1]);
                self.emit("Unsqueeze", "around", &[&part, &last], &[])
            })
            .collect();
        let names: Vec<&str> = shifted.iter().map(String::as_str).collect();
        let stacked = self.emit("Concat", "around", &names, &[Attribute::Int("axis", -1)]);
        let flat = self.ints(&format!("shape_0_0_{}", x.columns * size), &[0, 0, (x.columns * size) as i64]);
        self.emit("Reshape", "around", &[&stacked, &flat], &[])
    }
}
