//! `polyhead export`: one task of a model as the single-task folder that transformers loads.

use super::Overwrite;
use crate::out::Out;
use polyhead::Result;
use polyhead::infer::Session;
use polyhead::model::export_single_task;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead export runs/quickstart --task ner --to exported/ner
  python -c \"from transformers import pipeline; print(pipeline('token-classification', 'exported/ner')('...'))\"";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The task; may be left out where the model has only one
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = Session::open(&args.model)?;
    let task = super::task(&session.model, args.task.as_deref())?;
    super::destination(&args.to, args.overwrite)?;
    export_single_task(&session.model, task, &args.to)?;
    out.note(format!("`{}` of {} is in {}", task.name, args.model.display(), args.to.display()));
    Ok(())
}
