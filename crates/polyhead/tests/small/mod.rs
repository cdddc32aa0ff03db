//! What the tests of whole runs share: tiny-bert, data files made on the spot, a recipe that trains on them in a second.
//!
//! [`KINDS`] says once for each kind of task what its data, its requests and its right answers look like. A new task
//! needs a row here, and then has the tests of `conformance.rs` and `recipes.rs` for nothing.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod sentences;

use polyhead::batch::Features;
use polyhead::data::{Columns, Layout};
use polyhead::recipe::Recipe;
use polyhead::tasks::Logits;
use polyhead::train::{Event, Trainer};
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What the shared tests must know of a kind of task.
pub struct Kind {
    pub kind: &'static str,
    /// A configuration whose windows fit tiny-bert's 64 positions, without dropout.
    pub config: fn() -> Value,
    /// The extension of its data files.
    pub extension: &'static str,
    /// A data file with an example of each of these lengths, in words, and their gold answers.
    pub data: fn(lengths: &[usize]) -> Data,
    /// What [`Data::golds`] holds, of an answer.
    pub found: fn(answer: &Value) -> Value,
    /// The logits that say exactly what the target says; `labels` is how many labels the task has.
    pub perfect: fn(window: &Features, labels: usize) -> Logits,
    /// A request about a text.
    pub request: fn(text: &str) -> Value,
    /// The text that the offsets of an answer count in.
    pub source: fn(request: &Value) -> String,
    /// One of the `inputs` about a text, and sets of `parameters`, in the form of the task's inference API. Left empty
    /// where it has none.
    pub input: fn(text: &str) -> Value,
    pub parameters: fn() -> Vec<Value>,
    /// Requests that only this kind refuses; those that no kind takes are in the tests.
    pub malformed: fn() -> Vec<Value>,
}

/// A data file and its gold answers.
pub struct Data {
    pub file: String,
    pub golds: Vec<Value>,
}

