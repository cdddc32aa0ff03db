//! The part of the Hub's protocol that writes: a repository is made, large files are asked for and put, a commit is made; and the list of
//! a repository's files.

use super::{LARGE, Repo, Request, State, sha256};
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Answer = Result<(&'static str, Value), (&'static str, Value)>;

fn refused(status: &'static str, why: &str) -> (&'static str, Value) {
    (status, json!({ "error": why }))
}

/// What such a request is answered with; none if it is another.
pub(super) fn answer(request: &Request, state: &mut State, store: &str) -> Option<Answer> {
    let path = request.path.trim_start_matches('/');
    if let Some(rest) = path.strip_prefix("api/models/")
        && let Some((id, revision)) = rest.split_once("/revision/")
    {
        return Some(list(state, id, revision, request));
    }
    if request.method != "POST" {
        return None;
    }
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap();
    if let Some(rest) = path.strip_prefix("done/") {
        return Some(join_parts(state, rest, &body()));
    }
    if state.writer.is_some() && request.token != state.writer {
        return Some(Err(refused("403 Forbidden", "this token may only read")));
    }
    // Whether a model card is one: huggingface_hub asks first.
    if path == "api/validate-yaml" {
        return Some(Ok(("200 OK", json!({ "errors": [], "warnings": [] }))));
    }
    if path == "api/repos/create" {
        return Some(create(state, &body()));
    }
    if let Some(id) = path.strip_suffix(".git/info/lfs/objects/batch") {
        return Some(batch(state, id, &body(), store));
    }
    let rest = path.strip_prefix("api/models/")?;
    if let Some((id, _)) = rest.split_once("/preupload/") {
        let modes = body()["files"].as_array().unwrap().iter().map(mode).collect::<Vec<_>>();
        return Some(match state.repos.contains_key(id) {
            true => Ok(("200 OK", json!({ "files": modes }))),
            false => Err(refused("404 Not Found", "no such repository")),
        });
    }
    let (id, branch) = rest.split_once("/commit/")?;
    Some(commit(state, id, branch, &request.body))
}

fn list(state: &State, id: &str, revision: &str, request: &Request) -> Answer {
    let known = state.repos.get(id).filter(|repo| repo.token.is_none() || repo.token == request.token);
    let repo = known.ok_or_else(|| refused("401 Unauthorized", "no such repository"))?;
    if revision != "main" && revision != repo.commit && !repo.revisions.iter().any(|known| known == revision) {
        return Err(refused("404 Not Found", "no such revision"));
    }
    let files: Vec<Value> = repo.files.keys().map(|name| json!({ "rfilename": name })).collect();
    Ok(("200 OK", json!({ "id": id, "sha": repo.commit, "siblings": files })))
}

fn create(state: &mut State, body: &Value) -> Answer {
    let name = body["name"].as_str().unwrap();
    let id = match body["organization"].as_str() {
        Some(owner) => format!("{owner}/{name}"),
        None => name.to_owned(),
    };
    if state.repos.contains_key(&id) {
        return Err(refused("409 Conflict", "you already created this repository"));
    }
    let private = body["private"] == json!(true) || body["visibility"] == json!("private");
    let repo = Repo { commit: "0".repeat(40), private, ..Repo::default() };
    state.repos.insert(id.clone(), repo);
    Ok(("200 OK", json!({ "url": format!("{}/{id}", state.endpoint), "id": id, "name": id })))
}

fn mode(file: &Value) -> Value {
    let (name, size) = (file["path"].as_str().unwrap(), file["size"].as_u64().unwrap());
    assert!(!file["sample"].as_str().unwrap().is_empty() || size == 0);
    let large = size as usize >= LARGE || name.ends_with(".safetensors");
    json!({ "path": name, "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": name == "ignored.txt" })
}

fn batch(state: &State, id: &str, body: &Value, store: &str) -> Answer {
    if !state.repos.contains_key(id) {
        return Err(refused("404 Not Found", "no such repository"));
    }
    let objects = body["objects"].as_array().unwrap().iter().map(|object| {
        let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap() as usize);
        let mut told = json!({ "oid": oid, "size": size });
        if !state.stored.contains_key(oid) {
            told["actions"] = match state.part {
                None => json!({ "upload": { "href": format!("{store}/store/{oid}") } }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for number in 1..=size.div_ceil(part) {
                        header[number.to_string().as_str()] = json!(format!("{store}/store/{oid}.{number}"));
                    }
                    json!({ "upload": { "href": format!("{}/done/{oid}", state.endpoint), "header": header } })
                }
            };
        }
        told
    });
    Ok(("200 OK", json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() })))
}

fn join_parts(state: &mut State, oid: &str, body: &Value) -> Answer {
    let mut whole = Vec::new();
    for (at, part) in body["parts"].as_array().unwrap().iter().enumerate() {
        assert_eq!(part["partNumber"], json!(at + 1));
        let bytes = &state.stored[&format!("{oid}.{}", at + 1)];
        assert_eq!(part["etag"], json!(format!("\"{}\"", &sha256(bytes)[..8])));
        whole.extend_from_slice(bytes);
    }
    state.stored.insert(oid.to_owned(), whole);
    Ok(("200 OK", json!({})))
}

fn commit(state: &mut State, id: &str, branch: &str, body: &[u8]) -> Answer {
    let Some(repo) = state.repos.get(id) else { return Err(refused("404 Not Found", "no such repository")) };
    if branch != "main" && !repo.revisions.iter().any(|known| known == branch) {
        return Err(refused("404 Not Found", "no such branch"));
    }
    let (mut files, mut summary): (BTreeMap<String, Vec<u8>>, _) = (repo.files.clone(), String::new());
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        let (value, text) = (&line["value"], |field: &str| line["value"][field].as_str().unwrap().to_owned());
        match line["key"].as_str().unwrap() {
            "header" => summary = text("summary"),
            "file" => _ = files.insert(text("path"), decode(&text("content"))),
            "lfsFile" => {
                let Some(bytes) = state.stored.get(&text("oid")) else {
                    return Err(refused("400 Bad Request", "a large file that was never sent"));
                };
                assert_eq!((sha256(bytes), json!(bytes.len())), (text("oid"), value["size"].clone()));
                files.insert(text("path"), bytes.clone());
            }
            other => panic!("{other}"),
        }
    }
    let oid = sha256(body)[..40].to_owned();
    if let Some(repo) = state.repos.get_mut(id) {
        (repo.files, repo.summary, repo.commit) = (files, summary, oid.clone());
    }
    let url = format!("{}/{id}/commit/{oid}", state.endpoint);
    Ok(("200 OK", json!({ "success": true, "commitOid": oid, "commitUrl": url })))
}

/// Base64 as RFC 4648 has it.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other}"),
    };
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let own = four.iter().filter(|&&byte| byte != b'=').count();
        let number = four.iter().take(own).fold(0, |number, &byte| number << 6 | digit(byte)) << (6 * (4 - own));
        bytes.extend_from_slice(&number.to_be_bytes()[1..own]);
    }
    bytes
}
