//! Fused operators for packed Transformer batches, with hand-written backward passes.
//!
//! Encoders and heads are written against [`Ops`], a set of operators; a [`Tape`] runs them with fused kernels, [`Plain`] in
//! candle's own operators, and a graph writer writes them down. To candle the tape is one custom operator, and its backward pass
//! runs along the tape. One operator a file: formula, forward, backward, tests. All work on packed batches: the tokens of all
//! sequences end to end, `[tokens, hidden]`, with [`Segments`] saying where each sequence lies. Losses are operators of
//! candle's own graph.
//!
//! [`Plain`] is the reference in tests and the way on other devices. It has forms of its own where candle's operator has no
//! backward pass at all (`layer_norm`, `softmax_last_dim`) and would cut the gradient without an error.
//!
//! Every operator gives the same bits at any number of threads: work is split over outputs in parts whose size depends
//! on the shapes alone, never over a reduction.

pub mod activation;
pub mod adamw;
mod affine;
pub mod attention;
pub mod binary_cross_entropy;
mod concat;
pub mod cross_entropy;
pub mod dropout;
mod embedding;
mod gate;
mod gemm;
mod gradient;
mod joined;
pub mod layer_norm;
pub mod linear;
mod linear_activation;
mod linear_residual;
mod linear_residual_norm;
mod loss;
pub mod math;
mod mean_ranges;
mod neighbours;
pub mod ops;
mod pair_dots;
pub mod pass;
pub mod plain;
mod pool;
mod recompute;
pub mod rng;
pub mod segments;
mod select;
pub mod span_cross_entropy;
pub mod squared_error;
mod stitch;
mod storage;
mod subgraph;
mod sum;
pub mod tape;
mod tape_ops;
mod task_parts;
#[cfg(test)]
mod testing;
pub mod value;
pub mod weight;
mod workspace;

pub use activation::Activation;
pub use affine::{Affine, AffinePart, Factor, Scale};
pub use attention::positions::{BIAS_BUCKETS, Distances};
pub use dropout::Dropout;
pub use gemm::{InstructionSets, Precision, instruction_sets, instructions};
pub use gradient::Gradient;
pub use joined::{HeadGradients, Join};
pub use linear::{Around, Linear, LowRank, Part, Vectors};
pub use ops::{Attention, Body, Disentangled, Ops, Positions, TaskBody};
pub use pass::{DropoutAt, Index, Inputs, Items, Offset, Pass, TaskRows, Tasks};
pub use plain::Plain;
pub use pool::{in_pool, in_team};
pub use segments::Segments;
pub use stitch::Stitch;
pub use tape::Tape;
pub use value::{GraphNode, Rows, Value};
pub use weight::Weight;
pub use workspace::most_held;
