//! The Hub's answers: what a file is (HEAD) and its bytes (GET from a position).
//!
//! Our own client rather than hf-hub's, because that one checks no digest, has no time limits, joins the server's ETag
//! into a path, and panics on an odd `Location`. From hf-hub come the addresses and the layout of the cache.
//!
//! `HEAD /ID/resolve/REVISION/PATH` answers with `x-repo-commit` and the file's digest as `etag`, or, where a redirect
//! leads to another server that has the bytes (LFS, Xet), as `x-linked-etag` with `x-linked-size`. Redirects within the
//! server are followed first, as `huggingface_hub` does (`get_hf_file_metadata`). The token goes to the Hub only.

use super::cache::{described, is_commit};
use super::digest::Digest;
use super::name::Repository;
use super::{HubOptions, Proxy};
use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 8;

/// Why there is no answer that we can use.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answers, or not as the Hub does. Another source may help. With the reason.
    Unreachable(String),
    /// The repository has no such file.
    Absent,
    /// The answer is final.
    Refused(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What the Hub says about a file.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub digest: Digest,
    pub bytes: Option<u64>,
    pub commit: String,
}

/// The part of a file that a GET brings.
pub(super) struct Bytes {
    /// The position of the first byte: the one asked for, or 0 where the server sends the whole file.
    pub from: u64,
    pub body: Body,
}

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    authorization: Option<String>,
    /// Whether an answer has borne the marks of the Hub. Before that, a 404 may be anyone's.
    is_hub: Cell<Known>,
}

#[derive(Clone, Copy, PartialEq)]
enum Known {
    NotYet,
    Hub,
}

impl Client {
    pub fn new(options: &HubOptions) -> Result<Self> {
        let endpoint = options.endpoint.as_str();
        if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
            return Err(Error::usage(format!("expected an address (https://...) in HF_ENDPOINT, found `{endpoint}`")));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0) // we follow them, to see each one's headers
            .accept_encoding("identity") // the digest is of the plain bytes
            .user_agent(concat!("polyhead/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.answer_timeout))
            .timeout_per_read(Some(options.answer_timeout));
        if options.proxy == Proxy::Direct {
            config = config.proxy(None);
        }
        if let Some(file) = &options.certificates {
            config = config.tls_config(TlsConfig::builder().root_certs(certificates(file)?).build());
        }
        Ok(Self {
            agent: config.build().into(),
            endpoint: endpoint.to_owned(),
            authorization: options.token.as_ref().map(|token| format!("Bearer {token}")),
            is_hub: Cell::new(Known::NotYet),
        })
    }

    /// Asks what a file is, at a revision.
    pub fn describe(&self, repository: &Repository, revision: &str, path: &str) -> Result<Description, Failure> {
        let start = self.address(repository, revision, path)?;
        let mut marks = Marks::default();
        let mut at = start.clone();
        for _ in 0..REDIRECTS {
            let answer = self.send(Method::Head, &at, &start)?;
            marks.take(answer.headers());
            let next = redirect(&at, &answer)?;
            match next {
                Some(next) if same_server(&next, &at) => at = next,
                Some(_) => return self.described(repository, path, marks, None),
                None => {
                    self.check_status(&answer, repository, path)?;
                    let length = text(answer.headers(), "content-length").and_then(|length| length.parse().ok());
                    return self.described(repository, path, marks, length);
                }
            }
        }
        Err(Failure::Unreachable("too many redirects".to_owned()))
    }

    /// The bytes of a file from a position on.
    pub fn bytes(&self, repository: &Repository, commit: &str, path: &str, from: u64) -> Result<Bytes, Failure> {
        let start = self.address(repository, commit, path)?;
        let mut at = start.clone();
        for _ in 0..REDIRECTS {
            let answer = self.send(Method::Get(from), &at, &start)?;
            if let Some(next) = redirect(&at, &answer)? {
                at = next;
                continue;
            }
            let begins: Option<u64> = text(answer.headers(), "content-range")
                .and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok());
            return match (answer.status().as_u16(), begins) {
                (206, Some(begins)) if begins == from => Ok(Bytes { from, body: answer.into_body() }),
                (200, _) => Ok(Bytes { from: 0, body: answer.into_body() }),
                (206, _) => Err(Failure::Unreachable("sent another part of the file than was asked for".to_owned())),
                _ => {
                    self.check_status(&answer, repository, path)?;
                    Err(Failure::Unreachable(format!("answered {} to a request for bytes", answer.status())))
                }
            };
        }
        Err(Failure::Unreachable("too many redirects".to_owned()))
    }

