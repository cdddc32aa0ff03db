//! Opens data files: as they are, or decompressed where they are gzip.

use crate::error::{Error, Place, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

const GZIP: &[u8] = b"\x1F\x8B";

/// The bytes of a file, without its compression.
pub(super) type Opened = BufReader<Box<dyn Read>>;

/// Opens a file. What it begins with tells whether it is compressed.
pub(super) fn open(file: &Path) -> Result<Opened> {
    let failed = |cause| Error::reading(file, cause);
    let mut reader = BufReader::new(File::open(file).map_err(failed)?);
    let compressed = reader.fill_buf().map_err(failed)?.starts_with(GZIP);
    Ok(BufReader::new(if compressed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) }))
}

/// What went wrong while the bytes of an opened file were read.
pub(super) fn failed(file: &Path, cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::data(format!("expected gzip-compressed data that is whole, found a fault: {cause}"))
                .at(Place::file(file))
                .hint("is the file complete? `gzip -t FILE` checks it")
        }
        _ => Error::reading(file, cause),
    }
}

/// The extension that tells the format of a file, in small letters: that before `.gz`, where there is one.
pub fn extension(file: &Path) -> String {
    let of = |file: &Path| file.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
    match of(file) {
        gz if gz == "gz" => {
            file.file_stem().map(|stem| of(stem.as_ref())).filter(|inner| !inner.is_empty()).unwrap_or(gz)
        }
        extension => extension,
    }
}
