//! Named-entity recognition: a label for each word, in the IOB2 scheme (Ramshaw and Marcus, 1995).
//!
//! The first sub-word of a word carries its label, as `run_ner.py` of transformers does it; in scripts without spaces that of
//! every character does ([`example`]). The head is dropout and a linear layer. Measured by entity: see
//! [`crate::metrics::span_f1`].

mod analysis;
mod encoding;
mod example;
mod labels;
mod transitions;

pub use example::Tagged;

use example::Context;

use super::answer::Answer;
use super::words::token_classification::Imported;
use super::words::{self, Lengths, OUTSIDE, Words, label_probabilities, pipeline, token_classification};
use super::{
    Analyse, Calibrate, Checks, Exchange, Faces, Fingerprint, HeadShape, LinearHead, MinScore, Outline, Pipeline,
    PipelineApi, Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, TypeScore, Window,
    check_dropout, configuration, is_short_line, top,
};
use crate::batch::{Targets, WindowedExample};
use crate::data::{self, FileFormats, Layout, Read};
use crate::document::Block;
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Confidence;
use crate::metrics::span_f1::{self, Scheme, Span};
use crate::parameters::Weights;
use crate::text::Tokenizer;
use candle_core::Tensor;
use labels::{Notation, inside, labels_of};
use polyhead_kernels::Segments;
use polyhead_kernels::{self as kernels, DropoutAt, Ops};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use transitions::Transitions;

// Configuration

/// The configuration of an NER task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with the special ones.
    pub max_length: usize,
    /// Tokens that neighbouring windows of a long text share.
    pub stride: usize,
    /// Whether training reads the first window of a long text alone, as the reference implementation does. Left out, it reads
    /// all of them. Evaluation and prediction cut nothing in either case.
    pub truncate: bool,
    /// Dropout before the linear layer.
    pub dropout: f64,
    /// Whether a dense layer, GELU and LayerNorm come before the linear layer, as in ModernBERT's classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transform: bool,
    /// The labels, in the order of the head's outputs. Left empty, they are taken from the training data.
    pub labels: Vec<String>,
    /// What else of its document a sentence is read with.
    #[serde(skip_serializing_if = "Neighbours::is_none")]
    pub context: Neighbours,
    /// How the labels of a sentence are chosen.
    #[serde(skip_serializing_if = "Decoding::is_default")]
    pub decoding: Decoding,
    /// From which score on an entity is one.
    #[serde(skip_serializing_if = "MinScore::is_default")]
    pub min_score: MinScore,
    /// What held-back examples chose, where `min_score` leaves it to them: a recipe leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_min_score: Option<f64>,
}

/// What a sentence is read with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbours {
    /// Nothing.
    #[default]
    None,
    /// The sentences before and after it in its document, as far as they fit its window.
    Document,
}

impl Neighbours {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// How the labels of a sentence are chosen of their probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The most probable label of each word for itself, as transformers has it.
    #[default]
    Argmax,
    /// The most probable sequence of those that spell entities: no `I-x` that continues nothing.
    Viterbi,
}

impl Decoding {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 128,
            stride: 32,
            truncate: false,
            dropout: 0.1,
            transform: false,
            labels: Vec::new(),
            context: Neighbours::None,
            decoding: Decoding::Argmax,
            min_score: MinScore::default(),
            chosen_min_score: None,
        }
    }
}

impl Config {
    fn lengths(&self) -> Lengths {
        let Self { max_length, stride, truncate, .. } = *self;
        Lengths { max_length, stride, truncate }
    }
}

/// Named-entity recognition.
pub struct Ner {
    config: Config,
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

impl Ner {
    fn label(&self, tag: &str) -> Option<usize> {
        self.config.labels.iter().position(|label| label == tag)
    }

    fn notation(&self) -> Notation {
        Notation::of(&self.config.labels)
    }

    /// A label for each row of probabilities.
    fn most_probable(&self, rows: &[&[f64]]) -> Vec<usize> {
        let best = || rows.iter().map(|row| top(row).map_or(0, |(label, _)| label)).collect();
        match self.config.decoding {
            Decoding::Argmax => best(),
            // Labels that no legal sequence can be made of are a model's of elsewhere.
            Decoding::Viterbi => Transitions::of(&self.config.labels).most_probable(rows).unwrap_or_else(best),
        }
    }

