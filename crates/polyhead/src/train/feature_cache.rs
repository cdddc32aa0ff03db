//! Tokenised training data, kept between runs: from a key over everything that decides them to the windows of a task.
//!
//! One file a task in the cache folder, under its key (a SHA-256), never changed once it is there:
//!
//! ```text
//! features/KEY.windows    SHA-256 of KEY and of what follows
//!                         TrainingWindows, as the crate `postcard` lays it out
//! ```
//!
//! A file that is not exactly what was written is reported, ignored and replaced. A folder that can't be written is reported
//! once and costs nothing but the time to tokenise again. Above [`LIMIT`] the files unused for longest go.

use super::windows::TrainingWindows;
use crate::error::{Error, Result};
use crate::io::{hex, write_atomic};
use crate::tasks::{AnyTask, Examples, Fingerprint, Purpose};
use crate::text::Tokenizer;
use rayon::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Raised with every change of the layout above.
const FORMAT: u32 = 2;

/// The bytes that all files together may have: about eight times the training data of SQuAD.
const LIMIT: u64 = 2 << 30;

/// What the names of our files end in.
const EXTENSION: &str = "windows";

/// The key of a task's training windows, 64 hexadecimal digits; `None` where the task can't tell what decides them.
pub(super) fn key(task: &dyn AnyTask, train: &Examples, tokenizer: &Tokenizer) -> Result<Option<String>> {
    let prints: Vec<Option<Fingerprint>> =
        (0..train.len).into_par_iter().map(|index| task.fingerprint(train, index)).collect::<Result<_>>()?;
    let Some(prints) = prints.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let head = json!({
        "format": FORMAT,
        // The tokenizer's code comes with the release.
        "polyhead": env!("CARGO_PKG_VERSION"),
        "kind": task.kind(),
        "config": task.config(),
        "purpose": format!("{:?}", Purpose::Train),
        "tokenizer": hex(&tokenizer.sha256),
        "case": tokenizer.reads_case(),
    });
    let mut digest = Sha256::new_with_prefix(head.to_string());
    prints.iter().for_each(|Fingerprint(print)| digest.update(print));
    Ok(Some(hex(&digest.finalize())))
}

/// The folder of the cache.
pub(super) struct FeatureCache {
    folder: PathBuf,
    limit: u64,
    /// Until writing fails for the first time.
    writable: bool,
}

