//! Which tasks help a target: short trainings of the target with each of the others, then whole ones of the best, on training data alone.
//!
//! ```text
//! recipe, target, budget -> probes:   the target alone, and with each other task, a third of the epochs -> a rank
//!                        -> confirmed: alone, with the best one, with all that gained; whole trainings, other seeds -> intervals
//!                        -> selection.json, selection.html, selection.md, and the recipe selected.toml
//! ```
//!
//! Every run holds a fifth of the target's training examples out, by its seed, and is scored on them after its last epoch: validation data are not read. Whether
//! the gradients of the target and of another task agree is measured in the probes on the way, and shown beside what the probe gained, which decides (as Fifty et
//! al. 2021, "Efficiently Identifying Task Groupings for Multi-Task Learning", found what a step for one task does to the loss of another to say more than the angle
//! between their gradients).

use super::folder::Folder;
use super::runs::{self, Opened, Series};
use super::statistics::{CONFIDENCE, Sample, Verdict};
use crate::error::{Error, Result};
use crate::events::Outcome;
use crate::io::write_atomic;
use crate::recipe::Recipe;
use crate::tasks::{TASKS, TaskKind};
use crate::train::prepare;
use serde::Serialize;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The share of the target's examples that a run is scored on, and not trained on.
const HELD_OUT: f64 = 0.2;
/// A probe has one epoch for so many of the recipe.
const PROBE: usize = 3;
/// Steps between two comparisons of gradients in a probe.
const COMPARED_EVERY: usize = 10;
/// The most seeds of either stage.
const MOST_SEEDS: usize = 10;
/// The least seeds of whole trainings: the interval of two is wider than any gain.
const LEAST_SEEDS: usize = 3;
/// The share of a budget that goes to the probes.
const OF_PROBES: f64 = 1.0 / 3.0;

/// Which stage a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A short training.
    Probe,
    /// A whole one.
    Confirm,
}

/// One run of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectionRun {
    /// Its stage.
    pub stage: Stage,
    /// The tasks that train with the target.
    pub with: Vec<String>,
    /// Its seed.
    pub seed: u64,
}

impl SelectionRun {
    /// `probe-alone-seed42`, `probe-with-qa-seed42`, `confirm-with-several-seed44`: there is one set of several.
    fn name(&self) -> String {
        let stage = match self.stage {
            Stage::Probe => "probe",
            Stage::Confirm => "confirm",
        };
        let with = match self.with.as_slice() {
            [] => "alone".to_owned(),
            [task] => format!("with-{task}"),
            _ => "with-several".to_owned(),
        };
        format!("{stage}-{with}-seed{}", self.seed)
    }
}

/// The seeds that a budget pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seeds {
    /// Of the probes.
    pub probes: usize,
    /// Of the whole trainings, after those.
    pub confirmations: usize,
}

/// A selection that is under way, or done. Holds its folder: no other process can work on it in the meantime.
pub struct Selection {
    recipe: Recipe,
    kinds: Vec<TaskKind>,
    target: String,
    others: Vec<String>,
    trainings: f64,
    seeds: Seeds,
    folder: Folder,
    ranked: OnceCell<Vec<Auxiliary>>,
}

