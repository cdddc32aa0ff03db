//! `polyhead eval`: every score named, nothing left out silently.
#![allow(clippy::unwrap_used)]

mod support;
use polyhead::metrics::span_f1::{self, Scheme};
use polyhead::metrics::squad::{self, Rules};
use polyhead::metrics::squad_threshold::{Judged, Measure, best_threshold};
use serde_json::{Value, json};
use support::{CONLL, QUESTIONS, file, model, model_of_one_tag, model_whose_answers, path, polyhead, text};
use tempfile::TempDir;

/// Scores a file and reads the predictions that were written: the report of `--json`, and one object a line.
fn scored(folder: &TempDir, task: &str, data: &str, more: &[&str]) -> (Value, Vec<Value>) {
    let kept = folder.path().join("predictions.jsonl");
    let call = ["eval", &path(folder), "--task", task, "--data", data, "--json", "--predictions", text(&kept)];
    let report = polyhead(&[&call[..], more].concat()).json();
    let lines = std::fs::read_to_string(kept).unwrap();
    (report, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

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

/// The scores of a model that gives every word of [`CONLL`] the same tag, to a hundredth: of eight words three are gold
/// entities, one PER and two LOC.
fn scores_of_one_tag(tag: &str) -> (impl Fn(&str) -> f64, Value) {
    let folder = model_of_one_tag(tag);
    let data = file(&folder, "dev.conll", CONLL);
    let report = polyhead(&["eval", &path(&folder), "--task", "ner", "--data", &data, "--json"]).json();
    let (values, types) = (report["score"]["values"].clone(), report["score"]["types"].clone());
    (move |name: &str| (100.0 * values[name].as_f64().unwrap_or(f64::NAN)).round() / 100.0, types)
}

#[test]
fn ner_scores_are_those_worked_out_by_hand() {
    // Eight entities of a word each are found, `London` and `Paris` are right: precision 2/8, recall 2/3.
    let (score, types) = scores_of_one_tag("B-LOC");
    for scheme in ["", "_strict"] {
        let of = |measure: &str| score(&format!("{measure}{scheme}"));
        assert_eq!([of("micro_precision"), of("micro_recall"), of("micro_f1")], [25.0, 66.67, 36.36], "{scheme}");
        // LOC 2/8 and 2/2, F1 40; PER nothing of nothing.
        assert_eq!([of("macro_precision"), of("macro_recall"), of("macro_f1")], [12.5, 50.0, 20.0], "{scheme}");
    }
    assert_eq!(score("token_accuracy"), 25.0);
    let of = |name: &str| types.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!((of("LOC")["f1"].as_f64(), of("LOC")["support"].as_u64()), (Some(40.0), Some(2)));
    assert_eq!((of("PER")["f1"].as_f64(), of("PER")["support"].as_u64()), (Some(0.0), Some(1)));

    // Each sentence is one entity of all its words, right in the third alone; strictly, none begins.
    let (score, _) = scores_of_one_tag("I-LOC");
    assert_eq!([score("micro_precision"), score("micro_recall"), score("micro_f1")], [33.33, 33.33, 33.33]);
    assert_eq!([score("micro_precision_strict"), score("micro_recall_strict"), score("micro_f1_strict")], [0.0; 3]);
    assert_eq!(score("token_accuracy"), 0.0);
}

/// What is shown to people is what `--json` has.
#[test]
fn the_tables_of_ner_scores_hold_the_values_at_their_names() {
    let folder = model_of_one_tag("B-LOC");
    let data = file(&folder, "dev.conll", CONLL);
    let shown = polyhead(&["eval", &path(&folder), "--task", "ner", "--data", &data]).success();
    let row = |name: &str| -> Vec<String> {
        let line = shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{shown}"));
        line.trim_start()[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    for name in ["micro, lenient", "micro, strict IOB2"] {
        assert_eq!(row(name), ["25.00", "66.67", "36.36"], "{shown}");
    }
    assert_eq!(row("macro, lenient"), ["12.50", "50.00", "20.00"], "{shown}");
    assert_eq!(row("LOC"), ["25.00", "100.00", "40.00", "2"], "{shown}");
    assert_eq!(row("PER"), ["0.00", "0.00", "0.00", "1"], "{shown}");
}

#[test]
fn an_interval_says_how_far_each_score_may_be_off() {
    let folder = model_of_one_tag("B-LOC");
    // Half of the sentences are right in all, half in nothing: of n of them the share that is right has the error 1 / (2 sqrt n).
    let sentences =
        (0..200).map(|at| format!("{} {}\n\n", ["London", "left"][at % 2].repeat(1 + at), ["B-LOC", "O"][at % 2]));
    let data = file(&folder, "halves.conll", sentences.collect::<String>());
    let call = ["eval", &path(&folder), "--task", "ner", "--data", &data, "--interval"];
    let report = polyhead(&[&call[..], &["--json"]].concat()).json();
    let ends = report["intervals"]["token_accuracy"].as_array().unwrap();
    for (end, want) in ends.iter().zip([-1.0, 1.0].map(|side| 50.0 + side * 1.96 * 50.0 / 200_f64.sqrt())) {
        assert!((end.as_f64().unwrap() - want).abs() < 1.5, "{ends:?} for {want}");
    }
    // Recall is 1 of all that is gold, on any sample.
    assert_eq!(report["intervals"]["micro_recall"], json!([100.0, 100.0]));
    let shown = polyhead(&call).success();
    assert!(shown.contains("100.00 (100.00 to 100.00)"), "{shown}");
    let without = polyhead(&[&call[..6], &["--json"]].concat()).json();
    assert_eq!((&without["score"], &without["intervals"]), (&report["score"], &Value::Null));
    // Answers are written all the same.
    let (_, answers) = scored(&folder, "ner", &data, &["--interval"]);
    assert_eq!(answers.len(), 200);
}

/// Words as the official script takes them: small letters, no punctuation, no articles.
fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace(|letter: char| letter.is_ascii_punctuation(), "");
    plain.split_whitespace().filter(|word| !["a", "an", "the"].contains(word)).map(str::to_owned).collect()
}

/// Twice the words in common among all words of both.
fn f1(found: &str, gold: &str) -> f64 {
    let (found, mut gold) = (words(found), words(gold));
    let all = found.len() + gold.len();
    let common =
        found.iter().filter(|word| gold.iter().position(|other| other == *word).map(|at| gold.remove(at)).is_some());
    2.0 * common.count() as f64 / all as f64
}

/// A model that answers every question with the whole context, or with its first word: the mean over both questions is worked
/// out from the answers that were kept.
#[test]
fn qa_scores_are_those_worked_out_from_the_answers() {
    let one = r#"{"id":"1","question":"Who?","context":"Ada","answers":[{"text":"Ada","answer_start":0}]}"#;
    let two = r#"{"id":"2","question":"Who?","context":"London, Paris","answers":[{"text":"Paris","answer_start":8}]}"#;
    let folder = model();
    let data = file(&folder, "dev.jsonl", format!("{one}\n{two}\n"));
    let kept = folder.path().join("answers.jsonl");
    let call = ["eval", &path(&folder), "--task", "qa", "--data", &data, "--predictions", text(&kept), "--json"];
    let report = polyhead(&call).json();
    let kept = std::fs::read_to_string(kept).unwrap();
    let answers: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<&str> = answers.iter().map(|answer| answer["answer"].as_str().unwrap()).collect();
    // A context of one word has one answer.
    assert_eq!(found[0], "Ada");
    let exact = [found[0] == "Ada", words(found[1]) == ["paris"]].iter().filter(|exact| **exact).count();
    let values = &report["score"]["values"];
    assert_eq!(values["exact_match"].as_f64().unwrap(), 50.0 * exact as f64, "{found:?}");
    let mean = 50.0 * (f1(found[0], "Ada") + f1(found[1], "Paris"));
    assert!((values["f1"].as_f64().unwrap() - mean).abs() < 1e-9, "{} for {mean}: {found:?}", values["f1"]);
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

/// Sentences of several lengths, so that a model at random finds something right and something wrong; the last but one
/// has a tag that continues nothing.
fn sentences() -> String {
    let words = ["Ada", "lived", "in", "London", ".", "Paris", "and", "Zoë", "left", "Berlin"];
    let tags = ["B-PER", "O", "O", "B-LOC", "I-LOC", "O", "I-PER"];
    let sentence = |length: usize| -> String {
        let word = |at: usize| format!("{} {}\n", words[(at * at + length) % 10], tags[(at + length * 3) % 7]);
        (0..length).map(word).collect::<String>() + "\n"
    };
    (1..40).map(sentence).collect()
}

#[test]
fn ner_scores_can_be_recomputed_from_the_predictions_alone() {
    let folder = model();
    let data = file(&folder, "dev.conll", sentences());
    let (report, lines) = scored(&folder, "ner", &data, &[]);
    assert_eq!(lines.len(), 39);
    let (mut lenient, mut strict) = (span_f1::Counts::new(Scheme::Lenient), span_f1::Counts::new(Scheme::StrictIob2));
    for line in &lines {
        let (words, gold, found) = (strings(&line["words"]), strings(&line["gold_tags"]), strings(&line["tags"]));
        assert_eq!((words.len(), gold.len()), (found.len(), found.len()));
        assert_eq!(words.join(" "), line["text"]);
        lenient.add(&gold, &found);
        strict.add(&gold, &found);
    }
    let values = &report["score"]["values"];
    for (counts, scheme) in [(&lenient, ""), (&strict, "_strict")] {
        let (micro, mean) = (counts.micro(), counts.macro_average());
        for (name, value) in [
            ("micro_precision", micro.precision()),
            ("micro_recall", micro.recall()),
            ("micro_f1", micro.f1()),
            ("macro_f1", mean.f1),
        ] {
            assert_eq!(values[format!("{name}{scheme}")], json!(100.0 * value), "{name}{scheme}");
        }
    }
    assert_eq!(values["token_accuracy"], json!(100.0 * lenient.accuracy()));
    assert!(lenient.accuracy() > 0.0 && lenient.accuracy() < 1.0, "a test on all or nothing shows little");
    assert_ne!(values["micro_f1"], values["micro_f1_strict"], "the two schemes must differ here");
    let place = lines[1]["place"].as_str().unwrap();
    assert!(place.ends_with("dev.conll:3") && lines[1]["id"] == place, "{place}");
}

#[test]
fn qa_scores_can_be_recomputed_from_the_predictions_alone() {
    let without = r#"{"id":"q3","question":"Why?","context":"Ada lived in London.","answers":[]}"#;
    for (no_answer, rules) in [("never", Rules::V1), ("allowed", Rules::V2)] {
        let folder = model_whose_answers(json!(no_answer));
        let more = if no_answer == "allowed" { without } else { "" };
        let data = file(&folder, "dev.jsonl", format!("{QUESTIONS}{more}\n"));
        let squad = folder.path().join("squad.json");
        let (report, lines) = scored(&folder, "qa", &data, &["--squad-predictions", text(&squad)]);
        let official: Value = serde_json::from_str(&std::fs::read_to_string(squad).unwrap()).unwrap();
        assert_eq!(official.as_object().unwrap().len(), lines.len());
        let mut counts = squad::Counts::new(rules);
        let mut judged = Vec::new();
        for line in &lines {
            let (golds, answer) = (strings(&line["gold_answers"]), line["answer"].as_str().unwrap());
            counts.add(Some(answer), &golds);
            assert_eq!(official[line["id"].as_str().unwrap()], line["answer"], "{line}");
            if rules == Rules::V2 {
                let best = line["best_answer"].as_str().unwrap();
                judged.push(Judged::new(best, &golds, line["no_answer_score"].as_f64().unwrap()));
            }
        }
        let values = &report["score"]["values"];
        assert_eq!(values["exact_match"], json!(100.0 * counts.all().means().exact));
        assert_eq!(values["f1"], json!(100.0 * counts.all().means().f1));
        if rules == Rules::V2 {
            assert_eq!(values["has_answer_f1"], json!(100.0 * counts.has_answer().means().f1));
            assert_eq!(values["no_answer_f1"], json!(100.0 * counts.no_answer().means().f1));
            assert_eq!(values["best_f1"], json!(100.0 * best_threshold(&judged, Measure::F1).score));
        }
        assert_eq!((&lines[1]["id"], &lines[1]["question"]), (&json!("q2"), &json!("Where?")));
        assert_eq!(lines[1]["gold_answers"], json!(["London"]));
        assert!(lines[1]["place"].as_str().unwrap().ends_with("dev.jsonl:2"));
    }
    let folder = model();
    let data = file(&folder, "dev.conll", CONLL);
    let call = ["eval", &path(&folder), "--task", "ner", "--data", &data, "--squad-predictions", "x.json"];
    assert!(polyhead(&call).failure(2).contains("expected a task that answers questions, found `ner`"));
}

#[test]
fn the_precision_that_is_asked_for_is_the_one_that_computes() {
    let folder = model();
    let data = file(&folder, "dev.conll", CONLL);
    let report = |precision: &str| scored(&folder, "ner", &data, &["--precision", precision]);
    let ((f32, of_f32), (bf16, of_bf16)) = (report("f32"), report("bf16"));
    assert_eq!((&f32["precision"], &bf16["precision"]), (&json!("f32"), &json!("bf16")));
    assert_eq!(report("f32").1, of_f32);
    let ask = |precision: &str| {
        let call = ["predict", &path(&folder), "--task", "qa", "--question", "Who?", "--context", "Ada left London."];
        polyhead(&[&call[..], &["--json", "--precision", precision]].concat()).json()
    };
    assert_ne!(ask("f32")["score"], ask("bf16")["score"], "the last digits of a score tell");
    assert_eq!(of_f32.len(), of_bf16.len());
    assert!([&f32["precision"], &bf16["precision"]].contains(&&report("auto").0["precision"]));
    polyhead(&["eval", &path(&folder), "--task", "ner", "--data", &data, "--precision", "fp16"]).failure_of_call();
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

#[test]
fn several_files_a_folder_and_a_pattern_are_scored_together() {
    let folder = model();
    let data = tempfile::tempdir().unwrap();
    for name in ["a.conll", "b.conll"] {
        std::fs::write(data.path().join(name), CONLL).unwrap();
    }
    let at = |name: &str| data.path().join(name).display().to_string();
    let (first, second, pattern) = (at("a.conll"), at("b.conll"), at("*.conll"));
    let model = path(&folder);
    let scored = |data: &[&str]| {
        let call = ["eval", &model, "--task", "ner", "--json", "--data"];
        polyhead(&[&call[..], data].concat()).json()
    };
    let one = scored(&[&first]);
    assert_eq!((&one["data"], &one["examples"]), (&json!(first), &json!(3)));
    let both = scored(&[&first, &second]);
    assert_eq!((&both["data"], &both["examples"]), (&json!([first, second]), &json!(6)));
    assert_eq!(both["score"]["values"]["micro_f1"], one["score"]["values"]["micro_f1"]);
    for data in [&at(""), &pattern] {
        assert_eq!(scored(&[data])["score"], both["score"], "{data}");
    }
}
