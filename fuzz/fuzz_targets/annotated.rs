//! See `targets/library.rs`.
#![no_main]

#[path = "../targets/library.rs"]
mod library;

libfuzzer_sys::fuzz_target!(init: library::keep_panics(), |data: &[u8]| library::run(library::annotated, data));
