//! Relations between two parts of a text: files, windows around both parts, and a model that learns them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::Features;
use polyhead::data::{Encoding, Layout, RELATIONS, Read, RelationExample};
use polyhead::document::{Block, Row};
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::tasks::{AnyTask, Examples, Logits, LogitsFn, Purpose, Score, TASKS};
use polyhead::text::Tokenizer;
use polyhead::train::{Event, Trainer};
use polyhead_kernels::rng::Key;
use proptest::prelude::*;
use serde_json::{Value, json};
use small::{columns, written};
use std::path::{Path, PathBuf};

fn read_as(name: &str, text: &str, layout: &Layout) -> Read<RelationExample> {
    let (_folder, path) = written(name, text.as_bytes());
    RELATIONS.read(&path, None, layout).unwrap()
}

/// `label: first > second | text`.
fn shown(read: &Read<RelationExample>) -> Vec<String> {
    let one = |example: &RelationExample| {
        let RelationExample { text, first, second, label, .. } = example;
        format!("{}: {} > {} | {text}", label.as_deref().unwrap(), &text[first.clone()], &text[second.clone()])
    };
    read.examples.iter().map(one).collect()
}

const SEMEVAL: &str = "1\t\"The \"old\" <e1>fire</e1> of the <e2>bombs</e2>.\"\r\nCause-Effect(e2,e1)\r\nComment: who knows\r\nmore of it\r\n\r\n\
     2\t\"<e1>Zoë</e1> and <e2>東京</e2>.\"\r\nOther\r\n\r\n\r\n3\t\"<e1>a</e1> <e2>b</e2>\"\r\nOther";

#[test]
fn every_format_gives_the_same_relations() {
    let plain = Layout::default();
    let want = ["Cause-Effect(e2,e1): fire > bombs | The fire of the bombs.", "Other: Zoë > 東京 | Zoë and 東京."];
    let marked = ["The <e1>fire</e1> of the <e2>bombs</e2>.", "<e1> Zoë</e1> and <e2>東京</e2>."];
    let by_offsets = concat!(
        "{\"id\": 7, \"text\": \"The fire of the bombs.\", \"head\": {\"start\": 4, \"end\": 8, \"text\": \"fire\"}, ",
        "\"tail\": {\"start\": 16, \"end\": 21}, \"label\": \"Cause-Effect(e2,e1)\"}\n\n",
        "{\"text\": \"Zoë and 東京.\", \"e1\": {\"start\": 0, \"end\": 4}, \"e2\": {\"start\": 8, \"end\": 10}, \"relation\": \"Other\"}\n",
    );
    let of_entities = concat!(
        "{\"id\": \"a\", \"text\": \"The fire of the bombs.\", \"entities\": [{\"id\": 1, \"start\": 4, \"end\": 8, \"label\": \"X\"}, ",
        "{\"id\": \"two\", \"start\": 16, \"end\": 21}], \"relations\": [{\"head\": 1, \"tail\": \"two\", \"label\": \"Cause-Effect(e2,e1)\"}]}\n",
        "{\"text\": \"nothing here\", \"entities\": [], \"relations\": []}\n",
        "{\"text\": \"Zoë and 東京.\", \"entities\": [{\"id\": 0, \"start_offset\": 0, \"end_offset\": 3}, ",
        "{\"id\": 1, \"start_offset\": 8, \"end_offset\": 10}], \"relations\": [{\"id\": 4, \"from_id\": 0, \"to_id\": 1, \"type\": \"Other\"}]}\n",
    );
    let [one, two] = marked;
    for (name, text, layout) in [
        ("a.csv", format!("id,sentence,relation\n1,{one},\"Cause-Effect(e2,e1)\"\n2,{two},Other\n"), &plain),
        ("a.csv", format!("\"Cause-Effect(e2,e1)\",{one}\nOther,{two}\n"), &columns("text=2,label=1")),
        ("a.tsv", format!("label\ttext\nCause-Effect(e2,e1)\t{one}\nOther\t{two}\n"), &plain),
        ("a.jsonl", by_offsets.to_owned(), &plain),
        ("a.jsonl", of_entities.to_owned(), &plain),
        (
            "a.jsonl",
            format!(
                "{{\"text\": \"{one}\", \"label\": \"Cause-Effect(e2,e1)\"}}\n{{\"text\": \"{two}\", \"label\": \"Other\"}}"
            ),
            &plain,
        ),
        (
            "a.jsonl",
            format!(
                "{{\"body\": \"{one}\", \"kind\": \"Cause-Effect(e2,e1)\"}}\n{{\"body\": \"{two}\", \"kind\": \"Other\"}}"
            ),
            &columns("text=body,label=kind"),
        ),
    ] {
        let found = shown(&read_as(name, &text, layout));
        // White space inside of the marks stays in the text.
        let found: Vec<String> = found.iter().map(|one| one.replace("|  Zoë", "| Zoë")).collect();
        assert_eq!(found, want, "{name}: {text}");
    }
    let read = read_as("a.jsonl", of_entities, &plain);
    let ids: Vec<_> = read.examples.iter().map(|example| example.id.as_deref()).collect();
    assert_eq!(ids, [Some("a/1"), None]);
    assert_eq!(read.notes, ["texts whose `relations` are empty, of which there is no example: 1"]);
    assert_eq!(read_as("a.jsonl", by_offsets, &plain).examples[0].id.as_deref(), Some("7"));
}

