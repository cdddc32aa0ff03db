//! The kept model of a run and its data, opened again: what can't be had becomes a sentence of the report.

use super::Depth;
use super::run::Run;
use crate::encoders::Precision;
use crate::error::Error;
use crate::hub::{HubOptions, Network};
use crate::infer::Session;
use crate::tasks::{AnyTask, Examples, TaskKind};
use crate::train::{DataSource, Origin};

/// Something of a run, or why it is not there.
pub type Had<T> = std::result::Result<T, String>;

/// Opens the best model, in the precision of the run.
pub fn session(run: &Run, kinds: &[TaskKind], depth: Depth, notify: &mut dyn FnMut(&str)) -> Had<Session> {
    if depth == Depth::Records {
        return Err("The kept model was not looked at, as asked for.".into());
    }
    let best = run.folder.join("best");
    if !best.join("config.json").is_file() {
        return Err(match run.finished {
            Some(_) => format!("There is no kept model at {}: it was removed.", best.display()),
            None => "The run has no model yet: it did not come to its first evaluation.".to_owned(),
        });
    }
    notify(&format!("{}: opening the kept model", run.name));
    let precision = match run.plan.as_ref().map(|plan| plan.precision.as_str()) {
        Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        _ => Precision::auto(),
    };
    Session::open_in(&best, kinds, precision).map_err(|error| said("The kept model can't be opened", &error))
}

/// Which data of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those it was trained on.
    Train,
    /// Those it is scored on.
    Validation,
}

/// Reads data of a task as the recipe names them. Nothing is downloaded: what a run had is in the cache, or is gone.
pub fn examples(run: &Run, name: &str, task: &dyn AnyTask, part: Part) -> Had<Examples> {
    let Some(recipe) = &run.recipe else { return Err("The recipe, which names the data, is not there.".into()) };
    let Some(data) = recipe.data.get(name) else { return Err(format!("The recipe names no data for {name}.")) };
    let options = HubOptions { network: Network::Offline, ..HubOptions::from_env() };
    let origin = Origin::of(&run.folder);
    let mut source = DataSource { origin: &origin, options: &options, notify: &mut |_| () };
    let read = match part {
        Part::Train => source.training(recipe, data, task).map(Some),
        Part::Validation => source.validation(recipe, data, task),
    };
    read.map_err(|error| said(&format!("The data of {name} can't be read again"), &error))?
        .ok_or_else(|| format!("{name} has no validation data."))
}

/// An error as a sentence, with its hint.
pub fn said(what: &str, error: &Error) -> String {
    match error.hint_text() {
        Some(hint) => format!("{what}: {error} ({hint})."),
        None => format!("{what}: {error}."),
    }
}
