//! `polyhead suite`: every case is shown, the totals are those of the cases, and a model that the cases do not fit is not
//! asked them.
#![allow(clippy::unwrap_used)]

mod support;
use polyhead::Key;
use polyhead::encoders::EncoderOverrides;
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::tasks::TASKS;
use serde_json::{Value, json};
use support::{path, polyhead, set_tensors, text, tiny_bert};
use tempfile::TempDir;

/// A model, at random, whose NER task has these types, and one that answers questions; the first so many of its tasks.
fn model(types: &[&str], tasks: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let both = types.iter().flat_map(|kind| [format!("B-{kind}"), format!("I-{kind}")]);
    let labels: Vec<String> = std::iter::once("O".to_owned()).chain(both).collect();
    let open = |name: &str, config: Value| {
        let kind = TASKS.iter().find(|kind| kind.kind == name).unwrap();
        NamedTask { name: name.into(), task: (kind.open)(config).unwrap() }
    };
    let ner = open("ner", json!({ "labels": labels, "max_length": 32, "stride": 4 }));
    let qa = open("qa", json!({ "max_length": 64, "stride": 2, "max_question_length": 56 }));
    let tasks = [ner, qa].into_iter().take(tasks).collect();
    let model =
        Model::pretrained(&tiny_bert(), Provenance::default(), tasks, &EncoderOverrides::default(), Key::seed(7))
            .unwrap();
    model.save(&folder.path().join("model")).unwrap();
    folder
}

const CONLL: [&str; 4] = ["LOC", "MISC", "ORG", "PER"];

#[test]
fn sixteen_cases_are_shown_and_the_totals_are_theirs() {
    let folder = model(&CONLL, 2);
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let (sentences, questions) = (report["sentences"].as_array().unwrap(), report["questions"].as_array().unwrap());
    assert_eq!((sentences.len(), questions.len()), (10, 6));
    let right = |cases: &[Value]| cases.iter().filter(|case| case["verdict"] == "right").count();
    assert_eq!(report["totals"]["sentences_right"], right(sentences));
    assert_eq!(report["totals"]["questions_right"], right(questions));
    let found = |case: &Value| case["found"].as_array().unwrap().len();
    assert_eq!(report["totals"]["entities_found"], sentences.iter().map(found).sum::<usize>());
    let shown = polyhead(&["suite", &path(&folder)]).success();
    let verdicts = shown.lines().filter(|line| line.starts_with("right  ") || line.starts_with("wrong  "));
    assert_eq!(verdicts.count(), 16, "{shown}");
    assert!(shown.contains("of 10 sentences right") && shown.contains("of 6 questions answered exactly"), "{shown}");
    assert!(shown.starts_with("English texts with gold answers"), "{shown}");
}

#[test]
fn a_model_of_one_task_is_asked_that_task_only() {
    let folder = model(&CONLL, 2);
    let one = folder.path().join("one");
    polyhead(&["export", &path(&folder), "--task", "ner", "--to", text(&one)]).success();
    let shown = polyhead(&["suite", text(&one)]).success();
    assert!(shown.contains("of 10 sentences right") && !shown.contains("qa"), "{shown}");
}

#[test]
fn sentences_are_not_asked_of_labels_that_they_are_not_marked_with() {
    for types in [&["PER", "LOC"][..], &["GENE"], &["PER", "LOC", "ORG", "OTH"], &["ORG", "PER", "LOC", "MISC", "DATE"]]
    {
        let folder = model(types, 2);
        let report = polyhead(&["suite", &path(&folder), "--json"]).json();
        assert_eq!(
            (report["sentences"].as_array().unwrap().len(), report["questions"].as_array().unwrap().len()),
            (0, 6)
        );
        assert_eq!(report["skipped"][0]["task"], "ner");
        let shown = polyhead(&["suite", &path(&folder)]).success();
        let reason = "ner: not asked: the sentences are English and marked with LOC, ORG, PER and MISC, or with parts of speech; its labels are ";
        assert!(shown.contains(reason) && types.iter().all(|kind| shown.contains(kind)), "{shown}");
        // Nothing is left to ask: a wrong call, as the help says.
        let alone = model(types, 1);
        assert!(polyhead(&["suite", &path(&alone)]).failure(2).contains("the suite has no cases for this model"));
    }
    // None of them is MISC.
    let without = model(&["LOC", "ORG", "PER"], 1);
    assert_eq!(polyhead(&["suite", &path(&without), "--json"]).json()["sentences"].as_array().unwrap().len(), 10);
}

