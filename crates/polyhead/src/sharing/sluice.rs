//! Sluice networks (Ruder et al. 2019, arXiv:1705.08142): as with cross-stitch units, but parts of hidden states are mixed with each other part, and a head
//! reads a mixture of its task's layers.
//!
//! ```text
//! h_t[g] = Σ_u Σ_h α[t, g, u, h] h_u[h]      hidden states in `subspaces` parts g, h; α begun as `own` for t = u, g = h
//! head reads Σ_l β[t, l] h_t of layer l      β begun as 1 for the last layer, 0 for those below
//! ```
//!
//! The paper's penalty that keeps subspaces apart is left out.

use super::mixtures::{check_own, stitches};
use super::{Meeting, Place, Sharing, SharingKind, all_but, check_meets};
use crate::error::{Error, Result};
use crate::parameters::{Init, Role, Weights};
use crate::strategy::options;
use polyhead_kernels::Stitch;
use serde::Deserialize;
use std::sync::Arc;

pub(super) const KIND: SharingKind = SharingKind {
    name: "sluice",
    about: "the last layers are private, and parts of their hidden states, and layers, are mixed",
    open: |table| {
        let Options { layers, own, subspaces } = options(table)?;
        check_meets(layers)?;
        check_own(own)?;
        if subspaces == 0 {
            return Err(Error::usage("subspaces: expected at least 1, found 0"));
        }
        Ok(Box::new(Sluice { layers, own, subspaces }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How many of the last layers each task has for itself.
    layers: usize,
    /// What a task's own layer counts in the beginning.
    own: f64,
    /// Into how many parts hidden states are divided.
    subspaces: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: 2, own: 0.9, subspaces: 2 }
    }
}

struct Sluice {
    layers: usize,
    own: f64,
    subspaces: usize,
}

impl Sharing for Sluice {
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        all_but(self.layers, layers)
    }

    fn is_plain_for_each(&self) -> bool {
        false
    }

    fn meeting(&self, place: &Place, weights: &mut Weights) -> Result<Option<Arc<dyn Meeting>>> {
        let hidden = place.width.hidden;
        if !hidden.is_multiple_of(self.subspaces) {
            let message = format!(
                "sharing.subspaces: expected a number that divides {hidden}, the width of hidden states, found {}",
                self.subspaces
            );
            return Err(Error::usage(message));
        }
        Ok(Some(Arc::new(stitches(place.layer, self.subspaces, self.own, weights)?)))
    }

    fn mixtures(&self, layers: usize, weights: &mut Weights) -> Result<Vec<Stitch>> {
        let mut start = vec![0.0; layers];
        start.iter_mut().last().into_iter().for_each(|last| *last = 1.0);
        weights.for_each_task(|weights, _| {
            let change = weights.get_or_begin("meeting.layers", &[1, layers], Role::Bias, Init::Zeros)?;
            Ok(Stitch { start: start.clone(), change })
        })
    }
}
