//! IA³ (Liu et al. 2022, arXiv:2205.05638): the encoder is frozen, and each task multiplies keys, values and what the feed-forward network reads last by vectors of
//! its own.
//!
//! ```text
//! k = l_k (x Wᵀ + b)    v = l_v (x Wᵀ + b)    feed-forward (l_f f(x)) Wᵀ + b      begun as ones
//! ```
//!
//! What is declared: `parameters/vectors.rs`.

use super::{Sharing, SharingKind};
use crate::parameters::{Ia3Layers, TaskVectors};
use crate::strategy::without_options;

pub(super) const KIND: SharingKind = SharingKind {
    name: "ia3",
    about: "the encoder is frozen, each task multiplies keys, values and the feed-forward network by vectors",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Ia3))
    },
};

struct Ia3;

impl Sharing for Ia3 {
    fn freezes_encoder(&self) -> bool {
        true
    }

    fn is_inside_layers(&self) -> bool {
        true
    }

    fn vectors(&self, layers: Ia3Layers) -> Option<TaskVectors> {
        Some(TaskVectors::Ia3(layers))
    }
}
