//! What is added to the scores of one head of one sequence, by how far apart two tokens are: a number, or products of queries and keys with
//! vectors of distances.
//!
//! ```text
//! of a sequence of n tokens   m = (j - i) + (n - 1), 0 .. 2n - 2     of a query i and a key j
//! bias            A[i, j] = b[m] √d                                   b is the head's column of the table, by distance
//! disentangled    A[i, j] = Q_i · D_k[m] + K_j · D_q[m]               D the rows of the vectors of distances, in the order of m
//! ```
//!
//! A is [n, n] and added before scores are scaled. For some queries in a row, `Q D_kᵀ` is a band: of each query n neighbours. A
//! block of them meets `n + rows - 1` of D. So it is with keys. Gradients of D are made for each sequence and head, and summed into those of
//! the vectors in the order of the sequences, so that they are the same at any number of threads.

use super::positions::{BIAS_BUCKETS, Distances, bias_row};
use super::{Job, Task};
use crate::gemm::{AccumulatorInit, MicroKernel, PackedB, ViewA, product_into, tile_rows};
use crate::pool::for_each;
use crate::segments::Segment;
use crate::storage::Parts;
use crate::workspace::Buffer;

/// What is added to the scores of a batch.
pub(super) enum Added {
    /// A table `[32, heads]`.
    Bias { table: Vec<f32>, heads: usize },
    /// Vectors `[2 span, hidden]`.
    Disentangled { keys: Option<Vec<f32>>, queries: Option<Vec<f32>>, distances: Distances },
}

/// What one thread works in.
#[derive(Default)]
pub(super) struct Scratch<T> {
    /// `[n, n]`: what is added, or its gradient.
    pub added: Vec<f32>,
    /// `[n, d]`: the gradient of all queries.
    pub queries: Vec<f32>,
    /// D in elements, `[2n - 1, d]`.
    vectors: Vec<T>,
    /// A band, `[block, n + block - 1]`, and the same in elements along and across.
    band: Vec<f32>,
    along: Vec<T>,
    across: Vec<T>,
}

/// Where the gradients of each sequence and head go: those of D for queries and for keys, or of the head's biases.
pub(super) struct Gradients {
    keys: Buffer<f32>,
    queries: Buffer<f32>,
}

/// The same, for the tasks of a parallel loop.
pub(super) struct GradientParts<'a> {
    keys: Parts<'a, f32>,
    queries: Parts<'a, f32>,
}

/// Which of the two products of distances.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Queries with D_k.
    Queries,
    /// Keys with D_q.
    Keys,
}

impl Added {
    /// How many terms a score has with it.
    pub fn terms(&self) -> usize {
        match self {
            Self::Bias { .. } => 1,
            Self::Disentangled { keys, queries, .. } => {
                1 + usize::from(keys.is_some()) + usize::from(queries.is_some())
            }
        }
    }

    /// Room for the gradients of all tasks.
    pub fn gradients(&self, job: &Job) -> Gradients {
        let of = |there: bool| {
            let rows: usize = job.segments.iter().map(|segment| rows_of(segment.tokens)).sum();
            let mut buffer = Buffer::uninit(if there { rows * job.hidden } else { 0 });
            buffer.fill(0.0);
            buffer
        };
        match self {
            Self::Bias { .. } => {
                let mut sums = Buffer::uninit(job.segments.len() * job.heads * BIAS_BUCKETS);
                sums.fill(0.0);
                Gradients { keys: sums, queries: Buffer::uninit(0) }
            }
            Self::Disentangled { keys, queries, .. } => {
                Gradients { keys: of(keys.is_some()), queries: of(queries.is_some()) }
            }
        }
    }

    /// Makes A in `scratch.added`.
    pub fn add<T: MicroKernel>(&self, task: Task, qkv: &[T], scratch: &mut Scratch<T>) {
        let n = task.tokens;
        scratch.added.clear();
        scratch.added.resize(n * n, 0.0);
        match self {
            Self::Bias { table, heads } => {
                let head = task.column / task.size;
                let root = 1.0 / task.scale;
                let by_distance: Vec<f32> =
                    (0..rows_of(n)).map(|m| table[bias_row(distance(m, n)) * heads + head] * root).collect();
                for (i, row) in scratch.added.chunks_exact_mut(n).enumerate() {
                    row.copy_from_slice(&by_distance[n - 1 - i..][..n]);
                }
            }
            Self::Disentangled { keys, queries, distances } => {
                for (side, table) in [(Side::Queries, keys), (Side::Keys, queries)] {
                    if let Some(table) = table {
                        collect(&mut scratch.vectors, table, *distances, task);
                        bands(task, qkv, side, scratch);
                    }
                }
            }
        }
    }

