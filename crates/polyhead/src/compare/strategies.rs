//! Strategies against each other: every balancer, every sampler, every way of sharing, on one recipe over several seeds, and which of them is better than the plain one.
//!
//! ```text
//! recipe, strategies, seeds -> NAME-strategies/balance-gls-seed42/ ...: ordinary runs -> strategies.json, strategies.html, strategies.md
//! ```
//!
//! Balancers are compared with a batch of every task in each step (`train.sample = "joint"`), beside `equal`; samplers with `train.balance = "equal"`, beside
//! `round_robin`; ways of sharing with the sampler and the balancer of the recipe, beside `hard`. They are not crossed. Everything else is as the recipe has it: the same data, epochs and seeds.

use super::folder::Folder;
use super::runs::{self, Opened, Series};
use super::statistics::{CONFIDENCE, Sample, Verdict};
use crate::balance::BALANCERS;
use crate::document::Series as Curve;
use crate::error::{Error, Result};
use crate::events::{MeanCosine, Outcome, ParameterCounts};
use crate::recipe::Recipe;
use crate::report::combined;
use crate::report::run::Run;
use crate::sample::SAMPLERS;
use crate::sharing::SHARINGS;
use crate::strategy::{Registered, Strategy, find};
use crate::tasks::{TASKS, TaskKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What of a recipe is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// `train.balance`, with `train.sample = "joint"`.
    Balance,
    /// `train.sample`, with `train.balance = "equal"`.
    Sample,
    /// `sharing`, with the sampler and the balancer of the recipe.
    Sharing,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Balance, Self::Sample, Self::Sharing];

    /// The key of the recipe.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Balance => "train.balance",
            Self::Sample => "train.sample",
            Self::Sharing => "sharing",
        }
    }

    /// The strategy that the others stand beside.
    pub const fn baseline(self) -> &'static str {
        match self {
            Self::Balance => "equal",
            Self::Sample => "round_robin",
            Self::Sharing => "hard",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Sample => "sample",
            Self::Sharing => "sharing",
        }
    }

    fn names(self) -> Vec<&'static str> {
        match self {
            Self::Balance => BALANCERS.iter().map(|entry| entry.name).collect(),
            Self::Sample => SAMPLERS.iter().map(|entry| entry.name).collect(),
            Self::Sharing => SHARINGS.iter().map(|entry| entry.name).collect(),
        }
    }

    /// What a recipe has of this group.
    fn of(self, recipe: &Recipe) -> &Strategy {
        match self {
            Self::Balance => &recipe.train.balance,
            Self::Sample => &recipe.train.sample,
            Self::Sharing => &recipe.sharing,
        }
    }

    /// The strategy of this name: as the recipe has it, else with its defaults and, where it takes one, a target. None if it can't be opened so.
    fn strategy(self, recipe: &Recipe, name: &str, target: Option<&str>) -> Option<Strategy> {
        fn can_open<T: ?Sized>(all: &[Registered<T>], strategy: &Strategy) -> bool {
            find(all, &strategy.name).is_some_and(|entry| (entry.open)(&strategy.options).is_ok())
        }
        let opens = |strategy: &Strategy| match self {
            Self::Balance => can_open(BALANCERS, strategy),
            Self::Sample => can_open(SAMPLERS, strategy),
            Self::Sharing => can_open(SHARINGS, strategy),
        };
        let with = |target: &str| Strategy {
            name: name.to_owned(),
            options: toml::Table::from_iter([("target".to_owned(), target.into())]),
        };
        let own = Some(self.of(recipe)).filter(|own| own.name == name).cloned();
        own.or_else(|| target.map(with).filter(&opens)).or_else(|| Some(Strategy::named(name)).filter(&opens))
    }
}

/// Strategies that are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What of the recipe they are.
    pub group: Group,
    /// The strategy.
    pub strategy: Strategy,
}

impl Entry {
    fn run_name(&self, seed: u64) -> String {
        format!("{}-{}-seed{seed}", self.group.word(), self.strategy.name)
    }

    /// The recipe as the run of a seed has it, checked as if a person had written it.
    fn recipe(&self, recipe: &Recipe, seed: u64, folder: &Path) -> Result<Recipe> {
        let mut recipe = recipe.clone();
        (recipe.name, recipe.seed, recipe.output) = (self.run_name(seed), seed, folder.to_owned());
        recipe.train.patience = None;
        match self.group {
            Group::Balance => {
                (recipe.train.sample, recipe.train.balance) = (Strategy::named("joint"), self.strategy.clone());
            }
            Group::Sample => {
                (recipe.train.sample, recipe.train.balance) = (self.strategy.clone(), Strategy::named("equal"));
            }
            Group::Sharing => recipe.sharing = self.strategy.clone(),
        }
        Recipe::parse(&recipe.to_toml()?, &folder.join(self.run_name(seed)).join("recipe.toml"), &[])
    }
}

