//! What is searched: the keys of a recipe, where their values may lie, and the settings of each trial.
//!
//! ```text
//! number of a trial -> a point in [0, 1)^d -> a value of each key -> overrides of the recipe
//! ```
//!
//! Points follow an additive recurrence (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"): each new one falls
//! into the largest gap, so that however many trials there are, they cover the space. The first two are no such points: the recipe as it
//! is, and what is known to do well without a search.

use crate::recipe::{LearningRate, Recipe, two_digits};
use polyhead_kernels::rng::Key;
use serde::{Deserialize, Serialize};

/// A key, or a group of keys, that a search may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchedKey {
    /// `train.learning_rate`, from a fifth to two and a half times what `"auto"` takes.
    LearningRate,
    /// `tasks.NAME.batch_size` of all tasks: a quarter to twice the recipe's.
    BatchSize,
    /// `train.layer_decay`: 1, 0.95, 0.9 or 0.8.
    LayerDecay,
    /// `train.epochs`: half to twice the recipe's.
    Epochs,
    /// `tasks.NAME.loss_weight` of all tasks but the first: a third to three times the recipe's.
    LossWeight,
    /// `train.sample`: batches of the tasks in a ratio of 1, 2, 3, 5 and 8 (AutoSeM's second stage, Guo et al. 2019).
    MixingRatio,
}

impl SearchedKey {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::LearningRate, Self::BatchSize, Self::LayerDecay, Self::Epochs, Self::LossWeight, Self::MixingRatio];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LearningRate => "learning_rate",
            Self::BatchSize => "batch_size",
            Self::LayerDecay => "layer_decay",
            Self::Epochs => "epochs",
            Self::LossWeight => "loss_weight",
            Self::MixingRatio => "mixing_ratio",
        }
    }
}

/// What one search may change.
pub(super) struct Space {
    dimensions: Vec<Dimension>,
    key: Key,
}

/// One key of the recipe.
struct Dimension {
    key: String,
    values: Values,
    /// What the recipe has, and what is known to do well.
    first: [f64; 2],
}

/// Where the values of a key may lie.
enum Values {
    /// Between these, by their logarithm; to two digits.
    Logarithmic(f64, f64),
    /// One of these.
    Any(Vec<f64>),
}

impl Values {
    fn at(&self, share: f64) -> f64 {
        match self {
            Self::Logarithmic(low, high) => two_digits(low * (high / low).powf(share)),
            Self::Any(values) => {
                let at = (share * values.len() as f64) as usize;
                values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
            }
        }
    }
}

/// A key with its value.
pub(super) type Setting = (String, f64);

impl Space {
    /// What these keys of a recipe may be, with an encoder of this width.
    pub(super) fn new(recipe: &Recipe, keys: &[SearchedKey], width: usize) -> crate::Result<Self> {
        let tasks = recipe.tasks()?;
        let mut dimensions = Vec::new();
        let mut add = |key: String, values, first| dimensions.push(Dimension { key, values, first });
        for key in SearchedKey::ALL.into_iter().filter(|key| keys.contains(key)) {
            match key {
                SearchedKey::LearningRate => {
                    let known = LearningRate::Auto.of_encoder(width, recipe.freezes_encoder());
                    let own = recipe.learning_rate(width);
                    add("train.learning_rate".into(), Values::Logarithmic(known / 5.0, known * 2.5), [own, known]);
                }
                // One factor for all tasks, which the settings spell out.
                SearchedKey::BatchSize => add(BATCHES.into(), Values::Any(vec![0.25, 0.5, 1.0, 2.0]), [1.0, 0.5]),
                SearchedKey::LayerDecay => {
                    let own = recipe.train.layer_decay;
                    add("train.layer_decay".into(), Values::Any(vec![1.0, 0.95, 0.9, 0.8]), [own; 2]);
                }
                SearchedKey::Epochs => {
                    let own = recipe.train.epochs as f64;
                    let mut values: Vec<f64> = [0.5, 1.0, 1.5, 2.0].map(|times| (own * times).ceil()).into();
                    values.dedup();
                    add("train.epochs".into(), Values::Any(values), [own; 2]);
                }
                SearchedKey::LossWeight => {
                    for task in tasks.iter().skip(1) {
                        let own = task.loss_weight;
                        let values = Values::Logarithmic(own / 3.0, own * 3.0);
                        add(format!("tasks.{}.loss_weight", task.name), values, [own; 2]);
                    }
                }
                // Of one task there is no ratio.
                SearchedKey::MixingRatio => {
                    for task in tasks.iter().filter(|_| tasks.len() > 1) {
                        let values = Values::Any(vec![1.0, 2.0, 3.0, 5.0, 8.0]);
                        add(format!("{RATIO}{}", task.name), values, [AS_IN_THE_RECIPE, 1.0]);
                    }
                }
            }
        }
        Ok(Self { dimensions, key: Key::seed(recipe.seed).purpose("tune") })
    }

    /// The names of what is searched, as trials have them.
    pub(super) fn names(&self) -> Vec<String> {
        self.dimensions.iter().map(|dimension| dimension.key.clone()).collect()
    }