    /// The label of every word. One without tokens (invisible characters alone) is inside of the entity that goes on around
    /// it, else outside of everything.
    fn filled(&self, labels: &[Option<(String, f64)>]) -> Vec<String> {
        let notation = self.notation();
        let known = |labels: &[Option<(String, f64)>]| labels.iter().flatten().map(|(label, _)| label.clone()).next();
        let mut tags: Vec<String> = Vec::with_capacity(labels.len());
        for (at, label) in labels.iter().enumerate() {
            let tag = match (label, tags.last()) {
                (Some((label, _)), _) => label.clone(),
                (None, Some(before)) => known(labels.get(at..).unwrap_or(&[]))
                    .map_or_else(|| OUTSIDE.to_owned(), |after| notation.between(before, &after)),
                (None, None) => OUTSIDE.to_owned(),
            };
            tags.push(tag);
        }
        tags
    }
}

impl Task for Ner {
    const KIND: &'static str = "ner";
    const ABOUT: &'static str = "named-entity recognition";
    const ALIASES: &'static [&'static str] = &[
        "token_classification",
        "sequence_labeling",
        "sequence_labelling",
        "sequence_tagging",
        "named_entity_recognition",
        "iob",
    ];
    const FORMATS: &'static dyn FileFormats = &data::SENTENCES;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange().mentions().calibrate();
    type Example = Tagged;
    type Prediction = Labelled;
    type Counts = Counts;
    type Head = LinearHead;

    fn open(config: Value) -> Result<Self> {
        let config: Config = configuration(config)?;
        config.lengths().check()?;
        check_dropout(config.dropout)?;
        Ok(Self { config })
    }

