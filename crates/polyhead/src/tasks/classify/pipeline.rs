//! Text classification as Hugging Face's inference API has it.
//!
//! ```text
//! "A stirring film."                    -> [{"label": "pos", "score": 0.98}, {"label": "neg", "score": 0.02}]
//! {"text": "...", "text_pair": "..."}   -> the same, for a model that reads pairs
//! ```
//!
//! Without `top_k` all labels are answered, the most probable first. Without `function_to_apply` the problem decides, as in transformers:
//! softmax of one label, sigmoid of several, the number as it is. A text longer than a window has the mean of its windows'
//! scores; transformers refuses it or cuts it.

use super::{Classify, Labelled, Problem, named, sigmoid};
use crate::error::{Error, Place, Result};
use crate::tasks::answer::Labels;
use crate::tasks::{Alone, PipelineApi, Purpose, Query, Task, found, softmax, within};
use crate::text::Tokenizer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a server shows of it.
pub(super) const API: PipelineApi = PipelineApi {
    name: "text-classification",
    input: |generator| generator.subschema_for::<Input>(),
    parameters: |generator| generator.subschema_for::<Parameters>(),
    output: |generator| generator.subschema_for::<Vec<Element>>(),
    alone: Alone::InList,
};

/// The most labels that can be asked for.
const MOST: usize = 10_000;

/// A text, or a pair of texts.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Its schema is what it is for.
#[schemars(rename = "TextClassificationInput")]
enum Input {
    Text(String),
    Fields(Texts),
}

/// A text, with the one that goes with it where the model reads pairs.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
#[schemars(rename = "TextClassificationTexts")]
struct Texts {
    /// The text.
    text: String,
    /// The text that goes with it.
    text_pair: Option<String>,
}

/// How a text is classified.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TextClassificationParameters")]
struct Parameters {
    /// How many labels, the most probable first: all if not given.
    #[schemars(range(min = 1))]
    top_k: Option<usize>,
    /// What makes scores of the outputs of the head: if not given, `softmax` where one label is chosen, `sigmoid` where any number may
    /// hold, `none` of a number.
    function_to_apply: Option<Function>,
}

/// What makes scores of the outputs of the head.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "TextClassificationFunction")]
enum Function {
    /// Probabilities that sum to 1.
    Softmax,
    /// Each output for itself, between 0 and 1.
    Sigmoid,
    /// The outputs as they are.
    None,
}

/// A label with its score.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TextClassificationElement")]
struct Element {
    /// The label.
    label: String,
    /// Its score, as `function_to_apply` says.
    score: f64,
}

/// Whether an input has the form that is taken.
pub(super) fn accepts(input: &Value) -> bool {
    input.is_string() || input.get("text").is_some_and(Value::is_string)
}

/// Reads a request.
pub(super) fn query(
    task: &Arc<Classify>,
    input: &Value,
    parameters: &Map<String, Value>,
    tokenizer: &Tokenizer,
) -> Result<Query> {
    let parameters: Parameters = crate::tasks::parameters(parameters)?;
    let top_k = parameters.top_k.map_or(Ok(MOST), |count| within("top_k", count, 1..=MOST))?;
    let function = parameters.function_to_apply.unwrap_or(match task.problem() {
        Problem::SingleLabel => Function::Softmax,
        Problem::MultiLabel => Function::Sigmoid,
        Problem::Regression => Function::None,
    });
    let example = read(task, input)?;
    task.validate(&example, tokenizer)?;
    let windows = task.features(&example, tokenizer, Purpose::Predict)?.windows;
    let task = task.clone();
    Ok(Query::new(windows, move |windows| {
        let scores = task.mean(windows, |logits| applied(function, logits));
        let ranked = Labels::ranked(&named(&task), &scores);
        let element = |one: crate::tasks::answer::Label| Element { label: one.label, score: one.score };
        json!(ranked.labels.into_iter().take(top_k).map(element).collect::<Vec<_>>())
    }))
}

fn read(task: &Classify, input: &Value) -> Result<Labelled> {
    let place = Place::file("inputs");
    let Value::Object(fields) = input else {
        return task.request(&json!({ "text": input }), place);
    };
    if let Some(name) = fields.keys().find(|name| !["text", "text_pair"].contains(&name.as_str())) {
        let name = found(Some(&json!(name)));
        return Err(Error::data(format!("inputs: expected the fields `text` and `text_pair`, found {name}")));
    }
    task.request(input, place)
}

/// What the function makes of the outputs of a window.
fn applied(function: Function, logits: &[f32]) -> Vec<f64> {
    match function {
        Function::Softmax => softmax(logits),
        Function::Sigmoid => logits.iter().map(|&logit| sigmoid(logit.into())).collect(),
        Function::None => logits.iter().map(|&logit| logit.into()).collect(),
    }
}
