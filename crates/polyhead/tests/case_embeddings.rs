//! Case embeddings: an encoder whose tokenizer lower-cases begins as it was, learns what only capital letters tell, and keeps it in
//! every form of the model that can hold it; elsewhere it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::encoders::ENCODERS;
use polyhead::export;
use polyhead::infer::Session;
use polyhead::model::Model;
use polyhead::onnx::Format;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Sentences whose words are names where they are written with a capital letter, and only there.
fn sentences(count: usize) -> String {
    const WORDS: [&str; 6] = ["king", "park", "street", "london", "river", "book"];
    let mut file = String::new();
    for sentence in 0..count {
        for place in 0..5 {
            // Every word in both forms, next to both forms of the others.
            let (word, name) = (WORDS[(sentence * 5 + place * 7 + sentence / 3) % 6], (sentence >> place) & 1 == 1);
            let written = if name { format!("{}{}", word[..1].to_uppercase(), &word[1..]) } else { word.to_owned() };
            file += &format!("{written} {}\n", if name { "B-PER" } else { "O" });
        }
        file.push('\n');
    }
    file
}

/// A recipe of one task that learns them.
fn recipe(folder: &Path, fixture: &str, more: &[&str]) -> Recipe {
    let (train, validation) = (folder.join("train.conll"), folder.join("validation.conll"));
    fs::write(&train, sentences(64)).unwrap();
    fs::write(&validation, sentences(96).split_inclusive("\n\n").skip(64).collect::<String>()).unwrap();
    let text = format!(
        "name = 'case'\noutput = {:?}\nencoder.checkpoint = {:?}\ntrain = {{ epochs = 25, learning_rate = 3e-3, precision = 'f32', feature_cache = false }}\n\
         tasks.ner = {{ batch_size = 8, max_length = 32, stride = 8, dropout = 0.0 }}\n\
         data.ner = {{ train = {train:?}, validation = {validation:?} }}\n",
        folder.join("runs"),
        small::fixture(fixture),
    );
    let overrides: Vec<String> = more.iter().map(|&pair| pair.to_owned()).collect();
    Recipe::parse(&text, &folder.join("case.toml"), &overrides).unwrap()
}

const YES: &str = "encoder.case_embeddings=true";
const AUTO: &str = "encoder.case_embeddings=auto";

fn begun(folder: &Path, fixture: &str, more: &[&str]) -> Trainer {
    let name = format!("name=r{}", fs::read_dir(folder.join("runs")).map_or(0, Iterator::count));
    small::trainer(recipe(folder, fixture, &[more, &[&name]].concat()))
}

fn refused(folder: &Path, fixture: &str, more: &[&str]) -> String {
    let error = Trainer::new(recipe(folder, fixture, &[more, &["name=refused"]].concat()), &mut |_| {}).err();
    format!("{:#}", error.expect("a recipe that is refused"))
}

fn has(model: &Model) -> bool {
    model.config()["case_embeddings"] == json!(true)
}

/// The logits of a text.
fn logits(model: &Model, text: &str) -> Vec<u32> {
    let ner = model.task("ner").unwrap();
    let query = ner.task.query(&json!({ "text": text }), &model.tokenizer).unwrap();
    let windows: Vec<_> = query.windows.iter().collect();
    let all = model.logits(ner, &windows).unwrap();
    all.iter().flat_map(|logits| logits.rows().flatten().map(|value| value.to_bits()).collect::<Vec<_>>()).collect()
}

#[test]
fn an_encoder_begins_as_it_was_and_words_of_each_class_have_token_types_of_their_own() {
    const TEXT: &str = "the King of LONDON has an iPhone";
    let mut tried = Vec::new();
    for kind in ENCODERS.iter().filter(|kind| kind.case_embeddings) {
        let folder = TempDir::new().unwrap();
        let (without, with) = (begun(folder.path(), kind.fixture, &[]), begun(folder.path(), kind.fixture, &[YES]));
        let (without, with) = (without.model(), with.model());
        assert!(has(with) && !has(without), "{}", kind.fixture);
        assert_eq!(logits(with, TEXT), logits(without, TEXT), "{}", kind.fixture);
        let types = |model: &Model| {
            let query = model.task("ner").unwrap().task.query(&json!({ "text": TEXT }), &model.tokenizer).unwrap();
            let window = query.windows[0].clone();
            // Of the first sub-word of each word.
            window
                .spans
                .iter()
                .zip(window.types)
                .filter(|(span, _)| span.is_some())
                .map(|(_, kind)| kind)
                .collect::<Vec<_>>()
        };
        let mut all = types(with);
        all.dedup();
        assert_eq!(all, [0, 2, 0, 4, 0, 6], "{}", kind.fixture);
        assert!(types(without).iter().all(|&kind| kind == 0));
        tried.push(kind.name.model_type);
    }
    assert_eq!(tried, ["bert", "distilbert", "electra", "albert", "mpnet"]);
}