/// A model, at random, that tells parts of speech is asked these; one that takes every word for a noun finds the nouns.
#[test]
fn words_are_asked_of_a_model_that_tells_parts_of_speech() {
    let labels = polyhead::suite::PARTS_OF_SPEECH;
    let kind = TASKS.iter().find(|kind| kind.kind == "tag").unwrap();
    let task = (kind.open)(json!({ "labels": labels, "max_length": 32, "stride": 4 })).unwrap();
    let tasks = vec![NamedTask { name: "pos".into(), task }];
    let folder = tempfile::tempdir().unwrap();
    let model =
        Model::pretrained(&tiny_bert(), Provenance::default(), tasks, &EncoderOverrides::default(), Key::seed(7))
            .unwrap();
    model.save(&folder.path().join("model")).unwrap();
    let bias: Vec<f32> = labels.iter().map(|label| if *label == "NOUN" { 9.0 } else { 0.0 }).collect();
    set_tensors(&folder.path().join("model"), &[("heads.pos.weight", &[0.0]), ("heads.pos.bias", &bias)]);
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let gold: Vec<Value> =
        cases("words.jsonl").iter().flat_map(|case| case["tags"].as_array().unwrap().clone()).collect();
    let nouns = gold.iter().filter(|tag| **tag == "NOUN").count();
    assert!(nouns > 9, "{nouns}");
    assert_eq!(
        (&report["totals"]["words_gold"], &report["totals"]["words_correct"]),
        (&json!(gold.len()), &json!(nouns))
    );
    let words = report["words"].as_array().unwrap();
    assert!(words.iter().all(|case| case["found"].as_array().unwrap().iter().all(|tag| tag == "NOUN")), "{words:?}");
    let shown = polyhead(&["suite", &path(&folder)]).success();
    assert!(shown.contains("  seen: NOUN, right: VERB"), "{shown}");
    assert!(shown.contains(&format!("words: {nouns} of {} words with their part of speech", gold.len())), "{shown}");
}

/// A model at random of these tasks: name, kind, configuration. The last layers of their heads have these biases and nothing else.
fn biased(tasks: &[(&str, &str, Value, &[f32])]) -> TempDir {
    let open = |(name, kind, config): (&str, &str, &Value)| {
        let kind = TASKS.iter().find(|known| known.kind == kind).unwrap();
        NamedTask { name: name.into(), task: (kind.open)(config.clone()).unwrap() }
    };
    let opened = tasks.iter().map(|(name, kind, config, ..)| open((name, kind, config))).collect();
    let folder = tempfile::tempdir().unwrap();
    let model =
        Model::pretrained(&tiny_bert(), Provenance::default(), opened, &EncoderOverrides::default(), Key::seed(7))
            .unwrap();
    let to = folder.path().join("model");
    model.save(&to).unwrap();
    for (name, _, _, bias) in tasks.iter().filter(|(.., bias)| !bias.is_empty()) {
        let [weight, bias_of] = ["weight", "bias"].map(|part| format!("heads.{name}.{part}"));
        set_tensors(&to, &[(weight.as_str(), &[0.0]), (bias_of.as_str(), bias)]);
    }
    folder
}

