//! What of the encoder the tasks share, and what is private to each. One mode a file.
//!
//! ```text
//! hard             tokens -> embeddings -> layer -> layer -> layer -> heads             all of it is shared
//! private_layers   tokens -> embeddings -> layer -> layer -> a layer of each task -> its head
//! ```
//!
//! A mode says what it declares; the encoder asks it while it is built, and knows no mode. What is private is told by the number of its task.

mod hard;
mod private_layers;

use crate::error::{Error, Result};
use crate::strategy::{Registered, Strategy, find};
use std::sync::Arc;

/// An entry of [`SHARINGS`].
pub type SharingKind = Registered<dyn Sharing>;

/// All modes, in the order in which they are shown.
pub const SHARINGS: &[SharingKind] = &[hard::KIND, private_layers::KIND];

/// A mode with its options.
pub trait Sharing: Send + Sync {
    /// Of an encoder of so many layers, how many of the first all tasks share. Each task has the others for itself.
    ///
    /// # Errors
    /// The options ask for more layers than there are.
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        Ok(layers)
    }

    /// Whether anything of the encoder is private.
    fn has_private_parts(&self) -> bool;
}

/// Opens the mode that a recipe names.
///
/// # Errors
/// There is none of this name, or it knows no such option.
pub fn open(strategy: &Strategy) -> Result<Arc<dyn Sharing>> {
    let kind = find(SHARINGS, &strategy.name).ok_or_else(|| {
        let known: Vec<&str> = SHARINGS.iter().map(|kind| kind.name).collect();
        Error::usage(format!("sharing: expected one of {}, found `{}`", known.join(", "), strategy.name))
    })?;
    Ok(Arc::from((kind.open)(&strategy.options)?))
}

/// The mode of a recipe that says nothing.
pub fn hard() -> Strategy {
    Strategy::named(hard::KIND.name)
}