#[test]
fn the_four_lines_of_semeval_are_read_with_their_comments() {
    let read = read_as("TRAIN.TXT", SEMEVAL, &Layout::default());
    let want = [
        "Cause-Effect(e2,e1): fire > bombs | The \"old\" fire of the bombs.",
        "Other: Zoë > 東京 | Zoë and 東京.",
        "Other: a > b | a b",
    ];
    assert_eq!(shown(&read), want);
    let places: Vec<String> = read.examples.iter().map(|example| example.place.to_string()).collect();
    assert!(places[1].ends_with("TRAIN.TXT:6") && places[2].ends_with("TRAIN.TXT:10"), "{places:?}");
    assert_eq!(read.examples[2].id.as_deref(), Some("3"));
    assert_eq!(read.examples[0].marked(), "The \"old\" <e1>fire</e1> of the <e2>bombs</e2>.");
    let (_folder, path) = written("a.txt", b"1\t\"<e1>caf\xe9</e1> <e2>b</e2>\"\nOther\n");
    let latin = Layout { encoding: Encoding::Latin1, ..Layout::default() };
    assert_eq!(shown(&RELATIONS.read(&path, None, &latin).unwrap()), ["Other: café > b | café b"]);
    let (_folder, path) = written("a.txt", SEMEVAL.as_bytes());
    assert_eq!(RELATIONS.read(&path, Some(2), &Layout::default()).unwrap().examples.len(), 2);
    let names = Layout { label_names: ["no", "yes"].map(str::to_owned).to_vec(), ..Layout::default() };
    let numbered =
        "{\"text\": \"<e1>a</e1> <e2>b</e2>\", \"label\": 1}\n{\"text\": \"<e1>a</e1> <e2>b</e2>\", \"label\": null}\n";
    let read = read_as("a.jsonl", numbered, &names);
    assert_eq!(shown(&read), ["yes: a > b | a b"]);
    assert_eq!((read.skipped.len(), read.skipped[0].reason.as_str()), (1, "it has no label"));
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_its_place_and_what_was_expected() {
    let plain = Layout::default();
    let good = "1\t\"<e1>a</e1> <e2>b</e2>\"\nOther\n\n";
    let entities = |relation: &str| {
        format!(
            "{{\"text\": \"Ada left\", \"entities\": [{{\"id\": 1, \"start\": 0, \"end\": 3}}, {{\"id\": 2, \"start\": 4, \"end\": 8}}], \"relations\": [{relation}]}}"
        )
    };
    for (name, text, expected) in [
        ("a.txt", "Other a text\n".to_owned(), "a.txt:1: expected a number, a tab and a sentence in quotes; found `Other a text`"),
        ("a.txt", format!("{good}2\t<e1>a</e1> <e2>b</e2>\n"), "a.txt:4: expected a number, a tab and a sentence in quotes"),
        ("a.txt", "1\t\"<e1>a</e1> b\"\nOther\n".to_owned(), "a.txt:1: expected <e1>...</e1> and <e2>...</e2> around two parts, found no `<e2>`"),
        ("a.txt", "1\t\"<e1>a <e2>b</e1> c</e2>\"\nOther\n".to_owned(), "a.txt:1: expected <e1>...</e1> and <e2>...</e2> around two parts, found parts that cross"),
        ("a.txt", "1\t\"<e1> </e1> <e2>c</e2>\"\nOther\n".to_owned(), "a.txt:1: expected <e1>...</e1> and <e2>...</e2> around two parts, found nothing between"),
        ("a.txt", "1\t\"<e1>a</e1> <e2>b</e2>\"\n\nOther\n".to_owned(), "a.txt:2: expected a relation, such as"),
        ("a.txt", "1\t\"<e1>a</e1> <e2>b</e2>\"\nComment:\n".to_owned(), "a.txt:2: expected a relation, such as"),
        ("a.txt", "1\t\"<e1>a</e1> <e2>b</e2>\"".to_owned(), "a.txt:2: expected a relation, such as `Cause-Effect(e1,e2)` or `Other`; found the end"),
        ("a.txt", "1\t\"<e1>a</e1> <e2>b</e2>\"\nOther\nwhat\n".to_owned(), "a.txt:3: expected `Comment:` or an empty line; found `what`"),
        ("a.txt", format!("{}{good}", good.replace("\n\n", "\nComment:\n")), "a.txt:4: expected an empty line before the next example"),
        ("a.txt", format!("{good}{good}"), "a.txt:4: expected a number of its own; found `1` again, as in line 1"),
        ("a.txt", "\n\n".to_owned(), "a.txt: expected relations, found none"),
        ("a.csv", "text,label\nno marks,Other\n".to_owned(), "a.csv:2: expected <e1>...</e1> and <e2>...</e2> around two parts, found no `<e1>` in `no marks`"),
        ("a.jsonl", "{\"label\": \"x\"}".to_owned(), "a.jsonl:1: expected a text and its relation, found only `label`"),
        ("a.jsonl", "{\"text\": \"<e1>a</e1> <e2>b</e2>\"}".to_owned(), "a.jsonl:1: expected `label`, the relation of the two parts"),
        ("a.jsonl", "{\"text\": \"a b\", \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected <e1>...</e1> and <e2>...</e2>"),
        ("a.jsonl", "{\"text\": \"a b\", \"head\": {\"start\": 0, \"end\": 1}, \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected `tail` beside `head`, found nothing"),
        ("a.jsonl", "{\"text\": \"a b\", \"head\": {\"start\": 0, \"end\": 1}, \"tail\": {\"start\": 2, \"end\": 4}, \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected a part of the text as `tail`: an end up to 3, where the text ends; found 4"),
        ("a.jsonl", "{\"text\": \"a b\", \"head\": {\"start\": 1, \"end\": 1}, \"tail\": {\"start\": 2, \"end\": 3}, \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected a part of the text as `head`: a start before its end, found 1 and 1"),
        ("a.jsonl", "{\"text\": \"a b\", \"head\": {\"start\": -1, \"end\": 1}, \"tail\": {\"start\": 2, \"end\": 3}, \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected a whole number from 0 as `head.start`, found `-1`"),
        ("a.jsonl", "{\"text\": \"a b\", \"head\": {\"start\": 0, \"end\": 1, \"text\": \"b\"}, \"tail\": {\"start\": 2, \"end\": 3}, \"label\": \"x\"}".to_owned(), "a.jsonl:1: expected a part of the text as `head`: `b` from 0 to 1, as it says; found `a`"),
        ("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}".to_owned(), "duplicate field `text`"),
        ("a.jsonl", entities("{\"head\": 1, \"tail\": 3, \"label\": \"x\"}"), "a.jsonl:1: relations[0]: expected the id of an entity (1, 2), found `3`"),
        ("a.jsonl", entities("{\"head\": 1, \"label\": \"x\"}"), "a.jsonl:1: relations[0]: expected the id of an entity as `tail` or"),
        ("a.jsonl", entities("1"), "a.jsonl:1: relations[0]: expected an object, found `1`"),
        ("a.jsonl", entities("").replace("\"end\": 8", "\"end\": 9"), "a.jsonl:1: entities[1]: expected a part of the text: an end up to 8"),
        ("a.jsonl", entities("").replace("\"id\": 2", "\"id\": 1"), "a.jsonl:1: entities[1]: expected an `id` of its own, found `1` again"),
        ("a.jsonl", entities("").replace("\"id\": 2, ", ""), "a.jsonl:1: entities[1]: expected an `id`, by which relations name it"),
        ("a.jsonl", entities("").replace("\"relations\": []", "\"relations\": {}"), "a.jsonl:1: relations: expected a list of objects, found `{}`"),
        ("a.conll", "Ada B-PER\n".to_owned(), "expected relations as the four lines of SemEval-2010 task 8"),
    ] {
        let (_folder, path) = written(name, text.as_bytes());
        let said = RELATIONS.read(&path, None, &plain).unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let (_folder, path) = written("a.txt", good.as_bytes());
    let said = RELATIONS.read(&path, None, &columns("text=1,label=2")).unwrap_err().to_string();
    assert!(said.contains("a.txt: columns: expected a file with columns"), "{said}");
}

fn open(config: Value) -> Box<dyn AnyTask> {
    (TASKS.iter().find(|kind| kind.kind == "relation").unwrap().open)(config).unwrap()
}

fn refusal(config: Value) -> String {
    let entry = TASKS.iter().find(|kind| kind.kind == "relation").unwrap();
    (entry.open)(config).map(|_| ()).unwrap_err().to_string()
}

fn examples(task: &dyn AnyTask, name: &str, text: &str) -> Examples {
    let (_folder, path) = written(name, text.as_bytes());
    task.read(&path, None, &Layout::default()).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&small::fixture("tiny-bert").join("tokenizer.json")).unwrap()
}

#[test]
fn a_task_learns_its_labels_and_refuses_data_and_settings_that_do_not_fit() {
    let mut task = open(json!({ "marker_tokens": ["$", "@"] }));
    task.prepare(&examples(&*task, "a.txt", SEMEVAL)).unwrap();
    assert_eq!(task.labels(), ["Cause-Effect(e2,e1)", "Other"]);
    let other = examples(&*task, "b.txt", "9\t\"<e1>a</e1> <e2>b</e2>\"\nEntity-Origin(e1,e2)\n");
    let said = task.check(&other).unwrap_err().to_string();
    assert!(
        said.contains("b.txt:1: expected one of the labels Cause-Effect(e2,e1), Other, found `Entity-Origin(e1,e2)`"),
        "{said}"
    );
    let said = task.learnable(&other).unwrap_err().to_string();
    assert!(
        said.contains("b.txt:1: expected at least two labels to train on, found `Entity-Origin(e1,e2)` alone"),
        "{said}"
    );
    let said = refusal(json!({ "labels": ["a", "b"], "negative": "none" }));
    assert!(said.starts_with("negative: expected one of the labels a, b, found `none`"), "{said}");
    let mut named = open(json!({ "negative": "none" }));
    let said = named.prepare(&examples(&*task, "a.txt", SEMEVAL)).unwrap_err().to_string();
    assert!(said.starts_with("negative: expected one of the labels"), "{said}");
    assert!(refusal(json!({ "labels": ["a", "a"] })).starts_with("labels: expected different labels"));
    assert!(
        refusal(json!({ "markers": "brackets" })).contains("unknown variant `brackets`, expected `tokens` or `spans`")
    );
    // A vocabulary without the marker.
    let plain = open(json!({}));
    let two = examples(&*plain, "a.txt", SEMEVAL);
    let said = plain.features(&two, 0, &tokenizer(), Purpose::Train).unwrap_err().to_string();
    assert!(said.contains("marker_tokens: expected two tokens of the vocabulary, found `#`, which is none"), "{said}");
}

/// The tokens of a window as words, the ranges of its head as `[ ]`.
fn window(features: &Features, tokenizer: &Tokenizer, words: &[&str]) -> String {
    let known: Vec<(u32, &str)> = words.iter().map(|word| (tokenizer.token(word).unwrap(), *word)).collect();
    let of = |id: &u32| known.iter().find(|(other, _)| other == id).map_or("?", |(_, word)| *word);
    let mut said: Vec<String> = features.ids.iter().map(|id| of(id).to_owned()).collect();
    for (start, end) in &features.ranges {
        said[*start as usize].insert(0, '[');
        said[*end as usize - 1].push(']');
    }
    said.join(" ")
}

#[test]
fn a_window_lies_around_both_parts_and_what_does_not_fit_is_reported_left_out_or_refused() {
    let tokenizer = tokenizer();
    let words = ["the", "of", "ada", "mary", "river", "$", "@", "[CLS]", "[SEP]"];
    let the = |count: usize| vec!["the"; count].join(" ");
    let text = |before, between, behind| {
        format!(
            "{} <e1>ada</e1> {} <e2>mary</e2> {}",
            the(before),
            vec!["of"; between].join(" "),
            vec!["river"; behind].join(" ")
        )
    };
    let lines = |texts: &[String]| -> String {
        texts.iter().map(|text| json!({ "text": text, "label": "x" }).to_string() + "\n").collect()
    };
    let tokens = open(json!({ "marker_tokens": ["$", "@"], "max_length": 14, "labels": ["x", "y"] }));
    let spans = open(json!({ "markers": "spans", "max_length": 14, "labels": ["x", "y"] }));
    let all = lines(&[
        text(1, 1, 1),
        text(9, 2, 9),
        text(0, 2, 9),
        text(9, 2, 0),
        text(0, 6, 0),
        text(0, 7, 0),
        text(0, 11, 0),
    ]);
    let found = |task: &dyn AnyTask| -> Vec<(String, usize)> {
        let examples = examples(task, "a.jsonl", &all);
        let each = (0..examples.len).map(|index| {
            let made = task.features(&examples, index, &tokenizer, Purpose::Predict).unwrap();
            assert_eq!(made.truncated_answers, usize::from(made.windows.is_empty()));
            (made.windows.first().map_or(String::new(), |one| window(one, &tokenizer, &words)), made.lost_tokens)
        });
        each.collect()
    };
    let want = |all: [(&str, usize); 7]| all.map(|(text, lost)| (text.to_owned(), lost)).to_vec();
    assert_eq!(
        found(&*tokens),
        want([
            ("[CLS] the [$ ada $] of [@ mary @] river [SEP]", 0),
            ("[CLS] the the [$ ada $] of of [@ mary @] river river [SEP]", 14),
            ("[CLS] [$ ada $] of of [@ mary @] river river river river [SEP]", 5),
            ("[CLS] the the the the [$ ada $] of of [@ mary @] [SEP]", 5),
            ("[CLS] [$ ada $] of of of of of of [@ mary @] [SEP]", 0),
            ("", 13),
            ("", 17),
        ])
    );
    assert_eq!(
        found(&*spans),
        want([
            ("[CLS] the [ada] of [mary] river [SEP]", 0),
            ("[CLS] the the the the [ada] of of [mary] river river river river [SEP]", 10),
            ("[CLS] [ada] of of [mary] river river river river river river river river [SEP]", 1),
            ("[CLS] the the the the the the the the [ada] of of [mary] [SEP]", 1),
            ("[CLS] [ada] of of of of of of [mary] [SEP]", 0),
            ("[CLS] [ada] of of of of of of of [mary] [SEP]", 0),
            ("", 13),
        ])
    );

    // Training goes on without them, and says so; an evaluation counts them as not found.
    let mut train = examples(&*tokens, "a.jsonl", &(all + &lines(&["<e1>\u{200d}</e1> <e2>mary</e2>".to_owned()])));
    let mut validation = examples(&*tokens, "a.jsonl", &lines(&[text(1, 1, 1), text(0, 20, 0)]));
    let notes = tokens.review(&mut train, &tokenizer, Purpose::Train).unwrap();
    assert_eq!((train.len, train.skipped.len()), (5, 3), "{notes:?}");
    let reasons: Vec<&str> = train.skipped.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons[0], "its parts lie 13 tokens apart, themselves included, and a window holds 12");
    assert_eq!(reasons[2], "the tokenizer makes no token of its first part");
    assert!(
        notes[0].starts_with("3 texts of more than max_length = 14 tokens (the first: ")
            && notes[0].contains(":2): 24 tokens far from both parts are not read"),
        "{notes:?}"
    );
    assert!(notes[1].starts_with("3 examples can't be used; the first: "), "{notes:?}");
    let notes = tokens.review(&mut validation, &tokenizer, Purpose::Predict).unwrap();
    assert!(notes[0].starts_with("nothing is predicted for 1 example; the first: "), "{notes:?}");
    let right = |windows: &[&Features]| Ok(windows.iter().map(|_| Logits::new(vec![9.0, 0.0], 2)).collect());
    let runner = LogitsFn { tokenizer: &tokenizer, logits: &right };
    let mut answers = Vec::new();
    let score = tokens.evaluate(&validation, &runner, &mut |answer, _| answers.push(answer)).unwrap();
    assert_eq!((score.get("micro_recall"), score.get("micro_precision")), (Some(50.0), Some(100.0)));
    assert_eq!((&answers[0]["label"], &answers[1]["label"]), (&json!("x"), &Value::Null));
    assert_eq!(answers[1]["edges"], json!([]));
    let said = tokens.query(&json!({ "marked_text": text(0, 7, 0) }), &tokenizer).err().unwrap().to_string();
    assert!(
        said.contains("expected a text that can be read, found one that can't: its parts lie 13 tokens apart"),
        "{said}"
    );
}

