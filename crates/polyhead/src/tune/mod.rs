//! The search for a recipe's learning rate, batch size and the like, within a budget, on training data alone.
//!
//! ```text
//! recipe, budget -> trials: the recipe with other settings (space.rs)
//! a trial        -> an ordinary run on a share of the training examples, scored on a fifth of these that is held out
//! rungs of more and more examples, the best third of the trials each time (halving.rs) -> best.toml, tune.html
//! ```
//!
//! Everything that decides stands in the folder: what the search is, and the runs. So the same call goes on with a search that was
//! interrupted, and several processes may work on one at the same time. The recipe's validation data are not read.
//!
//! ```no_run
//! use polyhead::recipe::Recipe;
//! use polyhead::tune::{Budget, Next, Settings, Tuning};
//!
//! let recipe = Recipe::read("recipes/quickstart.toml".as_ref(), &[])?;
//! let settings = Settings { budget: Budget::Minutes(20.0), ..Settings::default() };
//! let tuning = Tuning::open(recipe, settings, &mut |note| eprintln!("{note}"))?;
//! loop {
//!     match tuning.next(&mut |note| eprintln!("{note}"))? {
//!         Next::Train(mut training) => {
//!             let failed = training.trainer.by_ref().find_map(Result::err);
//!             tuning.end(&training.trial, failed)?;
//!         }
//!         Next::Wait => std::thread::sleep(std::time::Duration::from_secs(2)),
//!         Next::Done => break,
//!     }
//! }
//! println!("{:?}", tuning.conclude()?.best);
//! # Ok::<(), polyhead::Error>(())
//! ```

mod folder;
mod halving;
mod page;
mod space;

pub use page::{Report, TrialReport};
pub use space::SearchedKey;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::events::{Outcome, Plan};
use crate::io::{names, remove_folder, try_lock_folder, write_atomic};
use crate::recipe::Recipe;
use crate::report::{html, markdown};
use crate::tasks::{TASKS, TaskKind};
use crate::train::{Trainer, prepare};
use folder::{Facts, Folder};
use halving::SHARES;
use serde::{Deserialize, Serialize};
use space::{Setting, Space};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The share of a trial's examples that it is scored on, and not trained on.
pub const HELD_OUT: f64 = 0.2;

/// The name of a trial's run in its folder.
const RUN: &str = "run";
/// What says that a trial came to nothing, and why.
const FAILED: &str = "failed.txt";

/// What is asked of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What it may cost.
    pub budget: Budget,
    /// What it may change.
    pub keys: Vec<SearchedKey>,
}

/// What a search may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// So many trainings of the recipe on all of its examples.
    Trainings(f64),
    /// So many steps, of the size that they have in the recipe.
    Steps(usize),
    /// So many minutes of training and scoring. The first trial tells how many trials that pays for.
    Minutes(f64),
}

impl Default for Settings {
    fn default() -> Self {
        use SearchedKey::{BatchSize, LayerDecay, LearningRate, LossWeight};
        Self { budget: Budget::Trainings(8.0), keys: vec![LearningRate, BatchSize, LayerDecay, LossWeight] }
    }
}

/// A trial: its number, and how many examples it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trial {
    /// The rung, from 0.
    pub rung: usize,
    /// The number, which decides the settings.
    pub number: usize,
}

impl Trial {
    /// Its name, and that of its folder: `rung0-trial03`.
    pub fn name(self) -> String {
        format!("rung{}-trial{:02}", self.rung, self.number)
    }

    fn share(self) -> f64 {
        SHARES.get(self.rung).copied().unwrap_or(1.0)
    }
}

/// What is to be done next.
pub enum Next {
    /// This trial.
    Train(Box<Training>),
    /// Other processes train what is left of this rung: ask again in a while.
    Wait,
    /// The search is over.
    Done,
}

/// A trial that is this process's to train.
pub struct Training {
    /// Which one.
    pub trial: Trial,
    /// Its settings, as overrides of the recipe.
    pub settings: Vec<String>,
    /// Iterate over it to the end, then call [`Tuning::end`].
    pub trainer: Trainer,
    _lock: File,
}

/// A search that is under way, or over.
pub struct Tuning {
    recipe: Recipe,
    settings: Settings,
    kinds: Vec<TaskKind>,
    folder: Folder,
    space: Space,
}

/// How a trial ended.
enum Ending {
    Scored(Box<Outcome>, f64),
    Failed(String),
}

impl Ending {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Scored(_, value) => Some(*value),
            Self::Failed(_) => None,
        }
    }

    fn seconds(&self) -> f64 {
        match self {
            Self::Scored(outcome, _) => outcome.training_seconds + outcome.evaluation_seconds,
            Self::Failed(_) => 0.0,
        }
    }
}

/// The trials of a rung, with how each ended.
type Rung = Vec<(Trial, Option<Ending>)>;

impl Tuning {
    /// Opens the folder `OUTPUT/NAME-tune`, or makes it. One that is there must be of the same recipe and settings.
    pub fn open(recipe: Recipe, settings: Settings, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::with_tasks(recipe, settings, TASKS, notify)
    }

