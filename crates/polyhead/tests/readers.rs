//! What the readers make of good files: the examples, the notes and the limits.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use polyhead::data::{Question, Read, Sentence, read_questions, read_sentences};

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn sentences_of(name: &str, text: &str) -> Read<Sentence> {
    let (_folder, path) = written(name, text);
    read_sentences(&path, None).unwrap()
}

fn questions_of(name: &str, text: &str, limit: Option<usize>) -> Read<Question> {
    let (_folder, path) = written(name, text);
    read_questions(&path, limit).unwrap()
}

fn tagged(sentence: &Sentence) -> String {
    let pairs = sentence.words.iter().zip(&sentence.tags);
    pairs.map(|(word, tag)| format!("{word}/{tag}")).collect::<Vec<_>>().join(" ")
}

/// The answers as their contexts hold them at the places that the reader found.
fn slices(question: &Question) -> Vec<&str> {
    question.answers.iter().map(|answer| &question.context[answer.start..answer.start + answer.text.len()]).collect()
}

#[test]
fn columns_become_sentences_whatever_the_line_ends_and_separators() {
    let text = "\u{FEFF}-DOCSTART- -X- O O\r\n\r\nEU\tNNP  I-NP B-ORG\r\nrejects VBZ I-VP O\r\n \r\n\r\n. . O O";
    let read = sentences_of("a.conll", text);
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["EU/B-ORG rejects/O", "./O"]);
    assert!(read.examples[0].place.to_string().ends_with("a.conll:3"));
    assert_eq!(read.notes.len(), 1);
    assert!(read.notes[0].contains("byte-order mark"));
}

#[test]
fn a_document_start_ends_a_sentence() {
    let read = sentences_of("a.txt", "a O\n-DOCSTART-\nb O\n");
    assert_eq!(read.examples.len(), 2);
}

#[test]
fn iob1_is_converted_with_a_note() {
    let read = sentences_of("a.txt", "a I-PER\nb B-PER\nc I-LOC\nd I-LOC\n\ne I-PER\n");
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["a/B-PER b/B-PER c/B-LOC d/I-LOC", "e/B-PER"]);
    assert!(read.notes[0].contains("from IOB1 to IOB2: 3 entities"), "{:?}", read.notes);
}

#[test]
fn a_limit_takes_the_first_usable_sentences() {
    let text = "\u{200B} O\n\na O\n\nb O\n\n\u{200B} O\n\nc O\n";
    let (_folder, path) = written("a.txt", text);
    let read = read_sentences(&path, Some(2)).unwrap();
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["a/O", "b/O"]);
    assert_eq!(read.skipped.len(), 1);
    assert!(read_sentences(&path, Some(0)).unwrap().examples.is_empty());
}

#[test]
fn a_sentence_keeps_its_invisible_words_and_the_notes_count_them() {
    let read = sentences_of("a.jsonl", r#"{"words": ["a", "", "\u200b"], "tags": ["O", "O", "B-X"]}"#);
    assert_eq!(read.examples[0].words.len(), 3);
    assert!(read.notes[0].starts_with("2 words are empty or invisible"), "{:?}", read.notes);
}

#[test]
fn json_lines_take_the_names_of_the_hub() {
    let read =
        sentences_of("a.jsonl", "\n{\"id\": \"7\", \"tokens\": [\"EU\"], \"ner_tags\": [\"B-A\"], \"pos\": {}}\n");
    assert_eq!(tagged(&read.examples[0]), "EU/B-A");
    assert!(read.examples[0].place.to_string().ends_with("a.jsonl:2"));
    assert!(read.notes[0].contains("ignored: `pos`"), "{:?}", read.notes);
}

#[test]
fn json_lines_take_answers_in_every_form() {
    let forms = [
        r#", "answers": [{"text": "Ähre", "answer_start": 4}]"#,
        r#", "answers": {"text": ["Ähre"], "answer_start": [4]}, "id": "a""#,
        r#", "answers": [], "id": 12"#,
        r#", "answers": {"text": [], "answer_start": []}"#,
        r#", "answers": null"#,
        "",
    ];
    let lines = forms.map(|form| format!(r#"{{"question": "Was?", "context": "Die Ähre 🦊."{form}}}"#)).join("\n");
    let read = questions_of("a.ndjson", &lines, None);
    assert_eq!(read.skipped, []);
    let found: Vec<_> = read.examples.iter().map(|q| (q.id.as_str(), slices(q))).collect();
    let none = Vec::<&str>::new;
    assert_eq!(found[..2], [("line-1", vec!["Ähre"]), ("a", vec!["Ähre"])]);
    assert_eq!(found[2..], [("12", none()), ("line-4", none()), ("line-5", none()), ("line-6", none())]);
    assert!(read.notes[0].contains("4 of 6 questions have no answer"), "{:?}", read.notes);
}

#[test]
fn squad_answers_are_placed_in_bytes() {
    let text = r#"{"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "é 🦊 Ada é", "qas": [
        {"id": "1", "question": "Who?", "is_impossible": false, "answers": [
            {"text": "Ada", "answer_start": 4}, {"text": "🦊 Ada é", "answer_start": 2, "extra": 1}]},
        {"id": "2", "question": "Why?", "is_impossible": true, "answers": [],
            "plausible_answers": [{"text": "x", "answer_start": 9}]}]}]}]}"#;
    let read = questions_of("a.json", text, None);
    assert_eq!(read.skipped, []);
    assert_eq!(slices(&read.examples[0]), ["Ada", "🦊 Ada é"]);
    assert_eq!(read.examples[0].answers[0].start, 8);
    assert!(read.examples[1].answers.is_empty());
    assert!(read.examples[1].place.to_string().ends_with("a.json: data[0].paragraphs[0].qas[1]"));
    assert_eq!(questions_of("a.json", text, Some(1)).examples.len(), 1);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

