//! The classifier as transformers has it: `BertForSequenceClassification`, a dense layer with tanh on the first token (the
//! pooler), dropout, a linear layer. Other encoders have the same layers under other names, which their entries say.

use super::{Classify, Config, Head};
use crate::encoders::{EncoderKind, SequenceHead};
use crate::error::{Error, Result};
use crate::parameters::Weights;
use crate::tasks::{SingleTask, SingleTaskFolder, Task};
use serde_json::{Map, json};

/// The end of its name.
pub(super) const ARCHITECTURE: &str = "ForSequenceClassification";

pub(super) fn export(task: &Classify, head: &Head, encoder: &EncoderKind) -> Result<SingleTask> {
    let Some(names) = encoder.sequence_head else {
        let class = encoder.name.class;
        return Err(Error::usage(format!("{class}{ARCHITECTURE} of transformers has other layers than this head")));
    };
    let Some(pooler) = &head.pooler else {
        let class = encoder.name.class;
        return Err(Error::usage(format!(
            "{class}{ARCHITECTURE} of transformers has a layer between encoder and labels (the pooler), this head has none"
        ))
        .hint("train it with `pooler = true` in the task's table of the recipe"));
    };
    let mut tensors = Vec::new();
    for (name, layer) in [(names.dense, pooler), (names.output, &head.classifier)] {
        tensors.push((format!("{name}.weight"), layer.weight()?));
        tensors.push((format!("{name}.bias"), layer.bias()?));
    }
    let names = || task.labels().iter().enumerate();
    let mut config = Map::new();
    config.insert("id2label".into(), names().map(|(id, label)| (id.to_string(), json!(label))).collect());
    config.insert("label2id".into(), names().map(|(id, label)| (label.clone(), json!(id))).collect());
    config.insert("classifier_dropout".into(), json!(task.config.dropout));
    config.insert("problem_type".into(), json!("single_label_classification"));
    Ok(SingleTask { architecture: ARCHITECTURE, pipeline: "text-classification", tensors, config })
}

pub(super) fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Classify>> {
    folder.architecture.ends_with(ARCHITECTURE).then(|| opened(folder, weights))
}

fn opened(folder: &SingleTaskFolder, weights: &mut Weights) -> Result<Classify> {
    let field = |name: &str| folder.config.get(name).filter(|value| !value.is_null());
    if let Some(problem) = field("problem_type").filter(|found| **found != "single_label_classification") {
        let message = format!("`problem_type`: expected `single_label_classification`, found {problem}");
        return Err(Error::data(message).hint("one label for a text is what a task of this kind predicts"));
    }
    let encoder = EncoderKind::of("config.json".as_ref(), &folder.config)?;
    let Some(SequenceHead { dense, output }) = encoder.sequence_head else {
        return Err(Error::data(format!("the layers of `{}` are not those of a head here", folder.architecture)));
    };
    // The names of the encoder are without its prefix by now.
    let plain = |name: &'static str| name.strip_prefix(encoder.naming.prefix).unwrap_or(name);
    for (theirs, ours) in [(dense, "heads.classify.pooler"), (output, "heads.classify")] {
        for part in ["weight", "bias"] {
            weights.rename(&format!("{}.{part}", plain(theirs)), &format!("{ours}.{part}"));
        }
    }
    let labels = folder.labels(weights.dims("heads.classify.bias").and_then(|dims| dims.first().copied()))?;
    if labels.len() < 2 {
        return Err(Error::data("`num_labels`: expected two labels or more, found 1: the model predicts a number"));
    }
    let usual = Config::default();
    let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
    let dropout = ["classifier_dropout", "hidden_dropout_prob"].into_iter().find_map(|name| field(name)?.as_f64());
    let config = Config {
        labels,
        max_length,
        stride: usual.stride.min(max_length / 4),
        dropout: dropout.unwrap_or(usual.dropout),
        pooler: true,
        ..usual
    };
    Classify::open(json!(config))
}
