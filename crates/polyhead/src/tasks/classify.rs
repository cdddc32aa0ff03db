//! Text classification: one label of a text or of a pair of texts, several labels, or a number.
//!
//! Windows are one text or both with the special tokens around them; the head is dropout and a linear layer on the hidden state of
//! the first token, or on the mean of all. A text longer than a window is read in overlapping windows: each has the label in training, and the scores of
//! the text are the means of theirs. [`Problem`] says what the scores are (`config.rs`). Measured as scikit-learn and scipy do, see
//! [`crate::metrics::classification`], [`crate::metrics::multi_label`] and [`crate::metrics::regression`].

mod analysis;
mod config;
mod encoding;
mod example;
mod exchange;
mod head;
mod measure;
mod pipeline;
mod review;
mod statistics;

use super::answer::{Answer, Labels, Number};
use super::{
    Analyse, Calibrate, Checks, ClassSampling, Exchange, Faces, Field, Fingerprint, HeadShape, Outline, Pipeline,
    PipelineApi, Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, Tune, Window, is_short_line,
    softmax, sorted, unknown_label,
};
use crate::batch::{Targets, WindowedExample};
use crate::data::{FileFormats, Label, Layout, Read, TEXTS};
use crate::document::Block;
use crate::encoders::{EncoderKind, Reads};
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Confidence;
use crate::parameters::Weights;
use crate::text::Tokenizer;
use candle_core::Tensor;
use polyhead_kernels::{self as kernels, Ops, Segments};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use config::{ClassWeights, Config, Inputs, Pooler, Pooling, Problem, Thresholds};
pub use example::Labelled;
pub use head::Head;
pub use measure::Counts;

use encoding::{kept, tokens};
use exchange::named;
use measure::{best, predicted};

/// Text classification.
pub struct Classify {
    config: Config,
}

/// What was predicted: the score of each label in their order, or the number alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    scores: Vec<f64>,
}

const TEXT: Field = Field::new("text", "The text.", "The second act was worth the whole evening.");
const PAIR: &[Field] = &[TEXT, Field::new("text_pair", "The text that goes with it.", "The evening was not wasted.")];

impl Classify {
    fn problem(&self) -> Problem {
        self.config.problem
    }

    /// The weight of each label that makes all of them weigh the same in these examples; of several labels at once, that of an
    /// example with the label, so that those with it weigh as much as those without.
    fn balanced(&self, train: &[Labelled]) -> BTreeMap<String, f64> {
        let count = |label: &String| train.iter().filter(|example| example.labels().contains(label)).count();
        let (all, classes) = (train.len() as f64, self.config.labels.len() as f64);
        let weight = |label: &String| match (count(label), self.problem()) {
            (0, _) => 1.0,
            (own, Problem::MultiLabel) if own == train.len() => 1.0,
            (own, Problem::MultiLabel) => (all - own as f64) / own as f64,
            (own, _) => all / (classes * own as f64),
        };
        self.config.labels.iter().map(|label| (label.clone(), weight(label))).collect()
    }

    /// What the outputs of a window say.
    fn scores(&self, logits: &[f32]) -> Vec<f64> {
        match self.problem() {
            Problem::SingleLabel => softmax(logits),
            Problem::MultiLabel => logits.iter().map(|&logit| sigmoid(logit.into())).collect(),
            Problem::Regression => logits.iter().map(|&number| number.into()).collect(),
        }
    }

    /// The mean over windows of what `of` makes of their outputs.
    fn mean(&self, windows: &[Window], of: impl Fn(&[f32]) -> Vec<f64>) -> Vec<f64> {
        let outputs = if self.problem() == Problem::Regression { 1 } else { self.config.labels.len() };
        let mut means = vec![0.0; outputs];
        for window in windows {
            for (mean, score) in means.iter_mut().zip(of(window.logits.row(0))) {
                *mean += score / windows.len() as f64;
            }
        }
        means
    }

    /// Labels by their scores, as the problem has them.
    fn ranked(&self, scores: &[f64]) -> Labels {
        match self.problem() {
            Problem::MultiLabel => Labels::several(&self.config.labels, scores, &self.config.label_thresholds()),
            Problem::SingleLabel | Problem::Regression => Labels::ranked(&self.config.labels, scores),
        }
    }
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

impl Task for Classify {
    const KIND: &'static str = "classify";
    const ABOUT: &'static str = "text classification";
    const ALIASES: &'static [&'static str] = &[
        "classification",
        "text_classification",
        "sequence_classification",
        "sentence_classification",
        "sentence_pair_classification",
        "sentiment",
        "sentiment_analysis",
        "seq_cls",
        "nli",
        "textcat",
        "multiclass",
        "multilabel",
        "multi_label",
        "multi_label_classification",
        "regression",
        "text_regression",
        "textual_similarity",
    ];
    const FORMATS: &'static dyn FileFormats = &TEXTS;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange().tune().calibrate();
    type Example = Labelled;
    type Prediction = Prediction;
    type Counts = Counts;
    type Head = Head;

