//! Dependency parsing: a tree over the words of a sentence, with a relation for each word and its head.
//!
//! Every pair of words has a score, and every relation at it: biaffine classifiers (`parse/head.rs`). The tree is the best one with
//! exactly one root (`parse/edmonds.rs`), each relation the most probable at its head. Measured as the official evaluation of the
//! CoNLL 2018 shared task, see [`crate::metrics::conll18`]: punctuation counts, subtypes of relations do not.

mod analysis;
mod edmonds;
mod encoding;
mod example;
mod head;

pub use example::{Parsed, Tree};
pub use head::{Head, WordVector};

use super::answer::{self, Answer};
use super::words::Words;
use super::{
    Analyse, Checks, Faces, Fingerprint, HeadShape, Outline, Purpose, Review, Score, Shape, Task, TypeScore, Window,
    check_different, check_dropout, configuration, frequencies, is_short_line, sorted,
};
use crate::batch::{Targets, WindowedExample};
use crate::data::{FileFormats, Layout, Read, TREES};
use crate::document::Block;
use crate::document::number;
use crate::error::{Error, Place, Result};
use crate::metrics::conll18::{self, Tally, universal};
use crate::parameters::Weights;
use crate::text::Tokenizer;
use crate::text::offsets::{Offsets, slice};
use candle_core::Tensor;
use edmonds::best_tree;
use encoding::column;
use example::{Arc, Gold};
use polyhead_kernels::{self as kernels, Ops, Segments};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

// Configuration

/// The configuration of a parsing task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens with the special ones. A sentence that has more is left out of training, and parsed in parts.
    pub max_length: usize,
    /// Dropout of the vectors of words, and behind each layer of the head.
    pub dropout: f64,
    /// The width of the layers for arcs.
    pub arc_size: usize,
    /// The width of the layers for relations.
    pub relation_size: usize,
    /// What of a word's tokens is its vector: the first one, or the mean of all.
    pub word_vector: WordVector,
    /// The relations, in the order of the head's outputs. Left empty, they are those of the training data, sorted.
    pub labels: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 256,
            dropout: 0.33,
            arc_size: 256,
            relation_size: 128,
            word_vector: WordVector::First,
            labels: Vec::new(),
        }
    }
}

/// The widest layers of a head: wider than any in use, and small enough to be allocated.
const WIDEST: usize = 4096;

/// Dependency parsing.
pub struct Parse {
    config: Config,
}

/// What the measures count: of all words, and of those with each relation, without its subtype.
pub struct Counts {
    all: conll18::Counts,
    relations: BTreeMap<String, Tally>,
}

// Codec

impl Parse {
    fn label(&self, relation: &str) -> Option<usize> {
        self.config.labels.iter().position(|label| label == relation)
    }
}

