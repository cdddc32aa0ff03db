//! Faults on purpose: every call that changes the disk asks here first, so that tests can let any one of them fail, and
//! can end the process at a named point.
//!
//! ```text
//! POLYHEAD_FAULT=fail:17          the 17th change of the disk fails, as on a full disk (half of what it was to write stays)
//! POLYHEAD_FAULT=crash:NAME:2     the process dies when it comes to the point NAME for the second time
//! ```
//!
//! Without the variable a call costs one comparison.

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

/// Changes of the disk that are still to succeed before one fails; below 0: none fails.
static LEFT: LazyLock<AtomicI64> = LazyLock::new(|| {
    let asked = asked().and_then(|fault| fault.strip_prefix("fail:")?.parse::<i64>().ok());
    AtomicI64::new(asked.map_or(-1, |count| count - 1))
});

/// The point at which the process dies, and how often it is still to pass it.
static CRASH: LazyLock<Option<(String, AtomicI64)>> = LazyLock::new(|| {
    let fault = asked()?;
    let point = fault.strip_prefix("crash:")?;
    let (name, count) = point.rsplit_once(':').unwrap_or((point, "1"));
    Some((name.to_owned(), AtomicI64::new(count.parse().unwrap_or(1))))
});

/// Changes of the disk so far.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn asked() -> Option<String> {
    std::env::var("POLYHEAD_FAULT").ok()
}

/// Lets the change of the disk after so many others fail, once, in this process. For tests.
pub fn fail_after(others: Option<u32>) {
    LEFT.store(others.map_or(-1, i64::from), SeqCst);
}

/// Changes of the disk that this process made so far. For tests.
pub fn changes() -> u64 {
    COUNT.load(SeqCst)
}

/// Before a change of the disk: whether it is to fail.
pub(crate) fn check() -> io::Result<()> {
    COUNT.fetch_add(1, SeqCst);
    if LEFT.load(SeqCst) >= 0 && LEFT.fetch_sub(1, SeqCst) == 0 {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the device (a fault on purpose)"));
    }
    Ok(())
}

/// A point at which a process may die: tests end it here, as a power cut would.
pub(crate) fn point(name: &str) {
    if let Some((at, left)) = &*CRASH
        && at == name
        && left.fetch_sub(1, SeqCst) == 1
    {
        std::process::abort();
    }
}

/// A change of the disk: what is written goes through, or half of what is written first and then no more.
pub(crate) struct Change<W> {
    into: W,
    fault: Option<io::Error>,
}

impl<W> Change<W> {
    pub(crate) fn of(into: W) -> Self {
        Self { into, fault: check().err() }
    }
}

impl<W: io::Write> io::Write for Change<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault.take() {
            self.into.write_all(&bytes[..bytes.len() / 2])?;
            return Err(fault);
        }
        self.into.write(bytes)
    }

    /// Fails where the change was to fail and nothing was written.
    fn flush(&mut self) -> io::Result<()> {
        self.fault.take().map_or_else(|| self.into.flush(), Err)
    }
}
