//! The routes, one kind a file, and the one table of them: the router and the description of the API are made of it.

mod about;
mod analyze;
mod binary;
mod inference;
mod page;
mod pipeline;

use crate::cors::cors;
use crate::error::{ApiError, Code};
use crate::loaded::Loaded;
use crate::observe::{Tokens, observe};
use crate::route::{Reply, Route, asks, reads};
use crate::security;
use crate::state::App;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use polyhead::ask;
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;

/// All routes, in the order in which the description shows them.
const ROUTES: &[Route] = &[
    asks(
        "/",
        "answer",
        "Answer in Hugging Face's form; the form of the inputs decides which task answers",
        pipeline::request,
        pipeline::response,
        || post(pipeline::any),
    ),
    asks(
        "/tasks/{task}",
        "answerWithTask",
        "Answer in Hugging Face's form with the task of this name",
        pipeline::request,
        pipeline::response,
        || post(pipeline::named),
    ),
    asks("/analyze", "analyze", "Several tasks on one text", analyze::request, analyze::response, || {
        post(analyze::analyze)
    }),
    reads(
        "/v2",
        "inferenceServer",
        "Open Inference Protocol: the server",
        Reply::Json(inference::server_schema),
        || get(inference::server),
    ),
    reads(
        "/v2/health/live",
        "inferenceLive",
        "Open Inference Protocol: whether the server runs",
        Reply::Json(inference::live_schema),
        || get(inference::live),
    ),
    reads(
        "/v2/health/ready",
        "inferenceReady",
        "Open Inference Protocol: whether it takes requests",
        Reply::Json(inference::ready_schema),
        || get(inference::ready),
    ),
    reads(
        "/v2/models/{task}",
        "inferenceModel",
        "Open Inference Protocol: a task",
        Reply::Json(inference::model_schema),
        || get(inference::model),
    ),
    reads(
        "/v2/models/{task}/ready",
        "inferenceModelReady",
        "Open Inference Protocol: whether a task answers",
        Reply::Json(inference::ready_schema),
        || get(inference::model_ready),
    ),
    asks(
        "/v2/models/{task}/infer",
        "infer",
        "Open Inference Protocol: answers",
        inference::request,
        inference::response,
        || post(inference::infer),
    ),
    reads(
        "/v2/models/{task}/versions/{version}",
        "inferenceModelVersion",
        "Open Inference Protocol: a task",
        Reply::Json(inference::model_schema),
        || get(inference::model),
    ),
    reads(
        "/v2/models/{task}/versions/{version}/ready",
        "inferenceModelVersionReady",
        "Open Inference Protocol: whether a task answers",
        Reply::Json(inference::ready_schema),
        || get(inference::model_ready),
    ),
    asks(
        "/v2/models/{task}/versions/{version}/infer",
        "inferWithVersion",
        "Open Inference Protocol: answers",
        inference::request,
        inference::response,
        || post(inference::infer),
    ),
    reads("/health", "health", "Whether the server takes requests", Reply::Json(about::health_schema), || {
        get(about::health)
    }),
    reads("/info", "info", "Model, tasks, labels, limits, version", Reply::Json(about::info_schema), || {
        get(about::info)
    }),
    reads("/metrics", "metrics", "Counters, for Prometheus", Reply::Text("application/openmetrics-text"), || {
        get(about::metrics)
    }),
    reads("/openapi.json", "description", "This description", Reply::Json(about::any_object), || get(about::openapi)),
    reads("/docs", "docs", "The same for people", Reply::Text("text/html"), || get(about::docs)),
    reads("/", "page", "A page to try it on", Reply::Text("text/html"), || get(page::index)),
    reads("/assets/{name}", "asset", "What the page is made of", Reply::Text("text/plain"), || get(page::asset)),
    reads("/report", "report", "The report of the run that the model came from", Reply::Text("text/html"), || {
        get(page::report)
    }),
];

/// [`ROUTES`] for handlers that speak of them: the table needs their types, and so they can't name the table.
fn routes() -> &'static [Route] {
    ROUTES
}

/// The router of all of them.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.handler)());
    }
    router
        .fallback(|| async { ApiError::new(Code::NotFound, "no such address").hint("/docs lists what there is") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(Code::MethodNotAllowed, "this address takes another method")
        })
        .layer(middleware::from_fn(allow))
        .layer(CatchPanicLayer::custom(panicked))
        .route_layer(middleware::from_fn_with_state(app.clone(), security::guard))
        .layer(middleware::from_fn_with_state(app.clone(), cors))
        .layer(middleware::from_fn(security::headers))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Names the methods that an address takes where it was asked by another.
async fn allow(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let of_path = ROUTES.iter().filter(|route| Some(route.path) == path.as_deref());
        let methods: Vec<&str> = of_path.map(|route| if route.method == "get" { "GET,HEAD" } else { "POST" }).collect();
        if let Ok(value) = methods.join(",").parse() {
            response.headers_mut().insert("allow", value);
        }
    }
    response
}

/// A panic is a failure of its own request alone.
fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    ApiError::new(Code::Internal, "the request failed").into_response()
}

/// Names in an address, as axum reads them.
type Named<T> = Result<Path<T>, PathRejection>;

/// Names in an address; one that is not UTF-8 is of nothing that is here.
fn named<T>(path: Named<T>) -> Result<T, ApiError> {
    let not_found =
        |_| ApiError::new(Code::NotFound, "no such address: it is not UTF-8").hint("/docs lists what there is");
    path.map(|Path(names)| names).map_err(not_found)
}

/// A value as JSON.
fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([("content-type", "application/json")], body).into_response(),
        Err(cause) => ApiError::new(Code::Internal, cause.to_string()).into_response(),
    }
}

/// The JSON of an answer for which so many tokens went through the model.
fn answered(value: &impl serde::Serialize, tokens: usize) -> Response {
    with_tokens(json(value), tokens)
}

fn with_tokens(mut response: Response, tokens: usize) -> Response {
    response.extensions_mut().insert(Tokens(tokens));
    response
}

/// The task of a name in an address.
fn task_named(loaded: &Loaded, name: &str) -> Result<usize, ApiError> {
    let found = ask::task_named(&loaded.model().tasks, name);
    found.map(|(index, _)| index).map_err(|error| ApiError::from(error).with_code(Code::NotFound))
}
