//! Makes a run's TensorBoard event file and `trainer_state.json` again, from its recipe, metrics and best model: for runs
//! that were trained without them.
//!
//! `cargo run --release --example records -- runs/NAME [FOLDER]`: into the folder, which must exist; else into the run's own.

use polyhead::model::Model;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::record::{TensorBoard, TrainerState};
use polyhead::{Error, Place, Result};
use serde_json::Value;
use std::path::PathBuf;

fn main() -> Result<()> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (run, into) = match folders.as_slice() {
        [run] => (run, run),
        [run, into] => (run, into),
        _ => return Err(Error::usage("expected a run folder, and perhaps another to write into")),
    };
    let metrics = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).map_err(|cause| Error::reading(&metrics, cause))?;
    let parsed = |(at, line)| {
        let fault = |cause| Error::data(format!("expected JSON: {cause}")).at(Place::line(&metrics, at + 1));
        serde_json::from_str(line).map_err(fault)
    };
    let lines: Vec<Value> = text.lines().enumerate().map(parsed).collect::<Result<_>>()?;

    let best = run.join("best");
    let recipe = Recipe::read(&run.join("recipe.toml"), &[])?;
    let mut state = TrainerState::new(&recipe, &best, &Model::load(&best, TASKS)?.parameters)?;
    let started = lines.first().and_then(|line| line.get("time")?.as_f64()).unwrap_or(0.0);
    let mut board = TensorBoard::create(into, started)?;
    for line in &lines {
        state.record_line(line);
        board.record_line(line)?;
    }
    state.write(into)?;
    board.flush()?;
    println!("{} lines: {} and trainer_state.json", lines.len(), board.path().display());
    Ok(())
}
