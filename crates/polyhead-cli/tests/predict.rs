//! `polyhead predict`: single texts and streams.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use support::{Ran, command, file, model, path, polyhead};

#[test]
fn a_text_gives_entities_with_places_that_are_slices_of_it() {
    let folder = model();
    let text = "Zoë lived in London, né 👩‍🚀 Paris.";
    let answer = polyhead(&["predict", &path(&folder), "--task", "ner", text, "--json"]).json();
    assert_eq!(answer["text"], text);
    for entity in answer["entities"].as_array().unwrap() {
        let [start, end] = ["start", "end"].map(|name| entity[name].as_u64().unwrap() as usize);
        let slice: String = text.chars().skip(start).take(end - start).collect();
        assert_eq!(entity["text"], slice);
        assert!(["PER", "LOC"].contains(&entity["type"].as_str().unwrap()));
        assert!((0.0..=1.0).contains(&entity["score"].as_f64().unwrap()));
    }
    let shown = polyhead(&["predict", &path(&folder), "--task", "ner", text]).success();
    match answer["entities"].as_array().unwrap().len() {
        0 => assert_eq!(shown, "no entity\n"),
        entities => assert_eq!(shown.lines().count(), entities + 1, "{shown}"),
    }
}

#[test]
fn a_question_gives_an_answer_with_alternatives() {
    let folder = model();
    let context = "Ada lived in London. She left.";
    let file = file(&folder, "context.txt", context);
    let ask = |more: &[&str]| {
        let call = ["predict", &path(&folder), "--task", "qa", "--question", "Who?"];
        polyhead(&[&call, more].concat())
    };
    let answer = ask(&["--context", context, "--json"]).json();
    assert!(context.contains(answer["answer"].as_str().unwrap()));
    assert_eq!(answer["alternatives"].as_array().unwrap().len(), 2);
    assert_eq!(ask(&["--context-file", &file, "--json"]).json(), answer, "a file is the same as its text");
    let shown = ask(&["--context", context]).success();
    assert!(shown.contains("best") && shown.lines().filter(|line| line.starts_with("or")).count() == 2, "{shown}");
    ask(&["--context-file", "nowhere.txt"]).failure(66);
}

#[test]
fn flags_that_do_not_belong_together_are_refused() {
    let folder = model();
    let ask = |more: &[&str]| polyhead(&[&["predict", &path(&folder)], more].concat());
    for call in [
        &["text"][..],
        &["--task", "ner"],
        &["--task", "ner", "--question", "Who?", "--context", "Ada."],
        &["--task", "qa", "text"],
        &["--task", "qa", "--question", "Who?"],
        &["--task", "qa", "--context", "Ada."],
        &["--task", "qa", "--question", "Who?", "--context", "Ada.", "--context-file", "x"],
        &["--task", "ner", "text", "--input", "-"],
    ] {
        ask(call).failure(2);
    }
}

fn piped(arguments: &[&str], input: &str) -> Ran {
    let mut child =
        command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes()); // a child that has failed reads no more
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

#[test]
fn a_text_may_come_as_standard_input() {
    let folder = model();
    let path = path(&folder);
    let ner = ["predict", &path, "--task", "ner"];
    let text = "Ada Lovelace was born in London.";
    let asked = polyhead(&[&ner[..], &[text]].concat()).success();
    let piped_text = piped(&ner, &format!("{text}\n")).success();
    assert_eq!(piped_text, format!("{text}\n{asked}"), "the text, then what a text of the command line gets");
    // A text is a line; blank ones are none. What a text begins with changes nothing.
    let several = "Ada left.\r\n\n{Paris} \"is\"\n[1]";
    let answers = lines(&piped(&[&ner[..], &["--json"]].concat(), several).success());
    let texts: Vec<&str> = answers.iter().map(|answer| answer["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["Ada left.", "{Paris} \"is\"", "[1]"]);
    let said = piped(&ner, "Ada\n{\"text\": \"Ada\"}\n").failure(65);
    assert!(
        said.contains("<stdin>:2: expected plain text, found a request in JSON") && said.contains("--input -"),
        "{said}"
    );
    assert!(piped(&ner, "").failure(2).contains("expects a text"));
    // The context of a question.
    let qa = ["predict", &path, "--task", "qa", "--question", "Who left?", "--json"];
    let context = "Ada left.\nShe went to London.";
    let asked = polyhead(&[&qa[..], &["--context", context]].concat()).json();
    assert_eq!(piped(&qa, context).json(), asked);
    assert!(piped(&qa, " \n").failure(2).contains("the context as standard input"));
}

