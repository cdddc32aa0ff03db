//! Reading `metrics.jsonl`: `file -> Record { lines }`, or an error with its line.
//!
//! A line counts once its end is written. Only a last one without its end is forgiven: the run was stopped while writing it.

use super::{Event, FILE, Line};
use crate::error::{Error, Place, Result};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// What a run recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Its lines, in order.
    pub lines: Vec<Line>,
    /// The number of a last line without its end, which is left out.
    pub torn: Option<usize>,
}

impl Record {
    /// Reads the record of a run folder.
    ///
    /// # Errors
    /// There is none, or a line of it is malformed.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(FILE);
        let bytes = std::fs::read(&path).map_err(|cause| Error::reading(&path, cause))?;
        let mut record = Self::default();
        for (number, line) in (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
            match line {
                [.., b'\n'] if line.trim_ascii().is_empty() => {}
                [.., b'\n'] => record.lines.push(Line::parse(line, || Place::line(&path, number))?),
                _ => record.torn = Some(number),
            }
        }
        Ok(record)
    }

    /// Whether the run came to its end, which is its last line.
    pub fn is_finished(&self) -> bool {
        self.torn.is_none() && matches!(self.lines.last(), Some(Line { event: Event::Finished(_), .. }))
    }
}

/// Whether the run in this folder came to its end. One without a record did not.
pub fn is_finished(run: &Path) -> bool {
    let bytes = std::fs::read(run.join(FILE)).unwrap_or_default();
    let last = bytes.strip_suffix(b"\n").and_then(|text| text.rsplit(|&byte| byte == b'\n').next());
    let line = last.and_then(|line| serde_json::from_slice::<Line>(line).ok());
    matches!(line, Some(Line { event: Event::Finished(_), .. }))
}

impl Line {
    /// A line with its place for messages.
    ///
    /// # Errors
    /// It is no JSON, has no name of an event, or is not as an event of this name is written.
    pub fn parse(line: &[u8], place: impl Fn() -> Place) -> Result<Self> {
        let value: Value = serde_json::from_slice(line).map_err(|cause| {
            Error::data(format!("expected an event as one line of JSON, found {cause}"))
                .at(place())
                .hint("metrics.jsonl is written by `polyhead train` alone; was it edited?")
        })?;
        let Some(name) = value.get("event").and_then(Value::as_str) else {
            return Err(Error::data("expected an object with the field `event`, found none").at(place()));
        };
        Self::deserialize(&value).map_err(|cause| {
            Error::data(format!("expected an event `{name}` as `polyhead train` writes it, found {cause}")).at(place())
        })
    }
}
