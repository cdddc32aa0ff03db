//! Every request is counted, has an identifier, and stands in the access log if there is one.

use crate::access_log::{ID, Line, utc};
use crate::error::Failed;
use crate::state::App;
use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The status in the log where the client went before the answer came: that of nginx.
const GONE: u16 = 499;

/// Tokens that went through the model for an answer, in its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Tokens(pub usize);

/// A request under way. Dropped before it was answered: its client has gone.
struct UnderWay {
    app: App,
    began: Instant,
    method: &'static str,
    route: String,
    id: String,
    answered: bool,
}

impl UnderWay {
    fn log(&self, status: u16, tokens: usize, bytes: u64) {
        let Some(log) = &self.app.log else { return };
        let ms = (self.began.elapsed().as_secs_f64() * 1e4).round() / 10.0;
        let time = utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let Self { method, route, id, .. } = self;
        log.write(&Line { time, method, route, status, ms, tokens, bytes, id });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.answered {
            self.log(GONE, 0, 0);
        }
    }
}

/// Counts, names and logs every request.
pub async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    // Addresses that do not exist are one: a client must not make the metrics grow.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, id) = (known(request.method()), app.ids.of(&request));
    let mut under_way = UnderWay { app: app.clone(), began: Instant::now(), method, route, id, answered: false };
    let mut response = next.run(request).await;
    under_way.answered = true;
    let (status, seconds) = (response.status().as_u16(), under_way.began.elapsed().as_secs_f64());
    let failed = response.extensions().get::<Failed>().map(|failed| failed.0);
    app.metrics.request(&under_way.route, status, seconds, failed);
    let tokens = response.extensions().get::<Tokens>().map_or(0, |tokens| tokens.0);
    under_way.log(status, tokens, response.body().size_hint().lower());
    if let Ok(id) = HeaderValue::from_str(&under_way.id) {
        response.headers_mut().insert(ID, id);
    }
    response
}

/// A method by its name; those of a client's own invention are one.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}
