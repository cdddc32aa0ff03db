//! Named-entity recognition: a label for each word, in the IOB2 scheme (Ramshaw and Marcus, 1995).
//!
//! The first sub-word of a word carries its label, as `run_ner.py` of transformers does it; the head is dropout and a
//! linear layer. Measured by entity: see [`crate::metrics::span_f1`].

mod analysis;
mod answer;
mod pipeline;

use super::{
    Dense, Fingerprint, HeadShape, Outline, Pipeline, Purpose, Query, Score, SingleTask, SingleTaskFolder, Task,
    TypeScore, Window, cross_entropy, offset_unit, softmax,
};
use crate::batch::{Encoded, Features};
use crate::data::{self, Layout, Read, Sentence};
use crate::document::Block;
use crate::encoders::{Hidden, Pass};
use crate::error::{Error, Place, Result};
use crate::metrics::span_f1::{self, Scheme, Scores, Span, entities};
use crate::parameters::Weights;
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use crate::text::{Tokenizer, windows, words};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::cross_entropy::{IGNORE, token_cross_entropy};
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

// Configuration

/// The configuration of an NER task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with `[CLS]` and `[SEP]`.
    pub max_length: usize,
    /// Tokens that neighbouring windows of a long text share. In training, long sentences are cut instead.
    pub stride: usize,
    /// Dropout before the linear layer.
    pub dropout: f64,
    /// The labels, in the order of the head's outputs. Left empty, they are taken from the training data.
    pub labels: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_length: 128, stride: 32, dropout: 0.1, labels: Vec::new() }
    }
}

/// Named-entity recognition.
pub struct Ner {
    config: Config,
}

/// A text split into words, each with a tag where it is gold.
pub struct Tagged {
    place: Place,
    text: String,
    words: Vec<Range<usize>>,
    tags: Vec<String>,
    /// What the offsets of the answer count.
    unit: OffsetUnit,
}

/// A label and its probability for each word, and the entities that they spell.
pub struct Labelled {
    tags: Vec<String>,
    entities: Vec<Entity>,
}

/// An entity that was found: a slice of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Its type.
    pub kind: String,
    /// Where it lies in the text, in bytes.
    pub bytes: Range<usize>,
    /// The mean probability of its words' labels.
    pub score: f64,
}

// Codec

impl Tagged {
    fn from_sentence(sentence: Sentence) -> Self {
        let mut text = String::new();
        let mut words = Vec::with_capacity(sentence.words.len());
        for word in &sentence.words {
            if !text.is_empty() {
                text.push(' ');
            }
            words.push(text.len()..text.len() + word.len());
            text.push_str(word);
        }
        Self { place: sentence.place, text, words, tags: sentence.tags, unit: OffsetUnit::default() }
    }

    /// A running text without gold tags.
    fn from_text(place: Place, text: String, unit: OffsetUnit) -> Self {
        Self { words: words::words(&text), text, place, tags: Vec::new(), unit }
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(|range| slice(&self.text, range.start, range.end)).collect()
    }

    fn pieces(&self, tokenizer: &Tokenizer) -> Result<Vec<crate::text::Piece>> {
        tokenizer.words(&self.words())
    }
}

impl Ner {
    fn label(&self, tag: &str) -> Option<usize> {
        self.config.labels.iter().position(|label| label == tag)
    }

    /// One window over some of a sentence's sub-words.
    fn window(&self, example: &Tagged, pieces: &[crate::text::Piece], range: Range<usize>, t: &Tokenizer) -> Features {
        let mut features =
            Features { ids: vec![t.cls], spans: vec![None], target: vec![IGNORE], ..Features::default() };
        for at in range {
            let Some(piece) = pieces.get(at) else { break };
            let first = at == 0 || pieces.get(at - 1).is_none_or(|before| before.word != piece.word);
            let label = data::training_tag(&example.tags, piece.word).and_then(|tag| self.label(&tag));
            features.ids.push(piece.id);
            features.spans.push(first.then_some((piece.word, piece.word + 1)));
            features.target.push(if first { label.map_or(IGNORE, |label| label as i64) } else { IGNORE });
        }
        features.ids.push(t.sep);
        features.spans.push(None);
        features.target.push(IGNORE);
        features.types = vec![0; features.ids.len()];
        features
    }
}

