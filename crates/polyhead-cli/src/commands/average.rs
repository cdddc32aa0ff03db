//! `polyhead average`: the mean of models with LoRA.

use super::Overwrite;
use crate::out::Out;
use polyhead::tasks::TASKS;
use polyhead::{Result, peft};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  polyhead average runs/seed1 runs/seed2 runs/seed3 --to models/mean

The models have the same encoder and the same tasks. The mean of their additions is exact: its rank is the sum of theirs. Heads are averaged
number by number, which is of use where they began alike.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model folders, or run folders (then their best models), trained with LoRA
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// The model folder to write
    #[arg(long, value_name = "MODEL")]
    to: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let models: Vec<&Path> = args.models.iter().map(PathBuf::as_path).collect();
    let said = format!("the mean of {} models", models.len());
    super::save(&peft::average(&models, TASKS)?, &args.to, args.overwrite, &said, out)
}
