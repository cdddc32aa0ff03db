//! Which files are the splits of which task: by what they hold, and by their names.
//!
//! ```text
//! ner/train.conll  ner/dev.conll  ner/test.conll    one task: train, validation; the test file is left for `eval`
//! topics.csv                                        another: train, of which a tenth is held out
//! ```

use super::LeftOut;
use super::look::{LookedAt, Reading};
use crate::data::{Columns, Encoding};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A task of the recipe.
#[derive(Debug, Clone, Serialize)]
pub struct ProposedTask {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What the kind does, in a few words.
    pub about: &'static str,
    /// What the task must be told besides its kind.
    pub config: Value,
    /// What it trains on.
    pub train: Vec<PathBuf>,
    /// What it is scored on.
    pub validation: Vec<PathBuf>,
    /// The share of the training examples that are held out where there is no file to score on.
    pub split: Option<f64>,
    /// Which columns hold what, where that must be said.
    pub columns: Option<Columns>,
    /// How the characters of its files are encoded.
    pub encoding: Encoding,
    /// Training examples, before any is held out.
    pub examples: usize,
    /// Its longest window, in tokens, where the kind's own is too short for many texts.
    pub max_length: Option<usize>,
    #[serde(skip)]
    labels: BTreeSet<String>,
    #[serde(skip)]
    groups: usize,
    #[serde(skip)]
    topic: String,
}

/// What is held out where no file is named for validation.
pub(super) const SPLIT: f64 = 0.1;
/// Kinds whose windows are longer by themselves read long texts in several.
const SHORT_WINDOWS: usize = 256;
/// The most tokens that a window is proposed to have: what most encoders take.
const MOST_TOKENS: usize = 512;

/// What a file is for, as its name or that of its folder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    fn of_word(word: &str) -> Option<Self> {
        match word {
            "train" | "training" => Some(Self::Train),
            "validation" | "valid" | "val" | "dev" | "devel" | "development" | "eval" | "testa" => {
                Some(Self::Validation)
            }
            "test" | "testing" | "testb" | "heldout" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The role that a name says, and what is left of it: `ner-train.conll` is `Train`, `ner`.
fn role(file: &Path) -> (Option<Role>, String) {
    let of = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy().to_lowercase();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        let words: Vec<&str> =
            stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let role = words.iter().find_map(|word| Role::of_word(word));
        let rest: Vec<&str> = words.into_iter().filter(|word| Role::of_word(word).is_none()).collect();
        (role, rest.join("-"))
    };
    let (role, topic) = file.file_name().map_or((None, String::new()), of);
    let folder = file.parent().and_then(Path::file_name).map(of);
    let (of_folder, folder) = folder.unwrap_or_default();
    (role.or(of_folder), if topic.is_empty() || role.is_none() && of_folder.is_some() { folder } else { topic })
}

/// The tasks that files are for, in the order in which the files name them, and the files that are left out.
pub(super) fn tasks(files: &[LookedAt]) -> Result<(Vec<ProposedTask>, Vec<LeftOut>)> {
    let mut tasks: Vec<ProposedTask> = Vec::new();
    let mut left_out = Vec::new();
    let mut later = Vec::new();
    for (file, reading) in files.iter().flat_map(|file| file.readings.iter().map(move |reading| (&file.file, reading)))
    {
        let (role, topic) = role(file);
        // A file alone is for training, whatever it is called.
        let alone = files.len() == 1;
        match role {
            Some(role @ (Role::Validation | Role::Test)) if !alone => later.push((role, file, reading, topic)),
            _ => match tasks.iter_mut().find(|task| task.takes(reading, &topic)) {
                Some(task) => task.train_on(file, reading),
                None => tasks.push(ProposedTask::new(file, reading, topic)),
            },
        }
    }
    for (role, file, reading, topic) in later {
        if role == Role::Test {
            let reason =
                "a test file, by its name: `polyhead eval MODEL --data` scores a trained model on it".to_owned();
            if !left_out.iter().any(|left: &LeftOut| &left.file == file) {
                left_out.push(LeftOut { file: file.clone(), reason });
            }
            continue;
        }
        let of_kind = |task: &&mut ProposedTask| task.kind == reading.kind;
        let mut candidates: Vec<&mut ProposedTask> = tasks.iter_mut().filter(of_kind).collect();
        let named_alike = candidates.iter().position(|task| task.topic == topic);
        let at = named_alike.or_else(|| candidates.iter().position(|task| task.knows(reading)));
        match at.and_then(|at| candidates.get_mut(at)) {
            Some(task) => task.score_on(file, reading),
            None => left_out.push(LeftOut {
                file: file.clone(),
                reason: format!("a validation file of {}, by its name: no training file has its labels", reading.kind),
            }),
        }
    }
    if tasks.is_empty() {
        return Err(Error::data(
            "expected a file to train on, found files for validation and tests alone, by their names",
        )
        .hint("name the training file too, or call one of them `train`"));
    }
    name(&mut tasks);
    Ok((tasks, left_out))
}

impl ProposedTask {
    fn new(file: &Path, reading: &Reading, topic: String) -> Self {
        let mut task = Self {
            name: String::new(),
            kind: reading.kind,
            about: reading.about,
            config: reading.config.clone(),
            train: Vec::new(),
            validation: Vec::new(),
            split: None,
            columns: reading.columns.clone(),
            encoding: reading.encoding,
            examples: 0,
            groups: 0,
            max_length: None,
            labels: BTreeSet::new(),
            topic,
        };
        task.train_on(file, reading);
        task
    }