/// A model that always says the same finds as many as the cases have of that.
#[test]
fn labels_and_relations_are_asked_of_models_that_tell_them() {
    let types = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"];
    let relations: Vec<String> = cases("relations.jsonl")
        .iter()
        .map(|case| case["label"].as_str().unwrap().to_owned())
        .filter(|label| label != "Other")
        .chain(["Other".to_owned()])
        .collect();
    let first = |among: usize| -> Vec<f32> { (0..among).map(|at| if at == 0 { 9.0 } else { 0.0 }).collect() };
    let folder = biased(&[
        ("mood", "classify", json!({ "labels": ["NEGATIVE", "POSITIVE"], "max_length": 32, "stride": 4 }), &first(2)),
        ("question", "classify", json!({ "labels": types, "max_length": 32, "stride": 4 }), &first(6)),
        ("topic", "classify", json!({ "labels": ["sport", "trade"], "max_length": 32, "stride": 4 }), &first(2)),
        (
            "between",
            "relation",
            json!({ "labels": relations, "negative": "Other", "markers": "spans", "max_length": 64 }),
            &first(relations.len()),
        ),
    ]);
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    assert_eq!(report["texts"].as_array().unwrap().len(), 12);
    assert_eq!((&report["totals"]["texts_right"], &report["totals"]["relations_right"]), (&json!(3 + 1), &json!(1)));
    assert_eq!(report["skipped"][0]["task"], "topic");
    for case in report["relations"].as_array().unwrap() {
        assert_eq!(case["found"], relations[0], "{case}");
        assert_eq!(case["verdict"] == "right", case["gold"] == relations[0], "{case}");
    }
    let shown = polyhead(&["suite", &path(&folder)]).success();
    for line in [
        "right  sentiment, restaurant",
        "sentiment: 3 of 6 texts right",
        "question type: 1 of 6 texts right",
        "relations: 1 of 10 sentences right",
        "topic: not asked: the texts are English, with a sentiment",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

/// Trees are asked of a model that knows the relations, and heads and relations are counted by the cases' own numbers.
#[test]
fn trees_are_asked_of_models_that_know_the_relations() {
    let words = cases("words.jsonl");
    let relations = words.iter().flat_map(|case| case["relations"].as_array().unwrap().clone());
    let labels: std::collections::BTreeSet<String> = relations.map(|one| one.as_str().unwrap().to_owned()).collect();
    let config = json!({ "labels": labels, "max_length": 64, "arc_size": 8, "relation_size": 8 });
    let folder = biased(&[("parse", "parse", config, &[])]);
    let report = polyhead(&["suite", &path(&folder), "--json"]).json();
    let trees = report["trees"].as_array().unwrap();
    assert_eq!(trees.len(), words.len());
    let (mut heads, mut both) = (0, 0);
    for (case, shown) in words.iter().zip(trees) {
        let found = shown["found"].as_array().unwrap();
        assert_eq!(found.len(), case["words"].as_array().unwrap().len());
        for (at, found) in found.iter().enumerate() {
            let head = found["head"] == case["heads"][at];
            heads += usize::from(head);
            both += usize::from(head && found["relation"] == case["relations"][at]);
        }
    }
    let totals = &report["totals"];
    assert_eq!((&totals["heads_correct"], &totals["arcs_correct"]), (&json!(heads), &json!(both)));
    let shown = polyhead(&["suite", &path(&folder)]).success();
    assert!(shown.contains(&format!("{heads} of {} words with their head", totals["arcs_gold"])), "{shown}");
    assert!(shown.contains(", right: nsubj of "), "{shown}");
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
    let folder = model(&CONLL, 2);
    // The first of its types is LOC: `O`, `B-LOC`, ...
    let bias: Vec<f32> = (0..9).map(|label| if label == 1 { 9.0 } else { 0.0 }).collect();
    set_tensors(&folder.path().join("model"), &[("heads.ner.weight", &[0.0]), ("heads.ner.bias", &bias)]);
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
    let folder = model(&CONLL, 2);
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
