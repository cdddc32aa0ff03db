//! Training: an iterator of events. One loop serves the command line, the tests and, later, the server.
//!
//! ```no_run
//! use polyhead::recipe::Recipe;
//! use polyhead::train::{Event, Trainer};
//!
//! let recipe = Recipe::read("recipes/quickstart.toml".as_ref(), &[])?;
//! for event in Trainer::new(recipe, &mut |note| eprintln!("{note}"))? {
//!     if let Event::Step(step) = event? {
//!         for part in &step.tasks {
//!             println!("step {} of {}: {} loss {:.3}", step.step, step.steps, part.task, part.loss.unwrap_or(f64::NAN));
//!         }
//!     }
//! }
//! # Ok::<(), polyhead::Error>(())
//! ```

mod batches;
mod check;
mod checkpoint;
mod counters;
pub mod diagnostics;
mod evaluate;
mod facts;
mod feature_cache;
mod gradients;
mod memory;
mod origin;
mod plan;
mod prepare;
pub mod record;
mod resume;
mod run_folder;
mod shared;
mod splits;
mod state;
mod step;
mod warnings;
mod windows;

pub use origin::Origin;
pub use prepare::{Prepared, TaskData, prepare};
pub use shared::Unit;
pub use splits::DataSource;
pub use windows::TrainingWindow;

pub use crate::events::{
    Checkpoint, Counts, Diagnosed, Evaluated, Event, Finished, Lost, ParameterCounts, Plan, Sample, Step, StepTask,
    TaskPlan, Warning, WarningKind,
};

use crate::balance::{Balancer, Needs};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::optim::{Optimizer, Rates, Schedule};
use crate::recipe::{LearningRate, Recipe};
use crate::tasks::{TASKS, TaskKind};
use batches::Batches;
use check::GradientFlowCheck;
use counters::Counters;
use diagnostics::Groups;
use evaluate::Ending;
use polyhead_kernels::rng::Key;
use record::Environment;
use run_folder::{Fixed, RunFolder};
use state::State;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Trains one encoder with a head for each task of a recipe; iterate over it.
pub struct Trainer {
    recipe: Recipe,
    model: Model,
    task_data: Vec<TaskData>,
    plan: Plan,
    batches: Batches,
    balancer: Box<dyn Balancer>,
    /// The task that the balancer's target names.
    target: Option<usize>,
    schedule: Schedule,
    /// The peak of the learning rate.
    learning_rate: f64,
    optimizer: Optimizer,
    key: Key,
    run: RunFolder,
    state: State,
    movement: Option<GradientFlowCheck>,
    groups: Groups,
    pending: VecDeque<Event>,
    /// Whether no event is to come besides the pending ones.
    over: bool,
    /// The step of the newest checkpoint.
    saved: Option<usize>,
    /// Set from outside to stop after the step under way.
    stop: Arc<AtomicBool>,
    started: Instant,
    /// Seconds that earlier processes spent.
    before: f64,
}

impl Trainer {
    /// Gets everything ready: encoder, data, features, plan, run folder. `notify` hears what is worth a line.
    pub fn new(recipe: Recipe, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::with_tasks(recipe, TASKS, notify)
    }

    /// The same with tasks of one's own.
    pub fn with_tasks(recipe: Recipe, kinds: &[TaskKind], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let prepared = prepare(&recipe, kinds, notify)?;
        Self::begin(recipe, prepared, notify, |fixed, _| RunFolder::create(fixed))
    }

