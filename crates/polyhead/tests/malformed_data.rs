//! Malformed data files: each kind is an error that names its place and what was found (guarantee D1), or an example
//! that is skipped with its reason. And no byte string at all makes a reader panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use polyhead::data::{CONLLU, Columns, Layout, TAGGED_WORDS, read_questions, read_sentences};
use polyhead::{Error, ErrorKind};
use proptest::prelude::*;

enum What {
    Sentences,
    Questions,
    Words,
    Trees,
}
use What::{Questions, Sentences, Trees, Words};

fn read(what: &What, path: &Path) -> Result<Vec<String>, Error> {
    let texts = |skipped: Vec<polyhead::data::Skipped>| {
        skipped.into_iter().map(|skip| format!("{}: {}", skip.place, skip.reason)).collect()
    };
    match what {
        Sentences => read_sentences(path, None, &Layout::default()).map(|read| texts(read.skipped)),
        Questions => read_questions(path, None, &Layout::default()).map(|read| texts(read.skipped)),
        Words => TAGGED_WORDS.read(path, None, &Layout::default()).map(|read| texts(read.skipped)),
        Trees => CONLLU.read(path, None, &Layout::default()).and_then(|read| {
            for sentence in &read.examples {
                assert!(sentence.words.iter().all(|word| sentence.text.get(word.bytes.clone()).is_some()));
                sentence.tree()?;
            }
            Ok(texts(read.skipped))
        }),
    }
}

