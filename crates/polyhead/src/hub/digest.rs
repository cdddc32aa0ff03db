//! The digest that the Hub gives for a file, read from its ETag: 64 hexadecimal digits are the SHA-256 of a large file
//! (LFS, Xet), 40 are git's SHA-1 of a small one (`blob LENGTH\0` and then the bytes). The same text names the file in
//! the cache, so that a cached file can be checked without asking anyone.

use crate::error::{Error, Place, Result};
use crate::io::{each_chunk, hex};
use sha1::{Digest as _, Sha1};
use std::fs::File;
use std::path::Path;

/// What a file's bytes must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256(String),
    GitSha1(String),
}

impl Digest {
    /// Reads an ETag, or the name of a file in the cache. Anything but hexadecimal digits of the right length is none:
    /// the text becomes part of a path.
    pub fn from_etag(etag: &str) -> Option<Self> {
        let text = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_ascii_lowercase();
        match text.len() {
            _ if !text.bytes().all(|b| b.is_ascii_hexdigit()) => None,
            64 => Some(Self::Sha256(text)),
            40 => Some(Self::GitSha1(text)),
            _ => None,
        }
    }

    /// The hexadecimal digits: the file's name in the cache.
    pub fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::GitSha1(text) => text,
        }
    }

    /// The same kind of digest of a file's bytes.
    pub fn of_file(&self, path: &Path) -> Result<Self> {
        match self {
            Self::Sha256(_) => crate::io::sha256_file(path).map(Self::Sha256),
            Self::GitSha1(_) => git_sha1(path).map(Self::GitSha1),
        }
    }

    /// Checks a file.
    pub fn check(&self, path: &Path) -> Result<Check> {
        let found = self.of_file(path)?;
        Ok(if found == *self { Check::Same } else { Check::Differs(found.text().to_owned()) })
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Same,
    /// With the digest that was found.
    Differs(String),
}

/// Git's name for a file's content.
pub(super) fn git_sha1(path: &Path) -> Result<String> {
    let reading = |cause| Error::reading(path, cause);
    let mut file = File::open(path).map_err(reading)?;
    let length = file.metadata().map_err(reading)?.len();
    let mut hash = Sha1::new();
    hash.update(format!("blob {length}\0"));
    each_chunk(&mut file, |piece| hash.update(piece)).map_err(reading)?;
    Ok(hex(&hash.finalize()))
}

/// The error of a file whose bytes are not the ones it should have.
pub(super) fn differs(name: &str, from: &str, expected: &str, found: &str) -> Error {
    Error::data(format!("the file from {from} is damaged: expected digest {expected}, found {found}"))
        .at(Place::file(name))
        .hint("the file was removed; run again to download it again. If it happens again, the server or a proxy alters it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_small_digest_is_the_one_git_computes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(git_sha1(file.path()).unwrap(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        std::fs::write(file.path(), "hello\n").unwrap();
        assert_eq!(git_sha1(file.path()).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn only_hexadecimal_digits_of_the_right_length_are_a_digest() {
        let (long, short) = ("A".repeat(64), "0".repeat(40));
        assert_eq!(Digest::from_etag(&format!("\"{long}\"")), Some(Digest::Sha256("a".repeat(64))));
        assert_eq!(Digest::from_etag(&format!("W/\"{short}\"")), Some(Digest::GitSha1(short)));
        for bad in ["", "\"\"", "../../etc/passwd", &"g".repeat(40), &"0".repeat(32), &"0".repeat(41), "0/1"] {
            assert_eq!(Digest::from_etag(bad), None, "{bad}");
        }
        assert_eq!(Digest::from_etag(&format!("../{}", "0".repeat(37))), None);
    }
}
