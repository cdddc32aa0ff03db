//! `polyhead man`: man pages, one for polyhead and one for each command, made of the argument definitions.

use crate::out::Out;
use clap::CommandFactory;
use clap_mangen::Man;
use polyhead::io::write_atomic;
use polyhead::{Error, Result};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead man ~/.local/share/man/man1
  polyhead man . && man -l polyhead-train.1";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The folder to write polyhead.1, polyhead-train.1 ... into; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    std::fs::create_dir_all(&args.folder).map_err(|cause| Error::writing(&args.folder, cause))?;
    let mut whole = crate::Cli::command().disable_help_subcommand(true);
    whole.build();
    for command in std::iter::once(&whole).chain(whole.get_subcommands()) {
        // Of a command it is polyhead-train.
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let path = args.folder.join(format!("{name}.1"));
        let mut page = Vec::new();
        Man::new(command.clone()).render(&mut page).map_err(|cause| Error::internal(format!("a man page: {cause}")))?;
        write_atomic(&path, page)?;
        out.line(path.display())?;
    }
    Ok(())
}
