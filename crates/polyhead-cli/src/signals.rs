//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends the process at once. Both are answered on standard
//! error as soon as they come, whatever the run is doing.

use crate::out;
use crate::progress::Show;
use polyhead::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const FIRST: &str = "stopping: the step under way is finished and saved; a second signal ends at once";
const SECOND: &str =
    "ended at once: only the steps since the last checkpoint are lost, and `polyhead train --resume` goes on from it";

/// What was asked.
pub struct Signals {
    asked: Arc<AtomicBool>,
    /// Which it was.
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on.
    pub fn listen(show: Show) -> Result<Self> {
        let (asked, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failed = |cause| Error::internal(format!("can't listen to signals: {cause}"));
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let (set, which) = (asked.clone(), number.clone());
        let answer = move || {
            for signal in signals.forever() {
                if set.load(Ordering::SeqCst) {
                    out::at_once(SECOND);
                    // Not the way of `std::process::exit`, which waits for locks that a busy thread may hold.
                    signal_hook::low_level::exit(128 + signal);
                }
                // In this order: who sees that a stop is asked for asks which signal it was.
                which.store(signal as usize, Ordering::SeqCst);
                set.store(true, Ordering::SeqCst);
                if show == Show::Progress {
                    out::at_once(FIRST);
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(answer).map_err(failed)?;
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
