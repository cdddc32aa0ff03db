//! Requests in the form of Hugging Face's inference API: `{"inputs": ..., "parameters": {...}}`.

use super::{Named, answered, task_named};
use crate::body::{self, Untyped};
use crate::engine::Unread;
use crate::error::ApiError;
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::schemas::{Schemas, any_object, one_of, type_name};
use crate::state::App;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use polyhead::ask::{example, kind_of};
use polyhead::model::NamedTask;
use polyhead::tasks::Alone;
use schemars::{Schema, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    inputs: Value,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    /// What clients say of caches and waiting: there is none of either.
    #[serde(default, rename = "options")]
    _options: Option<Map<String, Value>>,
}

/// The form of the inputs decides which task answers.
pub async fn any(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let loaded = app.loaded();
    answer(app, loaded, None, headers, body).await
}

/// The task has its name in the address.
pub async fn named(
    State(app): State<App>,
    task: Named<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (task, loaded) = (super::named(task)?, app.loaded());
    let index = task_named(&loaded, &task)?;
    answer(app, loaded, Some(index), headers, body).await
}

async fn answer(
    app: App,
    loaded: Arc<Loaded>,
    task: Option<usize>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: Request = body::fields(body::json(&headers, body, &app.limits, Untyped::Refused).await?)?;
    let many = request.inputs.is_array();
    let unread = read(&loaded, task, request, &app.limits)?;
    let answering = unread.first().and_then(|first| loaded.task_at(first.task()).ok()?.task.pipeline());
    let bare = !many && answering.is_none_or(|pipeline| pipeline.alone == Alone::Bare);
    let mut answers = app.answer(loaded, unread).await?;
    let tokens = answers.tokens;
    match answers.values.pop() {
        Some(only) if bare => Ok(answered(&only, tokens)),
        last => {
            answers.values.extend(last);
            Ok(answered(&answers.values, tokens))
        }
    }
}

fn read(
    loaded: &Loaded,
    task: Option<usize>,
    request: Request,
    limits: &Limits,
) -> Result<Vec<Unread<Loaded>>, ApiError> {
    let parameters = Arc::new(request.parameters.unwrap_or_default());
    let inputs = match request.inputs {
        Value::Array(inputs) => inputs,
        one => vec![one],
    };
    if inputs.len() > limits.texts {
        let message = format!("inputs: expected at most {} of them, found {}", limits.texts, inputs.len());
        return Err(ApiError::invalid(message).hint("send several requests; /info states the limits"));
    }
    if inputs.is_empty() && !parameters.is_empty() {
        check_parameters(loaded, task, &parameters)?;
    }
    let mut unread: Vec<Unread<Loaded>> = Vec::with_capacity(inputs.len());
    for input in inputs {
        body::check_texts(&input, "inputs", limits)?;
        let task = match task {
            Some(task) => task,
            None => told_by(loaded, &input)?,
        };
        if unread.first().is_some_and(|first| first.task() != task) {
            return Err(ApiError::invalid("inputs: expected all of them of one form, found several"));
        }
        let named = loaded.task_at(task)?;
        if !named.task.accepts(&input) {
            return Err(misshapen(named, &input));
        }
        let parameters = parameters.clone();
        unread.push(Unread::new(task, input, move |loaded: &Loaded, input| {
            Ok(loaded.task_at(task)?.task.pipeline_query(input, &parameters, &loaded.model().tokenizer)?)
        }));
    }
    Ok(unread)
}

