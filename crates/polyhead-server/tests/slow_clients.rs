//! Clients that send or read next to nothing: each is cut when its time is up, none before, and the others are answered as if
//! they were not there. (`checks/serve/slow.py` does it with 500 of them and the limits that users have.)

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../fuzz/targets/server.rs"]
mod server;

use polyhead_server::Limits;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const HEADER: Duration = Duration::from_millis(600);
const BODY: Duration = Duration::from_millis(900);
const WRITE: Duration = Duration::from_millis(1200);
/// What a busy machine may add.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A head, a byte at a time.
    Head,
    /// A body, a byte at a time.
    Body,
    /// A good request, then nothing.
    Idle,
    /// Asks for more than the kernel holds, and reads none of it.
    Reader,
}

impl Kind {
    fn limit(self) -> Duration {
        match self {
            Kind::Head | Kind::Idle => HEADER,
            Kind::Body => BODY,
            Kind::Reader => WRITE,
        }
    }
}

const HEAD: &[u8] = b"POST /analyze HTTP/1.1\r\nhost: localhost\r\n";
const LENGTH: &[u8] = b"content-type: application/json\r\ncontent-length: 100000\r\n\r\n";
const PAGE: &[u8] = b"GET /assets/app.js HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Plays a slow client until the server ends the connection; how long that took.
fn play(kind: Kind, address: SocketAddr) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    match kind {
        Kind::Head => stream.write_all(HEAD).unwrap(),
        Kind::Body => stream.write_all(&[HEAD, LENGTH].concat()).unwrap(),
        Kind::Idle => {
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        }
        Kind::Reader => {
            // The server takes no more requests while it can't write: what does not fit is not sent.
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let _ = stream.write_all(&PAGE.repeat(4000));
        }
    }
    let began = Instant::now();
    if let Kind::Reader = kind {
        std::thread::sleep(WRITE + Duration::from_secs(1));
        // The rest of what was asked for never comes: a hundred megabytes less what the kernel held.
        stream.set_read_timeout(Some(MARGIN)).unwrap();
        let mut read = Vec::new();
        match stream.read_to_end(&mut read) {
            Ok(_) => {}
            Err(cause) => assert_eq!(cause.kind(), ErrorKind::ConnectionReset, "not cut: {cause}"),
        }
        return began.elapsed();
    }
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answer = [0; 4096];
    loop {
        assert!(began.elapsed() < kind.limit() + MARGIN, "{kind:?}: not cut");
        match stream.read(&mut answer) {
            Ok(0) => return began.elapsed(),
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset => return began.elapsed(),
            // The refusal; the end follows.
            Ok(count) => assert!(answer[..count].starts_with(b"HTTP/1.1 408 "), "{kind:?}"),
            Err(_) => {
                if !matches!(kind, Kind::Idle) && stream.write_all(b"x").is_err() {
                    return began.elapsed();
                }
            }
        }
    }
}

/// How long a good request takes.
fn ask() -> Duration {
    let body = r#"{"text": "Ada lived in London."}"#;
    let request = format!(
        "POST /analyze HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let began = Instant::now();
    assert_eq!(server::status(request.as_bytes()), Some(200));
    began.elapsed()
}

#[test]
fn slow_clients_are_cut_in_time_and_the_others_do_not_notice_them() {
    let address = server::start(Limits { header: HEADER, body: BODY, write: WRITE, ..Limits::default() });
    server::use_server(address);
    ask();
    let alone = (0..20).map(|_| ask()).max().unwrap();
    let kinds = [Kind::Head, Kind::Body, Kind::Idle, Kind::Reader];
    let slow: Vec<_> = (0..80)
        .map(|at| if at < 72 { kinds[at % 3] } else { Kind::Reader })
        .map(|kind| (kind, std::thread::spawn(move || play(kind, address))))
        .collect();
    let mut beside: Vec<Duration> = Vec::new();
    while !slow.iter().all(|(_, client)| client.is_finished()) {
        beside.push(ask());
    }
    for (kind, client) in slow {
        let took = client.join().expect("a client that is cut");
        // The clock of the limit may start before the client's own.
        let least = kind.limit().mul_f64(0.7);
        assert!(took >= least, "{kind:?}: cut after {took:?}, before its time");
        assert!(took <= kind.limit() + MARGIN, "{kind:?}: cut after {took:?}");
    }
    beside.sort();
    let middle = beside[beside.len() / 2];
    assert!(beside.len() >= 5, "{beside:?}");
    assert!(
        middle <= 3 * alone + Duration::from_millis(200),
        "{middle:?} beside slow clients, at most {alone:?} alone"
    );
}