#[test]
fn columns_have_the_words_with_their_tags_and_are_read_again() {
    let folder = model();
    let path = path(&folder);
    let texts = "Ada Lovelace lived in London.\nZoë left.\n";
    let call = ["predict", &path, "--task", "ner", "--format", "columns"];
    let columns = piped(&call, texts).success();
    let answers = lines(&piped(&["predict", &path, "--task", "ner", "--json"], texts).success());
    let sentences: Vec<Vec<(&str, &str)>> = columns
        .trim_end()
        .split("\n\n")
        .map(|sentence| sentence.lines().map(|line| line.split_once(' ').unwrap()).collect())
        .collect();
    assert_eq!(
        sentences[0].iter().map(|(word, _)| *word).collect::<Vec<_>>(),
        ["Ada", "Lovelace", "lived", "in", "London", "."]
    );
    for (sentence, answer) in sentences.iter().zip(&answers) {
        let tags: Vec<&str> = sentence.iter().map(|(_, tag)| *tag).collect();
        let entities = polyhead::metrics::span_f1::entities(&tags, polyhead::metrics::span_f1::Scheme::Lenient);
        let kinds: Vec<&str> =
            answer["entities"].as_array().unwrap().iter().map(|entity| entity["type"].as_str().unwrap()).collect();
        assert_eq!(entities.iter().map(|entity| entity.kind.as_str()).collect::<Vec<_>>(), kinds);
    }
    let again = file(&folder, "again.conll", &columns);
    let report = polyhead(&["eval", &path, "--task", "ner", "--data", &again, "--json"]).json();
    assert_eq!((&report["examples"], &report["score"]["values"]["token_accuracy"]), (&json!(2), &json!(100.0)));
    // A word with a space in it, and one that is none.
    let words = "{\"words\": [\"New York\", \" \", \"x\"]}";
    let shown = piped(&[&call[..], &["--input", "-"]].concat(), words).success();
    assert!(shown.starts_with("New York\t") && shown.contains("\n_"), "{shown}");
    let qa = piped(
        &["predict", &path, "--task", "qa", "--input", "-", "--format", "columns"],
        "{\"question\":\"Who?\",\"context\":\"Ada.\"}",
    );
    assert!(qa.failure(2).contains("expected a task that gives each word a tag"));
}