/// The strategies of these names in each group, `all` for every one; the plain one of each group comes first. `target` is the task that strategies with a
/// `target` are to help. Of all, those that can't be used with the recipe are left out, and `notify` hears why.
///
/// # Errors
/// A name is none; a strategy that was named needs a target and there is none, or can't be used with this recipe.
pub fn entries(
    recipe: &Recipe,
    named: &[(Group, &[String])],
    target: Option<&str>,
    notify: &mut dyn FnMut(&str),
) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for &(group, named) in named {
        if named.is_empty() {
            continue;
        }
        let whole = named.iter().any(|name| name == "all");
        let names: Vec<&str> = if whole { group.names() } else { named.iter().map(String::as_str).collect() };
        if let Some(unknown) = names.iter().find(|name| !group.names().contains(name)) {
            let (key, known) = (group.key(), group.names().join(", "));
            return Err(Error::usage(format!("{key}: expected all, or some of {known}, found `{unknown}`")));
        }
        for name in std::iter::once(group.baseline()).chain(names.into_iter().filter(|name| *name != group.baseline()))
        {
            match group.strategy(recipe, name, target) {
                Some(strategy) => {
                    let entry = Entry { group, strategy };
                    match entry.recipe(recipe, recipe.seed, &recipe.output) {
                        Ok(_) => all.push(entry),
                        Err(why) if whole => notify(&format!("`{name}` is left out: {why}")),
                        Err(why) => return Err(why),
                    }
                }
                None if whole => notify(&format!("{}: `{name}` needs a target and is left out", group.key())),
                None => {
                    return Err(Error::usage(format!("{}: `{name}` needs a target, found none", group.key()))
                        .hint("--target names the task that the others are to help"));
                }
            }
        }
    }
    Ok(all)
}

/// A comparison of strategies that is under way, or done. Holds its folder: no other process can work on it in the meantime.
pub struct StrategyComparison {
    recipe: Recipe,
    kinds: Vec<TaskKind>,
    entries: Vec<Entry>,
    folder: Folder,
}

impl StrategyComparison {
    /// Opens the folder `OUTPUT/NAME-strategies`, or makes it. One that is there must be of the same recipe; seeds and strategies may be added.
    ///
    /// # Errors
    /// The recipe has one task, or a task without validation data.
    pub fn open(recipe: Recipe, entries: Vec<Entry>, seeds: &[u64], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        if recipe.tasks.len() < 2 {
            return Err(Error::usage("tasks: expected two at least: strategies are about several tasks"));
        }
        runs::check(&recipe, seeds)?;
        let folder = Folder::open(&recipe, "strategies", seeds, notify)?;
        Ok(Self { recipe, kinds: TASKS.to_vec(), entries, folder })
    }

    /// Compares the finished runs, and writes `strategies.json`, `strategies.html` and `strategies.md`.
    pub fn conclude(&self) -> Result<StrategyReport> {
        let report = StrategyReport::new(&self.recipe, &self.folder, &self.entries)?;
        runs::write(&self.folder, "strategies", &report, &report.document())?;
        Ok(report)
    }
}

impl Series for StrategyComparison {
    type Run = (Entry, u64);

    fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Seed by seed.
    fn runs(&self) -> Result<Vec<(Entry, u64)>> {
        let seeds = self.folder.rounds.iter().flatten();
        Ok(seeds.flat_map(|&seed| self.entries.iter().map(move |entry| (entry.clone(), seed))).collect())
    }

    /// `balance-gls-seed42`
    fn name(&self, (entry, seed): &(Entry, u64)) -> String {
        entry.run_name(*seed)
    }

    fn is_finished(&self, (entry, seed): &(Entry, u64)) -> Result<bool> {
        runs::is_finished(&self.folder, &entry.recipe(&self.recipe, *seed, &self.folder.path)?)
    }

    fn open_run(&self, (entry, seed): &(Entry, u64), notify: &mut dyn FnMut(&str)) -> Result<Opened> {
        runs::open(&self.folder, entry.recipe(&self.recipe, *seed, &self.folder.path)?, &self.kinds, notify)
    }

    /// Its model goes too.
    fn tidy(&self, (entry, seed): &(Entry, u64)) -> Result<()> {
        runs::drop_model(&self.folder, &entry.recipe(&self.recipe, *seed, &self.folder.path)?)
    }
}

