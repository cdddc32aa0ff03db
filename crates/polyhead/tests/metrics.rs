//! The metrics equal the reference scripts: seqeval and the official SQuAD scripts on thousands of recorded cases.
//! The generators of the cases stand beside them in `fixtures/`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use polyhead::metrics::span_f1::{self, Scheme, Span, entities};
use polyhead::metrics::squad::{self, Rules, normalise};
use polyhead::metrics::squad_threshold::{Judged, Measure, best_threshold};
use serde_json::Value;

const NEAR: f64 = 1e-12;

fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}

fn cases(name: &str) -> Vec<Value> {
    fixture(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[track_caller]
fn near(ours: f64, theirs: &Value, what: &dyn std::fmt::Display) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= NEAR, "ours {ours}, theirs {theirs}: {what}");
}

fn counted(case: &Value, scheme: Scheme) -> span_f1::Counts {
    let mut counts = span_f1::Counts::new(scheme);
    let (gold, predicted) = (case["true"].as_array().unwrap(), case["pred"].as_array().unwrap());
    gold.iter().zip(predicted).for_each(|(gold, predicted)| counts.add(&texts(gold), &texts(predicted)));
    counts
}

#[test]
fn span_f1_equals_seqeval() {
    let cases = cases("seqeval_cases.jsonl");
    assert!(cases.len() >= 2_000, "{}", cases.len());
    let mut strict = 0;
    for case in &cases {
        for (name, scheme) in [("lenient", Scheme::Lenient), ("strict", Scheme::StrictIob2)] {
            let (ours, theirs) = (counted(case, scheme), &case[name]);
            if theirs.is_null() {
                continue; // tags that strict IOB2 refuses
            }
            strict += usize::from(scheme == Scheme::StrictIob2);
            let micro = ours.micro();
            for (index, score) in [micro.precision(), micro.recall(), micro.f1()].into_iter().enumerate() {
                near(score, &theirs["micro"][index], case);
            }
            let mean = ours.macro_average();
            for (index, score) in [mean.precision, mean.recall, mean.f1].into_iter().enumerate() {
                match theirs["macro"].is_null() {
                    true => assert_eq!(score, 0.0, "{case}"),
                    false => near(score, &theirs["macro"][index], case),
                }
            }
            let kinds = theirs["types"].as_object().unwrap();
            assert_eq!(ours.kinds().count(), kinds.len(), "{name} {case}");
            for (kind, tally) in ours.kinds() {
                let row = &kinds[kind];
                let scores = [tally.precision(), tally.recall(), tally.f1(), tally.gold as f64];
                scores.into_iter().enumerate().for_each(|(index, score)| near(score, &row[index], case));
            }
            match case["accuracy"].is_null() {
                true => assert_eq!(ours.tokens(), 0),
                false => near(ours.accuracy(), &case["accuracy"], case),
            }
        }
    }
    assert!(strict >= 1_000, "{strict}");
}

#[test]
fn span_counts_add_up_over_batches() {
    for scheme in [Scheme::Lenient, Scheme::StrictIob2] {
        let all = cases("seqeval_cases.jsonl");
        let whole = all.iter().map(|case| counted(case, scheme)).reduce(|mut sum, counts| {
            sum.merge(&counts);
            sum
        });
        let mut batches = span_f1::Counts::new(scheme);
        for batch in all.rchunks(7) {
            let mut counts = span_f1::Counts::new(scheme);
            batch.iter().for_each(|case| counts.merge(&counted(case, scheme)));
            batches.merge(&counts);
        }
        assert_eq!(whole.unwrap(), batches);
    }
}

#[test]
fn scores_of_nothing_are_zero_without_a_sign() {
    let mut counts = span_f1::Counts::new(Scheme::Lenient);
    counts.add(&["O", "O"], &["O", "O"]);
    let (micro, mean) = (counts.micro(), counts.macro_average());
    for score in [micro.precision(), micro.recall(), micro.f1(), mean.precision, mean.recall, mean.f1] {
        assert!(score == 0.0 && score.is_sign_positive(), "{score}");
    }
}

