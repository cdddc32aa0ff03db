//! A server with tasks of one's own: each field of a request goes to the tasks that declare it, under its own name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use candle_core::Tensor;
use polyhead::batch::{Features, Targets, WindowedExample};
use polyhead::data::{Layout, Read as Examples};
use polyhead::encoders::{EncoderOverrides, Precision};
use polyhead::infer::Session;
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::parameters::Weights;
use polyhead::tasks::answer::Labels;
use polyhead::tasks::{Answer, Field, HeadShape, LinearHead, Purpose, Score, Shape, TASKS, Task, TaskKind, Window};
use polyhead::text::Tokenizer;
use polyhead::{Error, Key, Place, Result};
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::{self as kernels, Index, Ops, Segments};
use polyhead_server::{Event, Exposure, Limits, Options};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc;

/// Whether one text follows from another. It answers with what it was asked, so that a mix-up shows.
struct Entails;

struct Pair(Place, [String; 2]);

impl Task for Entails {
    const KIND: &'static str = "entails";
    const ABOUT: &'static str = "whether a text follows from another";
    const FIELDS: &'static [Field] = &[
        Field::new("text", "What is given.", "Ada was born in London."),
        Field::new("text_pair", "What may follow.", "Ada was born in England."),
        Field::new("language", "The language of both.", "English").or("text_pair"),
    ];
    type Example = Pair;
    type Prediction = f64;
    type Counts = ();
    type Head = LinearHead;

    fn open(_: Value) -> Result<Self> {
        Ok(Self)
    }
    fn config(&self) -> Value {
        json!({})
    }
    fn max_length(&self) -> usize {
        64
    }
    fn read(&self, path: &Path, _: Option<usize>, _: &Layout) -> Result<Examples<Pair>> {
        Err(Error::data("has no files").at(Place::file(path)))
    }
    fn place<'a>(&self, example: &'a Pair) -> &'a Place {
        &example.0
    }
    fn distribution(&self, _: &[Pair]) -> Vec<(String, usize)> {
        Vec::new()
    }
    fn features(&self, example: &Pair, tokenizer: &Tokenizer, _: Purpose) -> Result<WindowedExample> {
        let [mut first, mut second] = [tokenizer.text(&example.1[0])?, tokenizer.text(&example.1[1])?];
        first.truncate(30);
        second.truncate(30);
        let tokens = tokenizer.pair()?.window([&first, &second]);
        let spans = vec![None; tokens.ids.len()];
        let features = Features { ids: tokens.ids, types: tokens.types, spans, ..Features::default() };
        Ok(WindowedExample { windows: vec![features], ..WindowedExample::default() })
    }
    fn decode(&self, _: &Pair, windows: &[Window]) -> f64 {
        windows.first().and_then(|window| window.logits.row(0).first().copied()).unwrap_or(0.0).into()
    }
    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<LinearHead> {
        LinearHead::open(weights, &format!("heads.{name}"), shape, 2)
    }
    fn logits(&self, head: &LinearHead, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let first = ops.select_rows(hidden, Index::FirstTokens)?;
        head.apply(ops, &first, None)
    }
    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
        Ok(token_cross_entropy(logits, &classes, count)?)
    }
    fn counts(&self) {}
    fn count(&self, _: &Pair, _: &f64, (): &mut ()) {}
    fn score(&self, (): &()) -> Score {
        Score { headline: "accuracy".into(), values: serde_json::Map::new(), types: Vec::new() }
    }
    fn request(&self, request: &Value, place: Place) -> Result<Pair> {
        let field = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        let fault = || Error::data("expected `text`, `text_pair` and `language`").at(place.clone());
        field("language").ok_or_else(fault)?;
        Ok(Pair(place.clone(), [field("text").ok_or_else(fault)?, field("text_pair").ok_or_else(fault)?]))
    }
    const SHAPE: Shape = Shape::Labels;
    fn answer(&self, example: &Pair, prediction: &f64) -> Answer {
        Answer::Labels(Labels { label: example.1.join(" | "), score: *prediction, labels: Vec::new() })
    }
    fn asked(&self, example: &Pair) -> String {
        example.1.join(" | ")
    }
}

