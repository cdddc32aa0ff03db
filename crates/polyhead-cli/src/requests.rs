//! Requests as JSON Lines from a file or standard input: one object a line, in constant memory.
//!
//! They come in batches: what is there at the moment. A batch ends where reading on might have to wait, so that a
//! program at the other end of a pipe gets its answer before it asks the next question.

use polyhead::{Error, Place, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A request may hold a long document.
const LONGEST_LINE: usize = 16 << 20;
/// Bytes read at a time, and so about the most that waits for its turn.
const BUFFER: usize = 64 << 10;

/// Requests, line by line.
pub struct Requests {
    reader: BufReader<Box<dyn Read>>,
    name: PathBuf,
    line: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Open,
    Ended,
}

impl Requests {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new(Box::new(std::io::stdin()), Path::new("<stdin>")));
        }
        let file = File::open(path).map_err(|cause| Error::reading(path, cause))?;
        Ok(Self::new(Box::new(file), path))
    }

    fn new(source: Box<dyn Read>, name: &Path) -> Self {
        let reader = BufReader::with_capacity(BUFFER, source);
        Self { reader, name: name.to_owned(), line: 0, state: State::Open }
    }

    /// The requests that are there, at least one; none at the end. After an error there are no more.
    pub fn batch(&mut self) -> Vec<Result<(Value, Place)>> {
        let mut batch = Vec::new();
        while self.state == State::Open {
            match self.next() {
                Ok(None) => self.state = State::Ended,
                Ok(Some(None)) => {}
                Ok(Some(Some(request))) => batch.push(Ok(request)),
                Err(error) => {
                    self.state = State::Ended;
                    batch.push(Err(error));
                }
            }
            if !batch.is_empty() && !self.reader.buffer().contains(&b'\n') {
                break;
            }
        }
        batch
    }

    /// The next line: none at the end, nothing in a blank line.
    #[allow(clippy::type_complexity)]
    fn next(&mut self) -> Result<Option<Option<(Value, Place)>>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|cause| Error::reading(&self.name, cause))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let place = Place::line(&self.name, self.line);
        if bytes.len() > LONGEST_LINE {
            let message = format!("expected lines of at most {LONGEST_LINE} bytes, found a longer one");
            return Err(Error::data(message).at(place).hint("each line is one JSON object"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|cause| {
            let message = format!("expected UTF-8 text, found another byte at column {}", cause.valid_up_to() + 1);
            Error::data(message).at(place.clone()).hint("save it as UTF-8: iconv -f LATIN1 -t UTF-8")
        })?;
        // Windows editors put a byte-order mark first.
        let text = if self.line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        if text.trim().is_empty() {
            return Ok(Some(None));
        }
        let request: Value = serde_json::from_str(text).map_err(|cause| {
            let message = cause.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Error::data(format!("not valid JSON: {message}"))
                .at(Place::column(&self.name, self.line, cause.column().max(1)))
                .hint("each line is one JSON object")
        })?;
        if !request.is_object() {
            return Err(Error::data("expected a JSON object, found another value")
                .at(place)
                .hint("each line is one JSON object"));
        }
        Ok(Some(Some((request, place))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::VecDeque;

    /// A source that gives one piece a read, as a pipe does.
    struct Pieces(VecDeque<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let piece = self.0.pop_front().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn requests(pieces: &[&'static str]) -> Requests {
        let pieces = pieces.iter().map(|piece| piece.as_bytes()).collect();
        Requests::new(Box::new(Pieces(pieces)), Path::new("in.jsonl"))
    }

    #[test]
    fn a_batch_ends_where_the_input_pauses() {
        let mut source = requests(&["\u{feff}{\"a\":1}\r\n\n{\"a\":2}\n", "\n", "{\"a\":3}\n{\"a\"", ":4}"]);
        let sizes: Vec<usize> = std::iter::repeat_with(|| source.batch().len()).take_while(|&len| len > 0).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn a_malformed_line_comes_after_the_good_ones_and_names_its_place() {
        let mut source = requests(&["{\"a\":1}\n{\"a\" 2}\n{\"a\":3}\n"]);
        let batch = source.batch();
        assert_eq!(batch.len(), 2);
        let error = batch.into_iter().last().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("in.jsonl:2:6: not valid JSON"), "{error}");
        assert!(source.batch().is_empty());
        for (bad, place) in [("[1]\n", "in.jsonl:1: expected a JSON object"), ("{\"a\":1", "in.jsonl:1:6")] {
            let error = requests(&[bad]).batch().remove(0).unwrap_err();
            assert!(error.to_string().starts_with(place), "{error}");
        }
    }
}