impl Selection {
    /// Opens the folder `OUTPUT/NAME-select`, or makes it. The budget is in trainings of the recipe as it is: a third of it goes to the probes.
    ///
    /// # Errors
    /// The target is no task of the recipe, or the only one; the budget does not pay for the least that there must be.
    pub fn open(recipe: Recipe, target: &str, trainings: f64, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let tasks: Vec<String> = recipe.tasks.keys().cloned().collect();
        if !tasks.iter().any(|task| task == target) {
            let message = format!("target: expected one of the tasks {}, found `{target}`", tasks.join(", "));
            return Err(Error::usage(message));
        }
        let others: Vec<String> = tasks.into_iter().filter(|task| task != target).collect();
        if others.is_empty() {
            return Err(Error::usage(format!("tasks: expected some that could help `{target}`, found none")));
        }
        if recipe.train.shared_pass {
            notify("train.shared_pass is left out: the runs of a selection have other tasks each");
        }
        // The whole recipe, so that a mistake in it is reported now; and what each task brings. What no run reads is not needed for that.
        let mut whole = recipe.clone();
        whole.data.values_mut().for_each(|data| (data.validation, data.split) = (None, None));
        (whole.train.shared_pass, whole.train.best) = (false, "mean".to_owned());
        let prepared = prepare(&whole, TASKS, notify)?;
        let windows = |name: &str| {
            let data = prepared.task_data.iter().find(|data| data.name == name);
            data.map_or(0, |data| data.windows.len().div_ceil(data.batch_size))
        };
        let own = (windows(target) as f64 * (1.0 - HELD_OUT)).ceil();
        let of_others: Vec<f64> = others.iter().map(|name| windows(name) as f64).collect();
        let seeds = affordable(own, &of_others, recipe.train.epochs, trainings)?;
        let all: Vec<u64> = (0..seeds.probes + seeds.confirmations).map(|more| recipe.seed + more as u64).collect();
        let folder = Folder::open(&recipe, "select", &all, notify)?;
        let (kinds, target) = (TASKS.to_vec(), target.to_owned());
        let selection = Self { recipe, kinds, target, others, trainings, seeds, folder, ranked: OnceCell::new() };
        for run in selection.probes() {
            selection.recipe_of(&run)?;
        }
        Ok(selection)
    }

    /// The seeds that the budget pays for.
    pub fn seeds(&self) -> Seeds {
        self.seeds
    }

    fn seeds_of(&self, stage: Stage) -> impl Iterator<Item = u64> {
        let (first, count) = match stage {
            Stage::Probe => (0, self.seeds.probes),
            // Others than those of the probes: what was best of several there was so by luck too.
            Stage::Confirm => (self.seeds.probes, self.seeds.confirmations),
        };
        let seed = self.recipe.seed;
        (first..first + count).map(move |more| seed + more as u64)
    }

    fn probes(&self) -> Vec<SelectionRun> {
        let sets = || std::iter::once(Vec::new()).chain(self.others.iter().map(|other| vec![other.clone()]));
        self.all_of(Stage::Probe, &sets().collect::<Vec<_>>())
    }

    fn all_of(&self, stage: Stage, sets: &[Vec<String>]) -> Vec<SelectionRun> {
        let of_seed = |seed| sets.iter().map(move |with| SelectionRun { stage, with: with.clone(), seed });
        self.seeds_of(stage).flat_map(of_seed).collect()
    }

    /// The sets of tasks that whole trainings try: none, the best, and all that gained in the probes.
    fn candidates(&self, ranked: &[Auxiliary]) -> Vec<Vec<String>> {
        let mut sets = vec![Vec::new()];
        sets.extend(ranked.first().map(|best| vec![best.task.clone()]));
        let gained: Vec<String> = ranked
            .iter()
            .filter(|auxiliary| auxiliary.gain.mean > 0.0)
            .map(|auxiliary| auxiliary.task.clone())
            .collect();
        if gained.len() > 1 {
            sets.push(gained);
        }
        sets
    }

