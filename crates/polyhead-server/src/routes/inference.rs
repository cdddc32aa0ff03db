//! The Open Inference Protocol, version 2, over REST: a task is a model, its texts are tensors of strings (`BYTES`).
//!
//! ```text
//! {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["...", "..."]}]}
//!     -> {"model_name": "ner", "outputs": [{"name": "entities", "shape": [2], "datatype": "BYTES", "data": ["[...]", "[...]"]}]}
//! ```
//!
//! Each field of the answers is a tensor; what is no text and no number is JSON in a string.

use super::{Named, json, task_named};
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
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The one version that there is.
const VERSION: &str = "1";

/// A request for answers. What the protocol does not know goes into `parameters`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Comes back with the answer.
    #[serde(default)]
    id: Option<String>,
    /// Not used.
    #[serde(default, rename = "parameters")]
    _parameters: Option<Map<String, Value>>,
    /// One for each field of the task's requests, all of one shape.
    inputs: Vec<Tensor>,
    /// Which outputs to send; left out, all.
    #[serde(default)]
    outputs: Option<Vec<Wanted>>,
}

/// Texts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tensor {
    /// The field.
    name: String,
    /// One or two dimensions, as many elements as there are data.
    shape: Vec<u64>,
    /// `BYTES`.
    datatype: String,
    /// Not used.
    #[serde(default, rename = "parameters")]
    _parameters: Option<Map<String, Value>>,
    /// The texts, in an array or in arrays of an array.
    data: Vec<Value>,
}

/// An output by its name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Its name.
    name: String,
    /// Not used.
    #[serde(default, rename = "parameters")]
    _parameters: Option<Map<String, Value>>,
}

/// Answers.
#[derive(Serialize, JsonSchema)]
struct Answered {
    /// The task.
    model_name: String,
    /// Always 1.
    model_version: &'static str,
    /// That of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// One for each field of the answers.
    outputs: Vec<Output>,
}

/// A field of all answers.
#[derive(Serialize, JsonSchema)]
struct Output {
    /// Its name.
    name: String,
    /// That of the inputs.
    shape: Vec<u64>,
    /// `BYTES`, `FP64` or `INT64`.
    datatype: &'static str,
    /// Texts or numbers, as many as the shape says.
    data: Vec<Value>,
}

/// What the server says of itself.
#[derive(Serialize, JsonSchema)]
struct Server {
    name: &'static str,
    version: &'static str,
    extensions: Vec<String>,
}

/// What there is to say of a task.
#[derive(Serialize, JsonSchema)]
struct ModelData {
    name: String,
    versions: Vec<String>,
    platform: String,
    inputs: Vec<TensorData>,
    outputs: Vec<TensorData>,
}

/// A tensor without its data.
#[derive(Serialize, JsonSchema)]
struct TensorData {
    name: String,
    datatype: String,
    /// -1: any.
    shape: Vec<i64>,
}

/// Whether it runs.
#[derive(Serialize, JsonSchema)]
struct Live {
    live: bool,
}

/// Whether it takes requests.
#[derive(Serialize, JsonSchema)]
struct Ready {
    ready: bool,
}

/// `GET /v2`
pub async fn server() -> Response {
    json(&Server { name: "polyhead", version: env!("CARGO_PKG_VERSION"), extensions: Vec::new() })
}

/// `GET /v2/health/live`
pub async fn live() -> Response {
    json(&Live { live: true })
}

/// `GET /v2/health/ready`
pub async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    if app.draining() {
        Err(ApiError::new(Code::Unavailable, "the server is stopping"))
    } else {
        Ok(json(&Ready { ready: true }))
    }
}

/// `GET /v2/models/TASK/ready`
pub async fn model_ready(State(app): State<App>, path: Named<HashMap<String, String>>) -> Result<Response, ApiError> {
    let path = super::named(path)?;
    task_of(&app.loaded(), &path)?;
    ready(State(app)).await
}