/// Refuses parameters that none of the tasks in question takes, where no input tells which task it is.
fn check_parameters(loaded: &Loaded, task: Option<usize>, parameters: &Map<String, Value>) -> Result<(), ApiError> {
    let all = loaded.model().tasks.iter().enumerate();
    let asked = all.filter(|(index, _)| task.is_none_or(|task| task == *index));
    let mut refusal = None;
    for (_, named) in asked {
        let Some(input) = example(named) else { continue };
        match named.task.pipeline_query(&input, parameters, &loaded.model().tokenizer) {
            Ok(_) => return Ok(()),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    refusal.map_or(Ok(()), |error| Err(error.into()))
}

/// The task that takes an input of this form.
fn told_by(loaded: &Loaded, input: &Value) -> Result<usize, ApiError> {
    let mut taking = loaded.model().tasks.iter().enumerate().filter(|(_, named)| named.task.accepts(input));
    match (taking.next(), taking.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some((_, first)), Some(_)) => {
            let message = format!("several tasks take such inputs: `{}` is one of them", first.name);
            Err(ApiError::invalid(message).hint(format!("name the task in the address: /tasks/{}", first.name)))
        }
        _ => Err(ApiError::invalid(format!("inputs: no task of this model takes {}", kind_of(input)))
            .hint(forms(loaded.model().tasks.iter()))),
    }
}

/// What the inference APIs of tasks take: `token-classification: a text; question-answering: {"question", "context"}`.
fn forms<'a>(tasks: impl Iterator<Item = &'a NamedTask>) -> String {
    let form = |named: &NamedTask| {
        let (pipeline, input) = (named.task.pipeline()?, example(named)?);
        let fields = input.as_object().map(|fields| fields.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>());
        let form = fields.map_or_else(|| "a text".to_owned(), |names| format!("{{{}}}", names.join(", ")));
        Some(format!("{}: {form}", pipeline.name))
    };
    let mut forms: Vec<String> = tasks.filter_map(form).collect();
    forms.dedup();
    if forms.is_empty() { "POST /analyze answers with every task".to_owned() } else { forms.join("; ") }
}

fn misshapen(named: &NamedTask, input: &Value) -> ApiError {
    let found = kind_of(input);
    match named.task.pipeline() {
        Some(pipeline) => ApiError::invalid(format!("inputs: expected what {} takes, found {found}", pipeline.name))
            .hint(forms(std::iter::once(named))),
        None => ApiError::invalid(format!("`{}` has no inference API of Hugging Face", named.name))
            .hint("POST /analyze answers with it"),
    }
}

/// The form of a request: one for each inference API that the tasks have.
pub fn request(loaded: &Loaded, schemas: &mut Schemas) -> Schema {
    let pipelines = loaded.model().tasks.iter().filter_map(|named| named.task.pipeline());
    let forms: Vec<Schema> = pipelines
        .map(|pipeline| {
            let (input, parameters) =
                ((pipeline.input)(schemas.generator()), (pipeline.parameters)(schemas.generator()));
            let options = any_object();
            let form = json_schema!({
                "type": "object",
                "required": ["inputs"],
                "additionalProperties": false,
                "properties": {
                    "inputs": {
                        "anyOf": [input, { "type": "array", "items": input }],
                        "description": "One, or an array of them: then the answer is an array too.",
                    },
                    "parameters": { "anyOf": [parameters, { "type": "null" }] },
                    "options": {
                        "anyOf": [options, { "type": "null" }],
                        "description": "What clients say of caches and waiting. Not used: there is none of either.",
                    },
                },
            });
            schemas.named(&format!("{}Request", type_name(pipeline.name)), form)
        })
        .collect();
    one_of(forms.into_iter())
}

/// The form of an answer.
pub fn response(loaded: &Loaded, schemas: &mut Schemas) -> Schema {
    let pipelines = loaded.model().tasks.iter().filter_map(|named| named.task.pipeline());
    let forms: Vec<Schema> = pipelines
        .map(|pipeline| {
            let output = (pipeline.output)(schemas.generator());
            let form = match pipeline.alone {
                Alone::Bare => json_schema!({ "anyOf": [output, { "type": "array", "items": output }] }),
                Alone::InList => json_schema!({ "type": "array", "items": output }),
            };
            schemas.named(&format!("{}Response", type_name(pipeline.name)), form)
        })
        .collect();
    one_of(forms.into_iter())
}
