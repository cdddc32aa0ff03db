//! `polyhead serve`: the same answers as `predict`, from a server that many ask at once, says no in one form, and ends well.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{command, file, model, path, polyhead, text};
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
    // Parameters are read even where there is nothing to answer.
    server.post("/", &json!({ "inputs": [] })).ok();
    server.post("/", &json!({ "inputs": [], "parameters": { "top_k": 2 } })).ok();
    for (path, parameters) in [
        ("/", json!({ "offset_unit": "word" })),
        ("/tasks/qa", json!({ "top_k": 0 })),
        ("/tasks/ner", json!({ "top_k": 2 })),
    ] {
        refused(server.post(path, &json!({ "inputs": [], "parameters": parameters })), 422, "invalid");
    }
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
fn a_client_that_goes_leaves_its_place_to_others() {
    let server = Server::start();
    let metric = |name: &str| {
        let metrics = server.get("/metrics").body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse::<usize>().unwrap())
    };
    let wait = |name: &str, until: &dyn Fn(usize) -> bool| {
        // Half a minute at most.
        for _ in 0..3_000 {
            if until(metric(name)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} {}", metric(name));
    };
    let body = json!({ "inputs": "Ada lived in London. ".repeat(2_500) }).to_string();
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/tasks/ner", &["content-type: application/json"], &body)).unwrap();
    wait("polyhead_queue_tokens{class=\"long\"}", &|tokens| tokens > 0);
    drop(stream);
    wait("polyhead_queue_tokens{class=\"long\"}", &|tokens| tokens == 0);
    assert_eq!(metric("polyhead_queue_requests{class=\"long\"}"), 0);
    assert_eq!(metric("polyhead_requests_total{route=\"/tasks/{task}\",code=\"200\"}"), 0, "nobody was answered");
    server.post("/tasks/ner", &json!({ "inputs": "Ada." })).ok();
    assert_eq!(metric("polyhead_requests_total{route=\"/tasks/{task}\",code=\"200\"}"), 1);
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
    // Far below the ten seconds that the slow ones have; that they are cut is tested where limits are short.
    let began = std::time::Instant::now();
    for _ in 0..5 {
        server.post("/analyze", &json!({ "text": "Ada." })).ok();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?} for five requests", began.elapsed());
    drop(slow);
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn pages_of_named_sites_may_ask_and_read_every_answer_and_no_others() {
    let folder = model();
    // What browsers send is in lower case and without the usual port.
    let arguments =
        ["--allow-origin", "HTTPS://Site.Example:443/", "--allow-origin", "http://localhost:3000", "--max-body", "200"];
    let server = Server::with(&path(&folder), &arguments, &[("POLYHEAD_API_KEY", KEY)]);
    let site = "origin: https://site.example";
    let asks = ["access-control-request-method: POST", "access-control-request-headers: authorization,content-type"];
    for address in ["/analyze", "/", "/tasks/ner", "/info", "/nowhere"] {
        let allowed = server.ask("OPTIONS", address, &[site, asks[0], asks[1]], "");
        assert_eq!((allowed.status, allowed.body.as_str()), (204, ""), "{address}: no key is sent with this question");
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://site.example"));
        let has = |name: &str, word: &str| {
            let value = allowed.header(name).unwrap_or_else(|| panic!("{name}: {allowed:?}"));
            assert!(value.to_ascii_lowercase().split(", ").any(|one| one == word), "{name}: {value}");
        };
        has("access-control-allow-methods", "post");
        has("access-control-allow-headers", "authorization");
        has("access-control-allow-headers", "content-type");
        has("vary", "origin");
        assert!(allowed.header("access-control-max-age").unwrap().parse::<u32>().unwrap() > 0);
    }
    for origin in
        ["https://evil.example", "http://site.example", "https://site.example:444", "https://sub.site.example", "null"]
    {
        let refused = server.ask("OPTIONS", "/analyze", &[&format!("origin: {origin}"), asks[0], asks[1]], "");
        assert_eq!(refused.status, 403, "{origin}");
        assert!(refused.headers.iter().all(|line| !line.starts_with("access-control-")), "{origin}: {refused:?}");
        assert_eq!(refused.header("vary"), Some("origin"), "a cache must not give it to another page");
    }
    // By the name of a foreign site that leads here, nothing is allowed.
    let rebound = format!("OPTIONS /analyze HTTP/1.1\r\nhost: evil.example\r\n{site}\r\n{}\r\n\r\n", asks[0]);
    server.send(rebound.as_bytes()).fails(403, "forbidden");

    let json_type = "content-type: application/json";
    let bearer = format!("authorization: Bearer {KEY}");
    let readable = |answer: Answer, status: u16| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://site.example"), "{answer:?}");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"), "{answer:?}");
    };
    let text = "{\"text\":\"Ada.\"}";
    readable(server.ask("POST", "/analyze", &[site, json_type, &bearer], text), 200);
    readable(server.ask("POST", "/analyze", &[site, json_type], text), 401);
    readable(server.ask("POST", "/analyze", &[site, json_type, &bearer], "{"), 400);
    readable(server.ask("POST", "/analyze", &[site, json_type, &bearer], &"x".repeat(300)), 413);
    readable(server.ask("GET", "/nowhere", &[site], ""), 404);
    readable(server.ask("PUT", "/analyze", &[site, &bearer], ""), 405);
    assert_eq!(server.get("/health").header("access-control-allow-origin"), None, "who is no page gets none");
}