    /// The same with tasks of one's own.
    pub fn with_tasks(
        recipe: Recipe,
        settings: Settings,
        kinds: &[TaskKind],
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        // Whatever the width, before anything is written.
        if Space::new(&recipe, &settings.keys, 1)?.names().is_empty() {
            return Err(Error::usage("keys: expected what to search, found nothing that this recipe has")
                .hint("a loss weight counts beside those of other tasks: of one task there is none"));
        }
        let folder = Folder::open(&recipe, &settings, notify, |notify| {
            // The whole recipe, so that a mistake in it is told now. What a trial does not read is not needed for that.
            let mut recipe = recipe.clone();
            recipe.data.values_mut().for_each(|data| (data.validation, data.split) = (None, None));
            let prepared = prepare(&recipe, kinds, notify)?;
            let examples = prepared.task_data.iter().map(|data| (data.name.clone(), data.train.len)).collect();
            let steps = Plan::new(&recipe, &prepared)?.steps;
            Ok(Facts { width: prepared.model.encoder.hidden_size(), examples, steps })
        })?;
        let space = Space::new(&recipe, &settings.keys, folder.facts.width)?;
        let tuning = Self { recipe, settings, kinds: kinds.to_vec(), folder, space };
        if let Some(budget) = tuning.budget(None) {
            tuning.affordable(budget)?;
        }
        Ok(tuning)
    }

    /// The folder of the search.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// What this process is to do next.
    pub fn next(&self, notify: &mut dyn FnMut(&str)) -> Result<Next> {
        let rungs = self.rungs()?;
        if self.is_spent(&rungs) {
            return Ok(Next::Done);
        }
        let mut waits = false;
        for (trial, ending) in rungs.into_iter().flatten() {
            if ending.is_some() {
                continue;
            }
            let folder = self.folder_of(trial)?;
            let Some(lock) = try_lock_folder(&folder)? else {
                waits = true;
                continue;
            };
            // It may have ended before the lock was had.
            if self.ending(trial)?.is_none() {
                let trainer = self.trainer(trial, &folder, notify)?;
                let settings = space::overrides(&self.recipe, &self.space.trial(trial.number))?;
                return Ok(Next::Train(Box::new(Training { trial, settings, trainer, _lock: lock })));
            }
            return self.next(notify);
        }
        Ok(if waits { Next::Wait } else { Next::Done })
    }

    /// Takes note that a trial was trained to its end, or why it was not. What is no fault of the settings comes back.
    pub fn end(&self, trial: &Trial, failed: Option<Error>) -> Result<()> {
        let folder = self.folder_of(*trial)?;
        match failed {
            // Such as a gradient that is not finite: these settings do not train.
            Some(error) if error.kind() == ErrorKind::Internal => {
                write_atomic(folder.join(FAILED), format!("{error}\n"))?;
            }
            Some(error) => return Err(error),
            None => {}
        }
        // What was measured is in the metrics.
        let run = folder.join(RUN);
        if self.ending(*trial)?.is_some() && run.is_dir() {
            for name in names(&run)?.into_iter().filter(|name| name.starts_with("checkpoint-") || name == "best") {
                remove_folder(&run.join(name))?;
            }
        }
        Ok(())
    }

    /// Says what was found, and writes `tune.json`, `tune.html`, `tune.md` and the recipe `best.toml`.
    pub fn conclude(&self) -> Result<Report> {
        let report = Report::new(self, self.rungs()?)?;
        let folder = &self.folder.path;
        let mut recipe = Recipe::parse(&self.recipe.to_toml()?, &folder.join("recipe.toml"), &report.best.settings)?;
        recipe.name = format!("{}-tuned", self.recipe.name);
        write_atomic(folder.join("best.toml"), format!("{}\n{}", report.headline(), recipe.to_toml()?))?;
        let json = serde_json::to_string_pretty(&report).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
        write_atomic(folder.join("tune.json"), json + "\n")?;
        let document = report.document();
        write_atomic(folder.join("tune.html"), html::page(&document))?;
        write_atomic(folder.join("tune.md"), markdown::page(&document))?;
        Ok(report)
    }

    /// The trials of each rung that is known, and how each ended.
    fn rungs(&self) -> Result<Vec<Rung>> {
        let first = Trial { rung: 0, number: 0 };
        let ending = self.ending(first)?;
        let budget = self.budget(ending.as_ref());
        let trials = match (budget, &ending) {
            (Some(budget), _) => self.affordable(budget)?,
            (None, Some(Ending::Failed(reason))) => {
                return Err(Error::data(format!("the recipe as it is does not train: {reason}"))
                    .at(Place::file(self.folder_of(first)?))
                    .hint("--steps or --trainings searches on without knowing how long a training takes"));
            }
            (None, _) => 1,
        };
        let mut rungs = Vec::new();
        let mut numbers: Vec<usize> = (0..trials).collect();
        for rung in 0..SHARES.len() {
            let with_ending = |number: usize| {
                let trial = Trial { rung, number };
                Ok((trial, self.ending(trial)?))
            };
            let trials = numbers.iter().copied().map(with_ending).collect::<Result<Rung>>()?;
            let values: Option<Vec<(usize, Option<f64>)>> =
                trials.iter().map(|(trial, ending)| Some((trial.number, ending.as_ref()?.value()))).collect();
            rungs.push(trials);
            match values {
                Some(values) if budget.is_some() => numbers = halving::best(&values),
                _ => break,
            }
        }
        Ok(rungs)
    }

