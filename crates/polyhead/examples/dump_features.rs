//! Prints the training windows of a recipe as JSON Lines: what `checks/features_parity.py` compares with transformers.
//!
//! `cargo run --release --example dump_features -- recipes/report.toml key=value ...`

use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::{Error, Result};
use serde_json::json;
use std::io::Write;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "recipes/report.toml".to_owned());
    let overrides: Vec<String> = args.collect();
    let recipe = Recipe::read(path.as_ref(), &overrides)?;
    let prepared = polyhead::train::prepare(&recipe, TASKS, &mut |note| eprintln!("{note}"))?;
    let mut out = std::io::stdout().lock();
    for (data, task) in prepared.task_data.iter().zip(&prepared.model.tasks) {
        for window in &data.windows {
            let row = json!({
                "task": data.name, "labels": task.task.labels(), "example": window.example,
                "ids": window.features.ids, "types": window.features.types, "targets": window.features.targets,
            });
            writeln!(out, "{row}").map_err(|cause| Error::writing("stdout", cause))?;
        }
    }
    Ok(())
}