#[test]
fn what_is_no_name_no_origin_and_no_address_is_refused_at_the_start() {
    let folder = model();
    for (option, value, said) in [
        ("--allow-origin", "*", "each site by itself"),
        ("--allow-origin", "example.org", "https://example.org"),
        ("--allow-origin", "https://example.org/app", "--allow-origin https://example.org"),
        ("--allow-host", "*", "each name"),
        ("--allow-host", "https://ner.example", "--allow-host ner.example"),
        ("--host", "no such host", "127.0.0.1, ::1, localhost"),
        ("--host", "nowhere.invalid", "stands for none"),
        ("--access-log", "/nowhere/at/all", "access log"),
    ] {
        let arguments = ["serve", &path(&folder), "--port", "0", option, value];
        let output = command(&arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(said) && told.contains(value), "{option} {value}: {told}");
    }
    let server = Server::with(&path(&folder), &["--host", "localhost", "--allow-host", "Ner.Example."], &[]);
    assert!(server.address.ip().is_loopback());
    let ask = |host: &str| server.send(format!("GET /info HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
    ask("localhost").ok();
    ask("NER.example:8080").ok();
    ask("evil.example").fails(403, "forbidden");
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let server = Server::with(&path(&folder), &["--host", "::1"], &[]);
        assert_eq!(server.address.ip().to_string(), "::1");
        server.send(format!("GET /info HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes()).ok();
    }
}

#[test]
fn no_answer_names_a_folder_of_the_machine() {
    let folder = model();
    let (run, secret) = (folder.path().join("run"), folder.path().join("se cret's & co"));
    std::fs::create_dir(&run).unwrap();
    std::fs::rename(folder.path().join("model"), run.join("best")).unwrap();
    let recipe = format!(
        "name = 'x'\noutput = {:?}\nencoder.checkpoint = {:?}\ntasks.ner = {{ kind = 'ner' }}\ntasks.qa = {{ kind = 'qa' }}\n\
         data.ner = {{ train = {:?} }}\ndata.qa = {{ train = {:?} }}\n",
        folder.path(),
        secret.join("tiny-encoder"),
        secret.join("train.conll"),
        folder.path().join("questions.json"),
    );
    std::fs::write(run.join("recipe.toml"), &recipe).unwrap();
    let step = "{\"event\":\"step\",\"step\":1,\"epoch\":1,\"task\":\"ner\",\"loss\":1.5,\"lr\":0.1,\"tokens\":3,\"seconds\":0.1}\n";
    std::fs::write(run.join("metrics.jsonl"), step).unwrap();
    let environment = json!({ "checkpoint": { "name": secret.join("tiny-encoder") }, "data": [{ "path": secret.join("train.conll") }] });
    std::fs::write(run.join("environment.json"), environment.to_string()).unwrap();
    let config = run.join("best/config.json");
    let mut about: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    about["polyhead"]["recipe"] = json!(recipe);
    std::fs::write(&config, about.to_string()).unwrap();

    let check = |server: &Server| {
        let described = server.get("/openapi.json").ok();
        let mut seen = 0;
        for (path, methods) in described["paths"].as_object().unwrap() {
            let Some(operation) = methods.get("get") else { continue };
            let of = |at: usize| operation["parameters"][at]["schema"]["enum"].as_array().cloned().unwrap_or_default();
            for first in of(0).iter().chain(of(0).is_empty().then_some(&Value::Null)) {
                let path = path.replace("{version}", "1").replace("{task}", first.as_str().unwrap_or(""));
                let answer = server.get(&path.replace("{name}", first.as_str().unwrap_or("")));
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
                let said = format!("{:?} {}", answer.headers, answer.body);
                for hidden in [text(folder.path()), "se cret", "cret&#39;s"] {
                    assert!(!said.contains(hidden), "{path} tells {hidden}: {said}");
                }
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen} answers");
        server.get("/report").body
    };
    let server = Server::with(text(&run), &[], &[]);
    let info = server.get("/info").ok();
    assert_eq!((&info["model"]["name"], &info["model"]["encoder"]), (&json!("run"), &json!("tiny-encoder")));
    let report = check(&server);
    assert!(report.contains("tiny-encoder") && report.contains("train.conll"), "the names are there");
    // And the report that `polyhead report` wrote there, which is its owner's own.
    let written = format!(
        "<p>{}/lost.txt, {}</p>",
        folder.path().display(),
        ::polyhead::report::html::escape(text(&secret.join("train.conll")))
    );
    std::fs::write(run.join("report.html"), written).unwrap();
    let server = Server::with(text(&run.join("best")), &[], &[]);
    assert_eq!(check(&server), "<p>lost.txt, train.conll</p>");
}

#[test]
fn tensors_come_and_go_as_binary_data_for_clients_that_want_them_so() {
    let server = Server::start();
    let path = "/v2/models/qa/infer";
    let binary = |texts: &[&str]| -> Vec<u8> {
        texts.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()).collect()
    };
    let ask = |head: &Value, length: Option<usize>, data: &[u8]| {
        let head = head.to_string();
        let length = length.unwrap_or(head.len());
        let body = [head.as_bytes(), data].concat();
        let lines = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ninference-header-content-length: {length}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = server.connect();
        stream.write_all(&[lines.as_bytes(), &body].concat()).unwrap();
        // Bytes, not text: read by hand.
        let mut reader = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            head += &std::mem::take(&mut line);
        }
        let number = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok());
        let mut body = vec![0; number("content-length: ").unwrap()];
        reader.read_exact(&mut body).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = body.split_off(number("inference-header-content-length: ").unwrap_or(body.len()));
        (status, serde_json::from_slice::<Value>(&body).unwrap(), rest)
    };
    let (questions, contexts) = (binary(&["Who?", "Who?"]), binary(&[TEXT, "Ada."]));
    let tensor = |name: &str, size: usize| json!({ "name": name, "shape": [2], "datatype": "BYTES", "parameters": { "binary_data_size": size } });
    let inputs = json!([tensor("question", questions.len()), tensor("context", contexts.len())]);
    let data = [questions.clone(), contexts.clone()].concat();
    let plain = |name: &str, data: &[&str]| json!({ "name": name, "shape": [2], "datatype": "BYTES", "data": data });
    let as_json = json!({ "inputs": [plain("question", &["Who?", "Who?"]), plain("context", &[TEXT, "Ada."])] });
    let want = server.post(path, &as_json).ok();

    // Binary in, JSON out; binary out where one output or all of them are asked for so.
    let (status, answer, rest) = ask(&json!({ "inputs": inputs }), None, &data);
    assert_eq!((status, &answer, rest.len()), (200, &want, 0));
    let all = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    let (status, answer, mut rest) = ask(&all, None, &data);
    assert_eq!(status, 200, "{answer}");
    for (output, expected) in answer["outputs"].as_array().unwrap().iter().zip(want["outputs"].as_array().unwrap()) {
        assert_eq!((&output["name"], &output["shape"]), (&expected["name"], &expected["shape"]));
        assert!(output.get("data").is_none(), "{output}");
        let after = rest.split_off(output["parameters"]["binary_data_size"].as_u64().unwrap() as usize);
        let of = |value: &Value| match output["datatype"].as_str() {
            Some("INT64") => value.as_i64().unwrap().to_le_bytes().to_vec(),
            Some("FP64") => value.as_f64().unwrap().to_le_bytes().to_vec(),
            _ => binary(&[value.as_str().unwrap()]),
        };
        assert_eq!(rest, expected["data"].as_array().unwrap().iter().flat_map(of).collect::<Vec<u8>>(), "{output}");
        rest = after;
    }
    assert!(rest.is_empty());
    let one = json!({ "inputs": inputs, "outputs": [{ "name": "answer" }, { "name": "score", "parameters": { "binary_data": true } }] });
    let (_, answer, rest) = ask(&one, None, &data);
    assert_eq!((answer["outputs"].as_array().unwrap().len(), rest.len()), (2, 16), "{answer}");

    // Sizes that lie are named, and the next request is answered.
    let refused = |head: &Value, length: Option<usize>, data: &[u8], word: &str| {
        let (status, answer, _) = ask(head, length, data);
        assert!([400, 422].contains(&status) && answer["error"].as_str().unwrap().contains(word), "{status} {answer}");
        server.post("/analyze", &json!({ "text": "Ada." })).ok();
    };
    let good = json!({ "inputs": inputs });
    refused(&good, Some(99_999), &data, "inference-header-content-length");
    refused(&good, None, &data[1..], "binary_data_size");
    refused(&good, None, &[&data[..], b"x"].concat(), "1 bytes more");
    refused(
        &json!({ "inputs": [tensor("question", 4), tensor("context", contexts.len())] }),
        None,
        &data[questions.len() - 4..],
        "question",
    );
    let mut both = good.clone();
    both["inputs"][0]["data"] = json!(["a", "b"]);
    refused(&both, None, &data, "both");
    let neither = json!({ "inputs": [{ "name": "question", "shape": [1], "datatype": "BYTES" }] });
    refused(&neither, None, b"", "found none");
}

#[test]
fn the_access_log_says_what_was_asked_for_and_nothing_of_what_was_asked() {
    let folder = model();
    let log = folder.path().join("access.jsonl");
    let arguments = ["--access-log", text(&log), "--access-log-format", "json"];
    let server = Server::with(&path(&folder), &arguments, &[("POLYHEAD_API_KEY", KEY)]);
    let json_type = "content-type: application/json";
    let bearer = format!("authorization: Bearer {KEY}");
    let body = json!({ "text": TEXT }).to_string();
    let answer = server.ask("POST", "/analyze?Zo=secret", &[json_type, &bearer, "x-request-id: order-7"], &body);
    assert_eq!(answer.header("x-request-id"), Some("order-7"));
    let tokens = answer.ok()["tokens"].clone();
    let own = server.ask("POST", "/tasks/ner", &[json_type, "x-request-id: in jected\tid"], "{}");
    let id = own.header("x-request-id").unwrap().to_owned();
    assert!(!id.contains("jected"), "{id}");
    own.fails(401, "unauthorized");
    let other = server.get("/secret/Zoë-was-here");
    assert_ne!(other.header("x-request-id"), Some(id.as_str()));
    // Moved away as log rotation does it, and opened again.
    let moved = folder.path().join("access.1");
    std::fs::rename(&log, &moved).unwrap();
    server.signal("-HUP");
    while !log.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.get("/health").ok();
    let lines = |file: &std::path::Path| -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap();
        for hidden in ["Zo", "London", "secret", KEY, "Bearer"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = lines(&moved);
    let told = |line: &Value| json!([line["method"], line["route"], line["status"], line["tokens"], line["id"]]);
    assert_eq!(told(&first[0]), json!(["POST", "/analyze", 200, tokens, "order-7"]));
    assert_eq!(told(&first[1]), json!(["POST", "/tasks/{task}", 401, 0, id]));
    assert_eq!((&first[2]["route"], &first[2]["status"]), (&json!("none"), &json!(404)));
    assert_eq!(first[0]["bytes"], answer.body.len());
    assert!(first.iter().all(|line| line["ms"].as_f64().unwrap() >= 0.0), "{first:?}");
    assert!(first[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines(&log)[0]["route"], "/health");

    // As text, on standard error.
    let mut server = Server::with(&path(&folder), &["--access-log", "-"], &[]);
    server.post("/analyze", &json!({ "text": TEXT })).ok();
    server.signal("-TERM");
    let mut said = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(" method=POST route=/analyze status=200 ms=") && !said.contains("Zo"), "{said}");
}

#[test]
fn the_docs_speak_of_the_address_that_was_asked_and_of_every_field() {
    let server = Server::start();
    let page = |host: &str| server.send(format!("GET /docs HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).body;
    let docs = page("localhost:31337");
    assert!(docs.contains("curl http://localhost:31337/analyze") && !docs.contains("localhost:8080"), "{docs}");
    assert!(docs.contains("curl http://localhost:31337/tasks/qa"));
    assert!(!docs.contains("Bearer $"), "no key is wanted");
    for field in [
        "<td><code>text</code></td><td>string</td><td>no</td>",
        "<td><code>inputs</code></td><td>string or array of string</td><td>yes</td>",
        "<td><code>parameters.top_k</code></td><td>integer</td><td>no</td>",
        "<code>results.ner.entities[].score</code>",
        "<code>limits.body_bytes</code>",
        "<code>inputs[].datatype</code>",
    ] {
        assert!(docs.contains(field), "{field}: {docs}");
    }
    assert!(docs.contains("From 1 to 20.") && docs.contains("Stands in for <code>context</code>"));
    // The commands are those of a shell: one of them, run as it stands.
    let described = server.get("/openapi.json").ok();
    assert_eq!(described["openapi"], "3.1.0");
    let folder = model();
    let keyed = Server::with(&path(&folder), &[], &[("POLYHEAD_API_KEY", KEY)]);
    assert!(keyed.get("/docs").body.contains("authorization: Bearer $POLYHEAD_API_KEY"));
}
