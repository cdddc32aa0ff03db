//! Checkpoints: all that a run needs to go on bit-identically, as if it had never stopped.
//!
//! ```text
//! RUN/checkpoint-STEP/
//!     config.json, tokenizer.json, model.safetensors ...   a model folder like any other
//!     optimizer.safetensors                                 NAME.first, NAME.second: the moments of every parameter, f32;
//!                                                           dropped at the end of a run (train.keep_optimizer)
//!     balancer.safetensors                                  gradients that the balancer keeps from step to step, if it keeps any
//!     state.json                                            position, counters, losses, best so far, history (see `State`)
//!     trainer_state.json                                    the history in the form of transformers
//!     MANIFEST.json                                         {format, step, files: {NAME: {bytes, sha256}}}, written last
//! ```
//!
//! Randomness is keyed by seed, purpose and step, so there is no generator to keep. A checkpoint is built beside its place,
//! brought to the disk and renamed. One that is not exactly what its manifest says is never loaded: the one before is.

use super::State;
use super::run_folder::RunFolder;
use crate::balance::Balancer;
use crate::error::{Error, Place, Result};
use crate::io::{fault, remove_folder, sha256_file, write_atomic, write_folder_atomic};
use crate::model::Model;
use crate::optim::Optimizer;
use crate::parameters::KeptGradients;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of this layout.
const FORMAT: u32 = 1;
const PREFIX: &str = "checkpoint-";
const MANIFEST: &str = "MANIFEST.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const BALANCER: &str = "balancer.safetensors";
const STATE: &str = "state.json";

/// What a checkpoint consists of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    step: usize,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Where the checkpoint of a step lies.
pub(super) fn folder(run: &Path, step: usize) -> PathBuf {
    run.join(format!("{PREFIX}{step}"))
}

/// Writes the checkpoint of a step and removes all but the newest `keep`, this one among them. The last one of a run needs neither
/// optimiser nor balancer.
pub(super) fn save(
    run: &RunFolder,
    model: &Model,
    learnt: Option<(&Optimizer, &dyn Balancer)>,
    state: &State,
    keep: usize,
) -> Result<PathBuf> {
    let folder = folder(run.path(), state.step);
    let text = serde_json::to_string_pretty(state).map_err(|cause| Error::internal(format!("the state: {cause}")))?;
    write_folder_atomic(&folder, |folder| {
        model.save_into(folder)?;
        if let Some((optimizer, balancer)) = learnt {
            optimizer.save(&folder.join(OPTIMIZER), &model.parameters)?;
            if let Some(kept) = balancer.kept() {
                kept.save(&folder.join(BALANCER), &model.parameters)?;
            }
        }
        write_atomic(folder.join(STATE), text)?;
        run.trainer_state().write(folder)?;
        let manifest = Manifest { format: FORMAT, step: state.step, files: entries(folder)? };
        write_atomic(folder.join(MANIFEST), manifest.text()?)
    })?;
    fault::point("checkpoint:saved");
    // The successor is on the disk: now the oldest may go.
    for (_, old) in list(run.path())?.into_iter().filter(|(step, _)| *step < state.step).skip(keep.max(1) - 1) {
        remove_folder(&old)?;
        fault::point("checkpoint:pruned");
    }
    Ok(folder)
}

fn entries(folder: &Path) -> Result<BTreeMap<String, Entry>> {
    let reading = |cause| Error::reading(folder, cause);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let bytes = entry.metadata().map_err(reading)?.len();
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, Entry { bytes, sha256: sha256_file(entry.path())? });
    }
    Ok(files)
}

impl Manifest {
    fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|cause| Error::internal(format!("a manifest: {cause}")))
    }
}

/// The step of a checkpoint by its name.
fn number(folder: &Path) -> Option<usize> {
    folder.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// The checkpoints of a run by name, the newest first.
pub(super) fn list(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let reading = |cause| Error::reading(run, cause);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(run).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        found.extend(number(&entry.path()).map(|step| (step, entry.path())));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// The newest checkpoint that is whole; `notify` hears of every one that is not.
pub(super) fn newest(run: &Path, notify: &mut dyn FnMut(&str)) -> Result<(PathBuf, State)> {
    for (_, folder) in list(run)? {
        match check(&folder).and_then(|()| read_state(&folder)) {
            Ok(state) => return Ok((folder, state)),
            Err(error) => notify(&format!("not whole, and left alone: {error}; the checkpoint before it is taken")),
        }
    }
    Err(Error::missing("expected a checkpoint that is whole, found none")
        .at(Place::file(run))
        .hint("train the recipe again: what was not written whole can't be gone on with"))
}

/// Whether a checkpoint is exactly what was written.
pub(super) fn check(folder: &Path) -> Result<()> {
    let path = folder.join(MANIFEST);
    let altered = |what: String| Error::data(what).at(Place::file(&path));
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|cause| altered(format!("not a manifest: {cause}")))?;
    if manifest.format != FORMAT {
        return Err(altered(format!("expected the format {FORMAT}, found {}", manifest.format)));
    }
    if number(folder) != Some(manifest.step) || manifest.text()? != text {
        return Err(altered("it was altered".into()));
    }
    // What has ended needs no optimiser; whether it has is known once the state is known to be whole.
    for needed in ["model.safetensors", "config.json", STATE] {
        if !manifest.files.contains_key(needed) {
            return Err(altered(format!("expected an entry for `{needed}`, found none")));
        }
    }
    for (name, Entry { bytes, sha256 }) in &manifest.files {
        let path = folder.join(name);
        let altered = |what: String| Err(Error::data(what).at(Place::file(&path)));
        let found = std::fs::metadata(&path).map_err(|cause| Error::reading(&path, cause))?.len();
        if found != *bytes {
            return altered(format!("expected {bytes} bytes, found {found}"));
        }
        if sha256_file(&path)? != *sha256 {
            return altered("its SHA-256 is not that of the manifest".into());
        }
    }
    if !manifest.files.contains_key(OPTIMIZER) && !read_state(folder)?.done {
        return Err(altered(format!("expected an entry for `{OPTIMIZER}`, found none")));
    }
    Ok(())
}

/// Whether a checkpoint holds the optimiser's state: the last one of a finished run may have none.
pub(super) fn has_optimizer(folder: &Path) -> bool {
    folder.join(OPTIMIZER).is_file()
}

fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join(STATE);
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
    serde_json::from_str(&text).map_err(|cause| {
        Error::data(format!("not the state of a run of this version: {cause}"))
            .at(Place::file(&path))
            .hint("resume with the version of polyhead that began the run")
    })
}

/// Puts the moments of a checkpoint back, and what the balancer keeps.
pub(super) fn restore(
    folder: &Path,
    optimizer: &mut Optimizer,
    balancer: &mut dyn Balancer,
    model: &Model,
    state: &State,
) -> Result<()> {
    optimizer.restore(&folder.join(OPTIMIZER), &model.parameters, &state.updates)?;
    let kept = folder.join(BALANCER);
    // One of another balancer has none.
    if balancer.kept().is_some() && kept.is_file() {
        balancer.restore_kept(KeptGradients::restore(&kept, &model.parameters)?);
    }
    Ok(())
}
