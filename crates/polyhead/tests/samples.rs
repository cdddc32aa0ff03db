//! The sample corpus and the demonstration suite keep their promises.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use polyhead::data::{Layout, Question, Sentence, read_questions, read_sentences};
use polyhead::metrics::span_f1::{Scheme, entities};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sentences(split: &str) -> Vec<Sentence> {
    let read = read_sentences(&root().join(format!("samples/ner/{split}.conll")), None, &Layout::default()).unwrap();
    assert!(read.skipped.is_empty() && read.notes.is_empty(), "{:?} {:?}", read.skipped, read.notes);
    read.examples
}

fn questions(split: &str) -> Vec<Question> {
    let read = read_questions(&root().join(format!("samples/qa/{split}.json")), None, &Layout::default()).unwrap();
    // The reader compares every answer with its slice of the context, and skips where they differ.
    assert!(read.skipped.is_empty() && read.notes.is_empty(), "{:?} {:?}", read.skipped, read.notes);
    read.examples
}

/// The titles, which the reader of questions does not keep.
fn titles(split: &str) -> HashSet<String> {
    let file = std::fs::read_to_string(root().join(format!("samples/qa/{split}.json"))).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    file["data"].as_array().unwrap().iter().map(|article| text(article, "title")).collect()
}

fn suite(task: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join(format!("crates/polyhead/suite/{task}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}")).to_owned()
}

fn contexts(questions: &[Question]) -> HashSet<String> {
    questions.iter().map(|question| question.context.clone()).collect()
}

#[test]
fn the_corpus_is_as_large_as_it_says() {
    assert!(sentences("train").len() + sentences("validation").len() >= 500);
    let (train, validation) = (questions("train"), questions("validation"));
    assert!(train.len() + validation.len() >= 400);
    assert!(contexts(&train).len() + contexts(&validation).len() >= 120);
}

#[test]
fn every_tag_sequence_is_legal_iob2() {
    for sentence in sentences("train").into_iter().chain(sentences("validation")) {
        let (strict, lenient) =
            (entities(&sentence.tags, Scheme::StrictIob2), entities(&sentence.tags, Scheme::Lenient));
        assert_eq!(strict, lenient, "{}", sentence.place);
        for span in strict {
            assert!(["PER", "ORG", "LOC", "MISC"].contains(&span.kind.as_str()), "{}: {}", sentence.place, span.kind);
        }
    }
}

#[test]
fn every_answer_is_a_trimmed_slice_of_its_context() {
    for question in questions("train").into_iter().chain(questions("validation")) {
        for answer in &question.answers {
            let slice = question.context.get(answer.start..answer.start + answer.text.len());
            assert_eq!(slice, Some(answer.text.as_str()), "{}", question.place);
            assert_eq!(answer.text.trim(), answer.text, "{}", question.place);
        }
        assert!(!question.answers.is_empty(), "{}", question.place);
    }
}

#[test]
fn nothing_stands_on_both_sides_of_the_split_or_twice() {
    let lines = |split| sentences(split).into_iter().map(|sentence| sentence.words.join(" ")).collect::<Vec<_>>();
    let (train, validation) = (lines("train"), lines("validation"));
    let all: HashSet<&String> = train.iter().chain(&validation).collect();
    assert_eq!(all.len(), train.len() + validation.len());
    let (train, validation) = (contexts(&questions("train")), contexts(&questions("validation")));
    assert!(train.is_disjoint(&validation));
    // A title belongs to one passage, so a title lost in the set would be a title used twice.
    assert_eq!((titles("train").len(), titles("validation").len()), (train.len(), validation.len()));
    assert!(titles("train").is_disjoint(&titles("validation")));
}

#[test]
fn the_suite_covers_its_domains_and_kinds_and_its_gold_is_in_its_texts() {
    let ner = suite("ner");
    let domains: HashSet<String> = ner.iter().map(|case| text(case, "domain")).collect();
    assert_eq!((ner.len(), domains.len()), (10, 10));
    for case in &ner {
        assert!((2..=5).contains(&case["entities"].as_array().unwrap().len()), "{case}");
        let characters: Vec<char> = text(case, "text").chars().collect();
        for entity in case["entities"].as_array().unwrap() {
            let (want, start) = (text(entity, "text"), entity["start"].as_u64().unwrap() as usize);
            let found: String = characters.iter().skip(start).take(want.chars().count()).collect();
            assert_eq!(found, want);
        }
    }
    let qa = suite("qa");
    let kinds: HashSet<String> = qa.iter().map(|case| text(case, "kind")).collect();
    assert_eq!((qa.len(), kinds.len()), (6, 6));
    for case in &qa {
        let context = text(case, "context");
        let answers = case["answers"].as_array().unwrap();
        assert!(
            !answers.is_empty() && answers.iter().all(|answer| context.contains(answer.as_str().unwrap())),
            "{case}"
        );
    }
}

#[test]
fn no_case_of_the_suite_is_in_the_sample() {
    let squeeze = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let mut sample: HashSet<String> = HashSet::new();
    for split in ["train", "validation"] {
        sample.extend(sentences(split).iter().map(|sentence| squeeze(&sentence.words.join(" "))));
        for question in questions(split) {
            sample.extend([squeeze(&question.question), squeeze(&question.context)]);
        }
    }
    for case in suite("ner") {
        assert!(!sample.contains(&squeeze(&text(&case, "text"))), "{case}");
    }
    for case in suite("qa") {
        assert!(!sample.contains(&squeeze(&text(&case, "question"))), "{case}");
        assert!(!sample.contains(&squeeze(&text(&case, "context"))), "{case}");
    }
}
