//! A file that grows and knows how far it is on the disk: its length, and the digest of all before.
//!
//! A run appends to its metrics and notes that pair in each checkpoint. A resumed run cuts the file back to it: what came
//! after belongs to steps that are taken again.

use super::{each_chunk, fault, hex};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How far a file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of all of them.
    pub sha256: String,
}

/// A file that only grows.
pub struct AppendFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    hash: Sha256,
}

impl AppendFile {
    /// Makes an empty file; nothing may stand there.
    pub fn create(path: &Path) -> Result<Self> {
        let made = fault::check().and_then(|()| File::create_new(path));
        let file = made.map_err(|cause| Error::writing(path, cause))?;
        Ok(Self { path: path.to_owned(), file, bytes: 0, hash: Sha256::new() })
    }

    /// Opens a file and cuts it back to a mark; nothing if it does not begin with what was there at that mark.
    pub fn cut(path: &Path, mark: &Mark) -> Result<Option<Self>> {
        let reading = |cause| Error::reading(path, cause);
        let mut file = match File::options().read(true).write(true).open(path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(reading)?,
        };
        let mut hash = Sha256::new();
        let read = each_chunk(&mut (&mut file).take(mark.bytes), |piece| hash.update(piece)).map_err(reading)?;
        if read != mark.bytes || hex(&hash.clone().finalize()) != mark.sha256 {
            return Ok(None);
        }
        let cut = fault::check().and_then(|()| file.set_len(mark.bytes)).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.map_err(|cause| Error::writing(path, cause))?;
        Ok(Some(Self { path: path.to_owned(), file, bytes: mark.bytes, hash }))
    }

    /// Adds a line (its end is added); other programs see it at once.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.add(format!("{line}\n").as_bytes())
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let mut change = fault::Change::of(&mut self.file);
        change.write_all(bytes).and_then(|()| change.flush()).map_err(|cause| Error::writing(&self.path, cause))?;
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
        Ok(())
    }

    /// Brings all lines to the disk, and says how far the file is.
    pub fn sync(&mut self) -> Result<Mark> {
        let synced = fault::check().and_then(|()| self.file.sync_data());
        synced.map_err(|cause| Error::writing(&self.path, cause))?;
        Ok(Mark { bytes: self.bytes, sha256: hex(&self.hash.clone().finalize()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_cut_back_to_its_mark_and_goes_on_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = AppendFile::create(&path).unwrap();
        file.line("one").unwrap();
        let mark = file.sync().unwrap();
        file.line("two, which is forgotten").unwrap();
        file.sync().unwrap();
        let mut again = AppendFile::cut(&path, &mark).unwrap().unwrap();
        again.line("three").unwrap();
        let end = again.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\nthree\n");
        assert!(AppendFile::cut(&path, &end).unwrap().is_some());
        std::fs::write(&path, "oNe\nthree\n").unwrap();
        assert!(AppendFile::cut(&path, &end).unwrap().is_none(), "altered");
        assert!(AppendFile::cut(&folder.path().join("absent"), &end).unwrap().is_none());
        assert!(AppendFile::create(&path).is_err(), "nothing is written over");
    }
}