pub const KINDS: &[Kind] = &[
    Kind {
        kind: "ner",
        config: || json!({ "max_length": 48, "stride": 12, "dropout": 0.0 }),
        extension: "conll",
        data: tagged,
        found: types_and_texts,
        perfect: each_target,
        request: text_alone,
        source: text_of,
        input: |text| json!(text),
        parameters: || strategies(&["PER"], &[]),
        malformed: || {
            vec![
                json!({ "text": "ada", "offset_unit": "chars" }),
                json!({ "words": ["ada"], "offset_unit": 1 }),
                json!({ "words": "london" }),
                json!({ "words": ["london", 1] }),
                json!({ "words": { "0": "london" } }),
                json!({ "text": ["london"] }),
            ]
        },
    },
    Kind {
        kind: "qa",
        config: || json!({ "max_length": 64, "stride": 16, "max_question_length": 16, "dropout": 0.0 }),
        extension: "json",
        data: questions,
        found: |answer| answer["answer"].clone(),
        perfect: |window, _| {
            let hot = |row: usize, at: usize| if window.targets.positions()[at] == row as i64 { 10.0 } else { 0.0 };
            Logits::new((0..window.ids.len()).flat_map(|row| [hot(row, 0), hot(row, 1)]).collect(), 2)
        },
        request: |text| json!({ "question": "who was it ?", "context": text }),
        source: |request| request["context"].as_str().unwrap().to_owned(),
        input: |text| json!({ "question": "who was it ?", "context": text }),
        parameters: || {
            vec![
                json!({}),
                json!({ "top_k": 20, "align_to_words": false }),
                json!({ "top_k": 3, "handle_impossible_answer": true, "max_seq_len": 40, "doc_stride": 0 }),
                json!({ "max_answer_len": 2, "max_question_len": 20, "handle_impossible_answer": true }),
            ]
        },
        malformed: || {
            vec![
                json!({ "question": "who ?", "context": "ada", "offset_unit": "utf-16" }),
                json!({ "question": "who ?" }),
                json!({ "context": "ada" }),
                json!({ "question": "who ?", "context": null }),
                json!({ "question": ["who ?"], "context": "ada" }),
            ]
        },
    },
    Kind {
        kind: "classify",
        config: || json!({ "max_length": 48, "stride": 12, "dropout": 0.0 }),
        extension: "txt",
        data: labelled,
        found: |answer| answer["label"].clone(),
        perfect: each_target,
        request: text_alone,
        source: text_of,
        input: |text| json!(text),
        parameters: || vec![json!({}), json!({ "top_k": 1, "function_to_apply": "sigmoid" }), json!({ "top_k": 2 })],
        malformed: || {
            vec![
                json!({ "text": ["london"] }),
                json!({ "text": null }),
                json!({ "text": "ada", "text_pair": "mary" }),
                json!({ "text_pair": "ada" }),
            ]
        },
    },
    Kind {
        kind: "tag",
        config: || json!({ "max_length": 48, "stride": 12, "dropout": 0.0 }),
        extension: "conllu",
        data: conllu,
        found: types_and_texts,
        perfect: each_target,
        request: text_alone,
        source: text_of,
        input: |text| json!(text),
        parameters: || strategies(&["DET"], &["X"]),
        malformed: || {
            vec![
                json!({ "text": "ada", "offset_unit": "chars" }),
                json!({ "words": ["ada"], "offset_unit": 1 }),
                json!({ "words": "london" }),
                json!({ "words": ["london", 1] }),
                json!({ "text": ["london"] }),
            ]
        },
    },
    Kind {
        kind: "relation",
        config: || json!({ "max_length": 48, "marker_tokens": ["$", "@"], "dropout": 0.0 }),
        extension: "txt",
        data: related,
        found: |answer| answer["label"].clone(),
        perfect: each_target,
        request: |text| json!({ "marked_text": format!("{text} <e1>ada</e1> <e2>mary</e2>") }),
        source: |request| {
            let marks = ["<e1>", "</e1>", "<e2>", "</e2>"];
            marks.iter().fold(request["marked_text"].as_str().unwrap().to_owned(), |text, mark| text.replace(mark, ""))
        },
        input: |text| json!(text),
        parameters: Vec::new,
        malformed: || {
            let part = |start: usize, end: usize| json!({ "start": start, "end": end });
            vec![
                json!({ "marked_text": ["<e1>ada</e1> <e2>mary</e2>"] }),
                json!({ "marked_text": "ada <e2>mary</e2>" }),
                json!({ "marked_text": "<e1>ada <e2>mary</e1> smith</e2>" }),
                json!({ "marked_text": "<e1>ada</e1> <e2>mary</e2>", "text": "ada mary" }),
                json!({ "marked_text": "<e1>ada</e1> <e2>mary</e2>", "offset_unit": "chars" }),
                json!({ "text": "ada mary" }),
                json!({ "text": "ada mary", "head": part(0, 3) }),
                json!({ "text": "ada mary", "head": part(0, 3), "tail": part(4, 9) }),
                json!({ "text": "ada mary", "head": part(0, 3), "tail": "mary" }),
                json!({ "text": "ada mary", "e1": part(3, 4), "e2": part(4, 8) }),
                json!({ "text": "zoë mary", "e1": part(0, 3), "e2": part(5, 9), "offset_unit": "byte" }),
                json!({ "marked_text": format!("<e1>ada</e1> {} <e2>mary</e2>", "a ".repeat(60)) }),
            ]
        },
    },
    Kind {
        kind: "parse",
        config: || json!({ "max_length": 64, "dropout": 0.0, "arc_size": 24, "relation_size": 16 }),
        extension: "conllu",
        data: parsed,
        found: |answer| {
            let words = answer["words"].as_array().unwrap().iter();
            words.map(|word| json!([word["head"], word["label"]])).collect()
        },
        perfect: |window, labels| {
            let (targets, words) = (window.targets.classes(), window.ranges.len() - 1);
            let hot = |is: bool| if is { 20.0 } else { 0.0 };
            let row = |&(word, head): &(u32, u32)| {
                let at = word as usize - 1;
                let arc = hot(targets[at] == i64::from(head));
                std::iter::once(arc).chain((0..labels).map(move |label| hot(targets[words + at] == label as i64)))
            };
            Logits::new(window.pairs.iter().flat_map(row).collect(), 1 + labels)
        },
        request: text_alone,
        source: text_of,
        input: |text| json!(text),
        parameters: Vec::new,
        malformed: || {
            vec![
                json!({ "text": "ada", "offset_unit": "chars" }),
                json!({ "words": "london" }),
                json!({ "words": ["london", 1] }),
                json!({ "text": null }),
            ]
        },
    },
];