#[cfg(feature = "parquet")]
#[test]
fn the_hubs_tables_are_read() {
    let read = read_sentences(&fixture("conll2003.parquet"), None).unwrap();
    assert_eq!(read.examples.len(), 6);
    assert_eq!(tagged(&read.examples[0]), "Mara/B-PER Okafor/I-PER visited/O Tromsø/B-LOC ./O");
    assert!(read.examples[5].place.to_string().ends_with("conll2003.parquet: row 6"));
    assert_eq!(read_sentences(&fixture("conll2003.parquet"), Some(2)).unwrap().examples.len(), 2);

    let read = read_questions(&fixture("squad.parquet"), None).unwrap();
    assert_eq!((read.examples.len(), read.skipped.len()), (6, 0));
    assert_eq!(slices(&read.examples[0]), ["Edda Rowan", "Rowan"]);
    assert_eq!(slices(&read.examples[3]), ["blue 🦊 and grey", "blue", "grey"]);
    assert_eq!(read.examples[5].id, "hub5");
    assert_eq!(slices(&read.examples[5]), ["1877"]);
    assert_eq!(read.examples.iter().filter(|question| question.answers.is_empty()).count(), 1);
    assert_eq!(read_questions(&fixture("squad.parquet"), Some(4)).unwrap().examples.len(), 4);
}

#[test]
fn the_official_dataset_of_the_metric_fixture_is_read() {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(fixture("squad_dataset.json")).unwrap()).unwrap();
    let read = questions_of("a.json", &json["dataset"].to_string(), None);
    assert_eq!((read.examples.len(), read.skipped.len()), (30, 0));
}

/// CoNLL-2003 and SQuAD themselves, where a folder `shared` stands beside the repository (or at `POLYHEAD_SHARED`).
#[test]
fn real_data_is_read_to_the_last_example() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYHEAD_SHARED").map(PathBuf::from).unwrap_or(beside);
    let data = shared.join("data");
    if !data.is_dir() {
        eprintln!("skipped: no real data at {}", data.display());
        return;
    }
    for (name, count) in [("train.txt", 14_041), ("valid.txt", 3_250)] {
        let read = read_sentences(&data.join("conll2003").join(name), None).unwrap();
        assert_eq!((read.examples.len(), read.skipped.len()), (count, 0), "{name}");
        assert_eq!(read.notes, Vec::<String>::new(), "{name}");
    }
    for (name, count) in
        [("train-v1.1", 7_723), ("validation-v1.1", 1_205), ("train-v2.0", 8_233), ("validation-v2.0", 1_762)]
    {
        let read = read_questions(&data.join("squad").join(format!("{name}.json")), None).unwrap();
        assert_eq!((read.examples.len(), read.skipped.as_slice()), (count, [].as_slice()), "{name}");
        assert!(read.examples.iter().all(|q| slices(q).iter().zip(&q.answers).all(|(slice, a)| *slice == a.text)));
    }
}
