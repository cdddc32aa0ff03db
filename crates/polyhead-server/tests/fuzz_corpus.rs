//! Every request that fuzzing is kept for, sent again: real ones, what reached new code, and what once failed.
//!
//! The targets, with what each holds the server to, are in `fuzz/targets/server.rs`; `fuzz/run.sh` makes new requests.

#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/targets/server.rs"]
mod server;

use std::path::Path;

#[test]
fn every_request_in_the_corpus_is_answered_as_http() {
    for (name, target) in server::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        for input in inputs {
            let data = std::fs::read(&input).unwrap();
            if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
                eprintln!("on {}", input.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn real_requests_are_answered_and_not_only_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for name in ["analyze", "ner", "qa", "any", "infer", "infer-qa"] {
        let data = std::fs::read(corpus.join("http_body").join(name)).unwrap();
        assert_eq!(server::status(&server::body_request(&data)), Some(200), "{name}");
    }
    for name in ["get", "post", "chunked", "absolute"] {
        let data = std::fs::read(corpus.join("http_head").join(name)).unwrap();
        assert_eq!(server::status(&data), Some(200), "{name}");
    }
}