    fn config(&self) -> Value {
        json!(self.config)
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn drafts() -> Vec<Value> {
        vec![json!({ "decoding": "viterbi" })]
    }

    fn labels(&self) -> &[String] {
        &self.config.labels
    }

    fn smallest(labels: &[String]) -> Option<Value> {
        (!labels.is_empty()).then(|| json!({ "labels": labels, "max_length": 8, "stride": 0 }))
    }

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Tagged>> {
        let Read { examples: sentences, skipped, mut notes } = data::read_sentences(path, limit, layout)?;
        let in_context = self.config.context == Neighbours::Document;
        if in_context && sentences.len() > 1 && sentences.iter().all(|sentence| sentence.document == 0) {
            notes.push("the file marks no documents: it is read as one".to_owned());
        }
        let examples = Tagged::of_file(sentences, in_context);
        Ok(Read { examples, skipped, notes })
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
                    .at(example.place().clone())
                    .hint(
                        "the labels are those of the training data; a tag that only other data has can't be predicted",
                    ));
            }
        }
        Ok(())
    }

    fn place<'a>(&self, example: &'a Tagged) -> &'a Place {
        example.place()
    }

    fn distribution(&self, examples: &[Tagged]) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let (mut words, notation) = (0, self.notation());
        for example in examples {
            words += example.words.len();
            for entity in notation.entities(&example.tags) {
                *counts.entry(entity.kind).or_default() += 1;
            }
        }
        let mut rows = vec![("words".to_owned(), words), ("entities".to_owned(), counts.values().sum())];
        rows.extend(counts.into_iter().map(|(kind, count)| (format!("  {kind}"), count)));
        rows
    }

    fn features(&self, example: &Tagged, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        self.encode(example, &example.words.pieces(tokenizer)?, tokenizer, purpose)
    }

    fn fingerprint(&self, example: &Tagged) -> Option<Fingerprint> {
        let own = (example.words.words(), &example.tags);
        match &example.context {
            None => Fingerprint::of(2, &own),
            Some(context) => Fingerprint::of(2, &(own, context.fingerprint())),
        }
    }

    fn decode(&self, example: &Tagged, windows: &[Window]) -> Labelled {
        let probabilities = label_probabilities(&example.words, windows);
        let rows: Vec<&[f64]> = probabilities.iter().flatten().map(Vec::as_slice).collect();
        let mut chosen = self.most_probable(&rows).into_iter();
        let mut named = |row: &Vec<f64>| {
            let label = chosen.next()?;
            Some((self.config.labels.get(label)?.clone(), *row.get(label)?))
        };
        let labels: Vec<Option<(String, f64)>> =
            probabilities.iter().map(|row| row.as_ref().and_then(&mut named)).collect();
        let mut tags = self.filled(&labels);
        let spans = self.notation().entities(&tags);
        let least = self.config.min_score.or(self.config.chosen_min_score);
        let mut entities = Vec::with_capacity(spans.len());
        for Span { kind, start, end } in spans {
            let scores: Vec<f64> =
                labels.get(start..end).into_iter().flatten().flatten().map(|(_, score)| *score).collect();
            let score = scores.iter().sum::<f64>() / scores.len() as f64;
            if score < least {
                tags.iter_mut().take(end).skip(start).for_each(|tag| OUTSIDE.clone_into(tag));
            } else if let Some(bytes) = example.words.bytes(start..end) {
                entities.push(Entity { kind, bytes, score });
            }
        }
        Labelled { tags, entities }
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
        head.apply(ops, hidden, Some(DropoutAt::new(self.config.dropout, "ner head")))
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        words::loss(logits, segments, targets, count)
    }

    /// Of each word that a window scores.
    fn losses(&self, _example: &Tagged, windows: &[Window]) -> Option<(f64, usize)> {
        Some(words::losses(windows))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts { lenient: span_f1::Counts::new(Scheme::Lenient), strict: span_f1::Counts::new(Scheme::StrictIob2) }
    }

    fn count(&self, example: &Tagged, prediction: &Labelled, counts: &mut Counts) {
        let notation = self.notation();
        counts.lenient.add(&notation.lenient(&example.tags), &notation.lenient(&prediction.tags));
        counts.strict.add(&notation.strict(&example.tags), &notation.strict(&prediction.tags));
    }

    fn score(&self, counts: &Counts) -> Score {
        let mut values = serde_json::Map::new();
        for (scheme, counts) in [("", &counts.lenient), ("_strict", &counts.strict)] {
            for (mean, scores) in [("micro", counts.micro().scores()), ("macro", counts.macro_average())] {
                Score::insert_scores(&mut values, mean, scores, scheme);
            }
        }
        values.insert("token_accuracy".into(), json!(100.0 * counts.lenient.accuracy()));
        let types = counts.lenient.kinds().map(|(name, tally)| TypeScore::of(name, tally.scores(), tally.gold));
        Score { headline: "micro_f1".into(), values, types: types.collect() }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Tagged> {
        Ok(Tagged::untagged(Words::request(request, place)?))
    }

    fn answer(&self, example: &Tagged, prediction: &Labelled) -> Answer {
        let entity = |Entity { kind, bytes, score }: &Entity| (kind.clone(), bytes.clone(), *score);
        example.words.spans(prediction.entities.iter().map(entity))
    }

    fn record(&self, example: &Tagged, prediction: &Labelled) -> Value {
        let mut record = self.answer(example, prediction).json();
        if let Value::Object(fields) = &mut record {
            fields.insert("words".into(), json!(example.words.words()));
            if !example.tags.is_empty() {
                fields.insert("gold_tags".into(), json!(example.tags));
            }
            fields.insert("tags".into(), json!(prediction.tags));
        }
        record
    }

    fn example(&self, examples: &[Tagged]) -> Option<Value> {
        let short = |most: usize| examples.iter().filter(move |example| is_short_line(&example.words.text, most));
        let telling =
            |example: &&Tagged| example.words.units.len() > 3 && !self.notation().entities(&example.tags).is_empty();
        let chosen = short(100).find(telling).or_else(|| short(200).find(telling)).or_else(|| short(200).next())?;
        Some(json!({ "text": chosen.words.text }))
    }

    fn gold_answer(&self, example: &Tagged) -> Option<Answer> {
        if example.tags.is_empty() {
            return None;
        }
        let entity = |span: &Span| {
            let bytes = example.words.bytes(span.start..span.end)?;
            Some(Entity { kind: span.kind.clone(), bytes, score: 1.0 })
        };
        let entities = self.notation().entities(&example.tags).iter().filter_map(entity).collect();
        Some(self.answer(example, &Labelled { tags: example.tags.clone(), entities }))
    }

    fn asked(&self, example: &Tagged) -> String {
        example.words.text.clone()
    }

    // Serving

    const SHAPE: Shape = Shape::Spans;
}