impl Task for Parse {
    const KIND: &'static str = "parse";
    const ABOUT: &'static str = "dependency parsing";
    const ALIASES: &'static [&'static str] = &[
        "dependency",
        "dependencies",
        "dependency_parsing",
        "dependency_parser",
        "parser",
        "parsing",
        "biaffine",
        "depparse",
    ];
    const FORMATS: &'static dyn FileFormats = &TREES;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis();
    const OUTPUT_LAYERS: &'static [&'static str] = &[".arc", ".relation", ".relation_alone"];
    type Example = Parsed;
    type Prediction = Tree;
    type Counts = Counts;
    type Head = Head;

    fn open(config: Value) -> Result<Self> {
        let config: Config = configuration(config)?;
        if config.max_length < 3 {
            return Err(Error::usage(format!("max_length: expected at least 3 tokens, found {}", config.max_length)));
        }
        check_dropout(config.dropout)?;
        for (name, size) in [("arc_size", config.arc_size), ("relation_size", config.relation_size)] {
            if !(1..=WIDEST).contains(&size) {
                return Err(Error::usage(format!("{name}: expected 1 to {WIDEST}, found {size}")));
            }
        }
        check_different(&config.labels, "relations")?;
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

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Parsed>> {
        let Read { examples, skipped, notes } = TREES.read(path, limit, layout)?;
        Ok(Read { examples: examples.into_iter().map(Parsed::from_sentence).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[Parsed]) -> Result<()> {
        if self.config.labels.is_empty() {
            self.config.labels = sorted(golds(train).flat_map(Gold::arcs).map(|(_, relation)| relation));
        }
        Ok(())
    }

    fn place<'a>(&self, example: &'a Parsed) -> &'a Place {
        &example.words.place
    }

    fn distribution(&self, examples: &[Parsed]) -> Vec<(String, usize)> {
        let words = examples.iter().map(|example| example.words.len()).sum();
        let mut rows = vec![("words".to_owned(), words)];
        rows.extend(frequencies(golds(examples).flat_map(Gold::arcs).map(|(_, relation)| relation)));
        rows
    }

    fn features(&self, example: &Parsed, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        self.encode(example, tokenizer, purpose)
    }

    fn fingerprint(&self, example: &Parsed) -> Option<Fingerprint> {
        let gold = example.gold.as_ref().map(|gold| (&gold.heads, &gold.relations));
        Fingerprint::of(1, &(example.words.words(), gold))
    }

    fn decode(&self, _: &Parsed, windows: &[Window]) -> Tree {
        self.tree(windows)
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Head> {
        Head::open(&self.config, name, shape, weights)
    }

    fn logits(&self, head: &Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        head.logits(&self.config, hidden, ops)
    }

    /// Words: each has a head and a relation.
    fn target_count(&self, targets: &Targets) -> f64 {
        (targets.classes().len() / 2) as f64
    }

    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        head::loss(logits, targets, count)
    }

    /// Of each word of a sentence that fits a window.
    fn losses(&self, _: &Parsed, windows: &[Window]) -> Option<(f64, usize)> {
        Some(self.losses_of(windows))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts { all: conll18::Counts::default(), relations: BTreeMap::new() }
    }

    fn count(&self, example: &Parsed, prediction: &Tree, counts: &mut Counts) {
        let Some(gold) = &example.gold else { return };
        for ((head, relation), arc) in gold.arcs().zip(&prediction.arcs) {
            counts.all.add_word((head, relation), (arc.head, &arc.relation));
            let (gold, found) = (universal(relation), universal(&arc.relation));
            counts.relations.entry(gold.to_owned()).or_default().gold += 1;
            let of_found = counts.relations.entry(found.to_owned()).or_default();
            of_found.predicted += 1;
            of_found.correct += u64::from(head == arc.head && gold == found);
        }
    }

    fn score(&self, counts: &Counts) -> Score {
        let conll18::Counts { uas, las, clas, .. } = &counts.all;
        let named = [("las", las), ("uas", uas), ("clas", clas)];
        let values = named.into_iter().map(|(name, tally)| (name.to_owned(), json!(100.0 * tally.f1()))).collect();
        let of = |(name, tally): (&String, &Tally)| TypeScore::of(name, tally.scores(), tally.gold);
        let types = counts.relations.iter().map(of);
        Score { headline: "las".into(), values, types: types.collect() }
    }

    fn request(&self, request: &Value, place: Place) -> Result<Parsed> {
        Ok(Parsed::unparsed(Words::request(request, place)?))
    }

    fn answer(&self, example: &Parsed, prediction: &Tree) -> Answer {
        let Words { text, ranges, offset_unit, .. } = &example.words;
        let offsets = Offsets::new(text, *offset_unit);
        let word = |(bytes, arc): (&std::ops::Range<usize>, &Arc)| answer::Word {
            text: slice(text, bytes.start, bytes.end).to_owned(),
            start: offsets.at(bytes.start),
            end: offsets.at(bytes.end),
            head: arc.head,
            label: arc.relation.clone(),
            score: arc.score,
        };
        let words = ranges.iter().zip(&prediction.arcs).map(word).collect();
        Answer::Tree(answer::Tree { text: text.clone(), words })
    }

    fn record(&self, example: &Parsed, prediction: &Tree) -> Value {
        let mut record = self.answer(example, prediction).json();
        if let Value::Object(fields) = &mut record {
            if let Some(id) = &example.id {
                fields.insert("id".into(), json!(id));
            }
            if let Some(Gold { heads, relations }) = &example.gold {
                fields.insert("gold_heads".into(), json!(heads));
                fields.insert("gold_deprels".into(), json!(relations));
            }
        }
        record
    }

    fn example(&self, examples: &[Parsed]) -> Option<Value> {
        let short = |most: usize| examples.iter().filter(move |example| is_short_line(&example.words.text, most));
        let telling = |example: &&Parsed| example.words.len() > 4;
        let chosen = short(80).find(telling).or_else(|| short(200).find(telling)).or_else(|| short(200).next())?;
        Some(json!({ "text": chosen.words.text }))
    }

    fn gold_answer(&self, example: &Parsed) -> Option<Answer> {
        let arc = |(head, relation): (usize, &str)| Arc { head, relation: relation.to_owned(), score: 1.0 };
        let arcs = example.gold.as_ref()?.arcs().map(arc).collect();
        Some(self.answer(example, &Tree { arcs }))
    }

    fn asked(&self, example: &Parsed) -> String {
        example.words.text.clone()
    }

    // Serving

    const SHAPE: Shape = Shape::Tree;
}

