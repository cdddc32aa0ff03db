//! Connections: accepted within a bound, cut where a client dribbles, drained when the server stops.
//!
//! axum's own server sets no timer on the head of a request, so the loop is ours: hyper with a timer for heads (the wait
//! for a next request on an open connection included), and streams whose writes must go on.

use crate::error::{ApiError, Code};
use crate::metrics::Refusal;
use crate::state::App;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// The longest head of a request; hyper takes no less.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;

/// Serves until `stop` is done; then accepted requests are answered within the deadline.
pub async fn serve(app: App, router: Router, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(app.limits.connections));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Too many open files, mostly: others must close first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            app.metrics.refused(Refusal::Connections, None);
            tokio::spawn(turn_away(stream, app.limits.connections));
            continue;
        };
        // Answers are small and whole: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(app.limits.write));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(app.limits.header)
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        let connections = app.metrics.connections.clone();
        connections.inc();
        tokio::spawn(async move {
            // A client that breaks off is no fault of ours.
            let _ = connection.await;
            connections.dec();
            drop(place);
        });
    }
    app.drain();
    drop(listener);
    // What is still open after that is left to the end of the process.
    let _ = tokio::time::timeout(app.limits.drain, graceful.shutdown()).await;
}

/// Says that there is no room, without reading.
async fn turn_away(mut stream: TcpStream, most: usize) {
    let error =
        ApiError::new(Code::Unavailable, format!("all of {most} connections are taken")).hint("try again later");
    let body = error.body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
}
