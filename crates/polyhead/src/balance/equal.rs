//! The sum of the tasks' losses, each with the weight that the recipe sets.

use super::{Balancer, BalancerKind, Needs};
use crate::strategy::without_options;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "equal",
    about: "the sum of the losses, each with the weight that the recipe sets",
    open: |options| {
        without_options(options)?;
        Ok(Box::new(Equal))
    },
};

struct Equal;

impl Balancer for Equal {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }
}
