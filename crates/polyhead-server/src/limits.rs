//! What the server takes before it says no: the one place for it. `/info` states them.

use serde::Serialize;
use serde::Serializer;
use std::time::Duration;

/// Bounds on what one request, one client and all together may ask for.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Inputs of a request.
    pub texts: usize,
    /// Characters of one text.
    pub characters: usize,
    /// Tokens of a request, all windows together.
    pub tokens: usize,
    /// Tokens that wait. A request counts for at most [`Limits::weight`], because no more of it stands before others.
    pub queue_tokens: usize,
    /// Tokens that go through the model at a time: by as much a short text may have to wait for a long one.
    pub batch_tokens: usize,
    /// Open connections.
    pub connections: usize,
    /// Until the head of a request is there, the wait for a next one on the same connection included.
    #[serde(rename = "header_seconds", serialize_with = "seconds")]
    pub header: Duration,
    /// Until a body is there.
    #[serde(rename = "body_seconds", serialize_with = "seconds")]
    pub body: Duration,
    /// Until a request is answered, from when it was read.
    #[serde(rename = "request_seconds", serialize_with = "seconds")]
    pub request: Duration,
    /// How long a client may take nothing of its answer.
    #[serde(rename = "write_seconds", serialize_with = "seconds")]
    pub write: Duration,
    /// How long accepted requests have when the server is asked to stop.
    #[serde(rename = "drain_seconds", serialize_with = "seconds")]
    pub drain: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 2 << 20,
            texts: 64,
            characters: 200_000,
            tokens: 65_536,
            queue_tokens: 16_384,
            batch_tokens: 1_024,
            connections: 1_024,
            header: Duration::from_secs(10),
            body: Duration::from_secs(15),
            request: Duration::from_secs(60),
            write: Duration::from_secs(15),
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// What a request of so many tokens counts for among those that wait.
    pub fn weight(&self, tokens: usize) -> usize {
        tokens.min(4 * self.batch_tokens)
    }
}
