//! polyhead over HTTP: a model's tasks in the forms that clients already speak, and a page to try them on.
//!
//! ```text
//! connection -> security -> routes -> (queries) -> engine: batches of all clients -> (logits) -> answers
//! ```
//!
//! | file | what |
//! |---|---|
//! | `limits` | every bound, in one place |
//! | `error` | every failure, in one table |
//! | `routes/` | every address, in one table; one kind a file |
//! | `route` | what an address is: its forms, its failures |
//! | `assets` | the files of the page |
//! | `engine/` | the queue, the batches, the thread that computes |
//! | `connection` | accepting, timers, draining |
//! | `address` | host names and origins as they are compared |
//! | `access` | the API key and the host names |
//! | `security` | who may ask, checked before a body is read; headers |
//! | `cors` | what browsers ask for pages of other sites |
//! | `observe` | every request is counted, named and logged |
//! | `access_log` | the log of requests |
//! | `redact` | no paths of this machine in what is served |
//! | `schemas`, `openapi`, `docs` | the description, made of the tables; the same for people |

mod access;
mod access_log;
mod address;
mod assets;
mod body;
mod connection;
mod cors;
mod docs;
mod engine;
pub mod error;
pub mod limits;
mod loaded;
mod metrics;
mod observe;
mod openapi;
mod redact;
mod route;
mod routes;
mod schemas;
mod security;
mod state;

pub use access::ApiKey;
pub use access_log::{LogFormat, LogOptions};
pub use assets::ASSETS;
pub use limits::Limits;

use access::Names;
use access_log::AccessLog;
use loaded::Loaded;
use polyhead::infer::Products;
use polyhead::tasks::TaskKind;
use polyhead::{Error, Result};
use state::App;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How to serve.
pub struct Options {
    /// The model folder, or the run folder.
    pub model: PathBuf,
    /// The kinds of tasks that it may have: `polyhead::tasks::TASKS`, or a list of one's own.
    pub kinds: &'static [TaskKind],
    /// What matrix products are computed in.
    pub precision: Products,
    /// Where to listen: an address, or a name of this machine.
    pub host: String,
    /// Which port; 0 takes a free one.
    pub port: u16,
    /// What requests must bring.
    pub key: Option<ApiKey>,
    /// Whether a server that others reach may go without a key.
    pub exposure: Exposure,
    /// Host names by which it may be asked, besides those of the machine itself: without scheme and port.
    pub hosts: Vec<String>,
    /// Sites whose pages may ask it, as in `https://example.org`.
    pub origins: Vec<String>,
    /// Where requests are written down, without what was asked.
    pub log: Option<LogOptions>,
    /// What is taken.
    pub limits: Limits,
}

/// Whether a server that other machines reach may go without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It needs one.
    NeedsKey,
    /// Someone said that it may.
    Open,
}

/// What the server tells those who run it. Never what was asked or answered.
pub enum Event {
    /// It listens here.
    Listening(SocketAddr),
    /// It took the model again.
    Reloaded,
    /// It could not, and goes on with the one it has.
    NotReloaded(Error),
    /// It could not open its access log again, and goes on with the file that it has.
    LogLost(Error),
    /// It was asked to stop, and answers what it accepted.
    Stopping,
}

/// Serves until SIGTERM or Ctrl-C; SIGHUP takes the model again. `notify` hears what happens.
///
/// # Errors
/// The model can't be loaded, the address can't be listened at, a name or an origin is none, or others would reach the
/// server and it has no key.
pub fn serve(options: Options, notify: &mut dyn FnMut(Event)) -> Result<()> {
    let address = address::listen(&options.host, options.port)?;
    let loopback = address.ip().is_loopback();
    if !loopback && options.key.is_none() && options.exposure == Exposure::NeedsKey {
        let message = format!("others can reach a server at {}: expected an API key, found none", options.host);
        return Err(Error::usage(message).hint("set POLYHEAD_API_KEY or --api-key-file; --no-auth goes without"));
    }
    let hosts: Vec<String> = options.hosts.iter().map(|host| address::allowed_host(host)).collect::<Result<_>>()?;
    let origins = options.origins.iter().map(|origin| address::allowed_origin(origin)).collect::<Result<_>>()?;
    let names = if loopback || !hosts.is_empty() {
        // The name under which it listens, and the address that this stands for.
        let own = [options.host, address::bracketed(address.ip())];
        Names::only(hosts.into_iter().chain(own.iter().filter_map(|host| address::canonical(host))))
    } else {
        Names::any()
    };
    let log = options.log.map(AccessLog::open).transpose()?;
    let (model, kinds, precision) = (options.model, options.kinds, options.precision);
    let loaded = Loaded::open(&model, kinds, precision)?;
    let fault = |what: &str, cause: std::io::Error| Error::internal(format!("{what}: {cause}"));
    let app = App::new(loaded, options.limits, options.key, names, origins, log)
        .map_err(|cause| fault("can't start a thread", cause))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .map_err(|cause| fault("can't start the runtime", cause))?;
    let served = runtime.block_on(run(app, address, model, kinds, precision, notify));
    // Tokenising that is under way may end; its client is gone.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

async fn run(
    app: App,
    address: SocketAddr,
    model: PathBuf,
    kinds: &'static [TaskKind],
    precision: Products,
    notify: &mut dyn FnMut(Event),
) -> Result<()> {
    let fault = |cause: std::io::Error| Error::internal(format!("can't listen to signals: {cause}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;
    let listener = TcpListener::bind(address).await.map_err(|cause| {
        Error::unavailable(format!("can't listen at {address}: {cause}"))
            .hint("is the port taken? --port 0 takes a free one")
    })?;
    let address = listener.local_addr().map_err(|cause| Error::internal(cause.to_string()))?;
    notify(Event::Listening(address));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = connection::serve(app.clone(), routes::router(app.clone()), listener, async {
        // Dropped is asked too.
        let _ = stopped.await;
    });
    let mut serving = std::pin::pin!(serving);
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            () = &mut serving => break,
            _ = terminate.recv(), if stop.is_some() => stop = asked_to_stop(stop, notify),
            _ = interrupt.recv(), if stop.is_some() => stop = asked_to_stop(stop, notify),
            _ = hangup.recv(), if stop.is_some() => {
                let path = model.clone();
                if let Some(Err(error)) = app.log.as_ref().map(AccessLog::reopen) {
                    notify(Event::LogLost(error));
                }
                let reloading = tokio::task::spawn_blocking(move || Loaded::open(&path, kinds, precision));
                // Requests go on meanwhile: this loop only drives the accepting, so it must not wait here.
                let reloaded = tokio::select! {
                    loaded = reloading => loaded,
                    () = &mut serving => break,
                };
                match reloaded {
                    Ok(Ok(loaded)) => {
                        app.replace(loaded);
                        notify(Event::Reloaded);
                    }
                    Ok(Err(error)) => notify(Event::NotReloaded(error)),
                    Err(cause) => notify(Event::NotReloaded(Error::internal(cause.to_string()))),
                }
            }
        }
    }
    app.engine.close();
    Ok(())
}

fn asked_to_stop(
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    notify: &mut dyn FnMut(Event),
) -> Option<tokio::sync::oneshot::Sender<()>> {
    notify(Event::Stopping);
    if let Some(stop) = stop {
        // It listens as long as it serves.
        let _ = stop.send(());
    }
    None
}
