//! What every task promises, held for each entry of TASKS: a new one needs a row in `small/mod.rs` and no test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use candle_core::Tensor;
use polyhead::batch::{Features, Padding};
use polyhead::data::Layout;
use polyhead::encoders::{EncoderOverrides, Pass};
use polyhead::infer::Session;
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::optim::Optimizer;
use polyhead::parameters::Owner;
use polyhead::tasks::{Examples, Logits, LogitsFn, Purpose, Query, Score, Shape, TASKS, TaskKind};
use polyhead::{ErrorKind, Place};
use polyhead_kernels::adamw::AdamW;
use polyhead_kernels::rng::Key;
use schemars::SchemaGenerator;
use serde_json::{Value, json};
use small::{Data, Kind};

/// tiny-bert with one new head, its examples and their gold answers.
struct Case {
    kind: &'static Kind,
    model: Model,
    examples: Examples,
    golds: Vec<Value>,
}

fn cases(lengths: &[usize]) -> impl Iterator<Item = Case> {
    TASKS.iter().map(move |kind| case(kind, lengths))
}

fn case(entry: &TaskKind, lengths: &[usize]) -> Case {
    let kind = small::kind(entry.kind);
    let folder = tempfile::tempdir().unwrap();
    let path = small::write_data(kind, "train", lengths, folder.path());
    let mut task = (entry.open)((kind.config)()).unwrap();
    let examples = task.read(&path, None, &Layout::default()).unwrap();
    assert_eq!((examples.len, examples.skipped.len()), (lengths.len(), 0), "{:?}", examples.skipped);
    task.prepare(&examples).unwrap();
    let named = vec![NamedTask { name: entry.kind.to_owned(), task }];
    let still = EncoderOverrides { dropout: Some(0.0), attention_dropout: Some(0.0), ..EncoderOverrides::default() };
    let model =
        Model::pretrained(&small::fixture("tiny-bert"), Provenance::default(), named, &still, Key::seed(7)).unwrap();
    let Data { golds, .. } = (kind.data)(lengths);
    Case { kind, model, examples, golds }
}

impl Case {
    fn name(&self) -> &'static str {
        self.kind.kind
    }

    fn task(&self) -> &NamedTask {
        &self.model.tasks[0]
    }

    fn windows(&self, purpose: Purpose) -> Vec<Features> {
        let windows =
            |index| self.task().task.features(&self.examples, index, &self.model.tokenizer, purpose).unwrap().windows;
        (0..self.examples.len).flat_map(windows).collect()
    }

    fn loss(&self, windows: &[Features]) -> Tensor {
        let windows: Vec<&Features> = windows.iter().collect();
        let pass = Pass::train(Key::seed(0));
        self.model.loss(self.task(), &windows, Padding::Packed, pass).unwrap().value
    }

    /// The score of the examples and what was found in each.
    fn evaluate(&self, runner: &LogitsFn) -> (Score, Vec<Value>) {
        let mut found = Vec::new();
        let task = &self.task().task;
        let score = task.evaluate(&self.examples, runner, &mut |answer, _| found.push((self.kind.found)(&answer)));
        (score.unwrap(), found)
    }

    fn answers_of_the_model(&self) -> (Score, Vec<Value>) {
        self.model.run(self.task(), |_, runner| Ok(self.evaluate(runner))).unwrap()
    }

    /// Answers to requests, with logits of the test's own instead of the model's.
    fn answers(&self, requests: &[Value], logits: &dyn Fn(&Features) -> Logits) -> Vec<Value> {
        let all = |windows: &[&Features]| Ok(windows.iter().map(|window| logits(window)).collect());
        let runner = LogitsFn { tokenizer: &self.model.tokenizer, logits: &all };
        let mut answers = Vec::new();
        let mut requests = requests.iter().map(|request| Ok((request.clone(), Place::file("request"))));
        let mut keep = |answer| {
            answers.push(answer);
            Ok(())
        };
        self.task().task.predict(&mut requests, &runner, &mut keep).unwrap();
        answers
    }

    fn labels(&self) -> usize {
        self.task().task.labels().len()
    }

    /// Logits at random, which find answers everywhere.
    fn at_random(&self, window: &Features, key: Key) -> Logits {
        let width = if self.labels() > 0 { self.labels() } else { 2 };
        let key = key.with(u64::from(window.ids.len() as u32));
        Logits::new((0..(window.ids.len() * width) as u64).map(|at| key.normal(at) as f32).collect(), width)
    }

    /// The query of one of the inputs of the task's inference API.
    fn pipeline(&self, input: &Value, parameters: &Value) -> Query {
        let parameters = parameters.as_object().unwrap();
        self.task().task.pipeline_query(input, parameters, &self.model.tokenizer).unwrap()
    }
}

