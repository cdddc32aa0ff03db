//! The Hub's cache on this machine, in the layout of `huggingface_hub`:
//!
//! ```text
//! models--owner--name/blobs/DIGEST                 the bytes, under the digest that they have
//! models--owner--name/refs/REVISION                a file that holds the commit
//! models--owner--name/snapshots/COMMIT/PATH        a link to ../../blobs/DIGEST
//! .locks/models--owner--name/DIGEST.lock           held while DIGEST is downloaded
//! ```
//!
//! Where a system has no links, or a cache was copied without them, a snapshot holds the bytes themselves, and often there
//! is no blob beside them: huggingface_hub moves it there. Then nothing says which digest a file should have.

use super::digest::{Check, Digest, git_sha1};
use super::name::{Kind, Repository};
use crate::error::{Error, Result};
use crate::io::{folder_of, sha256_file, write_atomic};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use std::fs;
use std::path::{Path, PathBuf};

/// One repository's part of the cache.
pub(super) struct RepositoryCache {
    root: PathBuf,
    folder: String,
    layout: CacheRepo,
}

/// What the cache has of a file.
pub(super) enum Cached {
    /// Its path in the snapshot; the bytes have the digest they should have.
    Whole(PathBuf),
    /// The same, but nothing says which digest the bytes should have.
    Unchecked(PathBuf),
    Absent,
    /// The bytes are not what they should be. With the reason.
    Damaged(String),
}

/// As hf-hub describes a repository.
pub(super) fn described(repository: &Repository) -> Repo {
    let kind = match repository.kind {
        Kind::Model => RepoType::Model,
        Kind::Dataset => RepoType::Dataset,
    };
    Repo::with_revision(repository.id.clone(), kind, repository.revision.clone())
}

impl RepositoryCache {
    pub fn new(root: &Path, repository: &Repository) -> Self {
        let repo = described(repository);
        let folder = repo.folder_name();
        Self { root: root.to_owned(), folder, layout: Cache::new(root.to_owned()).repo(repo) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.layout.blob_path(digest.text())
    }
    pub fn lock(&self, digest: &Digest) -> PathBuf {
        self.root.join(".locks").join(&self.folder).join(format!("{}.lock", digest.text()))
    }
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }
    fn reference(&self, revision: &str) -> PathBuf {
        self.root.join(&self.folder).join("refs").join(revision)
    }

    /// The commit that a revision stood for when it was last asked; a commit stands for itself.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.reference(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes what a revision stands for now. Last of all, when the files are there: an interrupted download must not
    /// hide an older complete snapshot.
    pub fn note_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference(revision);
        create_folder(folder_of(&path))?;
        write_atomic(&path, commit)
    }

    /// Puts a checked blob under its name in the snapshot.
    pub fn link(&self, commit: &str, name: &str, digest: &Digest) -> Result<PathBuf> {
        let (blob, path) = (self.blob(digest), self.snapshot(commit).join(name));
        if fs::read_link(&path).is_ok() && fs::canonicalize(&path).ok() == fs::canonicalize(&blob).ok() {
            return Ok(path);
        }
        let folder = folder_of(&path);
        create_folder(folder)?;
        // A link can't replace one in place: it is made under another name and renamed.
        let temporary = tempfile::Builder::new().prefix(".link-").tempdir_in(folder);
        let linked = temporary.and_then(|beside| {
            let new = beside.path().join("link");
            let up = "../".repeat(2 + name.split('/').count() - 1);
            link_or_copy(Path::new(&format!("{up}blobs/{}", digest.text())), &blob, &new)?;
            fs::rename(&new, &path)
        });
        linked.map_err(|cause| Error::writing(&path, cause))?;
        Ok(path)
    }

    /// A file that stands in a snapshot itself, with no blob beside it, if its digest is this one.
    pub fn whole_copy(&self, commit: &str, name: &str, digest: &Digest) -> Result<Option<PathBuf>> {
        let path = self.snapshot(commit).join(name);
        let plain = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) && !self.blob(digest).exists();
        Ok(if plain && digest.check(&path)? == Check::Same { Some(path) } else { None })
    }

    /// Looks a file up and checks its bytes. A damaged blob is removed, so that it will be fetched again.
    pub fn find(&self, commit: &str, name: &str) -> Result<Cached> {
        let path = self.snapshot(commit).join(name);
        let Ok(target) = fs::canonicalize(&path) else { return Ok(Cached::Absent) };
        let named = target.file_name().and_then(|name| name.to_str()).and_then(Digest::from_etag);
        let Some(digest) = named else { return self.find_copy(path) };
        Ok(match digest.check(&target)? {
            Check::Same => Cached::Whole(path),
            Check::Differs(found) => {
                let _ = fs::remove_file(&target); // a cache that can't be written is reported all the same
                Cached::Damaged(format!("expected digest {}, found {found}; removed", digest.text()))
            }
        })
    }
}

