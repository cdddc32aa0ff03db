//! The only place that writes files: whole or not at all, and on the disk before we say so. What grows line by line
//! ([`AppendFile`]) says how far it is on the disk.
//!
//! A file or folder is built beside its destination under a temporary name, brought to the disk (fsync), renamed, and
//! then the folder that holds the name is brought to the disk too; without the last step a rename can be lost with the
//! power (Pillai et al., OSDI 2014, "All File Systems Are Not Created Equal"). Whatever fails, the old content stays
//! and the temporary name goes. A process that is killed in between leaves at most a `.NAME.tmp-XXXXXX` beside it.

mod append;
mod atomic;
#[doc(hidden)]
pub mod fault;
mod folder;
mod lock;
mod shards;

pub use append::{AppendFile, Mark};
pub use atomic::{write_atomic, write_atomic_with};
pub use folder::{names, remove_folder, write_folder_atomic};
pub use lock::{LOCK, lock_folder, try_lock_folder};
pub use shards::{INT8_WEIGHTS, SHARD_INDEX, ShardIndex};

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at a time where a file is hashed or copied.
pub(crate) const CHUNK: usize = 256 * 1024;

/// The length and the digest of a file.
///
/// # Errors
/// The file is absent or can't be read.
pub fn mark_of(path: impl AsRef<Path>) -> Result<Mark> {
    let path = path.as_ref();
    let bytes = std::fs::metadata(path).map_err(|cause| Error::reading(path, cause))?.len();
    Ok(Mark { bytes, sha256: sha256_file(path)? })
}

/// The SHA-256 of a file's bytes as 64 lower-case hexadecimal digits, read in pieces (memory does not grow with it).
///
/// # Errors
/// The file is absent or can't be read.
pub fn sha256_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(|cause| Error::reading(path, cause))?;
    let mut hash = Sha256::new();
    each_chunk(&mut file, |piece| hash.update(piece)).map_err(|cause| Error::reading(path, cause))?;
    Ok(hex(&hash.finalize()))
}

/// The bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String can't fail
        text
    })
}

/// Hands every piece of a reader to `take`, to the end.
pub(crate) fn each_chunk(from: &mut impl Read, mut take: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                take(buffer.get(..read).unwrap_or_default());
                total += read as u64;
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// Brings a folder's names to the disk. Systems where a folder can't be opened as a file do this by themselves.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fault::check()?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The folder that holds `path`: `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes what killed processes left in this folder: the files and folders whose names `left` knows. The caller holds a
/// lock, so nobody is at work there.
pub(crate) fn sweep(folder: &Path, left: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&left) {
            // What stays costs space only.
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => std::fs::remove_dir_all(entry.path()),
                false => std::fs::remove_file(entry.path()),
            };
        }
    }
}

/// Whether a name is of what a killed process may have left of writing: `.NAME.tmp-XXXXXX`.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.contains(".tmp-")
}

/// The start of a temporary name beside `path`: `.NAME.tmp-`.
pub(crate) fn temporary_prefix(path: &Path) -> String {
    format!(".{}.tmp-", path.file_name().unwrap_or_default().to_string_lossy())
}
