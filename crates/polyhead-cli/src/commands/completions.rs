//! `polyhead completions`: what a shell needs to complete commands, flags and values, made of the argument definitions.

use crate::out::Out;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use polyhead::{Error, Result};

const HELP: &str = "\
Examples:
  polyhead completions bash > ~/.local/share/bash-completion/completions/polyhead
  polyhead completions zsh > ~/.zfunc/_polyhead
  polyhead completions fish > ~/.config/fish/completions/polyhead.fish

zsh looks in ~/.zfunc once ~/.zshrc has  fpath+=~/.zfunc  before  autoload -Uz compinit && compinit.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Whose completions
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut crate::Cli::command(), "polyhead", &mut script);
    let script = String::from_utf8(script).map_err(|cause| Error::internal(format!("completions: {cause}")))?;
    out.painted(script.trim_end())
}
