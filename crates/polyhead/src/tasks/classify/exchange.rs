//! The classifier as transformers has it: `BertForSequenceClassification`, a dense layer with tanh on the first token (the
//! pooler), dropout, a linear layer. Other encoders have the same layers under other names, or with another function, which their
//! entries say.
//!
//! `problem_type` of `config.json` says whether it predicts one label, several or a number. Where it does not, it is as transformers
//! trains it: a number of one output, one label of several. Thresholds have no place there.

use super::{Classify, Config, Head, Pooler, Pooling, Problem};
use crate::encoders::{EncoderKind, SequenceHead};
use crate::error::{Error, Result};
use crate::parameters::Weights;
use crate::tasks::{LinearHead, SingleTask, SingleTaskFolder, Task};
use candle_core::Tensor;
use serde_json::{Map, Value, json};

/// The end of its name.
pub(super) const ARCHITECTURE: &str = "ForSequenceClassification";
/// What the head of an encoder with a transform reads of a text: the first token or the mean of all.
const POOLING: &str = "classifier_pooling";
/// The linear layer of the head.
const HEAD: &str = "heads.classify";
/// What transformers calls the only output of a model that predicts a number.
pub(super) const UNNAMED: &str = "LABEL_0";

pub(super) fn export(task: &Classify, head: &Head, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
    let pooling = task.config.pooling;
    if pooling != Pooling::First && encoder.head_transform.is_none() {
        let message =
            format!("{}{ARCHITECTURE} of transformers reads the first token, this head the mean", encoder.name.class);
        return Err(Error::usage(message).hint("train it without `pooling`"));
    }
    match encoder.sequence_head {
        Some(names) => with_pooler(task, head, encoder, names),
        None if head.pooler.is_none() => head.classifier.export(encoder, ARCHITECTURE, "classifier"),
        None => {
            let message = format!("{}{ARCHITECTURE} of transformers has no pooler", encoder.name.class);
            Err(Error::usage(message).hint("train it with `transform = true` in place of `pooler`"))
        }
    }
}

pub(super) fn single(task: &Classify, encoder: &EncoderKind) -> SingleTask {
    let names = named(task);
    let names = || names.iter().enumerate();
    let mut config = Map::new();
    config.insert("id2label".into(), names().map(|(id, label)| (id.to_string(), json!(label))).collect());
    config.insert("label2id".into(), names().map(|(id, label)| (label.clone(), json!(id))).collect());
    let dropout = match encoder.sequence_head {
        Some(head) => head.dropout,
        None => Some("classifier_dropout"),
    };
    if let Some(dropout) = dropout {
        config.insert(dropout.into(), json!(task.config.dropout));
    }
    if encoder.head_transform.is_some() {
        config.insert(POOLING.into(), json!(task.config.pooling.hugging_face()));
    }
    config.insert("problem_type".into(), json!(task.problem().hugging_face()));
    SingleTask { architecture: ARCHITECTURE, pipeline: "text-classification", outputs: &["logits"], config }
}

/// The tensors of a head whose dense layer is a pooler.
fn with_pooler(
    task: &Classify,
    head: &Head,
    encoder: &EncoderKind,
    names: SequenceHead,
) -> Result<Vec<(String, Tensor)>> {
    let class = encoder.name.class;
    let wanted = Pooler::With(names.activation).name();
    let Some((pooler, _)) = &head.pooler else {
        return Err(Error::usage(format!(
            "{class}{ARCHITECTURE} of transformers has a layer between encoder and labels (the pooler), this head has none"
        ))
        .hint(format!("train it with `pooler = {}` in the task's table of the recipe", written(wanted))));
    };
    if task.config.pooler.name() != wanted {
        let found = task.config.pooler.name();
        let message = format!(
            "{class}{ARCHITECTURE} of transformers has `pooler = {}`, this head {}",
            written(wanted),
            written(found)
        );
        return Err(Error::usage(message).hint("train it with that in the task's table of the recipe"));
    }
    let mut tensors =
        vec![(format!("{}.weight", names.dense), pooler.weight()?), (format!("{}.bias", names.dense), pooler.bias()?)];
    tensors.extend(head.classifier.export(encoder, ARCHITECTURE, names.output)?);
    Ok(tensors)
}

