//! What a checkpoint or a data file is called: a folder, `owner/name@revision`, or `hf://datasets/...`. Checked here,
//! once, so that every part may later stand in a path and in an address.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// What `encoder.checkpoint` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checkpoint {
    Folder(PathBuf),
    Hub(Repository),
}

/// Which of the Hub's kinds of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Dataset,
}

/// A repository on the Hub at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub kind: Kind,
    /// `owner/name`, or `name` for the few old ones without an owner.
    pub id: String,
    /// A branch, a tag or a commit; `main` where none is named.
    pub revision: String,
}

/// A file in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepositoryFile {
    pub repository: Repository,
    /// Its path in the repository: names with `/` between.
    pub path: String,
}

impl Repository {
    /// As a person would write it.
    pub fn said(&self) -> String {
        match self.revision.as_str() {
            "main" => self.id.clone(),
            revision => format!("{}@{revision}", self.id),
        }
    }
}

/// Tells a folder from a name on the Hub. What exists as a folder is one; what looks like a path must be one.
pub(super) fn checkpoint(text: &str) -> Result<Checkpoint> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::usage("expected a folder or a name on the Hub for the checkpoint, found nothing"));
    }
    let path = Path::new(text);
    let looks_like_a_path = path.is_absolute() || text.starts_with(['.', '~']) || text.contains('\\');
    if looks_like_a_path || path.exists() || text.ends_with('/') {
        return Ok(Checkpoint::Folder(path.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        let id: Vec<_> = rest.split('/').skip(1).take(2).collect();
        return Err(Error::usage(format!("expected a name on the Hub, found an address: {text}"))
            .hint(format!("write `{}`, and set HF_ENDPOINT for another server", id.join("/"))));
    }
    let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
    if id.split('/').count() > 2 {
        return Err(Error::missing(format!("no such folder: {text}"))
            .hint("a name on the Hub has the form `owner/name` or `owner/name@revision`"));
    }
    Ok(Checkpoint::Hub(repository(Kind::Model, id, revision)?))
}

/// Reads the name of a model on the Hub: `owner/name`, or `owner/name@revision`.
pub(super) fn model(text: &str) -> Result<Repository> {
    let (id, revision) = text.trim().split_once('@').unwrap_or((text.trim(), "main"));
    if id.split('/').count() != 2 {
        return Err(Error::usage(format!("expected a name on the Hub, `owner/name`, found `{text}`")));
    }
    repository(Kind::Model, id, revision)
}

/// Reads `hf://datasets/OWNER/NAME[@REVISION]/PATH`. As in `datasets`, `/` within a revision is written `%2F`, except in
/// `refs/convert/NAME` and `refs/pr/NUMBER`.
pub(super) fn dataset_file(uri: &str) -> Result<RepositoryFile> {
    let expected = || {
        Error::usage(format!("expected hf://datasets/OWNER/NAME[@REVISION]/PATH/OF/FILE, found `{uri}`"))
            .hint("for example hf://datasets/rajpurkar/squad/plain_text/validation-00000-of-00001.parquet")
    };
    let mut parts = uri.trim().strip_prefix("hf://datasets/").ok_or_else(expected)?.split('/');
    let owner = parts.next().ok_or_else(expected)?;
    let named = parts.next().ok_or_else(expected)?;
    let mut rest: Vec<&str> = parts.collect();
    let (name, mut revision) = match named.split_once('@') {
        Some((name, revision)) => (name, revision.replace("%2F", "/").replace("%2f", "/")),
        None => (named, "main".to_owned()),
    };
    if revision == "refs" && rest.len() > 2 && matches!(rest.first(), Some(&("convert" | "pr"))) {
        let reference: Vec<_> = rest.drain(..2).collect();
        revision = format!("refs/{}", reference.join("/"));
    }
    let path = rest.join("/");
    if path.is_empty() {
        return Err(expected());
    }
    if path.contains('*') {
        return Err(Error::usage(format!("expected one file, found a pattern: `{uri}`")).hint("name each file"));
    }
    if !rest.iter().all(|part| is_name_of_file(part)) {
        return Err(Error::usage(format!("`{path}` is no path inside a repository (in `{uri}`)")));
    }
    Ok(RepositoryFile { repository: repository(Kind::Dataset, &format!("{owner}/{name}"), &revision)?, path })
}

fn repository(kind: Kind, id: &str, revision: &str) -> Result<Repository> {
    if !id.split('/').all(is_name) || id.contains("--") {
        return Err(Error::usage(format!(
            "`{id}` is no name on the Hub: expected `owner/name` of letters, digits, `-`, `_` and `.`"
        ))
        .hint("for a folder on this machine, check the path: it does not exist"));
    }
    if !revision.split('/').all(is_name) {
        return Err(Error::usage(format!("`{revision}` is no revision: expected a branch, a tag or a commit")));
    }
    Ok(Repository { kind, id: id.to_owned(), revision: revision.to_owned() })
}

/// A part of a repository's name, by the Hub's own rule; `+` for tags.
fn is_name(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    (1..=96).contains(&part.len()) && part.bytes().all(plain) && !part.starts_with('.') && !part.contains("..")
}

/// A name that may become a part of a path on any system.
pub(super) fn is_name_of_file(part: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '\\' | ':');
    !part.is_empty() && part.len() <= 255 && part != "." && part != ".." && !part.contains(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn hub(text: &str) -> (String, String) {
        match checkpoint(text).unwrap() {
            Checkpoint::Hub(repository) => (repository.id, repository.revision),
            Checkpoint::Folder(folder) => panic!("{folder:?} taken for a folder"),
        }
    }

    #[test]
    fn names_on_the_hub_and_folders_are_told_apart() {
        let pair = |id: &str, revision: &str| (id.to_owned(), revision.to_owned());
        assert_eq!(hub("bert-base-cased"), pair("bert-base-cased", "main"));
        assert_eq!(hub("owner/na.me_1@v1.0"), pair("owner/na.me_1", "v1.0"));
        assert_eq!(hub("owner/name@refs/pr/3"), pair("owner/name", "refs/pr/3"));
        let here = tempfile::tempdir().unwrap();
        for folder in ["/absent", "./x", "../x/y", "a\\b", "models/", here.path().to_str().unwrap()] {
            assert!(matches!(checkpoint(folder).unwrap(), Checkpoint::Folder(_)), "{folder}");
        }
    }

    #[test]
    fn no_name_can_leave_the_cache() {
        for bad in ["", "a//b", "owner/..", "o/n@../../x", "o/n@", "o/n@a//b", "a b/c", "o/n@x\ny", "a/b/c", "o--x/n"] {
            assert!(checkpoint(bad).is_err(), "{bad:?}");
        }
        for bad in ["o/n/../x", "o/n/a/../../b", "../n/x", "o/n//x", "o/n/a\\b", "o/n@../x/y", "o/n/C:x", "o/n/\0"] {
            assert!(dataset_file(&format!("hf://datasets/{bad}")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn data_files_are_read_in_the_notation_of_datasets() {
        let read = |uri: &str| {
            let file = dataset_file(uri).unwrap();
            (file.repository.id, file.repository.revision, file.path)
        };
        let triple = |id: &str, revision: &str, path: &str| (id.to_owned(), revision.to_owned(), path.to_owned());
        assert_eq!(read("hf://datasets/o/n/a/b c.parquet"), triple("o/n", "main", "a/b c.parquet"));
        assert_eq!(read("hf://datasets/o/n@v1/x.json"), triple("o/n", "v1", "x.json"));
        assert_eq!(read("hf://datasets/o/n@refs%2Fpr%2F1/x"), triple("o/n", "refs/pr/1", "x"));
        assert_eq!(read("hf://datasets/o/n@refs/convert/parquet/d/x"), triple("o/n", "refs/convert/parquet", "d/x"));
        for bad in ["o/n/x", "hf://o/n/x", "hf://datasets/o/n", "hf://datasets/o/n/*.parquet", "hf://datasets/"] {
            assert!(dataset_file(bad).is_err(), "{bad}");
        }
    }
}
