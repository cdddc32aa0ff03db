//! What the library reads from outside, one function a kind of file: bytes become a file, and the file is read.
//!
//! Whatever the bytes are, the outcome is a value that keeps the reader's promises, or an error that names its place in a message
//! of readable length. Fuzzing calls these functions with bytes of its own making (`fuzz/run.sh`), and
//! `crates/polyhead/tests/fuzz_corpus.rs` with those in `fuzz/corpus/`.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use candle_core::Device;
use polyhead::data::{
    CONLLU, Columns, Encoding, Label, LabelForm, Layout, RELATIONS, TAGGED_WORDS, TEXTS, read_questions, read_sentences,
};
use polyhead::encoders::ENCODERS;
use polyhead::model::Model;
use polyhead::parameters::{Heads, Weights};
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::text::Tokenizer;
use polyhead::{Error, Result};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What is done with the bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("recipe", recipe),
    ("conll", conll),
    ("texts", texts),
    ("words", words),
    ("relations", relations),
    ("annotated", annotated),
    ("squad", squad),
    ("jsonl", jsonl),
    ("parquet", parquet),
    ("safetensors", safetensors),
    ("tokenizer", tokenizer),
    ("config", config),
];

/// A recipe: what was read is written, and read again the same.
pub fn recipe(data: &[u8]) {
    let path = file("recipe.toml", data);
    let Some(recipe) = outcome(&path, Recipe::read(&path, &[])) else { return };
    let Some(tasks) = said(recipe.tasks()) else { return };
    assert!(!tasks.is_empty(), "a recipe without tasks was taken");
    let written = recipe.to_toml().expect("a recipe that was read can be written");
    let again = Recipe::parse(&written, &path, &[]).expect("a recipe that was written can be read");
    assert_eq!(again.to_toml().unwrap(), written);
}

/// Columns of words and tags: the first and the last, or those that are named; tags as names or as numbers.
pub fn conll(data: &[u8]) {
    let path = file("data.conll", data);
    sentences(&path, &Layout::default());
    let tag_names = ["O", "B-PER", "I-PER"].map(str::to_owned).to_vec();
    sentences(&path, &Layout { columns: Some(Columns::of([("word", 1), ("tag", 2)])), tag_names, ..Layout::default() });
}

/// Labelled texts, in each of their formats and encodings; columns by their usual names, by number and by name.
pub fn texts(data: &[u8]) {
    for name in ["data.txt", "data.csv", "data.tsv", "data.jsonl"] {
        let path = file(name, data);
        labelled(&path, &Layout::default());
        labelled(&path, &Layout { encoding: Encoding::Latin1, ..Layout::default() });
        for columns in ["text=2,label=1", "text=a,label=b,text_pair=3"] {
            labelled(&path, &Layout { columns: Some(columns.parse().expect("columns")), ..Layout::default() });
        }
    }
}

/// Labelled words, in each of their formats; CoNLL-U whole, too.
pub fn words(data: &[u8]) {
    for (name, chosen) in [
        ("data.conllu", "tag=feats"),
        ("data.tsv", "2,3"),
        ("data.csv", "sentence=1,word=2,tag=3"),
        ("data.conll", "tag=upos"),
        ("data.jsonl", "tag=x"),
    ] {
        let path = file(name, data);
        labelled_words(&path, &Layout::default());
        labelled_words(&path, &Layout { columns: Some(chosen.parse().expect("columns")), ..Layout::default() });
    }
    let path = file("data.conllu", data);
    let Some(read) = outcome(&path, CONLLU.read(&path, None, &Layout::default())) else { return };
    for sentence in read.examples {
        let slices = |bytes: &std::ops::Range<usize>| assert!(sentence.text.get(bytes.clone()).is_some());
        sentence.words.iter().for_each(|word| slices(&word.bytes));
        sentence.multiword.iter().for_each(|token| slices(&token.bytes));
        if let Some(arcs) = said(sentence.tree()) {
            assert_eq!(arcs.iter().filter(|arc| arc.head.is_none()).count(), 1, "{}", sentence.place);
        }
    }
}