/// Names of people and of places, and what stands between them.
const PEOPLE: [&str; 4] = ["ada lovelace", "mary", "john smith", "the queen"];
const PLACES: [&str; 4] = ["london", "paris", "berlin", "the river"];

/// Sentences about two people and a place, of which two parts are marked. Who lives where follows from which parts these are, and the
/// third is there to mislead.
fn lived(count: usize, seed: u64) -> String {
    let mut file = String::new();
    for index in 0..count {
        let key = Key::seed(seed).with(index as u64);
        let pick = |at: u64, of: &[&str; 4]| of[(key.bits(at) >> 8) as usize % 4].to_owned();
        let (person, place, other) = (pick(0, &PEOPLE), pick(1, &PLACES), pick(2, &PEOPLE));
        let (first, second) = (|name: &str| format!("<e1>{name}</e1>"), |name: &str| format!("<e2>{name}</e2>"));
        let (text, label) = match index % 4 {
            0 => (format!("{} was in {} and {other} was not .", first(&person), second(&place)), "Lives-In(e1,e2)"),
            1 => {
                (format!("in {} was {} for a year , with {other} .", first(&place), second(&person)), "Lives-In(e2,e1)")
            }
            2 => (format!("{} was in {place} and {} was not .", first(&person), second(&other)), "Other"),
            _ => (format!("in {place} was {} for a year , with {} .", first(&person), second(&other)), "Other"),
        };
        file += &format!("{}\t\"{text}\"\n{label}\nComment:\n\n", index + 1);
    }
    file
}

