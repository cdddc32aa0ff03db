//! Extractive question answering: the answer to a question is a slice of its context (SQuAD, arXiv:1606.05250 and
//! arXiv:1806.03822).
//!
//! Windows are the question and a part of the context, `[CLS] question [SEP] context [SEP]` for BERT; the head gives each token a score as the start and as the end of
//! the answer. Windows, targets and the n-best search over all windows are those of `run_qa.py` of transformers;
//! measured as the official SQuAD scripts do, see [`crate::metrics::squad`].

mod analysis;
mod config;
mod encoding;
mod exchange;
mod measure;
mod pipeline;
mod review;
mod search;

use super::answer::{self, Answer};
use super::{
    Analyse, Calibrate, Checks, Exchange, Faces, Field, Fingerprint, HeadShape, LinearHead, MinScore, Outline,
    Pipeline, PipelineApi, Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, Tune, Window,
    is_short_line, offset_unit,
};
use crate::batch::{Targets, WindowedExample};
use crate::data::{self, FileFormats, Layout, QUESTIONS, Question, Read};
use crate::document::Block;
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Confidence;
use crate::metrics::squad::{self, Rules};
use crate::parameters::Weights;
use crate::text::Tokenizer;
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::{self as kernels, DropoutAt, Ops};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use config::{Config, Loss, NoAnswer, NullThreshold};
pub use measure::Counts;
pub use search::Found;

use search::Candidate;

/// Extractive question answering.
pub struct Qa {
    config: Config,
}

/// A question about a context, with its gold answers.
pub struct QaExample {
    place: Place,
    /// The identifier that its file gives it; empty in a request.
    id: String,
    question: String,
    context: String,
    answers: Vec<data::Answer>,
    /// Gold answers without a place in the context: scored, not trained on.
    unplaced: Vec<String>,
    /// What the offsets of the answer count.
    unit: OffsetUnit,
}

// Codec

impl From<Question> for QaExample {
    fn from(Question { place, id, question, context, answers, unplaced }: Question) -> Self {
        Self { place, id, question, context, answers, unplaced, unit: OffsetUnit::default() }
    }
}

impl QaExample {
    /// The texts of all gold answers.
    fn golds(&self) -> Vec<&str> {
        let placed = self.answers.iter().map(|answer| answer.text.as_str());
        placed.chain(self.unplaced.iter().map(String::as_str)).collect()
    }

    /// Whether its answer is known but not where it stands: nothing can be trained on it.
    fn is_scored_only(&self) -> bool {
        self.answers.is_empty() && !self.unplaced.is_empty()
    }
}

/// The sentence of a text around a place in it, in bytes, as far as full stops and line breaks tell.
fn around(text: &str, place: Range<usize>) -> &str {
    const ENDS: [&str; 7] = [". ", "! ", "? ", "\n", "\u{3002}", "\u{ff01}", "\u{ff1f}"];
    let (before, after) = (text.get(..place.start).unwrap_or(""), text.get(place.end..).unwrap_or(""));
    let start = ENDS.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    // A blank or a line break after a sentence is no part of it.
    let length = |end: &str| if end.is_ascii() { end.len() - 1 } else { end.len() };
    let ends = ENDS.iter().filter_map(|end| Some(place.end + after.find(end)? + length(end)));
    text.get(start..ends.min().unwrap_or(text.len())).unwrap_or(text).trim()
}

