//! Reports: what will be trained on ([`data`]), and what came of runs: a [`crate::document::Document`] out of run
//! folders, and its two writers, [`html`] and [`markdown`].
//!
//! `run` reads, the other files say one thing each, `single` and `several` put a document together. No task is known
//! by name here: what there is to say of predictions, tasks say themselves ([`crate::tasks::Analyse`]).

mod chart;
pub mod combined;
mod curves;
pub mod data;
mod escape;
mod examples;
pub mod html;
mod kept;
pub mod markdown;
mod parameters;
mod reproduce;
pub mod run;
mod scores;
mod several;
mod single;
mod timing;

use crate::document::Document;
use crate::error::{Error, Result};
use crate::tasks::TaskKind;
use run::Run;
use std::path::PathBuf;

/// How much of a run is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Data and kept model too, as far as they are there.
    Everything,
    /// What the run itself recorded, and nothing else.
    Records,
}

/// The report of one run, or of several side by side.
///
/// # Errors
/// A folder is no run folder, or what it recorded is malformed. What is absent is said in the report.
pub fn report(folders: &[PathBuf], kinds: &[TaskKind], depth: Depth, notify: &mut dyn FnMut(&str)) -> Result<Document> {
    let runs: Vec<Run> = folders.iter().map(|folder| Run::read(folder)).collect::<Result<_>>()?;
    match runs.as_slice() {
        [] => Err(Error::usage("expected at least one run folder, found none")),
        [run] => Ok(single::document(run, kinds, depth, notify)),
        several => several::document(several, kinds, depth, notify),
    }
}
