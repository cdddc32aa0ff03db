//! What of the encoder the tasks share, and what is private to each. One mode a file.
//!
//! ```text
//! hard             tokens -> embeddings -> layer -> layer -> layer -> heads             all of it is shared
//! private_layers   tokens -> embeddings -> layer -> layer -> a layer of each task -> its head
//!
//! cross_stitch     tokens -> embeddings -> layer -> a layer of each task -> they meet -> a layer of each task -> its head
//! sluice           the same, of parts of hidden states, and a head reads a mixture of layers
//! cross_attention  the same, where the tokens of each task attend to those of the others
//!
//! adapters         in each layer, behind what all share, a small network of each task
//! lora             in each layer, beside linear layers that all share, a product of low rank of each task
//! ia3, bitfit      the same with a vector that is multiplied, or added
//! ```
//!
//! A mode says what it declares; the encoder asks it while it is built, and knows no mode. What is private has the number of its task.

mod adapters;
mod bitfit;
mod cross_attention;
mod cross_stitch;
mod hard;
mod ia3;
mod lora;
mod mixtures;
mod private_layers;
mod sluice;

use crate::error::{Error, Result};
use crate::parameters::{Ia3Layers, Lora, TaskVectors, Weights};
use crate::strategy::{Registered, Strategy, find};
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{Ops, Stitch, Value};
use std::sync::Arc;

/// An entry of [`SHARINGS`].
pub type SharingKind = Registered<dyn Sharing>;

/// All modes, in the order in which they are shown.
pub const SHARINGS: &[SharingKind] = &[
    hard::KIND,
    private_layers::KIND,
    cross_stitch::KIND,
    sluice::KIND,
    cross_attention::KIND,
    adapters::KIND,
    lora::KIND,
    ia3::KIND,
    bitfit::KIND,
];

/// A mode with its options.
pub trait Sharing: Send + Sync {
    /// Of an encoder of so many layers, how many of the first all tasks share. Each task has the others for itself.
    ///
    /// # Errors
    /// The options ask for more layers than there are.
    fn shared_layers(&self, layers: usize) -> Result<usize> {
        Ok(layers)
    }

    /// Whether the encoder of a task, what is private to it in its place, is one of the same architecture: others can then load it.
    fn is_plain_for_each(&self) -> bool {
        true
    }

    /// Declares what the layers of all tasks, which are private to each, give to each other before the next ones, if anything. There is none behind the last.
    ///
    /// # Errors
    /// The options do not fit the encoder, or the checkpoint's tensors not them.
    fn meeting(&self, _place: &Place, _weights: &mut Weights) -> Result<Option<Arc<dyn Meeting>>> {
        Ok(None)
    }

    /// Declares for each task how its head mixes the outputs of its own layers, so many, if it does not read that of the last alone.
    ///
    /// # Errors
    /// The checkpoint's tensors do not fit.
    fn mixtures(&self, _layers: usize, _weights: &mut Weights) -> Result<Vec<Stitch>> {
        Ok(Vec::new())
    }

    /// Whether nothing of the encoder is trained but what is private.
    fn freezes_encoder(&self) -> bool {
        false
    }

    /// Whether the layers that tasks share have parts that are private to each: a batch then says which rows are of which task.
    fn is_inside_layers(&self) -> bool {
        false
    }

    /// The low-rank additions to linear layers that each task has for itself, if it has any.
    fn lora(&self) -> Option<&Lora> {
        None
    }

    /// The vectors that each task has for itself around linear layers, if it has any; of an encoder in which those of IA³ stand at these.
    fn vectors(&self, _layers: Ia3Layers) -> Option<TaskVectors> {
        None
    }

    /// Declares what stands at the end of a sub-layer, if anything does.
    ///
    /// # Errors
    /// The options do not fit the encoder, or the checkpoint's tensors not them.
    fn insert(&self, _site: &Site, _weights: &mut Weights) -> Result<Option<Arc<dyn Insert>>> {
        Ok(None)
    }
}

/// The end of a sub-layer of an encoder, where something may be inserted.
pub struct Site<'a> {
    /// The name of its last linear layer.
    pub name: &'a str,
    /// The name of its LayerNorm, where it stands there.
    pub norm: Option<&'a str>,
    /// Which of the two sub-layers of a layer it is.
    pub of: SubLayer,
    /// The width of hidden states.
    pub hidden: usize,
}

/// A sub-layer of a Transformer layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubLayer {
    /// Attention.
    Attention,
    /// The feed-forward network.
    FeedForward,
}

/// What meets at the end of a sub-layer: without anything inserted, `LayerNorm(y + residual)`, or `y + residual` where LayerNorm stands at the beginning.
pub struct End<'a> {
    /// What the sub-layer makes, behind its dropout.
    pub y: &'a Value,
    /// What it began with.
    pub residual: &'a Value,
    /// LayerNorm, where it stands there.
    pub norm: Option<&'a Norm>,
}

/// Something at the end of a sub-layer that each task has for itself.
pub trait Insert: Send + Sync {
    /// The hidden states behind the sub-layer.
    fn forward(&self, ops: &mut dyn Ops, end: End) -> candle_core::Result<Value>;
}

/// Where the layers of several tasks meet.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Behind which layer, counted from 0.
    pub layer: usize,
    /// The widths of that.
    pub width: Width,
}

/// How wide a layer is.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// The numbers of a hidden state.
    pub hidden: usize,
    /// The heads of attention.
    pub heads: usize,
}

/// What the tasks' own layers give to each other.
pub trait Meeting: Send + Sync {
    /// From the hidden states that the layers of each task made of the same tokens to those that the next layer of one of them reads.
    fn of_task(&self, ops: &mut dyn Ops, task: usize, streams: &[Value]) -> candle_core::Result<Value>;
}

/// The layers that all tasks share, where each has so many of the last ones for itself.
fn all_but(own: usize, layers: usize) -> Result<usize> {
    layers.checked_sub(own).ok_or_else(|| {
        let message = format!("sharing.layers: expected at most the {layers} layers of the encoder, found {own}");
        Error::usage(message)
    })
}

/// Refuses fewer than two layers of each task, between which they could meet.
fn check_meets(layers: usize) -> Result<()> {
    if layers < 2 {
        let message =
            format!("layers: expected at least 2, so that tasks meet between their own layers, found {layers}");
        return Err(Error::usage(message));
    }
    Ok(())
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
