//! `polyhead negate`: a model with LoRA from whose encoder is taken away what training added to it.

use super::Overwrite;
use crate::out::Out;
use polyhead::tasks::TASKS;
use polyhead::{Result, peft};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead negate runs/toxic models/less-toxic
  polyhead negate models/both models/changed --task ner

W + s B A becomes W - s B A: the encoder knows less of what it was trained for (task arithmetic, Ilharco et al. 2023). Heads stay as they are.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model), trained with LoRA
    model: PathBuf,
    /// The model folder to write
    to: PathBuf,
    /// The tasks whose additions are negated; all if it is left out
    #[arg(long, value_name = "NAME")]
    task: Vec<String>,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let model = peft::negated(&args.model, &args.task, TASKS)?;
    let of = if args.task.is_empty() { "all tasks".to_owned() } else { args.task.join(", ") };
    super::save(&model, &args.to, args.overwrite, &format!("the additions of {of} are negated"), out)
}
