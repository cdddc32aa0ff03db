//! Training: an iterator of events. One loop serves the command line, the tests and, later, the server.
//!
//! ```no_run
//! use polyhead::recipe::Recipe;
//! use polyhead::train::{Event, Trainer};
//!
//! let recipe = Recipe::read("recipes/quickstart.toml".as_ref(), &[])?;
//! for event in Trainer::new(recipe, &mut |note| eprintln!("{note}"))? {
//!     if let Event::Step(step) = event? {
//!         println!("step {} of {}: {} loss {:.3}", step.step, step.steps, step.task, step.loss);
//!     }
//! }
//! # Ok::<(), polyhead::Error>(())
//! ```

mod check;
pub mod counters;
pub mod diagnostics;
mod event;
mod feature_cache;
mod plan;
mod prepare;
pub mod record;
mod run_folder;

pub use event::{Evaluated, Event, Finished, Sample, Step};
pub use plan::{Plan, TaskPlan};
pub use prepare::{Lane, Lost, Prepared, TrainingWindow, prepare};

use crate::encoders::Pass;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::optim::{Optimizer, Schedule};
use crate::order;
use crate::recipe::Recipe;
use crate::tasks::{Score, TASKS, TaskKind};
use crate::{batch::Features, mix};
use check::MovementCheck;
use polyhead_kernels::rng::Key;
use run_folder::RunFolder;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Instant;

/// Trains one encoder with a head for each task of a recipe; iterate over it.
pub struct Trainer {
    recipe: Recipe,
    model: Model,
    lanes: Vec<Lane>,
    plan: Plan,
    schedule: Schedule,
    optimizer: Optimizer,
    key: Key,
    run: RunFolder,
    state: State,
    movement: Option<MovementCheck>,
    pending: VecDeque<Event>,
    started: Instant,
}

/// Everything that changes while training, besides the parameters and their moments.
struct State {
    /// Steps taken.
    step: usize,
    /// The epoch under way, from 0.
    epoch: usize,
    /// The tasks of this epoch's steps that are still to come.
    upcoming: VecDeque<usize>,
    /// The batches of each task that are still to come in this epoch: indices of its windows.
    batches: Vec<VecDeque<Vec<usize>>>,
    /// Sum and count of each task's losses in this epoch.
    losses: Vec<(f64, usize)>,
    /// Real tokens so far.
    tokens: u64,
    /// The best value so far and its epoch (from 1).
    best: Option<(f64, usize)>,
    best_scores: BTreeMap<String, Score>,
    phase: Phase,
}

#[derive(PartialEq)]
enum Phase {
    Training,
    Done,
}

impl Trainer {
    /// Gets everything ready: encoder, data, features, plan, run folder. `notify` hears what is worth a line.
    pub fn new(recipe: Recipe, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::with_tasks(recipe, TASKS, notify)
    }

    /// The same with tasks of one's own.
    pub fn with_tasks(recipe: Recipe, kinds: &[TaskKind], notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let Prepared { model, lanes } = prepare(&recipe, kinds, notify)?;
        let plan = Plan::new(&recipe, &lanes);
        let schedule = Schedule::new(plan.steps, recipe.train.warmup);
        let optimizer = Optimizer::new(Default::default(), recipe.train.weight_decay, recipe.train.max_grad_norm);
        let run = RunFolder::create(&recipe)?;
        let key = Key::seed(recipe.seed);
        let movement = Some(MovementCheck::new(&model.parameters, lanes.len())?);
        let state = State {
            step: 0,
            epoch: 0,
            upcoming: VecDeque::new(),
            batches: Vec::new(),
            losses: Vec::new(),
            tokens: 0,
            best: None,
            best_scores: BTreeMap::new(),
            phase: Phase::Training,
        };
        let pending = VecDeque::from([Event::Planned(plan.clone())]);
        let started = Instant::now();
        let mut trainer =
            Self { recipe, model, lanes, plan, schedule, optimizer, key, run, state, movement, pending, started };
        trainer.begin_epoch();
        Ok(trainer)
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
        let key = self.key.purpose("epoch").with(self.state.epoch as u64);
        let batches = |lane: &Lane| {
            let lengths: Vec<usize> = lane.windows.iter().map(|window| window.features.ids.len()).collect();
            let key = key.purpose("order").purpose(&lane.name);
            order::batches(&lengths, lane.batch_size, self.recipe.train.order, key)
        };
        self.state.batches = self.lanes.iter().map(batches).collect();
        let counts: Vec<usize> = self.state.batches.iter().map(VecDeque::len).collect();
        if let Some(mix) = mix::find(&self.recipe.train.mix) {
            self.state.upcoming = (mix.epoch)(&counts, key.purpose("mix")).into();
        }
        self.state.losses = vec![(0.0, 0); self.lanes.len()];
    }

