//! Reports: what will be trained on.

pub mod data;
