//! Scores, to the digit as the reference scripts count them: pure counting, no tensors.
//!
//! Counts add up over batches and are divided once, at the end, so that no score depends on the size of a batch.

pub mod answers;
pub mod bootstrap;
pub mod calibration;
pub mod classification;
pub mod conll18;
pub mod label_threshold;
pub mod multi_label;
pub mod regression;
pub mod relations;
pub mod span_errors;
pub mod span_f1;
pub mod squad;
pub mod squad_threshold;
pub mod tally;
