//! The folder of a run: the resolved recipe, `metrics.jsonl`, the best model, checkpoints. One trainer at a time has it.

use super::Event;
use crate::error::{Error, Place, Result};
use crate::io::{AppendFile, Mark, fault, sweep, write_atomic};
use crate::recipe::Recipe;
use serde_json::json;
use std::fs::{File, TryLockError, create_dir, create_dir_all};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) struct RunFolder {
    path: PathBuf,
    metrics: AppendFile,
    /// Held as long as this trainer lives; the system lets go of it however the process ends.
    _lock: File,
}

impl RunFolder {
    /// Makes `OUTPUT/NAME`, or `OUTPUT/NAME-2` and so on where that is taken: no run is written over.
    pub(super) fn create(recipe: &Recipe) -> Result<Self> {
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
        let filled = lock(&path).and_then(|lock| {
            write_atomic(path.join("recipe.toml"), recipe.to_toml()?)?;
            Ok(Self { metrics: AppendFile::create(&path.join("metrics.jsonl"))?, path: path.clone(), _lock: lock })
        });
        // A run that could not even begin leaves nothing behind.
        filled.inspect_err(|_| _ = std::fs::remove_dir_all(&path))
    }

    /// Takes the lock of a run that is there, and removes what a killed process left half-written.
    pub(super) fn lock(path: &Path) -> Result<File> {
        if !path.is_dir() {
            return Err(Error::missing("expected a run folder, found none").at(Place::file(path)));
        }
        let held = lock(path)?;
        sweep(path, |name| name.starts_with('.') && name.contains(".tmp-"));
        Ok(held)
    }

    /// Opens a run that is there, its metrics cut back to a checkpoint.
    pub(super) fn open(
        path: &Path,
        held: File,
        mark: &Mark,
        recipe: &Recipe,
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let file = path.join("metrics.jsonl");
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
        let text = recipe.to_toml()?;
        if std::fs::read_to_string(path.join("recipe.toml")).ok().as_ref() != Some(&text) {
            write_atomic(path.join("recipe.toml"), text)?;
        }
        Ok(Self { path: path.to_owned(), metrics, _lock: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the best model is kept.
    pub(super) fn best(&self) -> PathBuf {
        self.path.join("best")
    }

    /// Adds a line to `metrics.jsonl`: the event, and when it was.
    pub(super) fn record(&mut self, event: &Event) -> Result<()> {
        let fault = |cause| Error::internal(format!("an event: {cause}"));
        let mut line = serde_json::to_value(event).map_err(fault)?;
        if let Some(fields) = line.as_object_mut() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
            fields.insert("time".into(), json!((now * 1e3).round() / 1e3));
        }
        self.metrics.line(&line.to_string())
    }

    /// Brings the metrics to the disk, and says how far they are.
    pub(super) fn sync(&mut self) -> Result<Mark> {
        self.metrics.sync()
    }
}

fn lock(path: &Path) -> Result<File> {
    let name = path.join(".lock");
    let file = fault::check().and_then(|()| File::options().create(true).append(true).open(&name));
    let file = file.map_err(|cause| Error::writing(&name, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::cannot_write("another process trains in this run folder")
            .at(Place::file(path))
            .hint("wait for it, or stop it first")),
        // A file system without locks: nothing can be said about others.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// A free name beside a file: `metrics.jsonl.1`, and so on.
fn aside(file: &Path) -> PathBuf {
    let name = |number: usize| file.with_file_name(format!("metrics.jsonl.{number}"));
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}
