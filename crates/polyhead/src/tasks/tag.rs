//! Labels of words: parts of speech, morphology. One label a word, any text, without spans.
//!
//! The first sub-word of a word carries its label, as `run_ner.py` and `run_pos.py` of transformers do it; in scripts without spaces
//! every character of the word does. The head is dropout and a linear layer. A word whose label nobody annotated gives no loss
//! and is not counted. Measured by word as scikit-learn does, see [`crate::metrics::classification`].

mod analysis;

use super::answer::Answer;
use super::words::token_classification::Imported;
use super::words::{self, Lengths, OUTSIDE, Words, best_labels, pipeline, token_classification, without_prefix};
use super::{
    AgainstTraining, Analyse, Calibrate, Checks, Exchange, Faces, Fingerprint, HeadShape, LinearHead, Outline,
    Pipeline, PipelineApi, Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, Window,
    check_different, check_dropout, configuration, confusion, is_short_line, sorted,
};
use crate::batch::{Targets, WindowedExample};
use crate::data::{FileFormats, Layout, Read, TAGGED_WORDS, TaggedWords};
use crate::document::{Block, number};
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Confidence;
use crate::metrics::classification::Confusion;
use crate::parameters::Weights;
use crate::text::offsets::OffsetUnit;
use crate::text::{Piece, Tokenizer};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::{self as kernels, DropoutAt, Ops};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

// Configuration

/// The configuration of a task that labels words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with the special ones.
    pub max_length: usize,
    /// Tokens that neighbouring windows of a long text share.
    pub stride: usize,
    /// Whether training reads the first window of a long text alone. Left out, it reads all of them. Evaluation and prediction
    /// cut nothing in either case.
    pub truncate: bool,
    /// Dropout before the linear layer.
    pub dropout: f64,
    /// Whether a dense layer, GELU and LayerNorm come before the linear layer, as in ModernBERT's classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transform: bool,
    /// The labels, in the order of the head's outputs. Left empty, they are those of the training data, sorted.
    pub labels: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_length: 128, stride: 32, truncate: false, dropout: 0.1, transform: false, labels: Vec::new() }
    }
}

impl Config {
    fn lengths(&self) -> Lengths {
        let Self { max_length, stride, truncate, .. } = *self;
        Lengths { max_length, stride, truncate }
    }
}

/// Labels of words.
pub struct Tag {
    config: Config,
    /// The number of each label.
    numbers: BTreeMap<String, usize>,
}

/// A text split into words, with the gold label of each that has one.
pub struct Sentence {
    words: Words,
    /// A label for each word; empty where nothing is gold.
    tags: Vec<Option<String>>,
}

/// The label of each word by its number, with its probability; `None` for a word without a token.
pub struct Tags(Vec<Option<(usize, f64)>>);

// Codec

/// So many labels of a large set are listed.
const LISTED: usize = 50;
/// So many known labels are named where one is refused.
const NAMED: usize = 20;

impl Tag {
    fn number(&self, label: &str) -> Option<usize> {
        self.numbers.get(label).copied()
    }

    fn named(config: Config) -> Self {
        let numbers = config.labels.iter().enumerate().map(|(number, label)| (label.clone(), number)).collect();
        Self { config, numbers }
    }

    /// The gold labels of words that are none of the task's.
    fn unknown<'a>(&'a self, examples: &'a [Sentence]) -> impl Iterator<Item = (&'a Sentence, &'a String)> {
        let labels = |example: &'a Sentence| example.tags.iter().flatten().map(move |label| (example, label));
        examples.iter().flat_map(labels).filter(move |(_, label)| self.number(label).is_none())
    }

    /// An unknown label, refused.
    fn refused(&self, (example, label): (&Sentence, &String), hint: &str) -> Error {
        let mut known = self.config.labels.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if self.config.labels.len() > NAMED {
            known += &format!(" and {} more", self.config.labels.len() - NAMED);
        }
        Error::data(format!("expected one of the labels {known}; found `{}`", label.escape_debug()))
            .at(example.words.place.clone())
            .hint(hint)
    }

    /// Labelled words of which training reads nothing.
    fn lost(example: &Sentence, pieces: &[Piece], end: usize) -> usize {
        let word = |piece: &Piece| example.words.units.get(piece.word).map(|unit| unit.word);
        let read = pieces.get(..end).unwrap_or(pieces).iter().filter_map(word).max();
        let beyond: BTreeSet<usize> = pieces.iter().skip(end).filter_map(word).collect();
        let labelled = |at: &&usize| example.tags.get(**at).is_some_and(Option::is_some);
        beyond.iter().filter(|at| Some(**at) > read).filter(labelled).count()
    }

    /// The labels of the words that have one, as an answer.
    fn spans<'a>(words: &Words, labels: impl Iterator<Item = Option<(&'a str, f64)>>) -> Answer {
        let span = |(range, label): (&Range<usize>, Option<(&str, f64)>)| {
            let (kind, score) = label.filter(|_| !range.is_empty())?;
            Some((kind.to_owned(), range.clone(), score))
        };
        words.spans(words.ranges.iter().zip(labels).filter_map(span))
    }

    /// The label of a prediction.
    fn label(&self, predicted: &Option<(usize, f64)>) -> Option<(&str, f64)> {
        let (number, score) = (*predicted)?;
        Some((self.config.labels.get(number)?.as_str(), score))
    }
}