    /// The budget in trainings on all examples, as soon as that is known: of minutes, once the first trial has ended.
    fn budget(&self, first: Option<&Ending>) -> Option<f64> {
        match self.settings.budget {
            Budget::Trainings(trainings) => Some(trainings),
            Budget::Steps(steps) => Some(steps as f64 / self.folder.facts.steps.max(1) as f64),
            Budget::Minutes(minutes) => {
                let seconds = first.filter(|first| first.value().is_some())?.seconds();
                Some(60.0 * minutes * SHARES.first()? / seconds.max(1e-3))
            }
        }
    }

    fn affordable(&self, budget: f64) -> Result<usize> {
        halving::affordable(budget).ok_or_else(|| {
            let least = halving::cost(2) / budget.max(1e-9);
            let (expected, found) = match self.settings.budget {
                Budget::Trainings(trainings) => {
                    (format!("--trainings {:.2}", trainings * least), format!("{trainings}"))
                }
                Budget::Steps(steps) => (format!("--steps {}", (steps as f64 * least).ceil()), format!("{steps}")),
                Budget::Minutes(minutes) => (format!("--minutes {:.1}", minutes * least), format!("{minutes}")),
            };
            Error::usage(format!("budget: expected at least {expected}, found {found}"))
                .hint("that is what two trials cost, and the better of them on more examples")
        })
    }

    /// Whether a budget of time is used up: trials of smaller batches take longer than was planned.
    fn is_spent(&self, rungs: &[Rung]) -> bool {
        let Budget::Minutes(minutes) = self.settings.budget else { return false };
        let spent: f64 = rungs.iter().flatten().filter_map(|(_, ending)| Some(ending.as_ref()?.seconds())).sum();
        spent >= 60.0 * minutes
    }

    fn folder_of(&self, trial: Trial) -> Result<PathBuf> {
        self.folder.of_trial(&trial.name())
    }

    fn ending(&self, trial: Trial) -> Result<Option<Ending>> {
        let folder = self.folder.path.join(folder::TRIALS).join(trial.name());
        let failed = folder.join(FAILED);
        if failed.is_file() {
            let reason = std::fs::read_to_string(&failed).map_err(|cause| Error::reading(&failed, cause))?;
            return Ok(Some(Ending::Failed(reason.trim().to_owned())));
        }
        let outcome = Outcome::read(&folder.join(RUN))?;
        Ok(outcome.map(|outcome| {
            let value = outcome.last_value;
            value.map_or_else(
                || Ending::Failed("nothing was scored".to_owned()),
                |value| Ending::Scored(Box::new(outcome), value),
            )
        }))
    }

    /// The recipe of a trial: on its share of the examples, of which a part is held out.
    fn recipe_of(&self, trial: Trial, folder: &Path) -> Result<Recipe> {
        let mut recipe = self.recipe.clone();
        (recipe.name, recipe.output) = (RUN.to_owned(), folder.to_owned());
        for (name, data) in &mut recipe.data {
            let examples = self.folder.facts.examples.get(name).copied().unwrap_or(0);
            (data.validation, data.validation_limit, data.split) = (None, None, Some(HELD_OUT));
            data.limit = Some((examples as f64 * trial.share()).ceil() as usize);
        }
        let train = &mut recipe.train;
        // No run ends before another, and nothing is told of it but its score.
        (train.patience, train.evaluate_every, train.save_every, train.diagnostics_every) = (None, None, None, 0);
        (train.keep_checkpoints, train.keep_optimizer) = (1, false);
        train.max_steps = train.max_steps.map(|steps| (steps as f64 * trial.share()).ceil() as usize);
        let settings = space::overrides(&self.recipe, &self.space.trial(trial.number))?;
        Recipe::parse(&recipe.to_toml()?, &folder.join("recipe.toml"), &settings)
    }

    fn trainer(&self, trial: Trial, folder: &Path, notify: &mut dyn FnMut(&str)) -> Result<Trainer> {
        let run = folder.join(RUN);
        if run.is_dir() {
            if Trainer::has_checkpoint(&run)? {
                return Trainer::resume(&run, None, &[], &self.kinds, notify);
            }
            remove_folder(&run)?;
        }
        Trainer::with_tasks(self.recipe_of(trial, folder)?, &self.kinds, notify)
    }
}

/// What a trial was, for [`Report`].
fn described(space: &Space, recipe: &Recipe, trial: Trial) -> Result<(Vec<String>, Vec<Setting>)> {
    let settings = space.trial(trial.number);
    Ok((space::overrides(recipe, &settings)?, settings))
}