/// Every number that is no integer, in order, and the answer without them.
fn split_scores(answer: &Value) -> (Value, Vec<f64>) {
    fn walk(value: &mut Value, scores: &mut Vec<f64>) {
        match value {
            Value::Number(number) if number.is_f64() => {
                scores.push(number.as_f64().unwrap());
                *value = Value::Null;
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, scores)),
            Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, scores)),
            _ => {}
        }
    }
    let (mut rest, mut scores) = (answer.clone(), Vec::new());
    walk(&mut rest, &mut scores);
    (rest, scores)
}

/// Every slice that an answer reports, `(start, end, text)`, wherever it stands; a score that is no number is refused.
fn slices(answer: &Value) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    match answer {
        Value::Array(items) => items.iter().for_each(|item| found.extend(slices(item))),
        Value::Object(fields) => {
            if let Some(score) = fields.get("score") {
                let score = score.as_f64().unwrap_or_else(|| panic!("a score that is no number: {answer}"));
                assert!((-1e-9..=1.0 + 1e-9).contains(&score), "{answer}");
            }
            if let (Some(start), Some(end)) = (fields.get("start"), fields.get("end")) {
                let text = ["text", "answer", "word"].iter().find_map(|name| fields.get(*name)?.as_str()).unwrap();
                let at = |value: &Value| value.as_u64().unwrap() as usize;
                found.push((at(start), at(end), text.to_owned()));
            }
            fields.values().for_each(|field| found.extend(slices(field)));
        }
        _ => {}
    }
    found
}

#[test]
fn decoding_the_gold_logits_gives_the_gold_answers_over_one_window_and_over_many() {
    for entry in TASKS {
        // Where a gold answer stands in one window alone, there are no others.
        let whole = small::WHOLE.contains(&entry.kind);
        let lengths: &[usize] = match whole {
            true => &[1, 2, 3, 5, 8, 13, 21, 7, 9],
            false => &[1, 2, 3, 5, 8, 13, 21, 30, 60, 90, 200, 400, 7, 9, 70, 150],
        };
        let case = case(entry, lengths);
        let many = case.windows(Purpose::Predict).len();
        // A task may read every text in one window, around what is asked of it.
        let one_each = many == case.examples.len;
        assert!(one_each || many > case.examples.len + 16, "{}: {many} windows", case.name());
        let all = |windows: &[&Features]| {
            Ok(windows.iter().map(|window| (case.kind.perfect)(window, case.labels())).collect())
        };
        let runner = LogitsFn { tokenizer: &case.model.tokenizer, logits: &all };
        let (score, found) = case.evaluate(&runner);
        for (index, (found, gold)) in found.iter().zip(&case.golds).enumerate() {
            assert_eq!(found, gold, "{}, example {index}", case.name());
        }
        assert_eq!(found.len(), case.golds.len());
        assert_eq!(score.headline_value(), 100.0, "{}", case.name());
    }
}

#[test]
fn every_task_overfits_one_batch() {
    for case in cases(&[5, 6, 7, 8]) {
        let windows = case.windows(Purpose::Train);
        let mut optimizer = Optimizer::new(AdamW::default(), 0.0, 1.0);
        let mut last = f32::MAX;
        for _ in 0..300 {
            let loss = case.loss(&windows);
            last = loss.to_scalar::<f32>().unwrap();
            if last < 0.05 {
                break;
            }
            optimizer.step(&case.model.parameters, &case.model.parameters.gradients(&loss).unwrap(), 3e-3).unwrap();
        }
        assert!(last < 0.05, "{}: a loss of {last} after 300 steps", case.name());
        let (score, found) = case.answers_of_the_model();
        assert_eq!(found, case.golds, "{}", case.name());
        assert_eq!(score.headline_value(), 100.0, "{}", case.name());
    }
}