impl Task for Tag {
    const KIND: &'static str = "tag";
    const ABOUT: &'static str = "a label for each word";
    const ALIASES: &'static [&'static str] = &[
        "pos",
        "pos_tagging",
        "pos_tagger",
        "part_of_speech",
        "parts_of_speech",
        "upos",
        "xpos",
        "feats",
        "ufeats",
        "morph",
        "morphology",
        "morphologizer",
        "tagging",
        "tagger",
    ];
    const FORMATS: &'static dyn FileFormats = &TAGGED_WORDS;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().against_training().pipeline().exchange().calibrate();
    type Example = Sentence;
    type Prediction = Tags;
    type Counts = Counts;
    type Head = LinearHead;

    fn open(config: Value) -> Result<Self> {
        let config: Config = configuration(config)?;
        config.lengths().check()?;
        check_dropout(config.dropout)?;
        check_different(&config.labels, "labels")?;
        Ok(Self::named(config))
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

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
        let Read { examples, skipped, notes } = TAGGED_WORDS.read(path, limit, layout)?;
        let example = |TaggedWords { place, words, tags }: TaggedWords| Sentence {
            words: Words::from_words(place, &words, OffsetUnit::default()),
            tags,
        };
        Ok(Read { examples: examples.into_iter().map(example).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[Sentence]) -> Result<()> {
        if self.config.labels.is_empty() {
            let labels = sorted(train.iter().flat_map(|example| example.tags.iter().flatten().map(String::as_str)));
            *self = Self::named(Config { labels, ..self.config.clone() });
        }
        Ok(())
    }

    /// A label that training did not have is wrong whatever is predicted, and counted so. Where all are such, they are of
    /// another set.
    fn check(&self, examples: &[Sentence]) -> Result<()> {
        let known = examples.iter().flat_map(|example| example.tags.iter().flatten());
        let mut known = known.filter(|label| self.number(label).is_some());
        match self.unknown(examples).next() {
            Some(first) if known.next().is_none() => {
                let hint = "the labels are those of the training data: is it the same column of the same tag set?";
                Err(self.refused(first, hint))
            }
            _ => Ok(()),
        }
    }

    fn place<'a>(&self, example: &'a Sentence) -> &'a Place {
        &example.words.place
    }

    fn distribution(&self, examples: &[Sentence]) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        let (mut words, mut without) = (0, 0);
        for example in examples {
            words += example.words.len();
            without += example.tags.iter().filter(|label| label.is_none()).count();
            example.tags.iter().flatten().for_each(|label| *counts.entry(label).or_default() += 1);
        }
        let mut rows = vec![("words".to_owned(), words)];
        if without > 0 {
            rows.push(("words without a label".to_owned(), without));
        }
        rows.push(("different labels".to_owned(), counts.len()));
        let mut listed: Vec<(&String, usize)> = counts.into_iter().collect();
        let mut rest = 0;
        if listed.len() > LISTED {
            // The most frequent ones; of equals the first.
            listed.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            rest = listed.split_off(LISTED).iter().map(|(_, count)| count).sum();
        }
        rows.extend(listed.into_iter().map(|(label, count)| (format!("  {label}"), count)));
        if rest > 0 {
            rows.push(("  all others".to_owned(), rest));
        }
        rows
    }

    fn features(&self, example: &Sentence, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        let pieces = example.words.pieces(tokenizer)?;
        let ranges = self.config.lengths().ranges(&pieces, tokenizer, purpose)?;
        let label = |unit: usize| {
            let word = example.words.units.get(unit)?.word;
            self.number(example.tags.get(word)?.as_ref()?)
        };
        let windows = words::labelled_windows(&example.words, &pieces, &ranges, tokenizer, purpose, &label);
        if purpose == Purpose::Predict {
            return Ok(WindowedExample { windows, ..WindowedExample::default() });
        }
        let end = ranges.last().map_or(0, |range| range.end);
        Ok(WindowedExample {
            windows,
            lost_tokens: pieces.len() - end,
            truncated_answers: Self::lost(example, &pieces, end),
        })
    }

    fn fingerprint(&self, example: &Sentence) -> Option<Fingerprint> {
        Fingerprint::of(1, &(example.words.words(), &example.tags))
    }

    fn decode(&self, example: &Sentence, windows: &[Window]) -> Tags {
        Tags(best_labels(&example.words, windows))
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<LinearHead> {
        let name = format!("heads.{name}");
        LinearHead::open_by_label(weights, &name, shape, &self.config.labels)?.with_transform(
            self.config.transform,
            weights,
            &name,
            shape,
        )
    }

    fn logits(&self, head: &LinearHead, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        head.apply(ops, hidden, Some(DropoutAt::new(self.config.dropout, "tag head")))
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        words::loss(logits, segments, targets, count)
    }

    /// Of each word that a window scores.
    fn losses(&self, _: &Sentence, windows: &[Window]) -> Option<(f64, usize)> {
        Some(words::losses(windows))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn count(&self, example: &Sentence, prediction: &Tags, counts: &mut Counts) {
        for (gold, predicted) in example.tags.iter().zip(&prediction.0) {
            let Some(gold) = gold else { continue };
            let predicted = predicted.map(|(number, _)| number);
            match self.number(gold) {
                Some(gold) => *counts.known.entry((gold, predicted)).or_default() += 1,
                None => *counts.unknown.entry((gold.clone(), predicted)).or_default() += 1,
            }
        }
    }

    fn score(&self, counts: &Counts) -> Score {
        let (labels, confusion) = self.confusion(counts);
        Score {
            headline: "accuracy".into(),
            values: confusion::values(&confusion),
            types: confusion::types(&labels, &confusion),
        }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Sentence> {
        Ok(Sentence { words: Words::request(request, place)?, tags: Vec::new() })
    }

    fn answer(&self, example: &Sentence, prediction: &Tags) -> Answer {
        Self::spans(&example.words, prediction.0.iter().map(|predicted| self.label(predicted)))
    }

    fn record(&self, example: &Sentence, prediction: &Tags) -> Value {
        let mut record = self.answer(example, prediction).json();
        if let Value::Object(fields) = &mut record {
            fields.insert("words".into(), json!(example.words.words()));
            if !example.tags.is_empty() {
                fields.insert("gold_tags".into(), json!(example.tags));
            }
            let tags = prediction.0.iter().map(|predicted| self.label(predicted).map(|(label, _)| label));
            fields.insert("tags".into(), json!(tags.collect::<Vec<_>>()));
        }
        record
    }

    fn example(&self, examples: &[Sentence]) -> Option<Value> {
        let short = |most: usize| examples.iter().filter(move |example| is_short_line(&example.words.text, most));
        let telling = |example: &&Sentence| example.words.units.len() > 3;
        let chosen = short(100).find(telling).or_else(|| short(200).next())?;
        Some(json!({ "text": chosen.words.text }))
    }

    fn gold_answer(&self, example: &Sentence) -> Option<Answer> {
        let golds = || example.tags.iter().map(|label| label.as_deref().map(|label| (label, 1.0)));
        golds().any(|label| label.is_some()).then(|| Self::spans(&example.words, golds()))
    }

    fn asked(&self, example: &Sentence) -> String {
        example.words.text.clone()
    }

    // Serving

    const SHAPE: Shape = Shape::Spans;
}

/// How often each gold label was predicted as each; `None` for a word without a token. Gold labels that the task does not have
/// are kept by name.
#[derive(Default)]
pub struct Counts {
    known: BTreeMap<(usize, Option<usize>), u64>,
    unknown: BTreeMap<(String, Option<usize>), u64>,
}

impl Tag {
    /// The labels of the task and the gold ones besides, and which was taken for which.
    fn confusion(&self, counts: &Counts) -> (Vec<String>, Confusion) {
        let mut labels = self.config.labels.clone();
        let besides: BTreeSet<&String> = counts.unknown.keys().map(|(label, _)| label).collect();
        labels.extend(besides.into_iter().cloned());
        let number = |label: &String| labels.iter().position(|known| known == label).unwrap_or(labels.len());
        let mut confusion = Confusion::new(labels.len());
        let known = counts.known.iter().map(|(&pair, &times)| (pair, times));
        let unknown = counts.unknown.iter().map(|((gold, predicted), &times)| ((number(gold), *predicted), times));
        for ((gold, predicted), times) in known.chain(unknown) {
            match predicted {
                Some(predicted) => confusion.add_times(gold, predicted, times),
                None => confusion.add_unanswered(gold, times),
            }
        }
        (labels, confusion)
    }
}

// Optional faces

impl Checks for Tag {
    fn outline<'a>(&self, example: &'a Sentence) -> Outline<'a> {
        Outline {
            labels: example.tags.iter().flatten().cloned().collect(),
            text: &example.words.text,
            sentence_words: Some(example.words.len()),
            ..Outline::default()
        }
    }

    fn learnable(&self, train: &[Sentence]) -> Result<()> {
        if let Some(first) = self.unknown(train).next() {
            let hint = "`labels` of the task must name all labels of the training data; left out, they are these";
            return Err(self.refused(first, hint));
        }
        let labels: BTreeSet<&String> = train.iter().flat_map(|example| example.tags.iter().flatten()).collect();
        let (Some(first), true) = (train.first(), labels.len() < 2) else { return Ok(()) };
        let found = labels.first().map_or("none".to_owned(), |label| format!("`{label}` alone"));
        let message = format!("expected at least two labels to train on, found {found} in {} sentences", train.len());
        Err(Error::data(message).at(first.words.place.clone()).hint("is the label read from the right column?"))
    }

    fn review(&self, examples: &[Sentence], tokenizer: &Tokenizer) -> Result<Review> {
        let words = examples.iter().map(|example| &example.words);
        let mut review = words::review(words, tokenizer, "and they count as wrong")?;
        let mut unknown = self.unknown(examples);
        if let Some((first, label)) = unknown.next() {
            let (words, label) = (number::counted(1 + unknown.count(), "word"), label.escape_debug());
            review.notes.push(format!(
                "{words} with a label that training did not have (the first: `{label}`, in {}): it can't be predicted, and \
                 counts as wrong",
                first.words.place
            ));
        }
        Ok(review)
    }
}