fn trained(folder: &Path, markers: &str) -> (Score, PathBuf) {
    let (train, validation) = (folder.join("train.txt"), folder.join("validation.txt"));
    std::fs::write(&train, lived(240, 1)).unwrap();
    std::fs::write(&validation, lived(80, 2)).unwrap();
    let text = format!(
        "name = 'relations'\noutput = {:?}\nencoder = {{ checkpoint = {:?}, dropout = 0.0, attention_dropout = 0.0 }}\n\
         train = {{ epochs = 8, learning_rate = 2e-3, feature_cache = false }}\n\
         tasks.relation = {{ markers = '{markers}', marker_tokens = ['$', '@'], max_length = 48, dropout = 0.0, batch_size = 16 }}\n\
         data.relation = {{ train = {train:?}, validation = {validation:?} }}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    let recipe = Recipe::parse(&text, &folder.join("relations.toml"), &[]).unwrap();
    let mut best: Option<Score> = None;
    for event in Trainer::new(recipe, &mut |_| {}).unwrap() {
        if let Event::Evaluated(end) = event.unwrap() {
            let score = end.scores["relation"].clone();
            if best.as_ref().is_none_or(|best| score.headline_value() > best.headline_value()) {
                best = Some(score);
            }
        }
    }
    let run = std::fs::read_dir(folder.join("runs")).unwrap().next().unwrap().unwrap().path();
    (best.unwrap(), run)
}

#[test]
fn a_model_learns_relations_and_their_directions_with_markers_and_without() {
    for markers in ["tokens", "spans"] {
        let folder = tempfile::tempdir().unwrap();
        let (score, run) = trained(folder.path(), markers);
        assert_eq!(score.headline, "macro_f1");
        assert!(score.headline_value() >= 95.0, "{markers}: {:?}", score.values);
        let names: Vec<&String> = score.values.keys().collect();
        assert_eq!(names[..3], ["macro_f1", "macro_precision", "macro_recall"]);
        assert!(score.get("macro_f1_without_direction") >= score.get("macro_f1"));
        assert_eq!(score.types.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["Lives-In"]);

        // The same sentence, asked of other parts.
        let session = Session::open(&run).unwrap();
        let ask = |request: Value| session.ask("relation", &request).unwrap();
        let there = ask(json!({ "marked_text": "<e1>mary</e1> was in <e2>paris</e2> and john smith was not ." }));
        let edge = &there["edges"][0];
        assert_eq!(
            (&edge["type"], &edge["from"]["text"], &edge["to"]["text"]),
            (&json!("Lives-In"), &json!("mary"), &json!("paris"))
        );
        assert_eq!(
            (&edge["to"]["start"], &there["text"]),
            (&json!(12), &json!("mary was in paris and john smith was not ."))
        );
        let other = ask(json!({ "marked_text": "<e1>mary</e1> was in paris and <e2>john smith</e2> was not ." }));
        assert_eq!(other["edges"], json!([]), "{markers}");
        let turned = ask(json!({
            "text": "in paris was mary for a year , with john smith .",
            "head": { "start": 3, "end": 8 },
            "tail": { "start": 13, "end": 17 },
        }));
        let edge = &turned["edges"][0];
        assert_eq!(
            (&edge["from"]["text"], &edge["to"]["text"]),
            (&json!("mary"), &json!("paris")),
            "{markers}: {turned}"
        );
    }
}

#[test]
fn an_analysis_says_which_relation_is_taken_for_which_and_how_often_the_direction_is_wrong() {
    let task = open(json!({ "labels": ["A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "Other"], "markers": "spans" }));
    let lines = |labels: &[&str]| -> String {
        labels
            .iter()
            .map(|label| json!({ "text": "<e1>ada</e1> and <e2>mary</e2>", "label": label }).to_string() + "\n")
            .collect()
    };
    let examples = examples(&*task, "a.jsonl", &lines(&["A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "Other"]));
    // Whatever it is asked, it says A(e1,e2).
    let all = |windows: &[&Features]| Ok(windows.iter().map(|_| Logits::new(vec![3.0, 1.0, 0.0, 0.0], 4)).collect());
    let tokenizer = tokenizer();
    let runner = LogitsFn { tokenizer: &tokenizer, logits: &all };
    let train = || Err("none is needed".to_owned());
    let analysis = task.analyse(&examples, &train, &runner).unwrap();
    let tables: Vec<_> = analysis
        .blocks
        .iter()
        .filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None })
        .collect();
    let text = |row: &Row| row.cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
    let rows = |at: usize| tables[at].rows.iter().map(text).collect::<Vec<_>>();
    assert_eq!(rows(0)[0], ["A", "1", "0", "0", "1", "2", "50.00"]);
    assert_eq!(rows(0)[1], ["B", "1", "0", "0", "0", "1", "0.00"]);
    assert_eq!(rows(1), [["A", "2", "1", "1", "50.00"], ["B", "0", "0", "0", "0.00"]]);
    let cases = analysis
        .blocks
        .iter()
        .find_map(|block| if let Block::Cases(cases) = block { Some(cases) } else { None })
        .unwrap();
    let said: Vec<&str> = cases.iter().map(|case| case.verdict.as_str()).collect();
    assert_eq!(said, ["A(e2,e1) taken for A(e1,e2)", "B(e1,e2) taken for A(e1,e2)", "Other taken for A(e1,e2)"]);
    let items: Vec<&str> = cases[0].items.iter().map(|item| item.text.as_str()).collect();
    assert_eq!(items, ["mary — A → ada", "ada — A → mary"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_a_reader_panic_and_what_is_read_holds(
        seed in prop::sample::select(vec![
            SEMEVAL,
            "{\"text\": \"Zoë left\", \"head\": {\"start\": 0, \"end\": 3}, \"tail\": {\"start\": 4, \"end\": 8}, \"label\": \"x\"}\n",
            "{\"text\": \"Zoë left\", \"entities\": [{\"id\": 1, \"start\": 0, \"end\": 3}], \"relations\": [{\"head\": 1, \"tail\": 1, \"label\": \"x\"}]}\n",
            "text,label\n<e1>Zoë</e1> <e2>left</e2>,x\n",
        ]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4_u8), 0..6),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (index, c, how) in edits {
            let at = index.index(text.len().max(1));
            match how {
                _ if text.is_empty() => text.push(c),
                0 => text[at] = c,
                1 => text.insert(at, c),
                2 => drop(text.remove(at)),
                _ => text.swap(at, 0),
            }
        }
        let text: String = text.into_iter().collect();
        for name in ["a.txt", "a.jsonl", "a.csv"] {
            let (_folder, path) = written(name, text.as_bytes());
            match RELATIONS.read(&path, None, &Layout::default()) {
                Err(error) => prop_assert!(error.place().is_some(), "{error}"),
                Ok(read) => for example in read.examples {
                    for part in [&example.first, &example.second] {
                        prop_assert!(!example.text[part.clone()].trim().is_empty());
                    }
                }
            }
        }
    }
}
