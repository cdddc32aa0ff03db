//! `polyhead merge`: a model with LoRA as a plain one, its additions in the weights of the encoder.

use super::{Destination, Overwrite};
use crate::out::Out;
use polyhead::infer::Session;
use polyhead::model::shell_word;
use polyhead::tasks::TASKS;
use polyhead::{Error, Place, Result, peft};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead merge runs/ner-lora models/ner
  polyhead merge models/both models/ner --task ner       where each task has additions of its own

The new folder answers the same (to rounding) and as fast as a model that was trained without LoRA, and transformers
reads its encoder whole. The old one is left as it is.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model), trained with LoRA
    model: PathBuf,
    /// The model folder to write
    to: PathBuf,
    /// The task, where each has additions of its own: the new model has it alone
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = Session::open(&args.model)?;
    let (lora, merged) = match (&session.model.lora, &session.model.private_lora) {
        (Some(lora), _) if args.task.is_none() => (lora, None),
        (Some(lora), _) | (None, Some(lora)) => {
            let task = super::task(&session.model, args.task.as_deref())?;
            (lora, Some(peft::merged(&args.model, &task.name, TASKS)?))
        }
        (None, None) => {
            return Err(Error::usage("expected a model with LoRA, found one without: there is nothing to merge")
                .at(Place::file(&args.model))
                .hint("it is a plain model already; [encoder.lora] in a recipe trains one with LoRA"));
        }
    };
    let said = format!("LoRA of {} ({}) is merged", args.model.display(), lora.described());
    if let Some(model) = merged {
        return super::save(&model, &args.to, args.overwrite, &said, out);
    }
    super::destination(&args.to, args.overwrite, Destination::Model)?;
    session.model.save_merged(&args.to)?;
    out.note(format!("{said}: {}", args.to.display()));
    out.note(format!("next: polyhead inspect {}", shell_word(&args.to.display().to_string())));
    Ok(())
}
