//! `polyhead push`: a model to the Hugging Face Hub, as one commit.

use super::Format;
use crate::out::Out;
use crate::progress::uploads;
use polyhead::Result;
use polyhead::hub::{self, HubOptions, Visibility};
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  HF_TOKEN=hf_... polyhead push runs/quickstart ada/quickstart
  polyhead push models/quickstart-int8 ada/quickstart@int8 --private

All files of the model folder become one commit; the repository is made if it is not there, private with --private. Its README.md is the
model card, with the scores in the form in which the Hub lists them. The token is HF_TOKEN, or the one that `hf auth login` left.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The repository, as owner/name, or owner/name@branch
    name: String,
    /// Make a new repository private
    #[arg(long)]
    private: bool,
    /// What the commit is called
    #[arg(long, value_name = "TEXT", default_value = "A model of polyhead")]
    message: String,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let visibility = if args.private { Visibility::Private } else { Visibility::Public };
    let options = HubOptions::from_env();
    let pushed = hub::push(&args.model, &args.name, visibility, &args.message, &options, &mut uploads(out))?;
    if args.format.json {
        return out.json(&json!(pushed));
    }
    out.line(format!("{} files: {}", pushed.files, pushed.url))
}