#[test]
fn one_step_moves_every_parameter_of_the_head_and_of_the_encoder() {
    for case in cases(&[5, 6, 7, 8]) {
        let before: Vec<Tensor> =
            case.model.parameters.iter().map(|p| p.weight.tensor().unwrap().copy().unwrap()).collect();
        let gradients = case.model.parameters.gradients(&case.loss(&case.windows(Purpose::Train))).unwrap();
        Optimizer::new(AdamW::default(), 0.01, 1.0).step(&case.model.parameters, &gradients, 1e-3).unwrap();
        let mut of_head = 0;
        for (parameter, before) in case.model.parameters.iter().zip(&before) {
            let moved = parameter.weight.tensor().unwrap().sub(before).unwrap().abs().unwrap();
            let moved = moved.max_all().unwrap().to_scalar::<f32>().unwrap();
            let expected = !parameter.name.starts_with("pooler.");
            assert_eq!(moved > 0.0, expected, "{}: {} moved by {moved}", case.name(), parameter.name);
            of_head += usize::from(parameter.owner == Owner::Head(case.name().to_owned()));
        }
        assert!(of_head >= 2, "{}", case.name());
    }
}

#[test]
fn saving_and_loading_changes_no_logit_and_no_score() {
    for mut case in cases(&[5, 30, 100, 2]) {
        let folder = tempfile::tempdir().unwrap();
        // Scores whose last digit shows how numbers are read.
        let scores = [("thirds", json!(200.0 / 3.0)), ("digits", json!(1.513_074_755_668_640_1))];
        let scores = scores.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        case.model.about.scores.insert(case.name().to_owned(), scores);
        let saved = folder.path().join("model");
        case.model.save(&saved).unwrap();
        let again = Case { model: Model::load(&saved, TASKS).unwrap(), ..case_like(&case) };
        let windows = case.windows(Purpose::Predict);
        assert_eq!(windows, again.windows(Purpose::Predict), "{}", case.name());
        let windows: Vec<&Features> = windows.iter().collect();
        let bits = |case: &Case| -> Vec<u32> {
            let logits = case.model.logits(case.task(), &windows).unwrap();
            logits.iter().flat_map(|logits| logits.rows().flatten().map(|x| x.to_bits()).collect::<Vec<_>>()).collect()
        };
        assert!(bits(&case) == bits(&again), "{}: other logits after loading", case.name());
        assert_eq!(case.answers_of_the_model(), again.answers_of_the_model(), "{}", case.name());
        // And once more, to the byte.
        again.model.save(&folder.path().join("again")).unwrap();
        for file in ["model.safetensors", "config.json", "tokenizer.json", "README.md"] {
            let read = |name: &str| std::fs::read(folder.path().join(name).join(file)).unwrap();
            assert!(read("model") == read("again"), "{}: {file} differs", case.name());
        }
    }
}

/// The same case with a model of its own.
fn case_like(other: &Case) -> Case {
    case(TASKS.iter().find(|entry| entry.kind == other.name()).unwrap(), &[5, 30, 100, 2])
}

#[test]
fn empty_one_token_and_very_long_input_are_answered() {
    for case in cases(&[5, 6]) {
        let session = Session { model: case.model };
        let kind = case.kind;
        let long = ["ada"; 10_000].join(" ");
        for text in ["", " ", "\n\t ", "a", ".", "\u{200d}", "\u{0}", "\u{feff}", &"a".repeat(5_000), &long] {
            let request = (kind.request)(text);
            let answer = session.ask(kind.kind, &request).unwrap();
            let source: Vec<char> = (kind.source)(&request).chars().collect();
            for (start, end, said) in slices(&answer) {
                assert_eq!(source[start..end].iter().collect::<String>(), said, "{}", kind.kind);
            }
        }
    }
}