/// What a comparison of strategies found, as data: `strategies.json`. Scores are in per cent, differences in points.
#[derive(Debug, Clone, Serialize)]
pub struct StrategyReport {
    /// The version of polyhead that compared.
    pub polyhead: &'static str,
    /// The name of the recipe.
    pub name: String,
    /// The folder of the comparison. Not in the JSON, which is the same wherever it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// All seeds, in order.
    pub seeds: Vec<u64>,
    /// How sure all intervals of a group are together.
    pub confidence: f64,
    /// What matrix products were computed in: one or, if the machine changed, several.
    pub precision: Vec<String>,
    /// Balancers, samplers, ways of sharing.
    pub groups: Vec<GroupReport>,
}

/// The strategies of one key.
#[derive(Debug, Clone, Serialize)]
pub struct GroupReport {
    /// Which.
    pub group: Group,
    /// How many intervals there are, for which each is made wider (Bonferroni).
    pub intervals: usize,
    /// The smallest difference of the mean over tasks that could have been shown: the mean half-width of its intervals.
    pub smallest_shown: Option<f64>,
    /// How the gradients of two tasks agreed in the runs of the plain strategy, where they were compared.
    pub cosines: Vec<PairCosine>,
    /// The strategies, the plain one first.
    pub entries: Vec<EntryReport>,
}

/// How the gradients of two tasks agreed.
#[derive(Debug, Clone, Serialize)]
pub struct PairCosine {
    /// One task.
    pub a: String,
    /// The other.
    pub b: String,
    /// The mean cosine of each run.
    pub mean: Sample,
    /// The share of all samples below 0.
    pub below_zero: f64,
}

/// One strategy.
#[derive(Debug, Clone, Serialize)]
pub struct EntryReport {
    /// It, with its options.
    pub strategy: Strategy,
    /// The mean of the headline scores of all tasks.
    pub mean: Standing,
    /// The headline score of each task, in the order of the recipe.
    pub tasks: Vec<Standing>,
    /// Seconds of a step, the mean of each run.
    pub step_seconds: Sample,
    /// The batches of each task, seed by seed.
    pub updates: BTreeMap<String, Vec<usize>>,
    /// Real tokens trained on, seed by seed.
    pub tokens: Vec<usize>,
    /// The parameters of the model; none where they were not recorded.
    pub parameters: Option<ParameterCounts>,
    /// In the run of the first seed, by step: the weight of each task if any moved (of a balancer), its batches so far (of a sampler).
    #[serde(skip)]
    pub curves: Vec<Curve>,
}

/// Where a strategy stands in one score.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The task, or `mean`.
    pub name: String,
    /// The score.
    pub measure: String,
    /// Its values.
    pub score: Sample,
    /// What it is above the plain strategy, seed by seed; none of that itself.
    pub difference: Option<Sample>,
    /// Where the true mean of the differences lies; all intervals of a group hold together with the report's confidence.
    pub interval: Option<[f64; 2]>,
    /// What that says.
    pub verdict: Option<Verdict>,
}

/// The runs of a strategy, seed by seed, and the curves of the first.
type OfEntry = (Entry, Vec<Outcome>, Vec<Curve>);

impl StrategyReport {
    fn new(recipe: &Recipe, folder: &Folder, entries: &[Entry]) -> Result<Self> {
        let seeds = folder.rounds.concat();
        let outcomes = |entry: &Entry| -> Result<OfEntry> {
            let of_seeds = seeds.iter().map(|&seed| runs::finished(folder, &entry.run_name(seed)));
            let outcomes = of_seeds.collect::<Result<Vec<Outcome>>>()?;
            let first = seeds.first().map(|&seed| Run::read(&folder.path.join(entry.run_name(seed)))).transpose()?;
            let curves = first.map_or_else(Vec::new, |run| match entry.group {
                Group::Balance => combined::weights(&run),
                Group::Sample => combined::batches(&run),
                Group::Sharing => Vec::new(),
            });
            Ok((entry.clone(), outcomes, curves))
        };
        let all: Vec<OfEntry> = entries.iter().map(outcomes).collect::<Result<_>>()?;
        let precision = runs::precisions(all.iter().flat_map(|(_, outcomes, _)| outcomes));
        let tasks: Vec<&str> = recipe.tasks.keys().map(String::as_str).collect();
        let group = |group: Group| {
            let own: Vec<&OfEntry> = all.iter().filter(|(entry, ..)| entry.group == group).collect();
            (!own.is_empty()).then(|| GroupReport::new(group, &own, &tasks))
        };
        Ok(Self {
            polyhead: env!("CARGO_PKG_VERSION"),
            name: recipe.name.clone(),
            path: folder.path.clone(),
            seeds,
            confidence: CONFIDENCE,
            precision,
            groups: Group::ALL.into_iter().filter_map(group).collect(),
        })
    }
}

