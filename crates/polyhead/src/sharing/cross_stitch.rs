//! Cross-stitch units (Misra et al. 2016, arXiv:1604.03539): each task has the last layers for itself, and between them reads a learnt mixture of what those of
//! all tasks made of its tokens.
//!
//! ```text
//! h_t = Σ_u α[t, u] h_u      h_u [rows, hidden] behind a layer of task u, α [tasks, tasks], begun as `own` for t = u
//! ```
//!
//! A text passes the layers of all tasks, so that these are trained by all. The rows of α begin with a sum of one, and with equal layers: what is computed is
//! then the encoder as it was.

use super::mixtures::{check_own, stitches};
use super::{Meeting, Place, Sharing, SharingKind, all_but, check_meets};
use crate::error::Result;
use crate::parameters::Weights;
use crate::strategy::options;
use serde::Deserialize;
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "cross_stitch",
    about: "the last layers are private, and between them each task reads a mixture of all",
    open: |table| {
        let Options { layers, own } = options(table)?;
        check_meets(layers)?;
        check_own(own)?;
        Ok(Box::new(CrossStitch { layers, own }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How many of the last layers each task has for itself.
    layers: usize,
    /// What a task's own layer counts in the beginning.
    own: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: 2, own: 0.9 }
    }
}

struct CrossStitch {
    layers: usize,
    own: f64,
}

impl Sharing for CrossStitch {
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        all_but(self.layers, layers)
    }

    fn is_plain_for_each(&self) -> bool {
        false
    }

    fn meeting(&self, place: &Place, weights: &mut Weights) -> Result<Option<Arc<dyn Meeting>>> {
        Ok(Some(Arc::new(stitches(place.layer, 1, self.own, weights)?)))
    }
}
