//! Comparisons: does sharing an encoder help, and what does it save? One joint model against a model for each task.
//!
//! For each seed the recipe is trained as it is (the joint run) and once for each task with that task alone. The budgets
//! are equal: a separate model takes exactly the updates of its task that the joint run takes, with the same examples,
//! batches, order of batches and beginning of the head. Every run is an ordinary run folder inside the comparison's.
//!
//! ```no_run
//! use polyhead::compare::{Comparison, Opened, Series, default_seeds};
//! use polyhead::recipe::Recipe;
//!
//! let recipe = Recipe::read("recipes/quickstart.toml".as_ref(), &[])?;
//! let seeds = default_seeds(recipe.seed);
//! let comparison = Comparison::open(recipe, &seeds, &mut |note| eprintln!("{note}"))?;
//! for run in comparison.runs()? {
//!     if let Opened::Training(trainer) = comparison.open_run(&run, &mut |note| eprintln!("{note}"))? {
//!         for event in *trainer {
//!             event?;
//!         }
//!     }
//! }
//! println!("{}", polyhead::report::markdown::page(&comparison.conclude()?.document()));
//! # Ok::<(), polyhead::Error>(())
//! ```

mod folder;
mod page;
mod report;
mod runs;
mod selection;
mod selection_page;
mod statistics;
mod strategies;
mod strategies_page;

pub use report::{Budget, Cost, Measure, Parameters, Report, RunReport, Seconds, TaskReport};
pub use runs::{Opened, Series};
pub use selection::{Auxiliary, Confirmed, Seeds, Selection, SelectionReport, SelectionRun, Stage};
pub use statistics::{CONFIDENCE, Paired, Sample, Verdict, two_sided_quantile};
pub use strategies::{
    Entry, EntryReport, Group, GroupReport, PairCosine, Standing, StrategyComparison, StrategyReport, entries,
};

use crate::error::{Error, Result};
use crate::events::Outcome;
use crate::recipe::Recipe;
use crate::tasks::{TASKS, TaskKind};
use folder::Folder;
use std::path::Path;

/// What the joint run of a seed is called in place of a task.
const JOINT: &str = "joint";

/// A comparison that is under way, or done. Holds its folder: no other process can work on it in the meantime.
pub struct Comparison {
    recipe: Recipe,
    kinds: Vec<TaskKind>,
    tasks: Vec<String>,
    folder: Folder,
    kept: Kept,
}

/// Which models of finished runs stay. What was measured is in their metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kept {
    /// Those of the first seed, which the sizes are counted in; no checkpoint.
    #[default]
    FirstSeed,
    /// Those of all seeds, with what the runs keep themselves.
    All,
}

/// One run of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// The task that it trains alone; all of them if none.
    pub task: Option<String>,
}

impl Run {
    /// Its name, and that of its folder: `joint-seed42`, `ner-seed42`.
    pub fn name(&self) -> String {
        format!("{}-seed{}", self.task.as_deref().unwrap_or(JOINT), self.seed)
    }
}

/// The seeds of a comparison that names none: the recipe's and the two after it.
pub fn default_seeds(seed: u64) -> Vec<u64> {
    (0..3).map(|more| seed.saturating_add(more)).collect()
}

impl Comparison {
    /// Opens the folder `OUTPUT/NAME-compare`, or makes it. One that is there must be of the same recipe; seeds may be
    /// added to it. `notify` hears what is worth a line.
    pub fn open(recipe: Recipe, seeds: &[u64], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::with_tasks(recipe, seeds, TASKS, notify)
    }

    /// The same with tasks of one's own.
    pub fn with_tasks(recipe: Recipe, seeds: &[u64], kinds: &[TaskKind], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let tasks = check(&recipe, seeds)?;
        if recipe.train.patience.is_some() {
            notify("train.patience is left out: the runs of a comparison have equal budgets, and none ends early");
        }
        let folder = Folder::open(&recipe, "compare", seeds, notify)?;
        Ok(Self { recipe, kinds: kinds.to_vec(), tasks, folder, kept: Kept::default() })
    }