/// Relations between two parts of a text, in each of their formats.
pub fn relations(data: &[u8]) {
    for name in ["data.txt", "data.jsonl", "data.csv"] {
        related(&file(name, data));
    }
}

/// Sentences with entities as annotation tools and tables have them, by their usual names and by names and numbers.
pub fn annotated(data: &[u8]) {
    for (name, chosen) in [
        ("data.json", "text=body,label=marks"),
        ("data.jsonl", "text=body,label=marks"),
        ("data.csv", "sentence=1,word=2,tag=3"),
        ("data.tsv", "word=text,tag=tags"),
    ] {
        let path = file(name, data);
        sentences(&path, &Layout::default());
        sentences(&path, &Layout { columns: Some(chosen.parse().expect("columns")), ..Layout::default() });
    }
}

/// SQuAD's JSON.
pub fn squad(data: &[u8]) {
    questions(&file("data.json", data));
}

/// JSON Lines, read as sentences and as questions.
pub fn jsonl(data: &[u8]) {
    let path = file("data.jsonl", data);
    sentences(&path, &Layout::default());
    questions(&path);
}

/// A table, read as sentences and as questions.
pub fn parquet(data: &[u8]) {
    let path = file("data.parquet", data);
    sentences(&path, &Layout::default());
    questions(&path);
    labelled(&path, &Layout::default());
    labelled_words(&path, &Layout::default());
}

/// Weights.
pub fn safetensors(data: &[u8]) {
    let path = file("model.safetensors", data);
    if let Some(weights) = outcome(&path, Weights::read(&path, ENCODERS[0].naming, Heads::Stored, &Device::Cpu)) {
        // Nothing was declared: every tensor is one too many, and the message names them.
        outcome(&path, weights.finish());
    }
}

/// A tokenizer; one that is taken takes a text, and its sub-words are slices of it.
pub fn tokenizer(data: &[u8]) {
    const TEXT: &str = "Zoë's cafe\u{301} in 東京, 👩\u{200d}🚀\u{0} naïve\tﬁn ΑΣ \u{feff}x";
    let path = file("tokenizer.json", data);
    let Some(tokenizer) = outcome(&path, Tokenizer::load(&path)) else { return };
    tokenizer.vocabulary();
    tokenizer.model();
    if let Some((pieces, continues)) = said(tokenizer.text_with_continuations(TEXT)) {
        assert_eq!(pieces.len(), continues.len());
    }
    said(tokenizer.words(&["Zoë's", "", "cafe\u{301}", "東京", "\u{200b}"]));
}

/// The configuration of a model folder, beside the weights and the tokenizer of a small model.
pub fn config(data: &[u8]) {
    let path = file("config.json", data);
    let folder = path.parent().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fixtures"));
    let fixtures = fixtures.into_iter().find(|folder| folder.is_dir()).expect("fixtures");
    for (from, name) in [("tiny-bert/single-task/ner", "model.safetensors"), ("tiny-bert", "tokenizer.json")] {
        if !folder.join(name).exists() {
            std::fs::copy(fixtures.join(from).join(name), folder.join(name)).unwrap();
        }
    }
    outcome(&path, polyhead::model::shapes(&path, Vec::new()));
    outcome(folder, Model::load(folder, TASKS));
}

fn sentences(path: &Path, layout: &Layout) {
    let Some(read) = outcome(path, read_sentences(path, None, layout)) else { return };
    assert!(!read.examples.is_empty(), "no sentences, and no error");
    for sentence in &read.examples {
        assert_eq!(sentence.words.len(), sentence.tags.len());
        assert!(!sentence.words.is_empty(), "{}: a sentence without words", sentence.place);
    }
    let first = read_sentences(path, Some(1), layout).expect("what was read whole can be read in part");
    assert_eq!(first.examples[..], read.examples[..1]);
}

fn labelled(path: &Path, layout: &Layout) {
    for label_form in [LabelForm::Name, LabelForm::Set, LabelForm::Number] {
        labelled_so(path, &Layout { label_form, ..layout.clone() });
    }
}