/// Another task on one text, by another name than `text`.
fn kinds() -> &'static [TaskKind] {
    static KINDS: OnceLock<Vec<TaskKind>> = OnceLock::new();
    KINDS.get_or_init(|| TASKS.iter().copied().chain([TaskKind::of::<Entails>()]).collect())
}

/// A server of a new model with these tasks (name, kind), which ends with the test's process.
fn serve(tasks: &[(&str, &str)]) -> (SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let open = |(name, kind): &(&str, &str)| {
        let config = match *kind {
            "ner" => json!({ "labels": ["O", "B-LOC", "I-LOC"], "max_length": 32, "stride": 4 }),
            "qa" => json!({ "max_length": 64, "stride": 8, "max_question_length": 16 }),
            "classify" => json!({ "labels": ["bad", "good"], "inputs": "text", "max_length": 32, "stride": 4 }),
            "tag" => json!({ "labels": ["ADP", "NOUN", "VERB"], "max_length": 32, "stride": 4 }),
            "relation" => json!({ "labels": ["a", "b"], "marker_tokens": ["$", "@"], "max_length": 32 }),
            _ => json!({}),
        };
        let entry = kinds().iter().find(|known| known.kind == *kind).unwrap();
        NamedTask { name: (*name).into(), task: (entry.open)(config).unwrap() }
    };
    let tasks = tasks.iter().map(open).collect();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert");
    let model =
        Model::pretrained(&tiny, Provenance::default(), tasks, &EncoderOverrides::default(), Key::seed(7)).unwrap();
    let path = folder.path().join("model");
    model.save(&path).unwrap();
    let (sender, receiver) = mpsc::channel();
    let options = Options {
        model: path,
        kinds: kinds(),
        precision: Precision::F32.into(),
        host: "localhost".into(),
        port: 0,
        key: None,
        exposure: Exposure::NeedsKey,
        hosts: Vec::new(),
        origins: Vec::new(),
        log: None,
        limits: Limits::default(),
    };
    std::thread::spawn(move || {
        polyhead_server::serve(options, &mut |event| {
            if let Event::Listening(address) = event {
                sender.send(address).unwrap();
            }
        })
    });
    (receiver.recv().unwrap(), folder)
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json");
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
}

fn analyze(address: SocketAddr, body: Value) -> (u16, Value) {
    ask(address, "POST", "/analyze", &body.to_string())
}

/// What a refusal says.
fn refused(address: SocketAddr, body: Value) -> String {
    let (status, answer) = analyze(address, body);
    assert_eq!((status, &answer["code"]), (422, &json!("invalid")), "{answer}");
    answer["error"].as_str().unwrap().to_owned()
}

fn results(address: SocketAddr, body: Value) -> Value {
    let (status, answer) = analyze(address, body);
    assert_eq!(status, 200, "{answer}");
    answer["results"].clone()
}

