//! The inference APIs of Hugging Face against transformers itself (`fixtures/pipelines.py`), and what they promise
//! beyond it: long texts, parameters, refusals.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{fixture, load};
use polyhead::batch::Features;
use polyhead::encoders::{ENCODERS, EncoderKind};
use polyhead::model::Model;
use polyhead::tasks::{AnyTask, Logits, Query, TASKS};
use polyhead::text::Tokenizer;
use polyhead::{ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::fs;

const STRATEGIES: [&str; 5] = ["none", "simple", "first", "average", "max"];

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { unreachable!("{value}") };
    fields
}

/// The encoders whose answers were recorded: what a pipeline makes of logits depends on the kind of the tokenizer alone.
fn each_recorded() -> impl Iterator<Item = &'static EncoderKind> {
    ENCODERS.iter().filter(|kind| ["tiny-bert", "tiny-roberta"].contains(&kind.fixture))
}

fn recorded(kind: &EncoderKind, name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(kind.fixture).join(name)).unwrap()).unwrap()
}

/// A classifier that transformers saved, as one that predicts something else: a number is the first of its outputs.
fn imported_problem(kind: &EncoderKind, problem: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture(kind.fixture).join("single-task/classify");
    let mut config: Value = serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    config["problem_type"] = json!(problem);
    let mut tensors = common::read(&source.join("model.safetensors"));
    if problem == "regression" {
        config["id2label"] = json!({ "0": "LABEL_0" });
        for (name, tensor) in &mut tensors {
            let output = kind.sequence_head.unwrap().output;
            if name.strip_prefix(output).is_some_and(|part| [".weight", ".bias"].contains(&part)) {
                *tensor = tensor.narrow(0, 0, 1).unwrap().contiguous().unwrap();
            }
        }
    }
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    common::write(&folder.path().join("model.safetensors"), &tensors);
    fs::copy(fixture(kind.fixture).join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    load(folder.path())
}

/// A model of an encoder that transformers saved, with its outputs called by these labels.
fn imported(kind: &EncoderKind, task: &str, labels: Option<&Value>) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture(kind.fixture).join("single-task").join(task);
    let mut config: Value = serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    if let Some(labels) = labels {
        let named = labels.as_array().unwrap().iter().enumerate();
        config["id2label"] = named.map(|(id, label)| (id.to_string(), label.clone())).collect::<Map<_, _>>().into();
    }
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(source.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    fs::copy(fixture(kind.fixture).join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    load(folder.path())
}

/// What a model answers.
fn ask(model: &Model, input: &Value, parameters: Value) -> Value {
    let task = &model.tasks[0];
    let query = task.task.pipeline_query(input, &object(parameters), &model.tokenizer).unwrap();
    let windows: Vec<&Features> = query.windows.iter().collect();
    let logits = model.logits(task, &windows).unwrap();
    query.answer(logits)
}

/// The end of a slice that transformers reports, with the combining marks that its tokenizer dropped and we keep. A byte-level
/// one drops none.
fn with_marks(model: &Model, text: &[char], end: usize) -> usize {
    let dropped = |c: &&char| model.tokenizer.model() == "WordPiece" && ('\u{300}'..='\u{36f}').contains(*c);
    end + text[end..].iter().take_while(dropped).count()
}

/// The start of a slice that transformers reports, behind the white space that its first sub-word may be: of a byte-level
/// tokenizer it leaves out a space itself, and no other white space.
fn without_space(text: &[char], start: usize, end: usize) -> usize {
    start + usize::from(text[start..end].first().is_some_and(|c| c.is_whitespace() && *c != ' '))
}

fn near(found: &Value, want: &Value, of: &str) {
    let (found, want) = (found.as_f64().unwrap(), want.as_f64().unwrap());
    assert!((found - want).abs() < 1e-5, "{of}: a score of {found}, expected {want}");
}

#[test]
fn token_classification_finds_what_transformers_finds_with_every_strategy() {
    for kind in each_recorded() {
        let recorded = recorded(kind, "token_classification.json");
        let models: Vec<Model> =
            recorded["labels"].as_array().unwrap().iter().map(|labels| imported(kind, "ner", Some(labels))).collect();
        let (mut compared, mut kept_marks) = (0, 0);
        for case in recorded["cases"].as_array().unwrap() {
            let model = &models[case["labels"].as_u64().unwrap() as usize];
            let chars: Vec<char> = case["text"].as_str().unwrap().chars().collect();
            for strategy in STRATEGIES {
                let parameters = json!({ "aggregation_strategy": strategy, "ignore_labels": case["ignored"] });
                let found = ask(model, &case["text"], parameters);
                let (found, want) = (found.as_array().unwrap(), case[strategy].as_array().unwrap());
                let of = format!("{}: {strategy} of {}", kind.name.model_type, case["text"]);
                assert_eq!(found.len(), want.len(), "{of}");
                for (found, want) in found.iter().zip(want) {
                    let (names, score): (&[&str], usize) =
                        if strategy == "none" { (&["entity", "index"], 2) } else { (&["entity_group"], 1) };
                    for (name, want) in names.iter().zip(want.as_array().unwrap()) {
                        assert_eq!(&found[*name], want, "{of}");
                    }
                    near(&found["score"], &want[score], &of);
                    let at = |index: usize| want[index].as_u64().unwrap() as usize;
                    let start = without_space(&chars, at(score + 1), at(score + 2));
                    let end = with_marks(model, &chars, at(score + 2));
                    kept_marks += usize::from(end != at(score + 2));
                    assert_eq!((&found["start"], &found["end"]), (&json!(start), &json!(end)), "{of}");
                    assert_eq!(found["word"], json!(chars[start..end].iter().collect::<String>()), "{of}");
                    assert_eq!(found.as_object().unwrap().len(), names.len() + 4, "{of}: {found}");
                    compared += 1;
                }
            }
        }
        let drops = models[0].tokenizer.model() == "WordPiece";
        assert!(compared > 600 && (kept_marks > 3) == drops, "{compared} compared, of them {kept_marks} with marks");
    }
}

#[test]
fn text_classification_finds_what_transformers_finds_with_every_function() {
    for kind in each_recorded() {
        let model = imported(kind, "classify", None);
        let cases = recorded(kind, "text_classification.json");
        for case in cases.as_array().unwrap() {
            let found = ask(&model, &case["inputs"], case["parameters"].clone());
            let (found, want) = (found.as_array().unwrap(), case["labels"].as_array().unwrap());
            let of = format!("{}: {} with {}", kind.name.model_type, case["inputs"], case["parameters"]);
            assert_eq!(found.len(), want.len(), "{of}");
            for (found, want) in found.iter().zip(want) {
                assert_eq!((&found["label"], found.as_object().unwrap().len()), (&want[0], 2), "{of}");
                near(&found["score"], &want[1], &of);
            }
        }
        // Bytes are many tokens: fewer of the texts fit one window.
        let least = if model.tokenizer.model() == "WordPiece" { 100 } else { 80 };
        assert!(cases.as_array().unwrap().len() > least);
        // Without a function it is softmax, and without a number all labels.
        let found = ask(&model, &json!("Ada"), json!({}));
        assert_eq!(
            found,
            ask(&model, &json!({ "text": "Ada" }), json!({ "function_to_apply": "softmax", "top_k": 9 }))
        );
        let sum: f64 = found.as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{found}");
    }
}

/// Without a function the problem decides, as in transformers.
#[test]
fn models_of_several_labels_and_of_numbers_answer_as_transformers_does() {
    for kind in each_recorded() {
        let cases = recorded(kind, "text_classification_problems.json");
        let mut compared = 0;
        for problem in ["multi_label_classification", "regression"] {
            let model = imported_problem(kind, problem);
            for case in cases.as_array().unwrap().iter().filter(|case| case["problem"] == problem) {
                let found = ask(&model, &case["inputs"], json!({}));
                let (found, want) = (found.as_array().unwrap(), case["labels"].as_array().unwrap());
                let of = format!("{}: {problem} of {}", kind.name.model_type, case["inputs"]);
                assert_eq!(found.len(), want.len(), "{of}");
                for (found, want) in found.iter().zip(want) {
                    assert_eq!((&found["label"], found.as_object().unwrap().len()), (&want[0], 2), "{of}");
                    near(&found["score"], &want[1], &of);
                    compared += 1;
                }
                // The other functions are there, too.
                let logits = ask(&model, &case["inputs"], json!({ "function_to_apply": "none", "top_k": 1 }));
                assert_eq!(logits.as_array().unwrap().len(), 1, "{of}");
            }
        }
        assert!(compared > 60, "{compared}");
    }
}

#[test]
fn what_text_classification_does_not_take_is_refused_by_name() {
    let model = imported(&ENCODERS[0], "classify", None);
    let task = &model.tasks[0].task;
    assert!(task.accepts(&json!("a")) && task.accepts(&json!({ "text": "a", "text_pair": "b" })));
    assert!(!task.accepts(&json!({ "question": "a" })) && !task.accepts(&json!(3)));
    let refusal = |input: Value, parameters: Value| {
        task.pipeline_query(&input, &object(parameters), &model.tokenizer).err().unwrap().to_string()
    };
    let error = refusal(json!({ "text": "a", "pair": "b" }), json!({}));
    assert!(error.contains("inputs: expected the fields `text` and `text_pair`, found \"pair\""), "{error}");
    let error = refusal(json!("a"), json!({ "function_to_apply": "tanh" }));
    assert!(error.contains("parameters.function_to_apply: expected one of `softmax`, `sigmoid`, `none`"), "{error}");
    assert!(refusal(json!("a"), json!({ "top_k": 0 })).contains("parameters.top_k: expected 1 to"), "top_k");
    assert!(refusal(json!("a"), json!({ "return_all_scores": true })).contains("parameters.return_all_scores"));
}

#[test]
fn question_answering_finds_what_the_parts_of_transformers_find() {
    for kind in each_recorded() {
        let model = imported(kind, "qa", None);
        let (mut compared, mut none) = (0, 0);
        for case in recorded(kind, "question_answering.json").as_array().unwrap() {
            let context: Vec<char> = case["context"].as_str().unwrap().chars().collect();
            // A byte-level tokenizer takes a run of ideographs for one word; here each of its sub-words is one.
            let unspaced = context.iter().any(|c| ('\u{4e00}'..='\u{9fff}').contains(c));
            let splits_ideographs = model.tokenizer.model() == "WordPiece";
            if unspaced && !splits_ideographs && case["parameters"]["align_to_words"] != json!(false) {
                continue;
            }
            let input = json!({ "question": case["question"], "context": case["context"] });
            let found = ask(&model, &input, case["parameters"].clone());
            let (found, want) = (found.as_array().unwrap(), case["answers"].as_array().unwrap());
            let of = format!("{}: {input} with {}", kind.name.model_type, case["parameters"]);
            assert_eq!(found.len(), want.len(), "{of}");
            for (found, want) in found.iter().zip(want) {
                let at = |index: usize| want[index].as_u64().unwrap() as usize;
                let start = without_space(&context, at(1), at(2));
                let end = if at(2) == 0 { 0 } else { with_marks(&model, &context, at(2)) };
                assert_eq!((&found["start"], &found["end"]), (&json!(start), &json!(end)), "{of}");
                assert_eq!(found["answer"], json!(context[start..end].iter().collect::<String>()), "{of}");
                near(&found["score"], &want[0], &of);
                compared += 1;
                none += usize::from(end == 0);
            }
        }
        assert!(compared > 150 && none > 0, "{compared} compared, of them {none} without an answer");
    }
}

// Without a model: the task alone, and logits of the test's own.

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&fixture("tiny-bert/tokenizer.json")).unwrap()
}

