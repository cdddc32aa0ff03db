//! `polyhead serve`: the same answers as `predict`, from a server that many ask at once, says no in one form, and ends well.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{command, file, model, path, polyhead};
use tempfile::TempDir;

/// A server on a free port, which ends with this value.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Of the model, if it is this server's own.
    folder: Option<TempDir>,
}

impl Server {
    fn start() -> Self {
        let folder = model();
        let mut server = Self::with(&path(&folder), &[], &[]);
        server.folder = Some(folder);
        server
    }

    fn with(model: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = [&["serve", model, "--port", "0", "--quiet"], arguments].concat();
        let mut child = command(&arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        Self { address: address.parse().unwrap(), child, folder: None }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends these bytes on a connection of their own.
    fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        Answer::read(&mut BufReader::new(stream))
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        self.send(&request(method, path, headers, body))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &["content-type: application/json"], &body.to_string())
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(method: &str, path: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<String>,
    body: String,
}

impl Answer {
    fn read(reader: &mut impl BufRead) -> Self {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        assert!(!lines.is_empty(), "no answer");
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            lines.iter().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        Self { status, headers: lines[1..].to_vec(), body: String::from_utf8(body).unwrap() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The JSON of a request that was answered.
    fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// A failure as the table has it; what it says.
    fn fails(&self, status: u16, code: &str) -> String {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        body["error"].as_str().unwrap().to_owned()
    }
}

const TEXT: &str = "Zoë lived in London, né 👩‍🚀 Paris.";

#[test]
fn answers_are_those_of_predict_in_every_form() {
    let folder = model();
    let model = path(&folder);
    let server = Server::with(&model, &[], &[]);
    let entities = polyhead(&["predict", &model, "--task", "ner", TEXT, "--json"]).json();
    let answer =
        polyhead(&["predict", &model, "--task", "qa", "--question", "Who?", "--context", TEXT, "--json"]).json();

    let analyzed = server.post("/analyze", &json!({ "text": TEXT, "question": "Who?" })).ok();
    assert_eq!(analyzed["results"]["ner"]["entities"], entities["entities"]);
    assert_eq!(analyzed["results"]["qa"], answer);
    let without = server.post("/analyze", &json!({ "text": TEXT })).ok();
    assert_eq!(without["results"].as_object().unwrap().keys().collect::<Vec<_>>(), ["ner"], "no question, no answer");

    let tensor =
        |name: &str, data: &[&str]| json!({ "name": name, "shape": [data.len()], "datatype": "BYTES", "data": data });
    let inputs = json!([tensor("question", &["Who?", "Who?"]), tensor("context", &[TEXT, "Ada."])]);
    let inferred = server.post("/v2/models/qa/infer", &json!({ "id": "7", "inputs": inputs })).ok();
    assert_eq!((&inferred["id"], &inferred["model_name"]), (&json!("7"), &json!("qa")));
    let output = |name: &str| {
        let outputs = inferred["outputs"].as_array().unwrap();
        outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("{inferred}")).clone()
    };
    assert_eq!((&output("answer")["data"][0], &output("answer")["shape"]), (&answer["answer"], &json!([2])));
    assert_eq!((&output("start")["datatype"], &output("score")["datatype"]), (&json!("INT64"), &json!("FP64")));
    let alternatives = output("alternatives")["data"][0].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&alternatives).unwrap(), answer["alternatives"]);
}

#[test]
fn offsets_are_slices_in_every_unit() {
    let server = Server::start();
    let slice = |unit: &str, start: usize, end: usize| match unit {
        "byte" => TEXT[start..end].to_owned(),
        "char" => TEXT.chars().skip(start).take(end - start).collect(),
        _ => String::from_utf16(&TEXT.encode_utf16().collect::<Vec<_>>()[start..end]).unwrap(),
    };
    for unit in ["byte", "char", "utf16"] {
        let body = json!({ "text": TEXT, "question": "Who?", "offset_unit": unit });
        let results = server.post("/analyze", &body).ok()["results"].clone();
        let place = |value: &Value| ["start", "end"].map(|name| value[name].as_u64().unwrap() as usize);
        let [start, end] = place(&results["qa"]);
        assert_eq!(results["qa"]["answer"], slice(unit, start, end), "{unit}");
        for entity in results["ner"]["entities"].as_array().unwrap() {
            let [start, end] = place(entity);
            assert_eq!(entity["text"], slice(unit, start, end), "{unit}");
        }
    }
    server.post("/analyze", &json!({ "text": TEXT, "offset_unit": "word" })).fails(422, "invalid");
}

#[test]
fn requests_that_share_batches_are_answered_as_if_alone() {
    let server = Server::start();
    let texts: Vec<String> = (1..40).map(|count| "Ada lived in London. ".repeat(count)).collect();
    let alone: Vec<Value> = texts
        .iter()
        .map(|text| server.post("/analyze", &json!({ "text": text, "question": "Who?" })).ok()["results"].clone())
        .collect();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|from| {
                let (server, texts, alone) = (&server, &texts, &alone);
                scope.spawn(move || {
                    for at in (from..texts.len()).step_by(2) {
                        let body = json!({ "text": texts[at], "question": "Who?" });
                        assert_eq!(server.post("/analyze", &body).ok()["results"], alone[at], "{at}");
                    }
                })
            })
            .collect();
        asking.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_can_not_be_answered_is_said_in_one_form_and_the_next_request_is_answered() {
    let server = Server::start();
    let json_type = ["content-type: application/json"];
    let refused = |answer: Answer, status: u16, code: &str| {
        let said = answer.fails(status, code);
        server.post("/analyze", &json!({ "text": "Ada." })).ok();
        said
    };
    refused(server.get("/nowhere"), 404, "not_found");
    assert!(refused(server.post("/tasks/poetry", &json!({ "inputs": "x" })), 404, "not_found").contains("ner, qa"));
    let wrong = server.ask("PUT", "/analyze", &json_type, "{}");
    assert_eq!(wrong.header("allow"), Some("POST"));
    refused(wrong, 405, "method_not_allowed");
    refused(server.ask("POST", "/analyze", &[], "{}"), 415, "unsupported_media_type");
    refused(
        server.ask("POST", "/analyze", &["content-type: application/json", "content-encoding: gzip"], "{}"),
        415,
        "unsupported_media_type",
    );
    for body in ["", "{", "nul", "{\"text\": NaN}", "{\"text\": \"\\ud800\"}", &"[".repeat(100_000)] {
        refused(server.ask("POST", "/analyze", &json_type, body), 400, "bad_json");
    }
    let bytes = [request("POST", "/analyze", &json_type, "")[..].to_vec(), Vec::new()].concat();
    assert!(bytes.ends_with(b"\r\n\r\n"));
    let invalid = b"POST /analyze HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"text\":\"\xff\"}";
    refused(server.send(invalid), 400, "bad_json");
    for body in [
        json!([]),
        json!({}),
        json!({ "text": 1 }),
        json!({ "text": "x", "txet": "x" }),
        json!({ "text": "x", "tasks": ["ner", "ner"] }),
        json!({ "text": "x", "tasks": ["poetry"] }),
        json!({ "text": "x", "tasks": ["qa"] }),
        json!({ "text": "x ".repeat(150_000) }),
    ] {
        refused(server.post("/analyze", &body), 422, "invalid");
    }
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(3 << 20));
    // The server may close while the body is still on its way.
    let mut stream = server.connect();
    let _ = stream.write_all(&request("POST", "/analyze", &json_type, &large));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    Answer::read(&mut BufReader::new(stream)).fails(413, "too_large");
    for inputs in [
        json!([]),
        json!([{ "name": "text", "shape": [2], "datatype": "BYTES", "data": ["x"] }]),
        json!([{ "name": "text", "shape": [1], "datatype": "FP32", "data": [1.0] }]),
        json!([{ "name": "words", "shape": [1], "datatype": "BYTES", "data": ["x"] }]),
    ] {
        refused(server.post("/v2/models/ner/infer", &json!({ "inputs": inputs })), 422, "invalid");
    }
    refused(server.get("/v2/models/ner/versions/2"), 404, "not_found");
    server.get("/v2/models/ner/versions/1").ok();
}

