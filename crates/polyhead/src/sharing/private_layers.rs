//! The last layers of the encoder are private: each task has them for itself, begun as the checkpoint has them. What lies below is shared.
//!
//! ```text
//! [rows, hidden] -> shared layers -> the rows of each task -> its own layers -> its head
//! ```

use super::{Sharing, SharingKind, all_but};
use crate::error::{Error, Result};
use crate::strategy::options;
use serde::Deserialize;

pub(super) const KIND: SharingKind = SharingKind {
    name: "private_layers",
    about: "the last layers are private to each task, all below is shared",
    open: |table| {
        let Options { layers } = options(table)?;
        if layers == 0 {
            return Err(Error::usage("layers: expected at least 1, found 0"));
        }
        Ok(Box::new(PrivateLayers { layers }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How many of the last layers each task has for itself.
    layers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: 1 }
    }
}

struct PrivateLayers {
    layers: usize,
}

impl Sharing for PrivateLayers {
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        all_but(self.layers, layers)
    }
}
