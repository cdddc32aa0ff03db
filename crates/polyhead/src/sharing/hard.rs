//! Hard parameter sharing (Caruana 1997, "Multitask Learning", <https://doi.org/10.1023/A:1007379606734>): one encoder for all tasks, a
//! head for each.

use super::{Sharing, SharingKind};
use crate::strategy::without_options;

pub(super) const KIND: SharingKind = SharingKind {
    name: "hard",
    about: "one encoder for all tasks",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Hard))
    },
};

struct Hard;

impl Sharing for Hard {}
