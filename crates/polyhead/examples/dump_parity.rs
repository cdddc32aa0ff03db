//! Writes what polyhead computes of given inputs, to be compared with PyTorch: `checks/parity_minilm.py` drives it.
//!
//! ```text
//! cargo run --release --example dump_parity -- ENCODER_FOLDER INPUTS.safetensors OUTPUTS.safetensors
//! ```
//!
//! Inputs (as in `fixtures/tiny-bert/parity.safetensors`): `ids`, `type_ids`, `lengths`, `ner_labels`, `qa_start`, `qa_end`
//! and the head weights `heads.*`. Outputs: `hidden.N`, `ner_logits`, `qa_logits`, `ner_loss`, `qa_loss`,
//! `grad.TASK.PARAMETER`, `losses` and `grad_norms` of ten training steps.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, inputs, outputs] = &arguments[..] else {
        eprintln!("usage: dump_parity ENCODER_FOLDER INPUTS.safetensors OUTPUTS.safetensors");
        std::process::exit(2);
    };
    let inputs = common::read(Path::new(inputs));
    let folder = tempfile::tempdir().unwrap();
    common::write_model(Path::new(encoder), &inputs, folder.path());
    common::write(Path::new(outputs), &common::measure(&common::load(folder.path()), &inputs));
}