fn open(kind: &str, config: Value) -> Box<dyn AnyTask> {
    (TASKS.iter().find(|entry| entry.kind == kind).unwrap().open)(config).unwrap()
}

fn ner(max_length: usize, stride: usize) -> Box<dyn AnyTask> {
    open("ner", json!({ "max_length": max_length, "stride": stride, "labels": ["O", "B-PER", "I-PER", "B-LOC"] }))
}

fn qa(more: Value) -> Box<dyn AnyTask> {
    let mut config = json!({ "max_length": 64, "stride": 16, "max_question_length": 16 });
    config.as_object_mut().unwrap().extend(object(more));
    open("qa", config)
}

fn query(task: &dyn AnyTask, input: &Value, parameters: Value) -> Result<Query> {
    task.pipeline_query(input, &object(parameters), &tokenizer())
}

fn answer(query: Query, logits: impl Fn(usize, &Features) -> Logits) -> Value {
    let logits = query.windows.iter().enumerate().map(|(at, window)| logits(at, window)).collect();
    query.answer(logits)
}

#[test]
fn a_long_text_is_labelled_once_whatever_its_windows() {
    let text = "Ada Lovelace met John Smith-Jones in London, unbelievably. ".repeat(30);
    let tokens = tokenizer().text(&text).unwrap().len();
    // A token's own logits, wherever it stands: what windows there are must not show.
    let logits = |_: usize, window: &Features| {
        let row = |id: u32| (0..4).map(move |label| ((id * 7 + label * 13) % 11) as f32 / 3.0);
        Logits::new(window.ids.iter().copied().flat_map(row).collect(), 4)
    };
    let mut all: Vec<Value> = STRATEGIES.iter().map(|name| json!({ "aggregation_strategy": name })).collect();
    all.push(json!({}));
    for parameters in all {
        let whole = query(&*ner(2000, 0), &json!(text), parameters.clone()).unwrap();
        assert_eq!(whole.windows.len(), 1);
        let whole = answer(whole, logits);
        assert!(whole.as_array().unwrap().len() > 60, "{parameters}: {whole}");
        for stride in [0, 1, 7, 22] {
            let mut parameters = parameters.clone();
            parameters["stride"] = json!(stride);
            let parts = query(&*ner(32, 8), &json!(text), parameters.clone()).unwrap();
            assert_eq!(parts.windows.len(), (tokens - stride).div_ceil(30 - stride), "{parameters}");
            assert_eq!(answer(parts, logits), whole, "{parameters}");
        }
    }
}