#[test]
fn foreign_pages_and_names_are_turned_away() {
    let server = Server::start();
    let ask = |host: &str, more: &str| {
        let body = "{\"text\":\"Ada.\"}";
        let head = format!("POST /analyze HTTP/1.1\r\nhost: {host}\r\n{more}content-type: application/json\r\n");
        server.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    let port = server.address.port();
    ask(&format!("127.0.0.1:{port}"), &format!("origin: http://127.0.0.1:{port}\r\n")).ok();
    ask("localhost", "").ok();
    ask("evil.example", "").fails(403, "forbidden");
    ask("localhost", "origin: https://evil.example\r\n").fails(403, "forbidden");
    ask("localhost", "origin: null\r\n").fails(403, "forbidden");
    let answer = ask("localhost", "");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn a_server_that_others_reach_needs_a_key() {
    let folder = model();
    let refused = polyhead(&["serve", &path(&folder), "--port", "0", "--host", "0.0.0.0"]).failure(2);
    assert!(refused.contains("API key"), "{refused}");
    let key = "0123456789abcdef0123456789abcdef";
    let file = file(&folder, "key", format!("{key}\n"));
    let server = Server::with(&path(&folder), &["--api-key-file", &file], &[]);
    let ask = |header: &str| {
        let headers = ["content-type: application/json", header];
        server.ask("POST", "/analyze", &headers[..if header.is_empty() { 1 } else { 2 }], "{\"text\":\"Ada.\"}")
    };
    let missing = ask("");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    missing.fails(401, "unauthorized");
    ask("authorization: Bearer 0123456789abcdef0123456789abcdee").fails(401, "unauthorized");
    ask(&format!("authorization: Basic {key}")).fails(401, "unauthorized");
    ask(&format!("authorization: Bearer {key}")).ok();
    server.get("/health").ok();
    server.get("/info").fails(401, "unauthorized");
    let refused = polyhead(&["serve", &path(&folder), "--port", "0", "--api-key-file", "nowhere"]).failure(66);
    assert!(!refused.contains(key));
}

#[test]
fn the_description_names_every_route_and_the_metrics_count_what_was_asked() {
    let server = Server::start();
    server.post("/analyze", &json!({ "text": TEXT })).ok();
    server.get("/nowhere/42").fails(404, "not_found");
    let described = server.get("/openapi.json").ok();
    let paths = described["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{task}", "ner").replace("{version}", "1").replace("{name}", "app.css");
            let answer = server.ask(&method.to_uppercase(), &path, &[], "");
            assert!(![404, 405].contains(&answer.status) || path == "/report", "{method} {path}: {answer:?}");
        }
    }
    let metrics = server.get("/metrics").body;
    for line in [
        "polyhead_requests_total{route=\"/analyze\",code=\"200\"} 1",
        "polyhead_requests_total{route=\"none\",code=\"404\"} 1",
        "polyhead_errors_total{code=\"not_found\"}",
        "polyhead_inference_seconds_count{task=\"ner\"} 1",
        "polyhead_queue_tokens{class=\"short\"} 0",
        "polyhead_queue_requests{class=\"long\"} 0",
        "polyhead_refusals_total{reason=\"full\",class=\"short\"} 0",
        "polyhead_tokenize_seconds_count{class=\"short\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("nowhere") && !metrics.contains("Zo"), "{metrics}");
    let info = server.get("/info").ok();
    assert_eq!(info["tasks"][0]["labels"], json!(["LOC", "PER"]));
    assert_eq!(info["limits"]["texts"], 64);
}

#[test]
fn the_page_is_whole_and_forbids_what_it_does_not_need() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    for asset in ["app.js", "app.css", "icon.svg"] {
        assert!(page.body.contains(&format!("assets/{asset}")), "{asset}");
        assert!(server.get(&format!("/assets/{asset}")).body.len() > 100, "{asset}");
    }
    assert!(!page.body.contains("http://") && !page.body.contains("https://") && !page.body.contains("<script>"));
    server.get("/report").fails(404, "not_found");
    assert_eq!(server.get("/docs").status, 200);
}

