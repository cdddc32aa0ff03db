//! What the tests share: the binary, a tiny model, small files.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use polyhead::Key;
use polyhead::encoders::EncoderOverrides;
use polyhead::model::{Model, NamedTask, Provenance};
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

    /// Standard error of a call that must have been refused before anything ran.
    pub fn failure_of_call(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        self.stderr
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
    model_whose_answers(json!(null))
}

/// The same with `no_answer` of its questions as given: `"allowed"`, `"never"`.
pub fn model_whose_answers(no_answer: Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, config: Value| {
        let kind = TASKS.iter().find(|kind| kind.kind == name).unwrap();
        NamedTask { name: name.into(), task: (kind.open)(config).unwrap() }
    };
    let ner = open("ner", json!({ "labels": LABELS, "max_length": 32, "stride": 4 }));
    let qa = open("qa", json!({ "max_length": 64, "stride": 8, "max_question_length": 16, "no_answer": no_answer }));
    let model = Model::pretrained(
        &tiny_bert(),
        Provenance::default(),
        vec![ner, qa],
        &EncoderOverrides::default(),
        Key::seed(7),
    )
    .unwrap();
    model.save(&folder.path().join("model")).unwrap();
    folder
}

/// The model folder in the folder that [`model`] made.
pub fn path(folder: &TempDir) -> String {
    text(&folder.path().join("model")).to_owned()
}

/// Overwrites tensors of a model folder, each with one number throughout or with these numbers: a model whose answers follow
/// from its biases alone can be worked out by hand.
pub fn set_tensors(model: &Path, tensors: &[(&str, &[f32])]) {
    let file = model.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (name, values) in tensors {
        let at = |end: usize| 8 + length + header[name]["data_offsets"][end].as_u64().expect("a tensor") as usize;
        assert_eq!(header[name]["dtype"], "F32");
        let target = &mut bytes[at(0)..at(1)];
        assert!(values.len() == 1 || 4 * values.len() == target.len(), "{name}: {} numbers", target.len() / 4);
        for (cell, value) in target.chunks_exact_mut(4).zip(values.iter().cycle()) {
            cell.copy_from_slice(&value.to_le_bytes());
        }
    }
    std::fs::write(&file, bytes).unwrap();
}

/// The model of [`model`], but every word gets one and the same tag.
pub fn model_of_one_tag(tag: &str) -> TempDir {
    let folder = model();
    let bias: Vec<f32> = LABELS.iter().map(|label| if *label == tag { 9.0 } else { 0.0 }).collect();
    assert!(bias.contains(&9.0), "{tag}");
    set_tensors(&folder.path().join("model"), &[("heads.ner.weight", &[0.0]), ("heads.ner.bias", &bias)]);
    folder
}

/// The labels of the model of [`model`].
pub const LABELS: [&str; 5] = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"];

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

/// A report without what depends on the clock.
pub fn without_seconds(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !name.ends_with("seconds"));
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}
