//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends the process.

use polyhead::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What was asked.
pub struct Signals {
    asked: Arc<AtomicBool>,
    /// Which it was.
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on.
    pub fn listen() -> Result<Self> {
        let (asked, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: a process that was asked before exits, one that was not is asked now.
            flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())
                .and_then(|_| flag::register_usize(signal, number.clone(), signal as usize))
                .and_then(|_| flag::register(signal, asked.clone()))
                .map_err(|cause| Error::internal(format!("can't listen to signals: {cause}")))?;
        }
        Ok(Self { asked, number })
    }

    /// Set once a signal came.
    pub fn asked(&self) -> Arc<AtomicBool> {
        self.asked.clone()
    }

    /// As shells count it.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(128 + self.number.load(Ordering::SeqCst)).unwrap_or(1)
    }
}
