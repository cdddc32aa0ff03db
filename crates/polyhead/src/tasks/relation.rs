//! Relation classification: how one marked part of a text relates to another, one label a pair.
//!
//! The head is R-BERT's (Wu and He, "Enriching Pre-trained Language Model with Entity Information for Relation Classification", 2019):
//! the hidden state of the first token and the means over the tokens of both parts each go through dropout, a dense layer and tanh
//! (the parts share a layer), and all three through dropout and a linear layer. The parts are marked by tokens of the vocabulary
//! around them, as there, or the text is left as it is ([`Markers`]).
//!
//! Labels such as `Cause-Effect(e2,e1)` have a direction. Measured as the official scorer of SemEval-2010 task 8 does where labels
//! have directions and one means that there is no relation, see [`crate::metrics::relations`].

mod analysis;
mod asked;
mod encoding;
mod review;

use super::answer::{Answer, Edges, Labels, Span};
use super::{
    Analyse, Calibrate, Checks, ClassSampling, Faces, Field, Fingerprint, HeadShape, LinearHead, Outline, Pairs,
    Purpose, Review, Score, Shape, Task, TypeScore, Window, check_different, check_dropout, class_losses,
    configuration, frequencies, is_short_line, softmax, sorted, too_few, top, unknown_label,
};
use crate::batch::{Features, Targets, WindowedExample};
use crate::data::{FileFormats, Layout, Marked, RELATIONS, Read, RelationExample};
use crate::document::Block;
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Confidence;
use crate::metrics::relations::{Relation as Tally, Scores, Table, Way};
use crate::parameters::Weights;
use crate::text::offsets::OffsetUnit;
use crate::text::{TokenSequence, Tokenizer};
pub use asked::Asked;
use asked::MARKED;
use candle_core::Tensor;
use encoding::Encoded;
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::{self as kernels, Activation, DropoutAt, Index, Ops, Segments};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

// Configuration

/// The configuration of a relation task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with the special ones and the markers. A longer text is read around its two parts.
    pub max_length: usize,
    /// How the parts are marked for the encoder.
    pub markers: Markers,
    /// The tokens around the first part and around the second: of the vocabulary.
    pub marker_tokens: [String; 2],
    /// Dropout before each layer of the head.
    pub dropout: f64,
    /// The labels, in the order of the head's outputs. Left empty, they are those of the training data, sorted.
    pub labels: Vec<String>,
    /// The label that means that there is no relation. Left out, it is `Other`, if that is a label; empty, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// How often the examples of each label come in a pass over the training data. Left out, every example comes once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_sampling: Option<ClassSampling>,
}

/// How the two parts are marked for the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Markers {
    /// By tokens around them, which belong to them.
    Tokens,
    /// Not at all: only the head knows where they are.
    Spans,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 128,
            markers: Markers::Tokens,
            marker_tokens: ["$", "#"].map(str::to_owned),
            dropout: 0.1,
            labels: Vec::new(),
            negative: None,
            class_sampling: None,
        }
    }
}

/// Relation classification.
pub struct Relation {
    config: Config,
}

/// The head: layers for the whole text and for its parts, and the one that makes the logits.
pub struct Head {
    text: LinearHead,
    part: LinearHead,
    classifier: LinearHead,
}

/// The probability of each label; none where the text could not be read.
type Probabilities = Vec<f64>;

/// A label that means that there is no relation, where the configuration names none.
const OTHER: &str = "Other";

impl Relation {
    /// The index of an example's gold label.
    fn gold(&self, example: &Asked) -> Option<usize> {
        self.index(example.relation.label.as_ref()?)
    }

    fn index(&self, label: &str) -> Option<usize> {
        self.config.labels.iter().position(|known| known == label)
    }

    /// The index of the label that means that there is no relation.
    fn negative(&self) -> Option<usize> {
        self.index(self.config.negative.as_deref().unwrap_or(OTHER))
    }

    /// The most probable label; of equals the first.
    fn best(prediction: &[f64]) -> Option<usize> {
        top(prediction).map(|(label, _)| label)
    }