/// The logits that say the class of every target.
fn each_target(window: &Features, labels: usize) -> Logits {
    let row = |&target: &i64| (0..labels).map(move |label| if target == label as i64 { 20.0 } else { 0.0 });
    Logits::new(window.targets.classes().iter().flat_map(row).collect(), labels)
}

fn types_and_texts(answer: &Value) -> Value {
    let spans = answer["entities"].as_array().unwrap().iter();
    spans.map(|span| json!([span["type"], span["text"]])).collect()
}

fn text_alone(text: &str) -> Value {
    json!({ "text": text })
}

fn text_of(request: &Value) -> String {
    request["text"].as_str().unwrap().to_owned()
}

/// Parameters of token classification: every strategy, with some labels left out.
fn strategies(ignored: &[&str], with_each: &[&str]) -> Vec<Value> {
    let mut sets = vec![json!({}), json!({ "stride": 0, "ignore_labels": ignored })];
    for strategy in ["none", "simple", "first", "average", "max"] {
        sets.push(json!({ "aggregation_strategy": strategy, "stride": 20 }));
        sets.push(json!({ "aggregation_strategy": strategy, "ignore_labels": with_each }));
    }
    sets
}

/// The kinds whose examples must stand in one window whole: what is too long for it is answered by a rule, which no gold answer
/// follows.
pub const WHOLE: &[&str] = &["parse"];

/// The row of a kind of task.
pub fn kind(name: &str) -> &'static Kind {
    KINDS
        .iter()
        .find(|kind| kind.kind == name)
        .unwrap_or_else(|| panic!("add a row for `{name}` to tests/small/mod.rs"))
}

const PLAIN: &[&str] = &["the", "of", "and", "was", "in", "river", "queen", "company", "book", "north", "war", "is"];

/// Names of one and two words; some in scripts that tiny-bert spells as [UNK], or with characters that it drops.
const NAMES: &[(&str, &str)] = &[
    ("ada lovelace", "PER"),
    ("london", "LOC"),
    ("mary", "PER"),
    ("paris", "LOC"),
    ("john smith", "PER"),
    ("東京", "LOC"),
    ("Zoë 👩\u{200d}🚀", "PER"),
    ("café", "LOC"),
    ("cafe\u{301}", "LOC"),
    ("ירושלים", "LOC"),
    ("नेहरू", "PER"),
];

/// Words with their tags, or names with their types.
type Pairs = Vec<(String, String)>;

/// Words and names in turn, at random but always the same: the words with their tags, and the names with their types.
fn sentence(index: usize, length: usize) -> (Pairs, Pairs) {
    let key = Key::seed(11).with(index as u64);
    let (mut words, mut names) = (Vec::new(), Vec::new());
    while words.len() < length || names.is_empty() {
        let bits = key.bits(words.len() as u64) >> 8;
        let (name, kind) = NAMES[(bits / 3) as usize % NAMES.len()];
        // The first place holds a name in most sentences, the rest one in three.
        if bits.is_multiple_of(3) || words.len() + 1 >= length && names.is_empty() {
            for (at, word) in name.split(' ').enumerate() {
                words.push((word.to_owned(), format!("{}-{kind}", if at == 0 { 'B' } else { 'I' })));
            }
            names.push((name.to_owned(), kind.to_owned()));
        } else {
            words.push((PLAIN[(bits / 3) as usize % PLAIN.len()].to_owned(), "O".into()));
        }
    }
    (words, names)
}

