//! The polyhead binary: the command line of the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(polyhead_cli::run(std::env::args_os().collect()))
}
