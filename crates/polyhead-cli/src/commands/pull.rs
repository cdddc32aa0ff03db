//! `polyhead pull`: a model from the Hugging Face Hub into a folder.

use super::{Destination, Format, Overwrite};
use crate::out::Out;
use crate::progress::downloads;
use polyhead::Result;
use polyhead::hub::{self, HubOptions};
use polyhead::model::shell_word;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead pull ada/quickstart models/quickstart
  polyhead pull ada/quickstart@int8 models/quickstart-int8

Every file is checked against the digest that the Hub gives for it. A private repository needs HF_TOKEN. Encoders to train on need no pull:
a recipe names them.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The repository, as owner/name, or owner/name@revision
    name: String,
    /// The folder to write
    to: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    super::destination(&args.to, args.overwrite, Destination::Model)?;
    let pulled = hub::pull(&args.name, &args.to, &HubOptions::from_env(), &mut downloads(out))?;
    if args.format.json {
        return out.json(&json!(pulled));
    }
    let files = pulled.files.len();
    out.line(format!("{} at commit {}: {files} files in {}", args.name, pulled.commit, args.to.display()))?;
    out.note(format!("next: polyhead inspect {}", shell_word(&args.to.display().to_string())));
    Ok(())
}
