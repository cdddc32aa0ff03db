//! Text classification: one label for a text, or for a pair of texts.
//!
//! Windows are one text or both with the special tokens around them, for BERT `[CLS] text [SEP]` or `[CLS] text [SEP]
//! text_pair [SEP]`; the head is dropout and a linear layer on the hidden state of the first token. A text longer than a
//! window is read in overlapping windows: each has the label in training, and the label of the text is that of the mean of
//! their probabilities. Measured as scikit-learn does, see [`crate::metrics::classification`].

mod analysis;
mod exchange;
mod pipeline;
mod review;

use super::answer::{Answer, Labels};
use super::{
    Analyse, Checks, Exchange, Faces, Field, Fingerprint, HeadShape, LinearHead, Outline, Pipeline, PipelineApi,
    Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, Window, confusion, cross_entropy, found,
    is_short_line, softmax,
};
use crate::batch::{Features, Targets, WindowedExample};
use crate::data::{ColumnNames, LabelledText, Layout, Read, TEXTS};
use crate::document::Block;
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::metrics::classification::Confusion;
use crate::parameters::Weights;
use crate::text::{Piece, TokenSequence, Tokenizer, windows};
use candle_core::Tensor;
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::{self as kernels, Activation, DropoutAt, Index, Ops, Segments};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

// Configuration

/// The configuration of a classification task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with the special ones.
    pub max_length: usize,
    /// Tokens that neighbouring windows of a long text share.
    pub stride: usize,
    /// Whether training reads the first window of a long text alone, as the reference implementations do. Left out, it reads
    /// all of them. Evaluation and prediction cut nothing of a single text in either case.
    pub truncate: bool,
    /// Dropout before the linear layer.
    pub dropout: f64,
    /// Whether a dense layer with tanh stands before the dropout, as in BERT's own classifier (the pooler). A new one begins as
    /// that of the checkpoint, where it has one.
    pub pooler: bool,
    /// The labels, in the order of the head's outputs. Left empty, they are those of the training data, sorted.
    pub labels: Vec<String>,
    /// Whether it reads a text or a pair of texts. Left open, the training data decide.
    pub inputs: Option<Inputs>,
    /// The label is what stands before this mark: with `:`, `LOC:city` is `LOC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_until: Option<String>,
}

/// What a label is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// One text.
    Text,
    /// A pair of texts.
    Pair,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 128,
            stride: 32,
            truncate: false,
            dropout: 0.1,
            pooler: false,
            labels: Vec::new(),
            inputs: None,
            label_until: None,
        }
    }
}

/// Text classification.
pub struct Classify {
    config: Config,
}

/// A text, or a pair of texts, with its gold label if it has one.
pub struct Labelled {
    place: Place,
    text: String,
    text_pair: Option<String>,
    label: Option<String>,
}

/// The head: perhaps a pooler, and the layer that makes the logits.
pub struct Head {
    pooler: Option<LinearHead>,
    classifier: LinearHead,
}

const TEXT: Field = Field::new("text", "The text.", "The second act was worth the whole evening.");
const PAIR: &[Field] = &[TEXT, Field::new("text_pair", "The text that goes with it.", "The evening was not wasted.")];

// Codec

impl Classify {
    /// The index of an example's gold label.
    fn gold(&self, example: &Labelled) -> Option<usize> {
        let label = example.label.as_ref()?;
        self.config.labels.iter().position(|known| known == label)
    }

    /// The label that a file means.
    fn label(&self, label: String) -> String {
        let mark = self.config.label_until.as_deref();
        mark.and_then(|mark| label.split_once(mark)).map(|(before, _)| before.to_owned()).unwrap_or(label)
    }

    /// The tokens of both texts.
    fn tokens(example: &Labelled, tokenizer: &Tokenizer) -> Result<(Vec<Piece>, Option<Vec<Piece>>)> {
        let pair = example.text_pair.as_ref().map(|text| tokenizer.text(text)).transpose()?;
        Ok((tokenizer.text(&example.text)?, pair))
    }

    /// How many tokens are read of a pair, as "longest first" of the Hugging Face tokenizers cuts: the shorter text whole
    /// if it leaves the longer one as much, else half for each.
    fn kept(room: usize, first: usize, second: usize) -> (usize, usize) {
        let (short, long) = (first.min(second), first.max(second));
        let (short, long) = match () {
            () if short + long <= room => (short, long),
            () if 2 * short <= room => (short, room - short),
            () => (room / 2, room - room / 2),
        };
        if first <= second { (short, long) } else { (long, short) }
    }

    fn window<const TEXTS: usize>(&self, example: &Labelled, tokens: TokenSequence<TEXTS>) -> Features {
        let TokenSequence { ids, types, .. } = tokens;
        let targets = Targets::Classes(self.gold(example).map(|label| label as i64).into_iter().collect());
        Features { spans: vec![None; ids.len()], ids, types, targets, ..Features::default() }
    }