#[test]
fn a_token_has_the_label_of_the_window_where_it_has_most_context() {
    let labels = |max_length: usize, stride: usize| -> Vec<String> {
        let parameters = json!({ "aggregation_strategy": "none", "ignore_labels": [] });
        let query = query(&*ner(max_length, stride), &json!("a b c d e f g h"), parameters).unwrap();
        // Each window says its own number.
        let found = answer(query, |at, window| {
            let row = (0..4).map(|label| if label == at { 9.0 } else { 0.0 });
            Logits::new(window.ids.iter().flat_map(|_| row.clone()).collect(), 4)
        });
        found.as_array().unwrap().iter().map(|token| token["entity"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels(6, 2), ["O", "O", "O", "B-PER", "B-PER", "I-PER", "I-PER", "I-PER"]);
    // `d` and `f` have as much in one window as in the next: the first decides.
    assert_eq!(labels(7, 3), ["O", "O", "O", "O", "B-PER", "B-PER", "I-PER", "I-PER"]);
}

#[test]
fn without_a_strategy_the_entities_are_those_of_predict() {
    let task = ner(32, 8);
    let text = "Zoë Smith-Jones left Mary's house, unbelievably. ".repeat(9);
    let logits = |_: usize, window: &Features| {
        let row = |id: u32| (0..4).map(move |label| ((id * 5 + label * 3) % 7) as f32);
        Logits::new(window.ids.iter().copied().flat_map(row).collect(), 4)
    };
    let found = answer(query(&*task, &json!(text), json!({ "offset_unit": "byte" })).unwrap(), logits);
    let native = task.query(&json!({ "text": text, "offset_unit": "byte" }), &tokenizer()).unwrap();
    let native = answer(native, logits);
    let expected: Vec<Value> = native["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entity| {
            json!({
                "entity_group": entity["type"], "score": entity["score"], "word": entity["text"],
                "start": entity["start"], "end": entity["end"],
            })
        })
        .collect();
    assert!(expected.len() > 9);
    assert_eq!(found, json!(expected));
    let some = answer(query(&*task, &json!(text), json!({ "ignore_labels": ["PER"] })).unwrap(), logits);
    let kinds: Vec<&Value> = some.as_array().unwrap().iter().map(|entity| &entity["entity_group"]).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| **kind == "LOC") && kinds.len() < expected.len(), "{some}");
}

