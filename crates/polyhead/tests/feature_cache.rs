//! Tokenised training data are kept between runs, and no run can tell: the same windows, the same weights, whatever
//! stands in the cache. Every run is a process of its own, with a cache folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::data::Layout;
use polyhead::io::{hex, sha256_file};
use polyhead::recipe::Recipe;
use polyhead::tasks::{Purpose, TASKS};
use polyhead::text::Tokenizer;
use polyhead::train::{Trainer, prepare};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for a child process: the recipe, and whether to train by it or only to prepare.
const RECIPE: &str = "POLYHEAD_TEST_RECIPE";
const ONLY_PREPARE: &str = "POLYHEAD_TEST_ONLY_PREPARE";

/// How the lines begin that a child prints.
const NOTE: &str = "note: ";
const WINDOWS: &str = "windows: ";

#[test]
#[ignore = "no test: what the child processes of the other tests run"]
fn child() {
    let Some(path) = std::env::var_os(RECIPE) else { return };
    let recipe = Recipe::read(Path::new(&path), &[]).unwrap();
    let mut note = |note: &str| println!("{NOTE}{note}");
    println!(); // the test harness may have begun a line
    if std::env::var_os(ONLY_PREPARE).is_none() {
        Trainer::new(recipe, &mut note).unwrap().for_each(|event| drop(event.unwrap()));
        return;
    }
    for data in prepare(&recipe, TASKS, &mut note).unwrap().task_data {
        println!("{WINDOWS}{:?} {:?}", data.windows, data.lost);
    }
}

