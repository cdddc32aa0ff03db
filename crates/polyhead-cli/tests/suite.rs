//! `polyhead suite`: every case is shown, and the totals are those of the cases.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use support::{model, model_of_one_tag, path, polyhead, text};

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

/// The cases as they stand in the library's files, which the report has no part in.
fn cases(name: &str) -> Vec<Value> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../polyhead/suite").join(name);
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A model that takes every word for a place finds the gold places of one word, at their place, and no other gold entity.
#[test]
fn what_counts_as_found_is_what_stands_in_the_cases() {
    let gold: Vec<Value> =
        cases("ner.jsonl").iter().flat_map(|case| case["entities"].as_array().unwrap().clone()).collect();
    let one_word = |entity: &&Value| entity["type"] == "LOC" && !entity["text"].as_str().unwrap().contains([' ', '-']);
    let expected = gold.iter().filter(one_word).count();
    assert!(expected >= 3 && expected < gold.len(), "{expected} of {}", gold.len());
    let folder = model_of_one_tag("B-LOC");
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let totals = &report["totals"];
    assert_eq!(totals["entities_gold"], gold.len());
    assert_eq!(totals["entities_correct"], expected);
    // Every word of every sentence, and its full stop.
    let words: usize = cases("ner.jsonl").iter().map(|case| case["text"].as_str().unwrap().split(' ').count()).sum();
    assert!(totals["entities_found"].as_u64().unwrap() as usize >= words, "{totals} for {words} words");
    assert_eq!(totals["sentences_right"], 0, "nothing else may be found");
    for (case, shown) in cases("ner.jsonl").iter().zip(report["sentences"].as_array().unwrap()) {
        let gold = case["entities"].as_array().unwrap();
        assert_eq!(
            (&shown["text"], &shown["domain"], &shown["gold"]),
            (&case["text"], &case["domain"], &case["entities"])
        );
        assert_eq!(shown["correct"], gold.iter().filter(one_word).count(), "{shown}");
        assert_eq!(shown["verdict"], "wrong");
    }
}

/// Verdict and F1 of each question, worked out here from the answer that is shown.
#[test]
fn verdicts_of_answers_are_those_of_the_official_comparison() {
    let words = |text: &str| -> Vec<String> {
        let plain = text.to_lowercase().replace(|letter: char| letter.is_ascii_punctuation(), "");
        plain.split_whitespace().filter(|word| !["a", "an", "the"].contains(word)).map(str::to_owned).collect()
    };
    let f1 = |found: &[String], gold: &[String]| {
        let mut left = gold.to_vec();
        let common = found
            .iter()
            .filter(|word| left.iter().position(|other| other == *word).map(|at| left.remove(at)).is_some());
        200.0 * common.count() as f64 / (found.len() + gold.len()) as f64
    };
    let folder = model();
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let (cases, shown) = (cases("qa.jsonl"), report["questions"].as_array().unwrap());
    let mut sum = 0.0;
    for (case, shown) in cases.iter().zip(shown) {
        assert_eq!((&shown["question"], &shown["gold"]), (&case["question"], &case["answers"]));
        let found = words(shown["found"].as_str().unwrap());
        let gold: Vec<Vec<String>> =
            case["answers"].as_array().unwrap().iter().map(|answer| words(answer.as_str().unwrap())).collect();
        let best = gold.iter().map(|gold| f1(&found, gold)).fold(0.0, f64::max);
        assert!((shown["f1"].as_f64().unwrap() - best).abs() < 1e-9, "{shown}: {best}");
        assert_eq!(shown["verdict"], if gold.contains(&found) { "right" } else { "wrong" }, "{shown}");
        sum += best;
    }
    let mean = report["totals"]["questions_f1"].as_f64().unwrap();
    assert!((mean - sum / 6.0).abs() < 1e-9, "{mean}");
}