#[test]
fn labels_without_a_prefix_are_types_and_a_type_named_o_is_no_outside() {
    let first = |word: &str| tokenizer().text(word).unwrap()[0].id;
    let (ada, london) = (first("ada"), first("london"));
    for (labels, [ada_label, london_label], [ada_type, london_type]) in [
        (json!(["O", "PER", "ORG", "OTHER"]), [1, 2], ["PER", "ORG"]),
        (json!(["O", "PER", "ORG", "OTHER"]), [3, 1], ["OTHER", "PER"]),
        (json!(["LABEL_0", "O", "LABEL_1"]), [0, 2], ["LABEL_0", "LABEL_1"]),
        (json!(["O", "B-O", "I-O", "B-G"]), [1, 3], ["O", "G"]),
    ] {
        let outside = labels.as_array().unwrap().iter().position(|label| label == "O").unwrap();
        let width = labels.as_array().unwrap().len();
        let task = open("ner", json!({ "max_length": 32, "stride": 8, "labels": labels }));
        let logits = |_: usize, window: &Features| {
            let label = |id: u32| {
                if id == ada {
                    ada_label
                } else if id == london {
                    london_label
                } else {
                    outside
                }
            };
            let row = |id: u32| (0..width).map(move |at| if at == label(id) { 9.0 } else { 0.0 });
            Logits::new(window.ids.iter().copied().flat_map(row).collect(), width)
        };
        let text = "the ada was in london of ada";
        let want = [(ada_type, 4, 7), (london_type, 15, 21), (ada_type, 25, 28)];
        let spans = |found: &Value, name: &str| -> Vec<(String, u64, u64)> {
            let at = |one: &Value, name: &str| one[name].as_u64().unwrap();
            let one = |one: &Value| (one[name].as_str().unwrap().to_owned(), at(one, "start"), at(one, "end"));
            found.as_array().unwrap().iter().map(one).collect()
        };
        let want = want.map(|(kind, start, end)| (kind.to_owned(), start, end));
        let native = answer(task.query(&json!({ "text": text }), &tokenizer()).unwrap(), logits);
        assert_eq!(spans(&native["entities"], "type"), want, "{labels}");
        for parameters in
            [json!({}), json!({ "aggregation_strategy": "simple" }), json!({ "aggregation_strategy": "first" })]
        {
            let found = answer(query(&*task, &json!(text), parameters.clone()).unwrap(), logits);
            assert_eq!(spans(&found, "entity_group"), want, "{labels} {parameters}");
        }
    }
}

