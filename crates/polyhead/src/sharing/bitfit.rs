//! BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): the encoder is frozen but for its biases, of which each task has its own.
//!
//! ```text
//! y = x Wᵀ + b + c_t      LayerNorm(x) γ + β + c_t      c_t of the row's task, begun as zeros
//! ```
//!
//! Biases of layers: those of the embeddings are shared. What is declared: `parameters/vectors.rs`.

use super::{End, Insert, Sharing, SharingKind, Site};
use crate::error::Result;
use crate::parameters::{Ia3Layers, TaskVectors, Weights};
use crate::strategy::without_options;
use polyhead_kernels::{Around, Ops, Value};
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "bitfit",
    about: "the encoder is frozen, each task has biases of its own",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(BitFit))
    },
};

struct BitFit;

impl Sharing for BitFit {
    fn freezes_encoder(&self) -> bool {
        true
    }

    fn is_inside_layers(&self) -> bool {
        true
    }

    fn vectors(&self, _layers: Ia3Layers) -> Option<TaskVectors> {
        Some(TaskVectors::Biases)
    }

    fn insert(&self, site: &Site, weights: &mut Weights) -> Result<Option<Arc<dyn Insert>>> {
        let Some(norm) = site.norm else { return Ok(None) };
        Ok(Some(Arc::new(Shifted(weights.shifts(norm, site.hidden)?))))
    }
}

/// The end of a sub-layer with another bias of its LayerNorm for each task.
struct Shifted(Around);

impl Insert for Shifted {
    fn forward(&self, ops: &mut dyn Ops, End { y, residual, norm }: End) -> candle_core::Result<Value> {
        let sum = ops.add(y, residual)?;
        match norm {
            Some(norm) => {
                let normal = ops.layer_norm(&sum, norm)?;
                ops.around(&normal, &self.0)
            }
            None => Ok(sum),
        }
    }
}