    /// Before the first step, in a folder that `open` makes or clears.
    fn begin(
        mut recipe: Recipe,
        prepared: Prepared,
        notify: &mut dyn FnMut(&str),
        open: impl FnOnce(&Fixed, &mut dyn FnMut(&str)) -> Result<RunFolder>,
    ) -> Result<Self> {
        if recipe.train.learning_rate == LearningRate::Auto {
            // The run keeps the number: whatever a later version would choose, it goes on with this one.
            let width = prepared.model.encoder.hidden_size();
            let frozen = recipe.freezes_encoder();
            let rate = recipe.learning_rate(width);
            let encoder = if frozen { "a frozen encoder" } else { "an encoder" };
            notify(&format!("train.learning_rate: {rate:e}, for {encoder} with hidden states of {width} numbers"));
            recipe.train.learning_rate = LearningRate::Fixed(rate);
        }
        let plan = Plan::new(&recipe, &prepared)?;
        memory::check(&recipe, &prepared, notify)?;
        let environment = environment(&recipe, &plan, &prepared);
        let fixed = Fixed { recipe: &recipe, environment: &environment, parameters: &prepared.model.parameters };
        let run = open(&fixed, notify)?;
        let state = State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            recipe: recipe.to_toml()?,
            precision: plan.precision.clone(),
            data: prepared.data.clone(),
            counters: Counters::new(&plan),
            steps: plan.steps,
            warmup_steps: plan.warmup_steps,
            ..State::default()
        };
        let mut trainer = Self::assemble(recipe, prepared, plan, run, state)?;
        trainer.warn(notify);
        trainer.begin_epoch();
        trainer.emit(Event::Planned(trainer.plan.clone()))?;
        Ok(trainer)
    }

    /// Goes on with a run that was stopped, killed or cut off, from its newest checkpoint that is whole: bit-identical, as if it
    /// had never stopped. One that did not come to its first checkpoint begins again in its folder. The recipe is the run's
    /// own, or that of a file, with overrides (see [`Recipe::read`]).
    ///
    /// # Errors
    /// Another process trains in this folder; no checkpoint is whole; the recipe differs from the run's in a key that no
    /// override names; the data changed; the run is to go on beyond its end and its optimiser's state was dropped there.
    pub fn resume(
        run: &Path,
        file: Option<&Path>,
        overrides: &[String],
        kinds: &[TaskKind],
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let held = RunFolder::lock(run)?;
        let origin = Origin::of(run);
        if checkpoint::list(run)?.is_empty() {
            let recipe = resume::begun(run, file, overrides, &origin)?;
            notify("the run did not come to its first checkpoint: it begins again in its folder");
            let prepared = prepare::prepare_from(&recipe, kinds, &origin, None, notify)?;
            return Self::begin(recipe, prepared, notify, |fixed, notify| RunFolder::again(run, held, fixed, notify));
        }
        let (folder, mut state) = checkpoint::newest(run, notify)?;
        let old = Recipe::parse(&state.recipe, &run.join(run_folder::RECIPE), &[])?;
        let recipe = resume::recipe(run, &old, file, overrides, &origin)?;
        let precision = recipe.train.precision.resolve().name();
        if precision != state.precision && old.train.precision == recipe.train.precision {
            return Err(Error::usage(format!(
                "the run was computed in {}, this machine takes {precision}",
                state.precision
            ))
            .hint(format!("--set train.precision={} goes on as it was", state.precision)));
        }
        let ended = state.done;
        state.done &= state.is_at_end(&recipe);
        if ended && !state.done {
            resume::check_end(run, &folder, &state, &old, &recipe)?;
        }
        if state.version != env!("CARGO_PKG_VERSION") {
            notify(&format!("this run was begun by version {}: the bits may differ", state.version));
        }
        let prepared = prepare::prepare_from(&recipe, kinds, &origin, Some((&folder, state.about.clone())), notify)?;
        resume::check_data(&state.data, &prepared.data, &old, &recipe)?;
        if state.losses.len() != prepared.task_data.len() {
            let (had, has) = (state.losses.len(), prepared.task_data.len());
            return Err(Error::usage(format!("expected the {had} tasks of the run, found {has}"))
                .hint("a run with other tasks is a new run; its encoder.checkpoint can be this run's best model"));
        }
        let mark = state.metrics.clone().unwrap_or_default();
        let plan = Plan::new(&recipe, &prepared)?;
        memory::check(&recipe, &prepared, notify)?;
        let other_batches = resume::changes_batches(&old, &recipe)?;
        resume::consequences(&state, &old, &recipe, &plan, &other_batches).iter().for_each(|note| notify(note));
        let other_batches = !other_batches.is_empty();
        let environment = environment(&recipe, &plan, &prepared);
        let fixed = Fixed { recipe: &recipe, environment: &environment, parameters: &prepared.model.parameters };
        let run = RunFolder::open(run, held, &mark, &fixed, notify)?;
        state.recipe = recipe.to_toml()?;
        state.precision = precision.to_owned();
        state.data.clone_from(&prepared.data);
        state.counters = state.counters.resumed(&plan);
        (state.steps, state.warmup_steps) = (plan.steps, plan.warmup_steps);
        let step = state.step;
        let mut trainer = Self::assemble(recipe, prepared, plan, run, state)?;
        trainer.warn(notify);
        if !trainer.state.done {
            let (optimizer, balancer) = (&mut trainer.optimizer, &mut *trainer.balancer);
            checkpoint::restore(&folder, optimizer, balancer, &trainer.model, &trainer.state)?;
        }
        let choices = std::mem::take(&mut trainer.state.choices);
        trainer.adopt(choices)?;
        trainer.find_place(other_batches);
        trainer.saved = Some(step);
        let planned = Event::Planned(trainer.plan.clone());
        if trainer.run.has(&trainer.plan) {
            trainer.pending.push_back(planned);
        } else {
            trainer.emit(planned)?;
        }
        trainer.emit(Event::Resumed(Checkpoint { step, checkpoint: folder }))?;
        Ok(trainer)
    }

    /// Whether a checkpoint is exactly what was written; an error says what is not.
    pub fn check(folder: &Path) -> Result<()> {
        checkpoint::check(folder)
    }

    /// Whether a run folder has any checkpoint, whole or not.
    pub fn has_checkpoint(run: &Path) -> Result<bool> {
        Ok(!checkpoint::list(run)?.is_empty())
    }

    fn assemble(recipe: Recipe, prepared: Prepared, plan: Plan, run: RunFolder, state: State) -> Result<Self> {
        let Prepared { model, task_data, units, .. } = prepared;
        let (mut batches, mut balancer) = (Batches::new(&recipe, &units, &task_data)?, recipe.balancer()?);
        batches.restore(&state.sampler)?;
        balancer.restore(&state.balancer)?;
        let target = balancer.target().and_then(|target| task_data.iter().position(|data| data.name == target));
        Ok(Self {
            batches,
            balancer,
            target,
            schedule: Schedule::new(plan.steps, recipe.train.warmup),
            learning_rate: recipe.learning_rate(model.encoder.hidden_size()),
            optimizer: Optimizer::new(Default::default(), recipe.train.weight_decay, recipe.train.max_grad_norm)
                .with_rates(Rates { head: recipe.train.head_rate, layer_decay: recipe.train.layer_decay }),
            key: Key::seed(recipe.seed),
            movement: Some(GradientFlowCheck::new(&model.parameters, task_data.len())?),
            groups: Groups::new(&model.parameters),
            pending: VecDeque::new(),
            over: false,
            saved: None,
            stop: Arc::default(),
            started: Instant::now(),
            before: state.seconds,
            recipe,
            model,
            task_data,
            plan,
            run,
            state,
        })
    }

    /// Tells what in the data is probably a mistake.
    fn warn(&self, notify: &mut dyn FnMut(&str)) {
        let compares = self.balancer.needs() != Needs::Nothing;
        if let ([data], true) = (self.task_data.as_slice(), compares) {
            let name = &self.recipe.train.balance.name;
            notify(&format!(
                "train.balance: `{name}` compares tasks and changes nothing: `{}` is the only one",
                data.name
            ));
        }
        if !self.plan.shared.is_empty() && matches!(self.balancer.needs(), Needs::Gradients | Needs::Products) {
            let name = &self.recipe.train.balance.name;
            notify(&format!(
                "train.shared_pass: `{name}` needs the gradient of each task by itself: tasks share batches, each with an \
                 encoder pass of its own"
            ));
        }
        self.plan.warnings.iter().for_each(|warning| notify(&warning.to_string()));
    }

    /// Once `flag` is set, the step under way is finished, a checkpoint saved, and [`Event::Stopped`] is the last event.
    pub fn stop_when(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// The folder of this run.
    pub fn folder(&self) -> &Path {
        self.run.path()
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn begin_epoch(&mut self) {
        self.state.taken = 0;
        self.state.losses = vec![(0.0, 0); self.task_data.len()];
        self.state.cursors.resize(self.task_data.len(), Default::default());
        self.batches.begin_passes(&mut self.state.cursors);
        self.state.cursors_of_epoch.clone_from(&self.state.cursors);
    }

    /// Finds the place of a resumed run within its epoch, where it does not follow from the checkpoint: a version wrote it in
    /// which every epoch was one pass over each task, or the recipe now makes other batches.
    fn find_place(&mut self, other_batches: bool) {
        if self.state.cursors_of_epoch.is_empty() {
            let begins = state::Cursor { pass: self.state.epoch, taken: 0 };
            self.state.cursors_of_epoch = vec![begins; self.task_data.len()];
        } else if !other_batches {
            return;
        }
        self.state.cursors.clone_from(&self.state.cursors_of_epoch);
        let State { epoch, taken, .. } = self.state;
        self.batches.skip(&mut self.state.cursors, epoch, taken);
    }

    /// Whether every step of the epoch under way is taken.
    fn epoch_is_over(&self) -> bool {
        self.state.taken >= self.plan.steps_per_epoch
    }

    /// Tells an event; what belongs to the run and not to this process goes to `metrics.jsonl` too.
    fn emit(&mut self, event: Event) -> Result<()> {
        if event.is_recorded() {
            self.run.record(&event)?;
        }
        self.pending.push_back(event);
        Ok(())
    }

    /// Writes a checkpoint of this moment.
    fn save(&mut self) -> Result<()> {
        self.state.metrics = Some(self.run.sync()?);
        self.state.seconds = self.before + self.started.elapsed().as_secs_f64();
        self.state.updates = self.optimizer.updates();
        (self.state.sampler, self.state.balancer) = (self.batches.state(), self.balancer.state());
        self.state.about.clone_from(&self.model.about);
        // What has ended does not go on: its last checkpoint says so, and the optimiser's state is most of its size.
        let (learnt, keep) = match self.state.done && !self.recipe.train.keep_optimizer {
            true => (None, 1),
            false => (Some((&self.optimizer, &*self.balancer)), self.recipe.train.keep_checkpoints),
        };
        let checkpoint = checkpoint::save(&self.run, &self.model, learnt, &self.state, keep)?;
        self.run.write_trainer_state()?;
        self.saved = Some(self.state.step);
        self.emit(Event::Saved(Checkpoint { step: self.state.step, checkpoint }))
    }

    fn advance(&mut self) -> Result<()> {
        let limit = self.recipe.train.max_steps.unwrap_or(usize::MAX);
        if self.state.done {
            return self.finish();
        }
        if self.stop.load(Ordering::SeqCst) {
            return self.stop();
        }
        if self.state.evaluation_due {
            return self.evaluate_within();
        }
        if self.state.step < limit && !self.epoch_is_over() {
            self.step()?;
            let due = |every: Option<usize>| every.is_some_and(|every| self.state.step.is_multiple_of(every));
            let (evaluate, save) = (due(self.recipe.train.evaluate_every), due(self.recipe.train.save_every));
            // At the end of an epoch both come anyway.
            if !self.epoch_is_over() && self.state.step < limit {
                if evaluate {
                    self.state.evaluation_due = true;
                    self.evaluate_within()?;
                }
                if save && !self.over && !self.state.done {
                    self.save()?;
                }
            }
            return Ok(());
        }
        let whole = self.epoch_is_over();
        if let (true, Some(movement)) = (whole, &self.movement) {
            movement.epoch(self.state.taken, &self.task_data)?;
        }
        if self.evaluate()? == Ending::Stopped {
            return self.stop();
        }
        self.state.epoch += usize::from(whole);
        self.state.done = self.state.is_at_end(&self.recipe);
        if whole {
            self.begin_epoch();
        }
        self.save()
    }

    /// Stops where a resumed run can go on.
    fn stop(&mut self) -> Result<()> {
        if self.saved != Some(self.state.step) {
            self.save()?;
        }
        self.over = true;
        let step = self.state.step;
        self.emit(Event::Stopped(Checkpoint { step, checkpoint: checkpoint::folder(self.run.path(), step) }))
    }

    fn finish(&mut self) -> Result<()> {
        self.over = true;
        let (best_value, best_epoch) = self.state.best.unwrap_or((0.0, self.state.epoch));
        self.emit(Event::Finished(Finished {
            folder: self.run.path().to_owned(),
            model: self.run.best(),
            best_epoch,
            best_value,
            rule: plan::best_rule(&self.recipe.train.best, &self.state.best_scores),
            scores: self.state.best_scores.clone(),
            samples: self.state.best_samples.clone(),
            counts: self.state.counters.counts(),
            steps: self.state.step,
            stopped_early: self.state.stopped_early(&self.recipe),
            tokens: self.state.tokens,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        }))?;
        self.run.write_trainer_state()?;
        self.run.sync().map(|_| ())
    }
}

fn environment(recipe: &Recipe, plan: &Plan, prepared: &Prepared) -> Environment {
    Environment::new(recipe, plan, prepared.model.about.source.as_ref(), &prepared.data)
}

impl Iterator for Trainer {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending.is_empty() && !self.over {
            if let Err(error) = self.advance() {
                self.over = true;
                self.pending.clear();
                return Some(Err(error));
            }
        }
        self.pending.pop_front().map(Ok)
    }
}