impl Task for Qa {
    const KIND: &'static str = "qa";
    const ABOUT: &'static str = "extractive question answering";
    const ALIASES: &'static [&'static str] = &[
        "question_answering",
        "extractive_qa",
        "extractive_question_answering",
        "squad",
        "reading_comprehension",
        "mrc",
        "span_qa",
    ];
    const FORMATS: &'static dyn FileFormats = &QUESTIONS;
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange().tune().calibrate();
    const OUTPUT_LAYERS: &'static [&'static str] = &[".start", ".end"];
    type Example = QaExample;
    type Prediction = Found;
    type Counts = Counts;
    /// Start and end side by side.
    type Head = LinearHead;

    fn open(config: Value) -> Result<Self> {
        Ok(Self { config: Config::read(config)? })
    }

    fn config(&self) -> Value {
        json!(self.config)
    }

    fn drafts() -> Vec<Value> {
        // Of few questions a model learns too little of where answers end.
        vec![json!({ "length_penalty": 0.15 })]
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn smallest(_labels: &[String]) -> Option<Value> {
        Some(json!({ "max_length": 8, "stride": 0, "max_question_length": 1 }))
    }

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<QaExample>> {
        let Read { examples, skipped, notes } = data::read_questions(path, limit, layout)?;
        Ok(Read { examples: examples.into_iter().map(QaExample::from).collect(), skipped, notes })
    }

    fn prepare(&mut self, train: &[QaExample]) -> Result<()> {
        if let (true, Some(first)) = (train.iter().all(QaExample::is_scored_only), train.first()) {
            return Err(Error::data("expected answers to train on, found none that stands where the file says")
                .at(first.place.clone())
                .hint("`answer_start` counts characters of the context"));
        }
        let none = train.iter().any(|question| question.golds().is_empty());
        let learnt = if none { NoAnswer::Allowed } else { NoAnswer::Never };
        self.config.no_answer.get_or_insert(learnt);
        Ok(())
    }

    fn place<'a>(&self, example: &'a QaExample) -> &'a Place {
        &example.place
    }

    fn distribution(&self, examples: &[QaExample]) -> Vec<(String, usize)> {
        let mut words: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        const KINDS: [&str; 8] = ["who", "what", "when", "where", "which", "why", "how", "other"];
        for example in examples {
            let lower = example.question.to_lowercase();
            let first = lower.split(|c: char| !c.is_alphabetic()).find(|word| KINDS.contains(word)).unwrap_or("other");
            *words.entry(first.to_owned()).or_default() += 1;
        }
        let mut contexts: Vec<&str> = examples.iter().map(|example| example.context.as_str()).collect();
        contexts.dedup();
        let mut rows = vec![
            ("contexts".to_owned(), contexts.len()),
            ("without an answer".to_owned(), examples.iter().filter(|example| example.golds().is_empty()).count()),
        ];
        rows.extend(KINDS.iter().filter_map(|kind| Some((format!("  {kind}"), *words.get(*kind)?))));
        rows
    }

    fn features(&self, example: &QaExample, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        if purpose == Purpose::Train && example.is_scored_only() {
            return Ok(WindowedExample::default());
        }
        let Config { max_length, max_question_length, stride, .. } = self.config;
        let template = tokenizer.pair()?;
        // Whatever the length of this question.
        template.room(max_length, max_question_length + stride)?;
        let mut question = Self::question(&example.question, tokenizer)?;
        let lost_tokens = question.len().saturating_sub(self.config.max_question_length);
        question.truncate(self.config.max_question_length);
        let context = tokenizer.text(&example.context)?;
        let windows = self.windows(example, &question, &context, template);
        let mut encoded = WindowedExample { windows, lost_tokens, truncated_answers: 0 };
        if purpose == Purpose::Train
            && !example.answers.is_empty()
            && encoded.windows.iter().all(|window| encoding::holds_none(&window.targets))
        {
            encoded.truncated_answers = 1;
        }
        Ok(encoded)
    }

    fn fingerprint(&self, example: &QaExample) -> Option<Fingerprint> {
        // The first gold answer trains.
        let answer = example.answers.first().map(|answer| (answer.start, &answer.text));
        match example.is_scored_only() {
            true => Fingerprint::of(1, &"no windows"),
            false => Fingerprint::of(1, &(&example.question, &example.context, answer)),
        }
    }

    fn decode(&self, example: &QaExample, windows: &[Window]) -> Found {
        self.search(&example.context, windows, |answer| answer)
    }

    // Head

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<LinearHead> {
        let start = LinearHead::open(weights, &format!("heads.{name}.start"), shape, 1)?;
        let both = start.beside(&LinearHead::open(weights, &format!("heads.{name}.end"), shape, 1)?);
        both.with_transform(self.config.transform, weights, &format!("heads.{name}"), shape)
    }

    fn logits(&self, head: &LinearHead, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        head.apply(ops, hidden, Some(DropoutAt::new(self.config.dropout, "qa head")))
    }

    fn target_count(&self, targets: &Targets) -> f64 {
        self.counted(targets)
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        self.loss_of(logits, segments, targets, count)
    }

    /// Of each window.
    fn losses(&self, example: &QaExample, windows: &[Window]) -> Option<(f64, usize)> {
        if example.is_scored_only() {
            // Its windows point at no answer, though it has one.
            return None;
        }
        let losses = windows.iter().filter_map(|window| self.window_loss(window));
        Some(losses.fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1)))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        Counts::new(&self.config)
    }

    fn count(&self, example: &QaExample, prediction: &Found, counts: &mut Counts) {
        counts.add(example, prediction);
    }

    fn score(&self, counts: &Counts) -> Score {
        counts.score(&self.config)
    }

    fn request(&self, request: &Value, place: Place) -> Result<QaExample> {
        let field = |name: &str| match request.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => {
                let found = other.map_or("nothing".to_owned(), |value| format!("`{value}`"));
                Err(Error::data(format!(
                    "expected {{\"question\": \"...\", \"context\": \"...\"}}, found {found} as `{name}`"
                ))
                .at(place.clone()))
            }
        };
        let (question, context) = (field("question")?, field("context")?);
        let unit = offset_unit(request).map_err(|error| error.at(place.clone()))?;
        Ok(QaExample { place, id: String::new(), question, context, answers: Vec::new(), unplaced: Vec::new(), unit })
    }

    fn answer(&self, example: &QaExample, prediction: &Found) -> Answer {
        let (text, threshold) = (&example.context, self.config.threshold());
        let offsets = Offsets::new(text, example.unit);
        let place = |found: &Candidate| answer::Candidate {
            answer: slice(text, found.start, found.end).to_owned(),
            start: offsets.at(found.start),
            end: offsets.at(found.end),
            score: found.score,
        };
        let none = || answer::Candidate { answer: String::new(), start: 0, end: 0, score: prediction.null_score() };
        let answer::Candidate { answer, start, end, score } = prediction.best(threshold).map_or_else(none, place);
        let given = usize::from(!prediction.is_none(threshold));
        let others = prediction.answers.iter().skip(given).take(2).map(place);
        Answer::Candidates(answer::Candidates { answer, start, end, score, alternatives: others.collect() })
    }

    fn record(&self, example: &QaExample, prediction: &Found) -> Value {
        let mut record = self.answer(example, prediction).json();
        if let Value::Object(fields) = &mut record {
            if !example.id.is_empty() {
                fields.insert("id".into(), json!(example.id));
                fields.insert("question".into(), json!(example.question));
                fields.insert("gold_answers".into(), json!(example.golds()));
            }
            if let Some(difference) = prediction.null_difference {
                // What the search for the best threshold looks at.
                fields.insert("best_answer".into(), json!(prediction.first(example)));
                fields.insert("no_answer_score".into(), json!(difference));
            }
        }
        record
    }

    fn example(&self, examples: &[QaExample]) -> Option<Value> {
        examples.iter().filter(|example| is_short_line(&example.question, 150)).find_map(|example| {
            let answer = example.answers.first()?;
            let context = around(&example.context, answer.start..answer.start + answer.text.len());
            is_short_line(context, 300).then(|| json!({ "question": example.question, "context": context }))
        })
    }

    fn gold_answer(&self, example: &QaExample) -> Option<Answer> {
        let offsets = Offsets::new(&example.context, example.unit);
        let placed = |gold: &data::Answer| answer::Candidate {
            answer: gold.text.clone(),
            start: offsets.at(gold.start),
            end: offsets.at(gold.start + gold.text.len()),
            score: 1.0,
        };
        let unplaced = |text: &String| answer::Candidate { answer: text.clone(), start: 0, end: 0, score: 1.0 };
        let mut golds = example.answers.iter().map(placed).chain(example.unplaced.iter().map(unplaced));
        let best = golds.next().unwrap_or_else(|| unplaced(&String::new()));
        let answer::Candidate { answer, start, end, score } = best;
        Some(Answer::Candidates(answer::Candidates { answer, start, end, score, alternatives: golds.collect() }))
    }

    fn asked(&self, example: &QaExample) -> String {
        example.question.clone()
    }

    // Serving

    const SHAPE: Shape = Shape::Candidates;

    const FIELDS: &'static [Field] = &[
        Field::new("question", "What is asked about the context.", "Where was she born?"),
        Field::new("context", "The text that holds the answer.", "Ada Lovelace was born in London.").or("text"),
    ];

    fn validate(&self, example: &QaExample, tokenizer: &Tokenizer) -> Result<()> {
        let question = Self::question(&example.question, tokenizer)?;
        Self::admit_question(&question, self.config.max_question_length)
            .map_err(|error| error.at(example.place.clone()))
    }
}