    /// The tasks as the probes rank them, once all of these are finished.
    fn ranked(&self) -> Result<Option<&[Auxiliary]>> {
        if let Some(ranked) = self.ranked.get() {
            return Ok(Some(ranked));
        }
        let mut outcomes = BTreeMap::new();
        // The last one first: before it is finished no other need be read.
        for run in self.probes().into_iter().rev() {
            let Some(outcome) = runs::outcome(&self.folder, &run.name())? else { return Ok(None) };
            outcomes.insert(run.name(), outcome);
        }
        let of = |with: &[String]| -> Vec<&Outcome> {
            let run = |seed| SelectionRun { stage: Stage::Probe, with: with.to_vec(), seed };
            self.seeds_of(Stage::Probe).filter_map(|seed| outcomes.get(&run(seed).name())).collect()
        };
        let scores = |outcomes: &[&Outcome]| outcomes.iter().filter_map(|outcome| self.score(outcome)).collect();
        let alone: Vec<f64> = scores(&of(&[]));
        let auxiliary = |task: &String| {
            let outcomes = of(std::slice::from_ref(task));
            let score: Vec<f64> = scores(&outcomes);
            let gain = score.iter().zip(&alone).map(|(score, alone)| score - alone).collect();
            let cosines = outcomes.iter().flat_map(|outcome| &outcome.cosines);
            let (sum, count) = cosines.fold((0.0, 0), |(sum, count), pair| (sum + pair.mean, count + 1));
            let cosine = (count > 0).then(|| sum / f64::from(count));
            Auxiliary { task: task.clone(), score: Sample::of(score), gain: Sample::of(gain), cosine }
        };
        let mut ranked: Vec<Auxiliary> = self.others.iter().map(auxiliary).collect();
        // Where probes gain the same, the angle decides.
        let by_cosine = |auxiliary: &Auxiliary| auxiliary.cosine.unwrap_or(0.0);
        ranked.sort_by(|a, b| b.gain.mean.total_cmp(&a.gain.mean).then(by_cosine(b).total_cmp(&by_cosine(a))));
        Ok(Some(self.ranked.get_or_init(|| ranked)))
    }

    /// The target's headline score after the last epoch.
    fn score(&self, outcome: &Outcome) -> Option<f64> {
        outcome.last.get(&self.target).map(|score| score.headline_value())
    }

    fn recipe_of(&self, run: &SelectionRun) -> Result<Recipe> {
        let mut recipe = self.with_tasks(&run.with);
        (recipe.name, recipe.seed, recipe.output) = (run.name(), run.seed, self.folder.path.clone());
        for (name, data) in &mut recipe.data {
            (data.validation, data.validation_limit) = (None, None);
            data.split = (*name == self.target).then_some(HELD_OUT);
        }
        let train = &mut recipe.train;
        (train.patience, train.evaluate_every, train.save_every) = (None, None, None);
        (train.keep_checkpoints, train.keep_optimizer) = (1, false);
        if run.stage == Stage::Probe {
            train.epochs = probe_epochs(train.epochs);
            train.max_steps = train.max_steps.map(|steps| steps.div_ceil(PROBE));
            train.diagnostics_every = COMPARED_EVERY;
        }
        Recipe::parse(&recipe.to_toml()?, &self.folder.path.join(run.name()).join("recipe.toml"), &[])
    }

    /// The recipe with the target and these tasks, in its order.
    fn with_tasks(&self, with: &[String]) -> Recipe {
        let mut recipe = self.recipe.clone();
        let stays = |name: &str| name == self.target || with.iter().any(|with| with == name);
        recipe.tasks.retain(|name, _| stays(name));
        recipe.data.retain(|name, _| stays(name));
        (recipe.train.shared_pass, recipe.train.best) = (false, self.target.clone());
        recipe
    }

    /// Says what was found, and writes `selection.json`, `selection.html`, `selection.md` and the recipe `selected.toml`.
    pub fn conclude(&self) -> Result<SelectionReport> {
        let report = SelectionReport::new(self)?;
        let mut recipe = self.with_tasks(&report.chosen);
        recipe.name = format!("{}-selected", self.recipe.name);
        let head = format!("# {}\n", report.answer());
        write_atomic(self.folder.path.join("selected.toml"), head + &recipe.to_toml()?)?;
        runs::write(&self.folder, "selection", &report, &report.document())?;
        Ok(report)
    }
}

impl Series for Selection {
    type Run = SelectionRun;

    fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Seed by seed; whole trainings are known once all probes are finished.
    fn runs(&self) -> Result<Vec<SelectionRun>> {
        let mut all = self.probes();
        if let Some(ranked) = self.ranked()? {
            all.extend(self.all_of(Stage::Confirm, &self.candidates(ranked)));
        }
        Ok(all)
    }

    fn name(&self, run: &SelectionRun) -> String {
        run.name()
    }

    fn is_finished(&self, run: &SelectionRun) -> Result<bool> {
        runs::is_finished(&self.folder, &self.recipe_of(run)?)
    }

    fn open_run(&self, run: &SelectionRun, notify: &mut dyn FnMut(&str)) -> Result<Opened> {
        runs::open(&self.folder, self.recipe_of(run)?, &self.kinds, notify)
    }

