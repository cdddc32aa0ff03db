//! The three functions that JavaScript calls. It writes a call into the memory that `polyhead_input` names, lets `polyhead_call`
//! answer it, and reads the answer where `polyhead_output` says.
//!
//! The attribute that keeps a function's name is an unsafe one, because two functions of one name would be mixed up: these
//! three are the only ones. Nothing else here is unsafe.
#![allow(unsafe_code)]

use crate::call::Host;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct State {
    host: Host,
    input: Vec<u8>,
    output: Vec<u8>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    let mut state: MutexGuard<'_, Option<State>> = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    f(state.get_or_insert_with(|| State { host: Host::default(), input: Vec::new(), output: Vec::new() }))
}

/// Room for a call of so many bytes. It is there until the next call is answered.
#[unsafe(no_mangle)]
pub extern "C" fn polyhead_input(length: usize) -> *mut u8 {
    with(|state| {
        state.input = vec![0; length];
        state.input.as_mut_ptr()
    })
}

/// Answers the call; the length of the answer.
#[unsafe(no_mangle)]
pub extern "C" fn polyhead_call() -> usize {
    with(|state| {
        let input = std::mem::take(&mut state.input);
        state.output = state.host.call(&input);
        state.output.len()
    })
}

/// Where the answer is, until the next one.
#[unsafe(no_mangle)]
pub extern "C" fn polyhead_output() -> *const u8 {
    with(|state| state.output.as_ptr())
}
