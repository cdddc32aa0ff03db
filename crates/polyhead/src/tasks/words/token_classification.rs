//! `...ForTokenClassification` of transformers: dropout and a linear layer over the hidden state of each token, with its labels in
//! `config.json`. Two kinds of tasks have this form; which one a folder is of its labels say: those of entities are `O`, `B-PER`,
//! `I-PER`, any others are the labels of words.

use super::{Lengths, OUTSIDE, without_prefix};
use crate::encoders::EncoderKind;
use crate::error::Result;
use crate::parameters::Weights;
use crate::tasks::{LinearHead, SingleTask, SingleTaskFolder};
use candle_core::Tensor;
use serde_json::{Map, json};

/// Its linear layer.
const OUTPUT: &str = "classifier";
/// The end of its name.
pub const ARCHITECTURE: &str = "ForTokenClassification";

/// A head with these labels as that model.
pub fn single(labels: &[String], dropout: f64) -> SingleTask {
    let names = || labels.iter().enumerate();
    let mut config = Map::new();
    config.insert("id2label".into(), names().map(|(id, label)| (id.to_string(), json!(label))).collect());
    config.insert("label2id".into(), names().map(|(id, label)| (label.clone(), json!(id))).collect());
    config.insert("classifier_dropout".into(), json!(dropout));
    SingleTask { architecture: ARCHITECTURE, pipeline: "token-classification", outputs: &["logits"], config }
}

/// A head's tensors as that model names them.
pub fn export(head: &LinearHead, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
    head.export(encoder, ARCHITECTURE, OUTPUT)
}

/// What a folder of that model says of its head.
pub struct Imported {
    pub labels: Vec<String>,
    /// How long its windows are.
    pub lengths: Lengths,
    /// Whether there is a dense layer before the linear one.
    pub transform: bool,
}

/// The head of a folder of that model whose labels are taken. Its tensors are then those of a head of this kind.
pub fn import(
    folder: &SingleTaskFolder,
    weights: &mut Weights,
    kind: &str,
    usual: Lengths,
    takes: fn(&[String]) -> bool,
) -> Option<Result<Imported>> {
    if !folder.architecture.ends_with(ARCHITECTURE) {
        return None;
    }
    let labels = match folder.labels(weights.dims("classifier.bias").and_then(|dims| dims.first().copied())) {
        Ok(labels) if !takes(&labels) => return None,
        Ok(labels) => labels,
        Err(error) => return Some(Err(error)),
    };
    let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
    let lengths = Lengths { max_length, stride: usual.stride.min(max_length / 4), ..usual };
    let head = format!("heads.{kind}");
    Some(LinearHead::import(folder, weights, &head, OUTPUT).map(|(transform, output)| {
        for part in ["weight", "bias"] {
            weights.rename(&format!("{output}.{part}"), &format!("{head}.{part}"));
        }
        Imported { labels, lengths, transform }
    }))
}

/// Whether labels are those of entities: one is `O`, or has `B-` or `I-` before a type.
pub fn names_entities(labels: &[String]) -> bool {
    labels.iter().any(|label| label == OUTSIDE || without_prefix(label) != label)
}

/// Whether they are any others.
pub fn names_no_entities(labels: &[String]) -> bool {
    !names_entities(labels)
}