// Optional faces

impl Checks for Ner {
    fn outline<'a>(&self, example: &'a Tagged) -> Outline<'a> {
        Outline {
            labels: self.notation().entities(&example.tags).into_iter().map(|span| span.kind).collect(),
            text: &example.words.text,
            group: example.document.as_deref(),
            sentence_words: Some(example.words.len()),
        }
    }

    fn learnable(&self, train: &[Tagged]) -> Result<()> {
        let (Some(first), true) =
            (train.first(), train.iter().all(|example| self.notation().entities(&example.tags).is_empty()))
        else {
            return Ok(());
        };
        let message =
            format!("expected entities to train on, found none in {} sentences: every tag is `O`", train.len());
        Err(Error::data(message).at(first.place().clone()).hint("is the tag the last column?"))
    }

    fn review(&self, examples: &[Tagged], tokenizer: &Tokenizer) -> Result<Review> {
        words::review(
            examples.iter().map(|example| &*example.words),
            tokenizer,
            "and they count as `O` or as a part of the entity around them",
        )
    }
}

impl Analyse for Ner {
    fn analyse(&self, predictions: &[(&Tagged, Labelled)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}

impl Calibrate for Ner {
    /// An entity is right where a gold one has its words and its type, read leniently.
    fn confidences(&self, example: &Tagged, prediction: &Labelled) -> Vec<Confidence> {
        let gold = self.notation().entities(&example.tags);
        let found = self.notation().entities(&prediction.tags);
        let confidence = |(span, entity): (&Span, &Entity)| Confidence::new(entity.score, gold.contains(span));
        found.iter().zip(&prediction.entities).map(confidence).collect()
    }

    fn min_score(&self) -> MinScore {
        self.config.min_score
    }

    fn with_min_score(&self, chosen: Option<f64>) -> Option<Self> {
        Some(Self { config: Config { chosen_min_score: chosen, ..self.config.clone() } })
    }
}

impl Pipeline for Ner {
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
        let labelling = pipeline::Labelling { labels, lengths, shown: pipeline::after_hyphen };
        pipeline::query(&labelling, input, parameters, tokenizer, |words, Lengths { stride, .. }| {
            let task = Ner { config: Config { stride, ..self.config.clone() } };
            let example = Tagged::untagged(words);
            let windows = task.features(&example, tokenizer, Purpose::Predict)?.windows;
            let spot = |entity: Entity| pipeline::Spot {
                label: entity.kind,
                outside: false,
                score: entity.score,
                start: entity.bytes.start,
                end: entity.bytes.end,
            };
            let find = move |windows: &[Window]| -> Vec<pipeline::Spot> {
                task.decode(&example, windows).entities.into_iter().map(spot).collect()
            };
            Ok((windows, Box::new(find)))
        })
    }
}

impl Exchange for Ner {
    const ARCHITECTURE: &'static str = token_classification::ARCHITECTURE;

    fn single(&self, _: &EncoderKind) -> SingleTask {
        token_classification::single(&self.config.labels, self.config.dropout)
    }