    /// Sends the gradient of A, which is in `scratch.added`, to queries (`scratch.queries`), keys, and the task's part of the gradients.
    pub fn backward<T: MicroKernel>(
        &self,
        task: Task,
        qkv: &[T],
        dk: &mut [f32],
        gradients: &GradientParts,
        scratch: &mut Scratch<T>,
    ) {
        let n = task.tokens;
        match self {
            Self::Bias { .. } => {
                let root = 1.0 / task.scale;
                // SAFETY: each task has its own part.
                let sums = unsafe { gradients.keys.part(task.number * BIAS_BUCKETS, BIAS_BUCKETS) };
                let mut by_distance = vec![0.0; rows_of(n)];
                for (i, row) in scratch.added.chunks_exact(n).enumerate() {
                    crate::gemm::add_to(&mut by_distance[n - 1 - i..][..n], row);
                }
                for (m, sum) in by_distance.into_iter().enumerate() {
                    sums[bias_row(distance(m, n))] += sum * root;
                }
            }
            Self::Disentangled { keys, queries, distances } => {
                let mut of_queries = std::mem::take(&mut scratch.queries);
                for (side, table, own) in
                    [(Side::Queries, keys, &gradients.keys), (Side::Keys, queries, &gradients.queries)]
                {
                    if let Some(table) = table {
                        collect(&mut scratch.vectors, table, *distances, task);
                        let rows = rows_of(n);
                        // SAFETY: each task has its own part, [rows, d].
                        let own = unsafe { own.part(task.vectors, rows * task.size) };
                        let target = if side == Side::Queries { &mut of_queries[..] } else { &mut *dk };
                        bands_backward(task, qkv, side, target, own, scratch);
                    }
                }
                scratch.queries = of_queries;
            }
        }
    }

    /// The gradients of the vectors that queries meet and of those that keys meet, `[2 span, hidden]`, or of the table of biases.
    pub fn gather(&self, job: &Job, gradients: &Gradients) -> [Option<Buffer<f32>>; 2] {
        match self {
            Self::Bias { heads, .. } => {
                let mut sums = Buffer::uninit(BIAS_BUCKETS * heads);
                sums.fill(0.0);
                for (task, own) in gradients.keys.chunks_exact(BIAS_BUCKETS).enumerate() {
                    for (bucket, value) in own.iter().enumerate() {
                        sums[bucket * heads + task % heads] += value;
                    }
                }
                [Some(sums), None]
            }
            Self::Disentangled { keys, queries, distances } => [(keys, &gradients.keys), (queries, &gradients.queries)]
                .map(|(table, own)| table.as_ref().map(|table| gather_vectors(job, own, table.len(), *distances))),
        }
    }
}

impl Gradients {
    pub fn parts(&mut self) -> GradientParts<'_> {
        GradientParts { keys: Parts::new(&mut self.keys), queries: Parts::new(&mut self.queries) }
    }
}

/// Rows of D.
pub(super) fn rows_of(tokens: usize) -> usize {
    (2 * tokens).saturating_sub(1)
}

/// `j - i` of a row of D.
fn distance(m: usize, tokens: usize) -> i64 {
    m as i64 - (tokens as i64 - 1)
}

/// Brings the rows of D for the task's head into elements.
fn collect<T: MicroKernel>(into: &mut Vec<T>, table: &[f32], distances: Distances, task: Task) {
    let width = T::count(task.size);
    into.resize(rows_of(task.tokens) * width, T::default());
    for (m, elements) in into.chunks_exact_mut(width).enumerate() {
        let row = distances.row(-distance(m, task.tokens));
        T::along(elements, &table[row * task.hidden + task.column..][..task.size]);
    }
}

/// Rows of a band at a time.
fn block<T: MicroKernel>() -> usize {
    2 * tile_rows::<T>()
}

/// A block of queries or keys: its first row of D, and how many rows of D it meets.
fn band_of(side: Side, first: usize, rows: usize, tokens: usize) -> (usize, usize) {
    let from = match side {
        Side::Queries => tokens - first - rows,
        Side::Keys => first,
    };
    (from, tokens + rows - 1)
}

/// The first column of a row of a band: queries go backwards along D, keys forwards.
fn shift(side: Side, row: usize, rows: usize) -> usize {
    if side == Side::Queries { rows - 1 - row } else { row }
}

fn part_of(side: Side) -> usize {
    if side == Side::Queries { 0 } else { 1 }
}