#[test]
fn an_entity_ends_before_its_end() {
    let span = |kind: &str, start, end| Span { kind: kind.to_owned(), start, end };
    let tags = ["B-LOC-CITY", "I-LOC-CITY", "O", "I-PER", "B-PER", "I-ORG"];
    let both = [span("LOC-CITY", 0, 2), span("PER", 3, 4), span("PER", 4, 5), span("ORG", 5, 6)];
    assert_eq!(entities(&tags, Scheme::Lenient), both);
    assert_eq!(entities(&tags, Scheme::StrictIob2), [span("LOC-CITY", 0, 2), span("PER", 4, 5)]);
    assert_eq!(entities::<&str>(&[], Scheme::Lenient), []);
    assert_eq!(entities(&["", "I", "-", "é-x"], Scheme::StrictIob2), []);
}

#[test]
fn words_without_a_prediction_count_as_wrong() {
    let mut counts = span_f1::Counts::new(Scheme::Lenient);
    counts.add(&["B-A", "O", "B-A", "O"], &["B-A", "O"]);
    assert_eq!((counts.accuracy(), counts.micro().recall(), counts.micro().precision()), (0.5, 0.5, 1.0));
}

#[test]
fn answer_scores_equal_the_official_scripts() {
    let cases = cases("squad_cases.jsonl");
    assert!(cases.len() >= 2_000, "{}", cases.len());
    for case in &cases {
        let (prediction, golds) = (case["pred"].as_str().unwrap(), texts(&case["golds"]));
        for (name, rules) in [("v1", Rules::V1), ("v2", Rules::V2)] {
            if !case[name].is_null() {
                let ours = squad::score(prediction, &golds, rules);
                near(ours.exact, &case[name]["em"], &format!("{name} {case}"));
                near(ours.f1, &case[name]["f1"], &format!("{name} {case}"));
            }
        }
    }
}

/// Each question of a SQuAD file: its identifier and the texts of its answers.
fn questions(dataset: &Value) -> Vec<(&str, Vec<&str>)> {
    let mut all = Vec::new();
    for article in dataset["data"].as_array().unwrap() {
        for paragraph in article["paragraphs"].as_array().unwrap() {
            for asked in paragraph["qas"].as_array().unwrap() {
                let answers = asked["answers"].as_array().unwrap();
                let texts = answers.iter().map(|answer| answer["text"].as_str().unwrap()).collect();
                all.push((asked["id"].as_str().unwrap(), texts));
            }
        }
    }
    all
}

#[test]
fn the_evaluation_of_a_dataset_equals_the_official_scripts() {
    let all: Value = serde_json::from_str(&fixture("squad_dataset.json")).unwrap();
    let na = |id: &str| all["na_probs"][id].as_f64().unwrap();
    let cut = all["na_prob_thresh"].as_f64().unwrap();

    for (name, threshold) in [("v2", 1.0), ("v2_thresh", cut), ("v2_plain", f64::INFINITY)] {
        let theirs = &all[name];
        let mut counts = squad::Counts::new(Rules::V2);
        for (id, golds) in questions(&all["dataset"]) {
            let judged = Judged::new(all["predictions"][id].as_str().unwrap(), &golds, na(id));
            counts.add_scored(judged.at(threshold), &golds);
        }
        for (part, tally) in [("", counts.all()), ("HasAns_", *counts.has_answer()), ("NoAns_", *counts.no_answer())] {
            near(tally.means().exact * 100.0, &theirs[format!("{part}exact")], &name);
            near(tally.means().f1 * 100.0, &theirs[format!("{part}f1")], &name);
            assert_eq!(tally.questions(), theirs[format!("{part}total")].as_u64().unwrap());
        }
    }

    let golds: std::collections::HashMap<_, _> = questions(&all["dataset"]).into_iter().collect();
    let in_file_order = all["na_probs"].as_object().unwrap();
    let judged: Vec<_> = in_file_order
        .keys()
        .map(|id| Judged::new(all["predictions"][id].as_str().unwrap(), &golds[id.as_str()], na(id)))
        .collect();
    for (name, measure) in [("best_exact", Measure::Exact), ("best_f1", Measure::F1)] {
        let best = best_threshold(&judged, measure);
        near(best.score * 100.0, &all["v2"][name], &name);
        assert_eq!(best.threshold.unwrap_or(0.0), all["v2"][format!("{name}_thresh")].as_f64().unwrap());
    }

    let v1 = &all["v1"];
    let mut counts = squad::Counts::new(Rules::V1);
    for (id, golds) in questions(&v1["dataset"]) {
        counts.add(v1["predictions"][id].as_str(), &golds);
    }
    near(counts.all().means().exact * 100.0, &v1["exact_match"], &"v1");
    near(counts.all().means().f1 * 100.0, &v1["f1"], &"v1");
    assert_eq!(counts.missing(), 1);
}