/// `GET /v2/models/TASK`
pub async fn model(State(app): State<App>, path: Named<HashMap<String, String>>) -> Result<Response, ApiError> {
    let path = super::named(path)?;
    let loaded = app.loaded();
    let index = task_of(&loaded, &path)?;
    let named = loaded.model().tasks.get(index).ok_or_else(|| ApiError::new(Code::NotFound, "no such task"))?;
    let tensor =
        |name: &str, datatype: &str| TensorData { name: name.into(), datatype: datatype.into(), shape: vec![-1] };
    // What an answer looks like is asked of the task itself: of nothing at all, which needs no model.
    let fields = named.task.fields();
    let empty: Map<String, Value> = fields.iter().map(|&field| (field.to_owned(), json!("?"))).collect();
    let answer = named.task.query(&Value::Object(empty), &loaded.model().tokenizer)?.answer(Vec::new());
    let outputs = answer.as_object().into_iter().flatten().filter(|(name, _)| *name != "text");
    Ok(json(&ModelData {
        name: named.name.clone(),
        versions: vec![VERSION.into()],
        platform: "polyhead".into(),
        inputs: fields.iter().map(|field| tensor(field, "BYTES")).collect(),
        outputs: outputs.map(|(name, value)| tensor(name, datatype(name, value))).collect(),
    }))
}

fn task_of(loaded: &Loaded, path: &HashMap<String, String>) -> Result<usize, ApiError> {
    if let Some(version) = path.get("version").filter(|version| *version != VERSION) {
        return Err(ApiError::new(Code::NotFound, format!("expected the version {VERSION}, found `{version}`")));
    }
    task_named(loaded, path.get("task").map_or("", String::as_str))
}

/// `POST /v2/models/TASK/infer`
pub async fn infer(
    State(app): State<App>,
    path: Named<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let path = super::named(path)?;
    let loaded = app.loaded();
    let index = task_of(&loaded, &path)?;
    if headers.contains_key("inference-header-content-length") {
        return Err(ApiError::new(Code::UnsupportedMediaType, "expected JSON, found binary tensors")
            .hint("send and ask for tensors as JSON (`binary_data` false)"));
    }
    let value = body::json(&headers, body, &app.limits, Untyped::Json).await?;
    if !value.is_object() {
        return Err(ApiError::invalid(format!("expected an object, found {}", body::kind(&value))));
    }
    let request: Request = serde_json::from_value(value).map_err(|cause| ApiError::invalid(cause.to_string()))?;
    let shape = request.inputs.first().map(|tensor| tensor.shape.clone()).unwrap_or_default();
    let (id, wanted) = (request.id, request.outputs);
    let unread = read(&loaded, index, &request.inputs, &app.limits)?;
    let answers = app.answer(loaded, unread).await?;
    let mut outputs = outputs(answers.values, &shape);
    if let Some(wanted) = wanted {
        if let Some(unknown) = wanted.iter().find(|wanted| outputs.iter().all(|output| output.name != wanted.name)) {
            let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            let message = format!("outputs: expected some of {}, found `{}`", known.join(", "), unknown.name);
            return Err(ApiError::invalid(message));
        }
        outputs.retain(|output| wanted.iter().any(|wanted| wanted.name == output.name));
    }
    let model_name = path.get("task").cloned().unwrap_or_default();
    Ok(json(&Answered { model_name, model_version: VERSION, id, outputs }))
}

fn read(loaded: &Loaded, index: usize, inputs: &[Tensor], limits: &Limits) -> Result<Vec<Unread<Loaded>>, ApiError> {
    let fields = loaded.task_at(index)?.task.fields();
    let mut columns: Vec<Vec<String>> = Vec::with_capacity(fields.len());
    for field in fields {
        let mut of_field = inputs.iter().filter(|tensor| tensor.name == *field);
        let (Some(tensor), None) = (of_field.next(), of_field.next()) else {
            let found: Vec<&str> = inputs.iter().map(|tensor| tensor.name.as_str()).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return Err(ApiError::invalid(format!(
                "inputs: expected one tensor each of {}, found {found}",
                fields.join(", ")
            )));
        };
        columns.push(texts(tensor, limits)?);
    }
    if let Some(unknown) = inputs.iter().find(|tensor| !fields.contains(&tensor.name.as_str())) {
        let message = format!("inputs: expected tensors of {}, found `{}`", fields.join(", "), unknown.name);
        return Err(ApiError::invalid(message));
    }
    let count = columns.first().map_or(0, Vec::len);
    if inputs.iter().any(|tensor| Some(&tensor.shape) != inputs.first().map(|first| &first.shape)) {
        return Err(ApiError::invalid("inputs: expected tensors of one shape, found several"));
    }
    let mut unread = Vec::with_capacity(count);
    for at in 0..count {
        let text = |(field, column): (&&str, &Vec<String>)| ((*field).to_owned(), json!(column.get(at)));
        let request: Map<String, Value> = fields.iter().zip(&columns).map(text).collect();
        unread.push(Unread::new(index, Value::Object(request), move |loaded: &Loaded, request| {
            Ok(loaded.task_at(index)?.task.query(request, &loaded.model().tokenizer)?)
        }));
    }
    Ok(unread)
}

