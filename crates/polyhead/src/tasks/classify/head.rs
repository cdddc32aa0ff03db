//! The head: perhaps a pooler, dropout, and a linear layer on the hidden state of the first token or on the mean of all; and its losses.
//!
//! ```text
//! hidden [rows, hidden] -> first tokens or means [windows, hidden] -> logits [windows, labels], or [windows, 1] for a number
//! ```

use super::{Config, Pooler, Pooling, Problem};
use crate::batch::Targets;
use crate::error::Result;
use crate::parameters::Weights;
use crate::tasks::{HeadShape, LinearHead, Window, class_losses};
use candle_core::Tensor;
use polyhead_kernels::binary_cross_entropy::binary_cross_entropy;
use polyhead_kernels::cross_entropy::{token_cross_entropy, weighted_cross_entropy};
use polyhead_kernels::squared_error::squared_error;
use polyhead_kernels::{self as kernels, Activation, DropoutAt, Index, Ops, Rows};

/// What encoders call theirs.
const POOLERS: &[&str] = &["pooler.dense", "pooler"];

/// The head: perhaps a pooler, and the layer that makes the logits.
pub struct Head {
    pub(super) pooler: Option<(LinearHead, Activation)>,
    pub(super) classifier: LinearHead,
}

impl Head {
    pub(super) fn open(config: &Config, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Self> {
        let pooler = match config.pooler {
            Pooler::With(activation) => {
                let layer = LinearHead::open_copy(weights, &format!("heads.{name}.pooler"), shape, POOLERS)?;
                Some((layer, activation))
            }
            Pooler::None => None,
        };
        let name = format!("heads.{name}");
        let classifier = match config.problem {
            Problem::SingleLabel | Problem::MultiLabel => {
                LinearHead::open_by_label(weights, &name, shape, &config.labels)?
            }
            Problem::Regression => LinearHead::open(weights, &name, shape, 1)?,
        };
        let classifier = classifier.with_transform(config.transform, weights, &name, shape)?;
        Ok(Self { pooler, classifier })
    }

    pub(super) fn logits(&self, config: &Config, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let read = match (config.pooling, hidden.rows_of()) {
            // A window is one range.
            (Pooling::Mean, _) => ops.mean_ranges(hidden)?,
            (Pooling::First, Rows::Sequences) => hidden.clone(),
            (Pooling::First, _) => ops.select_rows(hidden, Index::FirstTokens)?,
        };
        let pooled = match &self.pooler {
            Some((pooler, activation)) => pooler.activated(ops, &read, *activation)?,
            None => read,
        };
        self.classifier.apply(ops, &pooled, Some(DropoutAt::new(config.dropout, "classify head")))
    }
}

/// What a window counts in the mean of a step: its label's weight, each of its labels, or its number.
pub(super) fn target_count(config: &Config, targets: &Targets) -> f64 {
    let weight = |class: &i64| usize::try_from(*class).map_or(0.0, |label| config.weight(label));
    match config.problem {
        Problem::SingleLabel => targets.classes().iter().map(weight).sum(),
        Problem::MultiLabel => (targets.sets().len() * config.labels.len()) as f64,
        Problem::Regression => targets.reals().len() as f64,
    }
}

/// The loss of a batch, over `count` as [`target_count`] counts.
pub(super) fn loss(config: &Config, logits: &Tensor, targets: &[&Targets], count: f64) -> Result<Tensor> {
    let weights = config.weights();
    Ok(match config.problem {
        Problem::SingleLabel => {
            let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
            match weights {
                Some(weights) => weighted_cross_entropy(logits, &classes, &weights, count)?,
                None => token_cross_entropy(logits, &classes, count)?,
            }
        }
        Problem::MultiLabel => {
            let sets = targets.iter().flat_map(|targets| targets.sets());
            let holds: Vec<bool> = sets.flat_map(|set| held(set, config.labels.len())).collect();
            binary_cross_entropy(logits, &holds, weights.as_deref(), count)?
        }
        Problem::Regression => {
            let numbers: Vec<f32> = targets.iter().flat_map(|targets| targets.reals()).copied().collect();
            squared_error(logits, &numbers, count)?
        }
    })
}

/// Of each label whether a set holds it.
fn held(set: &[u32], labels: usize) -> Vec<bool> {
    let mut holds = vec![false; labels];
    for &label in set {
        if let Some(slot) = holds.get_mut(label as usize) {
            *slot = true;
        }
    }
    holds
}

/// The losses of an example's windows without weights: their sum, and how many they are. `None` for a number, whose mean squared error is
/// among its scores.
pub(super) fn losses(config: &Config, windows: &[Window]) -> Option<(f64, usize)> {
    match config.problem {
        Problem::SingleLabel => Some(class_losses(windows)),
        Problem::MultiLabel => Some(set_losses(windows)),
        Problem::Regression => None,
    }
}

/// Of each label of each window: ln(1 + exp(-z)) of what holds, ln(1 + exp(z)) of what does not.
fn set_losses(windows: &[Window]) -> (f64, usize) {
    let loss = |(&logit, holds): (&f32, bool)| {
        let against = if holds { -f64::from(logit) } else { f64::from(logit) };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    let of = |window: &Window| {
        let row = window.logits.row(0);
        let holds = held(window.features.targets.sets().first()?, row.len());
        Some((row.iter().zip(holds).map(loss).sum::<f64>(), row.len()))
    };
    windows.iter().filter_map(of).fold((0.0, 0), |(sum, count), (loss, more)| (sum + loss, count + more))
}