#[test]
fn answer_counts_do_not_depend_on_batches_in_any_bit() {
    let cases = cases("squad_cases.jsonl");
    let of = |cases: &[Value]| {
        let mut counts = squad::Counts::new(Rules::V2);
        for case in cases {
            counts.add(case["pred"].as_str(), &texts(&case["golds"]));
        }
        counts
    };
    let whole = of(&cases);
    for size in [1, 7, 64] {
        let mut sum = squad::Counts::new(Rules::V2);
        cases.rchunks(size).for_each(|batch| sum.merge(&of(batch)));
        assert_eq!(sum, whole, "batches of {size}");
    }
}

#[test]
fn normalising_follows_python() {
    for (answer, expected) in [
        ("The  Cat's  a hat!", "cats hat"),
        ("the-cat", "thecat"),
        ("“the” cat", "“ ” cat"),
        ("a\u{301}b the\u{1C}x", "\u{301}b x"),
        ("a1 an_ ΟΔΟΣ", "a1 οδος"),
    ] {
        assert_eq!(normalise(answer), expected, "{answer}");
    }
}

/// Lines of `fixtures/classification_cases.jsonl`, which scikit-learn made.
#[test]
fn classification_scores_are_those_of_scikit_learn() {
    use polyhead::metrics::classification::{Confusion, Mean, Scores};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/classification_cases.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let near = |found: f64, want: &serde_json::Value| (found - want.as_f64().unwrap()).abs() <= 1e-12;
    let (mut cases, mut unanswered) = (0, 0);
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let numbers = |name: &str| -> Vec<Option<usize>> {
            case[name].as_array().unwrap().iter().map(|one| one.as_u64().map(|number| number as usize)).collect()
        };
        let labels = case["labels"].as_u64().unwrap() as usize;
        let mut confusion = Confusion::new(labels);
        for (gold, found) in numbers("gold").into_iter().zip(numbers("predicted")) {
            match found {
                Some(found) => confusion.add(gold.unwrap(), found),
                None => {
                    confusion.add_unanswered(gold.unwrap(), 1);
                    unanswered += 1;
                }
            }
        }
        let same = |Scores { precision, recall, f1 }: Scores, want: &serde_json::Value| {
            near(precision, &want[0]) && near(recall, &want[1]) && near(f1, &want[2])
        };
        assert!(near(confusion.accuracy(), &case["accuracy"]), "{line}");
        assert!(near(confusion.matthews(), &case["matthews"]), "{}: {line}", confusion.matthews());
        assert!(same(confusion.mean(Mean::Macro), &case["macro"]), "{:?}: {line}", confusion.mean(Mean::Macro));
        assert!(same(confusion.mean(Mean::Weighted), &case["weighted"]), "{line}");
        for label in 0..labels {
            let want = &case["by_label"][label];
            assert!(same(confusion.of(label), want) && confusion.gold(label) == want[3].as_u64().unwrap(), "{line}");
        }
        cases += 1;
    }
    assert!(cases > 50 && unanswered > 20, "{cases}, {unanswered}");
}

/// A number of a list; -1 is none.
fn label(number: &Value) -> Option<usize> {
    usize::try_from(number.as_i64().unwrap()).ok()
}