    // Configuration

    fn drafts() -> Vec<Value> {
        [
            json!({}),
            json!({ "problem": "multi_label" }),
            json!({ "problem": "regression" }),
            json!({ "pooling": "mean" }),
        ]
        .into()
    }

    fn open(config: Value) -> Result<Self> {
        Ok(Self { config: config::read(config)? })
    }

    fn config(&self) -> Value {
        json!(self.config)
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn labels(&self) -> &[String] {
        &self.config.labels
    }

    // Codec

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Labelled>> {
        example::read(&self.config, path, limit, layout)
    }

    fn prepare(&mut self, train: &[Labelled]) -> Result<()> {
        if self.config.labels.is_empty() {
            self.config.labels = sorted(train.iter().flat_map(Labelled::labels).map(String::as_str));
        }
        let pair = train.iter().any(|example| example.text_pair.is_some());
        self.config.inputs.get_or_insert(if pair { Inputs::Pair } else { Inputs::Text });
        if self.config.class_weights == Some(ClassWeights::Balanced) {
            self.config.class_weights = Some(ClassWeights::ByLabel(self.balanced(train)));
        }
        self.config.check_names()
    }

    fn check(&self, examples: &[Labelled]) -> Result<()> {
        for example in examples {
            let unknown = example.labels().iter().find(|label| !self.config.labels.contains(label));
            if let Some(label) = unknown {
                return Err(unknown_label(&self.config.labels, label, &example.place));
            }
            let (expected, given) = match (self.config.inputs, &example.text_pair) {
                (Some(Inputs::Pair), None) => ("a pair of texts", "one text"),
                (Some(Inputs::Text), Some(_)) => ("one text", "a pair of texts"),
                _ => continue,
            };
            return Err(Error::data(format!("expected {expected}, found {given}")).at(example.place.clone()).hint(
                "the training data decide, or `inputs` of the task; data.TASK.columns says which columns are read",
            ));
        }
        Ok(())
    }

    fn place<'a>(&self, example: &'a Labelled) -> &'a Place {
        &example.place
    }

    fn distribution(&self, examples: &[Labelled]) -> Vec<(String, usize)> {
        statistics::distribution(self.problem(), examples)
    }

    fn features(&self, example: &Labelled, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        self.windows(example, tokenizer, purpose)
    }

    fn class_sampling(&self) -> Option<ClassSampling> {
        self.config.class_sampling
    }

    fn fingerprint(&self, example: &Labelled) -> Option<Fingerprint> {
        Fingerprint::of(2, &(&example.text, &example.text_pair, example.labels(), example.number()))
    }

    fn decode(&self, _: &Labelled, windows: &[Window]) -> Prediction {
        Prediction { scores: self.mean(windows, |logits| self.scores(logits)) }
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Head> {
        Head::open(&self.config, name, shape, weights)
    }

    fn reads(&self) -> Reads {
        match self.config.pooling {
            Pooling::First => Reads::FirstTokens,
            Pooling::Mean => Reads::AllTokens,
        }
    }

    fn logits(&self, head: &Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        head.logits(&self.config, hidden, ops)
    }

    fn target_count(&self, targets: &Targets) -> f64 {
        head::target_count(&self.config, targets)
    }

    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        head::loss(&self.config, logits, targets, count)
    }

    fn losses(&self, _: &Labelled, windows: &[Window]) -> Option<(f64, usize)> {
        head::losses(&self.config, windows)
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts::new(&self.config)
    }

    fn count(&self, example: &Labelled, prediction: &Prediction, counts: &mut Counts) {
        match counts {
            Counts::Single(confusion) => {
                if let (Some(gold), Some(predicted)) = (self.class(example), best(prediction)) {
                    confusion.add(gold, predicted);
                }
            }
            Counts::Several(all) => all.extend(self.holds(example).map(|holds| (prediction.scores.clone(), holds))),
            Counts::Numbers(numbers) => {
                if let (Some(gold), Some(&predicted)) = (example.number(), prediction.scores.first()) {
                    numbers.add(gold, predicted);
                }
            }
        }
    }

    fn score(&self, counts: &Counts) -> Score {
        counts.score(&self.config)
    }

    fn request(&self, request: &Value, place: Place) -> Result<Labelled> {
        example::requested(self.config.inputs, self.fields(), request, place)
    }

    fn answer(&self, _: &Labelled, prediction: &Prediction) -> Answer {
        match self.problem() {
            Problem::SingleLabel | Problem::MultiLabel => Answer::Labels(self.ranked(&prediction.scores)),
            Problem::Regression => {
                Answer::Number(Number { value: prediction.scores.first().copied().unwrap_or_default() })
            }
        }
    }

    fn record(&self, example: &Labelled, prediction: &Prediction) -> Value {
        let mut record = self.answer(example, prediction).json();
        example.record(&mut record);
        record
    }

    fn example(&self, examples: &[Labelled]) -> Option<Value> {
        let short = |text: &str| is_short_line(text, 200);
        let all = |example: &&Labelled| short(&example.text) && example.text_pair.as_deref().is_none_or(short);
        let chosen = examples.iter().find(all)?;
        Some(match &chosen.text_pair {
            Some(pair) => json!({ "text": chosen.text, "text_pair": pair }),
            None => json!({ "text": chosen.text }),
        })
    }

    fn gold_answer(&self, example: &Labelled) -> Option<Answer> {
        Some(match example.gold.as_ref()? {
            Label::Name(name) => Answer::Labels(Labels::ranked(std::slice::from_ref(name), &[1.0])),
            Label::Set(names) => {
                let ones = vec![1.0; names.len()];
                Answer::Labels(Labels::several(names, &ones, &ones))
            }
            Label::Number(value) => Answer::Number(Number { value: *value }),
        })
    }

    fn asked(&self, example: &Labelled) -> String {
        example.asked()
    }

    // Serving

    const SHAPE: Shape = Shape::Labels;
    const FIELDS: &'static [Field] = &[TEXT];

    fn shape(&self) -> Shape {
        if self.problem() == Problem::Regression { Shape::Number } else { Self::SHAPE }
    }

    fn fields(&self) -> &'static [Field] {
        if self.config.inputs == Some(Inputs::Pair) { PAIR } else { Self::FIELDS }
    }

    fn validate(&self, example: &Labelled, tokenizer: &Tokenizer) -> Result<()> {
        let (text, Some(pair)) = tokens(example, tokenizer)? else { return Ok(()) };
        let (room, found) = (tokenizer.pair()?.room(self.config.max_length, 0)?, text.len() + pair.len());
        if found <= room {
            return Ok(());
        }
        Err(Error::data(format!("expected a pair of at most {room} tokens, found {found}"))
            .at(example.place.clone())
            .hint("a part of it would not be read; shorten one of the texts"))
    }
}