#[test]
fn what_was_accepted_is_answered_when_the_server_stops() {
    let mut server = Server::start();
    // Ten long texts wait; the last answer comes long after the signal.
    let text = "Ada lived in London. ".repeat(2000);
    let mut streams: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    let body = json!({ "text": text }).to_string();
    for stream in &mut streams {
        stream.write_all(&request("POST", "/analyze", &["content-type: application/json"], &body)).unwrap();
    }
    while !server
        .get("/metrics")
        .body
        .lines()
        .any(|line| line.starts_with("polyhead_queue_wait_seconds_count") && !line.ends_with(" 0"))
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal("-HUP");
    server.signal("-TERM");
    let mut answered = 0;
    for stream in streams {
        let answer = Answer::read(&mut BufReader::new(stream));
        // Turned away for want of room is an answer too, if it is the only other one.
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
        answered += usize::from(answer.status == 200);
    }
    assert!(answered > 0);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("Ada"), "{said}");
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn short_requests_are_answered_while_long_ones_are_refused_before_they_are_tokenised() {
    let folder = model();
    let server = Server::with(&path(&folder), &["--max-queue", "2048", "--batch-tokens", "256"], &[]);
    let (long, short) = ("Ada lived in London. ".repeat(1500), "Ada lived in London.");
    let ask = |text: &str| server.post("/tasks/ner", &json!({ "inputs": text }));
    let done = std::sync::atomic::AtomicBool::new(false);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        let answer = ask(&long);
                        if answer.status == 429 {
                            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                            assert!((1..=60).contains(&after), "{after}");
                            // It does not wait for so long.
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        statuses.push(answer.status);
                    }
                    statuses
                })
            })
            .collect();
        for _ in 0..50 {
            ask(short).ok();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let of = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    assert_eq!(of(200) + of(429), statuses.len(), "{statuses:?}");
    assert!(of(200) > 0 && of(429) > 0, "{statuses:?}");
    let metrics = server.get("/metrics").body;
    for (name, count) in [
        ("polyhead_tokenize_seconds_count{class=\"long\"}", of(200)),
        ("polyhead_refusals_total{reason=\"full\",class=\"long\"}", of(429)),
        ("polyhead_refusals_total{reason=\"full\",class=\"short\"}", 0),
        ("polyhead_queue_tokens{class=\"long\"}", 0),
    ] {
        assert!(metrics.contains(&format!("{name} {count}\n")), "{name} {count}: {metrics}");
    }
}

#[test]
fn slow_clients_do_not_hold_up_others() {
    let server = Server::start();
    let slow: Vec<TcpStream> = (0..100)
        .map(|at| {
            let mut stream = server.connect();
            let part: &[u8] = match at % 3 {
                0 => b"POST /analyze HT",
                1 => b"POST /analyze HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
                _ => b"",
            };
            stream.write_all(part).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        server.post("/analyze", &json!({ "text": "Ada." })).ok();
    }
    drop(slow);
}