/// Pieces of text that go wrong where offsets do: outside of the basic plane, combining, joined, right to left, wide.
const UGLY: &[&str] = &[
    "Zoë",
    "cafe\u{301}",
    "\u{301}",
    "👩\u{200d}👩\u{200d}👧",
    "🇩🇪",
    "✌🏽",
    "東京都",
    "日本",
    "ｆｕｌｌ",
    "ﬁn",
    "שָׁלוֹם",
    "مرحبا",
    "नमस्ते",
    "한국어",
    "각",
    "İstanbul",
    "ß",
    "ẞ",
    "\u{200d}",
    "\u{200b}",
    "\u{ad}",
    "\u{feff}",
    "\u{1f}",
    "\u{85}",
    "\u{2028}",
    "a\u{0}b",
    "𝒳",
    "𐍈",
    "\u{fffd}",
    "…",
    "«ada»",
    "don’t",
    "U.S.",
    "x\u{300}\u{301}\u{302}",
    "e\u{301}\u{200d}",
    "London",
    ".",
    "1,000",
];

#[test]
fn every_reported_slice_is_the_text_between_its_offsets_in_any_script() {
    for case in cases(&[5, 6]) {
        for round in 0..200u64 {
            let key = Key::seed(3).with(round);
            let length = if round % 50 == 49 { 150 } else { 1 + round % 12 };
            let joint = [" ", " ", "", "\u{a0}", "\n"][(key.bits(0) % 5) as usize];
            let pick = |at| UGLY[(key.bits(1 + at) >> 9) as usize % UGLY.len()];
            let text = (0..length).map(pick).collect::<Vec<_>>().join(joint);
            let request = (case.kind.request)(&text);
            // Logits at random find answers everywhere.
            let logits = |window: &Features| case.at_random(window, key);
            let source: Vec<char> = (case.kind.source)(&request).chars().collect();
            for answer in case.answers(&[request], &logits) {
                for (start, end, said) in slices(&answer) {
                    assert!(start <= end && end <= source.len(), "{}: {start} to {end} of {text:?}", case.name());
                    let between: String = source[start..end].iter().collect();
                    assert_eq!(between, said, "{}: {text:?}", case.name());
                    assert_eq!(said.trim(), said, "{}: {text:?}", case.name());
                }
            }
        }
    }
}

/// The part of a text between two offsets of a unit.
fn between(text: &str, start: usize, end: usize, unit: &str) -> String {
    match unit {
        "byte" => text[start..end].to_owned(),
        "char" => text.chars().skip(start).take(end - start).collect(),
        _ => String::from_utf16(&text.encode_utf16().collect::<Vec<_>>()[start..end]).unwrap(),
    }
}

/// Whether a value is what a JSON schema says, as far as the schemas of pipelines say anything.
fn fits(schema: &Value, root: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return schema == &json!(true) };
    rules.iter().all(|(rule, said)| match rule.as_str() {
        "$ref" => {
            let name = said.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            fits(&root["$defs"][name], root, value)
        }
        "anyOf" => said.as_array().unwrap().iter().any(|schema| fits(schema, root, value)),
        "oneOf" => said.as_array().unwrap().iter().filter(|schema| fits(schema, root, value)).count() == 1,
        "enum" => said.as_array().unwrap().contains(value),
        "const" => said == value,
        "type" => match said {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
            kind => is_of(kind, value),
        },
        "minimum" => value.as_f64().is_none_or(|value| value >= said.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|value| value <= said.as_f64().unwrap()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(said, root, item))),
        "required" => said.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "properties" => said
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, schema)| value.get(name).is_none_or(|value| fits(schema, root, value))),
        "additionalProperties" => {
            assert_eq!(said, &json!(false));
            value.as_object().is_none_or(|fields| fields.keys().all(|name| rules["properties"].get(name).is_some()))
        }
        "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
        other => panic!("a rule that this test does not know: {other}"),
    })
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("a type that this test does not know: {other}"),
    }
}

