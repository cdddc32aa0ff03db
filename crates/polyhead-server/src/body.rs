//! Bodies of requests, within bounds of size and time: JSON, or JSON and binary data after it.

use crate::error::{ApiError, Code};
use crate::limits::Limits;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use polyhead::ask::kind_of;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a body without a content type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untyped {
    /// Refused.
    Refused,
    /// JSON: clients of the Open Inference Protocol do not say it.
    Json,
    /// JSON and binary data after it, as another header says; it may be called binary data as a whole.
    Binary,
}

/// Reads a body as JSON.
pub async fn json(headers: &HeaderMap, body: Body, limits: &Limits, untyped: Untyped) -> Result<Value, ApiError> {
    parsed(&bytes(headers, body, limits, untyped).await?)
}

/// Reads a body that is declared as JSON, whatever it is.
pub async fn bytes(headers: &HeaderMap, body: Body, limits: &Limits, untyped: Untyped) -> Result<Bytes, ApiError> {
    let unsupported = |message: String| ApiError::new(Code::UnsupportedMediaType, message);
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        return Err(unsupported(format!("expected a body as it is, found content-encoding: {encoding}")));
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let may_be = match untyped {
        Untyped::Refused => essence == "application/json",
        Untyped::Json => matches!(essence, "application/json" | ""),
        Untyped::Binary => matches!(essence, "application/json" | "application/octet-stream" | ""),
    };
    if !may_be {
        let found = if essence.is_empty() { "none" } else { essence };
        return Err(unsupported(format!("expected content-type: application/json, found {found}")));
    }
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|charset| charset.trim_matches('"'));
    if let Some(charset) = charset.filter(|charset| !matches!(*charset, "utf-8" | "utf8" | "us-ascii")) {
        return Err(unsupported(format!("expected the charset utf-8, found {charset}")));
    }
    let too_large = || {
        ApiError::new(Code::TooLarge, format!("expected at most {} bytes", limits.body_bytes))
            .hint("send the text in parts; /info states the limits")
    };
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large());
    }
    let read = tokio::time::timeout(limits.body, to_bytes(body, limits.body_bytes)).await;
    let seconds = limits.body.as_secs_f64();
    let read =
        read.map_err(|_| ApiError::new(Code::Timeout, format!("the body did not come within {seconds} seconds")))?;
    read.map_err(|cause| {
        // axum hides which it was: its own limit, or a connection that did not keep its word.
        let limit = std::error::Error::source(&cause).is_some_and(|source| source.to_string().contains("length limit"));
        if limit { too_large() } else { ApiError::new(Code::BadRequest, "the body does not come as its head says") }
    })
}

/// Bytes as JSON.
pub fn parsed(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let hint = if bytes.is_empty() { "the body is empty" } else { "the body must be one JSON value in UTF-8" };
        ApiError::new(Code::BadJson, format!("not JSON: {cause}")).hint(hint)
    })
}

/// A value as the fields that a route takes.
pub fn fields<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    if !value.is_object() {
        return Err(ApiError::invalid(format!("expected an object, found {}", kind_of(&value))));
    }
    serde_json::from_value(value).map_err(|cause| ApiError::invalid(cause.to_string()))
}

/// Refuses a text that is too long, by its place in the request.
pub fn check_text(text: &str, name: &str, limits: &Limits) -> Result<(), ApiError> {
    // A text of few bytes has few characters.
    if text.len() <= limits.characters {
        return Ok(());
    }
    let found = text.chars().count();
    if found <= limits.characters {
        return Ok(());
    }
    let message = format!("{name}: expected at most {} characters, found {found}", limits.characters);
    Err(ApiError::invalid(message).hint("send the text in parts; /info states the limits"))
}

/// The same for every string in a value.
pub fn check_texts(value: &Value, name: &str, limits: &Limits) -> Result<(), ApiError> {
    match value {
        Value::String(text) => check_text(text, name, limits),
        Value::Array(items) => items.iter().try_for_each(|item| check_texts(item, name, limits)),
        Value::Object(fields) => {
            fields.iter().try_for_each(|(field, item)| check_texts(item, &format!("{name}.{field}"), limits))
        }
        _ => Ok(()),
    }
}
