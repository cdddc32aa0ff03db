//! The sample corpus and the demonstration suite keep their promises.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use polyhead::data::{Label, LabelledText, Layout, Question, Sentence, TEXTS, read_questions, read_sentences};
use polyhead::metrics::span_f1::{Scheme, entities};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
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

/// Of `classify` or `sentiment`.
fn texts(folder: &str, split: &str) -> Vec<LabelledText> {
    let read = TEXTS.read(&root().join(format!("samples/{folder}/{split}.tsv")), None, &Layout::default()).unwrap();
    assert!(read.skipped.is_empty() && read.notes.is_empty(), "{:?} {:?}", read.skipped, read.notes);
    read.examples
}

fn label(text: &LabelledText) -> &str {
    let Label::Name(name) = &text.label else { panic!("{}: expected a name, found {:?}", text.place, text.label) };
    name
}

/// Letters and digits alone: what two spellings of one text share.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
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
fn labels_of_texts_are_as_many_as_the_readme_says_and_each_as_frequent_as_the_others() {
    let readme = std::fs::read_to_string(root().join("samples/README.md")).unwrap();
    for (folder, what, labels) in [
        ("classify", "questions", &["number", "person", "place", "time"][..]),
        ("sentiment", "texts", &["negative", "positive"][..]),
    ] {
        for split in ["train", "validation"] {
            let texts = texts(folder, split);
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for text in &texts {
                *counts.entry(label(text)).or_default() += 1;
            }
            let each = texts.len() / labels.len();
            let alike: BTreeMap<&str, usize> = labels.iter().map(|&label| (label, each)).collect();
            assert_eq!(counts, alike, "{folder}/{split}");
            let row = format!("| `{folder}/{split}.tsv` |");
            let row = readme.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row {row}"));
            assert!(row.ends_with(&format!("| {} {what}, {each} of each |", texts.len())), "{row}");
        }
    }
}

#[test]
fn texts_with_a_sentiment_are_enough_mixed_and_plain() {
    let (train, validation) = (texts("sentiment", "train"), texts("sentiment", "validation"));
    assert!(train.len() >= 480 && validation.len() >= 120);
    for texts in [&train, &validation] {
        // The first of them (`data.sentiment.limit`) are of both labels.
        let runs = texts.chunk_by(|one, next| label(one) == label(next));
        assert!(runs.map(<[_]>::len).max() <= Some(12));
        for text in texts {
            assert!(text.text_pair.is_none(), "{}", text.place);
            assert!((1..=50).contains(&text.text.split_whitespace().count()), "{}", text.place);
            assert!(!text.text.contains("  ") && !text.text.chars().any(char::is_control), "{}", text.place);
        }
    }
}

#[test]
fn no_two_texts_with_a_sentiment_share_more_than_half_of_their_words() {
    let words = |text: &LabelledText| {
        let lower = text.text.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
        (text.place.to_string(), words.map(str::to_owned).collect::<HashSet<String>>())
    };
    let all: Vec<_> = ["train", "validation"].iter().flat_map(|split| texts("sentiment", split)).collect();
    let all: Vec<_> = all.iter().map(words).collect();
    for (index, (place, one)) in all.iter().enumerate() {
        for (elsewhere, other) in all.iter().take(index) {
            let shared = one.intersection(other).count();
            let together = one.len() + other.len() - shared;
            assert!(2 * shared <= together, "{place} and {elsewhere} share {shared} of {together} words");
        }
    }
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
    for folder in ["classify", "sentiment"] {
        let all: Vec<_> = ["train", "validation"].iter().flat_map(|split| texts(folder, split)).collect();
        let mut seen = HashSet::new();
        for text in &all {
            assert!(seen.insert(squeeze(&text.text)), "{}: a second time", text.place);
        }
    }
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
    let mut sample: HashSet<String> = HashSet::new();
    for split in ["train", "validation"] {
        sample.extend(sentences(split).iter().map(|sentence| squeeze(&sentence.words.join(" "))));
        for question in questions(split) {
            sample.extend([squeeze(&question.question), squeeze(&question.context)]);
        }
    }
    for folder in ["classify", "sentiment"] {
        for split in ["train", "validation"] {
            sample.extend(texts(folder, split).iter().map(|text| squeeze(&text.text)));
        }
    }
    for case in ["ner", "texts", "relations"].into_iter().flat_map(suite) {
        assert!(!sample.contains(&squeeze(&text(&case, "text"))), "{case}");
    }
    for case in suite("qa") {
        assert!(!sample.contains(&squeeze(&text(&case, "question"))), "{case}");
        assert!(!sample.contains(&squeeze(&text(&case, "context"))), "{case}");
    }
}
