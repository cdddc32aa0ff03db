//! The one table of errors: every failure that a client sees is a row of it.
//!
//! ```text
//! {"error": "what was wrong", "code": "invalid", "hint": "the way out"}
//! ```

use crate::redact::names_only;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use polyhead::ErrorKind;
use schemars::JsonSchema;
use serde::Serialize;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The table says what each is.
pub enum Code {
    BadJson,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    Overloaded,
    Internal,
    Unavailable,
}

/// A row of the table.
pub struct Row {
    /// The kind.
    pub code: Code,
    /// Its name in bodies and metrics.
    pub name: &'static str,
    /// The status of HTTP.
    pub status: StatusCode,
    /// When it happens.
    pub about: &'static str,
}

const fn row(code: Code, name: &'static str, status: StatusCode, about: &'static str) -> Row {
    Row { code, name, status, about }
}

/// All failures.
pub const CODES: &[Row] = &[
    row(Code::BadJson, "bad_json", StatusCode::BAD_REQUEST, "the body is not JSON in UTF-8, or nested too deeply"),
    row(Code::BadRequest, "bad_request", StatusCode::BAD_REQUEST, "the body does not come as its head says"),
    row(Code::Unauthorized, "unauthorized", StatusCode::UNAUTHORIZED, "the API key is missing or wrong"),
    row(
        Code::Forbidden,
        "forbidden",
        StatusCode::FORBIDDEN,
        "the request comes by a host name or from a page that is not this server's",
    ),
    row(Code::NotFound, "not_found", StatusCode::NOT_FOUND, "there is no such address or task"),
    row(
        Code::MethodNotAllowed,
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "the address takes another method: see `Allow`",
    ),
    row(Code::Timeout, "timeout", StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    row(Code::TooLarge, "too_large", StatusCode::PAYLOAD_TOO_LARGE, "the body has too many bytes"),
    row(
        Code::UnsupportedMediaType,
        "unsupported_media_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body is not declared as application/json, or it is compressed",
    ),
    row(
        Code::Invalid,
        "invalid",
        StatusCode::UNPROCESSABLE_ENTITY,
        "a field is unknown, of the wrong type or out of its range",
    ),
    row(Code::Overloaded, "overloaded", StatusCode::TOO_MANY_REQUESTS, "too much waits already: see `Retry-After`"),
    row(Code::Internal, "internal", StatusCode::INTERNAL_SERVER_ERROR, "a fault of polyhead"),
    row(
        Code::Unavailable,
        "unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is stopping, all connections are taken, or the answer took too long",
    ),
];

impl Code {
    /// Its row.
    pub fn row(self) -> &'static Row {
        // Every code has a row (a test holds it); the last stands for what can't be.
        CODES.iter().find(|row| row.code == self).unwrap_or(&CODES[CODES.len() - 1])
    }
}

/// What went wrong with a request.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The kind.
    pub code: Code,
    message: String,
    hint: Option<String>,
    retry_after: Option<u64>,
}

/// The body of a failure.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorBody<'a> {
    /// What was wrong, in words.
    error: &'a str,
    /// Which row of the table it is.
    code: &'a str,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl ApiError {
    /// A failure in words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, retry_after: None }
    }

    /// With the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as another kind: what is missing in an address is wrong in a body.
    pub fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// With the seconds after which another try may do.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What was found is not what was expected.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// The body, as JSON.
    pub fn body(&self) -> String {
        // Of a fault of ours or of the machine no more is a client's business.
        let message = match self.code {
            Code::Internal => names_only(self.message.lines().next().unwrap_or(""), &[]),
            _ => self.message.clone(),
        };
        let body = ErrorBody { error: &message, code: self.code.row().name, hint: self.hint.as_deref() };
        serde_json::to_string(&body).unwrap_or_else(|_| "{\"error\":\"a fault\",\"code\":\"internal\"}".into())
    }
}

impl From<polyhead::Error> for ApiError {
    fn from(error: polyhead::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Usage | ErrorKind::Data => Code::Invalid,
            _ => Code::Internal,
        };
        // Requests are not files: the place says nothing.
        let said = error.to_string();
        let message = said.strip_prefix("request: ").unwrap_or(&said);
        Self { hint: error.hint_text().map(str::to_owned), ..Self::new(code, message) }
    }
}

/// Which failure a response is, for the metrics.
#[derive(Clone, Copy)]
pub struct Failed(pub Code);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.code.row().status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        // What is left of a body that was not read would be taken for the next request.
        if matches!(self.code, Code::Timeout | Code::TooLarge | Code::BadRequest) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Failed(self.code));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_row_and_no_two_have_one_name() {
        for row in CODES {
            assert_eq!(row.code.row().name, row.name);
            assert_eq!(CODES.iter().filter(|other| other.name == row.name || other.code == row.code).count(), 1);
        }
        // `Code::row` of the last variant: a new one without a row would not be the last any more.
        assert_eq!(CODES.len(), Code::Unavailable as usize + 1);
    }

    #[test]
    fn a_body_is_json_whatever_was_said() {
        let body = ApiError::invalid("\"\u{0}\n<script>").hint("\\").body();
        let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(value["error"], "\"\u{0}\n<script>");
        assert_eq!((&value["code"], &value["hint"]), (&"invalid".into(), &"\\".into()));
        let body = ApiError::new(Code::Internal, "at /home/me/src/x.rs:7\n  backtrace").body();
        assert!(body.contains("at x.rs:7") && !body.contains("home") && !body.contains("backtrace"), "{body}");
    }
}