#[test]
fn a_pipeline_answers_in_every_unit_with_slices_and_as_its_schema_says() {
    for case in cases(&[5, 6]) {
        let Some(pipeline) = case.task().task.pipeline() else { continue };
        let mut generator = SchemaGenerator::default();
        let [input_schema, parameters_schema, output_schema] =
            [pipeline.input, pipeline.parameters, pipeline.output].map(|schema| schema(&mut generator).to_value());
        let root = json!({ "$defs": generator.definitions() });
        let is = |schema: &Value, value: &Value| fits(schema, &root, value);
        assert!(!is(&input_schema, &json!(1)) && !is(&output_schema, &json!({ "answer": 1 })), "{}", case.name());
        assert!(!is(&parameters_schema, &json!({ "offset_units": "char" })), "{parameters_schema}");
        assert!(!is(&parameters_schema, &json!({ "offset_unit": "chars" })), "{parameters_schema}");
        // Labels are of a whole text: they have no offsets.
        let counts = case.task().task.shape() != Shape::Labels;
        assert_eq!(is(&parameters_schema, &json!({ "offset_unit": null })), counts, "{parameters_schema}");
        let mut seen = 0;
        for (index, parameters) in (case.kind.parameters)().into_iter().enumerate() {
            assert!(is(&parameters_schema, &parameters), "{}: {parameters}", case.name());
            for round in 0..40u64 {
                let key = Key::seed(5).with(index as u64).with(round);
                let length = if round % 20 == 19 { 150 } else { round % 12 };
                let joint = [" ", " ", "", "\u{a0}", "\n"][(key.bits(0) % 5) as usize];
                let pick = |at| UGLY[(key.bits(1 + at) >> 9) as usize % UGLY.len()];
                let text = (0..length).map(pick).collect::<Vec<_>>().join(joint);
                let input = (case.kind.input)(&text);
                assert!(case.task().task.accepts(&input) && is(&input_schema, &input), "{input}");
                let answers: Vec<Value> = ["byte", "char", "utf16"]
                    .map(|unit| {
                        let mut parameters = parameters.clone();
                        if counts {
                            parameters["offset_unit"] = json!(unit);
                        }
                        let query = case.pipeline(&input, &parameters);
                        let logits = query.windows.iter().map(|window| case.at_random(window, key)).collect();
                        let answer = query.answer(logits);
                        assert!(is(&output_schema, &answer), "{}: {answer}", case.name());
                        for (start, end, said) in slices(&answer) {
                            let of = format!("{} in {unit} of {text:?}: {start} to {end}", case.name());
                            assert_eq!(between(&text, start, end, unit), said, "{of}");
                            assert_eq!(said.trim(), said, "{of}");
                            seen += 1;
                        }
                        answer
                    })
                    .into();
                let said =
                    |answer: &Value| -> Vec<String> { slices(answer).into_iter().map(|(.., text)| text).collect() };
                assert!(answers.iter().all(|answer| said(answer) == said(&answers[0])), "{}: {text:?}", case.name());
            }
        }
        assert!(seen > 200 || !counts, "{}: {seen} slices", case.name());
    }
}

#[test]
fn a_request_counts_its_offsets_in_the_unit_that_it_names() {
    // Labels are of a whole text: they have no offsets.
    for case in cases(&[5, 6]).filter(|case| case.task().task.shape() != Shape::Labels) {
        let text = UGLY.join(" ");
        let mut seen = 0;
        for unit in ["byte", "char", "utf16"] {
            let mut request = (case.kind.request)(&text);
            request["offset_unit"] = json!(unit);
            let logits = |window: &Features| case.at_random(window, Key::seed(9));
            for (start, end, said) in slices(&case.answers(&[request.clone()], &logits)[0]) {
                assert_eq!(between(&(case.kind.source)(&request), start, end, unit), said, "{}: {unit}", case.name());
                seen += usize::from(start > 30);
            }
        }
        assert!(seen > 0, "{}: no answer where the units differ", case.name());
    }
}

