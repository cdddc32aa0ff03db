//! Folders of PEFT: the low-rank additions of a task and its head, a few megabytes beside an encoder that many share.
//!
//! ```text
//! DIR/adapter_config.json         {"peft_type": "LORA", "task_type": "TOKEN_CLS", "base_model_name_or_path": ..., "r": 8, ...}
//! DIR/adapter_model.safetensors   base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight  [r, in]
//!                                 base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight  [out, r]
//!                                 base_model.model.classifier.weight, .bias                                 the head
//! ```
//!
//! Names after `base_model.model.` are those of transformers' class for the task. Such folders are written (`write.rs`) and read, several
//! as one model (`read.rs`). What can be made of additions without training, whatever trained them: `arithmetic.rs`.

mod arithmetic;
mod parts;
mod read;
mod write;

pub use arithmetic::{average, merged, negated, without};
pub use read::{Folder, added, base_of, read};
pub use write::{Base, write, write_base};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// What a folder of PEFT says of itself.
pub const CONFIG: &str = "adapter_config.json";
/// Its tensors.
pub const TENSORS: &str = "adapter_model.safetensors";
/// What stands before the name that a tensor has in the class of transformers.
const PREFIX: &str = "base_model.model.";

/// Whether a folder is one of PEFT.
pub fn is_folder(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// What PEFT calls what a class of transformers is for, and how the name of the class ends.
const TASK_TYPES: [(&str, &str); 3] = [
    ("TOKEN_CLS", "ForTokenClassification"),
    ("QUESTION_ANS", "ForQuestionAnswering"),
    ("SEQ_CLS", "ForSequenceClassification"),
];

/// `adapter_config.json`, as far as it changes what is computed. Defaults are those of PEFT.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
    r: usize,
    lora_alpha: f64,
    lora_dropout: f64,
    /// The scale is `lora_alpha / √r` instead of `lora_alpha / r`.
    use_rslora: bool,
    use_dora: bool,
    target_modules: Value,
    modules_to_save: Option<Vec<String>>,
    /// Which biases are trained.
    bias: String,
    /// Whether weights are stored `[in, out]`.
    fan_in_fan_out: bool,
    /// Ranks and alphas of single layers.
    rank_pattern: Map<String, Value>,
    alpha_pattern: Map<String, Value>,
    inference_mode: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peft_type: String::new(),
            task_type: None,
            base_model_name_or_path: None,
            revision: None,
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            use_rslora: false,
            use_dora: false,
            target_modules: Value::Null,
            modules_to_save: None,
            bias: "none".to_owned(),
            fan_in_fan_out: false,
            rank_pattern: Map::new(),
            alpha_pattern: Map::new(),
            inference_mode: false,
        }
    }
}
