//! polyhead: one shared Transformer encoder with many task heads.
//!
//! A [`recipe::Recipe`] names an encoder, tasks and data. [`train::Trainer`] trains one encoder with a head for each
//! task and yields its progress as events; [`infer::Session`] answers with the result.
//!
//! Data flows one way, and each name is a type:
//!
//! ```text
//! file -> Example -> Features -> Batch -> Hidden -> Logits -> (Loss | Prediction) -> Counts -> Score
//! ```

pub mod ask;
pub mod balance;
pub mod batch;
pub mod compare;
pub mod data;
pub mod document;
pub mod encoders;
pub mod error;
pub mod events;
pub mod export;
pub mod hub;
pub mod infer;
pub mod info;
pub mod init;
pub mod io;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod optim;
pub mod order;
pub mod parameters;
pub mod peft;
pub mod quantize;
pub mod recipe;
pub mod report;
pub mod sample;
pub mod sharing;
pub mod strategy;
pub mod suite;
pub mod tasks;
pub mod text;
pub mod train;
pub mod tune;

pub use error::{Error, ErrorKind, Place, Result};
pub use polyhead_kernels::rng::Key;
