//! The access log, and the identifiers of requests.
//!
//! ```text
//! time=2026-01-31T12:00:00.123Z method=POST route=/analyze status=200 ms=4.1 tokens=31 bytes=212 id=1f3a9c-2
//! ```
//!
//! The log says what was asked for, never what was asked: the route and not the address, no query, no text, no key.

use axum::extract::Request;
use axum::http::HeaderName;
use polyhead::{Error, Place, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names a request, from the client to the answer.
pub const ID: HeaderName = HeaderName::from_static("x-request-id");

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `name=value`, with spaces between.
    Text,
    /// A JSON object.
    Json,
}

/// Where the log goes, and how it is written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A file, to whose end lines are added; none: standard error.
    pub file: Option<PathBuf>,
    /// The form of a line.
    pub format: LogFormat,
}

/// The log of requests.
pub struct AccessLog {
    options: LogOptions,
    file: Mutex<Option<File>>,
}

/// A line of the log.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub time: String,
    pub method: &'a str,
    pub route: &'a str,
    pub status: u16,
    pub ms: f64,
    pub tokens: usize,
    pub bytes: u64,
    pub id: &'a str,
}

impl AccessLog {
    /// Opens it.
    pub fn open(options: LogOptions) -> Result<Self> {
        let log = Self { options, file: Mutex::new(None) };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the file again: it may have been moved away.
    pub fn reopen(&self) -> Result<()> {
        let Some(path) = &self.options.file else { return Ok(()) };
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(|cause| {
            Error::cannot_write(format!("the access log can't be opened: {cause}")).at(Place::file(path))
        })?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Adds a line.
    pub fn write(&self, line: &Line) {
        let mut text = match self.options.format {
            LogFormat::Json => serde_json::to_string(line).unwrap_or_default(),
            LogFormat::Text => format!(
                "time={} method={} route={} status={} ms={} tokens={} bytes={} id={}",
                line.time, line.method, line.route, line.status, line.ms, line.tokens, line.bytes, line.id
            ),
        };
        text.push('\n');
        // One write a line, so that lines stay whole. A full disk is no reason to refuse requests.
        let _ = match &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write_all(text.as_bytes()),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

/// Identifiers of requests that bring none: of this process, and counted.
pub struct Ids {
    process: u64,
    next: AtomicU64,
}

impl Ids {
    /// Those of this process.
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let process = (since.as_micros() as u64 ^ u64::from(std::process::id()) << 44) & 0xffff_ffff_ffff;
        Self { process, next: AtomicU64::new(1) }
    }

    /// That of the client, if it is a plain word of at most 64 letters; else the next one.
    pub fn of(&self, request: &Request) -> String {
        let plain = |id: &&str| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        let given = request.headers().get(&ID).and_then(|id| id.to_str().ok()).filter(plain);
        let next = || format!("{:x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed));
        given.map_or_else(next, str::to_owned)
    }
}

/// A time since 1970 as RFC 3339 has it, in UTC.
pub fn utc(since: Duration) -> String {
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days of the civil calendar, by eras of 400 years that begin on the first of March.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, said) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (4_102_444_799, "2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(utc(Duration::from_millis(seconds * 1000 + 7)), said);
        }
    }
}
