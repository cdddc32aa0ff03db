//! What the module answers, with the network run natively in ONNX Runtime's place: as a session answers, window for window and byte
//! for byte of the calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use polyhead::Key;
use polyhead::batch::Features;
use polyhead::encoders::{EncoderKind, EncoderOverrides, Precision};
use polyhead::infer::Session;
use polyhead::model::{Model as Network, NamedTask, Provenance};
use polyhead::onnx::HeadNames;
use polyhead::tasks::{Logits, TASKS};
use polyhead_web::call::Host;
use polyhead_web::model::{Model, Output, Run, Step};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Tasks of every kind, with heads at random.
fn tasks() -> Vec<NamedTask> {
    let labels = json!(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
    [
        ("names", "ner", json!({ "labels": labels, "max_length": 32, "stride": 4 })),
        ("answers", "qa", json!({ "max_length": 64, "stride": 8, "max_question_length": 16 })),
        ("mood", "classify", json!({ "labels": ["bad", "good", "neither"], "max_length": 32, "stride": 8 })),
        ("words", "tag", json!({ "labels": ["NOUN", "VERB", "X"], "max_length": 32, "stride": 4 })),
        (
            "relations",
            "relation",
            json!({ "labels": ["Other", "Lives-In(e1,e2)", "Lives-In(e2,e1)"], "max_length": 64, "marker_tokens": ["$", "@"] }),
        ),
        ("tree", "parse", json!({ "labels": ["root", "nsubj", "obj"], "max_length": 64 })),
    ]
    .into_iter()
    .map(|(name, kind, config)| {
        let kind = TASKS.iter().find(|known| known.kind == kind).unwrap();
        NamedTask { name: name.into(), task: (kind.open)(config).unwrap_or_else(|error| panic!("{name}: {error}")) }
    })
    .collect()
}

fn model_folder() -> (TempDir, PathBuf) {
    let encoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert");
    let overrides = EncoderOverrides::default();
    let model = Network::pretrained(&encoder, Provenance::default(), tasks(), &overrides, Key::seed(7)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    model.save(&path).unwrap();
    (folder, path)
}

fn session(path: &Path) -> Session {
    Session::open_in(path, TASKS, Precision::F32).unwrap()
}

fn opened(path: &Path) -> Model {
    let read = |name: &str| std::fs::read(path.join(name)).unwrap();
    Model::from_bytes(&read("config.json"), &read("tokenizer.json")).unwrap()
}

/// What the ONNX file gives back of a run: each output with its dimensions.
fn outputs_of(run: &Run, network: &Network) -> Vec<Output> {
    let encoder = EncoderKind::of(Path::new("config.json"), network.config()).unwrap();
    let mut outputs = Vec::new();
    for task in &network.tasks {
        let names = HeadNames::of(task, encoder);
        if !run.outputs.contains(&names.outputs[0]) {
            continue;
        }
        let items = |name: &String| run.items.get(name).cloned().unwrap_or_default();
        let (ranges, pairs) = (items(&names.ranges), items(&names.pairs));
        let window = Features { ids: run.ids.clone(), types: run.types.clone(), ranges, pairs, ..Features::default() };
        let logits = network.logits(task, &[&window]).unwrap();
        let rows: Vec<&[f32]> = logits[0].rows().collect();
        let of = |name: &String, dims: Vec<usize>, values: Vec<f32>| (name.clone(), Output { dims, values });
        match names.outputs.as_slice() {
            [one] => outputs.push(of(one, vec![1, rows.len(), rows[0].len()], rows.concat())),
            columns => outputs.extend(
                columns
                    .iter()
                    .enumerate()
                    .map(|(column, name)| of(name, vec![1, rows.len()], rows.iter().map(|row| row[column]).collect())),
            ),
        }
    }
    // In the order that was asked for.
    let of =
        |name: &String| outputs.iter().find(|(known, _)| known == name).expect("an output that is asked for").1.clone();
    run.outputs.iter().map(of).collect()
}

/// Answers a request to its end; how many runs each round had.
fn answered(model: &mut Model, network: &Network, request: Value) -> (Value, Vec<usize>) {
    let mut step = model.ask(request).unwrap();
    let mut rounds = Vec::new();
    loop {
        match step {
            Step::Run { runs } => {
                rounds.push(runs.len());
                step = model.answer(runs.iter().map(|run| outputs_of(run, network)).collect()).unwrap();
            }
            Step::Done { .. } => return (json!(step), rounds),
        }
    }
}

/// The same but for scores, which may differ in their last places.
fn same(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{at}");
            a.iter().for_each(|(key, value)| same(value, &b[key], &format!("{at}.{key}")));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}: {found} for {expected}");
            a.iter().zip(b).enumerate().for_each(|(index, (a, b))| same(a, b, &format!("{at}[{index}]")));
        }
        (Value::Number(a), Value::Number(b)) if at.ends_with(".score") => {
            assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5, "{at}: {a} for {b}");
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

const LONG: &str = "Ada lived in London. Maria 👩🏽‍🚀 came from Zu\u{308}rich to 東京 and left. ";

#[test]
fn every_task_answers_as_a_session_does_in_all_its_windows() {
    let (_folder, path) = model_folder();
    let (session, mut model) = (session(&path), opened(&path));
    let question = "Who lived in London?";
    for text in [LONG.trim().to_owned(), LONG.repeat(6), "a".into(), "🗼".into(), "東京".repeat(60)] {
        for unit in ["char", "utf16", "byte"] {
            for (task, request) in [
                ("names", json!({ "text": text })),
                ("answers", json!({ "question": question, "context": text })),
                ("mood", json!({ "text": text })),
                ("words", json!({ "text": text })),
                ("tree", json!({ "text": text })),
            ] {
                let mut own = request.clone();
                own["offset_unit"] = json!(unit);
                let Ok(mut expected) = session.ask(task, &own) else { continue };
                let mut asked = own.clone();
                asked["tasks"] = json!([task]);
                let (found, rounds) = answered(&mut model, &session.model, asked);
                // The text that was sent does not come back.
                expected.as_object_mut().unwrap().shift_remove("text");
                same(&found["results"][task], &expected, task);
                if text.len() > 300 && task != "tree" {
                    assert!(rounds[0] > 1, "{task}: a long text has several windows: {rounds:?}");
                }
            }
        }
    }
}

#[test]
fn tasks_that_read_the_same_window_share_its_run_and_relations_come_in_a_second_round() {
    let (_folder, path) = model_folder();
    let (session, mut model) = (session(&path), opened(&path));
    let text = "Ada met Charles in London and Maria in Paris.";
    let (found, rounds) = answered(&mut model, &session.model, json!({ "text": text, "tasks": ["names", "mood"] }));
    assert_eq!(rounds, [1], "equal windows are one run");
    assert_eq!(found["results"].as_object().unwrap().keys().collect::<Vec<_>>(), ["names", "mood"]);
    let (found, rounds) =
        answered(&mut model, &session.model, json!({ "text": text, "tasks": ["names", "relations"] }));
    let entities = found["results"]["names"]["entities"].as_array().unwrap().clone();
    assert!(entities.len() > 1, "the random head finds several: {entities:?}");
    assert_eq!(rounds.len(), 2, "{found}");
    let edges = found["results"]["relations"]["edges"].as_array().unwrap();
    for edge in edges {
        assert!(entities.iter().any(|entity| entity["start"] == edge["from"]["start"]), "{edge}");
    }
    // Where nothing is found, there is no pair, and no second round.
    let nothing = json!({ "text": "", "tasks": ["names", "relations"] });
    if let Ok(Step::Run { runs }) = model.ask(nothing) {
        let step = model.answer(runs.iter().map(|run| outputs_of(run, &session.model)).collect()).unwrap();
        assert!(matches!(step, Step::Done { .. }), "{}", json!(step));
    }
}

#[test]
fn a_call_is_a_line_and_what_it_announces() {
    let (_folder, path) = model_folder();
    let network = session(&path).model;
    let mut host = Host::default();
    let call = |host: &mut Host, line: Value, parts: &[&[u8]]| -> Value {
        let bytes = [format!("{line}\n").as_bytes(), &parts.concat()].concat();
        serde_json::from_slice(&host.call(&bytes)).unwrap()
    };
    let early = call(&mut host, json!({ "call": "ask", "request": { "text": "a" } }), &[]);
    assert_eq!(early["error"], "expected a model that was opened, found none");
    let [config, tokenizer] = ["config.json", "tokenizer.json"].map(|name| std::fs::read(path.join(name)).unwrap());
    let line = json!({ "call": "open", "config": config.len(), "tokenizer": tokenizer.len() });
    let about = call(&mut host, line, &[&config, &tokenizer]);
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"), "{about}");
    assert_eq!((&about["tasks"][0]["name"], &about["tasks"][0]["shape"]), (&json!("names"), &json!("spans")));

    let request = json!({ "text": "Ada lived in London.", "tasks": ["names"] });
    let asked = call(&mut host, json!({ "call": "ask", "request": request }), &[]);
    let run = &asked["runs"][0];
    let ids: Vec<u32> = serde_json::from_value(run["ids"].clone()).unwrap();
    let types: Vec<u32> = serde_json::from_value(run["types"].clone()).unwrap();
    let window = Features { ids, types, ..Features::default() };
    let logits: Logits = network.logits(&network.tasks[0], &[&window]).unwrap().remove(0);
    let numbers: Vec<u8> = logits.rows().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let dims = [1, logits.rows().count(), 5];
    let answer = json!({ "call": "answer", "outputs": [[{ "dims": dims }]] });
    let refused = call(&mut host, answer.clone(), &[&numbers[4..]]);
    assert!(refused["error"].as_str().unwrap().starts_with("expected the logits of"), "{refused}");
    let done = call(&mut host, answer.clone(), &[&numbers]);
    let mut expected = session(&path).ask("names", &json!({ "text": "Ada lived in London." })).unwrap();
    expected.as_object_mut().unwrap().shift_remove("text");
    same(&done["results"]["names"], &expected, "names");
    let again = call(&mut host, answer, &[&numbers]);
    assert_eq!(again["error"], "expected a request before its logits");
}

#[test]
fn what_is_wrong_is_said_and_nothing_panics() {
    let (_folder, path) = model_folder();
    let mut host = Host::default();
    for bytes in [
        &b""[..],
        b"\n",
        b"{}",
        b"\xff\xfe\n",
        b"{\"call\":\"open\",\"config\":9,\"tokenizer\":18446744073709551615}\nab",
    ] {
        let answer: Value = serde_json::from_slice(&host.call(bytes)).unwrap();
        assert!(answer["error"].is_string() && answer["code"] == "invalid", "{answer}");
    }
    let [config, tokenizer] = ["config.json", "tokenizer.json"].map(|name| std::fs::read(path.join(name)).unwrap());
    let failure =
        |config: &[u8], tokenizer: &[u8]| Model::from_bytes(config, tokenizer).err().expect("a failure").to_string();
    assert!(failure(b"{", &tokenizer).starts_with("config.json:1:"));
    assert!(failure(&config, b"{}").starts_with("tokenizer.json: not a usable tokenizer"));
    let bare =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/config.json")).unwrap();
    assert!(failure(&bare, &tokenizer).contains("expected the field `polyhead`"));
    let mut model = opened(&path);
    for (request, said) in [
        (json!([]), "expected an object, found an array"),
        (json!({ "text": "a", "tasks": ["none"] }), "expected one of this model's tasks"),
        (json!({ "txet": "a" }), "unknown field \"txet\""),
    ] {
        let error = model.ask(request).expect_err("a failure").to_string();
        assert!(error.starts_with(said), "{error}");
    }
    assert!(matches!(model.ask(json!({ "text": "Ada", "tasks": ["names"] })).unwrap(), Step::Run { .. }));
    assert!(model.answer(vec![vec![Output { dims: vec![2, 3], values: vec![0.0; 6] }]]).is_err());
}
