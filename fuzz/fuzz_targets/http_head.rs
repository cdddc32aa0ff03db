//! See `targets/server.rs`.
#![no_main]

#[path = "../targets/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|data: &[u8]| server::head(data));