// Optional faces

impl Checks for Classify {
    fn outline<'a>(&self, example: &'a Labelled) -> Outline<'a> {
        Outline { labels: example.labels().to_vec(), text: &example.text, ..Outline::default() }
    }

    fn learnable(&self, train: &[Labelled]) -> Result<()> {
        review::learnable(self.problem(), train)
    }

    fn review(&self, examples: &[Labelled], tokenizer: &Tokenizer) -> Result<Review> {
        review::review(self, examples, tokenizer)
    }
}

impl Analyse for Classify {
    fn analyse(&self, predictions: &[(&Labelled, Prediction)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}

impl Calibrate for Classify {
    /// Of one label of a text the best; of several each, which is right where it holds. A number has no probability.
    fn confidences(&self, example: &Labelled, prediction: &Prediction) -> Vec<Confidence> {
        match self.problem() {
            Problem::SingleLabel => {
                let best = best(prediction).and_then(|label| Some((label, *prediction.scores.get(label)?)));
                let (Some(gold), Some((label, probability))) = (self.class(example), best) else { return Vec::new() };
                vec![Confidence::new(probability, gold == label)]
            }
            Problem::MultiLabel => {
                let holds = self.holds(example).unwrap_or_default();
                let all = prediction.scores.iter().zip(holds);
                all.map(|(&probability, right)| Confidence::new(probability, right)).collect()
            }
            Problem::Regression => Vec::new(),
        }
    }
}

impl Pipeline for Classify {
    const API: PipelineApi = pipeline::API;

    fn accepts(input: &Value) -> bool {
        pipeline::accepts(input)
    }

    fn pipeline(
        self: &Arc<Self>,
        input: &Value,
        parameters: &serde_json::Map<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Query> {
        pipeline::query(self, input, parameters, tokenizer)
    }
}

impl Exchange for Classify {
    const ARCHITECTURE: &'static str = exchange::ARCHITECTURE;

    fn single(&self, encoder: &EncoderKind) -> SingleTask {
        exchange::single(self, encoder)
    }

    fn export(&self, head: &Head, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
        exchange::export(self, head, encoder)
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        exchange::import(folder, weights)
    }
}

impl Tune for Classify {
    fn is_tuned(&self) -> bool {
        matches!(self.config.thresholds, Thresholds::Validation | Thresholds::ValidationShared)
    }

    fn choose(&self, counts: &Counts) -> Value {
        json!(measure::chosen_thresholds(&self.config, counts))
    }

    fn with_choice(&self, choice: &Value) -> Result<Self> {
        let chosen = serde_json::from_value(choice.clone());
        let chosen = chosen.map_err(|cause| Error::internal(format!("no thresholds: {cause}")))?;
        Ok(Self { config: Config { chosen_thresholds: Some(chosen), ..self.config.clone() } })
    }
}