    /// Its model goes too.
    fn tidy(&self, run: &SelectionRun) -> Result<()> {
        runs::drop_model(&self.folder, &self.recipe_of(run)?)
    }
}

fn probe_epochs(epochs: usize) -> usize {
    epochs.div_ceil(PROBE)
}

/// How many seeds of each stage a budget pays for, in trainings of the recipe as it is: a third goes to the probes, what they leave to whole trainings of
/// three sets, the largest of all tasks.
fn affordable(target: f64, others: &[f64], epochs: usize, trainings: f64) -> Result<Seeds> {
    let (all, count) = (others.iter().sum::<f64>(), others.len() as f64);
    let whole = (target / (1.0 - HELD_OUT) + all).max(1.0);
    let share = probe_epochs(epochs) as f64 / epochs.max(1) as f64;
    let probe = share * ((count + 1.0) * target + all) / whole;
    let largest = others.iter().copied().fold(0.0, f64::max);
    let sets = if others.len() > 1 { 3.0 * target + largest + all } else { 2.0 * target + all };
    let confirm = sets / whole;
    let least = probe + LEAST_SEEDS as f64 * confirm;
    // Rounded as it is shown.
    if !(trainings + 0.05 >= least && trainings.is_finite()) {
        return Err(Error::usage(format!(
            "trainings: expected at least {:.1}, found {trainings}",
            (least * 10.0).ceil() / 10.0
        ))
        .hint("that is what a short training with each task costs, and three whole ones of each candidate"));
    }
    let paid = |budget: f64, cost: f64| (budget / cost.max(1e-9)).floor().clamp(1.0, MOST_SEEDS as f64) as usize;
    let probes = paid((trainings * OF_PROBES).min(trainings - LEAST_SEEDS as f64 * confirm), probe);
    let confirmations = paid(trainings - probes as f64 * probe, confirm).max(LEAST_SEEDS);
    Ok(Seeds { probes, confirmations })
}

/// What a selection found, as data: `selection.json`. Scores are in per cent, differences in points.
#[derive(Debug, Clone, Serialize)]
pub struct SelectionReport {
    /// The version of polyhead that compared.
    pub polyhead: &'static str,
    /// The name of the recipe.
    pub name: String,
    /// The folder of the selection. Not in the JSON, which is the same wherever it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// The task that the others are to help.
    pub target: String,
    /// Its score.
    pub measure: String,
    /// The budget, in trainings of the recipe as it is.
    pub trainings: f64,
    /// The seeds of the probes and of the whole trainings.
    pub seeds: [Vec<u64>; 2],
    /// The epochs of a probe and of a whole training.
    pub epochs: [usize; 2],
    /// The target alone in the probes.
    pub alone: Sample,
    /// The other tasks, the best first.
    pub ranked: Vec<Auxiliary>,
    /// The sets of tasks that whole trainings tried; the target alone first.
    pub confirmed: Vec<Confirmed>,
    /// How sure the intervals of whole trainings are together.
    pub confidence: f64,
    /// The tasks that are shown to help; none if nothing is.
    pub chosen: Vec<String>,
    /// What matrix products were computed in: one or, if the machine changed, several.
    pub precision: Vec<String>,
}

/// What a task did for the target in the probes.
#[derive(Debug, Clone, Serialize)]
pub struct Auxiliary {
    /// The task.
    pub task: String,
    /// The target's score beside it, seed by seed.
    pub score: Sample,
    /// What that is above the target alone.
    pub gain: Sample,
    /// The mean cosine of their gradients on the shared encoder.
    pub cosine: Option<f64>,
}

/// What whole trainings with a set of tasks came to.
#[derive(Debug, Clone, Serialize)]
pub struct Confirmed {
    /// The tasks that trained with the target.
    pub with: Vec<String>,
    /// The target's score, seed by seed.
    pub score: Sample,
    /// What it is above the target alone; none of that itself.
    pub gain: Option<Sample>,
    /// Where the true mean of the gains lies; all intervals hold together with the report's confidence.
    pub interval: Option<[f64; 2]>,
    /// What that says.
    pub verdict: Option<Verdict>,
}

