//! Fused operators for packed Transformer batches, with hand-written backward passes.
//!
//! An encoder writes its forward pass onto a [`Tape`]; to candle it is one custom operator, and its backward pass runs along the
//! tape. One operator a file: formula, forward, backward, a plain-candle reference (the reference in its tests and the path on
//! devices that the fused one does not serve), tests. All work on packed batches: the tokens of all sequences end to
//! end, `[tokens, hidden]`, with [`Segments`] saying where each sequence lies. What heads need (a linear layer with dropout,
//! the losses) are operators of candle's own graph.
//!
//! The plain references exist because some of candle's own operators have no backward pass at all (`layer_norm`,
//! `softmax_last_dim`) and cut the gradient without an error; here every operator has one, and its test.
//!
//! Every operator gives the same bits at any number of threads: work is split over outputs in parts whose size depends
//! on the shapes alone, never over a reduction.

pub mod adamw;
mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
mod gemm;
mod gradient;
pub mod layer_norm;
pub mod linear;
mod linear_gelu;
mod linear_residual_norm;
pub mod math;
pub mod rng;
pub mod segments;
mod storage;
pub mod tape;
#[cfg(test)]
mod testing;
pub mod weight;
mod workspace;

pub use dropout::Dropout;
pub use gemm::{InstructionSets, Precision, instruction_sets, instructions};
pub use gradient::Gradient;
pub use segments::Segments;
pub use tape::{Tape, Value};
pub use weight::Weight;
