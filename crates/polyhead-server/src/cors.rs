//! Pages of other sites: what a browser asks before it lets one of them use the server, and what it must see in the answers.
//!
//! ```text
//! OPTIONS /analyze, Origin, Access-Control-Request-Method -> 204 with what is allowed    (no key: browsers send none here)
//! any answer to a page of a named site, a failure too      -> Access-Control-Allow-Origin
//! ```
//!
//! Only sites that were named get any of it. The key is a header that a page sets itself: cookies and the like are not
//! allowed for, and there are none.

use crate::security;
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Headers that a page may send.
const TAKEN: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-request-id, inference-header-content-length");
/// Headers that a page may read, besides those that any page may.
const SHOWN: HeaderValue = HeaderValue::from_static(
    "retry-after, allow, www-authenticate, x-request-id, content-length, inference-header-content-length",
);
/// For so many seconds a browser need not ask again. Short, so that a site that is named no more is soon out.
const SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Answers what browsers ask before a request, and marks all answers to pages of named sites.
pub async fn cors(State(app): State<App>, request: Request, next: Next) -> Response {
    let named = |origin: &&HeaderValue| app.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    let headers = request.headers();
    let origin = headers.get(ORIGIN).filter(named).cloned();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks && origin.is_some() && security::by_own_name(&app, &request).is_ok() {
        allowed(headers.contains_key("access-control-request-private-network"))
    } else {
        next.run(request).await
    };
    if !app.origins.is_empty() {
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
    }
    response
}

/// What is allowed. A site on the Internet that asks a server on the visitor's own network asks for that, too.
fn allowed(private_network: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
    headers.insert(ACCESS_CONTROL_MAX_AGE, SECONDS);
    if private_network {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    response
}
