//! The command line of polyhead: parses it, runs one command, ends with a documented exit code. Two programs run it: the binary
//! (`main.rs`), and the command of the same name that comes with the Python package, which has all of this in its extension
//! module (`polyhead-python`) and so needs no second copy of the library.
//!
//! One command a file in `commands/`; only `out.rs` writes to standard output and standard error. Nothing panics: if
//! something does, it is reported as a fault of ours, with exit code 70.

mod answers;
mod browser;
mod commands;
mod document;
pub mod fault;
mod out;
mod progress;
mod requests;
mod runs;
mod scores;
mod signals;
mod sparkline;
mod table;
mod threads;

use clap::{CommandFactory, FromArgMatches, Parser};
use commands::Command;
use out::{Color, Out};
use std::ffi::OsString;
use std::num::NonZeroUsize;

// Here, so that everything that computes with polyhead allocates alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One shared BERT-family encoder with many task heads: train, measure and use it.
#[derive(Parser)]
#[command(name = "polyhead", version, after_help = HELP, max_term_width = 110)]
struct Cli {
    /// When to colour; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Threads that compute; left out, RAYON_NUM_THREADS or one for each processor. Results are the same with any number
    #[arg(long, global = true, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  polyhead train recipes/quickstart.toml
  polyhead predict runs/quickstart --task ner \"Ada Lovelace was born in London.\"
  polyhead predict runs/quickstart --task qa --question \"Who was born?\" --context \"Ada Lovelace was born.\"
  polyhead help predict

Standard output holds data only; progress, notes and errors go to standard error.

Exit codes:
   0  done
   2  a wrong call: an unknown flag, key or task, a value out of range
  65  malformed input: a data file, a request, a model folder
  66  an input that is not there
  69  a service that is needed and can't be reached
  70  a fault of polyhead or of the machine
  73  an output that can't be written
 130  stopped by Ctrl-C, 143 by SIGTERM: training saved a checkpoint

Environment: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE, POLYHEAD_CACHE, RAYON_NUM_THREADS, NO_COLOR";

/// Runs a command line, the name of the program first, and returns the exit code of the process.
pub fn run(arguments: Vec<OsString>) -> u8 {
    // Help and mistakes are printed while parsing, so that their colour has to be known before.
    let color = Color::asked_for(&arguments);
    let parsed = Cli::command().color(color.of_clap()).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nobody reads it then
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let mut out = Out::new(cli.color);
    let outcome = fault::caught(|| {
        threads::start(cli.threads)?;
        cli.command.run(&mut out).and_then(|()| out.flush())
    });
    match outcome {
        Err(error) if !out::is_closed(&error) => {
            let _ = out.flush(); // what was answered before the error
            out.error(&error);
            error.kind().exit_code()
        }
        _ => out.exit_code(),
    }
}
