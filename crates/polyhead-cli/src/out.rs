//! Standard output and standard error: the only file that writes to them.
//!
//! Standard output is data and nothing else. A reader that goes away (`| head`) ends the program quietly; any other
//! failure to write is an error. Colour is for terminals: see <https://no-color.org>.

use clap::ValueEnum;
use polyhead::{Error, Place, Result};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::io::{BufWriter, ErrorKind, IsTerminal, Stdout, Write};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    // Without documentation help lists them on one line.
    Auto,
    Always,
    Never,
}

impl Color {
    /// What the command line asks for, before it is parsed.
    pub fn asked_for(arguments: &[OsString]) -> Self {
        let flag = arguments.iter().zip(arguments.iter().skip(1).map(Some).chain([None]));
        let value = flag.filter_map(|(argument, next)| match argument.to_str()? {
            "--color" => next?.to_str(),
            other => other.strip_prefix("--color="),
        });
        value.last().and_then(|value| Self::from_str(value, false).ok()).unwrap_or(Self::Auto)
    }

    /// The same for clap.
    pub fn of_clap(self) -> clap::ColorChoice {
        match self {
            Self::Auto => clap::ColorChoice::Auto,
            Self::Always => clap::ColorChoice::Always,
            Self::Never => clap::ColorChoice::Never,
        }
    }

    fn paint(self, terminal: impl IsTerminal) -> Paint {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Always => Paint::Ansi,
            Self::Auto if terminal.is_terminal() && !plain => Paint::Ansi,
            _ => Paint::Plain,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Ansi,
    Plain,
}

impl Paint {
    /// `codes` are those of "select graphic rendition" (ECMA-48).
    fn with(self, codes: &str, text: &str) -> String {
        match self {
            Paint::Ansi => format!("\x1b[{codes}m{text}\x1b[0m"),
            Paint::Plain => text.to_owned(),
        }
    }
}

/// Where a command writes.
pub struct Out {
    data: BufWriter<Stdout>,
    stdout: Paint,
    stderr: Paint,
    /// With what the process ends if nothing fails.
    exit_code: u8,
}

impl Out {
    /// Both streams, coloured as asked.
    pub fn new(color: Color) -> Self {
        let (stdout, stderr) = (color.paint(std::io::stdout()), color.paint(std::io::stderr()));
        Self { data: BufWriter::new(std::io::stdout()), stdout, stderr, exit_code: 0 }
    }

    /// Lets the process end with this code if nothing fails.
    pub fn exit_with(&mut self, code: u8) {
        self.exit_code = code;
    }

    /// With what the process ends if nothing fails.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Text to standard output, with a line end. Several lines are fine.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<()> {
        writeln!(self.data, "{}", printable(&text.to_string())).map_err(failed)
    }

    /// A heading on standard output.
    pub fn heading(&mut self, text: &str) -> Result<()> {
        writeln!(self.data, "{}", self.stdout.with("1", &printable(text))).map_err(failed)
    }

    /// A verdict on standard output: green or red.
    pub fn verdict(&self, good: Good, text: &str) -> String {
        self.stdout.with(if good == Good::Yes { "32" } else { "31" }, text)
    }

    /// A line with colour that this program put in itself.
    pub fn painted(&mut self, text: &str) -> Result<()> {
        writeln!(self.data, "{text}").map_err(failed)
    }

    /// One line of JSON to standard output.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|cause| Error::internal(format!("JSON: {cause}")))?;
        writeln!(self.data, "{text}").map_err(failed)
    }

    /// Everything so far goes out now.
    pub fn flush(&mut self) -> Result<()> {
        self.data.flush().map_err(failed)
    }

    /// A line for people, to standard error.
    pub fn note(&self, text: impl fmt::Display) {
        self.to_stderr(&printable(&text.to_string()));
    }

    /// A heading for people, to standard error.
    pub fn note_heading(&self, text: &str) {
        self.to_stderr(&self.stderr.with("1", &printable(text)));
    }

    /// Text that stands out on standard error.
    pub fn strong(&self, text: &str) -> String {
        self.stderr.with("1", text)
    }

    /// Whether standard error is coloured.
    pub fn colours_stderr(&self) -> bool {
        self.stderr == Paint::Ansi
    }

    /// An error with its hint, to standard error.
    pub fn error(&self, error: &Error) {
        self.to_stderr(&format!("{} {}", self.stderr.with("1;31", "error:"), printable(&error.to_string())));
        if let Some(hint) = error.hint_text() {
            self.to_stderr(&format!("{} {}", self.stderr.with("1;36", "hint:"), printable(hint)));
        }
    }

    fn to_stderr(&self, text: &str) {
        // Nothing can be said where nobody listens.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// A line for people to standard error from a thread that has no [`Out`]: below a progress bar, if there is one.
pub fn at_once(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "\n{text}"); // nobody listens then
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Standard output has no reader any more.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// Whether an error means only that the reader of standard output went away.
pub fn is_closed(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Closed>())
}

fn failed(cause: std::io::Error) -> Error {
    match cause.kind() {
        ErrorKind::BrokenPipe => Error::cannot_write("standard output was closed").because(Closed),
        _ => {
            Error::cannot_write(format!("can't be written: {cause}")).at(Place::file("standard output")).because(cause)
        }
    }
}

/// Control characters as escapes: text from outside must not steer the terminal.
pub fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_does_not_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n\tné"), "a\\u{1b}[2Jb\\r\n\tné");
    }

    #[test]
    fn the_last_colour_that_is_asked_for_counts() {
        let asked = |words: &[&str]| Color::asked_for(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["polyhead", "--color", "never"]), Color::Never);
        assert_eq!(asked(&["polyhead", "--color=never", "--color=always", "--help"]), Color::Always);
        assert_eq!(asked(&["polyhead", "--color"]), Color::Auto);
        assert_eq!(asked(&["polyhead", "--color=blue"]), Color::Auto);
    }

    #[test]
    fn only_a_closed_standard_output_is_no_error() {
        assert!(is_closed(&failed(ErrorKind::BrokenPipe.into())));
        assert!(!is_closed(&failed(ErrorKind::StorageFull.into())));
        assert!(!is_closed(&Error::writing("file", ErrorKind::BrokenPipe.into())));
    }
}
