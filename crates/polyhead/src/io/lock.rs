//! One process at a time in a folder: a lock that the system lets go of however its holder ends.

use super::fault;
use crate::error::{Error, Place, Result};
use std::fs::{File, TryLockError};
use std::path::Path;

/// The file that is locked.
pub const LOCK: &str = ".lock";

/// Takes the lock of a folder; it is held as long as the file lives.
pub fn lock_folder(folder: &Path) -> Result<File> {
    try_lock_folder(folder)?.ok_or_else(|| {
        Error::cannot_write("another process works in this folder")
            .at(Place::file(folder))
            .hint("wait for it, or stop it first")
    })
}

/// The same; none where another process has it.
pub fn try_lock_folder(folder: &Path) -> Result<Option<File>> {
    let name = folder.join(LOCK);
    let file = fault::check().and_then(|()| File::options().create(true).append(true).open(&name));
    let file = file.map_err(|cause| Error::writing(&name, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks: nothing can be said about others.
        Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}