impl FeatureCache {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, limit: LIMIT, writable: true }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.{EXTENSION}"))
    }

    /// The windows under a key, of so many examples.
    pub fn get(&self, key: &str, examples: usize, notify: &mut dyn FnMut(&str)) -> Option<TrainingWindows> {
        let path = self.path(key);
        let bytes = match read(&path, self.limit) {
            // A folder that can't be entered is reported once, when it is to be written.
            Err(cause) if matches!(cause.kind(), NotFound | NotADirectory | PermissionDenied) => return None,
            Err(cause) => Err(format!("it can't be read: {cause}")),
            Ok(bytes) => Ok(bytes),
        };
        match bytes.and_then(|bytes| decode(key, &bytes, examples)) {
            Ok(found) => {
                // The time of last use decides what is pruned. Where it can't be set, that of writing does.
                let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(found)
            }
            Err(reason) => {
                notify(&format!("{}: not used, and rebuilt: {reason}", path.display()));
                None
            }
        }
    }

    /// Keeps windows under a key.
    pub fn put(&mut self, key: &str, windows: &TrainingWindows, notify: &mut dyn FnMut(&str)) {
        if !self.writable {
            return;
        }
        let kept = encode(key, windows).and_then(|bytes| {
            if bytes.len() as u64 > self.limit {
                let message = format!("expected at most {} bytes, found {}", self.limit, bytes.len());
                return Err(Error::cannot_write(message));
            }
            self.write(key, &bytes).inspect_err(|_| self.writable = false)
        });
        if let Err(error) = kept {
            notify(&format!("tokenised data are not kept for later runs: {error}"));
        }
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|cause| Error::writing(&self.folder, cause))?;
        write_atomic(self.path(key), bytes)?;
        self.prune();
        Ok(())
    }

    /// Removes our files, those unused for longest first, until the rest is within the limit.
    fn prune(&self) {
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if let Ok(metadata) = entry.metadata()
                && let Ok(modified) = metadata.modified()
                && entry.file_name().to_str().is_some_and(is_ours)
                && metadata.is_file()
            {
                files.push((modified, entry.path(), metadata.len()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in files {
            if total <= self.limit {
                return;
            }
            // What can't be removed, or was by another run, costs space only.
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// `KEY.windows`, or what a killed run left of writing it, `.KEY.windows.tmp-XXXXXX`: nothing else is ever removed.
fn is_ours(name: &str) -> bool {
    let Some((key, rest)) = name.strip_prefix('.').unwrap_or(name).split_once('.') else { return false };
    key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) && rest.starts_with(EXTENSION)
}

/// The bytes of a file that is no longer than the cache may be.
fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > limit {
        return Err(std::io::Error::other(format!("expected at most {limit} bytes, found {length}")));
    }
    fs::read(path)
}

fn digest(key: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(key).chain_update(body).finalize().into()
}

fn encode(key: &str, windows: &TrainingWindows) -> Result<Vec<u8>> {
    let fault = |cause| Error::internal(format!("can't lay out the windows: {cause}"));
    let body = postcard::to_stdvec(windows).map_err(fault)?;
    Ok([&digest(key, &body)[..], &body].concat())
}

/// The windows of a file, or why it is none of ours.
fn decode(key: &str, bytes: &[u8], examples: usize) -> Result<TrainingWindows, String> {
    let differs = || format!("expected its digest and what that is of, found {} other bytes", bytes.len());
    let (found, body) = bytes.split_first_chunk::<32>().ok_or_else(differs)?;
    if *found != digest(key, body) {
        return Err(differs());
    }
    let (all, rest) = postcard::take_from_bytes::<TrainingWindows>(body).map_err(|cause| cause.to_string())?;
    if !rest.is_empty() || all.windows.iter().any(|window| window.example >= examples) {
        return Err(format!("expected windows of {examples} examples, found others"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::batch::{Features, Targets};
    use crate::events::Lost;
    use crate::train::windows::TrainingWindow;
    use proptest::prelude::*;
    use std::time::Duration;

    fn window(example: usize, ids: Vec<u32>) -> TrainingWindow {
        let spans = ids.iter().map(|&id| (id % 3 > 0).then_some((id as usize / 2, id as usize))).collect();
        // As question answering has them: two targets, however many tokens.
        let targets = Targets::Positions(vec![-100, 1 << 40]);
        let types = ids.iter().map(|id| id % 2).collect();
        TrainingWindow { example, features: Features { ids, types, spans, targets, ..Features::default() } }
    }

    /// Of three examples, with two windows for the second and one without a token for the third.
    fn some() -> TrainingWindows {
        let windows = vec![window(0, vec![1, 2, 3]), window(1, vec![4]), window(1, vec![5, 6]), window(2, vec![])];
        TrainingWindows { windows, lost: Lost { tokens: 7, golds: 1 } }
    }

    fn key(of: u8) -> String {
        hex(&[of; 32])
    }

    fn quiet() -> impl FnMut(&str) {
        |note: &str| panic!("nothing to tell, found {note}")
    }

    #[test]
    fn what_was_put_is_found_under_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::new(folder.path().join("a").join("features"));
        assert_eq!(cache.get(&key(1), 3, &mut quiet()), None);
        cache.put(&key(1), &some(), &mut quiet());
        assert_eq!(cache.get(&key(1), 3, &mut quiet()), Some(some()));
        assert_eq!(cache.get(&key(2), 3, &mut quiet()), None);
        let files: Vec<_> = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [std::ffi::OsString::from(format!("{}.windows", key(1)))], "nothing is left beside it");
    }

    #[test]
    fn a_file_that_is_cut_short_or_has_one_bit_changed_is_told_and_replaced_at_any_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::new(folder.path().to_owned());
        cache.put(&key(1), &some(), &mut quiet());
        let path = cache.path(&key(1));
        let whole = fs::read(&path).unwrap();
        let damages = (0..whole.len()).flat_map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            [whole[..at].to_vec(), flipped]
        });
        for damaged in damages.chain([[&whole[..], b"x"].concat(), b"another program's file".to_vec()]) {
            fs::write(&path, damaged).unwrap();
            let mut told = Vec::new();
            assert_eq!(cache.get(&key(1), 3, &mut |note| told.push(note.to_owned())), None);
            assert_eq!(told.len(), 1);
            assert!(told[0].contains(&key(1)) && told[0].contains("rebuilt"), "{told:?}");
        }
        cache.put(&key(1), &some(), &mut quiet());
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(cache.get(&key(1), 3, &mut quiet()), Some(some()));
    }

    #[test]
    fn a_whole_file_of_another_key_or_of_more_examples_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::new(folder.path().to_owned());
        cache.put(&key(1), &some(), &mut quiet());
        fs::copy(cache.path(&key(1)), cache.path(&key(2))).unwrap();
        for (key, examples) in [(key(2), 3), (key(1), 2)] {
            let mut told = 0;
            assert_eq!(cache.get(&key, examples, &mut |_| told += 1), None);
            assert_eq!(told, 1);
        }
    }

    #[test]
    fn what_is_not_windows_is_refused_even_under_its_digest() {
        let whole = encode(&key(1), &some()).unwrap()[32..].to_vec();
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        for body in cut.chain([[&whole[..], b"x"].concat(), vec![0xff; 40]]) {
            let bytes = [&digest(&key(1), &body)[..], &body].concat();
            assert!(decode(&key(1), &bytes, 3).is_err(), "{} bytes", body.len());
        }
    }

    #[test]
    fn a_folder_that_can_not_be_written_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let mut cache = FeatureCache::new(file.join("features"));
        let mut told = Vec::new();
        for of in 1..4 {
            cache.put(&key(of), &some(), &mut |note| told.push(note.to_owned()));
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("not kept for later runs") && told[0].contains("file"), "{told:?}");
    }

    #[test]
    fn above_the_limit_our_files_unused_for_longest_go_and_no_one_elses() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = FeatureCache::new(folder.path().to_owned());
        let size = encode(&key(0), &some()).unwrap().len() as u64;
        cache.limit = 2 * size + size / 2;
        let aged = |path: &Path, days: u64| {
            let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        };
        // Left by a killed run, and not ours.
        let left = folder.path().join(format!(".{}.windows.tmp-Ab12", key(9)));
        let others = [folder.path().join("train.json"), folder.path().join(format!("{}.json", key(9)))];
        for path in others.iter().chain([&left]) {
            fs::write(path, vec![0; size as usize]).unwrap();
            aged(path, 9);
        }
        for (of, days) in [(1, 3), (2, 2)] {
            cache.put(&key(of), &some(), &mut quiet());
            aged(&cache.path(&key(of)), days);
        }
        assert!(!left.exists());
        assert!(cache.get(&key(1), 3, &mut quiet()).is_some(), "used again, so not the oldest any more");
        cache.put(&key(3), &some(), &mut quiet());
        let kept: Vec<bool> = [1, 2, 3].map(|of| cache.path(&key(of)).exists()).to_vec();
        assert_eq!(kept, [true, false, true]);
        assert!(others.iter().all(|path| path.exists()));
        cache.limit = size - 1;
        let mut told = 0;
        cache.put(&key(4), &some(), &mut |_| told += 1);
        assert_eq!((told, cache.path(&key(4)).exists()), (1, false), "larger than all may be");
    }

    fn targets() -> impl Strategy<Value = Targets> {
        prop_oneof![
            prop::collection::vec(any::<i64>(), 0..6).prop_map(Targets::Classes),
            prop::collection::vec(any::<i64>(), 0..6).prop_map(Targets::Positions),
            prop::collection::vec(-1e9..1e9_f32, 0..6).prop_map(Targets::Reals),
            prop::collection::vec(prop::collection::vec(any::<u32>(), 0..3), 0..6).prop_map(Targets::Sets),
        ]
    }

    proptest! {
        #[test]
        fn any_windows_come_back_as_they_were(
            windows in prop::collection::vec(
                (
                    0..50usize,
                    prop::collection::vec(any::<u32>(), 0..6),
                    prop::collection::vec(any::<u32>(), 0..6),
                    prop::collection::vec(prop::option::of(any::<(usize, usize)>()), 0..6),
                    prop::collection::vec(any::<(u32, u32)>(), 0..6),
                    prop::collection::vec(any::<(u32, u32)>(), 0..6),
                    targets(),
                ),
                0..8,
            ),
            tokens in any::<usize>(),
        ) {
            let windows = windows.into_iter().map(|(example, ids, types, spans, ranges, pairs, targets)| {
                TrainingWindow { example, features: Features { ids, types, spans, ranges, pairs, targets } }
            });
            let all = TrainingWindows { windows: windows.collect(), lost: Lost { tokens, golds: 3 } };
            prop_assert_eq!(decode(&key(1), &encode(&key(1), &all).unwrap(), 50).unwrap(), all);
        }
    }
}
