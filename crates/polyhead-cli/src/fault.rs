//! Panics become errors: a person sees one line and exit code 70, never a backtrace.

use polyhead::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Mutex;

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `f`; a panic inside it, in any thread that passes it on, is an error that says where it happened.
pub fn caught<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // The library catches panics of others' parsers itself, so that nothing may be printed at this moment.
    set_hook(Box::new(|panic| {
        if let Ok(mut last) = LAST.lock() {
            *last = Some(panic.to_string().replace('\n', ": "));
        }
    }));
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        let said = LAST.lock().ok().and_then(|mut last| last.take()).unwrap_or_default();
        Err(Error::internal(said).hint("this is a fault of polyhead: please report it, with the command and its input"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_names_its_place() {
        let error = caught::<()>(|| panic!("out of reach")).unwrap_err();
        assert_eq!(error.kind().exit_code(), 70);
        assert!(error.to_string().contains("fault.rs") && error.to_string().contains("out of reach"), "{error}");
    }
}