impl Analyse for Tag {
    fn analyse(&self, predictions: &[(&Sentence, Tags)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}

impl AgainstTraining for Tag {
    fn against_training(&self, train: &[Sentence], predictions: &[(&Sentence, Tags)]) -> Vec<Block> {
        analysis::against_training(self, train, predictions)
    }
}

impl Calibrate for Tag {
    fn confidences(&self, example: &Sentence, prediction: &Tags) -> Vec<Confidence> {
        let pairs = example.tags.iter().zip(&prediction.0);
        let confidence = |(gold, predicted): (&Option<String>, &Option<(usize, f64)>)| {
            let (gold, (number, probability)) = (gold.as_ref()?, (*predicted)?);
            Some(Confidence::new(probability, self.number(gold) == Some(number)))
        };
        pairs.filter_map(confidence).collect()
    }
}

impl Pipeline for Tag {
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
        let (labels, lengths) = (&self.config.labels, self.config.lengths());
        let labelling = pipeline::Labelling { labels, lengths, shown: without_prefix };
        pipeline::query(&labelling, input, parameters, tokenizer, |words, Lengths { stride, .. }| {
            let task = Self::named(Config { stride, ..self.config.clone() });
            let example = Sentence { words, tags: Vec::new() };
            let windows = task.features(&example, tokenizer, Purpose::Predict)?.windows;
            let find = move |windows: &[Window]| -> Vec<pipeline::Spot> {
                let labels = task.decode(&example, windows).0;
                let spot = |(range, predicted): (&Range<usize>, &Option<(usize, f64)>)| {
                    let (label, score) = task.label(predicted)?;
                    let (label, outside) = (label.to_owned(), label == OUTSIDE);
                    Some(pipeline::Spot { label, outside, score, start: range.start, end: range.end })
                };
                example.words.ranges.iter().zip(&labels).filter_map(spot).collect()
            };
            Ok((windows, Box::new(find)))
        })
    }
}

impl Exchange for Tag {
    const ARCHITECTURE: &'static str = token_classification::ARCHITECTURE;

    fn single(&self, _: &EncoderKind) -> SingleTask {
        token_classification::single(&self.config.labels, self.config.dropout)
    }

    fn export(&self, head: &LinearHead, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
        token_classification::export(head, encoder)
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        let usual = Config::default();
        let takes = token_classification::names_no_entities;
        let imported = token_classification::import(folder, weights, Self::KIND, usual.lengths(), takes)?;
        let config = |Imported { labels, lengths: Lengths { max_length, stride, .. }, transform }| Config {
            labels,
            max_length,
            stride,
            transform,
            ..usual
        };
        Some(imported.and_then(|imported| Self::open(json!(config(imported)))))
    }
}
