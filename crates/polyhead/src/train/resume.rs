//! What must hold for a run to go on: the recipe it began with (or a change that is named), the same data, the same precision;
//! and what a named change does to the rest of the run.

use super::State;
use super::origin::Origin;
use super::record::DataFile;
use super::run_folder::RECIPE;
use crate::error::{Error, Place, Result};
use crate::events::{Plan, is_finished};
use crate::optim::Schedule;
use crate::recipe::{Difference, LearningRate, Recipe, differences};
use std::path::Path;

/// The recipe to go on with: that of a file, or the one in the run folder, with overrides. Every key in which it differs
/// from `known`, what the run has been trained with, must be named by an override.
pub(super) fn recipe(
    run: &Path,
    known: &Recipe,
    file: Option<&Path>,
    overrides: &[String],
    origin: &Origin,
) -> Result<Recipe> {
    let stored = run.join(RECIPE);
    let mut recipe = match file {
        Some(file) => Recipe::read(file, overrides)?,
        None if stored.is_file() => Recipe::read(&stored, overrides)?,
        None => Recipe::parse(&known.to_toml()?, &stored, overrides)?,
    };
    if recipe.train.learning_rate == LearningRate::Auto {
        // What it came to when the run began.
        recipe.train.learning_rate = known.train.learning_rate;
    }
    let named = |key: &str| {
        overrides.iter().filter_map(|pair| pair.split_once('=')).any(|(name, _)| {
            let name = name.trim();
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let changed: Vec<Difference> = differences(&known.to_toml()?, &recipe.to_toml()?)?
        .into_iter()
        // Where the folder lies and what it is called changes nothing.
        .filter(|Difference { key, .. }| !matches!(key.as_str(), "output" | "name") && !named(key))
        .collect();
    if changed.is_empty() {
        adopt(&mut recipe, known, origin);
        return Ok(recipe);
    }
    let listed = |one: &Difference| format!("{}: the run has {}, the recipe {}", one.key, one.old, one.new);
    let listed = changed.iter().map(listed).collect::<Vec<_>>().join("; ");
    let place = Place::file(file.unwrap_or(&stored));
    if file.is_some() {
        return Err(Error::usage(format!("expected the recipe of the run, found another: {listed}"))
            .at(place)
            .hint("name each change that you mean, as in --set train.epochs=5; or train the recipe as a new run"));
    }
    let set: Vec<String> = changed.iter().map(|one| format!("--set {}={}", one.key, one.new)).collect();
    Err(Error::usage(format!("the recipe in the run folder was edited: {listed}"))
        .at(place)
        .hint(format!("if you mean it: {}; or undo it, and the run goes on as it was", set.join(" "))))
}

/// The recipe of a run that did not come to its first checkpoint.
pub(super) fn begun(run: &Path, file: Option<&Path>, overrides: &[String], origin: &Origin) -> Result<Recipe> {
    let stored = run.join(RECIPE);
    if !stored.is_file() {
        return Err(Error::missing("expected a run folder, found no recipe.toml in it")
            .at(Place::file(run))
            .hint("`polyhead train RECIPE` begins a run"));
    }
    if is_finished(run) {
        return Err(Error::missing(
            "the run is finished, and its checkpoints were removed: there is nothing to go on from",
        )
        .at(Place::file(run))
        .hint("its recipe.toml trains again, as a new run"));
    }
    recipe(run, &Recipe::read(&stored, &[])?, file, overrides, origin)
}

/// The data paths that a changed recipe names are of where this process is, not of where the run was started.
fn adopt(recipe: &mut Recipe, known: &Recipe, origin: &Origin) {
    for (name, data) in &mut recipe.data {
        let known = known.data.get(name);
        if known.is_none_or(|known| known.train != data.train) {
            data.train = data.train.map(|path| origin.adopt(path));
        }
        if let Some(validation) = &mut data.validation
            && known.is_none_or(|known| known.validation.as_ref() != Some(validation))
        {
            *validation = validation.map(|path| origin.adopt(path));
        }
    }
}

/// Refuses data that changed since, but for what the overrides name.
pub(super) fn check_data(then: &[DataFile], now: &[DataFile], old: &Recipe, new: &Recipe) -> Result<()> {
    // What decides which files are read.
    let named = |recipe: &Recipe, file: &DataFile| {
        let data = recipe.data.get(&file.task)?;
        let of_train = file.split == "train";
        Some(if of_train {
            (Some(data.train.clone()), data.limit)
        } else {
            (data.validation.clone(), data.validation_limit)
        })
    };
    let same_split = |a: &DataFile, b: &DataFile| (&a.task, &a.split) == (&b.task, &b.split);
    let fault = |file: &DataFile, message: String| {
        let message = format!("data.{}.{}: {message}", file.task, file.split);
        let error = Error::data(message).at(Place::file(&file.path));
        Err(error.hint("put the files back as they were, or train a new run"))
    };
    for was in then {
        let mut of_split = now.iter().filter(|is| same_split(is, was)).peekable();
        if of_split.peek().is_none() || named(old, was) != named(new, was) {
            continue;
        }
        let Some(is) = of_split.find(|is| is.path == was.path) else {
            return fault(was, "the run was trained on this file, and it is not among its files any more".into());
        };
        if is.sha256 != was.sha256 {
            let bytes = format!("it had {} bytes, now {}", was.bytes, is.bytes);
            return fault(is, format!("the file is not what the run was trained on: {bytes}"));
        }
    }
    let added = now.iter().find(|is| {
        let mut of_split = then.iter().filter(|was| same_split(is, was)).peekable();
        of_split.peek().is_some_and(|was| named(old, was) == named(new, was)) && of_split.all(|was| was.path != is.path)
    });
    added
        .map_or(Ok(()), |file| fault(file, "the run was not trained on this file, which is new among its files".into()))
}

/// Refuses to go beyond the end of a run whose optimiser's state was dropped there.
pub(super) fn check_end(run: &Path, checkpoint: &Path, state: &State, known: &Recipe, new: &Recipe) -> Result<()> {
    if super::checkpoint::has_optimizer(checkpoint) {
        return Ok(());
    }
    let changed = differences(&known.to_toml()?, &new.to_toml()?)?;
    let longer =
        changed.iter().filter(|one| matches!(one.key.as_str(), "train.epochs" | "train.max_steps" | "train.patience"));
    let longer: Vec<String> = longer.map(|one| format!("{} = {}", one.key, one.new)).collect();
    Err(Error::usage(format!(
        "the run is finished after {} steps and can't go on to {}: its optimiser's state was dropped at the end",
        state.step,
        longer.join(", ")
    ))
    .at(Place::file(run))
    .hint(format!(
        "train the recipe again with them (train.keep_optimizer=true keeps the state this time); or begin a new run from \
         these weights: --set encoder.checkpoint={}",
        checkpoint.display()
    )))
}

/// What a changed recipe does to the run from here on, for people.
///
/// The rule: the learning rate is a pure function of the step and the recipe. A changed recipe has its own from the next step
/// on, as if the run had had it from its beginning; so the rate may jump, and that is reported.
pub(super) fn consequences(
    state: &State,
    known: &Recipe,
    new: &Recipe,
    plan: &Plan,
    other_batches: &[String],
) -> Vec<String> {
    let mut notes = Vec::new();
    let now = Schedule { steps: plan.steps, warmup: plan.warmup_steps };
    let then = match state.steps {
        0 => now,
        steps => Schedule { steps, warmup: state.warmup_steps },
    };
    // The run has a number, and `recipe` has put it in the place of `auto`.
    let peak = |recipe: &Recipe| recipe.train.learning_rate.fixed().unwrap_or_default();
    let rate = |recipe: &Recipe, schedule: Schedule| peak(recipe) * schedule.factor(state.step);
    let (was, is) = (rate(known, then), rate(new, now));
    if state.step < now.steps && (was - is).abs() > 1e-9 * was.abs().max(is.abs()) {
        let of = |schedule: Schedule| format!("{} steps, {} of them warm-up", schedule.steps, schedule.warmup);
        notes.push(format!(
            "the learning rate follows the changed recipe as if the run had had it from its beginning: that of step {} is \
             {is:.3e} ({}), where it would have been {was:.3e} ({})",
            state.step + 1,
            of(now),
            of(then)
        ));
    }
    if state.taken > 0 && !other_batches.is_empty() {
        notes.push(format!(
            "{} changes the batches of the epoch under way after {} of its steps: until it ends some examples may come twice \
             and others not at all",
            other_batches.join(", "),
            state.taken
        ));
    }
    notes
}

/// The keys in which two recipes differ and which decide the batches of an epoch.
pub(super) fn changes_batches(known: &Recipe, new: &Recipe) -> Result<Vec<String>> {
    let decides = |key: &str| {
        let of_task = key.starts_with("tasks.") && !key.ends_with(".loss_weight") && !key.ends_with(".dropout");
        let of_sampler = key == "train.sample" || key.starts_with("train.sample.");
        of_task
            || of_sampler
            || key.starts_with("data.")
            || matches!(key, "seed" | "train.order" | "train.accumulate" | "train.shared_pass")
    };
    let changed = differences(&known.to_toml()?, &new.to_toml()?)?;
    Ok(changed.into_iter().map(|one| one.key).filter(|key| decides(key)).collect())
}
