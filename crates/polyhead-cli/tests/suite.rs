//! `polyhead suite`: every case is shown, and the totals are those of the cases.
#![allow(clippy::unwrap_used)]

mod support;
use support::{model, path, polyhead, text};

#[test]
fn sixteen_cases_are_shown_and_the_totals_are_theirs() {
    let folder = model();
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let (sentences, questions) = (report["sentences"].as_array().unwrap(), report["questions"].as_array().unwrap());
    assert_eq!((sentences.len(), questions.len()), (10, 6));
    let right = |cases: &[serde_json::Value]| cases.iter().filter(|case| case["verdict"] == "right").count();
    assert_eq!(report["totals"]["sentences_right"], right(sentences));
    assert_eq!(report["totals"]["questions_right"], right(questions));
    let shown = polyhead(&["suite", &path(&folder)]).success();
    let verdicts = shown.lines().filter(|line| line.starts_with("right  ") || line.starts_with("wrong  "));
    assert_eq!(verdicts.count(), 16, "{shown}");
    assert!(shown.contains("of 10 sentences right") && shown.contains("of 6 questions answered exactly"), "{shown}");
}

#[test]
fn a_model_of_one_task_is_asked_that_task_only() {
    let folder = model();
    let one = folder.path().join("one");
    polyhead(&["export", &path(&folder), "--task", "qa", "--to", text(&one)]).success();
    let shown = polyhead(&["suite", text(&one)]).success();
    assert!(shown.contains("ner: this model has no such task") && shown.contains("of 6 questions"), "{shown}");
}