    /// Whether a further training file is one of its own: of the same form, and of the same name but for its role or with the same labels.
    fn takes(&self, reading: &Reading, topic: &str) -> bool {
        let same_form = (self.kind, &self.config, &self.columns) == (reading.kind, &reading.config, &reading.columns);
        let labels: BTreeSet<String> = reading.labels.iter().cloned().collect();
        let alike = self.labels.is_subset(&labels) || labels.is_subset(&self.labels);
        same_form && (alike || !topic.is_empty() && self.topic == topic)
    }

    fn knows(&self, reading: &Reading) -> bool {
        reading.labels.iter().all(|label| self.labels.contains(label))
    }

    fn train_on(&mut self, file: &Path, reading: &Reading) {
        self.train.push(file.to_owned());
        self.examples += reading.examples;
        self.groups += reading.groups;
        // Of one text, or one document, nothing can be held out.
        self.split = (self.groups > 1).then_some(SPLIT);
        self.labels.extend(reading.labels.iter().cloned());
        self.suit(reading);
    }

    fn score_on(&mut self, file: &Path, reading: &Reading) {
        self.validation.push(file.to_owned());
        self.split = None;
        self.suit(reading);
    }

    /// Makes windows long enough for most of the texts: some three tokens for two words, and the special ones.
    fn suit(&mut self, reading: &Reading) {
        if reading.encoding != Encoding::Utf8 {
            self.encoding = reading.encoding;
        }
        let tokens = (reading.lengths.percentile_99 * 3 / 2 + 8).next_multiple_of(64).min(MOST_TOKENS);
        if tokens > reading.max_length
            && reading.max_length <= SHORT_WINDOWS
            && self.max_length.is_none_or(|most| most < tokens)
        {
            self.max_length = Some(tokens);
        }
    }
}

/// Names each task: its kind where there is one of this kind, else what tells its files from the others, else with a number.
fn name(tasks: &mut [ProposedTask]) {
    let kinds: Vec<&str> = tasks.iter().map(|task| task.kind).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for task in tasks {
        let alone = kinds.iter().filter(|kind| **kind == task.kind).count() == 1;
        let plain = plain(&task.topic);
        let wished = if alone || plain.is_empty() { task.kind.to_owned() } else { plain };
        let mut numbered = (2..).map(|number| format!("{wished}-{number}"));
        let mut name = wished.clone();
        // `joint` is the name of the joint runs of a comparison.
        while name == "joint" || taken.contains(&name) {
            name = numbered.next().unwrap_or_default();
        }
        taken.insert(name.clone());
        task.name = name;
    }
}

/// A text as the name of a task or a recipe.
pub(super) fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::look::Lengths;
    use super::*;

    fn file(path: &str, kind: &'static str, labels: &[&str]) -> LookedAt {
        let reading = Reading {
            kind,
            about: "",
            format: "",
            config: Value::Null,
            columns: None,
            encoding: Encoding::Utf8,
            examples: 10,
            skipped: 0,
            first_skipped: None,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            distribution: Vec::new(),
            groups: 10,
            lengths: Lengths { median: 10, percentile_99: 150, longest: 900 },
            notes: Vec::new(),
            max_length: 128,
        };
        LookedAt { file: path.into(), tool: None, readings: vec![reading], languages: Vec::new() }
    }

    fn told(files: &[LookedAt]) -> Vec<String> {
        let (tasks, left_out) = tasks(files).unwrap();
        let names =
            |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("+");
        let mut all: Vec<String> = tasks
            .iter()
            .map(|task| format!("{}: {} | {} {:?}", task.name, names(&task.train), names(&task.validation), task.split))
            .collect();
        all.extend(left_out.iter().map(|left| format!("- {}", left.file.display())));
        all
    }

    #[test]
    fn splits_are_told_by_names_and_by_labels() {
        for (files, expected) in [
            (
                vec![
                    file("d/train.conll", "ner", &["O", "B-PER"]),
                    file("d/dev.conll", "ner", &["O"]),
                    file("d/test.conll", "ner", &["O", "B-PER"]),
                    file("d/topics.csv", "classify", &["a", "b"]),
                ],
                vec!["ner: d/train.conll | d/dev.conll None", "classify: d/topics.csv |  Some(0.1)", "- d/test.conll"],
            ),
            (
                vec![
                    file("trec/train.txt", "classify", &["NUM", "LOC"]),
                    file("sst/train.txt", "classify", &["neg", "pos"]),
                    file("sst/dev.txt", "classify", &["neg", "pos"]),
                    file("trec/dev.txt", "classify", &["NUM"]),
                ],
                vec!["trec: trec/train.txt | trec/dev.txt None", "sst: sst/train.txt | sst/dev.txt None"],
            ),
            (vec![file("a.jsonl", "qa", &[]), file("b.jsonl", "qa", &[])], vec!["qa: a.jsonl+b.jsonl |  Some(0.1)"]),
            (vec![file("dev.conllu", "tag", &["X"])], vec!["tag: dev.conllu |  Some(0.1)"]),
            (
                vec![file("x-train.csv", "classify", &["a"]), file("y-dev.csv", "classify", &["b"])],
                vec!["classify: x-train.csv |  Some(0.1)", "- y-dev.csv"],
            ),
            (
                vec![file("en/train/a.csv", "classify", &["a"]), file("en/validation/b.csv", "classify", &["b"])],
                vec!["classify: en/train/a.csv | en/validation/b.csv None"],
            ),
        ] {
            assert_eq!(told(&files), expected);
        }
        assert!(tasks(&[file("dev.csv", "classify", &[]), file("test.csv", "classify", &[])]).is_err());
    }

    #[test]
    fn windows_are_as_long_as_most_texts_need() {
        let (tasks, _) = tasks(&[file("train.conll", "ner", &["O"])]).unwrap();
        assert_eq!(tasks[0].max_length, Some(256));
    }
}
