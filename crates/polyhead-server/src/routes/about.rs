//! What the server says of itself: health, model, counters, the description of its API.

use super::{json, routes};
use crate::docs::page;
use crate::error::{ApiError, Code};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::openapi::document;
use crate::schemas::Schemas;
use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderMap, header::HOST};
use axum::response::{IntoResponse, Response};
use polyhead::info::{ModelInfo, TaskInfo};
use schemars::{JsonSchema, Schema};
use serde::Serialize;

/// That all is well.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `ok`
    status: &'static str,
}

/// What there is to know.
#[derive(Serialize, JsonSchema)]
struct Info {
    /// `polyhead`
    name: &'static str,
    /// That of the program.
    version: &'static str,
    /// What answers.
    model: ModelInfo,
    /// What it answers.
    tasks: Vec<TaskInfo>,
    /// What is taken; durations in seconds.
    limits: Limits,
    /// What offsets may count.
    offset_units: [&'static str; 3],
}

/// `GET /health`
pub async fn health(State(app): State<App>) -> Result<Response, ApiError> {
    if app.draining() {
        return Err(ApiError::new(Code::Unavailable, "the server is stopping"));
    }
    Ok(json(&Health { status: "ok" }))
}

/// `GET /info`
pub async fn info(State(app): State<App>) -> Response {
    let loaded = app.loaded();
    json(&Info {
        name: "polyhead",
        version: env!("CARGO_PKG_VERSION"),
        model: loaded.info(),
        tasks: loaded.tasks(),
        limits: app.limits.clone(),
        offset_units: ["char", "byte", "utf16"],
    })
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([("content-type", kind)], app.metrics.text()).into_response()
}

/// `GET /openapi.json`
pub async fn openapi(State(app): State<App>) -> Response {
    json(&document(&app.loaded(), routes()))
}

/// `GET /docs`
pub async fn docs(State(app): State<App>, headers: HeaderMap) -> Response {
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let page = page(&app.loaded(), routes(), host, app.key.is_some());
    ([("content-type", "text/html; charset=utf-8"), ("content-security-policy", policy)], page).into_response()
}

/// See [`Health`].
pub fn health_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Health>()
}

/// See [`Info`].
pub fn info_schema(_: &Loaded, schemas: &mut Schemas) -> Schema {
    schemas.of::<Info>()
}

/// An object of whatever form.
pub fn any_object(_: &Loaded, _: &mut Schemas) -> Schema {
    crate::schemas::any_object()
}
