//! Who may ask: the API key, and the names and pages that requests come by.
//!
//! A page of another site could make a browser ask a server on this machine: by its address (the browser then names the
//! page in `Origin`), or by a name of its own that leads here (then that name stands in `Host`).

use crate::address::{canonical, split_port};
use crate::error::{ApiError, Code};
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderName, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use polyhead::{Error, Place, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use subtle::ConstantTimeEq;

/// A secret that requests must bring. Only its digest is kept, so that it can't be shown by mistake.
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The key of this text.
    pub fn new(key: &str) -> Result<Self> {
        let key = key.trim();
        if key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let found = if key.len() < 16 { format!("{} of them", key.len()) } else { "others".to_owned() };
            return Err(Error::usage(format!(
                "API key: expected at least 16 printable ASCII characters, found {found}"
            ))
            .hint("`openssl rand -hex 32` makes a good one"));
        }
        Ok(Self(Sha256::digest(key).into()))
    }

    /// The key in the first line of a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        Self::new(text.lines().next().unwrap_or("")).map_err(|error| error.at(Place::file(path)))
    }

    /// In constant time: digests of the same length are compared whole.
    fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.ct_eq(&given).into()
    }
}

/// Host names by which this server may be asked.
pub struct Names(Option<Vec<String>>);

impl Names {
    /// These, in their canonical form, and those of the machine itself.
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self(Some(own.into_iter().chain(names).collect()))
    }

    /// Any: the server listens to the world, by whatever name it is known there.
    pub fn any() -> Self {
        Self(None)
    }

    fn hold(&self, host: &str) -> bool {
        let Some(names) = &self.0 else { return true };
        let (name, port) = split_port(host);
        let number = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        canonical(name).filter(|_| number).is_some_and(|name| names.contains(&name))
    }
}

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
pub fn by_own_name<'a>(app: &App, request: &'a Request) -> std::result::Result<Option<&'a str>, ApiError> {
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

fn allowed(app: &App, request: &Request, open: bool) -> std::result::Result<(), ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole_and_short_ones_refused() {
        let key = ApiKey::new("0123456789abcdef\n").unwrap_or(ApiKey([0; 32]));
        assert!(
            key.is("0123456789abcdef") && !key.is("0123456789abcde") && !key.is("0123456789abcdef0") && !key.is("")
        );
        assert!(ApiKey::new("short").is_err() && ApiKey::new("0123456789 abcdef").is_err());
    }

    #[test]
    fn names_are_those_of_the_machine_and_those_that_are_allowed() {
        let names = Names::only(["ner.example".to_owned()]);
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::0001]:8080", "Ner.example:443", "ner.example."]
        {
            assert!(names.hold(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "",
            ":80",
            "[::2]:80",
            "localhost:x",
        ] {
            assert!(!names.hold(host), "{host}");
        }
        assert!(Names::any().hold("evil.example"));
    }
}
