//! Who may ask: the API key, and the names and pages that requests come by.
//!
//! A page of another site could make a browser ask a server on this machine: by its address (the browser then names the
//! page in `Origin`), or by a name of its own that leads here (then that name stands in `Host`).

use crate::error::{ApiError, Code};
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderName, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Routes that need no key: a page that asks for one, the description of the API, and what a load balancer looks at.
const OPEN: &[&str] =
    &["/", "/assets/{name}", "/health", "/v2/health/live", "/v2/health/ready", "/metrics", "/docs", "/openapi.json"];

/// Turns away what may not ask, before any of the body is read.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or("");
    let open = OPEN.contains(&route) && request.method() != axum::http::Method::POST;
    match allowed(&app, &request, open) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a request comes by a name of this server; that name.
pub fn by_own_name<'a>(app: &App, request: &'a Request) -> Result<Option<&'a str>, ApiError> {
    let (headers, uri, version) = (request.headers(), request.uri(), request.version());
    let mut hosts = headers.get_all(HOST).iter();
    let named = hosts.next().map(|host| host.to_str().unwrap_or("?"));
    if hosts.next().is_some() {
        return Err(ApiError::new(Code::BadRequest, "expected one Host, found several"));
    }
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or(named);
    if host.is_none() && version >= Version::HTTP_11 {
        return Err(ApiError::new(Code::BadRequest, "expected a Host, found none"));
    }
    // HTTP/1.0 has none; no browser speaks it.
    if let Some(host) = host
        && !app.names.hold(host)
    {
        return Err(ApiError::new(Code::Forbidden, format!("this server is not asked by the name `{host}`"))
            .hint("--allow-host NAME allows it"));
    }
    Ok(host)
}

fn allowed(app: &App, request: &Request, open: bool) -> Result<(), ApiError> {
    let (host, headers) = (by_own_name(app, request)?, request.headers());
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        let own = origin.split_once("://").is_some_and(|(_, rest)| Some(rest) == host);
        if !own && !app.origins.iter().any(|allowed| allowed == origin) {
            return Err(ApiError::new(Code::Forbidden, format!("a page of `{origin}` may not ask this server"))
                .hint("--allow-origin ORIGIN allows it"));
        }
    }
    let Some(key) = app.key.as_ref().filter(|_| !open) else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    match given {
        Some((_, given)) if key.is(given.trim()) => Ok(()),
        Some(_) => Err(ApiError::new(Code::Unauthorized, "the API key is wrong")),
        None => Err(ApiError::new(Code::Unauthorized, "expected an API key, found none")
            .hint("send it as `authorization: Bearer KEY`")),
    }
}

/// What every answer says to browsers; pages set their own policy before.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &'static str| {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    };
    put("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    put("x-content-type-options", "nosniff");
    put("referrer-policy", "no-referrer");
    put("cache-control", "no-store");
    response
}
