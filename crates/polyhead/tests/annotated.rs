//! Sentences with entities in the shapes of annotation tools: every shape gives the same sentences, what is cut or overlaps is
//! reported, and what is malformed is refused with its place and the way out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::data::{LabelForm, Layout, RELATIONS, RelationExample, TEXTS, read_sentences};
use serde_json::{Value, json};
use small::sentences::{read_as, refusal, tagged};
use small::{columns, written};
use std::ops::Range;
use std::path::{Path, PathBuf};

const COUNTED: &str = "hint: offsets count characters (Unicode code points) from 0";

/// Records as a list, and one a line.
fn both(records: &[Value]) -> [(&'static str, String); 2] {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    [("a.json", json!(records).to_string()), ("a.jsonl", lines.join("\n"))]
}

const WANT: [&str; 2] =
    ["Zoë/B-PER 's/O 👩\u{200d}🚀/O in/O Rio/B-LOC de/I-LOC Janeiro/I-LOC ./O", "Nobody/O left/O ./O"];
const FIRST: &str = "Zoë's 👩\u{200d}🚀 in Rio de Janeiro.";
const SECOND: &str = "Nobody left.";

/// `label: first > second`.
fn relations(examples: &[RelationExample]) -> Vec<String> {
    let part = |one: &RelationExample, range: &Range<usize>| one.text[range.clone()].to_owned();
    let shown = |one: &RelationExample| {
        format!("{}: {} > {}", one.label.as_deref().unwrap(), part(one, &one.first), part(one, &one.second))
    };
    examples.iter().map(shown).collect()
}

fn result(start: usize, end: usize, text: &str, label: &str) -> Value {
    json!({ "id": "x1", "from_name": "label", "to_name": "text", "type": "labels", "origin": "manual",
        "value": { "start": start, "end": end, "text": text, "labels": [label] } })
}

#[test]
fn every_shape_gives_the_same_sentences() {
    let plain = Layout::default();
    let task = |text: &str, annotations: Value| json!({ "id": 1, "data": { "text": text }, "annotations": annotations, "predictions": [] });
    let done = |results: Value| json!({ "id": 5, "was_cancelled": false, "ground_truth": false, "result": results });
    let results = json!([result(0, 3, "Zoë", "PER"), result(13, 27, "Rio de Janeiro", "LOC")]);
    let token = |text: &str, start: usize, end: usize| json!({ "text": text, "start": start, "end": end, "ws": true });
    let of_first = json!([
        token("Zoë", 0, 3),
        token("'s", 3, 5),
        token("👩\u{200d}🚀", 6, 9),
        token("in", 10, 12),
        token("Rio", 13, 16),
        token("de", 17, 19),
        token("Janeiro", 20, 27),
        token(".", 27, 28)
    ]);
    let of_second = json!([token("Nobody", 0, 6), token(" ", 6, 7), token("left", 7, 11), token(".", 11, 12)]);
    let labelled = [
        json!({ "start": 0, "end": 3, "text": "Zoë", "labels": ["PER"] }),
        json!({ "start": 13, "end": 27, "text": "Rio de Janeiro", "labels": ["LOC"] }),
    ];
    let shapes: Vec<(&str, [Value; 2])> = vec![
        (
            "predict",
            [
                json!({ "text": FIRST, "entities": [
                    { "type": "PER", "text": "Zoë", "start": 0, "end": 3, "score": 0.9 },
                    { "type": "LOC", "text": "Rio de Janeiro", "start": 13, "end": 27, "score": 0.8 }] }),
                json!({ "text": SECOND, "entities": [] }),
            ],
        ),
        (
            "doccano",
            [
                json!({ "id": 1, "text": FIRST, "label": [[13, 27, "LOC"], [0, 3, "PER"]], "Comments": [] }),
                json!({ "id": 2, "text": SECOND, "label": [], "Comments": [] }),
            ],
        ),
        (
            "doccano with relations",
            [
                json!({ "id": 1, "text": FIRST, "entities": [
                    { "id": 3, "label": "PER", "start_offset": 0, "end_offset": 3 },
                    { "id": 4, "label": "LOC", "start_offset": 13, "end_offset": 27 }],
                    "relations": [{ "id": 1, "from_id": 3, "to_id": 4, "type": "in" }], "Comments": [] }),
                json!({ "id": 2, "text": SECOND, "entities": [], "relations": [], "Comments": [] }),
            ],
        ),
        (
            "spaCy's training data",
            [
                json!([FIRST, { "entities": [[0, 3, "PER"], [13, 27, "LOC", ""]] }]),
                json!([SECOND, { "entities": [], "cats": { "x": 1.0 } }]),
            ],
        ),
        (
            "spaCy's entities",
            [
                json!({ "text": FIRST, "entities": [[0, 3, "PER"], [13, 27, "LOC"]] }),
                json!({ "text": SECOND, "entities": [] }),
            ],
        ),
        (
            "a document of spaCy",
            [
                json!({ "text": FIRST, "ents": [{ "start": 0, "end": 3, "label": "PER" }, { "start": 13, "end": 27, "label": "LOC" }],
                    "tokens": of_first }),
                json!({ "text": SECOND, "ents": [], "tokens": of_second }),
            ],
        ),
        (
            "Prodigy",
            [
                json!({ "text": FIRST, "_input_hash": 1, "_task_hash": 2, "tokens": of_first, "_view_id": "ner_manual",
                    "spans": [{ "start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER" },
                        { "start": 13, "end": 27, "token_start": 4, "token_end": 6, "label": "LOC" }], "answer": "accept" }),
                json!({ "text": SECOND, "tokens": of_second, "_view_id": "ner_manual", "answer": "accept" }),
            ],
        ),
        ("Label Studio", [task(FIRST, json!([done(results)])), task(SECOND, json!([done(json!([]))]))]),
        (
            "Label Studio's JSON-MIN",
            [
                json!({ "text": FIRST, "id": 1, "label": labelled, "annotator": 1, "annotation_id": 1, "lead_time": 3.5 }),
                json!({ "text": SECOND, "id": 2, "annotator": 1, "annotation_id": 2, "lead_time": 1.5 }),
            ],
        ),
        (
            "JSON-MIN of a control of another name",
            [
                json!({ "text": FIRST, "id": 1, "ner": labelled, "sentiment": "good", "annotation_id": 1 }),
                json!({ "text": SECOND, "id": 2, "annotation_id": 2, "sentiment": "bad" }),
            ],
        ),
        (
            "entities of Hugging Face's pipeline",
            [
                json!({ "text": FIRST, "entities": [{ "entity_group": "PER", "word": "zoe", "start": 0, "end": 3, "score": 1 },
                    { "entity_group": "LOC", "word": "rio", "start": 13, "end": 27, "score": 1 }] }),
                json!({ "text": SECOND, "entities": [] }),
            ],
        ),
        (
            "words and tags",
            [
                json!({ "words": ["Zoë", "'s", "👩\u{200d}🚀", "in", "Rio", "de", "Janeiro", "."],
                    "tags": ["B-PER", "O", "O", "O", "B-LOC", "I-LOC", "I-LOC", "O"] }),
                json!({ "tokens": ["Nobody", "left", "."], "ner_tags": ["O", "O", "O"] }),
            ],
        ),
    ];
    for (shape, records) in &shapes {
        for (name, text) in both(records) {
            let read = read_as(name, &text, &plain);
            assert_eq!(tagged(&read), WANT, "{shape}, {name}");
            assert!(read.skipped.is_empty(), "{shape}");
            let first = read.examples[0].place.to_string();
            assert!(first.ends_with(if name == "a.json" { "a.json: [0]" } else { "a.jsonl:1" }), "{first}");
            let changed = read.notes.iter().filter(|note| !note.starts_with("fields that are not used")).count();
            assert_eq!(changed, 0, "{shape}: {:?}", read.notes);
        }
    }
    // The classes beside the data, and what nobody looked at.
    let [first, second] = &shapes[3].1;
    let file = json!({ "classes": ["PER", "LOC"], "annotations": [first, null, second] }).to_string();
    let read = read_as("a.json", &file, &plain);
    assert_eq!(tagged(&read), WANT);
    assert!(read.examples[1].place.to_string().ends_with("a.json: annotations[2]"));
    assert_eq!(read.notes, ["records that say nothing of entities, of which there is no example: 1"]);
    // A file of one record.
    assert_eq!(tagged(&read_as("a.json", &shapes[0].1[0].to_string(), &plain)), WANT[..1]);
    // By other names.
    let named = columns("text=body,label=marks");
    let row = json!({ "body": FIRST, "marks": [[0, 3, "PER"], [13, 27, "LOC"]], "text": "no", "label": "x" });
    assert_eq!(tagged(&read_as("a.jsonl", &row.to_string(), &named)), WANT[..1]);
    let named = columns("word=form,tag=iob");
    let row = json!({ "form": ["Rio"], "iob": ["B-LOC"], "tags": ["O"], "words": ["no"] });
    assert_eq!(tagged(&read_as("a.jsonl", &row.to_string(), &named)), ["Rio/B-LOC"]);
}

#[test]
fn an_answer_of_predict_is_read_back_as_the_data_that_it_answers() {
    use polyhead::tasks::answer::{Span, Spans};
    let span = |kind: &str, text: &str, start: usize| Span {
        kind: kind.into(),
        text: text.into(),
        start,
        end: start + text.chars().count(),
        score: 0.5,
    };
    let answer =
        Spans { text: FIRST.into(), entities: vec![span("PER", "Zoë", 0), span("LOC", "Rio de Janeiro", 13)] };
    let line = serde_json::to_string(&answer).unwrap();
    assert_eq!(tagged(&read_as("a.jsonl", &line, &Layout::default())), WANT[..1]);
}

#[test]
fn the_annotation_that_counts_is_read_of_a_task_with_several() {
    let annotation = |kind: &str, cancelled: bool, truth: bool| json!({ "was_cancelled": cancelled, "ground_truth": truth, "result": [result(0, 3, "Ada", kind)] });
    let task = |annotations: Value| json!({ "data": { "text": "Ada left." }, "annotations": annotations });
    let other = json!({ "from_name": "s", "to_name": "text", "type": "choices", "value": { "choices": ["good"] } });
    let relation = json!({ "from_id": "a", "to_id": "b", "type": "relation", "direction": "right", "labels": ["x"] });
    for (annotations, want) in [
        (
            json!([annotation("A", true, false), annotation("B", false, false), annotation("C", false, false)]),
            "Ada/B-B",
        ),
        (json!([annotation("A", false, false), annotation("B", false, true)]), "Ada/B-B"),
        (json!([{ "result": [result(0, 3, "Ada", "A"), other, relation] }]), "Ada/B-A"),
    ] {
        let read = read_as("a.json", &json!([task(annotations)]).to_string(), &Layout::default());
        assert_eq!(tagged(&read), [format!("{want} left/O ./O")]);
    }
    // Cancelled by all, seen by nobody, or asked for something else.
    let good = task(json!([annotation("A", false, false)]));
    let file =
        [good, task(json!([annotation("A", true, false)])), task(json!([])), task(json!([{ "result": [other] }]))];
    let read = read_as("a.json", &json!(file).to_string(), &Layout::default());
    assert_eq!(read.examples.len(), 1);
    assert_eq!(
        read.notes,
        [
            "records that say nothing of entities, of which there is no example: 2",
            "records that were rejected, ignored or cancelled by who annotated them, and were left out: 1"
        ]
    );
    // Which text, and which control.
    let mut control = result(0, 3, "Ada", "B");
    control["from_name"] = json!("second");
    let file = json!([{ "data": { "title": "A title", "body": "Ada left." },
        "annotations": [{ "result": [result(0, 3, "Ada", "A"), control] }] }]);
    let read = read_as("a.json", &file.to_string(), &columns("text=body,label=second"));
    assert_eq!(tagged(&read), ["Ada/B-B left/O ./O"]);
    let said = refusal("a.json", &file.to_string(), &Layout::default());
    assert!(said.starts_with("a.json: [0]: data: expected a text as `text`, found the texts `title, body`"), "{said}");
    assert!(said.contains("hint: say which it is: data.TASK.columns = { text = \"body\""), "{said}");
}

#[test]
fn what_was_rejected_is_counted_and_left_out() {
    let row = |answer: &str| json!({ "text": "Ada left.", "spans": [{ "start": 0, "end": 3, "label": "PER" }], "answer": answer });
    let text = ["accept", "reject", "ignore", "accept"].map(|answer| row(answer).to_string()).join("\n");
    let read = read_as("a.jsonl", &text, &Layout::default());
    assert_eq!(read.examples.len(), 2);
    assert_eq!(
        read.notes,
        ["records that were rejected, ignored or cancelled by who annotated them, and were left out: 2"]
    );
    let said = refusal("a.jsonl", &row("reject").to_string(), &Layout::default());
    assert!(said.starts_with("a.jsonl: expected sentences, found 1 that were rejected, and no others"), "{said}");
    let said = refusal("a.jsonl", &row("maybe").to_string(), &Layout::default());
    assert!(said.starts_with("a.jsonl:1: answer: expected `accept`, `reject` or `ignore`, found"), "{said}");
}

#[test]
fn spans_that_cut_words_or_share_them_are_reported_with_their_place() {
    let text = concat!(
        "{\"text\": \"Adams of New York Mellon\", \"label\": [[0, 3, \"PER\"], [9, 17, \"LOC\"], [9, 24, \"ORG\"]]}\n",
        "{\"text\": \"Ada\", \"label\": [[0, 3, \"PER\"], [0, 3, \"PER\"]]}\n",
    );
    let read = read_as("a.jsonl", text, &Layout::default());
    assert_eq!(tagged(&read), ["Adams/B-PER of/O New/B-ORG York/I-ORG Mellon/I-ORG", "Ada/B-PER"]);
    assert_eq!(read.notes.len(), 3, "{:?}", read.notes);
    let [widened, inner, twice] = [0, 1, 2].map(|at| read.notes[at].as_str());
    assert!(
        widened.starts_with("entities that cut a word and were widened to whole words: 1. In order: "),
        "{widened}"
    );
    assert!(widened.ends_with("a.jsonl:1, `PER` from 0 to 3, `Ada` to `Adams`"), "{widened}");
    assert!(
        inner.starts_with("entities that share words with another and were left out, the outermost kept: 1. "),
        "{inner}"
    );
    assert!(
        inner.ends_with("a.jsonl:1, `LOC` from 9 to 17, `New York` beside `ORG` from 9 to 24, `New York Mellon`"),
        "{inner}"
    );
    assert_eq!(twice, "entities that are given twice, of which the second was left out: 1");
    // By the tokens of the file, where it has them.
    let tokens = json!([{ "start": 0, "end": 8, "text": "New York" }, { "start": 8, "end": 14 }]);
    let row =
        json!({ "text": "New York Times", "tokens": tokens, "spans": [{ "start": 4, "end": 8, "label": "LOC" }] });
    let read = read_as("a.jsonl", &row.to_string(), &Layout::default());
    assert_eq!(read.examples[0].tags, ["B-LOC", "O"]);
    assert!(read.notes[0].contains("`York` to `New York`"), "{:?}", read.notes);
}

#[test]
fn one_file_is_data_for_several_tasks_and_what_it_does_not_say_is_no_example() {
    let lines = [
        json!({ "text": "Ada wrote to Bo.", "label": "letter",
            "entities": [{ "id": 1, "type": "PER", "start": 0, "end": 3 }, { "id": 2, "type": "PER", "start": 13, "end": 15 }],
            "relations": [{ "head": 1, "tail": 2, "label": "writes to" }] }),
        json!({ "text": "A class alone.", "label": "note" }),
        json!({ "text": "Ada alone.", "entities": [{ "id": 1, "type": "PER", "start": 0, "end": 3 }] }),
        json!({ "text": "Nothing yet.", "label": null, "entities": null, "relations": null }),
        json!({ "text": "Seen, and empty.", "label": "note", "entities": [], "relations": [] }),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    let (_folder, path) = written("a.jsonl", text.as_bytes());
    let plain = Layout::default();
    let sentences = read_sentences(&path, None, &plain).unwrap();
    assert_eq!(
        tagged(&sentences),
        ["Ada/B-PER wrote/O to/O Bo/B-PER ./O", "Ada/B-PER alone/O ./O", "Seen/O ,/O and/O empty/O ./O"]
    );
    let open = "records that say nothing of entities, of which there is no example: 2";
    assert!(sentences.notes.iter().any(|note| note == open), "{:?}", sentences.notes);
    let texts = TEXTS.read(&path, None, &plain).unwrap();
    let labels: Vec<String> = texts.examples.iter().map(|text| format!("{}: {}", text.label, text.text)).collect();
    assert_eq!(labels, ["letter: Ada wrote to Bo.", "note: A class alone.", "note: Seen, and empty."]);
    assert_eq!(texts.skipped.len(), 2);
    let relations = RELATIONS.read(&path, None, &plain).unwrap();
    assert_eq!(relations.examples.len(), 1);
    assert_eq!(relations.examples[0].label.as_deref(), Some("writes to"));
    let empty = "texts whose `relations` are empty, of which there is no example: 1";
    let none = "records that say nothing of relations, of which there is no example: 3";
    for said in [empty, none] {
        assert!(relations.notes.iter().any(|note| note == said), "{:?}", relations.notes);
    }
    // A file in which no record has any is an error.
    let without = r#"{"text": "A class alone.", "label": "note"}"#;
    let said = refusal("a.jsonl", without, &plain);
    assert!(
        said.starts_with(
            "a.jsonl:1: expected words and their tags, or a text and its entities; found only `text, label`"
        ),
        "{said}"
    );
    let (_folder, path) = written("a.jsonl", br#"{"text": "Ada alone.", "entities": []}"#);
    let said = RELATIONS.read(&path, None, &plain).unwrap_err().to_string();
    assert!(said.contains("a.jsonl:1: expected a text and its relation"), "{said}");
}

/// Name, text, and what the refusal begins with and says.
#[test]
fn malformed_records_are_refused_with_their_place_and_the_way_out() {
    let of = |entities: &str| format!("{{\"text\": \"Ada left.\", \"entities\": {entities}}}");
    let ls = |annotations: &str| format!("[{{\"data\": {{\"text\": \"Ada left.\"}}, \"annotations\": {annotations}}}]");
    let cases: Vec<(&str, String, &[&str])> = vec![
        // Offsets.
        ("a.jsonl", of("[[0, 99, \"PER\"]]"), &["a.jsonl:1: entities[0]: expected a part of the text: an end up to 9, where the text ends; found 99", COUNTED]),
        ("a.jsonl", of("[[3, 3, \"PER\"]]"), &["a.jsonl:1: entities[0]: expected", "a start before its end, found 3 and 3", COUNTED]),
        ("a.jsonl", of("[[4, 0, \"PER\"]]"), &["a.jsonl:1: ", "a start before its end, found 4 and 0", COUNTED]),
        ("a.jsonl", of("[[3, 4, \"PER\"]]"), &["a.jsonl:1: ", "more than white space from 3 to 4"]),
        ("a.jsonl", of("[[-1, 3, \"PER\"]]"), &["a.jsonl:1: entities[0][0]: expected a whole number from 0, found `-1`", COUNTED]),
        ("a.jsonl", of("[[0, 2.5, \"PER\"]]"), &["a.jsonl:1: entities[0][1]: expected a whole number from 0, found `2.5`"]),
        ("a.jsonl", of("[[\"0\", 3, \"PER\"]]"), &["a.jsonl:1: entities[0][0]: expected a whole number"]),
        // What stands there.
        ("a.jsonl", of("[{\"type\": \"PER\", \"start\": 0, \"end\": 3, \"text\": \"Bob\"}]"), &["a.jsonl:1: entities[0]: ", "`Bob` from 0 to 3, as it says; found `Ada`"]),
        // Types and shapes.
        ("a.jsonl", of("[[0, 3]]"), &["a.jsonl:1: entities[0]: expected a start, an end and a type, found `[0,3]`", "hint: as in [0, 3, \"PER\"]"]),
        ("a.jsonl", of("[[0, 3, 7]]"), &["a.jsonl:1: entities[0]: expected a start, an end and a type, found `[0,3,7]`"]),
        ("a.jsonl", of("[[0, 3, \" \"]]"), &["a.jsonl:1: entities[0]: expected the type of an entity, found a blank one"]),
        ("a.jsonl", of("[3]"), &["a.jsonl:1: entities[0]: expected an entity, found `3`", "hint: as in {\"text\""]),
        ("a.jsonl", of("{\"0\": 3}"), &["a.jsonl:1: entities: expected a list of entities, found"]),
        ("a.jsonl", of("[{\"start\": 0, \"end\": 3}]"), &["a.jsonl:1: entities[0]: expected the type of the entity as `type` or `label`, found nothing"]),
        ("a.jsonl", of("[{\"start\": 0, \"end\": 3, \"label\": 4}]"), &["a.jsonl:1: entities[0]: expected the type", "found `4`"]),
        ("a.jsonl", of("[{\"start_offset\": 0, \"label\": \"PER\"}]"), &["a.jsonl:1: entities[0].end: expected a whole number from 0, found nothing"]),
        ("a.jsonl", of("[{\"start\": 0, \"end\": 3, \"labels\": []}]"), &["a.jsonl:1: entities[0]: expected the type", "found `[]`"]),
        ("a.jsonl", "{\"text\": 3, \"entities\": []}".into(), &["a.jsonl:1: text: expected a text, found `3`"]),
        ("a.jsonl", "{\"text\": \"a\", \"entities\": [], \"offset_unit\": \"word\"}".into(), &["a.jsonl:1: offset_unit: expected `char`, `byte` or `utf16`, found"]),
        ("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}".into(), &["a.jsonl:1:", "duplicate field `text`"]),
        ("a.jsonl", "{\"entities\": []}".into(), &["a.jsonl:1: expected words and their tags, or a text and its entities; found only `entities`", "hint: a sentence is"]),
        ("a.jsonl", "{}".into(), &["a.jsonl:1: ", "found no fields"]),
        ("a.jsonl", "[{\"text\": \"a\"}]".into(), &["a.jsonl:1: expected an object, or a text", "hint: a list of records has the extension .json"]),
        ("a.jsonl", "{\"words\": [\"a\"], \"tags\": [\"O\"], \"entities\": []}".into(), &["a.jsonl: expected entities in `tags`, found `O` alone, while `entities` is not read"]),
        ("a.jsonl", "3".into(), &["a.jsonl:1:1: ", "expected an object with `words` and `tags`"]),
        ("a.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n\n{\"text\": \"b\"}".into(), &["a.jsonl:1: expected words", "found only `text, label`"]),
        ("a.jsonl", "{\"text\": \"Ada left.\", \"label\": [[0, 3]]}".into(), &["a.jsonl:1: label[0]: expected a start, an end and a type"]),
        // spaCy.
        ("a.json", "[[\"Ada\", {\"entities\": [[0, 4, \"PER\"]]}]]".into(), &["a.json: [0]: entities[0]: expected a part of the text: an end up to 3"]),
        ("a.json", "[[\"Ada\", [[0, 3, \"PER\"]]]]".into(), &["a.json: [0]: expected an object, or a text and its entities; found", "hint: as in [\"Ada left.\""]),
        ("a.json", "{\"classes\": [\"PER\"], \"annotations\": [[\"Ada\", {\"entities\": [[1, 0, \"PER\"]]}]]}".into(), &["a.json: annotations[0]: entities[0]: "]),
        ("a.json", "{\"classes\": [\"PER\"], \"annotations\": [null]}".into(), &["a.json: expected sentences, found none"]),
        ("a.json", "{\"classes\": [\"PER\"], \"annotations\": [3]}".into(), &["a.json: annotations: "]),
        // Prodigy.
        ("a.jsonl", "{\"text\": \"Ada\", \"tokens\": [{\"start\": 0, \"end\": 9}], \"spans\": []}".into(), &["a.jsonl:1: tokens[0]: expected a part of a text of 3 characters, found 0 to 9", COUNTED]),
        ("a.jsonl", "{\"text\": \"Ada Bo\", \"tokens\": [{\"start\": 0, \"end\": 4}, {\"start\": 2, \"end\": 6}], \"spans\": []}".into(), &["a.jsonl:1: tokens[1]: expected tokens in the order of the text and apart; found one that begins at 2, where the one before it ends at 4"]),
        ("a.jsonl", "{\"text\": \"Ada\", \"tokens\": [{\"start\": 0, \"end\": 3, \"text\": \"Bob\"}], \"spans\": []}".into(), &["a.jsonl:1: tokens[0]: expected `Bob` from 0 to 3, found `Ada`"]),
        ("a.jsonl", "{\"text\": \"Ada\", \"tokens\": [{\"start\": 0, \"end\": 3}, 4], \"spans\": []}".into(), &["a.jsonl:1: tokens[1]: expected a token with its start and end, found `4`"]),
        ("a.jsonl", "{\"text\": \"Ada Bo\", \"tokens\": [{\"start\": 0, \"end\": 3}], \"spans\": [{\"start\": 4, \"end\": 6, \"label\": \"PER\"}]}".into(), &["a.jsonl:1: spans[0]: expected one of the text's tokens or more, found `Bo` between them"]),
        // Label Studio.
        ("a.json", ls("[{\"result\": [{\"value\": {\"start\": 0, \"end\": 30, \"labels\": [\"PER\"]}}]}]"), &["a.json: [0]: annotations[0].result[0].value: expected a part of the text: an end up to 9"]),
        ("a.json", ls("[{\"result\": [{\"value\": {\"start\": 0, \"end\": 3, \"labels\": []}}]}]"), &["a.json: [0]: annotations[0].result[0].value: expected the type"]),
        ("a.json", ls("[{\"result\": [{\"value\": {\"start\": \"/p[1]\", \"end\": 3, \"hypertextlabels\": [\"PER\"]}}]}]"), &["a.json: [0]: annotations[0].result[0].value.start: expected a whole number from 0, found"]),
        ("a.json", ls("[{\"id\": 3}]"), &["a.json: [0]: annotations[0].result: expected a list, found nothing"]),
        ("a.json", ls("[7]"), &["a.json: [0]: annotations[0]: expected an object, found `7`"]),
        ("a.json", ls("[]"), &["a.json: [0]: expected words", "found only `data, annotations`"]),
        ("a.json", "[{\"data\": {\"n\": 1}, \"annotations\": [{\"result\": []}]}]".into(), &["a.json: [0]: data: expected a text as `text`, found no text"]),
        // The whole file.
        ("a.json", "".into(), &["a.json:1:1: ", "EOF while parsing", "hint: the file ends too early"]),
        ("a.json", "[{\"text\": \"a\"".into(), &["a.json:1:", "[0]: EOF while parsing"]),
        ("a.json", "{\"words\": [\"a\"], \"tags\": [\"O\"]}\n{\"words\": []}".into(), &["a.json:2:1: ", "trailing characters", "hint: give the file the extension .jsonl"]),
        ("a.json", "[]".into(), &["a.json: expected sentences, found none"]),
        ("a.json", "[3]".into(), &["a.json:1:", "[0]: invalid type: integer `3`, expected an object with `words` and `tags`"]),
        ("a.json", "7".into(), &["a.json:1:", "expected a list of objects", "hint: a list of objects, as in"]),
        ("a.json", "{\"version\": \"1.1\", \"data\": [{\"paragraphs\": [{\"qas\": []}]}]}".into(), &["a.json: expected sentences; found what looks like SQuAD JSON"]),
        ("a.json", "[{\"id\": 1, \"paragraphs\": [{\"sentences\": []}]}]".into(), &["a.json: [0]: expected words and their tags", "found only `id, paragraphs`"]),
    ];
    let mut wrong = Vec::new();
    for (name, text, expected) in cases {
        let said = refusal(name, &text, &Layout::default());
        if !said.starts_with(expected[0]) || !expected.iter().all(|part| said.contains(part)) || said.len() > 700 {
            wrong.push(format!("{text}\n    is refused with: {said}\n    expected: {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let numbered = refusal("a.jsonl", "{\"a\": [\"b\"]}", &columns("word=1,tag=2"));
    assert!(numbered.starts_with("a.jsonl:1: columns.word: expected the name of a field, found 1"), "{numbered}");
    let numbered = refusal("a.jsonl", "{\"a\": [\"b\"]}", &columns("text=1,label=2"));
    assert!(numbered.starts_with("a.jsonl:1: columns.text: expected the name of a field, found 1"), "{numbered}");
}

fn exported(name: &str) -> PathBuf {
    small::fixture("annotated").join(name)
}

#[test]
fn on_the_tokens_of_a_file_tags_are_those_that_spacy_gives() {
    let mut want = read_sentences(&exported("tags.jsonl"), None, &Layout::default()).unwrap();
    assert!(want.notes[0].contains("from BILOU to IOB2"), "{:?}", want.notes);
    // What is white space is a token of spaCy's and no word.
    for sentence in &mut want.examples {
        let kept: Vec<bool> = sentence.words.iter().map(|word| !word.trim().is_empty()).collect();
        let mut keep = kept.iter();
        sentence.words.retain(|_| *keep.next().unwrap());
        let mut keep = kept.iter();
        sentence.tags.retain(|_| *keep.next().unwrap());
    }
    for (name, left_out) in [("spacy_docs.jsonl", 0), ("prodigy.jsonl", 2)] {
        let read = read_sentences(&exported(name), None, &Layout::default()).unwrap();
        assert_eq!(tagged(&read), tagged(&want), "{name}");
        let said = format!("and were left out: {left_out}");
        assert_eq!(read.notes.iter().filter(|note| note.ends_with(&said)).count(), usize::from(left_out > 0), "{name}");
    }
}

#[test]
fn exports_of_one_project_give_the_same_sentences() {
    let want = [
        "Mara/B-PER Okafor/I-PER ,/O who/O runs/O Blue/B-ORG Kettle/I-ORG Ltd/I-ORG ./I-ORG ,/O moved/O to/O Tromsø/B-LOC in/O 2019/O ./O",
        "👩\u{200d}🚀/O Zoë/B-PER 's/O crew/O —/O José/B-PER and/O Ana/B-PER María/I-PER —/O trained/O in/O New/B-LOC Harwick/I-LOC ./O \
         The/O Times/B-ORG did/O n't/O ask/O ./O",
        "Nobody/O answered/O the/O door/O ./O",
        "The/O Quillworks–Dunmore/B-ORG merger/O (/O see/O p/O ./O 7/O )/O failed/O ;/O U.S./B-LOC regulators/O said/O no/O ./O",
        "GREYHAVEN/B-LOC",
    ];
    let names =
        ["doccano.jsonl", "doccano_relations.jsonl", "label_studio.json", "label_studio_min.json", "spacy_pairs.json"];
    for name in names {
        let read = read_sentences(&exported(name), None, &Layout::default()).unwrap();
        assert_eq!(tagged(&read), want, "{name}");
        let place = if name.ends_with("jsonl") { format!("{name}:4") } else { format!("{name}: [3]") };
        let widened = format!("{place}, `ORG` from 4 to 14, `Quillworks` to `Quillworks–Dunmore`");
        let inner = format!("{place}, `ORG` from 15 to 22, `Dunmore` beside `ORG` from 4 to 14, `Quillworks`");
        for said in [widened, inner] {
            assert!(
                read.notes
                    .iter()
                    .any(|note| note.contains("kept: 1") || note.contains("words: 1") && note.contains(&said)),
                "{:?}",
                read.notes
            );
            assert!(read.notes.iter().any(|note| note.ends_with(&said)), "{said}: {:?}", read.notes);
        }
        assert_eq!(read_sentences(&exported(name), Some(2), &Layout::default()).unwrap().examples.len(), 2);
    }
    let read = RELATIONS.read(&exported("doccano_relations.jsonl"), None, &Layout::default()).unwrap();
    assert_eq!(relations(&read.examples), ["runs: Mara Okafor > Blue Kettle Ltd.", "moved to: Mara Okafor > Tromsø"]);
}

#[test]
fn what_label_studio_has_of_texts_is_their_label() {
    let of = |name: &str, control: &str, form: LabelForm| {
        let layout = Layout { label_form: form, ..columns(&format!("text=text,label={control}")) };
        let read = TEXTS.read(&exported(name), None, &layout).unwrap();
        let start = |text: &str| text.chars().filter(|c| c.is_ascii_alphabetic()).take(3).collect::<String>();
        let all = read.examples.iter().map(|example| format!("{}: {}", start(&example.text), example.label));
        (all.collect::<Vec<_>>().join("; "), read.skipped.len())
    };
    for (control, form, want) in [
        ("tone", LabelForm::Name, "Mar: plain; Zos: tense; Nob: plain; The: tense"),
        ("topics", LabelForm::Set, "Mar: people, business, places; Zos: people, places; The: business; GRE: places"),
        ("clarity", LabelForm::Number, "Mar: 5; Zos: 4; Nob: 3; GRE: 1"),
    ] {
        for name in ["label_studio_tasks.json", "label_studio_tasks_min.json"] {
            assert_eq!(of(name, control, form), (want.to_owned(), 1), "{name}, {control}");
        }
    }
    let refused = |path: &Path| TEXTS.read(path, None, &Layout::default()).unwrap_err().to_string();
    let several = refused(&exported("label_studio_tasks.json"));
    assert!(
        several.contains("[0]: ") && several.contains("labels of one control, found those of `tone` and"),
        "{several}"
    );
    let task = |result: &str| format!(r#"[{{"data": {{"text": "a b"}}, "annotations": [{{"result": [{result}]}}]}}]"#);
    let choice = |value: &str| task(&format!(r#"{{"from_name": "x", "type": "choices", "value": {value}}}"#));
    for (text, said) in [
        (
            choice(r#"{"choices": "yes"}"#),
            "annotations[0].result[0].value.choices: expected a list of names, found `\"yes\"`",
        ),
        (choice(r#"{"rating": []}"#), "result[0].value.rating: expected a number, found `[]`"),
        (task("7"), "annotations[0].result[0]: expected an object, found `7`"),
        (choice(r#"{"choices": ["a", "b"]}"#), "expected one label, found `a, b`"),
    ] {
        let (_folder, path) = written("a.json", text.as_bytes());
        let error = refused(&path);
        assert!(error.contains("a.json") && error.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_label_studio_has_between_spans_are_relations() {
    let read = RELATIONS.read(&exported("label_studio_tasks.json"), None, &Layout::default()).unwrap();
    assert_eq!(relations(&read.examples), ["runs: Mara Okafor > Blue Kettle Ltd.", "moved to: Mara Okafor > Tromsø"]);
    for said in
        ["say nothing of relations, of which there is no example: 1", "are empty, of which there is no example: 3"]
    {
        assert!(read.notes.iter().any(|note| note.ends_with(said)), "{:?}", read.notes);
    }
    let span = |id: &str, start: usize| {
        format!(
            r#"{{"id": "{id}", "from_name": "l", "value": {{"start": {start}, "end": {}, "labels": ["X"]}}}}"#,
            start + 1
        )
    };
    let task = |relation: &str| {
        let spans = [span("p", 0), span("q", 2)].join(", ");
        format!(r#"[{{"data": {{"text": "a b"}}, "annotations": [{{"result": [{spans}, {relation}]}}]}}]"#)
    };
    let left = r#"{"type": "relation", "from_id": "p", "to_id": "q", "direction": "left", "labels": ["is", "has"]}"#;
    let (_folder, path) = written("a.json", task(left).as_bytes());
    let read = RELATIONS.read(&path, None, &Layout::default()).unwrap();
    assert_eq!(relations(&read.examples), ["is: b > a", "has: b > a"]);
    for (relation, said) in [
        (
            r#"{"type": "relation", "from_id": "p", "to_id": "z"}"#,
            "result[2].to_id: expected the `id` of a span (`p, q`), found `z`",
        ),
        (
            r#"{"type": "relation", "from_id": "p", "to_id": "q", "labels": [1]}"#,
            "result[2].labels: expected a list of names",
        ),
        (r#"{"type": "relation", "from_id": "p", "to_id": "q"}"#, "found none that can be used: it has no label"),
    ] {
        let (_folder, path) = written("a.json", task(relation).as_bytes());
        let error = RELATIONS.read(&path, None, &Layout::default()).unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains(said), "{relation}: {error}");
    }
    let (_folder, path) = written("a.json", task(&span("r", 9)).as_bytes());
    let error = RELATIONS.read(&path, None, &Layout::default()).unwrap_err().to_string();
    assert!(error.contains("result[2].value: expected a part of the text: a start up to 3"), "{error}");
}

#[test]
fn labelled_texts_and_relations_may_be_one_list() {
    let (_folder, path) =
        written("a.json", br#"[{"text": "warm", "label": "good"}, null, {"text": "dull", "label": "bad"}]"#);
    let read = TEXTS.read(&path, None, &Layout::default()).unwrap();
    let found: Vec<String> =
        read.examples.iter().map(|one| format!("{} {} {}", one.place, one.text, one.label)).collect();
    let place = |at: usize| format!("{}: [{at}]", path.display());
    assert_eq!(found, [format!("{} warm good", place(0)), format!("{} dull bad", place(2))]);
    let (_folder, path) = written("b.json", br#"[{"text": "<e1>a</e1> of <e2>b</e2>", "label": "part"}]"#);
    assert_eq!(relations(&RELATIONS.read(&path, None, &Layout::default()).unwrap().examples), ["part: a > b"]);
    for (text, said) in [
        ("[[\"a\", {\"entities\": []}]]", ": [0]: expected an object, found"),
        ("[{\"text\": \"a\", \"label\": \"b\"}", ":1:"),
        (
            "{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}",
            "expected labelled texts; found what looks like SQuAD JSON",
        ),
        ("[{\"text\": \"a\"}]", ": [0]: expected a text and its label, found only `text`"),
    ] {
        let (_folder, path) = written("c.json", text.as_bytes());
        let error = TEXTS.read(&path, None, &Layout::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_file_says_what_it_is_for_and_which_tool_wrote_it() {
    use polyhead::data::Files;
    use polyhead::init::{Known, propose};
    let looked_at = |path: &Path| {
        let files = Files::from(path.to_str().unwrap());
        let proposal = propose(&files, &Known::default(), polyhead::tasks::TASKS).unwrap();
        let file = &proposal.files[0];
        let read = file.readings.iter().map(|reading| format!("{}: {}", reading.kind, reading.format));
        (file.tool, read.collect::<Vec<_>>().join("; "))
    };
    for (name, tool, read) in [
        ("doccano.jsonl", Some("doccano"), "ner: JSON Lines"),
        ("doccano_relations.jsonl", Some("doccano"), "ner: JSON Lines; relation: JSON Lines"),
        ("label_studio.json", Some("Label Studio"), "ner: a JSON list"),
        ("label_studio_min.json", Some("Label Studio"), "ner: a JSON list"),
        ("label_studio_tasks.json", Some("Label Studio"), "ner: a JSON list; relation: a JSON list"),
        ("prodigy.jsonl", Some("Prodigy"), "ner: JSON Lines"),
        ("spacy_docs.jsonl", Some("spaCy"), "ner: JSON Lines"),
        ("spacy_pairs.json", Some("spaCy"), "ner: a JSON list"),
        ("tags.jsonl", None, "ner: JSON Lines"),
    ] {
        assert_eq!(looked_at(&exported(name)), (tool, read.to_owned()), "{name}");
    }
    let table = b"Sentence #,Word,POS,Tag\nSentence: 1,EU,NNP,B-org\n,is,VBZ,O\n";
    let (_folder, path) = written("a.csv", table);
    assert_eq!(
        looked_at(&path).1,
        "ner: comma-separated values",
        "tags of entities are no labels of words, unless it is said"
    );
}