#[test]
fn an_answer_is_not_extended_over_a_script_without_spaces() {
    // Kana, which the tokenizer takes for one word up to the mark.
    let context = "アダはロンドンにいた。";
    let input = json!({ "question": ASKED, "context": context });
    let mut tokens: Value = serde_json::from_slice(&fs::read(fixture("tiny-bert/tokenizer.json")).unwrap()).unwrap();
    // Voiced kana would lose their marks.
    tokens["normalizer"]["strip_accents"] = json!(false);
    let vocabulary = tokens["model"]["vocab"].as_object_mut().unwrap();
    // Every other character stands where a word of the fixture stood.
    for (at, c) in context.chars().enumerate() {
        let old = ["the", "of", "and", "to", "in", "is", "was", "for", "on", "with", "as"][at];
        let id = vocabulary.remove(old).unwrap();
        vocabulary.insert(if at == 0 { c.to_string() } else { format!("##{c}") }, id);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokens.to_string()).unwrap();
    let tokenizer = Tokenizer::load(&folder.path().join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.text("アダはロンドンにいた").unwrap().len(), 10, "one word of ten sub-words");
    let parameters = object(json!({ "align_to_words": true }));
    let query = qa(json!({})).pipeline_query(&input, &parameters, &tokenizer).unwrap();
    let logits = |_: usize, window: &Features| {
        let mut rows = vec![[-9.0; 2]; window.ids.len()];
        (rows[ASKED_TOKENS + 2 + 3][0], rows[ASKED_TOKENS + 2 + 6][1]) = (9.0, 9.0);
        Logits::new(rows.concat(), 2)
    };
    assert_eq!(answer(query, logits)["answer"], "ロンドン");
}

