//! Question answering as transformers has it: `BertForQuestionAnswering`, a linear layer with two outputs a token.

use super::{Config, NoAnswer};
use crate::encoders::EncoderKind;
use crate::error::{Error, Result};
use crate::parameters::Weights;
use crate::tasks::{LinearHead, SingleTask, SingleTaskFolder};
use candle_core::Tensor;

/// The end of its name.
pub(super) const ARCHITECTURE: &str = "ForQuestionAnswering";

/// Its linear layer, in most classes.
const OUTPUT: &str = "qa_outputs";

pub(super) fn single() -> SingleTask {
    let outputs = &["start_logits", "end_logits"];
    SingleTask { architecture: ARCHITECTURE, pipeline: "question-answering", outputs, config: serde_json::Map::new() }
}

pub(super) fn export(head: &LinearHead, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
    head.export(encoder, ARCHITECTURE, OUTPUT)
}

/// The configuration, with the head's tensors renamed.
pub(super) fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Result<Config> {
    let (transform, output) = LinearHead::import(folder, weights, "heads.qa", OUTPUT)?;
    for part in ["weight", "bias"] {
        let Some(both) = weights.take(&format!("{output}.{part}")) else { continue };
        if both.dim(0)? != 2 {
            return Err(Error::data(format!("{output}.{part}: expected 2 rows, found {:?}", both.dims())));
        }
        for (row, name) in ["start", "end"].into_iter().enumerate() {
            weights.put(&format!("heads.qa.{name}.{part}"), both.narrow(0, row, 1)?.contiguous()?);
        }
    }
    let usual = Config::default();
    let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
    Ok(Config {
        max_length,
        stride: usual.stride.min(max_length / 3),
        max_question_length: usual.max_question_length.min(max_length / 4),
        no_answer: Some(NoAnswer::Never),
        transform,
        ..usual
    })
}
