//! polyhead in browsers: all of a model but its network, compiled to WebAssembly, and the page around it.
//!
//! ```text
//! page (assets/) -> polyhead.mjs -> this module: text -> windows -> onnxruntime-web: logits -> this module: answers
//! ```
//!
//! `polyhead export MODEL --web DIR` writes the folder that a static file server gives out. The module:
//!
//! ```text
//! cargo rustc --profile web --target wasm32-wasip1 -p polyhead-web --crate-type cdylib
//! ```
//!
//! | file | what |
//! |---|---|
//! | `model` | requests to windows, logits to answers, in the library's own code |
//! | `call` | the same as bytes |
//! | `abi` | the three functions that JavaScript calls |
//! | `files` | what lies in the folder beside the model |

#[cfg(target_family = "wasm")]
mod abi;
pub mod call;
pub mod files;
pub mod model;
