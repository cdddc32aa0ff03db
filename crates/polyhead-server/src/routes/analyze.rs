//! Several tasks on one request, in one batch; windows that several tasks share are encoded once.
//!
//! The fields of a request are those of the model's tasks, by their own names; a task says which other field may stand in
//! for one that is left out. So `text` is enough for tasks that read one text, whatever they call it. A task that relates parts of a text is
//! asked about the parts that another task finds in `text`, where they are not given: in a second batch, of all pairs.

use super::{answered, task_named};
use crate::body::{self, Untyped};
use crate::engine::Unread;
use crate::error::{ApiError, Code};
use crate::fields::{OWN, fields_of};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::schemas::Schemas;
use crate::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use polyhead::Error;
use polyhead::model::NamedTask;
use polyhead::tasks::{Answer, Field, Shape, found};
use polyhead::text::offsets::OffsetUnit;
use schemars::{Schema, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A request that was read.
struct Request {
    /// The texts by the names of their fields.
    texts: Map<String, Value>,
    /// The names of the tasks; left out, all that can be answered with what is there.
    tasks: Option<Vec<String>>,
    /// What offsets count.
    unit: OffsetUnit,
}

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
    let request = Request::read(value, &loaded.model().tasks)?;
    let tasks = chosen(&loaded, &request)?;
    let names: Vec<String> = tasks.iter().map(|(_, name)| name.clone()).collect();
    let unread = read(&loaded, &tasks, &request, &app.limits)?;
    let pairs = Pairs::of(&loaded, &tasks, &request);
    let answers = app.answer(loaded.clone(), unread).await?;
    let mut found: BTreeMap<String, Value> = names.into_iter().zip(answers.values).collect();
    let mut tokens = answers.tokens;
    if let Some(pairs) = pairs {
        let (names, unread) = pairs.between(&found)?;
        let answers = app.answer(loaded.clone(), unread).await?;
        tokens += answers.tokens;
        found.extend(names.into_iter().zip(answers.values));
    }
    let in_order = loaded.model().tasks.iter().map(|named| &named.name);
    let results = in_order.filter_map(|name| Some((name.clone(), without_text(found.remove(name)?, &request))));
    let (results, seconds) = (results.collect(), began.elapsed().as_secs_f64());
    Ok(answered(&Analyzed { results, tokens, seconds }, tokens))
}

impl Request {
    fn read(value: Value, tasks: &[NamedTask]) -> Result<Self, ApiError> {
        let Value::Object(mut fields) = value else {
            return Err(ApiError::invalid(format!("expected an object, found {}", body::kind(&value))));
        };
        // What is null is left out.
        fields.retain(|_, value| !value.is_null());
        let tasks_named = fields.shift_remove("tasks").map(serde_json::from_value).transpose();
        let unit = fields.shift_remove("offset_unit");
        let unit = unit.map_or(Ok(OffsetUnit::default()), |value| {
            serde_json::from_value(value.clone()).map_err(|_| {
                let found = found(Some(&value));
                ApiError::invalid(format!("offset_unit: expected \"char\", \"byte\" or \"utf16\", found {found}"))
            })
        })?;
        let known = fields_of(tasks);
        for (name, value) in &fields {
            if !known.iter().any(|known| known.name == name) {
                let names: Vec<&str> = known.iter().map(|known| known.name).chain(OWN).collect();
                let name = found(Some(&json!(name)));
                return Err(ApiError::invalid(format!("unknown field {name}, expected some of {}", names.join(", "))));
            }
            if !value.is_string() {
                return Err(ApiError::invalid(format!("{name}: expected a text, found {}", body::kind(value))));
            }
        }
        let wrong = |_| ApiError::invalid("tasks: expected an array of names");
        Ok(Self { texts: fields, tasks: tasks_named.map_err(wrong)?, unit })
    }

    /// The text of a field, or the one that stands in for it.
    fn text(&self, field: &Field) -> Option<&str> {
        let of = |name: &str| self.texts.get(name)?.as_str();
        of(field.name).or_else(|| of(field.default?))
    }

    fn missing(&self, fields: &'static [Field]) -> Vec<&'static Field> {
        fields.iter().filter(|field| self.text(field).is_none()).collect()
    }
}

/// What is asked of tasks that relate parts of a text once another task has found the parts.
struct Pairs {
    text: String,
    unit: OffsetUnit,
    /// The task that finds them.
    finder: String,
    /// The tasks that relate them, by place and name.
    related: Vec<(usize, String)>,
}

impl Pairs {
    /// The tasks that were not given their parts, if a task that is asked finds parts in `text`.
    fn of(loaded: &Loaded, asked: &[(usize, String)], request: &Request) -> Option<Self> {
        let text = request.texts.get("text")?.as_str()?.to_owned();
        let all = &loaded.model().tasks;
        let finder = asked.iter().find(|(index, _)| all.get(*index).is_some_and(|named| named.task.mentions()))?;
        let is_wanted = |name: &String| request.tasks.as_ref().is_none_or(|tasks| tasks.contains(name));
        let lacks = |named: &NamedTask| named.task.takes_pairs() && !request.missing(named.task.fields()).is_empty();
        let related = all.iter().enumerate().filter(|(_, named)| is_wanted(&named.name) && lacks(named));
        let related: Vec<(usize, String)> = related.map(|(index, named)| (index, named.name.clone())).collect();
        (!related.is_empty()).then(|| Self { text, unit: request.unit, finder: finder.1.clone(), related })
    }

