//! The Open Inference Protocol, version 2, over REST: a task is a model, its texts are tensors of strings (`BYTES`).
//!
//! ```text
//! {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["...", "..."]}]}
//!     -> {"model_name": "ner", "outputs": [{"name": "entities", "shape": [2], "datatype": "BYTES", "data": ["[...]", "[...]"]}]}
//! ```
//!
//! Each field of the answers is a tensor; what is no text and no number is JSON in a string. Tensors are JSON, or binary
//! data after it (see [`super::binary`]).

use super::{Named, answered, binary, json, task_named};
use crate::body::{self, Untyped};
use crate::engine::Unread;
use crate::error::{ApiError, Code};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::schemas::Schemas;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use polyhead::ask::kind_of;
use polyhead::tasks::Field;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The one version that there is.
const VERSION: &str = "1";

/// A request for answers. What the protocol does not know goes into `parameters`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InferRequest")]
struct Request {
    /// Comes back with the answer.
    #[serde(default)]
    id: Option<String>,
    /// `binary_data_output`: whether outputs are binary data where nothing else is said of them.
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    /// One for each field of the task's requests, all of one shape.
    inputs: Vec<Tensor>,
    /// Which outputs to send; left out, all.
    #[serde(default)]
    outputs: Option<Vec<Wanted>>,
}

/// Texts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InputTensor")]
struct Tensor {
    /// The field.
    name: String,
    /// One or two dimensions, as many elements as there are data.
    shape: Vec<u64>,
    /// Texts are `BYTES`.
    #[schemars(extend("enum" = ["BYTES"]))]
    datatype: String,
    /// `binary_data_size`: how many of the bytes after the JSON are its data.
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    /// The texts, in an array or in arrays of an array; left out where they are binary data.
    #[schemars(schema_with = "input_data")]
    data: Option<Vec<Value>>,
    /// The data after the JSON that are its own.
    #[serde(skip)]
    bytes: Bytes,
}

fn input_data(_: &mut SchemaGenerator) -> Schema {
    let text = || json_schema!({ "type": "string" });
    json_schema!({ "type": "array", "items": { "anyOf": [text(), { "type": "array", "items": text() }] } })
}

fn output_data(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "number"] } })
}

