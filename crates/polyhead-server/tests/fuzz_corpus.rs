//! Every request that fuzzing is kept for, sent again: real ones, what reached new code, and what once failed.
//!
//! The targets, with what each holds the server to, are in `fuzz/targets/server.rs`; `fuzz/run.sh` makes new requests.

#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/targets/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/targets/server.rs"]
mod server;

#[test]
fn every_request_in_the_corpus_is_answered_as_http() {
    server::TARGETS.iter().for_each(|(name, target)| corpus::replay(name, *target));
}

#[test]
fn real_requests_are_answered_and_not_only_refused() {
    for name in ["analyze", "ner", "qa", "any", "infer", "infer-qa"] {
        let data = std::fs::read(corpus::folder("http_body").join(name)).unwrap();
        assert_eq!(server::status(&server::body_request(&data)), Some(200), "{name}");
    }
    for name in ["get", "post", "chunked", "absolute"] {
        let data = std::fs::read(corpus::folder("http_head").join(name)).unwrap();
        assert_eq!(server::status(&data), Some(200), "{name}");
    }
}