/// One question in SQuAD's form, as the text of its `qas` element.
fn squad(qas: &str) -> Vec<u8> {
    format!(r#"{{"data": [{{"paragraphs": [{{"context": "Ada did it.", "qas": [{qas}]}}]}}]}}"#).into_bytes()
}

const GOOD: &str = r#"{"id": "g", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}"#;

fn with_good(qas: &str) -> Vec<u8> {
    squad(&format!("{GOOD}, {qas}"))
}

/// Name of the file, its bytes, what to read, and what the error must say; the first is its place.
fn malformed() -> Vec<(&'static str, Vec<u8>, What, &'static [&'static str])> {
    let long_line = [b"EU B-ORG\n".as_slice(), &vec![b'x'; 3 << 20]].concat();
    let long_json = [b"{\"words\": [\"".as_slice(), &vec![b'x'; 17 << 20]].concat();
    let deep = [b"{\"data\": ".as_slice(), &vec![b'['; 200_000]].concat();
    let deep_line = [b"{\"words\": ".as_slice(), &vec![b'['; 200_000], b"\n"].concat();
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        // Columns.
        ("a.txt", text(""), Sentences, &["a.txt: ", "expected sentences, found none"]),
        ("a.txt", text("\n\n  \n\t\n"), Sentences, &["a.txt: ", "found none"]),
        ("a.txt", text("-DOCSTART- -X- O O\n\n"), Sentences, &["a.txt: ", "found none"]),
        ("a.txt", text("\u{FEFF}"), Sentences, &["a.txt: ", "found none"]),
        ("a.txt", text(&"\n".repeat(10_000_000)), Sentences, &["a.txt: ", "found none"]),
        ("a.txt", text("EU B-ORG\nrejects\n"), Sentences, &["a.txt:2: ", "at least two columns", "`rejects`"]),
        ("a.txt", text("EU B-ORG\n\tO\n"), Sentences, &["a.txt:2: ", "at least two columns"]),
        ("a.txt", text("EU\u{A0}B-ORG\n"), Sentences, &["a.txt:1: ", "at least two columns"]),
        (
            "a.txt",
            text("EU NNP B-ORG\n\nrejects O\n"),
            Sentences,
            &["a.txt:3: ", "expected 3 columns", "line 1", "found 2"],
        ),
        ("a.txt", text("EU B-ORG\n# comment\n"), Sentences, &["a.txt:2: ", "expected a tag", "`comment`"]),
        ("a.txt", text("EU B-ORG\n#\n"), Sentences, &["a.txt:2: ", "at least two columns"]),
        ("a.txt", text("EU B-ORG\n# 0\n"), Sentences, &["a.txt:2: ", "found `0`", "hint: a word outside", "a zero"]),
        (
            "a.tsv",
            text("New York\tB-LOC\nis O\tO\textra\n"),
            Sentences,
            &["a.tsv:2: ", "expected 2 columns", "found 3"],
        ),
        ("a.tsv", text("\tNNP\tO\n"), Sentences, &["a.tsv:1: ", "expected a word, found an empty column"]),
        (
            "a.tsv",
            text("EU NNP\tI-NP B-ORG\n"),
            Sentences,
            &["a.tsv:1: ", "found `I-NP B-ORG`", "this line has tabs and spaces"],
        ),
        (
            "a.txt",
            text("1\tEU\tB-ORG\n2\tis\tO\n"),
            Sentences,
            &["a.txt:1: ", "an index", "hint: ", "data.TASK.columns"],
        ),
        ("a.txt", text("0 EU O\n1 is O\n\n0 EU O\n"), Sentences, &["a.txt:1: ", "an index"]),
        ("a.txt", text("1 EU O\n\n2 is O\n3 big O\n"), Sentences, &["a.txt:1: ", "an index"]),
        ("a.conll", text("1 EU PROPN _ B-ORG _ 0\n"), Sentences, &["a.conll:1: ", "`0`", "word = 2, tag = 5"]),
        ("a.txt", text("EU ORG\n"), Sentences, &["a.txt:1: ", "`ORG`", "`B-ORG` and those after it `I-ORG`"]),
        ("a.txt", text("EU b-org\n"), Sentences, &["a.txt:1: ", "hint: in capital letters: `B-ORG`"]),
        (
            "a.conll",
            text("{\"words\": [\"a\"], \"tags\": []}\n{\"words\": []}\n"),
            Sentences,
            &["a.conll:1: ", "looks like JSON Lines", "hint: give the file the extension .jsonl"],
        ),
        ("a.txt", text("word,tag\nEU,B-ORG\n"), Sentences, &["a.txt:1: ", "looks like comma-separated values"]),
        ("a.txt", text("<p>Ada</p>\n"), Sentences, &["a.txt:1: ", "looks like XML or HTML"]),
        ("a.txt", text("EU B-ORG\nrejects NN\n"), Sentences, &["a.txt:2: ", "`O`, `B-type` or `I-type`", "`NN`"]),
        ("a.txt", text("EU B-\n"), Sentences, &["a.txt:1: ", "`B-`", "hint: an entity needs a type"]),
        ("a.txt", text("EU o\n"), Sentences, &["a.txt:1: ", "`o`"]),
        (
            "a.txt",
            text("EU S-ORG\n\nRome U-LOC\n"),
            Sentences,
            &["a.txt:3: ", "of one scheme", "BIOES", "a.txt:1", "BILOU"],
        ),
        ("a.txt", text("EU S-\n"), Sentences, &["a.txt:1: ", "`S-`", "hint: an entity needs a type"]),
        ("a.txt", text("EU s-org\n"), Sentences, &["a.txt:1: ", "hint: in capital letters: `S-ORG`"]),
        ("a.txt", text("EU 3\n"), Sentences, &["a.txt:1: ", "`3`", "hint: class numbers need names", "tag_names"]),
        ("a.txt", text("EU O B-ORG EU\n"), Sentences, &["a.txt:1: ", "`EU`", "if the tags are in column 3"]),
        ("a.txt", text("EU O O EU\n"), Sentences, &["a.txt:1: ", "`EU`", "is the tag the last column"]),
        ("a.txt", b"EU B-ORG\nM\xFCnchen B-LOC\n".to_vec(), Sentences, &["a.txt:2:2: ", "UTF-8", "0xFC"]),
        ("a.txt", b"EU B-ORG\nMu\xC3".to_vec(), Sentences, &["a.txt:2:3: ", "UTF-8", "0xC3"]),
        ("a.txt", text("EU B-ORG\nrej\0ects O\n"), Sentences, &["a.txt:2:4: ", "a NUL byte"]),
        ("a.txt", text("EU B-ORG\rrejects O\r"), Sentences, &["a.txt:1: ", "carriage return"]),
        ("a.txt", long_line, Sentences, &["a.txt:2: ", "at most 1048576 bytes"]),
        ("a.txt", b"\x1F\x8B\x08\0\0\0".to_vec(), Sentences, &["a.txt: ", "gzip", "hint: is the file complete"]),
        ("a.jsonl.gz", b"\x1F\x8Bno".to_vec(), Sentences, &["a.jsonl.gz: ", "gzip", "hint: is the file complete"]),
        ("a.txt", b"PK\x03\x04....".to_vec(), Sentences, &["a.txt: ", "a zip archive"]),
        ("a.txt", b"BZh91AY".to_vec(), Sentences, &["a.txt: ", "bzip2"]),
        ("a.conll", b"\xFF\xFEE\0U\0".to_vec(), Sentences, &["a.conll: ", "UTF-16"]),
        ("a.bio", b"PAR1\x15\x04".to_vec(), Sentences, &["a.bio: ", "a Parquet file", "hint: give it the extension"]),
        // SQuAD.
        ("a.json", text(""), Questions, &["a.json:1:1: ", "EOF while parsing", "hint: the file ends too early"]),
        ("a.json", text("[1, 2]"), Questions, &["a.json:1:", "hint: a SQuAD file has the form"]),
        ("a.json", text("{\"version\": \"1.1\"}"), Questions, &["a.json:1:18: ", "missing field `data`"]),
        ("a.json", text("{\"data\": []}"), Questions, &["a.json: ", "expected questions, found none"]),
        ("a.json", text("{\"data\": {}}"), Questions, &["a.json:1:", "data: invalid type: map, expected a list"]),
        ("a.json", text("{\"data\": [{}]}"), Questions, &["a.json:1:12: ", "data[0].paragraphs: missing"]),
        ("a.json", text("{\"data\": [],\n\"data\": []}"), Questions, &["a.json:2:", "duplicate field `data`"]),
        ("a.json", squad(GOOD)[..90].to_vec(), Questions, &["a.json:1:90: ", "data[0].paragraphs[0].qas[0]", "EOF"]),
        ("a.json", [squad(GOOD), squad(GOOD)].join(&b"\n"[..]), Questions, &["a.json:2:1: ", "trailing", ".jsonl"]),
        ("a.json", with_good("{\"question\": \"q\", \"answers\": []}"), Questions, &["qas[1].id: missing"]),
        ("a.json", with_good("{\"id\": \"1\", \"answers\": []}"), Questions, &["[0].qas[1].question: missing"]),
        ("a.json", with_good("{\"id\": \"1\", \"question\": \"q\"}"), Questions, &["qas[1].answers: missing"]),
        (
            "a.json",
            with_good("{\"id\": 1.5}"),
            Questions,
            &["a.json:1:", "qas[1].id: invalid type: floating", "or a whole number"],
        ),
        (
            "a.json",
            text("[{\"question\": \"q\", \"context\": \"c\"}]"),
            Questions,
            &["a.json:1:", "a JSON array of objects", "jq -c"],
        ),
        (
            "a.json",
            text("[{\"id\": 1, \"annotations\": [{\"result\": [{\"from_name\": \"a\"}]}]}]"),
            Questions,
            &["a.json:1:", "a Label Studio export"],
        ),
        (
            "a.json",
            text("{\"data\": [{\"question\": \"q\", \"context\": \"c\"}]}"),
            Questions,
            &["a.json:1:", "without SQuAD's `paragraphs`", "jq -c '.data[]'"],
        ),
        (
            "a.json",
            text("{\"question\": \"q\"}\n{\"question\": \"q\"}\n"),
            Questions,
            &["a.json:1:", "looks like JSON Lines"],
        ),
        (
            "a.json",
            squad("{\"id\": \"1\", \"question\": \"q\", \"answers\": [], \"answer\": \"Ada\"}"),
            Questions,
            &["a.json: ", "expected answers in `answers`", "`answer` is not read"],
        ),
        ("a.json", with_good("{\"id\": \"1\", \"answers\": null}"), Questions, &["qas[1].answers: invalid type: null"]),
        ("a.json", with_good("{\"id\": \"1\", \"id\": \"2\"}"), Questions, &["qas[1]: duplicate field `id`"]),
        (
            "a.json",
            with_good("{\"answers\": [{\"text\": \"Ada\"}]}"),
            Questions,
            &["a.json:1:", "data[0].paragraphs[0].qas[1].answers[0].answer_start: missing"],
        ),
        (
            "a.json",
            with_good("{\"answers\": [{\"text\": \"A\", \"answer_start\": 1.5}]}"),
            Questions,
            &["qas[1].answers[0].answer_start: invalid type: floating point"],
        ),
        (
            "a.json",
            with_good("{\"answers\": [{\"text\": \"A\", \"answer_start\": 99999999999999999999}]}"),
            Questions,
            &["a.json:1:", "qas[1].answers[0].answer_start: invalid"],
        ),
        ("a.json", with_good("{\"id\": \"\\ud800\"}"), Questions, &["qas[1].id: ", "hex escape"]),
        ("a.json", with_good("{\"id\": NaN}"), Questions, &["qas[1].id: expected value"]),
        ("a.json", deep, Questions, &["a.json:1:", "data[0]: invalid type"]),
        ("a.json", b"{\"data\":\n \"\xE9\"}".to_vec(), Questions, &["a.json:2:3: ", "UTF-8", "0xE9"]),
        ("a.json", b"\x1F\x8B\x08".to_vec(), Questions, &["a.json: ", "gzip"]),
        ("a.json", b"{\"data\":\0}".to_vec(), Questions, &["a.json:1:9: ", "NUL"]),
        // JSON Lines.
        ("a.jsonl", text(""), Sentences, &["a.jsonl: ", "found none"]),
        ("a.jsonl", text("\n\n"), Questions, &["a.jsonl: ", "found none"]),
        (
            "a.jsonl",
            text("\n{\"words\": [\"a\"]}"),
            Sentences,
            &["a.jsonl:2: ", "expected words and their tags", "only `words`"],
        ),
        (
            "a.jsonl",
            text("{\"words\": [\"a\"], \"tags\": []}"),
            Sentences,
            &["a.jsonl:1: ", "each of 1 words, found 0"],
        ),
        ("a.jsonl", text("{\"words\": [\"a\"], \"tags\": [\"X\"]}"), Sentences, &["a.jsonl:1: ", "found `X`"]),
        (
            "a.jsonl",
            text("{\"words\": [\"a\"], \"tags\": [3]}"),
            Sentences,
            &["a.jsonl:1:", "found the number 3", "class numbers"],
        ),
        (
            "a.jsonl",
            text("{\"words\": [\"a\"], \"tags\": [3.5]}"),
            Sentences,
            &["a.jsonl:1: ", "tags[0]: ", "or its number", "`3.5`"],
        ),
        (
            "a.jsonl",
            text("{\"text\": \"a b\"}"),
            Sentences,
            &["a.jsonl:1: ", "a text and its entities; found only `text`"],
        ),
        (
            "a.jsonl",
            text("{\"text\": \"Ada\", \"entities\": [{\"type\": \"PER\", \"start\": 0}]}"),
            Sentences,
            &["a.jsonl:1: ", "entities[0].end: ", "found nothing"],
        ),
        (
            "a.jsonl",
            text("{\"words\": [\"Ada\"], \"tags\": [\"O\"], \"ner\": [\"PER\"]}"),
            Sentences,
            &["a.jsonl: ", "found `O` alone, while `ner` is not read"],
        ),
        (
            "a.jsonl",
            text("{\"question\": \"q\", \"context\": \"Ada\", \"answer\": \"Ada\"}"),
            Questions,
            &["a.jsonl:1: ", "expected the place of the answer too; found `answer` alone", "answer_start"],
        ),
        (
            "a.jsonl",
            text("{\"question\": \"q\", \"context\": \"Ada\", \"answer_text\": \"Ada\", \"answers\": []}"),
            Questions,
            &["a.jsonl:1: ", "`answer_text` alone"],
        ),
        (
            "a.jsonl",
            text("{\"question\": \"q\", \"context\": \"Ada\", \"answer\": [\"Ada\"]}"),
            Questions,
            &["a.jsonl:1: ", "as a text in `answer`"],
        ),
        (
            "a.jsonl",
            text("{\"id\": 7, \"answer\": \"Ada\", \"start\": 0, \"end\": 3, \"score\": 0.9, \"alternatives\": []}"),
            Questions,
            &["a.jsonl:1:", "missing field `question`", "which `predict` does not repeat"],
        ),
        (
            "a.jsonl",
            text("{\"words\": \"a b\", \"tags\": []}"),
            Sentences,
            &["a.jsonl:1: ", "words: ", "expected a list"],
        ),
        (
            "a.jsonl",
            text("{\"words\": [], \"tokens\": []}"),
            Sentences,
            &["a.jsonl:1: ", "one of `words` and `tokens`"],
        ),
        ("a.jsonl", text("{\n\"words\": []\n}"), Sentences, &["a.jsonl:1:1: ", "EOF", "is this indented JSON?"]),
        ("a.jsonl", text("{\"words\": [], \"tags\": []} x"), Sentences, &["a.jsonl:1:27: ", "trailing characters"]),
        ("a.jsonl", text("{\"words\": [], \"tags\": []}"), Sentences, &["a.jsonl:1: ", "it has no words"]),
        ("a.jsonl", text("[]"), Questions, &["a.jsonl:1:", "expected an object with `question`"]),
        ("a.jsonl", text("{\"context\": \"c\"}"), Questions, &["a.jsonl:1:16: ", "missing field `question`"]),
        ("a.jsonl", text("{\"question\": \"q\"}"), Questions, &["a.jsonl:1:17: ", "missing field `context`"]),
        ("a.jsonl", text("{\"id\": []}"), Questions, &["a.jsonl:1:", "id: invalid type", "a whole number"]),
        ("a.jsonl", text("{\"answers\": 3}"), Questions, &["a.jsonl:1:13: ", "answers: invalid type"]),
        (
            "a.jsonl",
            text("{\"answers\": [{\"text\": \"\"}]}"),
            Questions,
            &["a.jsonl:1:", "missing field `answer_start`"],
        ),
        (
            "a.jsonl",
            text("{\"answers\": {\"text\": [\"a\"], \"answer_start\": []}}"),
            Questions,
            &["a.jsonl:1:", "each of 1 texts, found 0"],
        ),
        ("a.jsonl", deep_line, Sentences, &["a.jsonl:1:", "recursion limit"]),
        ("a.jsonl", long_json, Sentences, &["a.jsonl:1: ", "at most 16777216 bytes"]),
        ("a.ndjson", b"{}\n{\"a\": \"\xFF\"}".to_vec(), Sentences, &["a.ndjson:1: ", "found no fields"]),
        ("a.ndjson", b"{\"a\": \"\xFF\"}".to_vec(), Sentences, &["a.ndjson:1:8: ", "0xFF"]),
    ]
}

#[test]
fn every_malformed_file_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let cases = malformed();
    assert!(cases.len() >= 40, "{} kinds", cases.len());
    let mut wrong = Vec::new();
    for (name, bytes, what, expected) in cases {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        let Err(error) = read(&what, &path) else {
            wrong.push(format!("{start}\n    is read"));
            continue;
        };
        let said = format!("{error}\nhint: {}", error.hint_text().unwrap_or("none"));
        let said = said.strip_prefix(&format!("{}/", folder.path().display())).unwrap_or(&said);
        let good = said.starts_with(name) && expected.iter().all(|part| said.contains(part));
        if !good || error.kind() != ErrorKind::Data || said.len() > 600 {
            wrong.push(format!("{start}\n    is refused with: {said}\n    expected: {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_that_can_not_be_used_are_skipped_with_their_reason() {
    let q = |rest: &str| with_good(&format!(r#"{{"id": "x", "question": "Who?", "answers": {rest}}}"#));
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("a.json", q(r#"[{"text": " ", "answer_start": 3}]"#), &["qas[1]", "the answer is blank"]),
        (
            "a.json",
            q(r#"[{"text": " ", "answer_start": 3}, {"text": "Ada", "answer_start": 0}]"#),
            &["qas[1]", "answers[0] is blank and was left out, the question kept"],
        ),
        ("a.json", q(r#"[], "is_impossible": false"#), &["qas[1]", "`is_impossible` is false"]),
        (
            "a.json",
            q(r#"[{"text": "Ada", "answer_start": 0}], "is_impossible": true"#),
            &["qas[1]", "is true, but it has 1"],
        ),
        ("a.json", with_good(GOOD), &["qas[1]", "identifier is that of the question at", "qas[0]"]),
        ("a.json", with_good(r#"{"id": "x", "question": " ", "answers": []}"#), &["qas[1]", "the question is blank"]),
        (
            "a.jsonl",
            "{\"question\": \"q\", \"context\": \"c\"}\n{\"question\": \"q\", \"context\": \"\u{A0}\"}\n".into(),
            &["a.jsonl:2", "its context is blank"],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let skipped = read(&Questions, &path).unwrap();
        assert_eq!(skipped.len(), 1, "{expected:?}: {skipped:?}");
        for part in expected {
            assert!(skipped[0].contains(part), "expected {part:?} in: {}", skipped[0]);
        }
    }
}

#[test]
fn gold_answers_out_of_place_are_kept_for_scoring_and_a_note_says_where_they_stand() {
    let cases: Vec<(&str, i64, &str, &[&str])> = vec![
        ("Ada did it.", 3, "did", &["`did` at character 3, found ` di`", "once", "character 4"]),
        ("Ada did it.", -1, "did", &["character -1", "a context of 11"]),
        ("Ada did it.", 11, "it.", &["character 11", "a context of 11"]),
        ("Ada did it.", 0, "nobody", &["the context does not hold it"]),
        ("Ada did it.", 0, "d", &["more than once"]),
        ("é x", 3, "x", &["once in the context, at character 2 (the file seems to count bytes"]),
    ];
    for (context, start, text, expected) in cases {
        let answers = format!(r#"[{{"text": "{text}", "answer_start": {start}}}]"#);
        let line = format!(r#"{{"id": "x", "question": "q", "context": "{context}", "answers": {answers}}}"#);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, line).unwrap();
        let read = read_questions(&path, None, &Layout::default()).unwrap();
        assert_eq!((read.skipped.len(), read.examples[0].answers.len()), (0, 0), "{expected:?}");
        assert_eq!(read.examples[0].unplaced, [text]);
        assert!(!read.examples[0].is_trainable());
        assert!(read.notes.iter().all(|note| !note.contains("no answer in their context")), "{:?}", read.notes);
        assert!(read.notes[0].contains("where the file says: 1. ") && read.notes[0].contains("a.jsonl:1, `x`"));
        for part in expected {
            assert!(read.notes[0].contains(part), "expected {part:?} in: {}", read.notes[0]);
        }
    }
}

#[test]
fn a_layout_that_a_file_does_not_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str, layout: Layout| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let error = if name.ends_with("json") {
            read_questions(&path, None, &layout).unwrap_err()
        } else {
            read_sentences(&path, None, &layout).unwrap_err()
        };
        format!("{error}\nhint: {}", error.hint_text().unwrap_or("none"))
    };
    let columns =
        |word, tag| Layout { columns: Some(Columns::of([("word", word), ("tag", tag)])), ..Layout::default() };
    let names =
        |names: &[&str]| Layout { tag_names: names.iter().map(|&name| name.into()).collect(), ..Layout::default() };
    for (name, text, layout, expected) in [
        ("a.tsv", "1\tEU\n", columns(2, 3), &["a.tsv:1: ", "at least 3 columns, found 2"][..]),
        ("a.tsv", "1\t\tO\n", columns(2, 3), &["a.tsv:1: ", "found an empty column"]),
        ("a.tsv", "EU\t3\n", names(&["O", "B-ORG"]), &["a.tsv:1: ", "expected a tag below 2", "found 3"]),
        ("a.jsonl", "{\"words\": [\"a\"], \"tags\": [-1]}", names(&["O"]), &["a.jsonl:1: ", "below 1", "found -1"]),
        ("a.json", "{}", names(&["O"]), &["a.json: ", "neither `columns` nor `tag_names`"]),
    ] {
        let said = refused(name, text, layout);
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    }
    #[cfg(feature = "parquet")]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/conll2003.parquet");
        let error = read_sentences(&path, None, &names(&["O", "B-ORG"])).unwrap_err().to_string();
        assert!(error.contains("expected the tags `O, B-ORG` of `tag_names`, found `O, B-PER, I-PER"), "{error}");
    }
}

#[test]
fn a_file_of_another_tool_is_named_for_what_it_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, what, expected) in [
        (
            "a.json",
            "[{\"annotations\": [], \"lead_time\": 1, \"annotator\": 1}]",
            Questions,
            &["a Label Studio export", "JSON-MIN"][..],
        ),
        (
            "a.json",
            "[[\"Ada\", {\"entities\": [[0, 3, \"PER\"]]}]]",
            Questions,
            &["training data of spaCy", "read as sentences with entities"],
        ),
        ("a.jsonl", "{\"text\": \"Ada\", \"label\": [[0, 3, \"PER\"]]}", Questions, &["a doccano export"]),
        (
            "a.json",
            "{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}",
            Sentences,
            &["SQuAD JSON, which holds questions"],
        ),
        ("a.txt", "word,tag\nEU,B-ORG\n", Sentences, &["comma-separated values", "the extension .csv"]),
        ("a.csv", "question,context,answer\nq,c,a\n", Questions, &["comma-separated values", "a question a line"]),
        ("a.xml", "<a/>", Sentences, &["XML or HTML"]),
        ("a.ann", "T1\tPER 0 3\tAda\n", Sentences, &["annotations of brat"]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let error = read(&what, &path).unwrap_err();
        let said = format!("{error}\nhint: {}", error.hint_text().unwrap_or("none"));
        assert!(expected.iter().all(|part| said.contains(part)) && !said.contains("holds none"), "{text}: {said}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_codec_that_is_not_read_is_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parquet/brotli.parquet");
    let error = read_sentences(&path, None, &Layout::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let said = error.to_string();
    assert!(said.contains("compressed with snappy, gzip, lz4 or zstd") && said.contains("found BROTLI"), "{said}");
}

#[test]
fn a_path_that_is_no_readable_file_is_an_error_with_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let extensions =
        if cfg!(feature = "parquet") { &["txt", "json", "jsonl", "parquet"][..] } else { &["txt", "json"] };
    for &extension in extensions {
        let what = if extension == "txt" { Sentences } else { Questions };
        let missing = read(&what, &at(&format!("none.{extension}"))).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::MissingInput, "{missing}");
        let folder = at(&format!("folder.{extension}"));
        fs::create_dir(&folder).unwrap();
        let directory = read(&what, &folder).unwrap_err();
        assert_eq!(directory.kind(), ErrorKind::Data, "{directory}");
        assert!(directory.to_string().contains("found a directory"), "{directory}");
        #[cfg(unix)]
        {
            let cycle = at(&format!("cycle.{extension}"));
            std::os::unix::fs::symlink(&cycle, &cycle).unwrap();
            assert_eq!(read(&what, &cycle).unwrap_err().kind(), ErrorKind::MissingInput);
        }
    }
    for (name, what, expected) in [
        ("a.xml", Sentences, "found the extension `.xml`"),
        ("a", Questions, "found a file without an extension"),
        ("a.gz", Sentences, "found the extension `.gz`"),
        ("a.txt.bz2", Sentences, "found the extension `.bz2`"),
        ("a.conllu", Sentences, "found CoNLL-U, which holds no sentences"),
        ("a.conll", Questions, "found CoNLL columns, which holds no questions"),
    ] {
        fs::write(at(name), "x").unwrap();
        let error = read(&what, &at(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let said = error.to_string();
        assert!(said.contains(expected) && said.contains(name) && said.contains(".jsonl"), "{said}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn every_malformed_table_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let sentences = fixture("conll2003.parquet");
    let questions = fixture("squad.parquet");
    let cases: Vec<(Vec<u8>, What, &str)> = vec![
        (Vec::new(), Sentences, "expected a whole Parquet file"),
        (b"EU B-ORG\nrejects O\n".to_vec(), Sentences, "expected a whole Parquet file"),
        (sentences[..sentences.len() / 2].to_vec(), Sentences, "expected a whole Parquet file"),
        (sentences.clone(), Questions, "expected a column `context`, found `id`, `tokens`"),
        (questions, Sentences, "expected a column `tokens` or `words`, found `id`, `title`"),
        (nested(200_000), Sentences, "expected at most 1000 columns, found 200001"),
        (nested(900), Sentences, "expected a column `tokens` or `words`, found `c`"),
        (
            replaced(&sentences, b"huggingface", b"huggingfacE"),
            Sentences,
            "expected the name of a tag, such as `B-PER`; found the number 1",
        ),
    ];
    for (bytes, what, expected) in cases {
        let path = folder.path().join("a.parquet");
        fs::write(&path, bytes).unwrap();
        let error = read(&what, &path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("a.parquet: ") && error.to_string().contains(expected), "{error}");
    }
}

/// A table without rows whose one column holds a column that holds a column ...
#[cfg(feature = "parquet")]
fn nested(depth: u32) -> Vec<u8> {
    let number = |mut value: u32| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let mut metadata = [&[0x15, 2, 0x19, 0xFC][..], &number(depth + 1)].concat();
    for level in 0..=depth {
        if level > 0 {
            metadata.extend([if level < depth { 0x35 } else { 0x15 }, if level < depth { 2 } else { 4 }]);
            if level == depth {
                metadata.extend([0x25, 2]); // the innermost is an optional number; the others are optional groups
            }
        }
        metadata.extend(if level == 0 { [0x48, 1] } else { [0x18, 1] });
        metadata.push(b'c');
        if level < depth {
            metadata.extend([0x15, 2]);
        }
        metadata.push(0);
    }
    metadata.extend([0x16, 0, 0x19, 0x0C, 0]);
    [b"PAR1", &metadata[..], &u32::try_from(metadata.len()).unwrap().to_le_bytes(), b"PAR1"].concat()
}

#[cfg(feature = "parquet")]
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}

/// Good files, to start from: their mutations reach further into a reader than random bytes do.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        "-DOCSTART- O\n\nEU NNP I-ORG\r\nM\u{FC}nchen NNP B-ORG\n\n. . O\n".as_bytes().to_vec(),
        squad(GOOD),
        "{\"words\": [\"EU\", \"\u{200B}\"], \"tags\": [\"I-A\", \"O\"], \"more\": [1]}\n".as_bytes().to_vec(),
        "{\"id\": 1, \"question\": \"q\", \"context\": \"\u{1F98A} x\", \"answers\": \
         {\"text\": [\"x\"], \"answer_start\": [2]}}\n"
            .as_bytes()
            .to_vec(),
        "# text = Ada's left\n1-2\tAda's\t_\t_\t_\t_\t_\t_\t_\t_\n1\tAda\tAda\tPROPN\t_\t_\t3\tnsubj\t_\t_\n\
         2\t's\t_\tPART\t_\t_\t1\tcase\t_\t_\n2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n3\tleft\t_\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No\n\n"
            .as_bytes()
            .to_vec(),
    ];
    if cfg!(feature = "parquet") {
        seeds.extend([fixture("conll2003.parquet"), fixture("squad.parquet")]);
    }
    seeds
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..8);
    let mutated = (prop::sample::select(seeds()), edits).prop_map(|(mut bytes, edits)| {
        for (index, byte, how) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(bytes.len() / 2)),
            }
        }
        bytes
    });
    let lines = "([a-zA-Z\u{E9}\u{1F98A}{}\\[\\]\":,0-9 \t\r\n-]|B-X|I-X| O\n){0,80}".prop_map(String::into_bytes);
    prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..200), 1 => lines, 3 => mutated]
}

fn paths(folder: &Path) -> Vec<(What, PathBuf)> {
    let mut paths = Vec::new();
    for name in ["a.txt", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet"] {
        paths.push((Sentences, folder.join(name)));
    }
    for name in ["a.json", "a.jsonl", "a.parquet"] {
        paths.push((Questions, folder.join(name)));
    }
    for name in ["a.conllu", "a.txt", "a.jsonl", "a.parquet"] {
        paths.push((Words, folder.join(name)));
    }
    paths.push((Trees, folder.join("a.conllu")));
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_byte_string_makes_a_reader_panic(bytes in any_file()) {
        let folder = tempfile::tempdir().unwrap();
        for (what, path) in paths(folder.path()) {
            fs::write(&path, &bytes).unwrap();
            if let Err(error) = read(&what, &path) {
                prop_assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Usage), "{error}");
                prop_assert!(error.place().is_some(), "{error}");
            }
        }
    }
}