/// The gold trees that there are.
fn golds(examples: &[Parsed]) -> impl Iterator<Item = &Gold> {
    examples.iter().filter_map(|example| example.gold.as_ref())
}

// Optional faces

impl Checks for Parse {
    /// Relations without their subtypes: of these there are too many to have often.
    fn outline<'a>(&self, example: &'a Parsed) -> Outline<'a> {
        let relations = example.gold.iter().flat_map(Gold::arcs).map(|(_, relation)| universal(relation).to_owned());
        Outline {
            labels: relations.collect(),
            text: &example.words.text,
            sentence_words: Some(example.words.len()),
            ..Outline::default()
        }
    }

    fn learnable(&self, train: &[Parsed]) -> Result<()> {
        match train.first() {
            Some(first) if train.iter().all(|example| example.words.len() < 2) => {
                let message =
                    format!("expected sentences of several words, found one word in each of {} sentences", train.len());
                Err(Error::data(message)
                    .at(first.words.place.clone())
                    .hint("a blank line ends a sentence, and nothing else does"))
            }
            _ => Ok(()),
        }
    }

    fn review(&self, examples: &[Parsed], tokenizer: &Tokenizer) -> Result<Review> {
        let mut review = Review::default();
        let room = tokenizer.single().room(self.config.max_length, 0)?;
        let (mut long, mut unknown) = (Vec::new(), Vec::new());
        for example in examples {
            if encoding::parts(&encoding::words(example, tokenizer)?, room).len() > 1 {
                long.push(&example.words.place);
            }
            let relations = example.gold.iter().flat_map(Gold::arcs);
            unknown.extend(
                relations.filter(|(_, name)| self.label(name).is_none()).map(|(_, name)| (name, &example.words.place)),
            );
        }
        if let Some(first) = long.first() {
            let sentences = number::counted(long.len(), "sentence");
            review.notes.push(format!(
                "{sentences} of more than max_length = {} tokens (the first: {first}): left out of training, and parsed in parts",
                self.config.max_length
            ));
        }
        if let Some((name, place)) = unknown.first() {
            let words = number::counted(unknown.len(), "word");
            review.notes.push(format!(
                "{words} with a relation that is none of the model's (the first: `{name}`, in {place}): it is never predicted, \
                 and scores compare what stands before `:`"
            ));
        }
        Ok(review)
    }
}

impl Analyse for Parse {
    fn analyse(&self, predictions: &[(&Parsed, Tree)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}