    /// The names of all files of a model at a revision, and the commit that this is.
    pub fn listing(&self, repository: &Repository) -> Result<(String, Vec<String>), Failure> {
        #[derive(Deserialize)]
        struct Listing {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let address = self.parsed(&format!("{}/api/{}", self.endpoint, described(repository).api_url()))?;
        let answer = self.send(Method::Get(0), &address, &address)?;
        self.check_status(&answer, repository, "the list of files")?;
        let Listing { sha, siblings } = read_json(answer)?;
        if !is_commit(&sha) {
            return Err(Failure::Unreachable("answered, but not as the Hub does (no commit)".to_owned()));
        }
        self.is_hub.set(Known::Hub);
        Ok((sha, siblings.into_iter().map(|file| file.rfilename).collect()))
    }

    /// Sends JSON; reads the answer.
    pub fn post_json<T: DeserializeOwned>(&self, to: &str, body: &Json, of: &Repository) -> Result<T, Failure> {
        self.post(to, "application/json", body.to_string().as_bytes(), of)
    }

    /// The same as a message of git LFS.
    pub fn post_lfs<T: DeserializeOwned>(&self, to: &str, body: &Json, of: &Repository) -> Result<T, Failure> {
        self.post(to, LFS, body.to_string().as_bytes(), of)
    }

    /// Sends a body of this type; reads the answer.
    pub fn post<T: DeserializeOwned>(
        &self,
        to: &str,
        of_type: &str,
        body: &[u8],
        of: &Repository,
    ) -> Result<T, Failure> {
        read_json(self.posted(to, of_type, body, of)?)
    }

    /// The same where nothing is to be read.
    pub fn post_unread(&self, to: &str, of_type: &str, body: &[u8], of: &Repository) -> Result<(), Failure> {
        self.posted(to, of_type, body, of).map(drop)
    }

    /// Asks for a repository; one that is there is as good.
    pub fn create(&self, to: &str, body: &Json, of: &Repository) -> Result<(), Failure> {
        let answer = self.unchecked(to, "application/json", body.to_string().as_bytes())?;
        if answer.status().as_u16() == 409 { Ok(()) } else { self.check_written(answer, of).map(drop) }
    }

    /// Sends the bytes of a large file; the ETag of the answer. The address was made for this file alone and bears its own leave: the token
    /// does not go there.
    pub fn put(&self, to: &str, bytes: &mut dyn Read, size: u64) -> Result<Option<String>, Failure> {
        let request = self.agent.put(self.parsed(to)?).header(header::CONTENT_LENGTH, size);
        let request = request.config().timeout_recv_response(Some(WRITTEN)).build();
        let answer =
            request.send(SendBody::from_reader(bytes)).map_err(|error| Failure::Unreachable(error.to_string()))?;
        match answer.status().is_success() {
            true => Ok(text(answer.headers(), "etag").map(str::to_owned)),
            false => Err(Failure::Unreachable(format!("the store for large files answered {}", answer.status()))),
        }
    }

    fn posted(&self, to: &str, of_type: &str, body: &[u8], of: &Repository) -> Result<Response<Body>, Failure> {
        self.check_written(self.unchecked(to, of_type, body)?, of)
    }

    fn unchecked(&self, to: &str, of_type: &str, body: &[u8]) -> Result<Response<Body>, Failure> {
        let (to, hub) = (self.parsed(to)?, self.parsed(&self.endpoint)?);
        let mut request = self.agent.post(&to).header(header::CONTENT_TYPE, of_type);
        if of_type == LFS {
            request = request.header(header::ACCEPT, LFS);
        }
        if let Some(authorization) = self.authorization.as_ref().filter(|_| same_server(&to, &hub)) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_recv_response(Some(WRITTEN)).build();
        request.send(body).map_err(|error| Failure::Unreachable(error.to_string()))
    }

    /// Refusals of what is to be written, with the reason that the Hub gives.
    fn check_written(&self, mut answer: Response<Body>, of: &Repository) -> Result<Response<Body>, Failure> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = text(answer.headers(), "x-error-message").map(str::to_owned);
        let code = text(answer.headers(), "x-error-code").map(str::to_owned);
        let body = answer.body_mut().with_config().limit(64 << 10).read_to_vec().unwrap_or_default();
        let body: Json = serde_json::from_slice(&body).unwrap_or_default();
        let said = said.or_else(|| Some(body.get("error")?.as_str()?.to_owned()));
        let why = said.map_or(String::new(), |said| format!(": {}", said.chars().take(300).collect::<String>()));
        let name = of.said();
        match (status.as_u16(), code.as_deref()) {
            (404, Some("RevisionNotFound")) => Err(Failure::Absent),
            (401 | 403, _) => {
                Err(Error::missing(format!("the Hub does not let this token write to {name} ({status}){why}"))
                    .hint("HF_TOKEN must be a token with the right to write there (huggingface.co/settings/tokens)")
                    .into())
            }
            (400..=499, _) => Err(Error::data(format!("the Hub refuses this for {name} ({status}){why}")).into()),
            _ => Err(Failure::Unreachable(format!("answered {status}{why}"))),
        }
    }