    fn export(&self, head: &LinearHead, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
        token_classification::export(head, encoder)
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        let usual = Config::default();
        let imported = token_classification::import(
            folder,
            weights,
            Self::KIND,
            usual.lengths(),
            token_classification::names_entities,
        )?;
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

/// Counts by both ways of reading tags: see [`Scheme`].
pub struct Counts {
    lenient: span_f1::Counts,
    strict: span_f1::Counts,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::batch::Features;
    use crate::data::Sentence;
    use crate::tasks::Logits;
    use crate::text::offsets::OffsetUnit;

    fn ner(labels: &[&str]) -> Ner {
        Ner::open(json!({ "labels": labels })).unwrap()
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn labels_without_a_prefix_are_scored_by_their_entities() {
        let ner = ner(&["O", "ORG", "PER"]);
        let gold = strings(&["PER", "PER", "O", "ORG", "ORG"]);
        let example = Tagged::from_sentence(Sentence {
            place: Place::line("f", 1),
            words: strings(&["a", "b", "c", "d", "e"]),
            tags: gold.clone(),
            document: 0,
        });
        let mut counts = ner.counts();
        ner.count(&example, &Labelled { tags: gold, entities: Vec::new() }, &mut counts);
        let wrong = Labelled { tags: strings(&["PER", "O", "O", "ORG", "ORG"]), entities: Vec::new() };
        ner.count(&example, &wrong, &mut counts);
        let score = ner.score(&counts);
        for scheme in ["micro_f1", "micro_f1_strict"] {
            assert_eq!(score.get(scheme), Some(75.0), "{scheme}");
        }
        assert_eq!(score.get("token_accuracy"), Some(90.0));
        let types: Vec<(&str, usize)> = score.types.iter().map(|kind| (kind.name.as_str(), kind.support)).collect();
        assert_eq!(types, [("ORG", 2), ("PER", 2)]);
    }

    #[test]
    fn viterbi_opens_what_argmax_leaves_open() {
        let rows: &[[f32; 3]] = &[[1.0, 0.9, 0.0], [0.0, 0.5, 9.0], [1.0, 0.0, 0.5]];
        for (decoding, want) in [("argmax", ["O", "I-PER", "O"]), ("viterbi", ["B-PER", "I-PER", "O"])] {
            let ner = Ner::open(json!({ "labels": ["O", "B-PER", "I-PER"], "decoding": decoding })).unwrap();
            let words = Words::from_words(Place::file("f"), &strings(&["ada", "lovelace", "left"]), OffsetUnit::Char);
            let features = Features { spans: (0..3).map(|at| Some((at, at + 1))).collect(), ..Features::default() };
            let window = Window { features, logits: Logits::new(rows.concat(), 3) };
            let found = ner.decode(&Tagged::untagged(words), &[window]);
            assert_eq!(found.tags, want);
            // The score of an entity is that of its labels.
            assert_eq!(found.entities.len(), 1);
        }
    }

    #[test]
    fn entities_below_the_least_score_are_none() {
        let rows: &[[f32; 3]] = &[[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0], [0.0, 0.5, 0.0]];
        for (least, want) in [(0.0, ["B-PER", "I-PER", "O", "B-PER"]), (0.9, ["B-PER", "I-PER", "O", "O"])] {
            let ner = Ner::open(json!({ "labels": ["O", "B-PER", "I-PER"], "min_score": least })).unwrap();
            let words = strings(&["ada", "lovelace", "left", "her"]);
            let words = Words::from_words(Place::file("f"), &words, OffsetUnit::Char);
            let features = Features { spans: (0..4).map(|at| Some((at, at + 1))).collect(), ..Features::default() };
            let found =
                ner.decode(&Tagged::untagged(words), &[Window { features, logits: Logits::new(rows.concat(), 3) }]);
            assert_eq!(found.tags, want);
            assert_eq!(found.entities.len(), want.iter().filter(|tag| **tag == "B-PER").count());
        }
    }

    #[test]
    fn a_word_without_a_token_parts_no_entity() {
        let ner = ner(&["O", "B-PER", "I-PER"]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json");
        let tokenizer = Tokenizer::load(&path).unwrap();
        for (words, labels, want) in [
            (&["ada", "\u{f0b7}", "lovelace", ""][..], &[1, 2][..], &["B-PER", "I-PER", "I-PER", "O"][..]),
            (&["\u{200b}", "ada", "\u{e000}", "mary"], &[1, 1], &["O", "B-PER", "O", "B-PER"]),
            (&["ada", "\u{301}", "left"], &[1, 0], &["B-PER", "O", "O"]),
            (&["\u{e000}"], &[], &["O"]),
        ] {
            let example = Tagged::untagged(Words::from_words(Place::file("f"), &strings(words), OffsetUnit::Char));
            let features = ner.features(&example, &tokenizer, Purpose::Predict).unwrap().windows.remove(0);
            let mut labels = labels.iter();
            let rows = features.spans.iter().map(|span| span.and_then(|_| labels.next().copied()).unwrap_or(0));
            let values = rows.flat_map(|label| (0..3).map(move |at| if at == label { 9.0 } else { 0.0 })).collect();
            let found = ner.decode(&example, &[Window { features, logits: Logits::new(values, 3) }]);
            assert_eq!(found.tags, want, "{words:?}");
            assert!(found.entities.iter().all(|entity| entity.score > 0.9), "{words:?}");
        }
    }
}
