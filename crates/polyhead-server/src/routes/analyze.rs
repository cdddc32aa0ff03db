//! Several tasks on one text, in one batch; windows that several tasks share are encoded once.

use super::json;
use crate::body::{self, Untyped};
use crate::engine::Unread;
use crate::error::{ApiError, Code};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use polyhead::text::offsets::OffsetUnit;
use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Instant;

/// A text and what is asked of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The text: also the context of a question.
    text: String,
    /// What is asked about the text, for tasks that answer questions.
    #[serde(default)]
    question: Option<String>,
    /// The names of the tasks; left out, all that can be answered with what is there.
    #[serde(default)]
    tasks: Option<Vec<String>>,
    /// What offsets count.
    #[serde(default)]
    offset_unit: Option<OffsetUnit>,
}

/// The answers of the tasks by their names.
#[derive(Serialize)]
struct Analyzed {
    results: Map<String, Value>,
    /// Tokens that went through the model.
    tokens: usize,
    /// How long it took, waiting included.
    seconds: f64,
}

/// `POST /analyze`
pub async fn analyze(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let began = Instant::now();
    let request: Request = body::fields(body::json(&headers, body, &app.limits, Untyped::Refused).await?)?;
    let loaded = app.loaded();
    let tasks = chosen(&loaded, &request)?;
    let names: Vec<String> = tasks.iter().map(|(_, name)| name.clone()).collect();
    let unread = read(&loaded, &tasks, &request, &app.limits)?;
    let answers = app.answer(loaded, unread).await?;
    let results = names.into_iter().zip(answers.values.into_iter().map(without_text)).collect();
    Ok(json(&Analyzed { results, tokens: answers.tokens, seconds: began.elapsed().as_secs_f64() }))
}

/// The tasks that are asked, by place and name.
fn chosen(loaded: &Loaded, request: &Request) -> Result<Vec<(usize, String)>, ApiError> {
    let has = |field: &str| field != "question" || request.question.is_some();
    let all = loaded.model().tasks.iter().enumerate();
    let Some(names) = &request.tasks else {
        let able = all.filter(|(_, named)| named.task.fields().iter().all(|field| has(field)));
        return Ok(able.map(|(index, named)| (index, named.name.clone())).collect());
    };
    let mut chosen: Vec<(usize, String)> = Vec::with_capacity(names.len());
    for name in names {
        let index = super::task_named(loaded, name).map_err(|error| error.with_code(Code::Invalid))?;
        if chosen.iter().any(|(known, _)| *known == index) {
            return Err(ApiError::invalid(format!("tasks: expected each once, found `{name}` twice")));
        }
        let fields = loaded.model().tasks.get(index).map_or(&[][..], |named| named.task.fields());
        if let Some(missing) = fields.iter().find(|field| !has(field)) {
            return Err(ApiError::invalid(format!("{missing}: expected a text, which `{name}` needs, found none")));
        }
        chosen.push((index, name.clone()));
    }
    Ok(chosen)
}

fn read(
    loaded: &Loaded,
    tasks: &[(usize, String)],
    request: &Request,
    limits: &Limits,
) -> Result<Vec<Unread<Loaded>>, ApiError> {
    body::check_text(&request.text, "text", limits)?;
    let question = request.question.as_deref().unwrap_or("");
    body::check_text(question, "question", limits)?;
    let unit = request.offset_unit.unwrap_or_default();
    let mut unread = Vec::with_capacity(tasks.len());
    for &(index, _) in tasks {
        let named = loaded.task_at(index)?;
        let of =
            |field: &&str| ((*field).to_owned(), json!(if *field == "question" { question } else { &request.text }));
        let mut own: Map<String, Value> = named.task.fields().iter().map(of).collect();
        own.insert("offset_unit".into(), json!(unit));
        unread.push(Unread::new(index, Value::Object(own), move |loaded: &Loaded, request| {
            Ok(loaded.task_at(index)?.task.query(request, &loaded.model().tokenizer)?)
        }));
    }
    Ok(unread)
}

/// The client has the text.
fn without_text(mut answer: Value) -> Value {
    if let Value::Object(fields) = &mut answer {
        fields.remove("text");
    }
    answer
}

/// The form of a request.
pub fn request(_: &Loaded) -> Schema {
    super::schema_of::<Request>()
}

/// The form of an answer.
pub fn response(loaded: &Loaded) -> Schema {
    let results: Map<String, Value> =
        loaded.model().tasks.iter().map(|task| (task.name.clone(), json!({ "type": "object" }))).collect();
    json_schema!({
        "type": "object",
        "required": ["results", "tokens", "seconds"],
        "properties": {
            "results": { "type": "object", "properties": results, "additionalProperties": false },
            "tokens": { "type": "integer", "minimum": 0 },
            "seconds": { "type": "number", "minimum": 0 },
        },
    })
}
