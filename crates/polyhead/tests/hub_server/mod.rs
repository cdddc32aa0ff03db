//! A small server that speaks the Hub's protocol for files, with faults on demand.
//!
//! As the Hub does: `/ID/resolve/REVISION/PATH` sends small files on to `/api/resolve-cache/...` on the same server
//! (ETag: git's SHA-1), and large ones to another server, which refuses requests that bear a token
//! (`x-linked-etag`: SHA-256). Every answer of the Hub bears `x-repo-commit`, every refusal `x-error-code`.

mod write;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// A repository at one commit.
#[derive(Clone, Default)]
pub struct Repo {
    pub commit: String,
    /// Revisions besides `main` and the commit itself.
    pub revisions: Vec<String>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// The token without which it does not exist.
    pub token: Option<String>,
    /// Where it moved.
    pub moved_to: Option<String>,
    pub private: bool,
    /// What the last commit was called.
    pub summary: String,
}

/// What the server does; tests change it as they go.
#[derive(Default)]
pub struct State {
    /// By `owner/name` or `datasets/owner/name`.
    pub repos: BTreeMap<String, Repo>,
    /// Cut the connection after this many bytes of the body of `.0`; each entry serves once.
    pub cuts: Vec<(String, usize)>,
    /// Flip a bit of this byte of `.0` in every body.
    pub altered: Option<(String, usize)>,
    pub ranges: Ranges,
    pub answers: Answers,
    /// Headers in place of the true ones: `etag`, `x-linked-etag`, `x-repo-commit`.
    pub headers: BTreeMap<String, String>,
    /// Method, path and range of every request.
    pub log: Vec<String>,
    /// Its own address.
    pub endpoint: String,
    /// Bytes that were put where large files go, by their SHA-256.
    pub stored: BTreeMap<String, Vec<u8>>,
    /// Large files are asked for in parts of so many bytes.
    pub part: Option<usize>,
    /// The token that may write; anyone may if there is none.
    pub writer: Option<String>,
}

#[derive(Default, Clone, Copy, PartialEq)]
pub enum Ranges {
    #[default]
    Served,
    Ignored,
}

#[derive(Default, Clone, Copy, PartialEq)]
pub enum Answers {
    #[default]
    AsTheHub,
    /// A page of a proxy's own, with status 200.
    APage,
    ServerError,
    Never,
}

pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// Files of this size and more are "large" (LFS).
const LARGE: usize = 1000;

impl Server {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let cdn = listen(state.clone(), None);
        let endpoint = listen(state.clone(), Some(cdn));
        state.lock().unwrap().endpoint.clone_from(&endpoint);
        Self { endpoint, state }
    }
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
    pub fn repo(&self, id: &str, commit: char, files: &[(&str, &[u8])]) {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let repo = Repo { commit: commit.to_string().repeat(40), files, ..Repo::default() };
        self.state().repos.insert(id.to_owned(), repo);
    }
    /// Takes the log: what was asked since the last time.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

fn listen(state: Arc<Mutex<State>>, cdn: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, cdn) = (state.clone(), cdn.clone());
            std::thread::spawn(move || {
                let _ = serve(stream, &state, cdn.as_deref());
            });
        }
    });
    address
}