/// Lines of `fixtures/semeval_cases.jsonl`, which the official scorer made: the numbers that it counts, and the digits that it prints.
#[test]
fn relation_scores_are_those_of_the_official_scorer_of_semeval() {
    use polyhead::metrics::relations::{Relation, Scores, Table, Way};
    let cases = cases("semeval_cases.jsonl");
    let labels: Vec<String> = texts(&cases[0]["labels"]).into_iter().map(str::to_owned).collect();
    let negative = labels.iter().position(|label| label == "Other");
    let printed = |ours: f64, theirs: &Value, case: &Value| {
        assert_eq!(format!("{ours:.2}"), format!("{:.2}", theirs.as_f64().unwrap()), "{case}");
    };
    let all = |ours: Scores, theirs: &[Value], case: &Value| {
        for (ours, theirs) in [ours.precision, ours.recall, ours.f1].into_iter().zip(theirs) {
            printed(ours, theirs, case);
        }
    };
    let (mut scored, mut ended) = (0, 0);
    for case in cases.iter().skip(1) {
        let mut table = Table::new(&labels, negative);
        let (key, proposed) = (case["key"].as_array().unwrap(), case["proposed"].as_array().unwrap());
        assert_eq!(key.len(), proposed.len());
        key.iter().zip(proposed).for_each(|(gold, found)| table.add(label(gold).unwrap(), label(found)));
        assert!(table.is_directed());
        if case["ends"] == true {
            let found = table.evaluate(Way::Official);
            let nothing = proposed.iter().all(|found| label(found).is_none());
            let no_relation = found.relations.iter().all(|relation| relation.negative);
            assert!(nothing || no_relation, "{case}");
            assert_eq!(Scores::macro_mean(&found.relations), Scores::default(), "{case}");
            ended += 1;
            continue;
        }
        for (way, theirs) in
            [Way::Labels, Way::Undirected, Way::Official].into_iter().zip(case["ways"].as_array().unwrap())
        {
            let mut found = table.evaluate(way);
            // The scorer calls it `_Other`, which comes last.
            found.relations.sort_by_key(|relation| relation.negative);
            let rows = theirs["rows"].as_array().unwrap();
            assert_eq!(found.relations.len(), rows.len(), "{case}");
            for (relation, row) in found.relations.iter().zip(rows) {
                let Relation { correct, predicted, wrong_direction, gold, .. } = *relation;
                for (ours, theirs) in
                    [correct, predicted, wrong_direction, gold].into_iter().zip(row.as_array().unwrap())
                {
                    assert_eq!(Some(ours), theirs.as_u64(), "{way:?} {}: {case}", relation.name);
                }
                all(relation.scores(), &row.as_array().unwrap()[4..], case);
            }
            all(Scores::micro(&found.relations), theirs["micro"].as_array().unwrap(), case);
            all(Scores::macro_mean(&found.relations), theirs["macro"].as_array().unwrap(), case);
            let shares =
                [found.coverage(), found.accuracy_of_predicted(), found.accuracy(), found.accuracy_with_left_out()];
            shares
                .into_iter()
                .zip(theirs["shares"].as_array().unwrap())
                .for_each(|(ours, theirs)| printed(ours, theirs, case));
        }
        printed(Scores::macro_mean(&table.evaluate(Way::Official).relations).f1, &case["official"], case);
        scored += 1;
    }
    assert!(scored >= 100 && ended >= 3, "{scored} scored, {ended} without a score");
}

/// Lines of `fixtures/relation_cases.jsonl`, which scikit-learn made.
#[test]
fn relation_scores_without_directions_are_those_of_scikit_learn() {
    use polyhead::metrics::relations::{Scores, Table};
    let cases = cases("relation_cases.jsonl");
    for case in &cases {
        let labels: Vec<String> = (0..case["labels"].as_u64().unwrap()).map(|number| number.to_string()).collect();
        let mut table = Table::new(&labels, case["negative"].as_u64().map(|number| number as usize));
        let (gold, predicted) = (case["gold"].as_array().unwrap(), case["predicted"].as_array().unwrap());
        gold.iter().zip(predicted).for_each(|(gold, found)| table.add(label(gold).unwrap(), label(found)));
        assert!(!table.is_directed());
        let found = table.labels();
        for (ours, theirs) in [(Scores::micro(&found), &case["micro"]), (Scores::macro_mean(&found), &case["macro"])] {
            for (at, ours) in [ours.precision, ours.recall, ours.f1].into_iter().enumerate() {
                near(ours / 100.0, &theirs[at], case);
            }
        }
    }
    assert!(cases.len() > 50, "{}", cases.len());
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
}