fn tagged(lengths: &[usize]) -> Data {
    let (mut file, mut golds) = (String::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let (words, names) = sentence(index, length);
        file.extend(words.iter().map(|(word, tag)| format!("{word} {tag}\n")));
        file.push('\n');
        golds.push(names.iter().map(|(name, kind)| json!([kind, name])).collect());
    }
    Data { file, golds }
}

/// Sentences with trees in CoNLL-U: each word hangs from one between it and the root.
fn parsed(lengths: &[usize]) -> Data {
    let (mut file, mut golds) = (String::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let words: Vec<String> = sentence(index, length).0.into_iter().map(|(word, _)| word).collect();
        let key = Key::seed(12).with(index as u64);
        let bits = |at: usize| (key.bits(at as u64) >> 8) as usize;
        let root = 1 + bits(0) % words.len();
        let mut gold = Vec::new();
        for (at, word) in (1..).zip(&words) {
            let (head, label) = match at {
                _ if at == root => (0, "root"),
                _ if at < root => (at + 1 + bits(at) % (root - at), ["nsubj", "det"][bits(at + 999) % 2]),
                _ => (root + bits(at) % (at - root), ["obj", "nmod:poss"][bits(at + 999) % 2]),
            };
            file += &format!("{at}\t{word}\t_\t_\t_\t_\t{head}\t{label}\t_\t_\n");
            gold.push(json!([head, label]));
        }
        file.push('\n');
        golds.push(json!(gold));
    }
    Data { file, golds }
}

/// CoNLL-U without heads: words with a part of speech that the word decides.
fn conllu(lengths: &[usize]) -> Data {
    let (mut file, mut golds) = (String::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let words = sentence(index, length).0;
        let tagged = words.iter().map(|(word, tag)| {
            let tag = match tag.as_str() {
                "O" if ["the", "of", "and", "in"].contains(&word.as_str()) => "DET",
                "O" if ["was", "is"].contains(&word.as_str()) => "AUX",
                "O" => "NOUN",
                _ => "PROPN",
            };
            (word, tag)
        });
        for (at, (word, tag)) in tagged.clone().enumerate() {
            file += &format!("{}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n", at + 1);
        }
        file.push('\n');
        golds.push(tagged.map(|(word, tag)| json!([tag, word])).collect());
    }
    Data { file, golds }
}

/// Lines of a label and a text; the label says nothing of the text, but it can be learnt by heart.
fn labelled(lengths: &[usize]) -> Data {
    let (mut file, mut golds) = (String::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let words: Vec<String> = sentence(index, length).0.into_iter().map(|(word, _)| word).collect();
        let label = ["red", "green", "blue"][index % 3];
        file += &format!("{label} {}\n", words.join(" "));
        golds.push(json!(label));
    }
    Data { file, golds }
}

/// Two names beside each other in the middle of a sentence, in the four lines of SemEval-2010 task 8; the label can be learnt by
/// heart.
fn related(lengths: &[usize]) -> Data {
    let (mut file, mut golds) = (String::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let words: Vec<String> = sentence(index, length).0.into_iter().map(|(word, _)| word).collect();
        let (before, behind) = words.split_at(words.len() / 2);
        let name = |at: usize| NAMES[(Key::seed(12).bits((2 * index + at) as u64) >> 8) as usize % NAMES.len()].0;
        let label = ["Lives-In(e1,e2)", "Lives-In(e2,e1)", "Other"][index % 3];
        let (before, behind, number) = (before.join(" "), behind.join(" "), index + 1);
        file += &format!("{number}\t\"{before} <e1>{}</e1> and <e2>{}</e2> {behind} .\"\n", name(0), name(1));
        file += &format!("{label}\nComment:\n\n");
        golds.push(json!(label));
    }
    Data { file, golds }
}

