//! Several tasks on one request, in one batch; windows that several tasks share are encoded once.
//!
//! The fields of a request are those of the model's tasks, by their own names; a task says which other field may stand in
//! for one that is left out. So `text` is enough for tasks that read one text, whatever they call it. A task that relates parts of a text is
//! asked about the parts that another task finds in `text`, where they are not given: in a second batch, of all pairs.

use super::answered;
use crate::body::{self, Untyped};
use crate::engine::Unread;
use crate::error::ApiError;
use crate::loaded::Loaded;
use crate::schemas::Schemas;
use crate::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use polyhead::ask::{Ask, PairsBetween, fields_of};
use polyhead::model::NamedTask;
use polyhead::text::offsets::OffsetUnit;
use schemars::{Schema, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// The answers of the tasks by their names.
#[derive(Serialize)]
struct Analyzed {
    results: Map<String, Value>,
    tokens: usize,
    seconds: f64,
}

/// `POST /analyze`
pub async fn analyze(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let began = Instant::now();
    let value = body::json(&headers, body, &app.limits, Untyped::Refused).await?;
    let loaded = app.loaded();
    let tasks = &loaded.model().tasks;
    let request = Ask::read(value, tasks)?;
    let parts = request.parts(tasks)?;
    for (name, text) in request.texts() {
        body::check_text(text, name, &app.limits)?;
    }
    let pairs = request.pairs(&parts, tasks);
    let (names, unread): (Vec<String>, _) =
        parts.into_iter().map(|part| (part.name, asked(part.task, part.request))).unzip();
    let answers = app.answer(loaded.clone(), unread).await?;
    let mut found: BTreeMap<String, Value> = names.into_iter().zip(answers.values).collect();
    let mut tokens = answers.tokens;
    if let Some(pairs) = pairs {
        let between = pairs.between(&found)?.into_iter().map(|pairs| (pairs.name.clone(), asked_pairs(pairs)));
        let (names, unread): (Vec<String>, _) = between.unzip();
        let answers = app.answer(loaded.clone(), unread).await?;
        tokens += answers.tokens;
        found.extend(names.into_iter().zip(answers.values));
    }
    let (results, seconds) = (request.results(tasks, found), began.elapsed().as_secs_f64());
    Ok(answered(&Analyzed { results, tokens, seconds }, tokens))
}

fn asked(task: usize, request: Value) -> Unread<Loaded> {
    Unread::new(task, request, move |loaded: &Loaded, request| {
        Ok(loaded.task_at(task)?.task.query(request, &loaded.model().tokenizer)?)
    })
}

fn asked_pairs(pairs: PairsBetween) -> Unread<Loaded> {
    let size = json!({ "text": &*pairs.text });
    Unread::new(pairs.task, size, move |loaded: &Loaded, _| {
        Ok(pairs.query(&loaded.model().tasks, &loaded.model().tokenizer)?)
    })
}

/// The form of a request: the fields of this model's tasks.
pub fn request(loaded: &Loaded, schemas: &mut Schemas) -> Schema {
    let tasks = &loaded.model().tasks;
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    for field in fields_of(tasks) {
        // Where no task can do without it.
        let needed = field.needed == tasks.len() && field.default.is_none();
        let kind = if needed { json!("string") } else { json!(["string", "null"]) };
        let about = field.about.join(" ");
        properties
            .insert(field.name.into(), json!({ "type": kind, "description": about, "examples": [field.example] }));
        required.extend(needed.then_some(field.name));
    }
    let names: Vec<&str> = tasks.iter().map(|named| named.name.as_str()).collect();
    properties.insert(
        "tasks".into(),
        json!({
            "type": ["array", "null"],
            "items": { "type": "string", "enum": names },
            "uniqueItems": true,
            "description": "The names of the tasks. If not given, all that can be answered with what is there.",
        }),
    );
    let unit = schemas.of::<OffsetUnit>();
    properties.insert(
        "offset_unit".into(),
        json!({
            "anyOf": [unit, { "type": "null" }],
            "description": "What `start` and `end` count: characters (Unicode code points) if not given.",
        }),
    );
    let form = json_schema!({
        "type": "object",
        "description": "Texts, by the names of the fields of this model's tasks.",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    });
    schemas.named("AnalyzeRequest", form)
}

/// The form of an answer: one of each task that was asked.
pub fn response(loaded: &Loaded, schemas: &mut Schemas) -> Schema {
    let tasks = &loaded.model().tasks;
    let answer = |named: &NamedTask| (named.name.clone(), json!(named.task.shape().schema(schemas.generator())));
    let results: Map<String, Value> = tasks.iter().map(answer).collect();
    let results = json_schema!({
        "type": "object",
        "description": "The answer of each task that was asked.",
        "properties": results,
        "additionalProperties": false,
    });
    let results = schemas.named("AnalyzeResults", results);
    let form = json_schema!({
        "type": "object",
        "required": ["results", "tokens", "seconds"],
        "properties": {
            "results": results,
            "tokens": { "type": "integer", "minimum": 0, "description": "Tokens that went through the model." },
            "seconds": { "type": "number", "minimum": 0, "description": "How long it took, waiting included." },
        },
    });
    schemas.named("AnalyzeResponse", form)
}
