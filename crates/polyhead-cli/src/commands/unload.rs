//! `polyhead unload`: a model with LoRA without some of its tasks.

use super::Overwrite;
use crate::out::Out;
use polyhead::tasks::TASKS;
use polyhead::{Result, peft};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead unload models/three models/two --task sentiment
  polyhead unload models/three models/three --task sentiment --overwrite && kill -HUP PID     and a server takes it

The additions and the head of a task are left out; the others answer the same, to the bit. `polyhead import --into` adds one.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model), trained with LoRA
    model: PathBuf,
    /// The model folder to write
    to: PathBuf,
    /// A task that goes; may stand several times
    #[arg(long, value_name = "NAME", required = true)]
    task: Vec<String>,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let model = peft::without(&args.model, &args.task, TASKS)?;
    let left: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    super::save(&model, &args.to, args.overwrite, &format!("{} without {}", left.join(", "), args.task.join(", ")), out)
}
