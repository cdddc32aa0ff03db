//! One file of a repository into the cache: taken up where it stopped, and under its name only once its digest is right.

use super::HubEvent;
use super::cache::{RepositoryCache, create_folder};
use super::client::{Client, Description, Failure};
use super::digest::{Check, differs};
use super::name::Repository;
use crate::error::{Error, Result};
use crate::io::{CHUNK, folder_of, sync_folder};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest file that is taken where the server does not say how long it is.
const UNSTATED_LIMIT: u64 = 16 << 30;

/// What a download needs to know.
pub(super) struct Job<'a> {
    pub client: &'a Client,
    pub cache: &'a RepositoryCache,
    pub repository: &'a Repository,
    /// The file's path in the repository.
    pub name: &'a str,
    pub description: &'a Description,
    pub retries: u32,
}

/// Brings the file and returns its path in the snapshot. A blob that is there already is checked, not trusted.
pub(super) fn fetch(job: &Job, notify: &mut dyn FnMut(HubEvent)) -> Result<PathBuf, Failure> {
    let digest = &job.description.digest;
    let blob = job.cache.blob(digest);
    if let Some(copy) = job.cache.whole_copy(&job.description.commit, job.name, digest)? {
        return Ok(copy);
    }
    if !is_whole(job, &blob, notify)? {
        let lock = job.cache.lock(digest);
        create_folder(folder_of(&blob))?;
        create_folder(folder_of(&lock))?;
        // The lock that huggingface_hub takes too; it ends with the process, however that ends.
        let held = File::create(&lock).map_err(|cause| Error::writing(&lock, cause))?;
        if held.try_lock().is_err() {
            notify(HubEvent::Note(format!("waiting for another process that downloads {}", job.name)));
            held.lock().map_err(|cause| Error::writing(&lock, cause))?;
        }
        if !is_whole(job, &blob, notify)? {
            download(job, &blob, notify)?;
        }
    }
    Ok(job.cache.link(&job.description.commit, job.name, digest)?)
}

fn is_whole(job: &Job, blob: &Path, notify: &mut dyn FnMut(HubEvent)) -> Result<bool> {
    if !blob.is_file() {
        return Ok(false);
    }
    if job.description.digest.check(blob)? == Check::Same {
        return Ok(true);
    }
    fs::remove_file(blob).map_err(|cause| Error::writing(blob, cause))?;
    notify(HubEvent::Note(format!("{} in the cache was damaged: removed, fetching it again", job.name)));
    Ok(false)
}

fn download(job: &Job, blob: &Path, notify: &mut dyn FnMut(HubEvent)) -> Result<(), Failure> {
    let partial = blob.with_file_name(format!("{}.incomplete", job.description.digest.text()));
    let mut resumed = length(&partial) > 0;
    let mut failed = 0;
    loop {
        let before = length(&partial);
        match append(job, &partial, notify) {
            Ok(()) => match job.description.digest.check(&partial)? {
                Check::Same => break,
                Check::Differs(found) => {
                    remove(&partial)?;
                    if !resumed {
                        let expected = job.description.digest.text();
                        return Err(differs(job.name, &job.repository.said(), expected, &found).into());
                    }
                    // The part that an earlier run left may have been the damaged one.
                    resumed = false;
                    notify(HubEvent::Note(format!("the earlier part of {} does not fit: starting over", job.name)));
                }
            },
            Err(Failure::Unreachable(why)) => {
                // Only tries that brought nothing count, so that a bad line still gets there.
                failed = if length(&partial) > before { 1 } else { failed + 1 };
                if failed > job.retries {
                    let (here, name) = (length(&partial), job.name);
                    return Err(Failure::Unreachable(format!("{name} broke off after {here} bytes: {why}")));
                }
                resumed = length(&partial) > 0;
                notify(HubEvent::Note(format!("{} broke off ({why}): taking it up again", job.name)));
                std::thread::sleep(Duration::from_millis(100 << failed.min(5)));
            }
            Err(other) => return Err(other),
        }
    }
    let file = File::options().append(true).open(&partial).map_err(|cause| Error::writing(&partial, cause))?;
    file.sync_all().map_err(|cause| Error::writing(&partial, cause))?;
    fs::rename(&partial, blob).map_err(|cause| Error::writing(blob, cause))?;
    sync_folder(folder_of(blob)).map_err(|cause| Error::writing(blob, cause))?;
    notify(HubEvent::Finished { file: job.name.to_owned() });
    Ok(())
}

/// Asks for what is missing and appends it. `Ok` means that the length is right (where it is known).
fn append(job: &Job, partial: &Path, notify: &mut dyn FnMut(HubEvent)) -> Result<(), Failure> {
    let writing = |cause| Failure::Refused(Error::writing(partial, cause));
    let total = job.description.bytes;
    let mut here = length(partial);
    if total.is_some_and(|total| here >= total) {
        // An empty file is made here; of any the digest decides whether it is right.
        File::options().create(true).append(true).open(partial).map_err(writing)?;
        return Ok(());
    }
    if total.is_none() && here > 0 {
        remove(partial)?; // without a length nobody can say whether the part is the whole
        here = 0;
    }
    let answer = match job.client.bytes(job.repository, &job.description.commit, job.name, here) {
        Err(Failure::Absent) => {
            return Err(Failure::Unreachable("the server has lost the file's bytes (404)".to_owned()));
        }
        other => other?,
    };
    if answer.from < here {
        File::create(partial).map_err(writing)?; // the server sends the whole file: from the start, then
        here = 0;
    }
    let file = job.name.to_owned();
    notify(HubEvent::Started { file: file.clone(), bytes: total, already: here });
    let mut out = File::options().create(true).append(true).open(partial).map_err(writing)?;
    let mut body = answer.body.into_reader();
    let mut buffer = vec![0; CHUNK];
    let mut told = here;
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(cause) => return Err(Failure::Unreachable(cause.to_string())),
        };
        out.write_all(buffer.get(..read).unwrap_or_default()).map_err(writing)?;
        here += read as u64;
        if here > total.unwrap_or(UNSTATED_LIMIT) {
            drop(out);
            remove(partial)?;
            return Err(Error::data(format!("the server sends more of {file} than it said"))
                .hint("the part was removed; check HF_ENDPOINT and the proxy")
                .into());
        }
        if here - told >= CHUNK as u64 {
            told = here;
            notify(HubEvent::Progress { file: file.clone(), done: here, total });
        }
    }
    match total {
        Some(total) if here < total => {
            Err(Failure::Unreachable(format!("the connection ended after {here} of {total} bytes")))
        }
        _ => Ok(()),
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|cause| Error::writing(path, cause))
}
