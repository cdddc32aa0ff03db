//! `polyhead merge`: a model with LoRA as a plain one, its additions in the weights of the encoder.

use super::{Destination, Overwrite};
use crate::out::Out;
use polyhead::infer::Session;
use polyhead::model::shell_word;
use polyhead::{Error, Place, Result};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead merge runs/ner-lora models/ner

The new folder answers the same (to rounding) and as fast as a model that was trained without LoRA, and transformers
reads its encoder whole. The old one is left as it is.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model), trained with encoder.lora
    model: PathBuf,
    /// The model folder to write
    to: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = Session::open(&args.model)?;
    let Some(lora) = &session.model.lora else {
        return Err(Error::usage("expected a model with LoRA, found one without: there is nothing to merge")
            .at(Place::file(&args.model))
            .hint("it is a plain model already; [encoder.lora] in a recipe trains one with LoRA"));
    };
    super::destination(&args.to, args.overwrite, Destination::Model)?;
    session.model.save_merged(&args.to)?;
    out.note(format!("LoRA of {} ({}) is merged: {}", args.model.display(), lora.described(), args.to.display()));
    out.note(format!("next: polyhead inspect {}", shell_word(&args.to.display().to_string())));
    Ok(())
}
