//! Weights by the uncertainty of each task, which is learnt with the model.
//!
//! ```text
//! kendall   e^-s L + s / 2                  s = log sigma^2; weight e^-s
//! liebel    L / (2 c^2) + ln(1 + c^2)       weight 1 / (2 c^2); never negative
//! ```
//!
//! Kendall, Gal and Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", in its form for classification;
//! Liebel and Körner 2018, "Auxiliary Tasks in Multi-task Learning". Both begin with the weight 1. The parameter of each
//! task of a step is updated after it, by Adam at the rate of the schedule, without decay; it works with one task a step too.

use super::{Balancer, BalancerKind, LARGEST, Learnt, Needs, StepTasks, positive, restored};
use crate::error::Result;
use crate::strategy::options;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const KIND: BalancerKind = BalancerKind {
    name: "uncertainty",
    about: "weights that are learnt: a task whose loss stays high counts less",
    open: |table| Ok(Box::new(Uncertainty::new(options::<Options>(table)?)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    form: Form,
    /// The peak of the rate at which the weights are learnt.
    learning_rate: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { form: Form::Kendall, learning_rate: 0.01 }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Kendall,
    Liebel,
}

struct Uncertainty {
    options: Options,
    /// s or c.
    tasks: BTreeMap<usize, Learnt>,
}

impl Form {
    fn start(self) -> f64 {
        match self {
            Form::Kendall => 0.0,
            Form::Liebel => 0.5_f64.sqrt(),
        }
    }

    fn weight(self, value: f64) -> f64 {
        match self {
            Form::Kendall => (-value).exp(),
            Form::Liebel => 0.5 / (value * value),
        }
    }

    fn gradient(self, value: f64, loss: f64) -> f64 {
        match self {
            Form::Kendall => 0.5 - (-value).exp() * loss,
            Form::Liebel => 2.0 * value / (1.0 + value * value) - loss / (value * value * value),
        }
    }

    /// The bounds that keep a weight within 1/100 and 100.
    fn bounds(self) -> (f64, f64) {
        match self {
            Form::Kendall => (-LARGEST, LARGEST),
            Form::Liebel => ((0.5 * (-LARGEST).exp()).sqrt(), (0.5 * LARGEST.exp()).sqrt()),
        }
    }
}

impl Uncertainty {
    fn new(options: Options) -> Result<Self> {
        positive("learning_rate", options.learning_rate)?;
        Ok(Self { options, tasks: BTreeMap::new() })
    }

    fn of(&self, task: usize) -> Learnt {
        self.tasks.get(&task).copied().unwrap_or_else(|| Learnt::at(self.options.form.start()))
    }
}

impl Balancer for Uncertainty {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn weigh(&mut self, step: &StepTasks) -> Result<Vec<f64>> {
        Ok(step.tasks.iter().map(|&task| self.options.form.weight(self.of(task).value)).collect())
    }

    fn observe(&mut self, step: &StepTasks, rate: f64) {
        let Ok(losses) = step.losses() else { return };
        let (form, lr) = (self.options.form, self.options.learning_rate * rate);
        for (&task, &loss) in step.tasks.iter().zip(losses) {
            let mut learnt = self.of(task);
            learnt.step(form.gradient(learnt.value, loss), lr);
            let (least, most) = form.bounds();
            learnt.value = learnt.value.clamp(least, most);
            self.tasks.insert(task, learnt);
        }
    }

    fn state(&self) -> Value {
        serde_json::json!(self.tasks)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.tasks = restored(KIND.name, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use polyhead_kernels::rng::Key;

    fn open(text: &str) -> Box<dyn Balancer> {
        (KIND.open)(&toml::from_str(text).unwrap()).unwrap()
    }

    fn weights_after(balancer: &mut dyn Balancer, losses: &[f64], steps: usize) -> Vec<f64> {
        let tasks: Vec<usize> = (0..losses.len()).collect();
        let step = StepTasks { losses: Some(losses), ..StepTasks::new(&tasks, losses.len(), 0, Key::seed(1)) };
        (0..steps).for_each(|_| balancer.observe(&step, 1.0));
        balancer.weigh(&step).unwrap()
    }

    /// Where the gradient of either form is zero: e^s = 2 L; and c with 2 c^4 = L (1 + c^2).
    #[test]
    fn weights_come_to_where_the_loss_of_the_paper_is_lowest() {
        let losses = [0.2, 1.0, 3.0];
        let kendall = weights_after(&mut *open("learning_rate = 0.02"), &losses, 3000);
        for (weight, loss) in kendall.iter().zip(losses) {
            assert!((weight - 1.0 / (2.0 * loss)).abs() < 1e-3, "{weight} for {loss}");
        }
        let liebel = weights_after(&mut *open("form = 'liebel'\nlearning_rate = 0.02"), &losses, 3000);
        for (weight, loss) in liebel.iter().zip(losses) {
            let c2 = (loss + (loss * loss + 8.0 * loss).sqrt()) / 4.0;
            assert!((weight - 0.5 / c2).abs() < 1e-3, "{weight} for {loss}");
        }
    }

    #[test]
    fn they_begin_at_one_stay_within_bounds_and_come_back_from_a_checkpoint() {
        for form in ["kendall", "liebel"] {
            let text = format!("form = '{form}'\nlearning_rate = 0.5");
            let mut balancer = open(&text);
            assert!(weights_after(&mut *balancer, &[1.0, 2.0], 0).iter().all(|w| (w - 1.0).abs() < 1e-12));
            let weights = weights_after(&mut *balancer, &[0.0, 1e6], 500);
            assert!(weights[0] <= 100.0 && weights[1] >= 0.0099, "{form}: {weights:?}");
            let mut other = open(&text);
            let text = balancer.state().to_string();
            other.restore(&serde_json::from_str(&text).unwrap()).unwrap();
            let (a, b) = (weights_after(&mut *balancer, &[0.3, 0.7], 5), weights_after(&mut *other, &[0.3, 0.7], 5));
            assert_eq!(a, b, "{form}");
            assert!(other.restore(&serde_json::json!([1])).is_err());
        }
    }

    #[test]
    fn options_that_are_none_are_refused_by_name() {
        for (text, what) in
            [("rate = 1", "`rate`"), ("form = 'x'", "`x`"), ("learning_rate = 0", "learning_rate: expected")]
        {
            let error = (KIND.open)(&toml::from_str(text).unwrap()).err().unwrap();
            assert!(error.to_string().contains(what), "{text}: {error}");
        }
    }
}