struct Request {
    method: String,
    path: String,
    token: Option<String>,
    from: Option<usize>,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line)
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, decoded(&words.next()?));
    let path = path.split('?').next()?.to_owned();
    let mut request = Request { method, path, token: None, from: None, body: Vec::new() };
    let mut length = 0;
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned),
            "range" => request.from = value.trim().strip_prefix("bytes=")?.split('-').next()?.parse().ok(),
            "transfer-encoding" => panic!("a store for large files takes no {value}"),
            _ => {}
        }
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, cdn: Option<&str>) -> std::io::Result<()> {
    let Some(request) = read_request(&stream) else { return Ok(()) };
    let mut state = state.lock().unwrap();
    let from = request.from.map_or(String::new(), |from| format!(" from {from}"));
    state.log.push(format!("{} {}{from}", request.method, request.path));
    match state.answers {
        Answers::AsTheHub => {}
        Answers::APage => return head(&mut stream, "200 OK", &[("Content-Length", "5".into())], "login"),
        Answers::ServerError => return head(&mut stream, "503 Service Unavailable", &[], ""),
        Answers::Never => {
            drop(state);
            std::thread::sleep(std::time::Duration::from_secs(20));
            return Ok(());
        }
    }
    let Some(cdn) = cdn else {
        if request.token.is_some() {
            return head(&mut stream, "400 Bad Request", &[], "a token does not belong here");
        }
        if let Some(to) = request.path.strip_prefix("/store/") {
            let etag = format!("\"{}\"", &sha256(&request.body)[..8]);
            state.stored.insert(to.to_owned(), request.body);
            return head(&mut stream, "200 OK", &[("ETag", etag)], "");
        }
        let (_, rest) = request.path.split_once("/cdn/").unwrap();
        let (id, name) = rest.split_once("//").unwrap();
        let bytes = state.repos[id].files[name].clone();
        return body(&mut stream, &mut state, &request, name, &bytes, &[("ETag", "\"of-the-cdn\"".into())]);
    };
    if let Some(answer) = write::answer(&request, &mut state, cdn) {
        let (status, body) = answer.unwrap_or_else(|refused| refused);
        return head(&mut stream, status, &[("Content-Type", "application/json".into())], &body.to_string());
    }
    if let Some(rest) = request.path.strip_prefix("/api/resolve-cache/") {
        let (id, name) = rest.split_once("//").unwrap();
        let repo = state.repos[id].clone();
        let bytes = &repo.files[name];
        let headers = [
            ("ETag", header(&state, "etag", format!("\"{}\"", git_sha1(bytes)))),
            ("X-Repo-Commit", header(&state, "x-repo-commit", repo.commit.clone())),
        ];
        return body(&mut stream, &mut state, &request, name, bytes, &headers);
    }
    let Some((id, rest)) = request.path.trim_start_matches('/').split_once("/resolve/") else {
        return head(&mut stream, "404 Not Found", &[], "");
    };
    let known = state.repos.get(id).filter(|repo| repo.token.is_none() || repo.token == request.token);
    let Some(repo) = known.cloned() else {
        return head(&mut stream, "401 Unauthorized", &[("X-Error-Code", "RepoNotFound".into())], "");
    };
    if let Some(new) = &repo.moved_to {
        let location = request.path.replacen(id, new, 1);
        return head(&mut stream, "307 Temporary Redirect", &[("Location", location)], "");
    }
    let revisions = ["main", &repo.commit].into_iter().chain(repo.revisions.iter().map(String::as_str));
    let name = revisions.filter_map(|revision| rest.strip_prefix(revision)?.strip_prefix('/')).next();
    let Some(name) = name else {
        return head(&mut stream, "404 Not Found", &[("X-Error-Code", "RevisionNotFound".into())], "");
    };
    let commit = ("X-Repo-Commit", header(&state, "x-repo-commit", repo.commit.clone()));
    let Some(bytes) = repo.files.get(name) else {
        return head(&mut stream, "404 Not Found", &[("X-Error-Code", "EntryNotFound".into()), commit], "");
    };
    let encoded = name.replace(' ', "%20");
    if bytes.len() < LARGE {
        let location = format!("/api/resolve-cache/{id}//{encoded}");
        return head(&mut stream, "307 Temporary Redirect", &[("Location", location), commit], "");
    }
    let headers = [
        ("Location", format!("{cdn}/cdn/{id}//{encoded}")),
        ("ETag", "\"of-something-else\"".to_owned()),
        ("X-Linked-Etag", header(&state, "x-linked-etag", format!("\"{}\"", sha256(bytes)))),
        ("X-Linked-Size", bytes.len().to_string()),
        commit,
    ];
    head(&mut stream, "302 Found", &headers, "")
}

fn header(state: &State, name: &str, real: String) -> String {
    state.headers.get(name).cloned().unwrap_or(real)
}

fn head(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    headers.iter().try_for_each(|(name, value)| write!(stream, "{name}: {value}\r\n"))?;
    write!(stream, "\r\n{body}")
}

fn body(
    stream: &mut TcpStream,
    state: &mut State,
    request: &Request,
    name: &str,
    bytes: &[u8],
    headers: &[(&str, String)],
) -> std::io::Result<()> {
    let mut bytes = bytes.to_vec();
    if let Some((_, at)) = state.altered.as_ref().filter(|(altered, _)| altered == name) {
        bytes[*at] ^= 1;
    }
    let total = bytes.len();
    let from = request.from.filter(|_| state.ranges == Ranges::Served);
    let mut headers = headers.to_vec();
    let status = match from {
        Some(from) if from >= total => return head(stream, "416 Range Not Satisfiable", &headers, ""),
        Some(from) => {
            headers.push(("Content-Range", format!("bytes {from}-{}/{total}", total - 1)));
            bytes.drain(..from);
            "206 Partial Content"
        }
        None => "200 OK",
    };
    headers.push(("Content-Length", bytes.len().to_string()));
    head(stream, status, &headers, "")?;
    if request.method == "HEAD" {
        return Ok(());
    }
    if let Some(cut) = state.cuts.iter().position(|(cut, _)| cut == name) {
        let (_, after) = state.cuts.remove(cut);
        bytes.truncate(after);
    }
    stream.write_all(&bytes)
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    polyhead::io::hex(&sha2::Sha256::digest(bytes))
}

pub fn git_sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    polyhead::io::hex(&hash.finalize())
}
