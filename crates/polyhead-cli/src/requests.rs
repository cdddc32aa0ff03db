//! Requests from a file or standard input, in constant memory: one JSON object a line, or one plain text a line.
//!
//! Which of the two it is follows from the call and is never guessed from a line: a text may begin with `{`. Only a line that is a request
//! in JSON where plain text is expected is refused, since its answer would be about braces and quotes.
//!
//! They come in batches: what is there at the moment. A batch ends where reading on might have to wait, so that a
//! program at the other end of a pipe gets its answer before it asks the next question.

use polyhead::{Error, Place, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A request may hold a long document.
const LONGEST_LINE: usize = 16 << 20;
/// Bytes read at a time, and so about the most that waits for its turn.
const BUFFER: usize = 64 << 10;
/// What messages call standard input.
const STDIN: &str = "<stdin>";

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A request: a JSON object.
    Json,
    /// A text: the field of this name.
    Text(&'static str),
}

/// A request and where it stands.
#[derive(Debug)]
pub struct Request {
    /// The request itself.
    pub value: Value,
    /// Its file and line.
    pub place: Place,
    /// The number of its line.
    pub line: usize,
}

/// Requests, line by line.
pub struct Requests {
    reader: BufReader<Box<dyn Read>>,
    form: Form,
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
            return Ok(Self::stdin(Form::Json));
        }
        let file = File::open(path).map_err(|cause| Error::reading(path, cause))?;
        Ok(Self::new(Box::new(file), path, Form::Json))
    }

    /// Standard input.
    pub fn stdin(form: Form) -> Self {
        Self::new(Box::new(std::io::stdin()), Path::new(STDIN), form)
    }

    fn new(source: Box<dyn Read>, name: &Path, form: Form) -> Self {
        let reader = BufReader::with_capacity(BUFFER, source);
        Self { reader, form, name: name.to_owned(), line: 0, state: State::Open }
    }

    /// The requests that are there, at least one; none at the end. After an error there are no more.
    pub fn batch(&mut self) -> Vec<Result<Request>> {
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
    fn next(&mut self) -> Result<Option<Option<Request>>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|cause| Error::reading(&self.name, cause))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let place = Place::line(&self.name, self.line);
        if bytes.len() > LONGEST_LINE {
            let message = format!("expected lines of at most {LONGEST_LINE} bytes, found a longer one");
            let hint = match self.form {
                Form::Json => "each line is one JSON object",
                Form::Text(_) => "each line is one text",
            };
            return Err(Error::data(message).at(place).hint(hint));
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
        let value = match self.form {
            Form::Json => self.json(text)?,
            Form::Text(field) => self.text(field, text)?,
        };
        Ok(Some(Some(Request { value, place, line: self.line })))
    }

    fn json(&self, text: &str) -> Result<Value> {
        let request: Value = serde_json::from_str(text).map_err(|cause| {
            let message = cause.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Error::data(format!("not valid JSON: {message}"))
                .at(Place::column(&self.name, self.line, cause.column().max(1)))
                .hint("each line is one JSON object")
        })?;
        if !request.is_object() {
            return Err(Error::data("expected a JSON object, found another value")
                .at(Place::line(&self.name, self.line))
                .hint("each line is one JSON object"));
        }
        Ok(request)
    }

    fn text(&self, field: &str, text: &str) -> Result<Value> {
        let text = text.trim_end_matches(['\n', '\r']);
        let request = text.starts_with('{').then(|| serde_json::from_str::<Value>(text).ok()).flatten();
        if request.is_some_and(|request| request.get("text").is_some() || request.get("words").is_some()) {
            return Err(Error::data("expected plain text, found a request in JSON")
                .at(Place::line(&self.name, self.line))
                .hint("--input - reads requests as JSON Lines"));
        }
        Ok(json!({ field: text }))
    }
}

/// Standard input to its end, as one text; empty if there is none.
pub fn whole_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST_LINE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|cause| Error::reading(STDIN, cause))?;
    if bytes.len() > LONGEST_LINE {
        let message = format!("expected a text of at most {LONGEST_LINE} bytes, found a longer one");
        return Err(Error::data(message).at(Place::file(STDIN)));
    }
    let text = String::from_utf8(bytes).map_err(|cause| {
        let found = cause.utf8_error().valid_up_to() + 1;
        Error::data(format!("expected UTF-8 text, found another byte at byte {found}"))
            .at(Place::file(STDIN))
            .hint("save it as UTF-8: iconv -f LATIN1 -t UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
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
        requests_as(Form::Json, pieces)
    }

    fn requests_as(form: Form, pieces: &[&'static str]) -> Requests {
        let pieces = pieces.iter().map(|piece| piece.as_bytes()).collect();
        Requests::new(Box::new(Pieces(pieces)), Path::new("in.jsonl"), form)
    }

    #[test]
    fn a_plain_text_is_taken_as_it_is_whatever_it_begins_with() {
        let mut source =
            requests_as(Form::Text("text"), &["\u{feff}Ada left.\r\n\n  \n{curly}\n{\"a\": 1}\n  [1] \n\"x\""]);
        let found: Vec<(Value, usize)> = std::iter::repeat_with(|| source.batch())
            .take_while(|batch| !batch.is_empty())
            .flatten()
            .map(|request| request.map(|request| (request.value["text"].clone(), request.line)).unwrap())
            .collect();
        let texts = [("Ada left.", 1), ("{curly}", 4), ("{\"a\": 1}", 5), ("  [1] ", 6), ("\"x\"", 7)];
        assert_eq!(found, texts.map(|(text, line)| (json!(text), line)));
    }

    #[test]
    fn a_request_in_json_among_plain_texts_is_refused_with_its_line() {
        let mut source = requests_as(Form::Text("text"), &["Ada\n{\"text\": \"Ada\"}\n"]);
        let error = source.batch().pop().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("in.jsonl:2: expected plain text, found a request in JSON"), "{error}");
        assert!(error.hint_text().unwrap().contains("--input -"));
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
