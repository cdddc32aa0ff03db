//! Errors of the library as exceptions: `polyhead._errors` has their classes and makes them, of the parts of an [`Error`].

use polyhead::Error;
use pyo3::prelude::*;

/// The exception for an error.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let (expected, found) = error.expected_and_found().unzip();
    let parts = (
        error.kind().name(),
        error.to_string(),
        error.place().map(ToString::to_string),
        expected,
        found,
        error.hint_text(),
    );
    let made = py.import("polyhead._errors").and_then(|errors| errors.getattr("exception")?.call1(parts));
    made.map_or_else(|failed| failed, PyErr::from_value)
}