    fn best(&self, prediction: &Labels) -> Option<usize> {
        self.config.labels.iter().position(|label| *label == prediction.label)
    }
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
    ];
    const COLUMNS: ColumnNames = TEXTS.columns;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange();
    type Example = Labelled;
    type Prediction = Labels;
    type Counts = Confusion;
    type Head = Head;

    fn open(config: Value) -> Result<Self> {
        let config: Config = serde_json::from_value(config).map_err(|cause| Error::usage(cause.to_string()))?;
        if config.max_length < 5 {
            return Err(Error::usage(format!("max_length: expected at least 5 tokens, found {}", config.max_length)));
        }
        if config.stride.saturating_add(2) >= config.max_length {
            let limit = config.max_length - 3;
            let found = config.stride;
            return Err(Error::usage(format!("stride: expected at most max_length - 3 = {limit}, found {found}")));
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(Error::usage(format!("dropout: expected a rate from 0 up to 1, found {}", config.dropout)));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = config.labels.iter().find(|label| !seen.insert(*label)) {
            return Err(Error::usage(format!("labels: expected different labels, found `{twice}` twice")));
        }
        if config.label_until.as_ref().is_some_and(String::is_empty) {
            return Err(Error::usage("label_until: expected a mark such as `:`, found nothing"));
        }
        Ok(Self { config })
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

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Labelled>> {
        let Read { examples, skipped, notes } = TEXTS.read(path, limit, layout)?;
        let example = |LabelledText { place, text, text_pair, label }: LabelledText| Labelled {
            place,
            text,
            text_pair,
            label: Some(self.label(label)),
        };
        Ok(Read { examples: examples.into_iter().map(example).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[Labelled]) -> Result<()> {
        if self.config.labels.is_empty() {
            let labels: BTreeSet<&String> = train.iter().filter_map(|example| example.label.as_ref()).collect();
            self.config.labels = labels.into_iter().cloned().collect();
        }
        let pair = train.iter().any(|example| example.text_pair.is_some());
        self.config.inputs.get_or_insert(if pair { Inputs::Pair } else { Inputs::Text });
        Ok(())
    }

    fn check(&self, examples: &[Labelled]) -> Result<()> {
        for example in examples {
            if let (Some(label), None) = (&example.label, self.gold(example)) {
                let known = self.config.labels.join(", ");
                return Err(Error::data(format!("expected one of the labels {known}, found `{label}`"))
                    .at(example.place.clone())
                    .hint(
                        "the labels are those of the training data; one that only other data has can't be predicted",
                    ));
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
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        for label in examples.iter().filter_map(|example| example.label.as_ref()) {
            *counts.entry(label).or_default() += 1;
        }
        let mut rows = vec![("texts".to_owned(), examples.len())];
        rows.extend(counts.into_iter().map(|(label, count)| (format!("  {label}"), count)));
        rows
    }

    fn features(&self, example: &Labelled, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        let (text, pair) = Self::tokens(example, tokenizer)?;
        if let Some(pair) = pair {
            let template = tokenizer.pair()?;
            let (first, second) = Self::kept(template.room(self.config.max_length, 0)?, text.len(), pair.len());
            let parts = [text.get(..first).unwrap_or(&text), pair.get(..second).unwrap_or(&pair)];
            let lost_tokens = text.len() - first + pair.len() - second;
            return Ok(WindowedExample {
                windows: vec![self.window(example, template.window(parts))],
                lost_tokens,
                ..WindowedExample::default()
            });
        }
        let (template, Config { max_length, stride, .. }) = (tokenizer.single(), &self.config);
        let ranges = windows::windows(text.len(), template.room(*max_length, *stride)?, *stride);
        let read = if purpose == Purpose::Train && self.config.truncate { 1 } else { ranges.len() };
        let end = ranges.get(read.saturating_sub(1)).map_or(0, |range| range.end);
        let window = |range: &std::ops::Range<usize>| {
            self.window(example, template.window([text.get(range.clone()).unwrap_or(&[])]))
        };
        Ok(WindowedExample {
            windows: ranges.iter().take(read).map(window).collect(),
            lost_tokens: text.len() - end,
            ..WindowedExample::default()
        })
    }

    fn fingerprint(&self, example: &Labelled) -> Option<Fingerprint> {
        Fingerprint::of(1, &(&example.text, &example.text_pair, &example.label))
    }

    fn decode(&self, _: &Labelled, windows: &[Window]) -> Labels {
        let mut means = vec![0.0; self.config.labels.len()];
        for window in windows {
            for (mean, probability) in means.iter_mut().zip(softmax(window.logits.row(0))) {
                *mean += probability / windows.len() as f64;
            }
        }
        Labels::ranked(&self.config.labels, &means)
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Head> {
        let pooler = match self.config.pooler {
            true => Some(LinearHead::open_copy(weights, &format!("heads.{name}.pooler"), shape, "pooler.dense")?),
            false => None,
        };
        let classifier = LinearHead::open_by_label(weights, &format!("heads.{name}"), shape, &self.config.labels)?;
        Ok(Head { pooler, classifier })
    }

    fn logits(&self, head: &Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let first = ops.select_rows(hidden, Index::FirstTokens)?;
        let pooled = match &head.pooler {
            Some(pooler) => pooler.activated(ops, &first, Activation::Tanh)?,
            None => first,
        };
        head.classifier.apply(ops, &pooled, Some(DropoutAt::new(self.config.dropout, "classify head")))
    }

    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: usize) -> Result<Tensor> {
        let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
        Ok(token_cross_entropy(logits, &classes, count)?)
    }

    /// Of each window.
    fn losses(&self, _: &Labelled, windows: &[Window]) -> Option<(f64, usize)> {
        let of = |window: &Window| {
            cross_entropy(window.logits.row(0).iter().copied(), *window.features.targets.classes().first()?)
        };
        Some(windows.iter().filter_map(of).fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1)))
    }

    // Metric and requests

    fn counts(&self) -> Confusion {
        Confusion::new(self.config.labels.len())
    }

    fn count(&self, example: &Labelled, prediction: &Labels, counts: &mut Confusion) {
        if let (Some(gold), Some(predicted)) = (self.gold(example), self.best(prediction)) {
            counts.add(gold, predicted);
        }
    }

    fn score(&self, counts: &Confusion) -> Score {
        let mut values = confusion::values(counts);
        values.insert("mcc".into(), json!(100.0 * counts.matthews()));
        Score { headline: "accuracy".into(), values, types: confusion::types(&self.config.labels, counts) }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Labelled> {
        let field = |name: &str| match request.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => {
                let fields: Vec<String> =
                    self.fields().iter().map(|field| format!("{:?}: \"...\"", field.name)).collect();
                let found = found(other);
                let message = format!("expected {{{}}}, found {found} as `{name}`", fields.join(", "));
                Err(Error::data(message).at(place.clone()))
            }
        };
        let text = field("text")?;
        let text_pair = match self.config.inputs {
            Some(Inputs::Pair) => Some(field("text_pair")?),
            // A model of elsewhere does not say what it reads.
            None if request.get("text_pair").is_some_and(|given| !given.is_null()) => Some(field("text_pair")?),
            Some(Inputs::Text) if request.get("text_pair").is_some_and(|given| !given.is_null()) => {
                return Err(
                    Error::data("expected one text, found `text_pair` beside it: this model reads no pairs").at(place)
                );
            }
            _ => None,
        };
        Ok(Labelled { place, text, text_pair, label: None })
    }

    fn answer(&self, _: &Labelled, prediction: &Labels) -> Answer {
        Answer::Labels(prediction.clone())
    }

    fn record(&self, example: &Labelled, prediction: &Labels) -> Value {
        let mut record = self.answer(example, prediction).json();
        if let Value::Object(fields) = &mut record {
            fields.insert("text".into(), json!(example.text));
            for (name, value) in [("text_pair", &example.text_pair), ("gold_label", &example.label)] {
                if let Some(value) = value {
                    fields.insert(name.into(), json!(value));
                }
            }
        }
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
        Some(Answer::Labels(Labels::ranked(std::slice::from_ref(example.label.as_ref()?), &[1.0])))
    }

    fn asked(&self, example: &Labelled) -> String {
        match &example.text_pair {
            Some(pair) => format!("{} / {pair}", example.text),
            None => example.text.clone(),
        }
    }

    // Serving

    const SHAPE: Shape = Shape::Labels;
    const FIELDS: &'static [Field] = &[TEXT];

    fn fields(&self) -> &'static [Field] {
        if self.config.inputs == Some(Inputs::Pair) { PAIR } else { Self::FIELDS }
    }

    fn validate(&self, example: &Labelled, tokenizer: &Tokenizer) -> Result<()> {
        let (text, Some(pair)) = Self::tokens(example, tokenizer)? else { return Ok(()) };
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
        Outline { labels: example.label.iter().cloned().collect(), text: &example.text, sentence_words: None }
    }

    fn learnable(&self, train: &[Labelled]) -> Result<()> {
        let labels: BTreeSet<_> = train.iter().filter_map(|example| example.label.as_ref()).collect();
        let (Some(first), true) = (train.first(), labels.len() < 2) else { return Ok(()) };
        let found = labels.first().map_or("none".to_owned(), |label| format!("`{label}` alone"));
        let message = format!("expected at least two labels to train on, found {found} in {} texts", train.len());
        Err(Error::data(message).at(first.place.clone()).hint("is the label read from the right column?"))
    }

    fn review(&self, examples: &[Labelled], tokenizer: &Tokenizer) -> Result<Review> {
        review::review(self, examples, tokenizer)
    }
}

impl Analyse for Classify {
    fn analyse(&self, predictions: &[(&Labelled, Labels)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
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

    fn export(&self, head: &Head, encoder: &EncoderKind) -> Result<SingleTask> {
        exchange::export(self, head, encoder)
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        exchange::import(folder, weights)
    }
}