// Optional faces

impl Checks for Qa {
    fn outline<'a>(&self, example: &'a QaExample) -> Outline<'a> {
        // What is known but out of place teaches neither.
        let label = if example.answers.is_empty() { "no answer" } else { "an answer" };
        let labels = if example.is_scored_only() { Vec::new() } else { vec![label.to_owned()] };
        Outline { labels, text: &example.context, ..Outline::default() }
    }

    fn learnable(&self, train: &[QaExample]) -> Result<()> {
        let (Some(first), true) = (train.first(), train.iter().all(|example| example.answers.is_empty())) else {
            return Ok(());
        };
        let message = format!("expected questions with an answer to train on, found none among {}", train.len());
        Err(Error::data(message)
            .at(first.place.clone())
            .hint("does the file hold the answers, under the field that is read?"))
    }

    fn review(&self, examples: &[QaExample], tokenizer: &Tokenizer) -> Result<Review> {
        review::review(examples, self.config.max_question_length, tokenizer)
    }
}

impl Analyse for Qa {
    fn analyse(&self, predictions: &[(&QaExample, Found)]) -> Vec<Block> {
        analysis::blocks(self, predictions)
    }
}

impl Calibrate for Qa {
    /// The answer is right where it is a gold one by the rules of the exact match.
    fn confidences(&self, example: &QaExample, prediction: &Found) -> Vec<Confidence> {
        let (threshold, golds) = (self.config.threshold(), example.golds());
        let rules = if self.config.allows_none() { Rules::V2 } else { Rules::V1 };
        let (text, probability) = match prediction.best(threshold) {
            Some(best) => (slice(&example.context, best.start, best.end), best.score),
            None if self.config.allows_none() => ("", prediction.null_score()),
            None => return Vec::new(),
        };
        let right = squad::score(text, &golds, rules).exact == 1.0;
        vec![Confidence { probability, right, is_none: text.is_empty() }]
    }