impl GroupReport {
    fn new(group: Group, all: &[&OfEntry], tasks: &[&str]) -> Self {
        // Of every strategy but the plain one: each task, and the mean.
        let intervals = (all.len() - 1) * (tasks.len() + 1);
        let confidence = 1.0 - (1.0 - CONFIDENCE) / intervals.max(1) as f64;
        let scores = |outcomes: &[Outcome], task: &str| -> Vec<f64> {
            outcomes.iter().filter_map(|outcome| Some(outcome.best.get(task)?.headline_value())).collect()
        };
        let means = |outcomes: &[Outcome]| -> Vec<f64> {
            let by_task: Vec<Vec<f64>> = tasks.iter().map(|task| scores(outcomes, task)).collect();
            let mean =
                |seed: usize| by_task.iter().filter_map(|values| values.get(seed)).sum::<f64>() / tasks.len() as f64;
            (0..outcomes.len()).map(mean).collect()
        };
        let measure = |task: &str| {
            let first = all.iter().flat_map(|(_, outcomes, _)| outcomes).find_map(|outcome| outcome.best.get(task));
            first.map_or_else(String::new, |score| score.headline.to_string())
        };
        let plain = all.first().map_or(&[][..], |(_, outcomes, _)| outcomes.as_slice());
        let standing = |name: &str, measure: String, values: Vec<f64>, plain: Option<Vec<f64>>| {
            let difference = plain.map(|plain| Sample::of(values.iter().zip(&plain).map(|(a, b)| a - b).collect()));
            let interval = difference.as_ref().and_then(|difference| difference.interval_at(confidence));
            let verdict = difference.as_ref().map(|difference| Verdict::of(difference, interval));
            Standing { name: name.to_owned(), measure, score: Sample::of(values), difference, interval, verdict }
        };
        let entry = |(at, (entry, outcomes, curves)): (usize, &&OfEntry)| {
            let beside = |values: Vec<f64>| (at > 0).then_some(values);
            let of_task =
                |task: &&str| standing(task, measure(task), scores(outcomes, task), beside(scores(plain, task)));
            let steps = |outcome: &Outcome| outcome.training_seconds / outcome.steps.max(1) as f64;
            let updates = |task: &&str| {
                let of = |outcome: &Outcome| outcome.updates.get(*task).copied().unwrap_or(0);
                ((*task).to_owned(), outcomes.iter().map(of).collect())
            };
            EntryReport {
                strategy: entry.strategy.clone(),
                mean: standing("mean", String::new(), means(outcomes), beside(means(plain))),
                tasks: tasks.iter().map(of_task).collect(),
                step_seconds: Sample::of(outcomes.iter().map(steps).collect()),
                updates: tasks.iter().map(updates).collect(),
                tokens: outcomes.iter().map(|outcome| outcome.tokens).collect(),
                parameters: outcomes.first().and_then(|outcome| outcome.parameters),
                curves: curves.clone(),
            }
        };
        let entries: Vec<EntryReport> = all.iter().enumerate().map(entry).collect();
        let widths: Vec<f64> =
            entries.iter().filter_map(|entry| entry.mean.interval).map(|[low, high]| (high - low) / 2.0).collect();
        let smallest_shown = (!widths.is_empty()).then(|| widths.iter().sum::<f64>() / widths.len() as f64);
        Self { group, intervals, smallest_shown, cosines: PairCosine::of(plain), entries }
    }
}

impl PairCosine {
    /// Pair by pair, of runs that compared the same ones.
    fn of(outcomes: &[Outcome]) -> Vec<Self> {
        let pair = |MeanCosine { a, b, .. }: &MeanCosine| {
            let of_pair =
                |outcome: &Outcome| outcome.cosines.iter().find(|found| (&found.a, &found.b) == (a, b)).cloned();
            let found: Vec<MeanCosine> = outcomes.iter().filter_map(of_pair).collect();
            let samples = found.iter().map(|cosine| cosine.samples as f64).sum::<f64>();
            let below = found.iter().map(|cosine| cosine.below_zero * cosine.samples as f64).sum::<f64>();
            let mean = Sample::of(found.iter().map(|cosine| cosine.mean).collect());
            Self { a: a.clone(), b: b.clone(), mean, below_zero: below / samples }
        };
        outcomes.iter().take(1).flat_map(|outcome| &outcome.cosines).map(pair).collect()
    }
}
