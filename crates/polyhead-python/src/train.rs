//! Training. `train` in `_training.py` is what people call.

use crate::attend::{Interrupted, Worker, attend};
use crate::error::exception;
use crate::session::pool;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Checkpoint, Event, Trainer};
use polyhead::{Error, Place, Result};
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What a run tells.
enum Message {
    /// An event, as a line of JSON.
    Event(String),
    /// What is worth a line.
    Note(String),
}

/// What the run is made of: a file or a recipe, with overrides, or a run to go on with.
struct Source {
    file: Option<PathBuf>,
    recipe: Option<toml::Table>,
    overrides: Vec<String>,
    resume: Option<PathBuf>,
}

/// Trains, and returns the event `finished` as JSON. `recipe` is a recipe in JSON, `overrides` an object of dotted keys and values,
/// in JSON too. A stopped run returns nothing: whatever stopped it is raised.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // Each is an argument of `polyhead.train`.
pub fn train(
    py: Python<'_>,
    file: Option<PathBuf>,
    recipe: Option<String>,
    overrides: String,
    resume: Option<PathBuf>,
    threads: Option<usize>,
    on_event: Bound<'_, PyAny>,
    on_note: Bound<'_, PyAny>,
) -> PyResult<Option<String>> {
    let prepare = || {
        let recipe = recipe.map(|text| toml_of(&text, "recipe")).transpose()?;
        Ok((Source { file, recipe, overrides: pairs(&overrides)?, resume }, pool(threads)?))
    };
    let (source, pool) = prepare().map_err(|error| exception(py, &error))?;
    let each = |_: Python<'_>, message| {
        match message {
            Message::Event(event) => on_event.call1((event,)),
            Message::Note(note) => on_note.call1((note,)),
        }?;
        Ok(())
    };
    let stopped = Arc::new(OnceLock::new());
    let tells = stopped.clone();
    let outcome = attend(py, pool, Interrupted::Waits, move |worker| run(&source, worker, &tells), each);
    outcome.inspect_err(|exception| {
        // Before Python 3.11 exceptions have no notes.
        if let Some(note) = stopped.get() {
            let _ = exception.value(py).call_method1("add_note", (note,));
        }
    })
}

fn run(source: &Source, worker: &Worker<Message>, stopped: &OnceLock<String>) -> Result<Option<String>> {
    let mut trainer = source.open(&mut |note| worker.tell(Message::Note(note.to_owned())))?;
    trainer.stop_when(worker.stop());
    let folder = trainer.folder().to_owned();
    for event in trainer {
        let event = event?;
        let text = serde_json::to_string(&event).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
        match event {
            Event::Finished(_) => {
                worker.tell(Message::Event(text.clone()));
                return Ok(Some(text));
            }
            Event::Stopped(Checkpoint { step, checkpoint }) => {
                let note = format!("stopped after step {step}; saved in {}", checkpoint.display());
                stopped.get_or_init(|| format!("polyhead: {note}; `train(resume={folder:?})` goes on"));
                worker.tell(Message::Event(text));
                worker.tell(Message::Note(note));
            }
            _ => worker.tell(Message::Event(text)),
        }
    }
    Ok(None)
}

impl Source {
    fn open(&self, notify: &mut dyn FnMut(&str)) -> Result<Trainer> {
        let Self { file, recipe, overrides, resume } = self;
        match (resume, recipe, file) {
            (Some(_), Some(_), _) => Err(Error::usage("recipe: expected a file beside `resume`, found a recipe")
                .hint("the run has its recipe; `overrides` changes it")),
            (Some(run), None, file) => Trainer::resume(run, file.as_deref(), overrides, TASKS, notify),
            (None, Some(recipe), _) => Trainer::new(Recipe::from_table(recipe.clone(), "recipe", overrides)?, notify),
            (None, None, Some(file)) => Trainer::new(Recipe::read(file, overrides)?, notify),
            (None, None, None) => Err(Error::usage("expected a recipe, or `resume` with a run folder, found neither")),
        }
    }
}

/// The value of TOML that a text of JSON stands for.
fn toml_of<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|cause| {
        // TOML has no null.
        Error::usage(format!("expected values that TOML has, found another: {cause}"))
            .at(Place::file(name))
            .hint("leave out keys whose value is None")
    })
}

/// Overrides as the command line has them: `key=value`, with a value of TOML.
fn pairs(overrides: &str) -> Result<Vec<String>> {
    let table: toml::Table = toml_of(overrides, "overrides")?;
    Ok(table.iter().map(|(key, value)| format!("{key}={value}")).collect())
}
