//! `polyhead inspect`: the parameter table and what is known of a model.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::json;
use support::{file, model, path, polyhead, text, tiny_bert};

#[test]
fn bert_base_with_nine_labels_has_the_numbers_of_the_issue() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
    });
    let config = file(&folder, "config.json", config.to_string());
    let shown = polyhead(&["inspect", &config, "--labels", "9"]).success();
    let row = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(row("shared encoder (pooler included)").contains(" 109,482,240 "));
    assert!(row("head `ner`").contains(" 6,921 "));
    assert!(row("head `qa`").contains(" 1,538 "));
    assert!(row("total").contains(" 109,490,699 "));
    let counted = polyhead(&["inspect", &config, "--labels", "9", "--json"]).json();
    let parameters = json!({
        "encoder": 109_482_240, "private": {}, "heads": {"ner": 6921, "qa": 1538},
        "total": 109_490_699, "trained": 109_490_699 - (768 * 768 + 768),
    });
    assert_eq!(counted["parameters"], parameters);
}

#[test]
fn a_model_shows_its_labels_tokenizer_and_digest() {
    let folder = model();
    let shown = polyhead(&["inspect", &path(&folder)]).success();
    for part in ["Task ner", "O B-LOC I-LOC B-PER I-PER", "Task qa", "WordPiece", "sha256", "per cent", "trained"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let facts = polyhead(&["inspect", &path(&folder), "--json"]).json();
    assert_eq!(facts["tasks"][0]["labels"][3], "B-PER");
    assert_eq!(facts["parameters"]["heads"]["ner"], 32 * 5 + 5);
    assert_eq!(facts["tokenizer"]["model"], "WordPiece");
    assert_eq!(facts["sha256"].as_str().unwrap().len(), 64);
    polyhead(&["inspect", &path(&folder), "--labels", "9"]).failure(2);
}

#[test]
fn a_run_folder_is_taken_for_its_best_model() {
    let folder = model();
    std::fs::rename(folder.path().join("model"), folder.path().join("best")).unwrap();
    let facts = polyhead(&["inspect", text(folder.path()), "--json"]).json();
    assert_eq!(facts["tasks"].as_array().unwrap().len(), 2);
}

#[test]
fn a_bare_encoder_is_counted_with_the_heads_to_come_and_shows_its_digests() {
    let facts = polyhead(&["inspect", text(&tiny_bert()), "--labels", "9", "--json"]).json();
    assert_eq!(facts["parameters"]["heads"], json!({"ner": 32 * 9 + 9, "qa": 2 * 33}));
    assert!(facts["source"]["files"].as_array().unwrap().len() >= 3);
    let without = polyhead(&["inspect", text(&tiny_bert()), "--json"]).json();
    assert_eq!(without["parameters"]["heads"], json!({"qa": 2 * 33}));
    let counted = polyhead(&["inspect", text(&tiny_bert().join("config.json")), "--labels", "9", "--json"]).json();
    assert_eq!(counted["parameters"], facts["parameters"], "with and without weights");
}

#[test]
fn what_is_not_there_or_not_a_model_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    polyhead(&["inspect", "./nowhere"]).failure(66);
    polyhead(&["inspect", text(folder.path())]).failure(66);
    assert!(polyhead(&["inspect", "owner/not-in-the-cache"]).failure(69).contains("hint: "));
    for config in ["{", r#"{"model_type":"gpt2"}"#, r#"{"model_type":"bert","hidden_size":"wide"}"#] {
        let path = file(&folder, "config.json", config);
        assert!(polyhead(&["inspect", &path]).failure(65).contains("config.json"), "{config}");
    }
}
