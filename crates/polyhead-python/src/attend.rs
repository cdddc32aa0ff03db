//! Work that takes time, off the caller's thread.
//!
//! ```text
//! caller's thread   waits without the lock (GIL), looks for signals, handles what the worker tells
//! worker            computes; tells (an answer, an event), and goes on when that was handled
//! ```
//!
//! Python notices Ctrl-C only on its main thread, and only when asked: a step or an evaluation may take minutes.

use crate::error::exception;
use polyhead::{Error, Result};
use polyhead_cli::fault;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use rayon::ThreadPool;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long Ctrl-C may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process that computes first.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// A fork has the memory of its parent and none of its threads: whoever waited for these would wait for ever.
fn check_process() -> Result<()> {
    let (first, this) = (*PROCESS.get_or_init(std::process::id), std::process::id());
    if first == this {
        return Ok(());
    }
    let message =
        "expected the process in which polyhead was first used, found a fork of it, which has none of its threads";
    Err(Error::usage(message).hint("start processes with multiprocessing.get_context(\"spawn\")"))
}

/// The worker's side.
pub struct Worker<M> {
    tell: SyncSender<Told<M>>,
    handled: Receiver<()>,
    stop: Arc<AtomicBool>,
}

enum Told<M> {
    Message(M),
    /// What comes after it, if anything, is the outcome.
    End,
}

impl<M> Worker<M> {
    /// Whether to go on.
    ///
    /// # Errors
    /// A stop was asked for: nobody waits for more, nor sees this.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::SeqCst) { Err(Error::internal("stopped")) } else { Ok(()) }
    }

    /// Tells the caller, and returns when it has been handled.
    pub fn tell(&self, message: M) {
        // A caller that waits no longer handles nothing.
        if self.tell.send(Told::Message(message)).is_ok() {
            let _ = self.handled.recv();
        }
    }

    /// Set once a stop is asked for.
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }
}

/// What Ctrl-C does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// The caller leaves at once; the worker ends when it next looks ([`Worker::check`]).
    Leaves,
    /// The caller waits for the worker to stop in good order; a second Ctrl-C lets it leave at once.
    Waits,
}

/// Runs `work` on another thread, in `pool` if one is given, and hands `each` what it tells. An exception of `each`, and Ctrl-C,
/// ask it to stop and are raised in place of its outcome. After an exception of its own `each` gets nothing more.
pub fn attend<M: Send + 'static, T: Send + 'static>(
    py: Python<'_>,
    pool: Option<Arc<ThreadPool>>,
    interrupted: Interrupted,
    work: impl FnOnce(&Worker<M>) -> Result<T> + Send + 'static,
    mut each: impl FnMut(Python<'_>, M) -> PyResult<()>,
) -> PyResult<T> {
    check_process().map_err(|error| exception(py, &error))?;
    let (tell, mut told) = sync_channel(0);
    let (handled, hear) = sync_channel(0);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = Worker { tell: tell.clone(), handled: hear, stop: stop.clone() };
    let run = move || {
        let outcome = fault::caught(|| match pool {
            Some(pool) => pool.install(move || work(&worker)),
            None => work(&worker),
        });
        let _ = tell.send(Told::End); // nobody waits any longer
        outcome
    };
    let thread = std::thread::Builder::new().name("polyhead".into()).spawn(run);
    let thread = thread.map_err(|cause| PyRuntimeError::new_err(format!("can't start a thread: {cause}")))?;
    let (mut raised, mut handles) = (None, true);
    loop {
        let next;
        (told, next) = py.detach(move || {
            let next = told.recv_timeout(LOOK_EVERY);
            (told, next)
        });
        if let Err(interrupt) = py.check_signals() {
            stop.store(true, Ordering::SeqCst);
            if raised.is_some() || interrupted == Interrupted::Leaves {
                return Err(interrupt);
            }
            raised = Some(interrupt);
        }
        match next {
            Ok(Told::Message(message)) => {
                if handles && let Err(exception) = each(py, message) {
                    stop.store(true, Ordering::SeqCst);
                    // Ctrl-C may come while `each` runs: that is none of its own.
                    handles = exception.is_instance_of::<PyKeyboardInterrupt>(py);
                    if handles && raised.is_some() {
                        return Err(exception);
                    }
                    raised.get_or_insert(exception);
                }
                let _ = handled.send(()); // the worker has gone
            }
            Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let outcome = py.detach(|| thread.join());
    match (raised, outcome) {
        (Some(exception), _) => Err(exception),
        (None, Ok(outcome)) => outcome.map_err(|error| exception(py, &error)),
        (None, Err(_)) => Err(PyRuntimeError::new_err("a thread of polyhead ended without a result")),
    }
}