/// Lines of `fixtures/multi_label_cases.jsonl`, which scikit-learn made.
#[test]
fn scores_of_several_labels_are_those_of_scikit_learn() {
    use polyhead::metrics::classification::{Mean, Scores};
    use polyhead::metrics::multi_label::MultiLabel;
    let cases = cases("multi_label_cases.jsonl");
    assert!(cases.len() > 30, "{}", cases.len());
    for case in &cases {
        let labels = case["labels"].as_u64().unwrap() as usize;
        let sets = |name: &str| -> Vec<Vec<bool>> {
            let held = |set: &Value| (0..labels).map(|label| numbers(set).contains(&(label as f64))).collect();
            case[name].as_array().unwrap().iter().map(held).collect()
        };
        let mut counts = MultiLabel::new(labels);
        sets("gold").iter().zip(&sets("predicted")).for_each(|(gold, found)| counts.add(gold, found));
        let same = |Scores { precision, recall, f1 }: Scores, want: &Value, what: &str| {
            for (ours, at) in [(precision, 0), (recall, 1), (f1, 2)] {
                near(ours, &want[at], &format!("{what} {case}"));
            }
        };
        near(counts.exact_match(), &case["exact"], case);
        same(counts.micro(), &case["micro"], "micro");
        same(counts.mean(Mean::Macro), &case["macro"], "macro");
        same(counts.mean(Mean::Weighted), &case["weighted"], "weighted");
        same(counts.samples(), &case["samples"], "samples");
        for label in 0..labels {
            let want = &case["by_label"][label];
            same(counts.of(label).scores(), want, "by label");
            assert_eq!(counts.of(label).gold, want[3].as_u64().unwrap(), "{case}");
        }
    }
}

/// Lines of `fixtures/threshold_cases.jsonl`: F1 as scikit-learn counts it at every score.
#[test]
fn the_threshold_of_a_label_has_the_best_f1_that_scikit_learn_finds() {
    use polyhead::metrics::label_threshold::{Judged, best_threshold};
    use polyhead::metrics::multi_label::MultiLabel;
    let cases = cases("threshold_cases.jsonl");
    assert!(cases.len() > 20, "{}", cases.len());
    let mut moved = 0;
    for case in &cases {
        let judged: Vec<Judged> = numbers(&case["scores"])
            .into_iter()
            .zip(numbers(&case["gold"]))
            .map(|(score, gold)| (score, gold > 0.0))
            .collect();
        let f1 = |threshold: f64| {
            let mut counts = MultiLabel::new(1);
            judged.iter().for_each(|(score, holds)| counts.add(&[*holds], &[*score >= threshold]));
            counts.of(0).scores().f1
        };
        let chosen = best_threshold(&judged);
        near(f1(chosen), &case["f1"], case);
        near(f1(0.5), &case["at_half"], case);
        moved += usize::from(chosen != 0.5);
    }
    assert!(moved > 3, "{moved}");
}

/// Lines of `fixtures/regression_cases.jsonl`, which scipy and scikit-learn made.
#[test]
fn scores_of_numbers_are_those_of_scipy_and_scikit_learn() {
    use polyhead::metrics::regression::Regression;
    let cases = cases("regression_cases.jsonl");
    assert!(cases.len() > 20, "{}", cases.len());
    let mut undefined = 0;
    for case in &cases {
        let mut counts = Regression::default();
        numbers(&case["gold"])
            .into_iter()
            .zip(numbers(&case["predicted"]))
            .for_each(|(gold, found)| counts.add(gold, found));
        for (ours, name) in [(counts.pearson(), "pearson"), (counts.spearman(), "spearman")] {
            // What is not defined for scipy is 0 here.
            match case[name].as_f64() {
                None => assert_eq!(ours, 0.0, "{name} {case}"),
                Some(theirs) => assert!((ours - theirs).abs() <= 1e-9, "{name}: ours {ours}, theirs {theirs}: {case}"),
            }
            undefined += usize::from(case[name].is_null());
        }
        for (ours, name) in [(counts.mean_squared_error(), "mse"), (counts.mean_absolute_error(), "mae")] {
            let theirs = case[name].as_f64().unwrap();
            assert!((ours - theirs).abs() <= 1e-12 * theirs.max(1.0), "{name}: ours {ours}, theirs {theirs}: {case}");
        }
    }
    assert!(undefined >= 5, "{undefined}");
    assert_eq!(Regression::default().pearson(), 0.0);
}