    fn at_temperature(&self, temperature: f64) -> Option<Self> {
        Some(Self {
            config: Config { temperature: (temperature != 1.0).then_some(temperature), ..self.config.clone() },
        })
    }

    fn min_score(&self) -> MinScore {
        self.config.min_score
    }

    fn with_min_score(&self, chosen: Option<f64>) -> Option<Self> {
        Some(Self { config: Config { chosen_min_score: chosen, ..self.config.clone() } })
    }
}

impl Pipeline for Qa {
    const API: PipelineApi = pipeline::API;

    fn accepts(input: &Value) -> bool {
        input.get("question").is_some() || input.get("context").is_some()
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

impl Exchange for Qa {
    const ARCHITECTURE: &'static str = exchange::ARCHITECTURE;

    fn single(&self, _: &EncoderKind) -> SingleTask {
        exchange::single()
    }

    fn export(&self, head: &LinearHead, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
        exchange::export(head, encoder)
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        let is_own = folder.architecture.ends_with(exchange::ARCHITECTURE);
        is_own.then(|| Self::open(json!(exchange::import(folder, weights)?)))
    }
}

impl Tune for Qa {
    fn is_tuned(&self) -> bool {
        self.config.allows_none() && !matches!(self.config.null_threshold, NullThreshold::Fixed(_))
    }

    fn choose(&self, counts: &Counts) -> Value {
        json!(counts.threshold(self.config.null_threshold))
    }

    fn with_choice(&self, choice: &Value) -> Result<Self> {
        let Some(chosen) = choice.as_f64() else {
            return Err(Error::internal(format!("expected a threshold, found {choice}")));
        };
        Ok(Self { config: Config { chosen_null_threshold: Some(chosen), ..self.config.clone() } })
    }
}