    /// The relation that a label says; none where it says that there is none.
    fn edges(&self, example: &Asked, label: &str, score: f64) -> Edges {
        let is_none = self.negative().is_some_and(|negative| self.index(label) == Some(negative));
        let edges = if is_none { Vec::new() } else { vec![example.edge(label, score)] };
        Edges { text: example.relation.text.clone(), edges, pairs_left_out: None }
    }

    fn label(&self, at: usize) -> &str {
        self.config.labels.get(at).map_or("", String::as_str)
    }
}

impl Task for Relation {
    const KIND: &'static str = "relation";
    const ABOUT: &'static str = "the relation between two marked parts of a text";
    const ALIASES: &'static [&'static str] = &[
        "re",
        "relations",
        "relation_extraction",
        "relation_classification",
        "relation_detection",
        "rel",
        "relcat",
        "r_bert",
        "rbert",
    ];
    const FORMATS: &'static dyn FileFormats = &RELATIONS;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pairs().calibrate();
    type Example = Asked;
    type Prediction = Probabilities;
    type Counts = Table;
    type Head = Head;

    fn open(config: Value) -> Result<Self> {
        let config: Config = configuration(config)?;
        // The special tokens, the markers, and a token of each part.
        if config.max_length < 8 {
            return Err(Error::usage(format!("max_length: expected at least 8 tokens, found {}", config.max_length)));
        }
        check_dropout(config.dropout)?;
        check_different(&config.labels, "labels")?;
        let relation = Self { config };
        relation.check_negative()?;
        Ok(relation)
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

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Asked>> {
        let Read { examples, skipped, notes } = RELATIONS.read(path, limit, layout)?;
        Ok(Read { examples: examples.into_iter().map(Asked::of_file).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[Asked]) -> Result<()> {
        if self.config.labels.is_empty() {
            self.config.labels = sorted(labels_of(train));
        }
        self.check_negative()
    }

    fn check(&self, examples: &[Asked]) -> Result<()> {
        let unknown = |example: &&Asked| example.relation.label.is_some() && self.gold(example).is_none();
        let Some(Asked { relation, .. }) = examples.iter().find(unknown) else { return Ok(()) };
        Err(unknown_label(&self.config.labels, relation.label.as_deref().unwrap_or(""), &relation.place))
    }

    fn place<'a>(&self, example: &'a Asked) -> &'a Place {
        &example.relation.place
    }

    fn distribution(&self, examples: &[Asked]) -> Vec<(String, usize)> {
        let mut rows = vec![("pairs".to_owned(), examples.len())];
        rows.extend(frequencies(labels_of(examples)));
        rows
    }

    fn features(&self, example: &Asked, tokenizer: &Tokenizer, _: Purpose) -> Result<WindowedExample> {
        let encoded = Encoded::of(&self.config, &example.relation, tokenizer)?;
        let template = tokenizer.single();
        let all = encoded.pieces.len();
        let Ok(kept) = encoded.window(&self.config, template.room(self.config.max_length, 0)?) else {
            return Ok(WindowedExample { windows: Vec::new(), lost_tokens: all, truncated_answers: 1 });
        };
        let pieces = encoded.pieces.get(kept.clone()).unwrap_or(&[]);
        let TokenSequence { ids, types, texts: [text] } = template.window([pieces]);
        let at = |token: usize| (text.start + token - kept.start) as u32;
        let features = Features {
            spans: vec![None; ids.len()],
            ids,
            types,
            ranges: encoded.ranges.iter().map(|range| (at(range.start), at(range.end))).collect(),
            pairs: vec![(0, 1)],
            targets: Targets::Classes(self.gold(example).map(|label| label as i64).into_iter().collect()),
        };
        Ok(WindowedExample { windows: vec![features], lost_tokens: all - kept.len(), truncated_answers: 0 })
    }

    fn fingerprint(&self, example: &Asked) -> Option<Fingerprint> {
        let RelationExample { text, first, second, label, .. } = &example.relation;
        Fingerprint::of(1, &(text, (first.start, first.end), (second.start, second.end), label))
    }

    fn class_sampling(&self) -> Option<ClassSampling> {
        self.config.class_sampling
    }

    fn decode(&self, _: &Asked, windows: &[Window]) -> Probabilities {
        windows.first().map(|window| softmax(window.logits.row(0))).unwrap_or_default()
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Head> {
        let mut layer = |part: &str| LinearHead::open(weights, &format!("heads.{name}.{part}"), shape, shape.hidden);
        let (text, part) = (layer("text")?, layer("part")?);
        let all = HeadShape { hidden: 3 * shape.hidden };
        let classifier = LinearHead::open_by_label(weights, &format!("heads.{name}"), all, &self.config.labels)?;
        Ok(Head { text, part, classifier })
    }

    fn logits(&self, head: &Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let drop = |place| DropoutAt::new(self.config.dropout, place);
        let text = ops.select_rows(hidden, Index::FirstTokens)?;
        let text = head.text.apply(ops, &text, Some(drop("relation text")))?;
        let text = ops.activation(&text, Activation::Tanh)?;
        let parts = ops.mean_ranges(hidden)?;
        let parts = head.part.apply(ops, &parts, Some(drop("relation parts")))?;
        let parts = ops.activation(&parts, Activation::Tanh)?;
        let text = ops.select_rows(&text, Index::PairSequences)?;
        let first = ops.select_rows(&parts, Index::PairFirsts)?;
        let second = ops.select_rows(&parts, Index::PairSeconds)?;
        let all = ops.concat(&[&text, &first, &second])?;
        head.classifier.apply(ops, &all, Some(drop("relation head")))
    }

    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
        Ok(token_cross_entropy(logits, &classes, count)?)
    }

    fn losses(&self, _: &Asked, windows: &[Window]) -> Option<(f64, usize)> {
        Some(class_losses(windows))
    }

    // Metric and requests

    fn counts(&self) -> Table {
        Table::new(&self.config.labels, self.negative())
    }

    fn count(&self, example: &Asked, prediction: &Probabilities, counts: &mut Table) {
        if let Some(gold) = self.gold(example) {
            counts.add(gold, Self::best(prediction));
        }
    }

    fn score(&self, counts: &Table) -> Score {
        let official = counts.evaluate(Way::Official);
        let of = if counts.is_directed() { official.relations } else { counts.labels() };
        let mut values = serde_json::Map::new();
        for (name, scores) in [("macro", Scores::macro_mean(&of)), ("micro", Scores::micro(&of))] {
            for (measure, value) in [("f1", scores.f1), ("precision", scores.precision), ("recall", scores.recall)] {
                values.insert(format!("{name}_{measure}"), json!(value));
            }
        }
        if counts.is_directed() {
            for (name, way) in [("without_direction", Way::Undirected), ("of_labels", Way::Labels)] {
                let mean = Scores::macro_mean(&counts.evaluate(way).relations);
                values.insert(format!("macro_f1_{name}"), json!(mean.f1));
            }
        }
        values.insert("accuracy".into(), json!(counts.evaluate(Way::Labels).accuracy()));
        let row = |tally: &Tally| {
            let Scores { precision, recall, f1 } = tally.scores();
            TypeScore { name: tally.name.clone(), precision, recall, f1, support: tally.gold as usize }
        };
        let types = of.iter().filter(|tally| !tally.negative).map(row).collect();
        Score { headline: "macro_f1".into(), values, types }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Asked> {
        Asked::of_request(request, place)
    }

    fn answer(&self, example: &Asked, prediction: &Probabilities) -> Answer {
        Answer::Edges(match top(prediction) {
            Some((label, score)) => self.edges(example, self.label(label), score),
            None => Edges { text: example.relation.text.clone(), edges: Vec::new(), pairs_left_out: None },
        })
    }

    /// With the label, also where it says that there is no relation, and the probabilities of all.
    fn record(&self, example: &Asked, prediction: &Probabilities) -> Value {
        let mut record = self.answer(example, prediction).json();
        let Labels { label, score, labels } = Labels::ranked(&self.config.labels, prediction);
        if let Value::Object(fields) = &mut record {
            if let Some(id) = &example.relation.id {
                fields.shift_insert(0, "id".into(), json!(id));
            }
            fields.insert(MARKED.into(), json!(example.relation.marked()));
            if !labels.is_empty() {
                fields.insert("label".into(), json!(label));
                fields.insert("score".into(), json!(score));
                fields.insert("labels".into(), json!(labels));
            }
            if let Some(gold) = &example.relation.label {
                fields.insert("gold_label".into(), json!(gold));
            }
        }
        record
    }

    fn example(&self, examples: &[Asked]) -> Option<Value> {
        let shown = |example: &Asked| {
            let marked = example.relation.marked();
            let is_one = self.gold(example).is_some() && self.gold(example) != self.negative();
            (is_one && is_short_line(&marked, 200) && Marked::read(&marked).is_ok()).then_some(marked)
        };
        Some(json!({ (MARKED): examples.iter().find_map(shown)? }))
    }

    fn gold_answer(&self, example: &Asked) -> Option<Answer> {
        Some(Answer::Edges(self.edges(example, example.relation.label.as_ref()?, 1.0)))
    }

    fn asked(&self, example: &Asked) -> String {
        example.relation.marked()
    }

    // Serving

    const SHAPE: Shape = Shape::Edges;
    const FIELDS: &'static [Field] = &[Field::new(
        MARKED,
        "The text, with its two parts marked by <e1>...</e1> and <e2>...</e2>.",
        "The <e1>fire</e1> was caused by the <e2>bombs</e2>.",
    )];

    fn validate(&self, example: &Asked, tokenizer: &Tokenizer) -> Result<()> {
        let room = tokenizer.single().room(self.config.max_length, 0)?;
        let unread = Encoded::of(&self.config, &example.relation, tokenizer)?.window(&self.config, room);
        unread.map(|_| ()).map_err(|why| {
            Error::data(format!("expected a text that can be read, found one that can't: {why}"))
                .at(example.relation.place.clone())
                .hint("the two parts and what stands between them must fit into max_length")
        })
    }
}