fn questions(lengths: &[usize]) -> Data {
    let (mut asked, mut golds) = (Vec::new(), Vec::new());
    for (index, &length) in lengths.iter().enumerate() {
        let (words, names) = sentence(index, length);
        let words: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
        // The last name, so that it lies in a late window of a long context.
        let (name, kind) = names.last().unwrap();
        let question = format!("{} was {name} ?", if kind == "PER" { "who" } else { "where" });
        asked.push((words.join(" "), question, name.clone()));
        golds.push(json!(name));
    }
    Data { file: squad(&asked), golds }
}

/// A SQuAD file of `(context, question, answer)`; the answer's last place in the context is meant.
pub fn squad(asked: &[(String, String, String)]) -> String {
    let paragraphs: Vec<Value> = asked
        .iter()
        .enumerate()
        .map(|(index, (context, question, answer))| {
            let start = context[..context.rfind(answer.as_str()).unwrap()].chars().count();
            let answers = json!([{ "text": answer, "answer_start": start }]);
            json!({ "context": context, "qas": [{ "id": index.to_string(), "question": question, "answers": answers }] })
        })
        .collect();
    json!({ "version": "1.1", "data": [{ "title": "made", "paragraphs": paragraphs }] }).to_string()
}

/// Writes a data file of a kind, and says where.
pub fn write_data(kind: &Kind, name: &str, lengths: &[usize], folder: &Path) -> PathBuf {
    let path = folder.join(format!("{}-{name}.{}", kind.kind, kind.extension));
    std::fs::write(&path, (kind.data)(lengths).file).unwrap();
    path
}

/// A file in a folder of its own, which goes with what is returned.
pub fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A layout with these columns, as the command line has them.
pub fn columns(text: &str) -> Layout {
    Layout { columns: Some(text.parse::<Columns>().unwrap()), ..Layout::default() }
}

/// A folder of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A recipe of NER and QA with tiny-bert as TOML, its data beside it: 24 examples of each to train on, 8 to score.
pub fn recipe_text(folder: &Path) -> String {
    let mut text = format!(
        "name = 'tiny'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
         train = {{ epochs = 2, learning_rate = 1e-3, feature_cache = false }}\n",
        folder.join("runs"),
        fixture("tiny-bert"),
    );
    for kind in ["ner", "qa"].map(kind) {
        let train = write_data(kind, "train", &(0..24).map(|at| 6 + at % 9).collect::<Vec<_>>(), folder);
        let validation = write_data(kind, "validation", &[7; 8], folder);
        let mut config = (kind.config)();
        config["batch_size"] = json!(8);
        let (name, config) = (kind.kind, toml::Value::try_from(config).unwrap());
        text += &format!("tasks.{name} = {config}\n");
        text += &format!("data.{name} = {{ train = {train:?}, validation = {validation:?} }}\n");
    }
    text
}

/// The same, with overrides.
pub fn recipe(folder: &Path, overrides: &[&str]) -> Recipe {
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    Recipe::parse(&recipe_text(folder), &folder.join("tiny.toml"), &overrides).unwrap()
}

/// A trainer that keeps its notes to itself.
pub fn trainer(recipe: Recipe) -> Trainer {
    Trainer::new(recipe, &mut |_| {}).unwrap()
}

/// All events of a run.
pub fn train(recipe: Recipe) -> Vec<Event> {
    trainer(recipe).map(Result::unwrap).collect()
}

/// A report in JSON without what depends on the clock.
pub fn timeless(report: &Path) -> Value {
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
    let mut value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    strip(&mut value);
    value
}
