//! A whole folder, or none: built beside its destination, every file brought to the disk, then renamed into place.
//!
//! Where the destination exists, Linux exchanges the two names in one step (renameat2, RENAME_EXCHANGE), so a folder
//! stands under that name at every moment. Other systems, and file systems without that call, move the old folder
//! aside first; if the second move then fails, the old folder goes back.

use super::{fault, folder_of, sync_folder, temporary_prefix};
use crate::error::{Error, Place, Result};
use std::fs::{self, File};
use std::path::Path;

/// Fills a new folder with `fill` and puts it in place of `destination` (which may exist; its parent must).
/// `fill` gets the temporary folder; what it returns is handed through.
///
/// # Errors
/// What `fill` returns, or the folder can't be written. The destination is then as it was, and nothing temporary stays.
pub fn write_folder_atomic<T>(destination: impl AsRef<Path>, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let destination = destination.as_ref();
    let writing = |cause| Error::writing(destination, cause);
    if destination.file_name().is_none() {
        return Err(Error::cannot_write("expected the name of a folder").at(Place::file(destination)));
    }
    if fs::symlink_metadata(destination).is_ok_and(|found| !found.is_dir()) {
        return Err(Error::cannot_write("expected a folder here or nothing, found something else")
            .at(Place::file(destination))
            .hint("move it away, or name another folder"));
    }
    let parent = folder_of(destination);
    let prefix = temporary_prefix(destination);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777)); // less the umask
    }
    fault::check().map_err(writing)?;
    let built = builder.tempdir_in(parent).map_err(writing)?; // removed when dropped
    let value = fill(built.path())?;
    sync_tree(built.path()).map_err(writing)?;
    fault::point("folder:built");
    // After an exchange the old folder has the temporary name, and goes with it.
    fault::check().and_then(|()| put_in_place(built.path(), destination)).map_err(writing)?;
    fault::point("folder:placed");
    sync_folder(parent).map_err(writing)?;
    Ok(value)
}

fn put_in_place(built: &Path, destination: &Path) -> std::io::Result<()> {
    if !destination.exists() {
        return fs::rename(built, destination);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, built, CWD, destination, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = tempfile::Builder::new().prefix(&temporary_prefix(destination)).tempdir_in(folder_of(destination))?;
    let old = aside.path().join("old");
    fs::rename(destination, &old)?;
    fs::rename(built, destination).inspect_err(|_| {
        let _ = fs::rename(&old, destination); // the failure that is reported is the first one
    })
}

/// Removes a folder, if it is there, so that no part of it is ever seen under its name.
///
/// # Errors
/// It can't be removed; at worst a part of it stays under a temporary name.
pub fn remove_folder(folder: &Path) -> Result<()> {
    let removing = |cause| Error::cannot_write(format!("can't be removed: {cause}")).at(Place::file(folder));
    let aside = folder.with_file_name(format!("{}old", temporary_prefix(folder)));
    let remove = |folder: &Path| match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    };
    remove(&aside).map_err(removing)?;
    match fault::check().and_then(|()| fs::rename(folder, &aside)) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(removing)?,
    }
    remove(&aside).map_err(removing)
}

/// Brings every file and folder below `folder` to the disk.
fn sync_tree(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            // For writing, because Windows flushes no file that is open for reading only.
            fault::check()?;
            File::options().read(true).append(true).open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// The names in a folder.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|cause| Error::reading(folder, cause))?;
    Ok(entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
        fs::write(folder.join(name), text).unwrap();
        Ok(())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_the_old_one_whole() {
        let root = tempfile::tempdir().unwrap();
        let destination = root.path().join("last");
        for name in ["first", "second"] {
            write_folder_atomic(&destination, |folder| {
                fs::create_dir(folder.join("sub")).unwrap();
                fs::write(folder.join("sub").join("file"), name).unwrap();
                fs::write(folder.join(name), "x").unwrap();
                Ok(())
            })
            .unwrap();
            assert_eq!(names(&destination), [name, "sub"]);
            assert_eq!(names(root.path()), ["last"], "no temporary folder stays");
        }
    }

    #[test]
    fn a_failed_fill_keeps_the_old_folder_and_leaves_no_litter() {
        let root = tempfile::tempdir().unwrap();
        let destination = root.path().join("best");
        write_folder_atomic(&destination, |folder| put(folder, "kept", "x")).unwrap();
        let failed: Result<()> = write_folder_atomic(&destination, |folder| {
            fs::write(folder.join("half"), "x").unwrap();
            Err(Error::internal("stopped"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "stopped");
        assert_eq!(names(&destination), ["kept"]);
        assert_eq!(names(root.path()), ["best"]);
    }

    #[test]
    fn a_file_in_the_way_is_refused_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let destination = root.path().join("run");
        fs::write(&destination, "mine").unwrap();
        assert!(write_folder_atomic(&destination, |_| Ok(())).unwrap_err().to_string().contains("run"));
        assert_eq!(fs::read_to_string(&destination).unwrap(), "mine");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reader_finds_a_complete_folder_at_every_moment() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let root = tempfile::tempdir().unwrap();
        let destination = root.path().join("model");
        let replace = |text: &str| {
            write_folder_atomic(&destination, |folder| put(folder, "file", text)).unwrap();
        };
        replace("0");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // The folder may be swapped between the two lookups of one path, so only the folder is asked for.
                    assert!(destination.is_dir());
                }
            });
            (1..50).for_each(|n| replace(&n.to_string()));
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_to_string(destination.join("file")).unwrap(), "49");
    }
}
