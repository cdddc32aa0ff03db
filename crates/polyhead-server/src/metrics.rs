//! What `/metrics` tells, in the text format of Prometheus.

use crate::error::Code;
use crate::limits::Class;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteCode {
    route: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    task: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
    class: &'static str,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As much of its class waited as may; it was not tokenised.
    Full,
    /// It was far longer than its texts had looked, and as much of its class waited as may.
    Underestimated,
    /// It was not answered in time.
    Late,
    /// All connections were taken; it was not read.
    Connections,
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Refusal::Full => "full",
            Refusal::Underestimated => "underestimated",
            Refusal::Late => "late",
            Refusal::Connections => "connections",
        }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All counters; clones are of the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RouteCode, Counter>,
    errors: Family<Failure, Counter>,
    request: Histograms<Route>,
    inference: Histograms<Task>,
    refusals: Family<Refused, Counter>,
    queue_tokens: Family<OfClass, Gauge>,
    queue_requests: Family<OfClass, Gauge>,
    queue_wait: Histograms<OfClass>,
    tokenize: Histograms<OfClass>,
    /// Tokens of each batch.
    pub batch_tokens: Histogram,
    /// Open connections.
    pub connections: Gauge,
}

/// From a tenth of a millisecond to about 100 seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 21))
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("polyhead");
        let requests = Family::default();
        registry.register("requests", "Requests by route and status", requests.clone());
        let errors = Family::default();
        registry.register("errors", "Failures by code", errors.clone());
        let request: Histograms<Route> = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("request", "Time from head to answer", Unit::Seconds, request.clone());
        let inference: Histograms<Task> = Family::new_with_constructor(seconds as fn() -> Histogram);
        let about = "Time in the model, of each batch by the tokens of each task";
        registry.register_with_unit("inference", about, Unit::Seconds, inference.clone());
        let refusals: Family<Refused, Counter> = Family::default();
        let about = "Requests turned away, by reason and class of length (none: it was not known)";
        registry.register("refusals", about, refusals.clone());
        let queue_tokens = Family::default();
        let about = "Tokens that wait, by class of the request; estimated until it is tokenised";
        registry.register("queue_tokens", about, queue_tokens.clone());
        let queue_requests = Family::default();
        registry.register("queue_requests", "Requests that wait or are partly done, by class", queue_requests.clone());
        let queue_wait: Histograms<OfClass> = Family::new_with_constructor(seconds as fn() -> Histogram);
        let about = "Time from acceptance to the first batch, by class";
        registry.register_with_unit("queue_wait", about, Unit::Seconds, queue_wait.clone());
        let tokenize: Histograms<OfClass> = Family::new_with_constructor(seconds as fn() -> Histogram);
        let about = "Time that tokenising a request took, by class";
        registry.register_with_unit("tokenize", about, Unit::Seconds, tokenize.clone());
        let batch_tokens = Histogram::new(exponential_buckets(4.0, 2.0, 12));
        registry.register("batch_tokens", "Tokens of each batch", batch_tokens.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let metrics = Self {
            registry: Arc::new(registry),
            requests,
            errors,
            request,
            inference,
            refusals,
            queue_tokens,
            queue_requests,
            queue_wait,
            tokenize,
            batch_tokens,
            connections,
        };
        // What never happened reads 0, so that rates and alerts work from the start.
        for class in Class::ALL {
            let _ = metrics.refusals.get_or_create(&Refused { reason: Refusal::Full.name(), class: class.name() });
        }
        metrics
    }

    /// A request was answered.
    pub fn request(&self, route: &str, status: u16, seconds: f64, failed: Option<Code>) {
        self.requests.get_or_create(&RouteCode { route: route.to_owned(), code: status }).inc();
        self.request.get_or_create(&Route { route: route.to_owned() }).observe(seconds);
        if let Some(code) = failed {
            self.errors.get_or_create(&Failure { code: code.row().name }).inc();
        }
    }

    /// Windows of a task went through the model.
    pub fn inference(&self, task: &str, seconds: f64) {
        self.inference.get_or_create(&Task { task: task.to_owned() }).observe(seconds);
    }

    /// So much of a class waits now.
    pub fn waiting(&self, class: Class, tokens: usize, requests: usize) {
        let of = OfClass { class: class.name() };
        self.queue_tokens.get_or_create(&of).set(tokens as i64);
        self.queue_requests.get_or_create(&of).set(requests as i64);
    }

    /// A request waited so long for its first batch.
    pub fn waited(&self, class: Class, seconds: f64) {
        self.queue_wait.get_or_create(&OfClass { class: class.name() }).observe(seconds);
    }

    /// A request was tokenised.
    pub fn tokenized(&self, class: Class, seconds: f64) {
        self.tokenize.get_or_create(&OfClass { class: class.name() }).observe(seconds);
    }

    /// A request was turned away.
    pub fn refused(&self, reason: Refusal, class: Option<Class>) {
        let class = class.map_or("none", Class::name);
        self.refusals.get_or_create(&Refused { reason: reason.name(), class }).inc();
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
