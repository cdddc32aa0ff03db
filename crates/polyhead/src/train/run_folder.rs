//! The folder of a run: the resolved recipe, what it was made with, `metrics.jsonl` and what other programs read of it, the best
//! model, checkpoints. One trainer at a time has it.
//!
//! ```text
//! Event -> Line -> metrics.jsonl, events.out.tfevents.*, trainer_state.json
//! ```

use super::origin::Origin;
use super::record::{Environment, TensorBoard, TrainerState};
use crate::error::{Error, Place, Result};
use crate::events::{Event, FILE, Line, Plan, Record};
use crate::io::{AppendFile, Mark, fault, is_temporary, lock_folder, sweep, write_atomic};
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use std::fs::{File, create_dir, create_dir_all};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The recipe of a run folder.
pub(super) const RECIPE: &str = "recipe.toml";
const BEST: &str = "best";

pub(super) struct RunFolder {
    path: PathBuf,
    metrics: AppendFile,
    board: TensorBoard,
    trainer_state: TrainerState,
    /// The last plan among the metrics.
    planned: Option<Plan>,
    /// When the folder was made: the time of the first event, so that what is made of the events knows it too.
    began: Option<f64>,
    /// Held as long as this trainer lives; the system lets go of it however the process ends.
    _lock: File,
}

/// What stands before the first step.
pub(super) struct Fixed<'a> {
    pub recipe: &'a Recipe,
    pub environment: &'a Environment,
    pub parameters: &'a Parameters,
}

impl RunFolder {
    /// Makes `OUTPUT/NAME`, or `OUTPUT/NAME-2` and so on where that is taken: no run is written over.
    pub(super) fn create(fixed: &Fixed) -> Result<Self> {
        let recipe = fixed.recipe;
        create_dir_all(&recipe.output).map_err(|cause| Error::writing(&recipe.output, cause))?;
        let mut number = 1;
        let path = loop {
            let name = if number == 1 { recipe.name.clone() } else { format!("{}-{number}", recipe.name) };
            let path = recipe.output.join(name);
            match fault::check().and_then(|()| create_dir(&path)) {
                Ok(()) => break path,
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(cause) => return Err(Error::writing(path, cause)),
            }
        };
        let filled = lock_folder(&path).and_then(|lock| {
            write_atomic(path.join(RECIPE), recipe.to_toml()?)?;
            Self::begin(&path, AppendFile::create(&path.join(FILE))?, &[], fixed, lock)
        });
        // A run that could not even begin leaves nothing behind.
        filled.inspect_err(|_| _ = std::fs::remove_dir_all(&path))
    }

    /// Begins a run again that is there and did not come to a checkpoint. Metrics that tell of an evaluation are kept aside.
    pub(super) fn again(path: &Path, held: File, fixed: &Fixed, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let file = path.join(FILE);
        // What can't be read is kept too.
        let evaluated = |record: Record| record.lines.iter().any(|line| matches!(line.event, Event::Evaluated(_)));
        if file.exists() && Record::read(path).map_or(true, evaluated) {
            let aside = aside(&file);
            std::fs::rename(&file, &aside).map_err(|cause| Error::writing(&file, cause))?;
            notify(&format!("the metrics so far are kept as {}", aside.display()));
        } else if file.exists() {
            std::fs::remove_file(&file).map_err(|cause| Error::writing(&file, cause))?;
        }
        write_recipe(path, fixed.recipe)?;
        Self::begin(path, AppendFile::create(&file)?, &[], fixed, held)
    }

    /// Takes the lock of a run that is there, and removes what a killed process left half-written.
    pub(super) fn lock(path: &Path) -> Result<File> {
        if !path.is_dir() {
            return Err(Error::missing("expected a run folder, found none").at(Place::file(path)));
        }
        let held = lock_folder(path)?;
        sweep(path, is_temporary);
        Ok(held)
    }

    /// Opens a run that is there, its metrics cut back to a checkpoint.
    pub(super) fn open(
        path: &Path,
        held: File,
        mark: &Mark,
        fixed: &Fixed,
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let file = path.join(FILE);
        let metrics = match AppendFile::cut(&file, mark)? {
            Some(metrics) => metrics,
            None => {
                if file.exists() {
                    let aside = aside(&file);
                    std::fs::rename(&file, &aside).map_err(|cause| Error::writing(&file, cause))?;
                    notify(&format!(
                        "metrics.jsonl is not what this run wrote; it is kept as {}, and the run goes on with a new one",
                        aside.display()
                    ));
                }
                AppendFile::create(&file)?
            }
        };
        write_recipe(path, fixed.recipe)?;
        Self::begin(path, metrics, &Record::read(path)?.lines, fixed, held)
    }

    /// With the records of the lines so far.
    fn begin(path: &Path, metrics: AppendFile, lines: &[Line], fixed: &Fixed, lock: File) -> Result<Self> {
        fixed.environment.write(path)?;
        Origin::keep(path)?;
        let time = lines.first().and_then(|line| line.time).unwrap_or_else(now);
        let mut run = Self {
            board: TensorBoard::create(path, time)?,
            trainer_state: TrainerState::new(fixed.recipe, &path.join(BEST), fixed.parameters)?,
            planned: None,
            began: lines.is_empty().then_some(time),
            path: path.to_owned(),
            metrics,
            _lock: lock,
        };
        lines.iter().try_for_each(|line| run.project(line))?;
        run.board.flush()?;
        Ok(run)
    }

    /// What is made of a line of the metrics.
    fn project(&mut self, line: &Line) -> Result<()> {
        if let Event::Planned(plan) = &line.event {
            self.planned = Some(plan.clone());
        }
        self.trainer_state.record(&line.event);
        self.board.record(line)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the best model is kept.
    pub(super) fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Adds an event to `metrics.jsonl`, with the time of now, and to what is made of it.
    pub(super) fn record(&mut self, event: &Event) -> Result<()> {
        let line = Line { event: event.clone(), time: Some(self.began.take().unwrap_or_else(now)) };
        let fault = |cause| Error::internal(format!("an event as a line of {FILE}: {cause}"));
        let text = serde_json::to_string(&line).map_err(fault)?;
        self.metrics.line(&text)?;
        // As it will be read: what is made of it now is then what is made of it again, to the byte.
        self.project(&serde_json::from_str(&text).map_err(fault)?)
    }

    /// Whether this plan is the last among the metrics.
    pub(super) fn has(&self, plan: &Plan) -> bool {
        self.planned.as_ref() == Some(plan)
    }

    /// The course of the run in Hugging Face's form.
    pub(super) fn trainer_state(&self) -> &TrainerState {
        &self.trainer_state
    }

    pub(super) fn write_trainer_state(&self) -> Result<()> {
        self.trainer_state.write(&self.path)
    }

    /// Brings the metrics to the disk, and says how far they are.
    pub(super) fn sync(&mut self) -> Result<Mark> {
        self.board.flush()?;
        self.metrics.sync()
    }
}

/// Writes the recipe of a run, if it is not there as it is.
fn write_recipe(run: &Path, recipe: &Recipe) -> Result<()> {
    let (path, text) = (run.join(RECIPE), recipe.to_toml()?);
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) { Ok(()) } else { write_atomic(path, text) }
}

/// Unix seconds, to the millisecond.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    (now * 1e3).round() / 1e3
}

/// A free name beside a file: `metrics.jsonl.1`, and so on.
fn aside(file: &Path) -> PathBuf {
    let name = |number: usize| file.with_file_name(format!("metrics.jsonl.{number}"));
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}
