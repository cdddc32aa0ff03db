//! What the server takes before it says no: the one place for it. `/info` states them.

use schemars::JsonSchema;
use serde::Serialize;
use serde::Serializer;
use std::time::Duration;

/// Bounds on what one request, one client and all together may ask for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Inputs of a request.
    pub texts: usize,
    /// Characters of one text.
    pub characters: usize,
    /// Tokens of a request, all windows together.
    pub tokens: usize,
    /// Tokens that wait before requests are turned away: see [`Limits::set_aside`] for what is kept for each [`Class`].
    pub queue_tokens: usize,
    /// Tokens that go through the model at a time: by as much a short text may have to wait for a long one.
    pub batch_tokens: usize,
    /// Open connections.
    pub connections: usize,
    /// Until the head of a request is there, the wait for a next one on the same connection included.
    #[serde(rename = "header_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub header: Duration,
    /// Until a body is there.
    #[serde(rename = "body_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub body: Duration,
    /// Until a request is answered, from when it was read.
    #[serde(rename = "request_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub request: Duration,
    /// How long a client may take nothing of its answer.
    #[serde(rename = "write_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub write: Duration,
    /// How long accepted requests have when the server is asked to stop.
    #[serde(rename = "drain_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
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

/// Requests by their cost. Each class has a part of the queue for itself, so that none can take all places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// At most half a batch.
    Short,
    /// At most four batches.
    Medium,
    /// More than that.
    Long,
}

impl Class {
    /// All of them, the shortest first.
    pub const ALL: [Class; 3] = [Class::Short, Class::Medium, Class::Long];

    /// Its name in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Class::Short => "short",
            Class::Medium => "medium",
            Class::Long => "long",
        }
    }
}

impl Limits {
    /// The class of a request of so many tokens.
    pub fn class(&self, tokens: usize) -> Class {
        if tokens <= self.most(Class::Short) {
            Class::Short
        } else if tokens <= self.most(Class::Medium) {
            Class::Medium
        } else {
            Class::Long
        }
    }

    /// The tokens of the longest request of a class.
    pub fn most(&self, class: Class) -> usize {
        match class {
            Class::Short => self.batch_tokens.div_ceil(2),
            Class::Medium => self.batch_tokens.saturating_mul(4),
            Class::Long => usize::MAX,
        }
    }

    /// Tokens of the queue that are kept for a class: a quarter for short requests, an eighth each for the others. Where
    /// its own part and the [shared](Self::shared) one are taken, the class is full.
    ///
    /// A request is taken while its class is not full, whatever its own length: among equals, the longer is not at a
    /// disadvantage, and one that is longer than the whole queue is taken too.
    pub fn set_aside(&self, class: Class) -> usize {
        let part = match class {
            Class::Short => self.queue_tokens / 4,
            Class::Medium | Class::Long => self.queue_tokens / 8,
        };
        part.max(1)
    }

    /// Tokens of the queue that are for whoever comes first: half of it.
    pub fn shared(&self) -> usize {
        self.queue_tokens / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_one_class_and_every_class_takes_something() {
        for (batch_tokens, queue_tokens) in [(1, 1), (1_024, 16_384), (1 << 20, 1 << 30)] {
            let limits = Limits { batch_tokens, queue_tokens, ..Limits::default() };
            assert_eq!(limits.class(0), Class::Short);
            for class in Class::ALL {
                assert_eq!(limits.class(limits.most(class)), class);
                assert!(limits.set_aside(class) > 0);
            }
            let all: usize = Class::ALL.iter().map(|&class| limits.set_aside(class)).sum();
            assert!(all + limits.shared() <= queue_tokens.max(3));
        }
    }
}