#[test]
fn tsv_has_a_row_for_each_answer_with_the_id_of_its_request() {
    let folder = model();
    let path = path(&folder);
    let call = ["predict", &path, "--task", "ner", "--input", "-"];
    let input =
        "{\"id\": \"a\", \"text\": \"Ada\\tleft London and\\nParis\"}\n\n{\"text\": \"Zoë lived in London.\"}\n";
    let answers = lines(&piped(&call, input).success());
    let shown = piped(&[&call[..], &["--format", "tsv"]].concat(), input).success();
    let mut rows = shown.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap(), ["id", "type", "text", "start", "end", "score"]);
    let mut expected = Vec::new();
    for (answer, id) in answers.iter().zip(["a", "3"]) {
        for entity in answer["entities"].as_array().unwrap() {
            let text = entity["text"].as_str().unwrap().replace('\t', "\\t").replace('\n', "\\n");
            let kind = entity["type"].as_str().unwrap().to_owned();
            let numbers = ["start", "end", "score"].map(|name| entity[name].to_string());
            expected.push([id.to_owned(), kind, text].into_iter().chain(numbers).collect::<Vec<_>>());
        }
    }
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    let question = "{\"id\": 7, \"question\": \"Who?\", \"context\": \"Ada left.\"}";
    let shown = piped(&["predict", &path, "--task", "qa", "--input", "-", "--format", "tsv"], question).success();
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["id", "answer", "start", "end", "score"]);
    assert_eq!((rows.len(), rows[1].len(), rows[1][0]), (2, 5, "7"));
    polyhead(&["predict", &path, "--task", "ner", "Ada", "--format", "tsv", "--json"]).failure_of_call();
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_stream_is_answered_in_order_with_its_ids() {
    let folder = model();
    let names = ["Ada", "London", "", "Paris and London and Ada", "x"];
    let input: String = (0..500).map(|at| format!("{}\n", json!({"id": at, "text": names[at % 5]}))).collect();
    let from_file = file(&folder, "in.jsonl", &input);
    let answers = lines(&polyhead(&["predict", &path(&folder), "--task", "ner", "--input", &from_file]).success());
    assert_eq!(answers.len(), 500);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["id"], &answer["text"]), (&json!(at), &json!(names[at % 5])));
    }
    let from_stdin = piped(&["predict", &path(&folder), "--task", "ner", "--input", "-", "--json"], &input);
    assert_eq!(lines(&from_stdin.success()), answers);
    let words = piped(&["predict", &path(&folder), "--task", "ner", "--input", "-"], "{\"words\":[\"Ada\",\".\"]}\n");
    assert_eq!(lines(&words.success())[0]["text"], "Ada .");
    let question = "{\"question\":\"Who?\",\"context\":\"Ada.\"}";
    assert_eq!(
        lines(&piped(&["predict", &path(&folder), "--task", "qa", "--input", "-"], question).success()).len(),
        1
    );
    assert_eq!(piped(&["predict", &path(&folder), "--task", "qa", "--input", "-"], "").success(), "");
}

#[test]
fn an_answer_comes_before_the_next_question_is_asked() {
    let folder = model();
    let mut child = command(&["predict", &path(&folder), "--task", "ner", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for text in ["one", "two", "three"] {
        writeln!(stdin, "{}", json!({ "text": text })).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["text"], text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_malformed_line_is_an_error_after_all_earlier_answers() {
    let folder = model();
    for (bad, place) in [
        ("{\"text\": \"b\"", "<stdin>:3:"),
        ("[1]", "<stdin>:3"),
        ("{\"text\": 7}", "<stdin>:3"),
        ("{\"txt\": \"b\"}", "<stdin>:3"),
        ("{\"words\": [1]}", "<stdin>:3"),
    ] {
        let input = format!("{{\"text\": \"a\"}}\n\n{bad}\n{{\"text\": \"c\"}}\n");
        let ran = piped(&["predict", &path(&folder), "--task", "ner", "--input", "-"], &input);
        assert_eq!(lines(&ran.stdout).len(), 1, "{bad}");
        assert!(ran.failure(65).contains(place), "{bad}");
    }
    let latin = file(&folder, "latin.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xe9\"}\n");
    assert!(polyhead(&["predict", &path(&folder), "--task", "ner", "--input", &latin]).failure(65).contains(":2"));
    polyhead(&["predict", &path(&folder), "--task", "ner", "--input", "nowhere.jsonl"]).failure(66);
}

#[test]
fn a_reader_that_goes_away_ends_the_stream_quietly() {
    let folder = model();
    let mut child = command(&["predict", &path(&folder), "--task", "ner", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    writeln!(stdin, "{}", json!({ "text": "a" })).unwrap();
    answers.read_line(&mut line).unwrap();
    drop(answers);
    // The next answers find nobody. Writing fails once the child is gone.
    while writeln!(stdin, "{}", json!({ "text": "b" })).is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