/// The logits of each of `count` words or sub-words, to which the spans of the windows point. Of the windows that hold
/// one, the one where it has most context on both sides decides, the first of equals. Empty where no window has it.
fn rows_with_most_context(count: usize, windows: &[Window]) -> Vec<&[f32]> {
    let mut best: Vec<Option<(usize, &[f32])>> = vec![None; count];
    for Window { features, logits } in windows {
        let whole = 0..features.ids.len();
        for (at, span) in features.spans.iter().enumerate() {
            let Some((index, _)) = *span else { continue };
            let context = windows::context(&whole, at);
            if let Some(slot) = best.get_mut(index).filter(|slot| slot.is_none_or(|(most, _)| context > most)) {
                *slot = Some((context, logits.row(at)));
            }
        }
    }
    best.into_iter().map(|slot| slot.map_or(&[][..], |(_, row)| row)).collect()
}

/// The most probable label, the first of equals, with its probability.
fn top(probabilities: &[f64]) -> Option<(usize, f64)> {
    let top = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    top.map(|(label, &score)| (label, score))
}

/// `O`, then `B-` and `I-` of each type in alphabetical order.
fn labels_of(tags: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let kinds: BTreeSet<String> =
        tags.filter_map(|tag| tag.as_ref().split_once('-').map(|(_, kind)| kind.to_owned())).collect();
    let both = kinds.iter().flat_map(|kind| [format!("B-{kind}"), format!("I-{kind}")]);
    std::iter::once("O".to_owned()).chain(both).collect()
}

impl Task for Ner {
    const KIND: &'static str = "ner";
    const ABOUT: &'static str = "named-entity recognition";
    type Example = Tagged;
    type Prediction = Labelled;
    type Counts = Counts;
    type Head = Dense;

    fn open(config: Value) -> Result<Self> {
        let config: Config = serde_json::from_value(config).map_err(|cause| Error::usage(cause.to_string()))?;
        if config.max_length < 3 {
            return Err(Error::usage(format!("max_length: expected at least 3 tokens, found {}", config.max_length)));
        }
        if config.stride.saturating_add(2) >= config.max_length {
            let limit = config.max_length - 3;
            return Err(Error::usage(format!(
                "stride: expected at most max_length - 3 = {limit}, found {}",
                config.stride
            )));
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(Error::usage(format!("dropout: expected a rate from 0 up to 1, found {}", config.dropout)));
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

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Tagged>> {
        let Read { examples, skipped, notes } = data::read_sentences(path, limit, layout)?;
        Ok(Read { examples: examples.into_iter().map(Tagged::from_sentence).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[Tagged]) -> Result<()> {
        if self.config.labels.is_empty() {
            self.config.labels = labels_of(train.iter().flat_map(|example| &example.tags));
        }
        Ok(())
    }

    fn check(&self, examples: &[Tagged]) -> Result<()> {
        for example in examples {
            let mut tags = (0..example.tags.len()).filter_map(|word| data::training_tag(&example.tags, word));
            if let Some(tag) = tags.find(|tag| self.label(tag).is_none()) {
                let known = self.config.labels.join(", ");
                return Err(Error::data(format!("expected one of the tags {known}, found `{tag}`"))
                    .at(example.place.clone())
                    .hint(
                        "the labels are those of the training data; a tag that only other data has can't be predicted",
                    ));
            }
        }
        Ok(())
    }

    fn learnable(&self, train: &[Tagged]) -> Result<()> {
        let (Some(first), true) = (train.first(), train.iter().all(|example| spans(&example.tags).is_empty())) else {
            return Ok(());
        };
        let message =
            format!("expected entities to train on, found none in {} sentences: every tag is `O`", train.len());
        Err(Error::data(message).at(first.place.clone()).hint("is the tag the last column?"))
    }

    fn outline<'a>(&self, example: &'a Tagged) -> Outline<'a> {
        Outline {
            labels: spans(&example.tags).into_iter().map(|span| span.kind).collect(),
            text: &example.text,
            sentence_words: Some(example.words.len()),
        }
    }

    fn place<'a>(&self, example: &'a Tagged) -> &'a Place {
        &example.place
    }

