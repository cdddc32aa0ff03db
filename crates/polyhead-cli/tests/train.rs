//! `polyhead train` and `polyhead data`, on a tiny encoder.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use support::{CONLL, QUESTIONS, file, polyhead, text, tiny_bert};
use tempfile::TempDir;

/// A folder with a recipe and its data; runs are made in it.
fn recipe() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let ner = file(&folder, "ner.conll", CONLL);
    let qa = file(&folder, "qa.jsonl", QUESTIONS);
    let text = format!(
        r#"
name = "trial"
output = {output:?}
[encoder]
checkpoint = {encoder:?}
[train]
epochs = 2
learning_rate = 1e-3
feature_cache = false
[tasks.ner]
batch_size = 2
max_length = 32
stride = 4
[tasks.qa]
batch_size = 2
max_length = 64
max_question_length = 16
stride = 8
[data.ner]
train = {ner:?}
validation = {ner:?}
[data.qa]
train = {qa:?}
validation = {qa:?}
"#,
        output = text(folder.path()),
        encoder = text(&tiny_bert()),
    );
    let path = file(&folder, "recipe.toml", text);
    (folder, path)
}

#[test]
fn training_ends_with_scores_predictions_and_the_next_command() {
    let (folder, recipe) = recipe();
    let ran = polyhead(&["train", &recipe]);
    for part in
        ["Plan", "2 + 1 batches an epoch, 2 epochs: 6 steps", "step 1/6", "step 6/6", "tokens/s", "ETA", "Epoch 2"]
    {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let shown = ran.success();
    let model = folder.path().join("trial").join("best");
    for part in ["Scores", "micro F1", "exact match", "best epoch", "ner: ", "qa: ", "polyhead predict", text(&model)] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("step "), "progress is not data: {shown}");
    polyhead(&["predict", text(&folder.path().join("trial")), "--task", "ner", "Ada"]).success();
    let facts = polyhead(&["inspect", text(&model)]).success();
    assert!(facts.contains("Recipe") && facts.contains("learning_rate = 0.001"), "{facts}");
}

#[test]
fn json_is_one_event_a_line_and_quiet_says_nothing() {
    let (_folder, recipe) = recipe();
    let ran = polyhead(&["train", &recipe, "--json", "--quiet", "--set", "train.epochs=1"]);
    assert_eq!(ran.stderr, "");
    let events: Vec<Value> = ran.success().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["planned", "step", "step", "step", "evaluated", "saved", "finished"]);
    let quiet = polyhead(&["train", &recipe, "-q", "--set", "train.max_steps=2"]);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.success().contains("trial-2"), "no run is written over");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let (folder, recipe) = recipe();
    let set = |pair: &str| polyhead(&["train", &recipe, "--set", pair]);
    assert!(set("train.epoch=1").failure(2).contains("did you mean `epochs`?"));
    assert!(set("tasks.ner.max_lenght=9").failure(2).contains("did you mean `max_length`?"));
    set("train.epochs=0").failure(2);
    set("train.epochs").failure(2);
    set("data.ner.train=nowhere.conll").failure(66);
    set("encoder.checkpoint=./nowhere").failure(66);
    polyhead(&["train", "nowhere.toml"]).failure(66);
    assert!(!folder.path().join("trial").exists(), "a call that fails leaves no run");
}

#[test]
fn data_shows_counts_lengths_losses_and_what_was_left_out() {
    let (folder, recipe) = recipe();
    let bad = r#"{"id":"q3","question":" ","context":"Ada.","answers":[{"text":"Ada","answer_start":0}]}"#;
    file(&folder, "qa.jsonl", format!("{QUESTIONS}{bad}\n"));
    let shown = polyhead(&["data", &recipe]).success();
    for part in [
        "2 + 1 batches an epoch",
        "ner: train",
        "qa: validation",
        "5 labels: O B-LOC",
        "tokens lost by truncation",
        "0-15",
        "skipped: ",
        "qa.jsonl:3",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let report = polyhead(&["data", &recipe, "--json", "--set", "data.ner.limit=1"]).json();
    assert_eq!(report["tasks"][0]["splits"][0]["examples"], 1);
    assert_eq!(report["tasks"][1]["splits"][0]["skipped"].as_array().unwrap().len(), 1);
    assert!(!folder.path().join("trial").exists(), "nothing is trained");
}

#[test]
fn what_is_probably_a_mistake_in_the_data_is_told_by_data_by_train_and_by_the_report() {
    let (folder, recipe) = recipe();
    // A question that the limit of its tokens cuts, and an answer that is longer than a window.
    let context = "Ada lived in London. ".repeat(40);
    let long = format!(
        r#"{{"id":"q3","question":"{}?","context":"{context}","answers":[{{"text":"{}","answer_start":0}}]}}"#,
        "Who lived ".repeat(20),
        context.trim()
    );
    file(&folder, "qa.jsonl", format!("{QUESTIONS}{long}\n"));
    let warning = "warning: data.ner.validation: the file is that of training";
    let lost = "qa: truncated: no window holds";
    let shown = polyhead(&["data", &recipe]).success();
    assert!(shown.contains(warning) && shown.contains(lost) && shown.contains("1 gold answer"), "{shown}");
    let report = polyhead(&["data", &recipe, "--json"]).json();
    let kinds: Vec<&str> =
        report["plan"]["warnings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"validation_is_training") && kinds.contains(&"few_examples"), "{kinds:?}");
    assert_eq!(report["plan"]["tasks"][1]["lost"]["golds"], 1);
    let ran = polyhead(&["train", &recipe, "--set", "train.epochs=1"]);
    assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.find("Plan") < ran.stderr.find(warning) && ran.stderr.contains(lost), "{}", ran.stderr);
    let run = folder.path().join("trial");
    polyhead(&["report", text(&run)]).success();
    let page = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(page.contains("data.ner.validation: the file is that of training"), "{page}");
    polyhead(&["train", &recipe, "--quiet", "--set", "train.epochs=1"]).success();
}