    /// The settings of a trial.
    pub(super) fn trial(&self, number: usize) -> Vec<Setting> {
        let count = self.dimensions.len();
        let setting = |(at, dimension): (usize, &Dimension)| {
            let value = match dimension.first.get(number) {
                Some(&first) => first,
                None => dimension.values.at(self.share(number, at, count)),
            };
            (dimension.key.clone(), value)
        };
        self.dimensions.iter().enumerate().map(setting).collect()
    }

    /// Where a trial stands along a dimension, of so many: from 0 to 1.
    fn share(&self, number: usize, at: usize, dimensions: usize) -> f64 {
        // The root of x^(d + 1) = x + 1: the golden ratio, for one dimension.
        let mut root: f64 = 2.0;
        for _ in 0..60 {
            root = (1.0 + root).powf(1.0 / (dimensions as f64 + 1.0));
        }
        let step = root.powi(-(at as i32 + 1));
        (self.key.uniform(at as u64) + number as f64 * step).fract()
    }
}

/// The factor of all batch sizes, among the settings of a trial.
pub(super) const BATCHES: &str = "tasks.*.batch_size, times";

/// What the shares of a mixing ratio begin with, among the settings of a trial; and what such a setting is where the recipe's own sampler stays.
const RATIO: &str = "train.sample.ratio.";
const AS_IN_THE_RECIPE: f64 = 0.0;

/// The settings as overrides of the recipe.
pub(super) fn overrides(recipe: &Recipe, settings: &[Setting]) -> crate::Result<Vec<String>> {
    let mut pairs = Vec::new();
    let mut ratio = Vec::new();
    for (key, value) in settings {
        if let Some(task) = key.strip_prefix(RATIO) {
            ratio.extend((*value != AS_IN_THE_RECIPE).then(|| format!("{task} = {value}")));
            continue;
        }
        match key.as_str() {
            BATCHES => {
                for task in recipe.tasks()? {
                    let size = (task.batch_size as f64 * value).round().clamp(1.0, 4096.0);
                    pairs.push(format!("tasks.{}.batch_size={size}", task.name));
                }
            }
            "train.epochs" => pairs.push(format!("{key}={value}")),
            // A whole number of a key that takes others too: with its point.
            _ => pairs.push(format!("{key}={value:?}")),
        }
    }
    if !ratio.is_empty() {
        pairs.push(format!("train.sample={{ name = \"mixing_ratio\", ratio = {{ {} }} }}", ratio.join(", ")));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RECIPE: &str = "name = 'x'\n[encoder]\ncheckpoint = 'e'\n[train]\nlearning_rate = 5e-5\n\
        [tasks.ner]\nbatch_size = 16\n[tasks.qa]\nbatch_size = 2\nloss_weight = 0.5\n\
        [data.ner]\ntrain = 'a'\n[data.qa]\ntrain = 'b'\n";

    fn recipe() -> Recipe {
        Recipe::parse(RECIPE, "x.toml".as_ref(), &[]).unwrap()
    }

    #[test]
    fn the_first_trial_is_the_recipe_and_the_second_what_is_known() {
        let space = Space::new(&recipe(), &SearchedKey::ALL, 384).unwrap();
        let of = |number| overrides(&recipe(), &space.trial(number)).unwrap();
        let first = ["train.learning_rate=5e-5", "tasks.ner.batch_size=16", "tasks.qa.batch_size=2"];
        assert_eq!(of(0)[..3], first);
        assert_eq!(of(0)[3..6], ["train.layer_decay=1.0", "train.epochs=3", "tasks.qa.loss_weight=0.5"]);
        assert_eq!(of(1)[..3], ["train.learning_rate=0.00025", "tasks.ner.batch_size=8", "tasks.qa.batch_size=1"]);
        // The recipe's own sampler, then equal parts.
        assert_eq!(of(0).len(), 6);
        assert_eq!(of(1)[6], "train.sample={ name = \"mixing_ratio\", ratio = { ner = 1, qa = 1 } }");
    }

    #[test]
    fn trials_cover_the_space_however_many_there_are() {
        let space = Space::new(&recipe(), &SearchedKey::ALL, 384).unwrap();
        for count in [6, 12, 40] {
            let trials: Vec<Vec<Setting>> = (2..2 + count).map(|number| space.trial(number)).collect();
            let rates: Vec<f64> = trials.iter().map(|trial| trial[0].1).collect();
            assert!(rates.iter().all(|rate| (5e-5..=6.3e-4).contains(rate)), "{rates:?}");
            // A third of the range, by its logarithm, has a third of the trials, to one.
            let third = |part: i32| {
                let [low, high] = [part, part + 1].map(|part| 5e-5 * 12.5_f64.powf(f64::from(part) / 3.0));
                rates.iter().filter(|rate| (low..high).contains(*rate)).count() as f64
            };
            for part in 0..3 {
                assert!((third(part) - count as f64 / 3.0).abs() <= 2.0, "{count}: {rates:?}");
            }
            let epochs: Vec<f64> = trials.iter().map(|trial| trial[3].1).collect();
            assert!(epochs.iter().all(|epochs| [2.0, 3.0, 5.0, 6.0].contains(epochs)), "{epochs:?}");
        }
        for trial in (0..40).map(|number| space.trial(number)) {
            let all = overrides(&recipe(), &trial).unwrap();
            assert!(Recipe::parse(RECIPE, "x.toml".as_ref(), &all).is_ok(), "{all:?}");
        }
    }
}
