//! What a route is: its address, its forms and its failures. The router, `/openapi.json` and `/docs` are made of a table of
//! them (`routes::ROUTES`).

use crate::error::Code;
use crate::loaded::Loaded;
use crate::schemas::Schemas;
use crate::state::App;
use axum::routing::MethodRouter;
use schemars::Schema;

/// A way of asking, for the router and for `/openapi.json`.
pub struct Route {
    /// `get` or `post`.
    pub method: &'static str,
    /// As axum and OpenAPI write it.
    pub path: &'static str,
    /// What generated clients call it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The form of its body, if it has one; a model's tasks decide some.
    pub request: Option<Form>,
    /// What it answers.
    pub response: Reply,
    /// Failures that are its own, besides those of every route.
    pub fails: &'static [Code],
    /// What answers it.
    pub handler: fn() -> MethodRouter<App>,
}

/// Makes the schema of a body.
pub type Form = fn(&Loaded, &mut Schemas) -> Schema;

/// What a route answers.
#[derive(Clone, Copy)]
pub enum Reply {
    /// JSON of this form.
    Json(Form),
    /// Text of this media type.
    Text(&'static str),
}

/// Failures of every route that takes a body.
const BODY: &[Code] =
    &[Code::BadJson, Code::Timeout, Code::TooLarge, Code::UnsupportedMediaType, Code::Invalid, Code::Overloaded];

/// A route that is read from.
pub const fn reads(
    path: &'static str,
    name: &'static str,
    about: &'static str,
    response: Reply,
    handler: fn() -> MethodRouter<App>,
) -> Route {
    Route { method: "get", path, name, about, request: None, response, fails: &[], handler }
}

/// A route that takes a JSON body.
pub const fn asks(
    path: &'static str,
    name: &'static str,
    about: &'static str,
    request: Form,
    response: Form,
    handler: fn() -> MethodRouter<App>,
) -> Route {
    let (request, response) = (Some(request), Reply::Json(response));
    Route { method: "post", path, name, about, request, response, fails: BODY, handler }
}

/// Failures that any route may have.
pub const ALWAYS: &[Code] = &[Code::BadRequest, Code::Unauthorized, Code::Forbidden, Code::Internal, Code::Unavailable];

/// Failures that are a route's own.
pub fn own_failures(route: &Route) -> Vec<Code> {
    let missing = (route.path.contains('{') || route.path == "/report").then_some(Code::NotFound);
    let mut own: Vec<Code> = route.fails.iter().copied().chain(missing).collect();
    own.sort_by_key(|code| code.row().status);
    own
}
