//! Requests to the server, as bytes on a connection: heads as they are, and bodies under a head that fits.
//!
//! The server runs in this process with a model of two heads, new and so at random, and short limits of time. Whatever the bytes
//! are, it answers with HTTP, never with 500, and with JSON where it says so; or it closes the connection. Fuzzing calls these
//! functions with bytes of its own making (`fuzz/run.sh`), and `crates/polyhead-server/tests/fuzz_corpus.rs` with those in
//! `fuzz/corpus/`.

// `fuzzing` is set by what builds the targets for fuzzing.
#![allow(dead_code, missing_docs, unexpected_cfgs, clippy::unwrap_used, clippy::expect_used)]

use polyhead::Key;
use polyhead::encoders::EncoderOverrides;
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::tasks::TASKS;
use polyhead_server::{Event, Exposure, Limits, Options};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// What is done with the bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[("http_head", head), ("http_body", body)];

/// A request, head and all.
pub fn head(data: &[u8]) {
    status(data);
}

/// The method and the address on the first line, the body below it.
pub fn body(data: &[u8]) {
    status(&body_request(data));
}

/// The request that such a body is sent in.
pub fn body_request(data: &[u8]) -> Vec<u8> {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (line, body) = data.split_at(at);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let head = format!(
        " HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [line, head.as_bytes(), body].concat()
}

/// Sends these bytes on a connection of their own, and holds the first answer to what every answer must be. Its status; none where
/// the server closes the connection instead.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(server()).expect("the server takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 16 << 10];
    let mut first = stream.read(&mut answer);
    // The fuzzer's own clock interrupts.
    while first.as_ref().is_err_and(|cause| cause.kind() == std::io::ErrorKind::Interrupted) {
        first = stream.read(&mut answer);
    }
    answer.truncate(*first.as_ref().unwrap_or(&0));
    // Nothing more comes from here: a server that waits for a next request must not wait for its timer.
    let _ = stream.shutdown(Shutdown::Write);
    match first {
        Ok(0) => return None,
        Ok(_) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::ConnectionReset => return None,
        Err(cause) => panic!("neither an answer nor an end: {cause}"),
    }
    // What is cut off at this end of the connection is no fault of the server's.
    let _ = stream.read_to_end(&mut answer);
    Some(check(&answer))
}

fn check(answer: &[u8]) -> u16 {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the head of an answer ends");
    let head = std::str::from_utf8(&answer[..end]).expect("a head in ASCII");
    let status =
        head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3));
    let status: u16 = status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {head}"));
    assert_ne!(status, 500, "{}", String::from_utf8_lossy(answer));
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length: Option<usize> = field("content-length").map(|length| length.parse().expect("a number of bytes"));
    let body = length.and_then(|length| answer.get(end + 4..end + 4 + length)).filter(|body| !body.is_empty());
    if let (Some(body), Some("application/json")) = (body, field("content-type")) {
        serde_json::from_slice::<Value>(body).expect("JSON, as the answer says");
    }
    status
}

static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();

/// Makes requests go to this server from the first on.
pub fn use_server(address: SocketAddr) {
    ADDRESS.set(address).expect("no request was sent before");
}

/// Where the server that all requests go to listens.
fn server() -> SocketAddr {
    // Every request that is cut off waits as long; a test on a busy machine waits for the server.
    let short = Duration::from_millis(if cfg!(fuzzing) { 25 } else { 500 });
    *ADDRESS.get_or_init(|| start(Limits { header: short, body: short, ..Limits::default() }))
}

/// Starts a server within these limits, which ends with the process, and says where it listens.
pub fn start(limits: Limits) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let model = folder.path().join("model");
        make_model().save(&model).expect("the model can be saved");
        let options = Options {
            model,
            kinds: TASKS,
            precision: polyhead::encoders::Precision::F32.into(),
            host: "127.0.0.1".into(),
            port: 0,
            key: None,
            exposure: Exposure::NeedsKey,
            hosts: Vec::new(),
            origins: vec!["https://app.example".into()],
            log: None,
            limits,
        };
        let mut notify = |event: Event| {
            if let Event::Listening(address) = event {
                let _ = tell.send(address);
            }
        };
        polyhead_server::serve(options, &mut notify).expect("the server serves");
    });
    told.recv().expect("the server listens")
}

fn make_model() -> Model {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fixtures"));
    let fixtures = fixtures.into_iter().find(|folder| folder.is_dir()).expect("fixtures");
    let open = |name: &str, config: Value| {
        let kind = TASKS.iter().find(|kind| kind.kind == name).expect("a known kind");
        NamedTask { name: name.into(), task: (kind.open)(config).expect("a configuration") }
    };
    let ner =
        open("ner", json!({ "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], "max_length": 32, "stride": 4 }));
    let qa = open("qa", json!({ "max_length": 64, "stride": 8, "max_question_length": 16 }));
    Model::pretrained(
        &fixtures.join("tiny-bert"),
        Provenance::default(),
        vec![ner, qa],
        &EncoderOverrides::default(),
        Key::seed(7),
    )
    .expect("a model")
}
