//! Languages that are written without spaces: what a model learns of tagged characters and tagged runs alike, it finds in
//! running text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::data::Layout;
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::text::words;
use polyhead::train::Event;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// A sentence in parts, the names with their types.
type Parts = Vec<(String, Option<&'static str>)>;

struct Language {
    name: &'static str,
    people: [&'static str; 3],
    places: [&'static str; 3],
    /// `P` and `Q` stand for people, `L` for a place.
    frames: [&'static str; 4],
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "japanese",
        people: ["田中", "佐藤", "スミス"],
        places: ["東京", "大阪", "京都タワー"],
        frames: ["PはLに住む。", "昨日PがLへ行った。", "Lの天気は良い。", "PとQは友だち。"],
    },
    Language {
        name: "chinese",
        people: ["王明", "李华", "张伟"],
        places: ["北京", "上海", "南京路"],
        frames: ["P住在L。", "昨天P去了L，很高兴。", "L天气很好。", "P和Q是朋友。"],
    },
    Language {
        name: "thai",
        people: ["สมชาย", "มาลี", "วิชัย"],
        places: ["กรุงเทพ", "เชียงใหม่", "น่าน"],
        frames: ["Pอยู่ที่L", "เมื่อวานPไปL", "Lอากาศดีมาก", "PกับQเป็นเพื่อนกัน"],
    },
];

impl Language {
    /// Every frame with every person and place.
    fn sentences(&self) -> Vec<Parts> {
        let mut all = Vec::new();
        for (at, person) in self.people.iter().enumerate() {
            for place in self.places {
                for frame in self.frames {
                    let mut parts: Parts = Vec::new();
                    for c in frame.chars() {
                        match c {
                            'P' => parts.push(((*person).to_owned(), Some("PER"))),
                            'Q' => parts.push((self.people[(at + 1) % 3].to_owned(), Some("PER"))),
                            'L' => parts.push((place.to_owned(), Some("LOC"))),
                            c => match parts.last_mut() {
                                Some((text, None)) => text.push(c),
                                _ => parts.push((c.to_string(), None)),
                            },
                        }
                    }
                    all.push(parts);
                }
            }
        }
        all
    }
}

fn running(parts: &Parts) -> String {
    parts.iter().map(|(text, _)| text.as_str()).collect()
}

fn golds(parts: &Parts) -> Value {
    parts.iter().filter_map(|(text, kind)| Some(json!([(*kind)?, text]))).collect()
}

/// One word a line: every part of a sentence, or every character of it with what combines with it.
fn columns(parts: &Parts, characters: bool, into: &mut String) {
    for (text, kind) in parts {
        let parts: Vec<&str> = match characters {
            true => words::units(text).into_iter().map(|unit| &text[unit]).collect(),
            false => vec![text],
        };
        for (at, part) in parts.into_iter().enumerate() {
            let tag = kind.map_or("O".to_owned(), |kind| format!("{}-{kind}", if at == 0 { 'B' } else { 'I' }));
            writeln!(into, "{part} {tag}").unwrap();
        }
    }
    into.push('\n');
}

/// tiny-bert, with the characters of a language where its English words stood.
fn encoder(folder: &Path, texts: &[String]) {
    let read = |name: &str| std::fs::read(small::fixture("tiny-bert").join(name)).unwrap();
    let mut tokenizer: Value = serde_json::from_slice(&read("tokenizer.json")).unwrap();
    tokenizer["normalizer"]["lowercase"] = json!(false);
    tokenizer["normalizer"]["strip_accents"] = json!(false);
    let characters: BTreeSet<char> = texts.iter().flat_map(|text| text.chars()).collect();
    let spellings = characters.iter().flat_map(|c| [c.to_string(), format!("##{c}")]);
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let mut free: Vec<u64> = Vec::new();
    vocabulary.retain(|token, id| {
        let keep = token.starts_with('[');
        free.extend((!keep).then(|| id.as_u64().unwrap()));
        keep
    });
    free.sort_unstable();
    for (spelling, id) in spellings.zip(&free) {
        vocabulary.insert(spelling, json!(id));
    }
    // The rest keeps its rows under names that no text has.
    for id in &free[(2 * characters.len()).min(free.len())..] {
        vocabulary.insert(format!("##unused{id}"), json!(id));
    }
    assert!(2 * characters.len() <= free.len(), "{} characters", characters.len());
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::write(folder.join(name), read(name)).unwrap();
    }
}

#[test]
fn a_model_finds_the_entity_in_running_text_and_not_the_sentence_however_its_data_were_split() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let sentences = language.sentences();
        let texts: Vec<String> = sentences.iter().map(running).collect();
        encoder(folder.path(), &texts);
        // By turns characters and runs: both must teach the same.
        let (mut train, mut characters, mut runs) = (String::new(), String::new(), String::new());
        for (at, parts) in sentences.iter().enumerate() {
            columns(parts, at % 2 == 0, &mut train);
            columns(parts, true, &mut characters);
            columns(parts, false, &mut runs);
        }
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (train, characters, runs) =
            (file("train.conll", &train), file("characters.conll", &characters), file("runs.conll", &runs));
        let text = format!(
            "name = 'unspaced'\noutput = {:?}\nencoder = {{ checkpoint = {:?}, dropout = 0.0, attention_dropout = 0.0 }}\n\
             train = {{ epochs = 80, learning_rate = 3e-3, feature_cache = false, precision = 'f32' }}\n\
             tasks.ner = {{ max_length = 48, stride = 12, dropout = 0.0, batch_size = 8 }}\n\
             data.ner = {{ train = {train:?}, validation = {runs:?} }}\n",
            folder.path().join("runs"),
            folder.path(),
        );
        let recipe = Recipe::parse(&text, &folder.path().join("unspaced.toml"), &[]).unwrap();
        let events = small::train(recipe);
        let Some(Event::Finished(end)) = events.last() else { panic!("the end comes last") };
        let session = Session::open(&end.model).unwrap();
        for (parts, text) in sentences.iter().zip(&texts) {
            let found: Value = session.ask("ner", &json!({ "text": text })).unwrap()["entities"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entity| json!([entity["type"], entity["text"]]))
                .collect();
            assert_eq!(found, golds(parts), "{}: {text}", language.name);
        }
        // A file is scored by its own words, and the model that finds everything has all of either.
        for file in [characters, runs] {
            let score = session
                .evaluate("ner", std::slice::from_ref(&file), None, &Layout::default(), &mut |_, _| ())
                .unwrap()
                .score;
            assert_eq!(score.get("micro_f1"), Some(100.0), "{}: {}", language.name, file.display());
            // The epoch that is kept is the first with that F1: a name may still open with `I-`.
            for value in ["micro_f1_strict", "token_accuracy"] {
                assert!(score.get(value) > Some(97.0), "{}: {value} of {}: {score:?}", language.name, file.display());
            }
        }
    }
}
