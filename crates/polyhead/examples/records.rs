//! Makes a run's TensorBoard event file and `trainer_state.json` again, from its recipe, metrics and best model: for runs
//! that were trained without them.
//!
//! `cargo run --release --example records -- runs/NAME [FOLDER]`: into the folder, which must exist; else into the run's own.

use polyhead::events::Record;
use polyhead::model::Model;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::record::{TensorBoard, TrainerState};
use polyhead::{Error, Result};
use std::path::PathBuf;

fn main() -> Result<()> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (run, into) = match folders.as_slice() {
        [run] => (run, run),
        [run, into] => (run, into),
        _ => return Err(Error::usage("expected a run folder, and perhaps another to write into")),
    };
    let lines = Record::read(run)?.lines;
    let best = run.join("best");
    let recipe = Recipe::read(&run.join("recipe.toml"), &[])?;
    let mut state = TrainerState::new(&recipe, &best, &Model::load(&best, TASKS)?.parameters)?;
    let started = lines.first().and_then(|line| line.time).unwrap_or(0.0);
    let mut board = TensorBoard::create(into, started)?;
    for line in &lines {
        state.record(&line.event);
        board.record(line)?;
    }
    state.write(into)?;
    board.flush()?;
    println!("{} lines: {} and trainer_state.json", lines.len(), board.path().display());
    Ok(())
}
