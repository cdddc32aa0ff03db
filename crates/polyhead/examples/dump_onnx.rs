//! Writes a model folder as an ONNX file: `checks/onnx_check.py` drives it.
//!
//! ```text
//! cargo run --release --example dump_onnx -- MODEL_FOLDER MODEL.onnx [f32 | f16 | int8] [OPSET] [external] [fused]
//! ```

use polyhead::model::Model;
use polyhead::onnx::{Format, WeightType};
use polyhead::tasks::TASKS;
use polyhead::{Error, Result};
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file, options @ ..] = &arguments[..] else {
        return Err(Error::usage("expected MODEL_FOLDER MODEL.onnx"));
    };
    let mut format = Format::default();
    for option in options {
        match option.as_str() {
            "f32" => format.weights = WeightType::F32,
            "f16" => format.weights = WeightType::F16,
            "int8" => format.weights = WeightType::Int8,
            "external" => format.external_data = true,
            "fused" => format.fused_attention = true,
            opset => format.opset = opset.parse().map_err(Error::usage)?,
        }
    }
    let model = Model::load(Path::new(folder), TASKS)?;
    polyhead::onnx::write(&model, &model.tasks.iter().collect::<Vec<_>>(), format, file)?;
    Ok(())
}
