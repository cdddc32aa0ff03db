//! One file, whole or not at all: temporary file beside it, write, fsync, rename, fsync of the folder.

use super::{fault, folder_of, sync_folder, temporary_prefix};
use crate::error::{Error, Place, Result};
use std::io::{Result as IoResult, Write};
use std::path::Path;

/// Writes `bytes` to `path` so that a reader, or a run after a crash, sees the old content or the new, never a part.
/// The folder must exist. A symbolic link under that name is replaced, not followed.
///
/// # Errors
/// The file can't be written (the old content is then untouched and nothing temporary is left).
pub fn write_atomic(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes.as_ref()))
}

/// The same of what a function writes, piece by piece: it need not be in memory at once.
///
/// # Errors
/// As of [`write_atomic`], and where the function fails.
pub fn write_atomic_with(path: impl AsRef<Path>, f: impl FnOnce(&mut dyn Write) -> IoResult<()>) -> Result<()> {
    let path = path.as_ref();
    if path.file_name().is_none() {
        return Err(Error::cannot_write("expected the name of a file").at(Place::file(path)));
    }
    write(path, f).map_err(|cause| Error::writing(path, cause))
}

fn write(path: &Path, f: impl FnOnce(&mut dyn Write) -> IoResult<()>) -> IoResult<()> {
    let folder = folder_of(path);
    let prefix = temporary_prefix(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    {
        // What other programs' files get (the umask is applied to it), not the private mode of a temporary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    fault::check()?;
    let mut file = builder.tempfile_in(folder)?; // removed when dropped, so a failure below leaves no litter
    let mut change = fault::Change::of(&mut file);
    f(&mut change)?;
    change.flush()?;
    fault::check()?;
    file.as_file().sync_all()?;
    fault::check()?;
    file.persist(path).map_err(|failed| failed.error)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_written_file_holds_the_bytes_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.json");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::CannotWrite);
        assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("file");
        assert!(write_atomic(&path, b"").unwrap_err().to_string().contains("absent"));
        assert!(write_atomic("/", b"").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_written_file_has_the_mode_that_the_umask_gives_every_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomic(&ours, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ours), mode(&plain));
    }
}
