//! `polyhead eval`: every score named, nothing left out silently.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use support::{CONLL, QUESTIONS, file, model, path, polyhead, text};

#[test]
fn ner_scores_are_named_by_mean_scheme_and_type() {
    let folder = model();
    let data = file(&folder, "dev.conll", CONLL);
    let call = ["eval", &path(&folder), "--task", "ner", "--data", &data];
    let shown = polyhead(&call).success();
    for part in
        ["micro, lenient", "macro, lenient", "micro, strict IOB2", "macro, strict IOB2", "LOC", "PER", "3 examples"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let report = polyhead(&[&call[..], &["--json"]].concat()).json();
    assert_eq!(report["examples"], 3);
    for mean in ["micro", "macro"] {
        for measure in ["precision", "recall", "f1"] {
            for scheme in ["", "_strict"] {
                assert!(report["score"]["values"][format!("{mean}_{measure}{scheme}")].is_number());
            }
        }
    }
    let limited = polyhead(&[&call[..], &["--json", "--limit", "1"]].concat()).json();
    assert_eq!(limited["examples"], 1);
}

#[test]
fn qa_scores_are_exact_match_and_f1_and_predictions_can_be_kept() {
    let folder = model();
    let data = file(&folder, "dev.jsonl", QUESTIONS);
    let kept = folder.path().join("answers.jsonl");
    let call = ["eval", &path(&folder), "--task", "qa", "--data", &data, "--predictions", text(&kept)];
    let shown = polyhead(&call).success();
    assert!(shown.contains("exact match") && shown.contains("F1") && shown.contains("2 examples"), "{shown}");
    let kept = std::fs::read_to_string(kept).unwrap();
    let answers: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    assert!(answers[1]["place"].as_str().unwrap().ends_with("dev.jsonl:2"), "{kept}");
    assert!(answers[1]["answer"].is_string());
}

#[test]
fn what_could_not_be_used_is_told_on_standard_error_and_in_json() {
    let folder = model();
    let bad = r#"{"id":"q3","question":" ","context":"Ada.","answers":[{"text":"Ada","answer_start":0}]}"#;
    let data = file(&folder, "dev.jsonl", format!("{QUESTIONS}{bad}\n"));
    let call = ["eval", &path(&folder), "--task", "qa", "--data", &data];
    let ran = polyhead(&call);
    assert!(ran.stderr.contains("skipped: ") && ran.stderr.contains("dev.jsonl:3"), "{}", ran.stderr);
    assert!(ran.success().contains("1 example skipped"));
    let report = polyhead(&[&call[..], &["--json"]].concat()).json();
    assert_eq!(report["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(report["examples"], 2);
}

#[test]
fn an_answer_out_of_place_is_scored_and_told_on_standard_error() {
    let folder = model();
    let moved = r#"{"id":"q3","question":"Who?","context":"Ada.","answers":[{"text":"Ada","answer_start":1}]}"#;
    let data = file(&folder, "dev.jsonl", format!("{QUESTIONS}{moved}\n"));
    let ran = polyhead(&["eval", &path(&folder), "--task", "qa", "--data", &data]);
    let told = ["note: gold answers that do not stand where the file says: 1", "dev.jsonl:3", "at character 0"];
    assert!(told.iter().all(|part| ran.stderr.contains(part)), "{}", ran.stderr);
    assert!(ran.success().contains("3 examples scored, none skipped"));
}

#[test]
fn columns_and_the_names_of_class_numbers_are_said_on_the_command_line() {
    let folder = model();
    let plain = file(&folder, "plain.conll", "Ada B-PER\nleft O\n\nRome B-LOC\n");
    let counted = file(&folder, "counted.tsv", "1\tAda\t1\t_\n2\tleft\t0\t_\n\n1\tRome\t2\t_\n");
    let scores = |data: &str, more: &[&str]| {
        let call = ["eval", &path(&folder), "--task", "ner", "--data", data, "--json"];
        polyhead(&[&call[..], more].concat())
    };
    let told = scores(&counted, &["--columns", "2,3", "--tag-names", "O,B-PER,B-LOC"]).json();
    assert_eq!(told["score"], scores(&plain, &[]).json()["score"]);
    for (more, expected) in [
        (&["--columns", "2,3"][..], "data.TASK.tag_names"),
        (&["--columns", "2,2"], "two different columns"),
        (&["--columns", "2,3", "--tag-names", "PER"], "tags such as `O`"),
    ] {
        let ran = scores(&counted, more);
        assert!(ran.stderr.contains(expected), "{more:?}: {}", ran.stderr);
    }
}