/// An output by its name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WantedOutput")]
struct Wanted {
    /// Its name.
    name: String,
    /// `binary_data`: whether it is sent as binary data after the JSON.
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// Answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InferResponse")]
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
#[schemars(rename = "OutputTensor")]
struct Output {
    /// Its name.
    name: String,
    /// That of the inputs.
    shape: Vec<u64>,
    /// `BYTES`, `FP64` or `INT64`.
    #[schemars(extend("enum" = ["BYTES", "FP64", "INT64"]))]
    datatype: &'static str,
    /// `binary_data_size`: how many of the bytes after the JSON are its data, if binary data were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Map<String, Value>>,
    /// Texts or numbers, as many as the shape says; left out where they are binary data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "output_data")]
    data: Vec<Value>,
}

/// What the server says of itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InferenceServer")]
struct Server {
    /// `polyhead`
    name: &'static str,
    /// That of the program.
    version: &'static str,
    /// Those of the protocol that it knows.
    extensions: Vec<String>,
}

/// What there is to say of a task.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InferenceModel")]
struct ModelData {
    /// The task.
    name: String,
    /// There is one.
    versions: Vec<String>,
    /// `polyhead`
    platform: String,
    /// The fields of its requests.
    inputs: Vec<TensorData>,
    /// The fields of its answers.
    outputs: Vec<TensorData>,
}

/// A tensor without its data.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TensorMetadata")]
struct TensorData {
    /// Its name.
    name: String,
    /// `BYTES`, `FP64` or `INT64`.
    datatype: String,
    /// -1: any.
    shape: Vec<i64>,
}

/// Whether it runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InferenceLive")]
struct Live {
    /// Yes.
    live: bool,
}

/// Whether it takes requests.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InferenceReady")]
struct Ready {
    /// Yes: if not, the answer is a failure.
    ready: bool,
}

/// `GET /v2`
pub async fn server() -> Response {
    json(&Server {
        name: "polyhead",
        version: env!("CARGO_PKG_VERSION"),
        extensions: vec!["binary_tensor_data".into()],
    })
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
    // What an answer looks like follows from its shape.
    let fields = named.task.fields();
    let answer = named.task.shape().nothing().json();
    let outputs = answer.as_object().into_iter().flatten().filter(|(name, _)| *name != "text");
    Ok(json(&ModelData {
        name: named.name.clone(),
        versions: vec![VERSION.into()],
        platform: "polyhead".into(),
        inputs: fields.iter().map(|field| tensor(field.name, "BYTES")).collect(),
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
    let untyped = if headers.contains_key(binary::HEADER) { Untyped::Binary } else { Untyped::Json };
    let body = body::bytes(&headers, body, &app.limits, untyped).await?;
    let (head, data) = binary::split(&headers, body)?;
    let mut request: Request = body::fields(body::parsed(&head)?)?;
    share(&mut request.inputs, data)?;
    let shape = request.inputs.first().map(|tensor| tensor.shape.clone()).unwrap_or_default();
    let (id, wanted) = (request.id, request.outputs);
    let as_binary = flag(request.parameters.as_ref(), "parameters", "binary_data_output")?.unwrap_or(false);
    let mut binary: Vec<(String, bool)> = Vec::new();
    for output in wanted.iter().flatten() {
        let said = flag(output.parameters.as_ref(), "outputs.parameters", "binary_data")?;
        binary.push((output.name.clone(), said.unwrap_or(as_binary)));
    }
    let unread = read(&loaded, index, &request.inputs, &app.limits)?;
    let answers = app.answer(loaded, unread).await?;
    let tokens = answers.tokens;
    let mut outputs = outputs(answers.values, &shape);
    if let Some(wanted) = wanted {
        if let Some(unknown) = wanted.iter().find(|wanted| outputs.iter().all(|output| output.name != wanted.name)) {
            let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            let message = format!("outputs: expected some of {}, found `{}`", known.join(", "), unknown.name);
            return Err(ApiError::invalid(message));
        }
        outputs.retain(|output| wanted.iter().any(|wanted| wanted.name == output.name));
    }
    let mut data: Vec<u8> = Vec::new();
    let mut any = false;
    for output in &mut outputs {
        if binary.iter().find(|(name, _)| *name == output.name).map_or(as_binary, |(_, binary)| *binary) {
            let own = binary::encoded(output.datatype, &std::mem::take(&mut output.data));
            output.parameters = Some(Map::from_iter([("binary_data_size".to_owned(), json!(own.len()))]));
            data.extend(own);
            any = true;
        }
    }
    let model_name = path.get("task").cloned().unwrap_or_default();
    let answer = Answered { model_name, model_version: VERSION, id, outputs };
    if !any {
        return Ok(answered(&answer, tokens));
    }
    let mut body = serde_json::to_vec(&answer).map_err(|cause| ApiError::new(Code::Internal, cause.to_string()))?;
    let head = [("content-type", "application/octet-stream".to_owned()), (binary::HEADER, body.len().to_string())];
    body.extend(data);
    Ok(super::with_tokens((head, body).into_response(), tokens))
}

/// A parameter that is true or false.
fn flag(parameters: Option<&Map<String, Value>>, place: &str, name: &str) -> Result<Option<bool>, ApiError> {
    let Some(value) = parameters.and_then(|parameters| parameters.get(name)) else { return Ok(None) };
    let fault = || ApiError::invalid(format!("{place}.{name}: expected true or false, found {}", kind_of(value)));
    value.as_bool().map(Some).ok_or_else(fault)
}

/// Gives each input its part of the binary data.
fn share(inputs: &mut [Tensor], mut data: Bytes) -> Result<(), ApiError> {
    for tensor in inputs {
        let size = tensor.parameters.as_ref().and_then(|parameters| parameters.get("binary_data_size"));
        match (size, &tensor.data) {
            (Some(size), None) => tensor.bytes = binary::take(&mut data, size, &tensor.name)?,
            (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                let message = format!("inputs.{}: expected `data` or `binary_data_size`, found both", tensor.name);
                return Err(ApiError::invalid(message));
            }
            (None, None) => {
                return Err(ApiError::invalid(format!("inputs.{}: expected `data`, found none", tensor.name))
                    .hint("binary data have `binary_data_size` among the parameters of their tensor"));
            }
        }
    }
    if data.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(format!("expected as much binary data as the inputs say, found {} bytes more", data.len())))
}

fn read(loaded: &Loaded, index: usize, inputs: &[Tensor], limits: &Limits) -> Result<Vec<Unread<Loaded>>, ApiError> {
    let fields = loaded.task_at(index)?.task.fields();
    let mut columns: Vec<Vec<String>> = Vec::with_capacity(fields.len());
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    for field in &names {
        let mut of_field = inputs.iter().filter(|tensor| tensor.name == *field);
        let (Some(tensor), None) = (of_field.next(), of_field.next()) else {
            let found: Vec<&str> = inputs.iter().map(|tensor| tensor.name.as_str()).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return Err(ApiError::invalid(format!(
                "inputs: expected one tensor each of {}, found {found}",
                names.join(", ")
            )));
        };
        columns.push(texts(tensor, limits)?);
    }
    if let Some(unknown) = inputs.iter().find(|tensor| !names.contains(&tensor.name.as_str())) {
        let message = format!("inputs: expected tensors of {}, found `{}`", names.join(", "), unknown.name);
        return Err(ApiError::invalid(message));
    }
    let count = columns.first().map_or(0, Vec::len);
    if inputs.iter().any(|tensor| Some(&tensor.shape) != inputs.first().map(|first| &first.shape)) {
        return Err(ApiError::invalid("inputs: expected tensors of one shape, found several"));
    }
    let mut unread = Vec::with_capacity(count);
    for at in 0..count {
        let text = |(field, column): (&Field, &Vec<String>)| (field.name.to_owned(), json!(column.get(at)));
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
    let mut texts = binary::texts(&tensor.bytes).or_else(fault)?;
    let mut data = tensor.data.iter().flatten();
    if let Err(found) = data.try_for_each(|item| flatten(item, &mut texts)) {
        return fault(format!("expected strings, found {found}"));
    }
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
        other => return Err(kind_of(other)),
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
                None => {
                    let shape = shape.to_vec();
                    outputs.push(Output { name, shape, datatype, parameters: None, data: vec![value] });
                }
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
pub fn request(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Request>()
}

/// The form of an answer.
pub fn response(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Answered>()
}

/// See [`Server`].
pub fn server_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Server>()
}

/// See [`Live`].
pub fn live_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Live>()
}

/// See [`Ready`].
pub fn ready_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Ready>()
}

/// See [`ModelData`].
pub fn model_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<ModelData>()
}