impl SelectionReport {
    fn new(selection: &Selection) -> Result<Self> {
        let Selection { recipe, folder, target, .. } = selection;
        let ranked = selection.ranked()?.ok_or_else(|| {
            Error::usage("expected the probes to be finished, found that they are not")
                .hint("`polyhead select` with the same recipe trains what is missing")
        })?;
        let outcomes = |stage, with: &[String]| -> Result<Vec<Outcome>> {
            let run = |seed| SelectionRun { stage, with: with.to_vec(), seed };
            selection.seeds_of(stage).map(|seed| runs::finished(folder, &run(seed).name())).collect()
        };
        let scores = |outcomes: &[Outcome]| -> Vec<f64> {
            outcomes.iter().filter_map(|outcome| selection.score(outcome)).collect()
        };
        let probes = outcomes(Stage::Probe, &[])?;
        let sets = selection.candidates(ranked);
        let whole: Vec<(Vec<String>, Vec<Outcome>)> = sets
            .into_iter()
            .map(|with| outcomes(Stage::Confirm, &with).map(|outcomes| (with, outcomes)))
            .collect::<Result<_>>()?;
        let alone = whole.first().map(|(_, outcomes)| scores(outcomes)).unwrap_or_default();
        let confidence = 1.0 - (1.0 - CONFIDENCE) / (whole.len() - 1).max(1) as f64;
        let confirmed: Vec<Confirmed> = whole
            .iter()
            .map(|(with, outcomes)| {
                let score = scores(outcomes);
                let gain = (!with.is_empty())
                    .then(|| Sample::of(score.iter().zip(&alone).map(|(score, alone)| score - alone).collect()));
                let interval = gain.as_ref().and_then(|gain| gain.interval_at(confidence));
                let verdict = gain.as_ref().map(|gain| Verdict::of(gain, interval));
                Confirmed { with: with.clone(), score: Sample::of(score), gain, interval, verdict }
            })
            .collect();
        let shown = confirmed.iter().filter(|set| set.verdict == Some(Verdict::Helped));
        let best = shown.max_by(|a, b| a.score.mean.total_cmp(&b.score.mean));
        let headline = probes.first().and_then(|outcome| outcome.last.get(target));
        let all = probes.iter().chain(whole.iter().flat_map(|(_, outcomes)| outcomes));
        Ok(Self {
            polyhead: env!("CARGO_PKG_VERSION"),
            name: recipe.name.clone(),
            path: folder.path.clone(),
            target: target.clone(),
            measure: headline.map_or_else(String::new, |score| score.headline.to_string()),
            trainings: selection.trainings,
            seeds: [Stage::Probe, Stage::Confirm].map(|stage| selection.seeds_of(stage).collect()),
            epochs: [probe_epochs(recipe.train.epochs), recipe.train.epochs],
            alone: Sample::of(scores(&probes)),
            ranked: ranked.to_vec(),
            chosen: best.map(|set| set.with.clone()).unwrap_or_default(),
            confidence: CONFIDENCE,
            precision: runs::precisions(all),
            confirmed,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_third_of_a_budget_goes_to_probes_and_what_is_left_to_whole_trainings() {
        // Four tasks of 100 batches each; three epochs, of which a probe has one.
        let seeds = |trainings| affordable(80.0, &[100.0; 3], 3, trainings);
        // A probe of each costs (4 * 80 + 300) / 400 / 3 = 0.52 trainings, a seed of whole ones (3 * 80 + 400) / 400 = 1.6.
        let error = seeds(3.0).unwrap_err().to_string();
        assert_eq!(error, "trainings: expected at least 5.4, found 3");
        for (trainings, want) in [(5.4, (1, 3)), (12.0, (7, 5)), (20.0, (10, 9)), (1000.0, (10, 10))] {
            let Seeds { probes, confirmations } = seeds(trainings).unwrap();
            assert_eq!((probes, confirmations), want, "{trainings}");
        }
        assert!(seeds(f64::NAN).is_err() && seeds(f64::INFINITY).is_err());
    }
}