#[test]
fn what_only_capital_letters_tell_is_learnt_and_kept_by_all_that_holds_the_model() {
    let folder = TempDir::new().unwrap();
    let best = |more: &[&str]| {
        let events: Vec<Event> = begun(folder.path(), "tiny-bert", more).map(Result::unwrap).collect();
        let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
        (end.best_value, end.model.clone())
    };
    let ((blind, _), (f1, model)) = (best(&[]), best(&[AUTO]));
    assert!(f1 > 95.0 && blind < 80.0, "{f1} with, {blind} without");
    let load = |folder: &Path| Model::load(folder, TASKS).unwrap();
    let session = Session { model: load(&model) };
    let names = |session: &Session, text: &str| {
        let answer = session.ask("ner", &json!({ "text": text })).unwrap();
        answer["entities"].as_array().unwrap().iter().map(|found| found["text"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(names(&session, "King park London"), ["King", "London"]);
    assert_eq!(names(&session, "king Park london"), ["Park"]);
    // A model that begins with it has them, whatever its recipe says, and a training that goes on too.
    let checkpoint = format!("encoder.checkpoint={}", model.display());
    let next = begun(folder.path(), "tiny-bert", &[&checkpoint]);
    assert!(has(next.model()) && logits(next.model(), "King park") == logits(&session.model, "King park"));
    // No tokenizer of transformers tells it: no folder of one task.
    let ner = session.model.task("ner").unwrap();
    let out = folder.path().join("out");
    for refused in [
        export::single_task(&session.model, ner, &out),
        export::single_onnx(&session.model, ner, Format::default(), &out),
    ] {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("how words are written") && !out.exists(), "{message}");
    }
    assert!(export::all_heads_onnx(&session.model, Format::default(), &out).unwrap().is_empty());
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("token_type_ids") && card.contains("capital"), "{card}");
}

#[test]
fn where_they_would_tell_nothing_they_are_refused_or_left_out() {
    for (fixture, more, why) in [
        ("tiny-roberta", &[][..], "encoders of the type `roberta` have none"),
        ("tiny-modernbert", &[], "encoders of the type `modernbert` have none"),
        ("tiny-bert", &["encoder.freeze=embeddings"], "which encoder.freeze excludes"),
        ("tiny-bert", &["encoder.lora={rank=2}"], "which encoder.lora excludes"),
        ("tiny-bert", &["sharing={name=\"adapters\"}"], "which sharing excludes"),
    ] {
        let folder = TempDir::new().unwrap();
        let message = refused(folder.path(), fixture, &[more, &[YES]].concat());
        assert!(message.contains("encoder.case_embeddings: ") && message.contains(why), "{message}");
        assert!(!has(begun(folder.path(), fixture, &[more, &[AUTO]].concat()).model()), "{fixture}");
    }
    let folder = TempDir::new().unwrap();
    let cased = folder.path().join("cased");
    fs::create_dir(&cased).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = fs::read(small::fixture("tiny-bert").join(file)).unwrap();
        let keeps = String::from_utf8_lossy(&bytes).replace("\"lowercase\": true", "\"lowercase\": false");
        fs::write(cased.join(file), if file == "tokenizer.json" { keeps.into_bytes() } else { bytes }).unwrap();
    }
    let checkpoint = format!("encoder.checkpoint={}", cased.display());
    let message = refused(folder.path(), "tiny-bert", &[YES, &checkpoint]);
    assert!(message.contains("the tokenizer keeps capital letters"), "{message}");
    assert!(!has(begun(folder.path(), "tiny-bert", &[AUTO, &checkpoint]).model()));
}
