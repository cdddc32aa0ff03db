//! What all requests share.

use crate::access::{ApiKey, Names};
use crate::access_log::{AccessLog, Ids};
use crate::engine::{Engine, Unread};
use crate::error::{ApiError, Code};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::metrics::{Metrics, Refusal};
use serde_json::Value;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The server, as its handlers see it; clones are of the same one.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// See [`App`].
pub struct Inner {
    /// The model of the moment; requests keep the one they began with.
    loaded: RwLock<Arc<Loaded>>,
    /// What computes.
    pub engine: Engine,
    /// What is taken.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
    /// What requests must bring, if anything.
    pub key: Option<ApiKey>,
    /// By which names the server may be asked.
    pub names: Names,
    /// Pages that may ask, besides its own.
    pub origins: Vec<String>,
    /// Where requests are written down, if anywhere.
    pub log: Option<AccessLog>,
    /// Identifiers of requests.
    pub ids: Ids,
    draining: AtomicBool,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Around a model.
    pub fn new(
        loaded: Loaded,
        limits: Limits,
        key: Option<ApiKey>,
        names: Names,
        origins: Vec<String>,
        log: Option<AccessLog>,
    ) -> std::io::Result<Self> {
        let metrics = Metrics::new();
        Ok(Self(Arc::new(Inner {
            loaded: RwLock::new(Arc::new(loaded)),
            engine: Engine::start(limits.clone(), metrics.clone())?,
            limits,
            metrics,
            key,
            names,
            origins,
            log,
            ids: Ids::new(),
            draining: AtomicBool::new(false),
        })))
    }

    /// The model of the moment.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes another model; requests under way keep the old one.
    pub fn replace(&self, loaded: Loaded) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
    }

    /// Whether the server is about to stop.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// No new work is welcome from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Tokenises queries, lets them go through the model, and makes their answers, in order. What takes long on the
    /// processor is done apart from the connections; what finds no room is refused before it costs anything.
    pub async fn answer(&self, loaded: Arc<Loaded>, unread: Vec<Unread<Loaded>>) -> Result<Answers, ApiError> {
        if unread.is_empty() {
            return Ok(Answers { values: Vec::new(), tokens: 0 });
        }
        let late = |_| {
            self.metrics.refused(Refusal::Late, None);
            ApiError::new(Code::Unavailable, "the answer took too long").hint("send less at a time, or try again later")
        };
        let done =
            tokio::time::timeout(self.limits.request, self.engine.ask(unread, &loaded)).await.map_err(late)??;
        let tokens = done.iter().map(|(query, _)| query.tokens()).sum();
        let made = move || done.into_iter().map(|(query, logits)| query.answer(logits)).collect();
        let fault = |_| ApiError::new(Code::Internal, "the request failed");
        Ok(Answers { values: tokio::task::spawn_blocking(made).await.map_err(fault)?, tokens })
    }
}

/// The answers to queries.
pub struct Answers {
    /// In the order of the queries.
    pub values: Vec<Value>,
    /// Tokens that went through the model for them.
    pub tokens: usize,
}