    /// Decides which models of finished runs stay.
    #[must_use]
    pub fn keeping(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// Compares the finished runs, and writes `comparison.json`, `comparison.html` and `comparison.md`.
    pub fn conclude(&self) -> Result<Report> {
        let mut outcomes = Vec::new();
        for run in self.runs()? {
            let outcome = runs::finished(&self.folder, &run.name())?;
            self.tidy(&run)?;
            outcomes.push((run, outcome));
        }
        let report = Report::new(&self.recipe, &self.folder, &self.tasks, &outcomes, &self.kinds)?;
        runs::write(&self.folder, "comparison", &report, &report.document())?;
        Ok(report)
    }

    fn outcome(&self, run: &Run) -> Result<Option<Outcome>> {
        runs::outcome(&self.folder, &run.name())
    }

    /// The recipe of a run, with the updates that its budget allows.
    fn recipe_of(&self, run: &Run) -> Result<Recipe> {
        let mut recipe = run_recipe(&self.recipe, run, &self.folder.path)?;
        // Whole epochs hold the same batches of a task alone or not; a limit of steps cuts through the turns.
        if let (Some(task), Some(limit)) = (&run.task, self.recipe.train.max_steps) {
            let joint = Run { seed: run.seed, task: None };
            let outcome = self.outcome(&joint)?.ok_or_else(|| {
                Error::usage(format!("expected {} to be finished: it decides the updates of `{task}`", joint.name()))
            })?;
            let updates = outcome.updates.get(task).copied().unwrap_or(0);
            if updates == 0 {
                let message = format!("expected steps of every task, found none of `{task}` among the first {limit}");
                return Err(Error::usage(format!("train.max_steps: {message}")).hint("allow more steps"));
            }
            recipe.train.max_steps = Some(updates);
        }
        Ok(recipe)
    }
}

impl Series for Comparison {
    type Run = Run;

    fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Seed by seed, the joint one first.
    fn runs(&self) -> Result<Vec<Run>> {
        let seeds = self.folder.rounds.iter().flatten();
        Ok(seeds.flat_map(|&seed| runs_of(seed, &self.tasks)).collect())
    }

    fn name(&self, run: &Run) -> String {
        run.name()
    }

    fn is_finished(&self, run: &Run) -> Result<bool> {
        runs::is_finished(&self.folder, &self.recipe_of(run)?)
    }

    /// The joint run of a seed goes first, because it decides how many updates the others take.
    fn open_run(&self, run: &Run, notify: &mut dyn FnMut(&str)) -> Result<Opened> {
        runs::open(&self.folder, self.recipe_of(run)?, &self.kinds, notify)
    }

    fn tidy(&self, run: &Run) -> Result<()> {
        if self.kept == Kept::All || !self.is_finished(run)? {
            return Ok(());
        }
        let first = self.folder.rounds.iter().flatten().next() == Some(&run.seed);
        self.folder.tidy(&run.name(), |name| name.starts_with("checkpoint-") || name == "best" && !first)
    }
}

fn runs_of(seed: u64, tasks: &[String]) -> impl Iterator<Item = Run> {
    let tasks = std::iter::once(None).chain(tasks.iter().cloned().map(Some));
    tasks.map(move |task| Run { seed, task })
}

/// The recipe as one run has it, checked as if a person had written it.
fn run_recipe(recipe: &Recipe, run: &Run, folder: &Path) -> Result<Recipe> {
    let mut recipe = recipe.clone();
    (recipe.name, recipe.seed, recipe.output) = (run.name(), run.seed, folder.to_owned());
    // Budgets are equal: no run ends before another.
    recipe.train.patience = None;
    if let Some(task) = &run.task {
        recipe.tasks.retain(|name, _| name == task);
        recipe.data.retain(|name, _| name == task);
        // Alone, a task has nobody to share with.
        recipe.train.shared_pass = false;
        // Of one task the mean and the worst are its own score; the rule may have named another task.
        recipe.train.best = "mean".to_owned();
    }
    Recipe::parse(&recipe.to_toml()?, &folder.join(run.name()).join("recipe.toml"), &[])
}

/// Whether the recipe and the seeds can be compared; the tasks in order. Nothing is written before this.
fn check(recipe: &Recipe, seeds: &[u64]) -> Result<Vec<String>> {
    let tasks: Vec<String> = recipe.tasks.keys().cloned().collect();
    if let [only] = tasks.as_slice() {
        return Err(Error::usage(format!("tasks: expected two at least to share an encoder, found only `{only}`")));
    }
    if tasks.iter().any(|task| task == JOINT) {
        return Err(Error::usage("tasks.joint: the joint runs of a comparison have this name")
            .hint("give the task another name"));
    }
    runs::check(recipe, seeds)?;
    for seed in seeds {
        for run in runs_of(*seed, &tasks) {
            run_recipe(recipe, &run, &recipe.output)?;
        }
    }
    Ok(tasks)
}
