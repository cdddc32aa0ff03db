//! The folder of a run: the resolved recipe, `metrics.jsonl`, the best model.

use super::Event;
use crate::error::{Error, Result};
use crate::io::write_atomic;
use crate::recipe::Recipe;
use std::fs::{File, create_dir, create_dir_all};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) struct RunFolder {
    path: PathBuf,
    metrics: BufWriter<File>,
}

impl RunFolder {
    /// Makes `OUTPUT/NAME`, or `OUTPUT/NAME-2` and so on where that is taken: no run is written over.
    pub(super) fn create(recipe: &Recipe) -> Result<Self> {
        create_dir_all(&recipe.output).map_err(|cause| Error::writing(&recipe.output, cause))?;
        let mut number = 1;
        let path = loop {
            let name = if number == 1 { recipe.name.clone() } else { format!("{}-{number}", recipe.name) };
            let path = recipe.output.join(name);
            match create_dir(&path) {
                Ok(()) => break path,
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(cause) => return Err(Error::writing(path, cause)),
            }
        };
        write_atomic(path.join("recipe.toml"), recipe.to_toml()?)?;
        let file = path.join("metrics.jsonl");
        let metrics = BufWriter::new(File::create(&file).map_err(|cause| Error::writing(&file, cause))?);
        Ok(Self { path, metrics })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the best model is kept.
    pub(super) fn best(&self) -> PathBuf {
        self.path.join("best")
    }

    /// Adds a line to `metrics.jsonl`.
    pub(super) fn record(&mut self, event: &Event) -> Result<()> {
        let fault = |cause| Error::writing(self.path.join("metrics.jsonl"), cause);
        let line = serde_json::to_string(event).map_err(|cause| Error::internal(format!("an event: {cause}")))?;
        writeln!(self.metrics, "{line}").map_err(fault)?;
        if matches!(event, Event::Step(_)) { Ok(()) } else { self.metrics.flush().map_err(fault) }
    }
}