/// A folder for recipes, their data and their runs, and one for the cache.
struct Home {
    folder: tempfile::TempDir,
    cache: PathBuf,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        Self { folder, cache }
    }

    /// What a child prints that works on the small recipe, with the cache and with overrides.
    fn child(&self, name: &str, train: bool, overrides: &[&str]) -> Vec<String> {
        let output = format!("output={}", self.folder.path().join(name).display());
        let overrides = [&["train.feature_cache=true", output.as_str()], overrides].concat();
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, small::recipe(self.folder.path(), &overrides).to_toml().unwrap()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture"]);
        command.env(RECIPE, &path).env("POLYHEAD_CACHE", &self.cache);
        if !train {
            command.env(ONLY_PREPARE, "1");
        }
        let child = command.output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        String::from_utf8(child.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Trains; the sha256 of the weights, and what was told about the cache.
    fn train(&self, name: &str, overrides: &[&str]) -> (String, Vec<String>) {
        let told = told(&self.child(name, true, overrides));
        (sha256_file(self.folder.path().join(name).join("tiny/best/model.safetensors")).unwrap(), told)
    }

    /// Prepares; the windows, and what was told about the cache.
    fn prepare(&self, name: &str, overrides: &[&str]) -> (Vec<String>, Vec<String>) {
        let lines = self.child(name, false, overrides);
        let windows: Vec<String> = lines.iter().filter(|line| line.starts_with(WINDOWS)).cloned().collect();
        assert_eq!(windows.len(), 2, "one line a task");
        (windows, told(&lines))
    }

    /// The files of the cache with their bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.cache.join("features")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }
}

/// The notes about the cache.
fn told(lines: &[String]) -> Vec<String> {
    let notes = lines.iter().filter_map(|line| line.strip_prefix(NOTE));
    notes.filter(|note| note.contains("tokenised") || note.contains("rebuilt")).map(str::to_owned).collect()
}

fn found() -> Vec<String> {
    ["ner", "qa"].map(|task| format!("tasks.{task}: tokenised by an earlier run (see train.feature_cache)")).to_vec()
}

#[test]
fn a_cold_cache_a_warm_one_a_damaged_one_and_none_give_the_same_weights() {
    let home = Home::new();
    let dropout = ["tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1"];
    let (without, told) = home.train("without", &[&dropout[..], &["train.feature_cache=false"]].concat());
    assert!(told.is_empty() && !home.cache.exists(), "{told:?}");
    let (cold, told) = home.train("cold", &dropout);
    assert_eq!((&cold, told.len()), (&without, 0), "{told:?}");
    let files = home.files();
    assert_eq!(files.len(), 2, "one file a task");
    assert_eq!(home.train("warm", &dropout), (cold.clone(), found()));
    assert_eq!(home.files(), files);

    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.iter_mut().rev().skip(100).take(1).for_each(|byte| *byte ^= 1),
        |bytes| *bytes = b"another program's".to_vec(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        for (path, bytes) in &files {
            let mut bytes = bytes.clone();
            damage(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        }
        let (damaged, told) = home.train(&format!("damaged-{number}"), &dropout);
        assert_eq!(damaged, cold);
        assert_eq!(told.len(), 2, "{told:?}");
        for path in files.keys() {
            assert!(told.iter().any(|note| note.starts_with(&format!("{}: ", path.display()))), "{told:?}");
        }
        assert!(told.iter().all(|note| note.contains("rebuilt")), "{told:?}");
        assert_eq!(home.files(), files, "replaced");
    }
    assert_eq!(home.train("at-last", &dropout), (cold, found()));
}

#[test]
fn a_cache_that_can_not_be_written_is_told_once_and_is_no_failure() {
    let home = Home::new();
    std::fs::write(&home.cache, "in the way").unwrap();
    let (windows, told) = home.prepare("unwritable", &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("tokenised data are not kept for later runs: "), "{told:?}");
    std::fs::remove_file(&home.cache).unwrap();
    assert_eq!(home.prepare("writable", &[]), (windows, Vec::new()));
}

#[test]
fn what_decides_the_windows_decides_the_key_and_where_the_data_stand_does_not() {
    let home = Home::new();
    let folder = home.folder.path();
    let (windows, _) = home.prepare("first", &[]);
    let mut files = home.files().len();
    assert_eq!(home.prepare("again", &[]), (windows.clone(), found()));

    // A tokenizer that keeps capital letters, beside the same weights.
    let cased = folder.join("cased");
    std::fs::create_dir(&cased).unwrap();
    for entry in std::fs::read_dir(small::fixture("tiny-bert")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            std::fs::copy(entry.path(), cased.join(entry.file_name())).unwrap();
        }
    }
    let tokenizer = std::fs::read_to_string(cased.join("tokenizer.json")).unwrap();
    let changed = tokenizer.replace("\"lowercase\": true", "\"lowercase\": false");
    assert_ne!(changed, tokenizer);
    std::fs::write(cased.join("tokenizer.json"), changed).unwrap();
    // One name of another type.
    let sentences = std::fs::read_to_string(folder.join("ner-train.conll")).unwrap();
    let retagged = folder.join("retagged.conll");
    std::fs::write(&retagged, sentences.replacen("B-PER", "B-LOC", 1)).unwrap();
    // One word of one context.
    let questions = std::fs::read_to_string(folder.join("qa-train.json")).unwrap();
    let reworded = folder.join("reworded.json");
    std::fs::write(&reworded, questions.replacen(" was ", " is ", 1)).unwrap();

    for (name, change, tasks) in [
        ("longer", "tasks.ner.max_length=40".to_owned(), 1),
        ("stride", "tasks.qa.stride=15".to_owned(), 1),
        ("labels", "tasks.ner.labels=['O','B-LOC','I-LOC','B-PER','I-PER','B-ORG','I-ORG']".to_owned(), 1),
        ("limit", "data.qa.limit=23".to_owned(), 1),
        ("retagged", format!("data.ner.train={}", retagged.display()), 1),
        ("reworded", format!("data.qa.train={}", reworded.display()), 1),
        ("cased", format!("encoder.checkpoint={}", cased.display()), 2),
    ] {
        let (_, told) = home.prepare(name, &[&change]);
        assert_eq!(told.len(), 2 - tasks, "{name}: {told:?}");
        files += tasks;
        assert_eq!(home.files().len(), files, "{name}");
        let (_, told) = home.prepare(&format!("{name}-again"), &[&change]);
        assert_eq!(told, found(), "{name}");
    }

    let moved = folder.join("moved.conll");
    std::fs::write(&moved, sentences).unwrap();
    let moved = format!("data.ner.train={}", moved.display());
    let (same, told) = home.prepare("moved", &[&moved, "train.learning_rate=1e-4", "seed=7"]);
    assert_eq!((same, told), (windows, found()));
}

/// What each kind of task makes of the same data: the sha256 of its fingerprints and of its windows.
const PINNED: &[(&str, &str, &str)] = &[
    (
        "ner",
        "4aa7d3b701dd2bde6df1e30b94b28bb2a4c3a1ced7170c86fd68b1ffca770468",
        "7e26f4609a0286b8ca6e038ba1a583280ae7b99ba1be62513b18437ada642525",
    ),
    (
        "qa",
        "93136d8ae5824cee91d7fd9be640ed119efa51f0f751f2a594c35aafa863eca1",
        "431f67ed0b2dd253faca86ea2c8faaa95feb87c0e39fccf3d707228984cc7faf",
    ),
    (
        "classify",
        "d1c0fd741a2d7f29d31959b3123a3cfaf670f4a691a152166a69e27d821ca8b4",
        "1a5cb60888e73f7871058f985e10831d6fa895be212ee55c6f81b378b1a196af",
    ),
    (
        "tag",
        "624256b06c57868659b16398ffd5dccf4b7559d6e31b44911d8614aad8f8b524",
        "33ffa04f3b0d9a2fa6faafe0669c689637c4c27cd7725d981541c53d18a7982b",
    ),
    (
        "relation",
        "6251dfd2a93323f2f138743828ecfa018f903e87e8b8b47a58e1f0b168ae2fc6",
        "d13f26f5c60440894e5bb0a5f9c3dc28baf87335bf1bd65618a55c16caaa5768",
    ),
    (
        "parse",
        "db6b2bd9d89af18824f44ae24d659368891dd8c1f1b361c20c23cfb9bb805a1b",
        "7903f7ef58bb8a3a9a77b50a8ceab3553d81d9cf196f8c3433199d27ee6eadcb",
    ),
];

#[test]
fn a_kind_that_makes_other_windows_has_other_fingerprints() {
    let tokenizer = Tokenizer::load(&small::fixture("tiny-bert").join("tokenizer.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for entry in TASKS {
        let kind = small::kind(entry.kind);
        let mut task = (entry.open)((kind.config)()).unwrap();
        let examples = task
            .read(&small::write_data(kind, "train", &[1, 6, 30, 90], folder.path()), None, &Layout::default())
            .unwrap();
        task.prepare(&examples).unwrap();
        let (mut prints, mut windows) = (Sha256::new(), Sha256::new());
        for index in 0..examples.len {
            let Some(print) = task.fingerprint(&examples, index).unwrap() else { continue };
            prints.update(print.0);
            let encoded = task.features(&examples, index, &tokenizer, Purpose::Train).unwrap();
            windows.update(serde_json::to_vec(&encoded.windows).unwrap());
        }
        let made = (entry.kind, hex(&prints.finalize()), hex(&windows.finalize()));
        let pinned = PINNED.iter().find(|(kind, ..)| *kind == entry.kind);
        let pinned = pinned.unwrap_or_else(|| panic!("add a row for `{}` to PINNED", entry.kind));
        assert_eq!(
            (made.0, made.1.as_str(), made.2.as_str()),
            *pinned,
            "if its windows changed, raise the version in its `fingerprint`; then write the new digests into PINNED",
        );
    }
}
