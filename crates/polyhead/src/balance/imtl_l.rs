//! IMTL-L: a scale for each loss that is learnt, so that all scaled losses come to the same size (Liu et al. 2021, "Towards Impartial
//! Multi-Task Learning", <https://openreview.net/forum?id=IMPnRXEWpvr>, section 3.2).
//!
//! ```text
//! loss     = sum of e^s_i L_i - s_i
//! weight_i = e^s_i                         s begins at 0; where the loss is least, e^s_i L_i = 1
//! ```
//!
//! It works with one task a step too: then the scale of that task is learnt.

use super::{Balancer, BalancerKind, LARGEST, Learnt, Needs, StepTasks, positive, restored};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "imtl_l",
    about: "a learnt scale for each loss, so that all come to the same size",
    open: |table| {
        let options: Options = options(table)?;
        positive("learning_rate", options.learning_rate)?;
        Ok(Box::new(ImtlL { learning_rate: options.learning_rate, scales: BTreeMap::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The peak of the rate at which scales are learnt.
    learning_rate: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { learning_rate: 0.01 }
    }
}

struct ImtlL {
    learning_rate: f64,
    scales: BTreeMap<usize, Learnt>,
}

impl Balancer for ImtlL {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        Ok(step.tasks.iter().map(|task| self.scales.get(task).map_or(1.0, |scale| scale.value.exp())).collect())
    }

    fn observe(&mut self, step: &StepTasks, rate: f64) {
        let Ok(losses) = step.losses() else { return };
        for (&task, loss) in step.tasks.iter().zip(losses) {
            let scale = self.scales.entry(task).or_default();
            let gradient = scale.value.exp() * loss - 1.0;
            scale.step(gradient, self.learning_rate * rate);
            scale.value = scale.value.clamp(-LARGEST, LARGEST);
        }
    }

    fn state(&self) -> Value {
        json!(self.scales)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.scales = restored(KIND.name, state)?;
        Ok(())
    }
}
