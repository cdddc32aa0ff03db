//! Writes a model folder as an ONNX file: `checks/onnx_check.py` drives it.
//!
//! ```text
//! cargo run --release --example dump_onnx -- MODEL_FOLDER MODEL.onnx
//! ```

use polyhead::model::Model;
use polyhead::tasks::TASKS;
use polyhead::{Error, Result};
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file] = &arguments[..] else {
        return Err(Error::usage("expected MODEL_FOLDER MODEL.onnx"));
    };
    let model = Model::load(Path::new(folder), TASKS)?;
    polyhead::onnx::write(&model, &model.tasks.iter().collect::<Vec<_>>(), file)
}