/// Adds the products of all queries, or keys, with their vectors to A.
fn bands<T: MicroKernel>(task: Task, qkv: &[T], side: Side, scratch: &mut Scratch<T>) {
    let Task { tokens: n, size, hidden, .. } = task;
    let (block, width, stride) = (block::<T>(), T::count(size), T::count(3 * hidden));
    let line = (n + block - 1).next_multiple_of(16);
    let Scratch { added, vectors, band, .. } = scratch;
    band.resize(block * line, 0.0);
    for first in (0..n).step_by(block) {
        let rows = block.min(n - first);
        let (from, met) = band_of(side, first, rows, n);
        let panels = PackedB::along_elements(&vectors[from * width..], met, size, width);
        let left = ViewA::plain(super::head::part(task, qkv, part_of(side), first), rows, stride);
        // SAFETY: the band holds a block of rows of `line`.
        unsafe { product_into(left, &panels, AccumulatorInit::Zeros, band.as_mut_ptr(), line) };
        match side {
            Side::Queries => {
                for row in 0..rows {
                    let values = &band[row * line + shift(side, row, rows)..][..n];
                    crate::gemm::add_to(&mut added[(first + row) * n..][..n], values);
                }
            }
            Side::Keys => {
                for i in 0..n {
                    let target = &mut added[i * n + first..][..rows];
                    for (row, value) in target.iter_mut().enumerate() {
                        *value += band[row * line + row + n - 1 - i];
                    }
                }
            }
        }
    }
}

/// Sends the gradient of A along the bands: to queries or keys `[n, d]`, and to D `[2n - 1, d]`.
fn bands_backward<T: MicroKernel>(
    task: Task,
    qkv: &[T],
    side: Side,
    target: &mut [f32],
    of_vectors: &mut [f32],
    scratch: &mut Scratch<T>,
) {
    let Task { tokens: n, size, hidden, .. } = task;
    let (block, width, stride) = (block::<T>(), T::count(size), T::count(3 * hidden));
    let line = (n + block - 1).next_multiple_of(16);
    let elements = T::count(line);
    let Scratch { added, vectors, band, along, across, .. } = scratch;
    band.resize(block * line, 0.0);
    along.resize(block * elements, T::default());
    for first in (0..n).step_by(block) {
        let rows = block.min(n - first);
        let (from, met) = band_of(side, first, rows, n);
        band.fill(0.0);
        match side {
            Side::Queries => {
                for row in 0..rows {
                    band[row * line + shift(side, row, rows)..][..n].copy_from_slice(&added[(first + row) * n..][..n]);
                }
            }
            Side::Keys => {
                for i in 0..n {
                    let source = &added[i * n + first..][..rows];
                    for (row, value) in source.iter().enumerate() {
                        band[row * line + row + n - 1 - i] = *value;
                    }
                }
            }
        }
        for (elements, band) in along.chunks_exact_mut(elements).zip(band.chunks_exact(line)).take(rows) {
            T::along(elements, band);
        }
        let panels = PackedB::across_elements(&vectors[from * width..], met, size, width);
        // SAFETY: the target holds so many rows of a head from the first on.
        unsafe {
            let target = target[first * size..].as_mut_ptr();
            product_into(ViewA::plain(along, rows, elements), &panels, AccumulatorInit::There, target, size);
        }
        across.resize(T::count(rows) * met, T::default());
        for row in (0..rows).step_by(T::DEPTH) {
            let second = (row + 1 < rows).then(|| &band[(row + 1) * line..][..met]);
            T::across(&mut across[row / T::DEPTH * met..][..met], &band[row * line..][..met], second);
        }
        let panels = PackedB::across_elements(super::head::part(task, qkv, part_of(side), first), rows, size, stride);
        // SAFETY: D has so many rows from this one on.
        unsafe {
            let sums = of_vectors[from * size..].as_mut_ptr();
            product_into(
                ViewA::across(&across[..T::count(rows) * met], met, met),
                &panels,
                AccumulatorInit::There,
                sums,
                size,
            );
        }
    }
}

/// The sums of the gradients of D of all sequences, in their order, as those of vectors `[2 span, hidden]`, so many numbers.
fn gather_vectors(job: &Job, own: &Buffer<f32>, count: usize, distances: Distances) -> Buffer<f32> {
    let mut sums = Buffer::uninit(count);
    sums.fill(0.0);
    let size = job.hidden / job.heads;
    let parts = Parts::new(&mut sums);
    for_each(job.heads, |head| {
        let mut start = 0;
        for Segment { tokens, .. } in job.segments.iter() {
            let rows = rows_of(tokens);
            let of_head = &own[start + head * rows * size..][..rows * size];
            for (m, values) in of_head.chunks_exact(size).enumerate() {
                let row = distances.row(-distance(m, tokens));
                // SAFETY: each head has its own columns.
                let sum = unsafe { parts.part(row * job.hidden + head * size, size) };
                crate::gemm::add_to(sum, values);
            }
            start += rows * job.hidden;
        }
    });
    sums
}
