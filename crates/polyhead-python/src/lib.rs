//! The extension module of the Python package: what of polyhead has to be compiled. All else (arguments, answers, notebooks,
//! spaCy) is Python, in `python/polyhead/`.
//!
//! Requests, answers, recipes and events pass through here as text in JSON, as they do through the command line and over HTTP: the
//! three have the same fields, and the same digits, because one code writes them. Next to a pass through an encoder that text costs
//! nothing. Arrays pass as bytes with their shape: `numpy.frombuffer` takes them as they are, so that neither this module nor
//! whoever wants no array needs NumPy.
//!
//! Whatever takes time runs on a thread of its own (`attend.rs`): the caller's holds no lock meanwhile, and looks for Ctrl-C.

mod attend;
mod error;
mod session;
mod train;

use pyo3::prelude::*;
use std::ffi::OsString;

/// What `polyhead` imports: see `_polyhead.pyi`.
#[pymodule]
mod _polyhead {
    #[pymodule_export]
    use super::run_command;
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::train::train;

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

/// Runs a command line, the name of the program first, and returns the exit code of the process.
#[pyfunction]
fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| polyhead_cli::run(arguments))
}
