//! The page to try the model on, and the report of its run: all of it in the binary, nothing from elsewhere.

use super::Named;
use crate::assets::ASSETS;
use crate::error::{ApiError, Code};
use crate::state::App;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Reports carry their style inside, and the page shows them in a frame.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'self'";

/// `GET /`
pub async fn index() -> Response {
    html(include_str!("../../assets/index.html").to_owned(), POLICY)
}

/// `GET /assets/NAME`
pub async fn asset(name: Named<String>) -> Result<Response, ApiError> {
    let name = super::named(name)?;
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| ApiError::new(Code::NotFound, "no such file"))?;
    // Assets change with the binary only; without a version in their name they are asked for again.
    let mut response = ([("content-type", *kind), ("cache-control", "no-cache")], *text).into_response();
    if kind.starts_with("text/html") {
        response.headers_mut().insert("content-security-policy", HeaderValue::from_static(REPORT_POLICY));
    }
    Ok(response)
}

/// `GET /report`
pub async fn report(State(app): State<App>) -> Result<Response, ApiError> {
    let loaded = app.loaded();
    let made = tokio::task::spawn_blocking(move || loaded.report().map(str::to_owned)).await;
    let fault = |_| ApiError::new(Code::Internal, "the report failed");
    let page = made.map_err(fault)?.ok_or_else(|| {
        ApiError::new(Code::NotFound, "this model came without the run that made it")
            .hint("serve a run folder, or its model where it lies")
    })?;
    Ok(html(page, REPORT_POLICY))
}

fn html(page: String, policy: &'static str) -> Response {
    ([("content-type", "text/html; charset=utf-8"), ("content-security-policy", policy)], page).into_response()
}