impl Relation {
    /// Refuses a label for "no relation" that is none of the labels, once they are known.
    fn check_negative(&self) -> Result<()> {
        let named = self.config.negative.as_deref().filter(|label| !label.is_empty());
        match named.filter(|label| !self.config.labels.is_empty() && self.index(label).is_none()) {
            None => Ok(()),
            Some(label) => {
                let known = self.config.labels.join(", ");
                Err(Error::usage(format!("negative: expected one of the labels {known}, found `{label}`"))
                    .hint("leave it empty where no label means that there is no relation"))
            }
        }
    }
}

/// The gold labels that there are.
fn labels_of(examples: &[Asked]) -> impl Iterator<Item = &str> {
    examples.iter().filter_map(|example| example.relation.label.as_deref())
}

// Optional faces

impl Calibrate for Relation {
    fn confidences(&self, example: &Asked, prediction: &Probabilities) -> Vec<Confidence> {
        let Some((label, probability)) = top(prediction) else { return Vec::new() };
        self.gold(example).map(|gold| Confidence::new(probability, gold == label)).into_iter().collect()
    }
}

impl Pairs for Relation {
    fn pair(text: &str, first: &Span, second: &Span, unit: OffsetUnit) -> Value {
        let part = |span: &Span| json!({ "start": span.start, "end": span.end });
        json!({ "text": text, "head": part(first), "tail": part(second), "offset_unit": unit })
    }
}

impl Checks for Relation {
    fn outline<'a>(&self, example: &'a Asked) -> Outline<'a> {
        let RelationExample { text, label, .. } = &example.relation;
        Outline { labels: label.iter().cloned().collect(), text, ..Outline::default() }
    }

    fn learnable(&self, train: &[Asked]) -> Result<()> {
        let Some(first) = train.first() else { return Ok(()) };
        let Some(message) = too_few(labels_of(train), &format!("{} pairs", train.len())) else { return Ok(()) };
        Err(Error::data(message)
            .at(first.relation.place.clone())
            .hint("pairs without a relation are examples too: give them a label of their own, such as `Other`"))
    }

    fn review(&self, examples: &[Asked], tokenizer: &Tokenizer) -> Result<Review> {
        review::review(self, examples, tokenizer)
    }
}

impl Analyse for Relation {
    fn analyse(&self, predictions: &[(&Asked, Probabilities)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}