fn labelled_so(path: &Path, layout: &Layout) {
    let Some(read) = outcome(path, TEXTS.read(path, None, layout)) else { return };
    assert!(!read.examples.is_empty(), "no texts, and no error");
    for text in &read.examples {
        let labels = match &text.label {
            Label::Name(name) => std::slice::from_ref(name),
            Label::Set(names) => names,
            Label::Number(number) => {
                assert!((*number as f32).is_finite(), "{}: {number}", text.place);
                &[]
            }
        };
        let texts = [Some(&text.text), text.text_pair.as_ref()];
        assert!(
            texts.into_iter().flatten().chain(labels).all(|text| !text.trim().is_empty()),
            "{}: a blank text or label",
            text.place
        );
    }
    let first = TEXTS.read(path, Some(1), layout).expect("what was read whole can be read in part");
    assert_eq!(first.examples[..], read.examples[..1]);
}

fn labelled_words(path: &Path, layout: &Layout) {
    let Some(read) = outcome(path, TAGGED_WORDS.read(path, None, layout)) else { return };
    assert!(!read.examples.is_empty(), "no words, and no error");
    for sentence in &read.examples {
        assert_eq!(sentence.words.len(), sentence.tags.len());
        assert!(sentence.tags.iter().any(Option::is_some), "{}: no label", sentence.place);
        assert!(sentence.tags.iter().flatten().all(|tag| !tag.trim().is_empty()), "{}: a blank label", sentence.place);
    }
    let first = TAGGED_WORDS.read(path, Some(1), layout).expect("what was read whole can be read in part");
    assert_eq!(first.examples[..], read.examples[..1]);
}

fn related(path: &Path) {
    let Some(read) = outcome(path, RELATIONS.read(path, None, &Layout::default())) else { return };
    assert!(!read.examples.is_empty(), "no relations, and no error");
    for example in &read.examples {
        for part in [&example.first, &example.second] {
            let part = example.text.get(part.clone()).expect("a part of the text");
            assert!(!part.is_empty() && part.trim() == part, "{}: a blank part", example.place);
        }
        assert!(example.label.as_ref().is_some_and(|label| !label.trim().is_empty()), "{}", example.place);
    }
    let first = RELATIONS.read(path, Some(1), &Layout::default()).expect("what was read whole can be read in part");
    assert_eq!(first.examples[..], read.examples[..1]);
}

fn questions(path: &Path) {
    let Some(read) = outcome(path, read_questions(path, None, &Layout::default())) else { return };
    assert!(!read.examples.is_empty(), "no questions, and no error");
    for question in &read.examples {
        assert!(!question.question.trim().is_empty() && !question.context.trim().is_empty(), "{}", question.place);
        for answer in &question.answers {
            let slice = question.context.get(answer.start..answer.start + answer.text.len());
            assert_eq!(slice, Some(answer.text.as_str()), "{}", question.place);
            assert!(!answer.text.trim().is_empty(), "{}: a blank answer", question.place);
        }
    }
}

/// The value, or nothing where there is an error as it should be: it names the file, and a person can read it.
fn outcome<T>(path: &Path, result: Result<T>) -> Option<T> {
    if let Err(error) = &result {
        assert!(error.to_string().contains(&path.display().to_string()), "an error without a place: {error}");
    }
    said(result)
}

fn said<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 16 << 10, "a message of {} bytes: {:.300}", message.len(), message);
            None
        }
    }
}

/// Writes the bytes to a file of this name in a folder of this thread's own.
fn file(name: &str, data: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, data).expect("a file in the temporary folder");
    path
}

/// Some libraries panic on bad input, and the readers make errors of that: only what comes through ends the fuzzing, which by
/// itself ends at any panic. The place of the last one is kept.
pub fn keep_panics() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        std::panic::set_hook(Box::new(|panic| LAST_PANIC.with(|last| *last.borrow_mut() = panic.to_string())));
    });
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a target; a panic that comes through is told and ends the process.
pub fn run(target: Target, data: &[u8]) {
    if std::panic::catch_unwind(|| target(data)).is_err() {
        eprintln!("{}", LAST_PANIC.with(|last| last.borrow().clone()));
        std::process::abort();
    }
}
