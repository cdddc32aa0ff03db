//! Writes the hidden states and logits of a model folder, to be compared with transformers:
//! `checks/transformers_roundtrip.py` drives it.
//!
//! ```text
//! cargo run --release --example dump_logits -- MODEL_FOLDER INPUTS.safetensors OUTPUTS.safetensors
//! ```
//!
//! Inputs: `ids`, `type_ids` (packed end to end) and `lengths`. Outputs: `hidden.N` `[tokens, hidden]` after the
//! embeddings and every layer, if tasks share them, and `logits.TASK` for every task of the model, `[tokens, outputs]` or `[windows, outputs]`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use candle_core::{Device, Tensor};
use polyhead::sharing;
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, inputs, outputs] = &arguments[..] else {
        eprintln!("usage: dump_logits MODEL_FOLDER INPUTS.safetensors OUTPUTS.safetensors");
        std::process::exit(2);
    };
    let windows = common::windows(&common::read(Path::new(inputs)));
    let model = common::load(Path::new(model));
    // Where each task has hidden states of its own, there are none without a task.
    let has_hidden = !sharing::open(&model.sharing).unwrap().is_inside_layers();
    let mut found = if has_hidden { common::hidden(&*model.encoder, &windows) } else { common::Tensors::new() };
    for task in &model.tasks {
        let logits = model.logits(task, &windows.iter().collect::<Vec<_>>()).unwrap();
        let rows: Vec<&[f32]> = logits.iter().flat_map(|window| window.rows()).collect();
        let (values, shape) = (rows.concat(), (rows.len(), rows[0].len()));
        let logits = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        found.insert(format!("logits.{}", task.name), logits);
    }
    common::write(Path::new(outputs), &found);
}