    fn parsed(&self, address: &str) -> Result<Uri, Failure> {
        address.parse().map_err(|_| Error::usage(format!("`{address}` is no address; check HF_ENDPOINT")).into())
    }

    fn address(&self, repository: &Repository, revision: &str, path: &str) -> Result<Uri, Failure> {
        let at = Repository { revision: revision.to_owned(), ..repository.clone() };
        let repo = described(&at);
        let address =
            format!("{}/{}/resolve/{}/{}", self.endpoint, repo.url(), repo.url_revision(), percent_encoded(path));
        self.parsed(&address)
    }

    fn send(&self, method: Method, to: &Uri, start: &Uri) -> Result<Response<Body>, Failure> {
        let mut request = match method {
            Method::Head => self.agent.head(to),
            Method::Get(_) => self.agent.get(to),
        };
        if let Method::Get(from @ 1..) = method {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(authorization) = self.authorization.as_ref().filter(|_| same_server(to, start)) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call().map_err(|error| match error {
            ureq::Error::Http(_) => {
                Error::usage("the token (HF_TOKEN) holds a character that no request can carry").into()
            }
            other => Failure::Unreachable(other.to_string()),
        })
    }

    fn check_status(&self, answer: &Response<Body>, repository: &Repository, path: &str) -> Result<(), Failure> {
        let (status, name) = (answer.status(), repository.said());
        let code = text(answer.headers(), "x-error-code");
        if code.is_some() || text(answer.headers(), "x-repo-commit").is_some() {
            self.is_hub.set(Known::Hub);
        }
        let token = match self.authorization {
            Some(_) => "check that HF_TOKEN may read it (huggingface.co/settings/tokens)",
            None => "set HF_TOKEN to a token that may read it (huggingface.co/settings/tokens)",
        };
        let refused = |error: Error| Err(Failure::Refused(error));
        match (status.as_u16(), code) {
            (200..=299, _) => Ok(()),
            (404, Some("EntryNotFound")) => Err(Failure::Absent),
            (404, Some("RevisionNotFound")) => {
                refused(Error::missing(format!("{} has no revision `{}`", repository.id, repository.revision)))
            }
            (401 | 403, Some("GatedRepo")) => refused(
                Error::missing(format!("{name} is gated: its owner asks you to accept terms first"))
                    .hint(format!("accept them on its page, then {token}")),
            ),
            (401 | 404, Some("RepoNotFound")) | (401, _) => refused(
                Error::missing(format!("the Hub has no `{name}`, or it is private (it answered {status})")).hint(
                    format!("check the name and that no folder of that name was meant; if it is private, {token}"),
                ),
            ),
            (403, Some(_)) => {
                refused(Error::missing(format!("the Hub refuses {path} of {name} ({status})")).hint(token.to_owned()))
            }
            (404, _) if self.is_hub.get() == Known::Hub => Err(Failure::Absent),
            _ => Err(Failure::Unreachable(format!("answered {status}"))),
        }
    }

    fn described(
        &self,
        repository: &Repository,
        path: &str,
        marks: Marks,
        length: Option<u64>,
    ) -> Result<Description, Failure> {
        let Some(commit) = marks.commit else {
            // A proxy's page of its own, for example.
            return Err(Failure::Unreachable("answered, but not as the Hub does (no x-repo-commit)".to_owned()));
        };
        self.is_hub.set(Known::Hub);
        let odd = |what: &str, expected: &str, found: &str| {
            let found: String = found.chars().take(80).collect();
            let said = repository.said();
            Error::data(format!("the server's {what} for {path} of {said} is {found:?}: expected {expected}"))
                .hint("check HF_ENDPOINT: this server does not answer as the Hub does")
        };
        if !is_commit(&commit) {
            return Err(odd("commit", "40 hexadecimal digits", &commit).into());
        }
        let etag = marks.linked_etag.or(marks.etag).unwrap_or_default();
        let digest = Digest::from_etag(&etag)
            .ok_or_else(|| odd("ETag", "a digest of 64 (SHA-256) or 40 (git) hexadecimal digits", &etag))?;
        Ok(Description { digest, bytes: marks.linked_size.or(length), commit })
    }
}

/// The type of messages of git LFS.
pub(super) const LFS: &str = "application/vnd.git-lfs+json";

/// Limit for the head of an answer to what is written: the Hub stores it first.
const WRITTEN: Duration = Duration::from_secs(120);

fn read_json<T: DeserializeOwned>(mut answer: Response<Body>) -> Result<T, Failure> {
    let bytes = answer.body_mut().with_config().limit(16 << 20).read_to_vec();
    let bytes = bytes.map_err(|cause| Failure::Unreachable(cause.to_string()))?;
    let odd = |cause| Failure::Unreachable(format!("answered, but not as the Hub does: {cause}"));
    serde_json::from_slice(&bytes).map_err(odd)
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    /// From this position on.
    Get(u64),
}

/// What the answers along a chain of redirects say; the last one to say it counts.
#[derive(Default)]
struct Marks {
    commit: Option<String>,
    etag: Option<String>,
    linked_etag: Option<String>,
    linked_size: Option<u64>,
}

impl Marks {
    fn take(&mut self, headers: &HeaderMap) {
        let owned = |name| text(headers, name).map(str::to_owned);
        self.commit = owned("x-repo-commit").or(self.commit.take());
        self.etag = owned("etag").or(self.etag.take());
        self.linked_etag = owned("x-linked-etag").or(self.linked_etag.take());
        self.linked_size = text(headers, "x-linked-size").and_then(|size| size.parse().ok()).or(self.linked_size);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Where a redirect leads; none if the answer is no redirect.
fn redirect(from: &Uri, answer: &Response<Body>) -> Result<Option<Uri>, Failure> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = text(answer.headers(), "location").unwrap_or_default();
    let whole = match (from.scheme_str(), from.authority()) {
        (Some(scheme), Some(authority)) if location.starts_with('/') && !location.starts_with("//") => {
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_owned(),
    };
    let next: Option<Uri> = whole.parse().ok().filter(|uri: &Uri| uri.host().is_some());
    match (next, from.scheme_str()) {
        (Some(next), Some("https")) if next.scheme_str() != Some("https") => {
            Err(Failure::Unreachable(format!("redirects from https to {}", next.scheme_str().unwrap_or_default())))
        }
        (Some(next), _) => Ok(Some(next)),
        (None, _) => Err(Failure::Unreachable("redirects to no address".to_owned())),
    }
}

fn same_server(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// A path for an address: everything but unreserved characters and `/` as `%XX` of its UTF-8 bytes (RFC 3986).
fn percent_encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

fn certificates(file: &Path) -> Result<RootCerts> {
    let pem = std::fs::read(file).map_err(|cause| Error::reading(file, cause))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn paths_are_encoded_for_an_address() {
        assert_eq!(percent_encoded("a b/ü?#.txt"), "a%20b/%C3%BC%3F%23.txt");
    }

    #[test]
    fn a_token_does_not_follow_to_another_server() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert!(same_server(&uri("https://hub/a"), &uri("https://hub/b")));
        for other in ["http://hub/a", "https://cdn/a", "https://hub:444/a"] {
            assert!(!same_server(&uri("https://hub/a"), &uri(other)), "{other}");
        }
    }
}