fn names(results: &Value) -> Vec<&str> {
    results.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_task_gets_the_fields_that_it_declares_and_no_other() {
    let (address, _folder) = serve(&[("ner", "ner"), ("qa", "qa"), ("pair", "entails")]);
    let all = json!({ "text": "Ada left London.", "text_pair": "Ada left.", "question": "Who left?" });
    let answers = results(address, all.clone());
    assert_eq!(names(&answers), ["ner", "qa", "pair"]);
    assert_eq!(answers["pair"]["label"], "Ada left London. | Ada left.", "each text in its own place");

    // A field by its own name goes before the one that may stand in for it.
    let mut own = all.clone();
    own["context"] = json!("Mary stayed in Paris.");
    let with_context = results(address, own);
    assert_eq!((&with_context["ner"], &with_context["pair"]), (&answers["ner"], &answers["pair"]));
    let end = with_context["qa"]["end"].as_u64().unwrap() as usize;
    let start = with_context["qa"]["start"].as_u64().unwrap() as usize;
    let said: String = "Mary stayed in Paris.".chars().skip(start).take(end - start).collect();
    assert_eq!(with_context["qa"]["answer"], said, "the context is not the text");
    let alone = results(address, json!({ "question": "Who left?", "context": "Mary stayed in Paris." }));
    assert_eq!((names(&alone), &alone["qa"]), (vec!["qa"], &with_context["qa"]), "no text is needed for it");

    // What can't be answered with what is there is left out, or named if it was asked for.
    assert_eq!(names(&results(address, json!({ "text": "Ada." }))), ["ner"]);
    assert_eq!(
        names(&results(address, json!({ "text": "Ada.", "text_pair": "Mary.", "question": null }))),
        ["ner", "pair"]
    );
    let missing = refused(address, json!({ "text": "Ada.", "tasks": ["pair"] }));
    assert!(missing.starts_with("text_pair: expected a text, which `pair` needs"), "{missing}");
    let missing = refused(address, json!({ "question": "Who?", "tasks": ["qa"] }));
    assert!(missing.starts_with("context: expected a text (or `text` in its place), which `qa` needs"), "{missing}");
    let nothing = refused(address, json!({ "question": "Who?" }));
    for said in ["`ner` lacks `text`", "`qa` lacks `context` (or `text`)", "`pair` lacks `text`, `text_pair`"] {
        assert!(nothing.contains(said), "{nothing}");
    }
    let unknown = refused(address, json!({ "text": "Ada.", "txet": "Ada." }));
    assert!(unknown.contains("\"txet\"") && unknown.contains("text_pair"), "{unknown}");
    assert!(refused(address, json!({ "text": "Ada.", "text_pair": 1 })).starts_with("text_pair: expected a text"));
    assert!(refused(address, json!({ "text": "Ada.", "tasks": "ner" })).starts_with("tasks: "));
    assert!(refused(address, json!({ "text": "Ada.", "offset_unit": "word" })).starts_with("offset_unit: "));
    // The bound of a text holds for each.
    let long = refused(address, json!({ "text": "Ada.", "text_pair": "x ".repeat(150_000) }));
    assert!(long.starts_with("text_pair: expected at most"), "{long}");
    // And a tensor for each in the other form.
    let tensor = |name: &str, text: &str| json!({ "name": name, "shape": [1], "datatype": "BYTES", "data": [text] });
    let inputs = json!([tensor("text_pair", "b"), tensor("text", "a"), tensor("language", "c")]);
    let (status, inferred) = ask(address, "POST", "/v2/models/pair/infer", &json!({ "inputs": inputs }).to_string());
    assert_eq!((status, &inferred["outputs"][0]["data"][0]), (200, &json!("a | b")), "{inferred}");
}

#[test]
fn labels_of_a_text_stand_in_an_array_as_clients_of_hugging_face_read_them() {
    let (address, _folder) = serve(&[("mood", "classify"), ("qa", "qa")]);
    let post = |path: &str, body: Value| ask(address, "POST", path, &body.to_string());
    let (status, one) = post("/", json!({ "inputs": "a stirring film" }));
    assert_eq!(status, 200, "{one}");
    let labels = one[0].as_array().unwrap();
    assert_eq!((one.as_array().unwrap().len(), labels.len()), (1, 2), "{one}");
    assert!(labels[0]["score"].as_f64() >= labels[1]["score"].as_f64() && labels[0]["label"].is_string(), "{one}");
    let (_, two) = post("/tasks/mood", json!({ "inputs": ["a stirring film", "dull"], "parameters": { "top_k": 1 } }));
    assert_eq!((&two[0], two.as_array().unwrap().len()), (&json!([labels[0]]), 2), "{two}");
    // A question is answered as it was.
    let (_, answer) = post("/", json!({ "inputs": { "question": "Who left?", "context": "Ada left." } }));
    assert!(answer["answer"].is_string(), "{answer}");
    let (status, refused) = post("/", json!({ "inputs": "a", "parameters": { "function_to_apply": "tanh" } }));
    assert_eq!(status, 422, "{refused}");
}

/// The head reads two parts of a text, which go through the queue with it.
#[test]
fn parts_of_a_text_are_those_that_were_asked_for_and_its_text_comes_back_without_marks() {
    let (address, folder) = serve(&[("ner", "ner"), ("rel", "relation")]);
    let session = Session::open_in(folder.path().join("model"), kinds(), Precision::F32).unwrap();
    let mut scores = Vec::new();
    for text in [
        "<e1>Ada</e1> left <e2>London</e2>.",
        "<e1>Ada</e1> <e2>left</e2> London.",
        "<e2>Ada</e2> left <e1>London</e1>.",
    ] {
        let answer = results(address, json!({ "text": "Mary.", "marked_text": text }))["rel"].clone();
        let want = session.ask("rel", &json!({ "marked_text": text })).unwrap();
        let score = |answer: &Value| answer["edges"][0]["score"].as_f64().unwrap();
        assert!((score(&answer) - score(&want)).abs() < 1e-5, "{answer} for {want}");
        let (found, want) = (&answer["edges"][0], &want["edges"][0]);
        assert_eq!((&found["from"], &found["to"], &found["type"]), (&want["from"], &want["to"], &want["type"]));
        assert_eq!(answer["text"], "Ada left London.", "nobody has sent it so");
        scores.push(score(&answer));
    }
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    assert_eq!(scores.len(), 3, "each pair has a score of its own");
    assert!(refused(address, json!({ "marked_text": "Ada left." })).contains("found no `<e1>` in `Ada left.`"));
}

/// The parts that one task finds are those that another relates: every pair of them, as if it had been asked for alone.
#[test]
fn relations_of_a_text_without_marks_are_those_between_the_parts_that_another_task_finds() {
    let (address, folder) = serve(&[("rel", "relation"), ("ner", "ner"), ("pos", "tag")]);
    let session = Session::open_in(folder.path().join("model"), kinds(), Precision::F32).unwrap();
    let text = "Ada left London for Zoë 👩🏽‍🚀 and the north with Mary, and Bob came.";
    for unit in ["char", "byte", "utf16"] {
        let found = results(address, json!({ "text": text, "offset_unit": unit }));
        assert_eq!(names(&found), ["rel", "ner", "pos"], "in the order of the model's tasks");
        let entities = found["ner"]["entities"].as_array().unwrap();
        assert!(entities.len() > 2, "an untrained model finds something: {found}");
        let edges = found["rel"]["edges"].as_array().unwrap();
        assert_eq!(edges.len(), entities.len() * (entities.len() - 1) / 2);
        let part = |entity: &Value| json!({ "start": entity["start"], "end": entity["end"] });
        let mut at = edges.iter();
        for (first, head) in entities.iter().enumerate() {
            for tail in &entities[first + 1..] {
                let asked = json!({ "text": text, "head": part(head), "tail": part(tail), "offset_unit": unit });
                let want = session.ask("rel", &asked).unwrap();
                let (found, want) = (at.next().unwrap(), &want["edges"][0]);
                assert_eq!((&found["from"], &found["to"]), (&want["from"], &want["to"]));
                assert!((found["score"].as_f64().unwrap() - want["score"].as_f64().unwrap()).abs() < 1e-5);
            }
        }
    }
    let chosen = results(address, json!({ "text": text, "tasks": ["ner", "rel"] }));
    assert_eq!(names(&chosen), ["rel", "ner"]);
    assert_eq!(names(&results(address, json!({ "text": text, "tasks": ["ner"] }))), ["ner"]);
    let alone = refused(address, json!({ "text": text, "tasks": ["rel"] }));
    assert!(alone.contains("marked_text: expected a text, which `rel` needs"), "{alone}");
    let marked = json!({ "text": text, "marked_text": "<e1>Ada</e1> left <e2>London</e2>." });
    assert_eq!(results(address, marked)["rel"]["edges"].as_array().unwrap().len(), 1, "parts that are given are these");
    let info = ask(address, "GET", "/info", "").1;
    assert_eq!((&info["tasks"][0]["parts_from"], &info["tasks"][1]["parts_from"]), (&json!("ner"), &Value::Null));
    let none = results(address, json!({ "text": "?" }));
    let entities = none["ner"]["entities"].as_array().unwrap().len();
    assert!(entities > 1 || none["rel"]["edges"] == json!([]), "{none}");
    // Of too many pairs, and of those that no window holds, it is said how many are left out.
    let found = results(address, json!({ "text": text.repeat(8) }));
    let entities = found["ner"]["entities"].as_array().unwrap().len();
    let asked = found["rel"]["edges"].as_array().unwrap().len();
    let left_out = found["rel"]["pairs_left_out"].as_u64().unwrap() as usize;
    assert!(asked > 0 && asked <= 100 && left_out > 0, "{asked} of {entities}, {left_out} left out");
    assert_eq!(asked + left_out, entities * (entities - 1) / 2);
}

#[test]
fn the_description_has_the_fields_of_the_tasks_that_there_are() {
    let (address, _folder) = serve(&[("reader", "qa"), ("pair", "entails")]);
    let described = ask(address, "GET", "/openapi.json", "").1;
    let form = &described["components"]["schemas"]["AnalyzeRequest"];
    let fields: Vec<&String> = form["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["question", "context", "text", "text_pair", "language", "tasks", "offset_unit"]);
    assert_eq!(form["properties"]["tasks"]["items"]["enum"], json!(["reader", "pair"]));
    assert_eq!(form["required"], json!([]), "no task needs what another needs");
    let about = form["properties"]["text"]["description"].as_str().unwrap();
    assert!(about.contains("Of `pair`") && about.contains("Stands in for `context`"), "{about}");
    let info = ask(address, "GET", "/info", "").1;
    assert_eq!((&info["tasks"][0]["shape"], &info["tasks"][1]["shape"]), (&json!("candidates"), &json!("labels")));
    let answers = described["components"]["schemas"]["AnalyzeResults"]["properties"].clone();
    assert_eq!(answers["pair"]["$ref"], "#/components/schemas/LabelsAnswer", "{answers}");
    assert_eq!(info["tasks"][0]["defaults"], json!({ "context": "text" }));

    let (alone, _folder) = serve(&[("pair", "entails")]);
    let form = ask(alone, "GET", "/openapi.json", "").1["components"]["schemas"]["AnalyzeRequest"].clone();
    assert_eq!(form["required"], json!(["text", "text_pair"]));
    let unknown = refused(alone, json!({ "text": "a", "text_pair": "b", "question": "c" }));
    assert!(unknown.contains("\"question\""), "what no task of the model has is refused: {unknown}");
}

/// Every reference, and every place where a schema is expected, of a description.
fn walk<'a>(value: &'a Value, place: &str, each: &mut dyn FnMut(&str, &'a Value)) {
    each(place, value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, each)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| walk(field, name, each)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_description_leads_somewhere_and_no_schema_takes_anything() {
    for tasks in [
        &[("ner", "ner"), ("qa", "qa"), ("pair", "entails"), ("mood", "classify"), ("pos", "tag")][..],
        &[("ner", "ner")],
        &[("a", "qa"), ("b", "qa")],
    ] {
        let (address, _folder) = serve(tasks);
        let described = ask(address, "GET", "/openapi.json", "").1;
        let (mut references, mut names) = (0, Vec::new());
        walk(&described, "", &mut |place, value| {
            match (place, value) {
                ("$ref", Value::String(reference)) => {
                    let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of it"));
                    assert!(pointer.starts_with("/components/schemas/"), "{reference}");
                    assert!(described.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
                    references += 1;
                }
                ("schema" | "items" | "anyOf" | "oneOf", found) => assert!(!found.is_boolean(), "{place} is {found}"),
                ("properties" | "schemas", Value::Object(all)) => {
                    all.iter().for_each(|(name, found)| assert!(found.is_object(), "{name} is {found}"));
                }
                ("operationId", Value::String(name)) => names.push(name.clone()),
                _ => {}
            }
            assert!(!["$defs", "$schema", "definitions"].contains(&place), "{place}");
        });
        assert!(references > 30, "{references} references");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "two operations have one name");
        let schemas = described["components"]["schemas"].as_object().unwrap();
        assert!(schemas.keys().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric())), "{:?}", schemas.keys());
    }
}