    /// The query of each of these tasks about the parts that were found.
    fn between(self, found: &BTreeMap<String, Value>) -> Result<(Vec<String>, Vec<Unread<Loaded>>), ApiError> {
        let answer = found.get(&self.finder).map(|answer| Shape::Spans.read(answer)).transpose();
        let spans = match answer {
            Ok(Some(Answer::Spans(spans))) => Arc::new(spans.entities),
            _ => return Err(ApiError::new(Code::Internal, format!("`{}` found no spans", self.finder))),
        };
        let mut names = Vec::with_capacity(self.related.len());
        let mut unread = Vec::with_capacity(self.related.len());
        for (index, name) in self.related {
            let (spans, unit) = (spans.clone(), self.unit);
            unread.push(Unread::new(index, json!({ "text": self.text }), move |loaded: &Loaded, request| {
                let text = request.get("text").and_then(Value::as_str).unwrap_or_default();
                let query = loaded.task_at(index)?.task.pairs(text, &spans, unit, &loaded.model().tokenizer);
                Ok(query.ok_or_else(|| Error::internal("a task that relates no parts"))??)
            }));
            names.push(name);
        }
        Ok((names, unread))
    }
}

/// `context` (or `text`)
fn said(field: &Field) -> String {
    field.default.map_or(format!("`{}`", field.name), |default| format!("`{}` (or `{default}`)", field.name))
}

/// The tasks that are asked, by place and name.
fn chosen(loaded: &Loaded, request: &Request) -> Result<Vec<(usize, String)>, ApiError> {
    let all = &loaded.model().tasks;
    let Some(names) = &request.tasks else {
        let able = all.iter().enumerate().filter(|(_, named)| request.missing(named.task.fields()).is_empty());
        let able: Vec<(usize, String)> = able.map(|(index, named)| (index, named.name.clone())).collect();
        if able.is_empty() {
            let needs = |named: &NamedTask| {
                let missing: Vec<String> = request.missing(named.task.fields()).into_iter().map(said).collect();
                format!("`{}` lacks {}", named.name, missing.join(", "))
            };
            let needs: Vec<String> = all.iter().map(needs).collect();
            return Err(ApiError::invalid(format!("expected the texts of a task: {}", needs.join("; ")))
                .hint("/info states the fields of each task"));
        }
        return Ok(able);
    };
    let finds = |name: &String| all.iter().any(|named| &named.name == name && named.task.mentions());
    let parts_are_found = request.texts.contains_key("text") && names.iter().any(finds);
    let mut chosen: Vec<(usize, String)> = Vec::with_capacity(names.len());
    for name in names {
        let index = task_named(loaded, name).map_err(|error| error.with_code(Code::Invalid))?;
        if chosen.iter().any(|(known, _)| *known == index) {
            return Err(ApiError::invalid(format!("tasks: expected each once, found `{name}` twice")));
        }
        let fields = all.get(index).map_or(&[][..], |named| named.task.fields());
        let takes_pairs = all.get(index).is_some_and(|named| named.task.takes_pairs());
        let missing = request.missing(fields);
        if takes_pairs && parts_are_found && !missing.is_empty() {
            // It is asked once they are found: see `Pairs`.
            continue;
        }
        if let Some(missing) = missing.first() {
            let stand_in = missing.default.map_or(String::new(), |default| format!(" (or `{default}` in its place)"));
            let message = format!("{}: expected a text{stand_in}, which `{name}` needs, found none", missing.name);
            return Err(ApiError::invalid(message));
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
    for (name, text) in &request.texts {
        body::check_text(text.as_str().unwrap_or(""), name, limits)?;
    }
    let mut unread = Vec::with_capacity(tasks.len());
    for &(index, _) in tasks {
        let named = loaded.task_at(index)?;
        let of = |field: &Field| Some((field.name.to_owned(), json!(request.text(field)?)));
        let mut own: Map<String, Value> = named.task.fields().iter().filter_map(of).collect();
        own.insert("offset_unit".into(), json!(request.unit));
        unread.push(Unread::new(index, Value::Object(own), move |loaded: &Loaded, request| {
            Ok(loaded.task_at(index)?.task.query(request, &loaded.model().tokenizer)?)
        }));
    }
    Ok(unread)
}

/// Leaves out the text of an answer that the client has.
fn without_text(mut answer: Value, request: &Request) -> Value {
    if let Value::Object(fields) = &mut answer
        && fields.get("text").is_some_and(|text| request.texts.values().any(|sent| sent == text))
    {
        fields.shift_remove("text");
    }
    answer
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
