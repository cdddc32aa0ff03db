//! LoRA of each task: the encoder is frozen, and every task has low-rank additions of its own to chosen linear layers.
//!
//! ```text
//! y = x Wᵀ + b + alpha / rank · dropout(x) A_tᵀ B_tᵀ      W [out, in] of all tasks, A_t [rank, in] and B_t [out, rank] of the row's task
//! ```
//!
//! What is declared: `parameters/lora.rs`. How rows of several tasks share a product: `polyhead_kernels`, `linear/low_rank.rs`.

use super::{Sharing, SharingKind};
use crate::error::Error;
use crate::parameters::Lora;
use crate::strategy::options;

pub(super) const KIND: SharingKind = SharingKind {
    name: "lora",
    about: "the encoder is frozen, each task has low-rank additions to linear layers",
    open: |table| {
        let lora: Lora = options(table)?;
        match lora.out_of_range() {
            Some((key, expected, found)) => Err(Error::usage(format!("{key}: expected {expected}, found {found}"))),
            None => Ok(Box::new(LoraOfEachTask(lora))),
        }
    },
};

struct LoraOfEachTask(Lora);

impl Sharing for LoraOfEachTask {
    fn freezes_encoder(&self) -> bool {
        true
    }

    fn is_inside_layers(&self) -> bool {
        true
    }

    fn lora(&self) -> Option<&Lora> {
        Some(&self.0)
    }
}
