//! What the tests share: the binary, a tiny model, small files.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use polyhead::Key;
use polyhead::encoders::Adjust;
use polyhead::model::{About, Model, NamedTask};
use polyhead::tasks::TASKS;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The binary with these arguments, without network and without colour of the environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polyhead"));
    command.args(arguments).env("HF_HUB_OFFLINE", "1").env("RAYON_NUM_THREADS", "2").env_remove("NO_COLOR");
    command
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("no signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// Standard output of a run that must have succeeded.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard output of a run that must have succeeded, as one JSON value.
    pub fn json(self) -> Value {
        serde_json::from_str(&self.success()).expect("one JSON value")
    }

    /// Standard error of a run that must have failed so.
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr
    }
}

pub fn polyhead(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn tiny_bert() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert")
}

/// A model with both heads, new and so at random: what it answers means nothing, but has the right form.
pub fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"];
    let open = |name: &str, config: Value| {
        let kind = TASKS.iter().find(|kind| kind.kind == name).unwrap();
        NamedTask { name: name.into(), task: (kind.open)(config).unwrap() }
    };
    let ner = open("ner", json!({ "labels": labels, "max_length": 32, "stride": 4 }));
    let qa = open("qa", json!({ "max_length": 64, "stride": 8, "max_question_length": 16 }));
    let model =
        Model::pretrained(&tiny_bert(), About::default(), vec![ner, qa], &Adjust::default(), Key::seed(7)).unwrap();
    model.save(&folder.path().join("model")).unwrap();
    folder
}

/// The model folder in the folder that [`model`] made.
pub fn path(folder: &TempDir) -> String {
    text(&folder.path().join("model")).to_owned()
}

/// Writes a file and returns its path.
pub fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    text(&path).to_owned()
}

pub const CONLL: &str =
    "-DOCSTART- O\n\nAda B-PER\nlived O\nin O\nLondon B-LOC\n. O\n\nShe O\nleft O\n\nParis B-LOC\n\n";

pub const QUESTIONS: &str = concat!(
    r#"{"id":"q1","question":"Who lived?","context":"Ada lived in London.","answers":[{"text":"Ada","answer_start":0}]}"#,
    "\n",
    r#"{"id":"q2","question":"Where?","context":"Ada lived in London.","answers":[{"text":"London","answer_start":13}]}"#,
    "\n",
);
