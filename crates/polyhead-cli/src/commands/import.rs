//! `polyhead import`: a model folder out of a single-task folder of transformers.

use super::{Destination, Overwrite};
use crate::out::Out;
use crate::progress::downloads;
use polyhead::Result;
use polyhead::hub::{self, HubOptions};
use polyhead::model::{Model, shell_word};
use polyhead::tasks::TASKS;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead import exported/ner --to models/ner
  polyhead import owner/name --to models/ner
  polyhead predict models/ner \"Ada Lovelace was born in London.\"

Read are folders of ...ForTokenClassification and ...ForQuestionAnswering with an encoder that polyhead knows.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The folder (config.json, model.safetensors, tokenizer.json), or a name on the Hub
    from: String,
    /// The model folder to write
    #[arg(long, value_name = "MODEL")]
    to: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let checkpoint = hub::encoder(&args.from, &HubOptions::from_env(), &mut downloads(out))?;
    let mut model = Model::load(&checkpoint.folder, TASKS)?;
    model.about.source.get_or_insert(checkpoint.source);
    model.about = model.about.without_paths();
    super::destination(&args.to, args.overwrite, Destination::Model)?;
    model.save(&args.to)?;
    let names: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    out.note(format!("{} is in {}", names.join(", "), args.to.display()));
    out.note(format!("next: polyhead inspect {}", shell_word(&args.to.display().to_string())));
    Ok(())
}