/// As a recipe has it.
fn written(pooler: &str) -> String {
    if ["true", "false"].contains(&pooler) { pooler.to_owned() } else { format!("\"{pooler}\"") }
}

/// The outputs as transformers calls them.
pub(super) fn named(task: &Classify) -> Vec<String> {
    match task.labels() {
        [] if task.problem() == Problem::Regression => vec![UNNAMED.to_owned()],
        labels => labels.to_vec(),
    }
}

pub(super) fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Classify>> {
    folder.architecture.ends_with(ARCHITECTURE).then(|| opened(folder, weights))
}

fn opened(folder: &SingleTaskFolder, weights: &mut Weights) -> Result<Classify> {
    let field = |name: &str| folder.config.get(name).filter(|value| !value.is_null());
    let encoder = folder.encoder()?;
    let pooling = match field(POOLING).filter(|_| encoder.head_transform.is_some()) {
        None => Pooling::First,
        Some(said) => Pooling::ALL.into_iter().find(|known| *said == known.hugging_face()).ok_or_else(|| {
            Error::data(format!("`{POOLING}`: expected `cls` or `mean`, found {said}"))
                .hint("name the folder as `encoder.checkpoint` in a recipe: the encoder is taken, and the head is new")
        })?,
    };
    let (transform, output) = LinearHead::import(folder, weights, HEAD, "classifier")?;
    let (mut pooler, mut renamed, mut dropout) = (Pooler::None, vec![(output, HEAD)], Some("classifier_dropout"));
    if let Some(head) = encoder.sequence_head {
        (pooler, dropout) = (Pooler::With(head.activation), head.dropout);
        renamed = vec![(head.dense, "heads.classify.pooler"), (head.output, HEAD)];
    }
    for (theirs, ours) in renamed {
        // The names of the encoder are without its prefix by now.
        let theirs = theirs.strip_prefix(encoder.naming.prefix).unwrap_or(theirs);
        for part in ["weight", "bias"] {
            weights.rename(&format!("{theirs}.{part}"), &format!("{ours}.{part}"));
        }
    }
    let labels = folder.labels(weights.dims("heads.classify.bias").and_then(|dims| dims.first().copied()))?;
    let problem = problem(field("problem_type"), &labels)?;
    let usual = Config::default();
    let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
    let dropout = dropout.into_iter().chain(["hidden_dropout_prob"]).find_map(|name| field(name)?.as_f64());
    let unnamed = problem == Problem::Regression && labels.iter().all(|label| label == UNNAMED);
    let config = Config {
        problem,
        labels: if unnamed { Vec::new() } else { labels },
        max_length,
        stride: usual.stride.min(max_length / 4),
        dropout: dropout.unwrap_or(usual.dropout),
        pooler,
        transform,
        pooling,
        ..usual
    };
    Classify::open(json!(config))
}

/// What a model of so many labels predicts.
fn problem(said: Option<&Value>, labels: &[String]) -> Result<Problem> {
    let problem = match said {
        None if labels.len() == 1 => Problem::Regression,
        None => Problem::SingleLabel,
        Some(said) => {
            let known = Problem::ALL.into_iter().find(|problem| *said == problem.hugging_face());
            let expected = Problem::ALL.map(|problem| format!("`{}`", problem.hugging_face())).join(", ");
            known.ok_or_else(|| Error::data(format!("`problem_type`: expected one of {expected}, found {said}")))?
        }
    };
    let (expected, fits) = match problem {
        Problem::SingleLabel => ("two labels or more", labels.len() > 1),
        Problem::MultiLabel => ("a label or more", !labels.is_empty()),
        Problem::Regression => ("1, as the model predicts a number", labels.len() == 1),
    };
    if !fits {
        return Err(Error::data(format!("`num_labels`: expected {expected}, found {}", labels.len())));
    }
    Ok(problem)
}
