//! `polyhead init`: files of one's own become a recipe that trains.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::{Value, json};
use std::path::Path;
use support::{CONLL, QUESTIONS, file, path, polyhead, text, tiny_bert};
use tempfile::TempDir;

/// Runs it on files of a folder, with tiny-bert; the recipe and what was said of it.
fn init(folder: &TempDir, files: &[&str], more: &[&str]) -> (toml::Table, Value, String) {
    let output = folder.path().join("recipe.toml");
    let encoder = tiny_bert();
    let files: Vec<String> = files.iter().map(|name| folder.path().join(name).display().to_string()).collect();
    let mut call = vec!["init"];
    call.extend(files.iter().map(String::as_str));
    call.extend(["-o", text(&output), "--overwrite", "--encoder", text(&encoder), "--json"]);
    call.extend(more);
    let said = polyhead(&call).json();
    let recipe = std::fs::read_to_string(&output).unwrap();
    (recipe.parse().unwrap(), said, recipe)
}

fn reviews(rows: usize) -> String {
    let row = |at: usize| {
        let (stars, word) = [("5", "lovely"), ("1", "dreadful")][at % 2];
        format!("{at},\"A {word} stay, number {at}, with a view of the harbour\",{stars}\n")
    };
    std::iter::once("id,review,stars\n".to_owned()).chain((0..rows).map(row)).collect()
}

#[test]
fn files_of_several_kinds_become_a_recipe_that_trains_at_once() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "ner.conll", CONLL.repeat(6));
    file(&folder, "qa.jsonl", QUESTIONS);
    file(&folder, "reviews.csv", reviews(40));
    let (recipe, said, text) = init(&folder, &["ner.conll", "qa.jsonl", "reviews.csv"], &["--name", "mine"]);
    let kinds: Vec<&Value> = said["proposal"]["tasks"].as_array().unwrap().iter().map(|task| &task["kind"]).collect();
    assert_eq!(kinds, [&json!("ner"), &json!("qa"), &json!("classify")]);
    assert_eq!(recipe["name"].as_str(), Some("mine"));
    let columns = &recipe["data"]["classify"]["columns"];
    assert_eq!((columns["text"].as_str(), columns["label"].as_str()), (Some("review"), Some("stars")), "{text}");
    assert!(text.contains("# named-entity recognition") && text.contains("told by what they hold"), "{text}");
    let output = folder.path().join("runs");
    let run = polyhead(&[
        "train",
        support::text(&folder.path().join("recipe.toml")),
        "--set",
        &format!("output={}", output.display()),
        "--set",
        "train.epochs=1",
        "--set",
        "train.feature_cache=false",
        "--set",
        "tasks.ner.max_length=32",
        "--set",
        "tasks.ner.stride=4",
        "--set",
        "tasks.qa.max_length=64",
        "--set",
        "tasks.qa.max_question_length=16",
        "--set",
        "tasks.qa.stride=8",
        "--set",
        "tasks.classify.max_length=32",
        "--set",
        "tasks.classify.stride=4",
    ]);
    run.success();
    assert!(output.join("mine/best/model.safetensors").is_file());
}

#[test]
fn one_file_may_be_for_several_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = "1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\t_\n2\tleft\tleave\tVERB\t_\t_\t0\troot\t_\t_\n\n\
                    1\tPlease\tplease\tINTJ\t_\t_\t2\tdiscourse\t_\t_\n2\tgo\tgo\tVERB\t_\t_\t0\troot\t_\t_\n\n";
    file(&folder, "train.conllu", sentence.repeat(5));
    file(&folder, "dev.conllu", sentence);
    let (recipe, said, _) = init(&folder, &["train.conllu", "dev.conllu"], &[]);
    let tasks: Vec<&String> = recipe["tasks"].as_table().unwrap().keys().collect();
    assert_eq!(tasks, ["tag", "parse"], "{said}");
    for task in ["tag", "parse"] {
        let data = &recipe["data"][task];
        assert!(data["train"].as_str().unwrap().ends_with("train.conllu"));
        assert!(data["validation"].as_str().unwrap().ends_with("dev.conllu"));
        assert!(data.get("split").is_none());
    }
    let (recipe, ..) = init(&folder, &["train.conllu"], &["--kind", "parse"]);
    assert_eq!(recipe["tasks"].as_table().unwrap().keys().collect::<Vec<_>>(), ["parse"]);
    assert_eq!(recipe["data"]["parse"]["split"].as_float(), Some(0.1));
}