/// The texts of a tensor.
fn texts(tensor: &Tensor, limits: &Limits) -> Result<Vec<String>, ApiError> {
    let fault = |what: String| Err(ApiError::invalid(format!("inputs.{}: {what}", tensor.name)));
    if tensor.datatype != "BYTES" {
        return fault(format!("expected the datatype BYTES, found `{}`", tensor.datatype));
    }
    if !(1..=2).contains(&tensor.shape.len()) {
        return fault(format!("expected one or two dimensions, found {}", tensor.shape.len()));
    }
    let expected = tensor.shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    let mut texts = Vec::new();
    tensor
        .data
        .iter()
        .try_for_each(|item| flatten(item, &mut texts))
        .map_err(|found| ApiError::invalid(format!("inputs.{}: expected strings, found {found}", tensor.name)))?;
    if expected != Some(texts.len() as u64) {
        return fault(format!("expected as many data as the shape {:?} says, found {}", tensor.shape, texts.len()));
    }
    if texts.len() > limits.texts {
        return fault(format!("expected at most {} texts, found {}", limits.texts, texts.len()));
    }
    texts.iter().try_for_each(|text| body::check_text(text, &tensor.name, limits))?;
    Ok(texts)
}

fn flatten(data: &Value, into: &mut Vec<String>) -> Result<(), &'static str> {
    match data {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => {
            for item in items {
                flatten(item, into)?;
            }
        }
        other => return Err(body::kind(other)),
    }
    Ok(())
}

/// A tensor for each field of the answers.
fn outputs(answers: Vec<Value>, shape: &[u64]) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::new();
    for answer in answers {
        let Value::Object(fields) = answer else { continue };
        // The client has the text.
        for (name, value) in fields.into_iter().filter(|(name, _)| name != "text") {
            let datatype = datatype(&name, &value);
            let value = if datatype != "BYTES" || value.is_string() { value } else { value.to_string().into() };
            match outputs.iter_mut().find(|output| output.name == name) {
                Some(output) => output.data.push(value),
                None => outputs.push(Output { name, shape: shape.to_vec(), datatype, data: vec![value] }),
            }
        }
    }
    outputs
}

/// By the name too, because a score may happen to be whole.
fn datatype(name: &str, value: &Value) -> &'static str {
    match value {
        Value::Number(_) if name == "score" => "FP64",
        Value::Number(number) if number.is_f64() => "FP64",
        Value::Number(_) => "INT64",
        _ => "BYTES",
    }
}

/// The form of a request.
pub fn request(_: &Loaded) -> Schema {
    super::schema_of::<Request>()
}

/// The form of an answer.
pub fn response(_: &Loaded) -> Schema {
    super::schema_of::<Answered>()
}

/// See [`Server`].
pub fn server_schema(_: &Loaded) -> Schema {
    super::schema_of::<Server>()
}

/// See [`Live`].
pub fn live_schema(_: &Loaded) -> Schema {
    super::schema_of::<Live>()
}

/// See [`Ready`].
pub fn ready_schema(_: &Loaded) -> Schema {
    super::schema_of::<Ready>()
}

/// See [`ModelData`].
pub fn model_schema(_: &Loaded) -> Schema {
    super::schema_of::<ModelData>()
}
