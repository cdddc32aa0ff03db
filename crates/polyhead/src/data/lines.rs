//! Text files, read with bounded memory: lines for column files and JSON Lines, a whole text for JSON.
//!
//! A data file comes from anywhere, so that what is not text is named for what it is (an archive, UTF-16, a line without an
//! end) before a parser stumbles over it. A byte-order mark and CRLF are accepted: Windows editors write them.

use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use super::layout::Encoding;
use super::open::{self, Opened};
use crate::error::{Error, Place, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// First bytes that say that a file is not text, with what it is and the way out.
const NOT_TEXT: &[(&[u8], &str, &str)] = &[
    (b"BZh", "bzip2-compressed data", "decompress it first: bunzip2 FILE"),
    (b"\xFD7zXZ\x00", "xz-compressed data", "decompress it first: unxz FILE"),
    (b"\x28\xB5\x2F\xFD", "zstd-compressed data", "decompress it first: unzstd FILE"),
    (b"PK\x03\x04", "a zip archive", "unpack it first: unzip FILE"),
    (b"PAR1", "a Parquet file", "give it the extension .parquet"),
    (b"\xFF\xFE", "UTF-16 text", "save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    (b"\xFE\xFF", "UTF-16 text", "save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
];

/// The note that a byte-order mark was met, for [`super::Read::notes`].
pub(super) const MARK_NOTE: &str = "a UTF-8 byte-order mark at the start of the file was ignored";

/// The lines of a text file, one at a time, without their ends. Memory stays within one line of the allowed length.
pub(super) struct Lines {
    file: PathBuf,
    reader: Opened,
    buffer: Vec<u8>,
    number: usize,
    longest: usize,
    marked: bool,
    encoding: Encoding,
    /// The line, where its bytes are not UTF-8.
    decoded: String,
}

impl Lines {
    /// Opens a file whose lines may have up to `longest` bytes.
    pub(super) fn open(file: &Path, longest: usize) -> Result<Self> {
        Self::open_in(file, longest, Encoding::Utf8)
    }

    /// The same of a file whose characters are encoded so.
    pub(super) fn open_in(file: &Path, longest: usize, encoding: Encoding) -> Result<Self> {
        Ok(Self {
            file: file.to_owned(),
            reader: open::open(file)?,
            buffer: Vec::new(),
            number: 0,
            longest,
            marked: false,
            encoding,
            decoded: String::new(),
        })
    }

    /// The next line and its number (from 1), or `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>> {
        self.buffer.clear();
        let allowed = (self.longest as u64).saturating_add(1);
        let read = (&mut self.reader).take(allowed).read_until(b'\n', &mut self.buffer);
        if read.map_err(|cause| open::failed(&self.file, cause))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut bytes = self.buffer.as_slice();
        if self.number == 1 {
            check_is_text(&self.file, bytes)?;
            if let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK) {
                (bytes, self.marked) = (rest, true);
            }
        }
        if bytes.len() > self.longest && !bytes.ends_with(b"\n") {
            let message = format!("expected lines of at most {} bytes, found a longer one", self.longest);
            return Err(Error::data(message)
                .at(Place::line(&self.file, self.number))
                .hint("is this the right file, and does it have line ends?"));
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if self.encoding == Encoding::Latin1 {
            self.decoded = bytes.iter().copied().map(char::from).collect();
            return Ok(Some((self.number, &self.decoded)));
        }
        let text = decode(&self.file, bytes, self.number)?;
        Ok(Some((self.number, text)))
    }

    /// The notes that are due after the last line.
    pub(super) fn notes(&self) -> Vec<String> {
        self.marked.then(|| MARK_NOTE.to_owned()).into_iter().collect()
    }
}

/// The text of a file of at most `largest` bytes, and the notes that are due.
pub(super) fn read_whole(file: &Path, largest: u64) -> Result<(String, Vec<String>)> {
    let opened = open::open(file)?;
    let mut bytes = Vec::new();
    let read = opened.take(largest.saturating_add(1)).read_to_end(&mut bytes);
    if read.map_err(|cause| open::failed(file, cause))? as u64 > largest {
        return Err(Error::data(format!("expected at most {largest} bytes, found more"))
            .at(Place::file(file))
            .hint("split the file, or write it as JSON Lines, which is read line by line"));
    }
    check_is_text(file, &bytes)?;
    let mut notes = Vec::new();
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
        notes.push(MARK_NOTE.to_owned());
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => return Ok((text, notes)),
        Ok(text) => text.into_bytes(),
        Err(wrong) => wrong.into_bytes(),
    };
    decode(file, &bytes, 1).map(|text| (text.to_owned(), notes))
}

fn check_is_text(file: &Path, start: &[u8]) -> Result<()> {
    for (magic, what, way_out) in NOT_TEXT {
        if start.starts_with(magic) {
            let message = format!("expected UTF-8 text, found {what}");
            return Err(Error::data(message).at(Place::file(file)).hint(*way_out));
        }
    }
    Ok(())
}

/// Bytes that begin at a line's first column as text; an error names the line and column of the first wrong byte.
fn decode<'a>(file: &Path, bytes: &'a [u8], first_line: usize) -> Result<&'a str> {
    let (good, what, hint) = match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => return Ok(text),
            Some(at) => (text.get(..at).unwrap_or(""), "a NUL byte".to_owned(), "is this a binary file?"),
        },
        Err(wrong) => {
            let (good, rest) = bytes.split_at(wrong.valid_up_to());
            let byte = rest.first().copied().unwrap_or(0);
            let good = std::str::from_utf8(good).unwrap_or("");
            (good, format!("the byte 0x{byte:02X}"), "save it as UTF-8: iconv -f LATIN1 -t UTF-8")
        }
    };
    let line = first_line + good.matches('\n').count();
    let column = good.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let message = format!("expected UTF-8 text, found {what}");
    Err(Error::data(message).at(Place::column(file, line, column)).hint(hint))
}