impl RepositoryCache {
    /// Checks a file that stands in a snapshot itself. A blob with its digest vouches for it; one that is as long and has
    /// another says that it was altered.
    fn find_copy(&self, path: PathBuf) -> Result<Cached> {
        let known = [Digest::Sha256(sha256_file(&path)?), Digest::GitSha1(git_sha1(&path)?)];
        if known.iter().any(|digest| self.blob(digest).is_file()) {
            return Ok(Cached::Whole(path));
        }
        let length = path.metadata().map_err(|cause| Error::reading(&path, cause))?.len();
        let blobs = self.blob(&known[0]);
        let beside = fs::read_dir(folder_of(&blobs)).into_iter().flatten().flatten();
        let altered = beside
            .filter(|blob| blob.metadata().is_ok_and(|blob| blob.len() == length))
            .find_map(|blob| Digest::from_etag(blob.file_name().to_str()?));
        Ok(match altered {
            Some(digest) => Cached::Damaged(format!(
                "it is as long as the blob {} and has the digest {}",
                digest.text(),
                digest.of_file(&path)?.text()
            )),
            None => Cached::Unchecked(path),
        })
    }
}

/// A commit is 40 hexadecimal digits; nothing else from outside becomes part of a path.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|cause| Error::writing(folder, cause))
}

#[cfg(unix)]
fn link_or_copy(relative: &Path, blob: &Path, new: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(relative, new).or_else(|_| copy(blob, new))
}

#[cfg(windows)]
fn link_or_copy(relative: &Path, blob: &Path, new: &Path) -> std::io::Result<()> {
    // Links need a privilege on Windows that few people have.
    std::os::windows::fs::symlink_file(relative, new).or_else(|_| copy(blob, new))
}

fn copy(blob: &Path, new: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, new).or_else(|_| fs::copy(blob, new).map(drop))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn with_hello(root: &Path) -> (RepositoryCache, Digest) {
        let repository = Repository { kind: Kind::Model, id: "o/n".into(), revision: "main".into() };
        let cache = RepositoryCache::new(root, &repository);
        let digest = Digest::GitSha1("ce013625030ba8dba906f756967f9e9ca394464a".into());
        create_folder(folder_of(&cache.blob(&digest))).unwrap();
        fs::write(cache.blob(&digest), "hello\n").unwrap();
        (cache, digest)
    }

    #[test]
    fn a_linked_file_is_found_whole_and_a_damaged_one_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let (cache, digest) = with_hello(root.path());
        assert!(matches!(cache.find(COMMIT, "a/b.txt").unwrap(), Cached::Absent));
        let path = cache.link(COMMIT, "a/b.txt", &digest).unwrap();
        assert_eq!(path, root.path().join(format!("models--o--n/snapshots/{COMMIT}/a/b.txt")));
        assert_eq!(cache.link(COMMIT, "a/b.txt", &digest).unwrap(), path, "twice changes nothing");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello\n");
        assert!(matches!(cache.find(COMMIT, "a/b.txt").unwrap(), Cached::Whole(found) if found == path));
        fs::write(cache.blob(&digest), "hellO\n").unwrap();
        assert!(matches!(cache.find(COMMIT, "a/b.txt").unwrap(), Cached::Damaged(_)));
        assert!(!cache.blob(&digest).exists());
    }

    #[test]
    fn a_plain_file_in_a_snapshot_is_checked_where_a_blob_vouches_for_it_and_else_is_said_to_be_unchecked() {
        let root = tempfile::tempdir().unwrap();
        let (cache, _) = with_hello(root.path());
        create_folder(&cache.snapshot(COMMIT)).unwrap();
        for (name, text) in [("same", "hello\n"), ("altered", "hellO\n"), ("other", "of another length")] {
            fs::write(cache.snapshot(COMMIT).join(name), text).unwrap();
        }
        assert!(matches!(cache.find(COMMIT, "same").unwrap(), Cached::Whole(_)));
        assert!(matches!(cache.find(COMMIT, "altered").unwrap(), Cached::Damaged(_)));
        assert!(matches!(cache.find(COMMIT, "other").unwrap(), Cached::Unchecked(_)));
        // Whatever is not whole is left where it is: it is the user's only copy.
        assert!(cache.snapshot(COMMIT).join("altered").is_file());
        fs::remove_dir_all(root.path().join("models--o--n/blobs")).unwrap();
        assert!(matches!(cache.find(COMMIT, "same").unwrap(), Cached::Unchecked(_)));
    }

    #[test]
    fn a_reference_that_holds_no_commit_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (cache, _) = with_hello(root.path());
        cache.note_commit("main", COMMIT).unwrap();
        assert_eq!(cache.commit_of("main").as_deref(), Some(COMMIT));
        fs::write(cache.reference("main"), "../../../../etc").unwrap();
        assert_eq!(cache.commit_of("main"), None);
        assert_eq!(cache.commit_of(COMMIT).as_deref(), Some(COMMIT));
    }
}