    /// One step: a batch of one task, forward, backward, update.
    fn step(&mut self, lane_index: usize) -> Result<Event> {
        let began = Instant::now();
        let lane = &self.lanes[lane_index];
        let task = &self.model.tasks[lane_index];
        let picks = self.state.batches[lane_index].pop_front().unwrap_or_default();
        let windows: Vec<&Features> = picks.iter().map(|&pick| &lane.windows[pick].features).collect();
        let pass = Pass::Train(self.key.purpose("dropout").with(self.state.step as u64));
        let loss = self.model.loss(task, &windows, self.recipe.train.padding, pass)?;
        let value = f64::from(loss.value.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::internal("the loss is not finite")
                .adding(at_step(lane, &picks, self.state.step))
                .hint("a smaller train.learning_rate helps; the model was not updated"));
        }
        let weighted = if lane.loss_weight == 1.0 { loss.value } else { (loss.value * lane.loss_weight)? };
        let gradients = self.model.parameters.backward(&weighted)?;
        let lr = self.recipe.train.learning_rate * self.schedule.factor(self.state.step);
        let stepped = self.optimizer.step(&self.model.parameters, &gradients, lr);
        let grad_norm = stepped.map_err(|error| error.adding(at_step(lane, &picks, self.state.step)))?;
        if let Some(movement) = &mut self.movement {
            movement.saw(lane_index, &self.model.parameters, &gradients);
            if movement.complete() {
                movement.verdict(&self.model.parameters)?;
                self.movement = None;
            }
        }
        let tokens = loss.tokens;
        let (sum, count) = &mut self.state.losses[lane_index];
        *sum += value;
        *count += 1;
        self.state.step += 1;
        self.state.tokens += tokens as u64;
        Ok(Event::Step(Step {
            step: self.state.step,
            steps: self.plan.steps,
            epoch: self.state.epoch + 1,
            task: lane.name.clone(),
            loss: value,
            lr,
            grad_norm,
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        }))
    }

    /// The end of an epoch: scores, and the model kept if they are the best yet.
    fn end_epoch(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut scores = BTreeMap::new();
        let mut samples = Vec::new();
        for (lane, task) in self.lanes.iter().zip(&self.model.tasks) {
            let Some(validation) = &lane.validation else { continue };
            let mut seen = 0;
            let score = self.model.run(task, |task, runner| {
                task.evaluate(validation, runner, &mut |answer, text| {
                    // The last few examples stand for the rest: any choice by result would flatter.
                    seen += 1;
                    if seen + 3 > validation.len {
                        samples.push(Sample { task: lane.name.clone(), answer, text });
                    }
                })
            })?;
            scores.insert(lane.name.clone(), score);
        }
        let epoch = self.state.epoch + 1;
        let value = plan::best_value(&self.recipe.train.best, &scores);
        let improved = match (value, self.state.best) {
            (Some(value), Some((best, _))) => value > best,
            _ => true,
        };
        if improved {
            self.state.best = Some((value.unwrap_or(0.0), epoch));
            self.state.best_scores.clone_from(&scores);
            self.model.about.epoch = Some(epoch);
            self.model.about.scores = scores.iter().map(|(name, score)| (name.clone(), score.values.clone())).collect();
            self.model.save(&self.run.best())?;
        }
        let losses = self.lanes.iter().zip(&self.state.losses).filter(|(_, (_, count))| *count > 0);
        let losses = losses.map(|(lane, (sum, count))| (lane.name.clone(), sum / *count as f64)).collect();
        let seconds = began.elapsed().as_secs_f64();
        self.pending.push_back(Event::Evaluated(Evaluated {
            epoch,
            losses,
            scores,
            value,
            improved,
            seconds,
            samples,
        }));
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        let limit = self.recipe.train.max_steps.unwrap_or(usize::MAX);
        if self.state.step < limit
            && let Some(lane) = self.state.upcoming.pop_front()
        {
            let event = self.step(lane)?;
            self.pending.push_back(event);
            return Ok(());
        }
        self.end_epoch()?;
        self.state.epoch += 1;
        if self.state.epoch < self.recipe.train.epochs && self.state.step < limit {
            self.begin_epoch();
            return Ok(());
        }
        self.state.phase = Phase::Done;
        let (best_value, best_epoch) = self.state.best.unwrap_or((0.0, self.state.epoch));
        self.pending.push_back(Event::Finished(Finished {
            folder: self.run.path().to_owned(),
            model: self.run.best(),
            best_epoch,
            best_value,
            rule: plan::best_rule(&self.recipe.train.best, &self.state.best_scores),
            scores: self.state.best_scores.clone(),
            steps: self.state.step,
            tokens: self.state.tokens,
            seconds: self.started.elapsed().as_secs_f64(),
        }));
        Ok(())
    }
}

/// A step for a message: whose it is and the places of its examples.
fn at_step(lane: &Lane, picks: &[usize], step: usize) -> String {
    let places: Vec<String> =
        picks.iter().filter_map(|&pick| Some(lane.place(lane.windows.get(pick)?.example)?.to_string())).collect();
    format!("`{}` at step {}; its examples: {}", lane.name, step + 1, places.join(", "))
}

impl Iterator for Trainer {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending.is_empty() && self.state.phase == Phase::Training {
            if let Err(error) = self.advance() {
                self.state.phase = Phase::Done;
                return Some(Err(error));
            }
        }
        let event = self.pending.pop_front()?;
        Some(self.run.record(&event).map(|()| event))
    }
}