/// Logits whose best starts and ends are the tokens of these words, each with its score.
fn pointing(question: usize, at: &[(usize, f32)]) -> impl Fn(usize, &Features) -> Logits {
    move |_, window| {
        let mut rows = vec![[-9.0; 2]; window.ids.len()];
        rows[0] = [1.0, 1.0];
        for &(token, score) in at {
            rows[question + 2 + token] = [score, score];
        }
        Logits::new(rows.concat(), 2)
    }
}

const ASKED: &str = "who left?";
/// `who left ?` with `left` spelt out: l ##e ##f ##t.
const ASKED_TOKENS: usize = 6;

#[test]
fn answers_are_an_object_or_a_list_and_never_more_than_there_are() {
    let input = json!({ "question": ASKED, "context": "Ada and Mary" });
    let logits = || pointing(ASKED_TOKENS, &[(0, 3.0), (2, 2.0)]);
    let ask = |parameters: Value| answer(query(&*qa(json!({})), &input, parameters).unwrap(), logits());
    for parameters in [json!({}), json!({ "top_k": 1 }), json!({ "top_k": null })] {
        let found = ask(parameters);
        assert_eq!((&found["answer"], &found["start"], &found["end"]), (&json!("Ada"), &json!(0), &json!(3)));
    }
    let three = ask(json!({ "top_k": 3, "max_answer_len": 3 }));
    let texts: Vec<&Value> = three.as_array().unwrap().iter().map(|answer| &answer["answer"]).collect();
    assert_eq!(texts, ["Ada", "Ada and Mary", "Mary"]);
    assert_eq!(ask(json!({ "top_k": 20 })).as_array().unwrap().len(), 6, "three words have six slices");
    let short = ask(json!({ "top_k": 20, "max_answer_len": 1 }));
    assert_eq!(short.as_array().unwrap().len(), 3);
    let shares: f64 = short.as_array().unwrap().iter().map(|answer| answer["score"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
}

#[test]
fn answers_are_extended_to_whole_words_and_then_each_is_there_once() {
    // "unity" is u ##n ##i ##t ##y; "-" and "city" follow.
    let input = json!({ "question": ASKED, "context": "the unity-city" });
    let logits = || pointing(ASKED_TOKENS, &[(2, 4.0), (3, 3.0)]);
    let ask = |align: bool| {
        let parameters = json!({ "top_k": 3, "max_answer_len": 2, "align_to_words": align });
        answer(query(&*qa(json!({})), &input, parameters).unwrap(), logits())
    };
    let texts = |found: &Value| -> Vec<String> {
        found.as_array().unwrap().iter().map(|answer| answer["answer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&ask(false)), ["n", "ni", "i"]);
    let aligned = ask(true);
    assert_eq!(texts(&aligned)[0], "unity");
    assert_eq!(texts(&aligned).iter().filter(|text| *text == "unity").count(), 1, "{aligned}");
}

#[test]
fn no_answer_stands_where_the_task_would_choose_it() {
    let input = json!({ "question": ASKED, "context": "Ada and Mary" });
    // "no answer" has 2, "Ada" 3, "Mary" 1.
    let logits = || pointing(ASKED_TOKENS, &[(0, 1.5), (2, 0.5)]);
    let ask = |config: Value, parameters: Value| answer(query(&*qa(config), &input, parameters).unwrap(), logits());
    let several = |config: Value, allowed: bool| -> Vec<String> {
        let parameters = json!({ "top_k": 4, "max_answer_len": 1, "handle_impossible_answer": allowed });
        let found = ask(config, parameters);
        found.as_array().unwrap().iter().map(|answer| answer["answer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(several(json!({}), true), ["Ada", "", "Mary", "and"]);
    assert_eq!(several(json!({}), false), ["Ada", "Mary", "and"]);
    assert_eq!(several(json!({ "null_threshold": -1.5 }), true), ["", "Ada", "Mary", "and"]);
    assert_eq!(several(json!({ "null_threshold": 1.5 }), true), ["Ada", "Mary", "", "and"]);
    // What is not said is as the task has it.
    let allowed = json!({ "no_answer": "allowed", "null_threshold": -1.5 });
    let found = ask(allowed.clone(), json!({}));
    assert_eq!((&found["answer"], &found["start"], &found["end"]), (&json!(""), &json!(0), &json!(0)));
    assert_eq!(ask(allowed, json!({ "handle_impossible_answer": false }))["answer"], "Ada");
}

#[test]
fn parameters_make_the_windows() {
    let context = "Mary left the house by the river . ".repeat(12);
    let input = json!({ "question": ASKED, "context": context });
    let tokens = tokenizer().text(&context).unwrap().len();
    let windows = |parameters: Value| query(&*qa(json!({})), &input, parameters).unwrap().windows;
    let usual = windows(json!({}));
    assert_eq!(usual.iter().map(|window| window.ids.len()).max(), Some(64));
    assert_eq!(usual.len(), (tokens - 16).div_ceil(64 - ASKED_TOKENS - 3 - 16));
    let small = windows(json!({ "max_seq_len": 29, "doc_stride": 5 }));
    assert_eq!(small.iter().map(|window| window.ids.len()).max(), Some(29));
    assert_eq!(small.len(), (tokens - 5).div_ceil(29 - ASKED_TOKENS - 3 - 5));
    // The task's own 16 tokens do not fit: as many as may be shared are.
    let shrunk = windows(json!({ "max_seq_len": 21 }));
    assert_eq!(shrunk.len(), (tokens - 9).div_ceil(12 - 9));
}

#[test]
fn an_empty_text_has_no_entity_and_an_empty_context_no_answer() {
    let logits = |_: usize, window: &Features| Logits::new(vec![1.0; window.ids.len() * 4], 4);
    for text in ["", " \n", "\u{200d}"] {
        for parameters in [json!({}), json!({ "aggregation_strategy": "none", "ignore_labels": [] })] {
            assert_eq!(answer(query(&*ner(32, 8), &json!(text), parameters).unwrap(), logits), json!([]), "{text:?}");
        }
        for (top_k, unit) in [(1, "char"), (3, "utf16")] {
            let input = json!({ "question": ASKED, "context": text });
            let parameters = json!({ "top_k": top_k, "offset_unit": unit });
            let found = answer(query(&*qa(json!({})), &input, parameters).unwrap(), pointing(0, &[]));
            let none = json!({ "answer": "", "score": 1.0, "start": 0, "end": 0 });
            assert_eq!(found, if top_k == 1 { none } else { json!([none]) });
        }
    }
}

#[test]
fn refusals_name_the_field_what_was_expected_and_what_was_found() {
    let ner = ner(32, 8);
    let qa = qa(json!({}));
    let asked = json!({ "question": ASKED, "context": "Ada left." });
    let long = json!({ "question": "who ".repeat(17), "context": "Ada" });
    let twelve = json!({ "question": "who ".repeat(12), "context": "Ada" });
    let empty = |text: &str| json!({ "question": text, "context": "Ada" });
    for (task, input, parameters, want) in [
        (&ner, json!(3), json!({}), "inputs: expected a text, found 3"),
        (&ner, json!("x"), json!({ "stride": 23 }), "parameters.stride: expected 0 to 22, found 23"),
        (&ner, json!("x"), json!({ "stride": "3" }), "parameters.stride: expected a whole number, found string \"3\""),
        (
            &ner,
            json!("x"),
            json!({ "aggregation_strategy": "last" }),
            "parameters.aggregation_strategy: expected one of `none`, `simple`, `first`, `average`, `max`, found `last`",
        ),
        (
            &ner,
            json!("x"),
            json!({ "strides": 3 }),
            "parameters.strides: expected one of `aggregation_strategy`, `ignore_labels`, `stride`, `offset_unit`, \
             found `strides`",
        ),
        (&qa, json!("x"), json!({}), "inputs: expected {\"question\": ..., \"context\": ...}, found \"x\""),
        (&qa, json!({ "question": "who?" }), json!({}), "inputs.context: expected a text, found nothing"),
        (&qa, json!({ "question": [], "context": "" }), json!({}), "inputs.question: expected a text, found a list"),
        (
            &qa,
            json!({ "question": "who?", "context": "x", "text": "y" }),
            json!({}),
            "inputs: expected the fields `question` and `context`, found \"text\"",
        ),
        (&qa, empty(""), json!({}), "inputs.question: expected a question, found a text without a word"),
        (&qa, empty(" \u{200d}\n"), json!({}), "inputs.question: expected a question, found a text without a word"),
        (&qa, long.clone(), json!({}), "inputs.question: expected a question of at most 16 tokens, found 17"),
        (
            &qa,
            twelve.clone(),
            json!({ "max_question_len": 11 }),
            "inputs.question: expected a question of at most 11 tokens, found 12",
        ),
        (
            &qa,
            twelve.clone(),
            json!({ "max_seq_len": 26, "doc_stride": 1 }),
            "inputs.question: expected a question of at most 11 tokens, found 12",
        ),
        (&qa, asked.clone(), json!({ "top_k": 0 }), "parameters.top_k: expected 1 to 20, found 0"),
        (&qa, asked.clone(), json!({ "top_k": 21 }), "parameters.top_k: expected 1 to 20, found 21"),
        (&qa, asked.clone(), json!({ "max_answer_len": 0 }), "parameters.max_answer_len: expected 1 to 64, found 0"),
        (&qa, asked.clone(), json!({ "max_seq_len": 65 }), "parameters.max_seq_len: expected 5 to 64, found 65"),
        (&qa, asked.clone(), json!({ "doc_stride": 42 }), "parameters.doc_stride: expected 0 to 41, found 42"),
        (
            &qa,
            asked.clone(),
            json!({ "align_to_words": 1 }),
            "parameters.align_to_words: expected true or false, found integer `1`",
        ),
    ] {
        let error = query(&**task, &input, parameters.clone()).err().unwrap();
        assert_eq!(error.to_string(), want, "{input} {parameters}");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
    // What is allowed to the last token.
    for (input, parameters) in [
        (&long, json!({ "max_question_len": 17 })),
        (&twelve, json!({ "max_seq_len": 27 })),
        (&asked, json!({ "doc_stride": 41, "top_k": 20, "max_seq_len": 64 })),
    ] {
        assert!(query(&*qa, input, parameters.clone()).is_ok(), "{parameters}");
    }
    // A request of our own form is held to the same question.
    let error = qa.query(&long, &tokenizer()).err().unwrap().to_string();
    assert_eq!(error, "request: expected a question of at most 16 tokens, found 17");
    let error = qa.query(&empty(" "), &tokenizer()).err().unwrap().to_string();
    assert_eq!(error, "request: expected a question, found a text without a word");
}