    fn distribution(&self, examples: &[Tagged]) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut words = 0;
        for example in examples {
            words += example.words.len();
            for entity in spans(&example.tags) {
                *counts.entry(entity.kind).or_default() += 1;
            }
        }
        let mut rows = vec![("words".to_owned(), words), ("entities".to_owned(), counts.values().sum())];
        rows.extend(counts.into_iter().map(|(kind, count)| (format!("  {kind}"), count)));
        rows
    }

    fn features(&self, example: &Tagged, tokenizer: &Tokenizer, purpose: Purpose) -> Result<Encoded> {
        let pieces = example.pieces(tokenizer)?;
        let room = self.config.max_length - 2;
        if purpose == Purpose::Predict {
            let ranges = windows::windows(pieces.len(), room, self.config.stride);
            let windows = ranges.into_iter().map(|range| self.window(example, &pieces, range, tokenizer)).collect();
            return Ok(Encoded { windows, ..Encoded::default() });
        }
        let kept = pieces.len().min(room);
        // The first word that has no sub-word left.
        let end = pieces.get(kept).map_or(example.words.len(), |cut| match kept {
            0 => 0,
            _ if pieces[kept - 1].word == cut.word => cut.word + 1,
            _ => cut.word,
        });
        Ok(Encoded {
            windows: vec![self.window(example, &pieces, 0..kept, tokenizer)],
            lost_tokens: pieces.len() - kept,
            lost_golds: spans(&example.tags).iter().filter(|span| span.end > end).count(),
        })
    }

    fn fingerprint(&self, example: &Tagged) -> Option<Fingerprint> {
        Fingerprint::of(1, &(example.words(), &example.tags))
    }

    fn decode(&self, example: &Tagged, windows: &[Window]) -> Labelled {
        // A word without sub-words (control characters only) is outside of everything.
        let outside = || ("O".to_owned(), 0.0);
        let (tags, scores): (Vec<String>, Vec<f64>) = rows_with_most_context(example.words.len(), windows)
            .into_iter()
            .map(|row| {
                let named =
                    top(&softmax(row)).and_then(|(label, score)| Some((self.config.labels.get(label)?.clone(), score)));
                named.unwrap_or_else(outside)
            })
            .unzip();
        let entities = spans(&tags)
            .into_iter()
            .filter_map(|Span { kind, start, end }| {
                let (first, last) = (example.words.get(start)?, example.words.get(end.checked_sub(1)?)?);
                let scores = scores.get(start..end)?;
                let score = scores.iter().sum::<f64>() / scores.len() as f64;
                Some(Entity { kind, bytes: first.start..last.end, score })
            })
            .collect();
        Labelled { tags, entities }
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Dense> {
        Dense::open(weights, &format!("heads.{name}"), shape, self.config.labels.len())
    }

    fn logits(&self, head: &Dense, hidden: &Hidden, pass: Pass) -> Result<Tensor> {
        head.apply(&hidden.states, pass.dropout(self.config.dropout, "ner head", 0))
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&[i64]]) -> Result<Tensor> {
        let mut rows = vec![IGNORE; segments.rows()];
        for (segment, target) in segments.iter().zip(targets) {
            for (row, &label) in rows.iter_mut().skip(segment.start).take(segment.tokens).zip(*target) {
                *row = label;
            }
        }
        Ok(token_cross_entropy(logits, &rows)?)
    }

    /// Of each word that a window scores.
    fn losses(&self, windows: &[Window]) -> Option<(f64, usize)> {
        let rows = windows.iter().flat_map(|window| window.features.target.iter().zip(window.logits.rows()));
        let losses = rows.filter_map(|(&target, row)| cross_entropy(row.iter().copied(), target));
        Some(losses.fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1)))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts { lenient: span_f1::Counts::new(Scheme::Lenient), strict: span_f1::Counts::new(Scheme::StrictIob2) }
    }

    fn count(&self, example: &Tagged, prediction: &Labelled, counts: &mut Counts) {
        counts.lenient.add(&example.tags, &prediction.tags);
        counts.strict.add(&example.tags, &prediction.tags);
    }

    fn score(&self, counts: &Counts) -> Score {
        let mut values = serde_json::Map::new();
        for (scheme, counts) in [("", &counts.lenient), ("_strict", &counts.strict)] {
            for (mean, scores) in [("micro", Scores::from(counts.micro())), ("macro", counts.macro_average())] {
                for (name, value) in [("precision", scores.precision), ("recall", scores.recall), ("f1", scores.f1)] {
                    values.insert(format!("{mean}_{name}{scheme}"), json!(100.0 * value));
                }
            }
        }
        values.insert("token_accuracy".into(), json!(100.0 * counts.lenient.accuracy()));
        let types = counts.lenient.kinds().map(|(name, tally)| TypeScore {
            name: name.to_owned(),
            precision: 100.0 * tally.precision(),
            recall: 100.0 * tally.recall(),
            f1: 100.0 * tally.f1(),
            support: tally.gold as usize,
        });
        Score { headline: "micro_f1".into(), values, types: types.collect() }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Tagged> {
        let fault = |found: String| {
            Error::data(format!("expected {{\"text\": \"...\"}} or {{\"words\": [\"...\", ...]}}, found {found}"))
                .at(place.clone())
        };
        let unit = offset_unit(request).map_err(|error| error.at(place.clone()))?;
        if let Some(text) = request.get("text") {
            let text = text.as_str().ok_or_else(|| fault(format!("`text` = {text}")))?.to_owned();
            return Ok(Tagged::from_text(place, text, unit));
        }
        let Some(Value::Array(items)) = request.get("words") else { return Err(fault("neither".into())) };
        let words: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let words = words.ok_or_else(|| fault("`words` that are not all strings".into()))?;
        Ok(Tagged { unit, ..Tagged::from_sentence(Sentence { place, words, tags: Vec::new() }) })
    }

    fn answer(&self, example: &Tagged, prediction: &Labelled) -> Value {
        let offsets = Offsets::new(&example.text, example.unit);
        let entities: Vec<Value> = prediction
            .entities
            .iter()
            .map(|Entity { kind, bytes, score }| {
                json!({
                    "type": kind,
                    "text": slice(&example.text, bytes.start, bytes.end),
                    "start": offsets.at(bytes.start),
                    "end": offsets.at(bytes.end),
                    "score": score,
                })
            })
            .collect();
        json!({ "text": example.text, "entities": entities })
    }

    fn record(&self, example: &Tagged, prediction: &Labelled) -> Value {
        let mut record = self.answer(example, prediction);
        if let Value::Object(fields) = &mut record {
            fields.insert("words".into(), json!(example.words()));
            if !example.tags.is_empty() {
                fields.insert("gold_tags".into(), json!(example.tags));
            }
            fields.insert("tags".into(), json!(prediction.tags));
        }
        record
    }

    fn describe(&self, example: &Tagged, prediction: &Labelled) -> String {
        let found: Vec<String> = prediction
            .entities
            .iter()
            .map(|entity| format!("{} [{}]", slice(&example.text, entity.bytes.start, entity.bytes.end), entity.kind))
            .collect();
        let found = if found.is_empty() { "no entity".to_owned() } else { found.join(", ") };
        format!("{}\n  -> {found}", example.text)
    }

    // Serving

    fn answer_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<answer::Answer>()
    }

    const PIPELINE: Option<Pipeline> = Some(pipeline::PIPELINE);

    fn takes(input: &Value) -> bool {
        input.is_string()
    }

    fn pipeline(
        self: &Arc<Self>,
        input: &Value,
        parameters: &serde_json::Map<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Query> {
        pipeline::query(self, input, parameters, tokenizer)
    }

    // Report

    fn analyse(&self, predictions: &[(&Tagged, Labelled)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }

    // Exchange with transformers

    fn export(&self, head: &Dense) -> Result<Option<SingleTask>> {
        let names = || self.config.labels.iter().enumerate();
        let id2label: serde_json::Map<_, _> = names().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: serde_json::Map<_, _> = names().map(|(id, label)| (label.clone(), json!(id))).collect();
        let mut config = serde_json::Map::new();
        config.insert("id2label".into(), Value::Object(id2label));
        config.insert("label2id".into(), Value::Object(label2id));
        config.insert("classifier_dropout".into(), json!(self.config.dropout));
        Ok(Some(SingleTask {
            architecture: "ForTokenClassification",
            pipeline: "token-classification",
            tensors: vec![
                ("classifier.weight".into(), head.weight.clone()),
                ("classifier.bias".into(), head.bias.clone()),
            ],
            config,
        }))
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        if !folder.architecture.ends_with("ForTokenClassification") {
            return None;
        }
        weights.rename("classifier.weight", "heads.ner.weight");
        weights.rename("classifier.bias", "heads.ner.bias");
        let labels = folder.config.get("id2label").and_then(Value::as_object).and_then(|names| {
            let mut labels: Vec<(usize, String)> = names
                .iter()
                .map(|(id, label)| Some((id.parse().ok()?, label.as_str()?.to_owned())))
                .collect::<Option<_>>()?;
            labels.sort();
            Some(labels.into_iter().map(|(_, label)| label).collect::<Vec<_>>())
        });
        let fault =
            || Error::data("`id2label`: expected an object of numbers and label names").hint("see its config.json");
        let usual = Config::default();
        let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
        let config = |labels| Config { labels, max_length, stride: usual.stride.min(max_length / 4), ..usual };
        Some(labels.ok_or_else(fault).and_then(|labels| Self::open(json!(config(labels)))))
    }
}

/// Counts by both ways of reading tags: see [`Scheme`].
pub struct Counts {
    lenient: span_f1::Counts,
    strict: span_f1::Counts,
}

fn spans(tags: &[String]) -> Vec<Span> {
    entities(tags, Scheme::Lenient)
}