#[test]
fn columns_of_tags_are_read_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "entities.txt", CONLL.repeat(4));
    file(&folder, "speech.txt", "Ada NOUN\nleft VERB\n\nPlease INTJ\ngo VERB\n\n".repeat(8));
    file(
        &folder,
        "questions.label",
        b"LOC:city Where is Paris ?\nHUM:ind Who is Ada ?\nLOC:city Where is caf\xe9 Rome ?\n".repeat(9),
    );
    for (name, kind) in [("entities.txt", "ner"), ("speech.txt", "tag"), ("questions.label", "classify")] {
        let (recipe, said, _) = init(&folder, &[name], &[]);
        let tasks: Vec<&String> = recipe["tasks"].as_table().unwrap().keys().collect();
        assert_eq!(tasks, [kind], "{name}: {said}");
    }
    let (recipe, ..) = init(&folder, &["questions.label"], &[]);
    assert_eq!(recipe["data"]["classify"]["encoding"].as_str(), Some("latin-1"));
}

#[test]
fn several_labels_and_numbers_are_told_from_one_label() {
    let folder = tempfile::tempdir().unwrap();
    let several = |at: usize| format!("{{\"text\": \"text {at}\", \"labels\": [\"a\"{}]}}\n", ["", ", \"b\""][at % 2]);
    file(&folder, "several.jsonl", (0..30).map(several).collect::<String>());
    let number = |at: usize| format!("text {at}\t{}.{}\n", at % 5, at);
    file(
        &folder,
        "number.tsv",
        std::iter::once("text\tlabel\n".to_owned()).chain((0..60).map(number)).collect::<String>(),
    );
    for (name, problem) in [("several.jsonl", "multi_label"), ("number.tsv", "regression")] {
        let (recipe, said, _) = init(&folder, &[name], &[]);
        assert_eq!(recipe["tasks"]["classify"]["problem"].as_str(), Some(problem), "{said}");
    }
}

#[test]
fn what_can_not_be_told_is_asked_for_with_the_place_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let row = |row: usize| format!("{row},subject {row},body {row},{}\n", row % 3);
    file(
        &folder,
        "tickets.csv",
        std::iter::once("id,subject,body,queue\n".to_owned()).chain((0..30).map(row)).collect::<String>(),
    );
    file(&folder, "broken.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \n");
    file(&folder, "notes.docx", "x");
    let output = at("recipe.toml");
    let failed = |name: &str, code: i32, parts: &[&str]| {
        let said = polyhead(&["init", &at(name), "-o", &output]).failure(code);
        for part in parts {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
        assert!(!Path::new(&output).exists());
    };
    failed("tickets.csv", 65, &["tickets.csv", "`subject`, `body`, `queue`", "--columns text=body,label=class"]);
    failed("broken.jsonl", 65, &["broken.jsonl:2"]);
    failed("notes.docx", 2, &["notes.docx", "found the extension `.docx`", ".conllu"]);
    failed("none.csv", 66, &["none.csv", "no such file"]);
    let call = ["init", &at("tickets.csv"), "-o", &output, "--columns", "text=body,label=queue"];
    assert!(polyhead(&call).success().contains("is written"));
    let said = polyhead(&call).failure(73);
    assert!(said.contains("the file exists") && said.contains("--overwrite"), "{said}");
    let _ = path(&folder);
}