#[test]
fn an_answer_is_as_its_schema_says_and_every_field_is_of_a_request() {
    for case in cases(&[5, 6]) {
        let mut generator = SchemaGenerator::default();
        let task = &case.task().task;
        let schema = task.shape().schema(&mut generator).to_value();
        let root = json!({ "$defs": generator.definitions() });
        assert!(!fits(&schema, &root, &json!({})), "{}: {root}", case.name());
        for round in 0..20u64 {
            let text = UGLY.iter().cycle().skip(round as usize).take(1 + 3 * round as usize);
            let text = text.copied().collect::<Vec<_>>().join(" ");
            let logits = |window: &Features| case.at_random(window, Key::seed(21).with(round));
            for mut answer in case.answers(&[(case.kind.request)(&text)], &logits) {
                let said = task.shape().read(&answer).unwrap();
                assert_eq!(said.json(), answer, "{}: nothing but its shape", case.name());
                answer.as_object_mut().unwrap().remove("text");
                assert!(fits(&schema, &root, &answer), "{}: {answer}", case.name());
            }
        }
        // The declared fields are those that a request needs, and no others.
        let whole: Value = task.fields().iter().map(|field| (field.name.to_owned(), json!(field.example))).collect();
        task.query(&whole, &case.model.tokenizer).unwrap();
        for field in task.fields() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(field.name);
            assert!(task.query(&without, &case.model.tokenizer).is_err(), "{}: {}", case.name(), field.name);
            assert!(!["tasks", "offset_unit", "id"].contains(&field.name) && field.default != Some(field.name));
        }
    }
}

#[test]
fn queries_are_answered_as_predict_answers_whatever_their_windows_go_with() {
    for case in cases(&[5, 6]) {
        let long = UGLY.join(" ").repeat(3);
        let texts = ["ada", "", "the queen of the north was mary .", &long, "東京 and paris", &"a ".repeat(200)];
        let requests: Vec<Value> = texts.iter().map(|text| (case.kind.request)(text)).collect();
        let task = case.task();
        // First the requests of our own form, then those of the inference API.
        let queries = || -> Vec<Query> {
            let mut queries: Vec<Query> =
                requests.iter().map(|request| task.task.query(request, &case.model.tokenizer).unwrap()).collect();
            if task.task.pipeline().is_some() {
                for parameters in (case.kind.parameters)() {
                    queries.extend(texts.iter().map(|text| case.pipeline(&(case.kind.input)(text), &parameters)));
                }
            }
            queries
        };
        // All windows of all queries go through the model in the order of `at`, so many at a time.
        let answers = |at: &dyn Fn(usize) -> u64, together: usize| -> Vec<Value> {
            let queries = queries();
            assert!(queries.iter().all(|query| !query.windows.is_empty()));
            let windows: Vec<&Features> = queries.iter().flat_map(|query| &query.windows).collect();
            let mut order: Vec<usize> = (0..windows.len()).collect();
            order.sort_by_key(|&window| at(window));
            let mut logits = vec![None; windows.len()];
            for group in order.chunks(together) {
                let batch: Vec<&Features> = group.iter().map(|&window| windows[window]).collect();
                for (&window, found) in group.iter().zip(case.model.logits(task, &batch).unwrap()) {
                    logits[window] = Some(found);
                }
            }
            let mut logits = logits.into_iter().map(Option::unwrap);
            queries
                .into_iter()
                .map(|query| {
                    let own = logits.by_ref().take(query.windows.len()).collect();
                    query.answer(own)
                })
                .collect()
        };
        let in_order = answers(&|window| window as u64, 7);
        let shuffled = answers(&|window| Key::seed(4).bits(window as u64), 23);
        let predicted = case.model.run(task, |task, runner| {
            let mut answers = Vec::new();
            let mut requests = requests.iter().map(|request| Ok((request.clone(), Place::file("requests"))));
            let mut keep = |answer| {
                answers.push(answer);
                Ok(())
            };
            task.predict(&mut requests, runner, &mut keep)?;
            Ok(answers)
        });
        let predicted = predicted.unwrap();
        assert_eq!(predicted.len(), texts.len());
        let pairs = in_order.iter().zip(&shuffled).chain(in_order.iter().zip(&predicted));
        for (one, other) in pairs {
            let ((rest, scores), (other_rest, other_scores)) = (split_scores(one), split_scores(other));
            assert_eq!(rest, other_rest, "{}", case.name());
            for (score, other) in scores.iter().zip(&other_scores) {
                assert!((score - other).abs() <= 1e-5, "{}: {score} and {other}", case.name());
            }
        }
    }
}

