//! Gold answers that are not as training needs them: scored as they stand, trained on as far as they can be.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use polyhead::batch::Features;
use polyhead::data::Layout;
use polyhead::tasks::Checks;
use polyhead::tasks::ner::{Ner, Tagged};
use polyhead::tasks::qa::{Qa, QaExample};
use polyhead::tasks::{Logits, Purpose, Task, Window};
use polyhead::text::Tokenizer;
use serde_json::json;

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json")).unwrap()
}

fn read<T: Task>(task: &T, name: &str, text: &str) -> Vec<T::Example> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    task.read(&path, None, &Layout::default()).unwrap().examples
}

fn question(id: &str, text: &str, start: usize) -> String {
    let answers = json!([{ "text": text, "answer_start": start }]);
    let context = "Ada Lovelace worked with Charles Babbage in London.";
    json!({ "id": id, "question": "Who?", "context": context, "answers": answers }).to_string()
}

/// A window whose best answer is this slice of the context.
fn pointing(at: (usize, usize)) -> Window {
    let features =
        Features { ids: vec![2, 3, 4], types: vec![0; 3], spans: vec![None, Some(at), None], ..Features::default() };
    Window { features, logits: Logits::new(vec![0.0, 0.0, 9.0, 9.0, 0.0, 0.0], 2) }
}

#[test]
fn an_answer_out_of_place_is_scored_by_its_text_as_the_official_script_does() {
    let mut qa = Qa::open(json!({})).unwrap();
    let lines = [
        question("right", "Ada Lovelace", 0),
        question("right, out of place", "London", 3),
        question("half right, out of place", "in London", 0),
        question("wrong, out of place", "Charles Babbage", 0),
    ];
    let examples = read(&qa, "a.jsonl", &lines.join("\n"));
    qa.prepare(&examples).unwrap();
    assert_eq!(qa.config()["no_answer"], "never", "none of them is without an answer");
    let mut counts = qa.counts();
    for (example, at) in examples.iter().zip([(0, 12), (44, 50), (44, 50), (13, 19)]) {
        let found = qa.decode(example, &[pointing(at)]);
        qa.count(example, &found, &mut counts);
    }
    let score = qa.score(&counts);
    // F1 of "London" against "in London": precision 1, recall 1/2.
    let expected = [("questions", 4.0), ("exact_match", 50.0), ("f1", 25.0 * (1.0 + 1.0 + 2.0 / 3.0))];
    for (name, value) in expected {
        assert!((score.get(name).unwrap() - value).abs() < 1e-9, "{name}: {:?}", score.get(name));
    }
}

#[test]
fn an_answer_out_of_place_makes_no_training_window_and_does_not_count_as_none() {
    let mut qa = Qa::open(json!({})).unwrap();
    let tokenizer = tokenizer();
    let lines = [question("placed", "Ada Lovelace", 0), question("elsewhere", "London", 3)].join("\n");
    let examples = read(&qa, "a.jsonl", &lines);
    let labels: Vec<Vec<String>> = examples.iter().map(|example| qa.outline(example).labels).collect();
    assert_eq!(labels, [vec!["an answer".to_owned()], vec![]], "warnings count no `no answer` either");
    let losses = examples.iter().map(|example| {
        let windows = qa.features(example, &tokenizer, Purpose::Predict).unwrap().windows;
        let logits = |features: &Features| Logits::new(vec![0.0; 2 * features.ids.len()], 2);
        let windows: Vec<Window> =
            windows.into_iter().map(|features| Window { logits: logits(&features), features }).collect();
        qa.losses(example, &windows).is_some()
    });
    assert_eq!(losses.collect::<Vec<_>>(), [true, false], "the loss on validation data takes it for none neither");
    let windows = |example: &QaExample, purpose| qa.features(example, &tokenizer, purpose).unwrap();
    assert_eq!(windows(&examples[0], Purpose::Train).windows.len(), 1);
    let none = windows(&examples[1], Purpose::Train);
    assert_eq!((none.windows.len(), none.truncated_answers, none.lost_tokens), (0, 0, 0));
    assert_eq!(windows(&examples[1], Purpose::Predict).windows.len(), 1);
    let rows = qa.distribution(&examples);
    assert!(rows.contains(&("without an answer".into(), 0)), "{rows:?}");
    // A question without an answer has a window: the two are not one in the cache of tokenised data.
    let without =
        r#"{"id": "elsewhere", "question": "Who?", "context": "Ada Lovelace worked with Charles Babbage in London."}"#;
    let without = read(&qa, "a.jsonl", without);
    assert_ne!(qa.fingerprint(&without[0]), qa.fingerprint(&examples[1]));
    // Nothing but such questions is nothing to train on.
    let error = qa.prepare(&read(&qa, "a.jsonl", &question("elsewhere", "London", 3))).unwrap_err();
    assert!(error.to_string().contains("a.jsonl:1: expected answers to train on"), "{error}");
}

#[test]
fn an_orphan_is_trained_on_as_the_first_word_and_scored_as_it_stands() {
    let mut ner = Ner::open(json!({})).unwrap();
    let examples: Vec<Tagged> = read(&ner, "a.conll", "Ada I-PER\nKing I-PER\nleft O\n\nAda B-PER\nleft O\n");
    ner.prepare(&examples).unwrap();
    assert_eq!(ner.labels(), ["O", "B-PER", "I-PER"]);
    let tokenizer = tokenizer();
    let targets = |task: &Ner| {
        let window = task.features(&examples[0], &tokenizer, Purpose::Train).unwrap().windows.remove(0);
        window.targets.classes().iter().copied().filter(|class| *class >= 0).collect::<Vec<_>>()
    };
    assert_eq!(targets(&ner), [1, 2, 0]);
    // Labels without one that the file has in that place alone.
    let narrow = Ner::open(json!({ "labels": ["O", "B-PER"] })).unwrap();
    narrow.check(&read(&ner, "b.conll", "Ada I-PER\n\nBo B-PER\n")).unwrap();
    // A model that finds nothing: strict scoring has one gold entity, the lenient one two.
    let mut counts = ner.counts();
    for example in &examples {
        let found = ner.decode(example, &[]);
        ner.count(example, &found, &mut counts);
    }
    let score = ner.score(&counts);
    assert_eq!(score.types[0].support, 2);
    assert_eq!(score.get("micro_recall_strict"), Some(0.0));
    let printed = serde_json::to_string(&score).unwrap();
    assert!(!printed.contains("-0.0"), "{printed}");
}
