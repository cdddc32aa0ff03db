//! What `/metrics` tells, in the text format of Prometheus.

use crate::error::Code;
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

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All counters; clones are of the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RouteCode, Counter>,
    errors: Family<Failure, Counter>,
    request: Histograms<Route>,
    inference: Histograms<Task>,
    /// Tokens that wait.
    pub queue_tokens: Gauge,
    /// Seconds from the acceptance of a request to its first batch.
    pub queue_wait: Histogram,
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
        let queue_tokens = Gauge::default();
        registry.register("queue_tokens", "Tokens that wait", queue_tokens.clone());
        let queue_wait = seconds();
        registry.register_with_unit(
            "queue_wait",
            "Time from acceptance to the first batch",
            Unit::Seconds,
            queue_wait.clone(),
        );
        let batch_tokens = Histogram::new(exponential_buckets(4.0, 2.0, 12));
        registry.register("batch_tokens", "Tokens of each batch", batch_tokens.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        Self {
            registry: Arc::new(registry),
            requests,
            errors,
            request,
            inference,
            queue_tokens,
            queue_wait,
            batch_tokens,
            connections,
        }
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