#[test]
fn a_batch_of_one_answers_as_a_batch_of_eight() {
    for case in cases(&[5, 6]) {
        let texts = [
            "ada",
            "ada was in london",
            "東京 and paris",
            "",
            "the queen of the north was mary .",
            "x y z",
            "1",
            "war",
        ];
        let requests: Vec<Value> = texts.iter().map(|text| (case.kind.request)(text)).collect();
        let session = Session { model: case.model };
        let task = case.kind.kind;
        let mut together = Vec::new();
        let mut all = requests.iter().map(|request| Ok((request.clone(), Place::file("requests"))));
        let mut keep = |answer| {
            together.push(answer);
            Ok(())
        };
        session.predict(task, &mut all, &mut keep).unwrap();
        for (request, together) in requests.iter().zip(&together) {
            let (rest, scores) = split_scores(&session.ask(task, request).unwrap());
            let (rest_together, scores_together) = split_scores(together);
            assert_eq!(rest, rest_together, "{task}");
            for (one, eight) in scores.iter().zip(&scores_together) {
                assert!((one - eight).abs() <= 1e-5, "{task}: {one} alone, {eight} among eight");
            }
        }
        assert_eq!(together.len(), 8);
    }
}

#[test]
fn malformed_requests_are_errors_that_name_their_place() {
    for case in cases(&[5, 6]) {
        let wrong = json!({ "text": 1, "words": 1, "question": 1, "context": 1 });
        let deep = (0..200).fold(json!("x"), |inner, _| json!([inner]));
        let anyone =
            [json!(null), json!(true), json!(1), json!("text"), json!([]), json!(["text"]), json!({}), wrong, deep];
        let session = Session { model: case.model };
        let task = case.kind.kind;
        for request in anyone.into_iter().chain((case.kind.malformed)()) {
            let mut answered = 0;
            let good = || Ok(((case.kind.request)("ada was here"), Place::line("in.jsonl", 1)));
            let mut requests = [good(), Ok((request.clone(), Place::line("in.jsonl", 2))), good()].into_iter();
            let mut count = |_| {
                answered += 1;
                Ok(())
            };
            let error = session.predict(task, &mut requests, &mut count).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data, "{task} {request}: {error}");
            assert!(error.to_string().starts_with("in.jsonl:2: expected"), "{task} {request}: {error}");
            assert!(error.to_string().len() < 1000, "{task}: {error}");
            assert_eq!(answered, 1, "{task} {request}: what came before it is answered");
        }
        let error = session.ask("no such task", &json!({})).unwrap_err();
        assert!(error.to_string().contains(task), "{error}");
    }
}

#[test]
fn a_configuration_with_an_unknown_or_impossible_value_is_refused() {
    for entry in TASKS {
        let kind = small::kind(entry.kind);
        for (field, value) in
            [("max_lenght", json!(5)), ("max_length", json!(0)), ("max_length", json!(-1)), ("max_length", json!("x"))]
        {
            let mut config = (kind.config)();
            config[field] = value;
            let error = (entry.open)(config).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{}: {error}", entry.kind);
        }
        for config in [json!(null), json!("x"), json!(3)] {
            assert!((entry.open)(config).is_err(), "{}", entry.kind);
        }
    }
}

#[test]
fn an_analysis_has_the_score_of_the_evaluation_and_something_to_say() {
    for case in cases(&[4, 9, 30]) {
        let task = &case.model.tasks[0];
        let folder = tempfile::tempdir().unwrap();
        let path = small::write_data(case.kind, "train", &[4, 9], folder.path());
        let train = || task.task.read(&path, None, &Layout::default()).map_err(|error| error.to_string());
        let (score, analysis) = case
            .model
            .run(task, |task, runner| {
                let score = task.evaluate(&case.examples, runner, &mut |_, _| ())?;
                Ok((score, task.analyse(&case.examples, &train, runner)?))
            })
            .unwrap();
        assert_eq!(score, analysis.score, "{}", case.name());
        assert!(!analysis.blocks.is_empty(), "{}", case.name());
    }
}
