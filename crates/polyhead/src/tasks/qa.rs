//! Extractive question answering: the answer to a question is a slice of its context (SQuAD, arXiv:1606.05250 and
//! arXiv:1806.03822).
//!
//! Windows are the question and a part of the context, `[CLS] question [SEP] context [SEP]` for BERT; the head gives each token a score as the start and as the end of
//! the answer. Windows, targets and the n-best search over all windows are those of `run_qa.py` of transformers;
//! measured as the official SQuAD scripts do, see [`crate::metrics::squad`].

mod analysis;
mod pipeline;
mod review;

use super::answer::{self, Answer};
use super::{
    Analyse, Checks, Exchange, Faces, Field, Fingerprint, HeadShape, LinearHead, Outline, Pipeline, PipelineApi,
    Purpose, Query, Review, Score, Shape, SingleTask, SingleTaskFolder, Task, Window, check_dropout, configuration,
    cross_entropy, is_short_line, offset_unit,
};
use crate::batch::{Features, Targets, WindowedExample};
use crate::data::{self, FileFormats, Layout, QUESTIONS, Question, Read};
use crate::document::Block;
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::metrics::squad::{self, Rules};
use crate::metrics::squad_threshold::{Judged, Measure, best_threshold};
use crate::parameters::Weights;
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use crate::text::{Piece, Template, TokenSequence, Tokenizer, windows};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::cross_entropy::segment_cross_entropy;
use polyhead_kernels::{self as kernels, DropoutAt, Ops};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

// Configuration

/// The configuration of a question-answering task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest window, in tokens: question, context and special tokens.
    pub max_length: usize,
    /// Tokens of the context that neighbouring windows share.
    pub stride: usize,
    /// The question's tokens beyond this are cut.
    pub max_question_length: usize,
    /// The longest answer, in tokens.
    pub max_answer_length: usize,
    /// How many answers are kept for each question while searching.
    pub n_best: usize,
    /// Dropout before the linear layers.
    pub dropout: f64,
    /// Whether "no answer" is an answer. Left open, the training data decide: do they hold questions without one?
    pub no_answer: Option<NoAnswer>,
    /// "No answer" wins where its score is more than this above the best answer's.
    pub null_threshold: f64,
}

/// Whether "no answer" is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    /// Every question has an answer: SQuAD v1.1.
    Never,
    /// A question may have none: SQuAD v2.0.
    Allowed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 384,
            stride: 128,
            max_question_length: 64,
            max_answer_length: 30,
            n_best: 20,
            dropout: 0.1,
            no_answer: None,
            null_threshold: 0.0,
        }
    }
}

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

/// What was found: the best answers, best first.
pub struct Found {
    answers: Vec<Candidate>,
    /// The score of "no answer" minus that of the best answer, where "no answer" is allowed.
    null_difference: Option<f64>,
    /// Whether "no answer" wins.
    none: bool,
}

/// An answer that was found.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    start: usize,
    end: usize,
    /// The sum of its start and end logits, comparable across windows.
    logit: f64,
    /// Its share among the candidates: the softmax of the logits.
    score: f64,
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

impl Qa {
    /// The tokens of a question, all of them.
    fn question(question: &str, tokenizer: &Tokenizer) -> Result<Vec<Piece>> {
        tokenizer.text(question.trim_start())
    }

    /// Refuses a question that says nothing, or more than is read of one.
    fn admit_question(question: &[Piece], most: usize) -> Result<()> {
        match question.len() {
            0 => Err(Error::data("expected a question, found a text without a word")),
            found if found > most => {
                Err(Error::data(format!("expected a question of at most {most} tokens, found {found}"))
                    .hint("a part of the question would not be read; shorten it, or move what it tells to the context"))
            }
            _ => Ok(()),
        }
    }

    /// The windows of a context with the question before each.
    fn windows(
        &self,
        example: &QaExample,
        question: &[Piece],
        context: &[Piece],
        template: &Template<2>,
    ) -> Vec<Features> {
        let room = self.config.max_length.saturating_sub(question.len() + template.special_tokens()).max(1);
        let window = |range: Range<usize>| {
            let part = context.get(range).unwrap_or(&[]);
            let TokenSequence { ids, types, texts: [_, text] } = template.window([question, part]);
            let mut spans = vec![None; ids.len()];
            for (span, piece) in spans.iter_mut().skip(text.start).zip(part) {
                // White space alone begins and ends no answer.
                *span = (piece.start < piece.end).then_some((piece.start, piece.end));
            }
            let targets = Self::target(example, &spans).unwrap_or_else(|| vec![0, 0]);
            Features { ids, types, spans, targets: Targets::Positions(targets), ..Features::default() }
        };
        windows::windows(context.len(), room, self.config.stride).into_iter().map(window).collect()
    }

    /// The target of a window: the answer's first and last token, or the window's first token twice where it does not hold it.
    fn target(question: &QaExample, spans: &[Option<(usize, usize)>]) -> Option<Vec<i64>> {
        let answer = question.answers.first()?;
        let (from, to) = (answer.start, answer.start + answer.text.len());
        let context = || spans.iter().enumerate().filter_map(|(at, span)| span.map(|span| (at, span)));
        let (first, last) = (context().next()?.1, context().next_back()?.1);
        if first.0 > from || last.1 < to {
            return None;
        }
        let start = context().take_while(|(_, span)| span.0 <= from).last()?.0;
        let end = context().rev().take_while(|(_, span)| span.1 >= to).last()?.0;
        Some(vec![start as i64, end as i64])
    }

    /// The candidates of one window: the best pairs of its best starts and ends.
    fn candidates(&self, window: &Window, into: &mut Vec<Candidate>) {
        let spans = &window.features.spans;
        let best = |column: usize| {
            let mut order: Vec<(usize, f32)> =
                window.logits.rows().enumerate().filter_map(|(at, row)| Some((at, *row.get(column)?))).collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order.truncate(self.config.n_best);
            order
        };
        let ends = best(1);
        for (start, start_logit) in best(0) {
            for &(end, end_logit) in &ends {
                let (Some(Some(from)), Some(Some(to))) = (spans.get(start), spans.get(end)) else { continue };
                if end >= start && end - start < self.config.max_answer_length {
                    let logit = f64::from(start_logit) + f64::from(end_logit);
                    into.push(Candidate { start: from.0, end: to.1, logit, score: 0.0 });
                }
            }
        }
    }

    /// The best answers over all windows of a context. `align` may widen each, before those that are then the same are
    /// taken together.
    fn search(&self, context: &str, windows: &[Window], align: impl Fn(Range<usize>) -> Range<usize>) -> Found {
        let mut answers: Vec<Candidate> = Vec::new();
        let mut null = f64::INFINITY;
        for window in windows {
            if let [start, end] = window.logits.row(0) {
                null = null.min(f64::from(*start) + f64::from(*end));
            }
            self.candidates(window, &mut answers);
        }
        for answer in &mut answers {
            let Range { start, end } = align(answer.start..answer.end);
            (answer.start, answer.end) = (start, end);
        }
        answers.retain(|answer| !slice(context, answer.start, answer.end).is_empty());
        answers.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        // Overlapping windows find the same slice more than once.
        let mut seen = std::collections::HashSet::new();
        answers.retain(|answer| seen.insert((answer.start, answer.end)));
        answers.truncate(self.config.n_best);
        let allowed = self.config.no_answer == Some(NoAnswer::Allowed);
        let null_difference = answers.first().filter(|_| allowed).map(|best| null - best.logit);
        let none =
            answers.is_empty() || null_difference.is_some_and(|difference| difference > self.config.null_threshold);
        let top = answers.iter().map(|answer| answer.logit).chain(allowed.then_some(null)).fold(f64::MIN, f64::max);
        let weight = |logit: f64| (logit - top).exp();
        let total =
            answers.iter().map(|answer| weight(answer.logit)).sum::<f64>() + if allowed { weight(null) } else { 0.0 };
        for answer in &mut answers {
            answer.score = weight(answer.logit) / total;
        }
        Found { answers, null_difference, none }
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
    const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange();
    type Example = QaExample;
    type Prediction = Found;
    type Counts = Counts;
    /// Start and end side by side.
    type Head = LinearHead;

    fn open(config: Value) -> Result<Self> {
        let config: Config = configuration(config)?;
        let least = config.max_question_length.saturating_add(config.stride).saturating_add(4);
        if config.max_length < least {
            return Err(Error::usage(format!(
                "max_length: expected at least max_question_length + stride + 4 = {least}, found {}",
                config.max_length
            )));
        }
        for (name, value) in [("n_best", config.n_best), ("max_answer_length", config.max_answer_length)] {
            if value == 0 {
                return Err(Error::usage(format!("{name}: expected at least 1, found 0")));
            }
        }
        check_dropout(config.dropout)?;
        Ok(Self { config })
    }

    fn config(&self) -> Value {
        json!(self.config)
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
            && encoded.windows.iter().all(|window| *window.targets.positions() == [0, 0])
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
        Ok(start.beside(&LinearHead::open(weights, &format!("heads.{name}.end"), shape, 1)?))
    }

    fn logits(&self, head: &LinearHead, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        head.apply(ops, hidden, Some(DropoutAt::new(self.config.dropout, "qa head")))
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        let positions: Vec<i64> = targets.iter().flat_map(|targets| targets.positions()).copied().collect();
        Ok(segment_cross_entropy(logits, segments, &positions, count)?)
    }

    /// Of each window: the mean of that of the start and that of the end.
    fn losses(&self, example: &QaExample, windows: &[Window]) -> Option<(f64, usize)> {
        if example.is_scored_only() {
            // Its windows point at no answer, though it has one.
            return None;
        }
        let of = |window: &Window| {
            let column = |column: usize| window.logits.rows().map(move |row| row.get(column).copied().unwrap_or(0.0));
            let &[start, end] = window.features.targets.positions() else { return None };
            Some((cross_entropy(column(0), start)? + cross_entropy(column(1), end)?) / 2.0)
        };
        Some(windows.iter().filter_map(of).fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1)))
    }

    // Metric and requests

    fn counts(&self) -> Counts {
        let rules = if self.config.no_answer == Some(NoAnswer::Allowed) { Rules::V2 } else { Rules::V1 };
        Counts { squad: squad::Counts::new(rules), judged: Vec::new() }
    }

    fn count(&self, example: &QaExample, prediction: &Found, counts: &mut Counts) {
        let golds = example.golds();
        counts.squad.add(Some(prediction.text(example)), &golds);
        if counts.squad.rules() == Rules::V2 {
            let difference = prediction.null_difference.unwrap_or(0.0);
            counts.judged.push(Judged::new(prediction.first(example), &golds, difference));
        }
    }

    fn score(&self, counts: &Counts) -> Score {
        let mut values = serde_json::Map::new();
        let mut put = |name: &str, value: f64| values.insert(name.to_owned(), json!(value));
        let all = counts.squad.all();
        put("exact_match", 100.0 * all.means().exact);
        put("f1", 100.0 * all.means().f1);
        if counts.squad.rules() == Rules::V2 {
            for (name, tally) in [("has_answer", counts.squad.has_answer()), ("no_answer", counts.squad.no_answer())] {
                put(&format!("{name}_exact_match"), 100.0 * tally.means().exact);
                put(&format!("{name}_f1"), 100.0 * tally.means().f1);
            }
            for (name, measure) in [("best_exact_match", Measure::Exact), ("best_f1", Measure::F1)] {
                let best = best_threshold(&counts.judged, measure);
                put(name, 100.0 * best.score);
                put(&format!("{name}_threshold"), best.threshold.unwrap_or(0.0));
            }
        }
        put("questions", all.questions() as f64);
        Score { headline: "f1".into(), values, types: Vec::new() }
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
        let text = &example.context;
        let offsets = Offsets::new(text, example.unit);
        let place = |found: &Candidate| answer::Candidate {
            answer: slice(text, found.start, found.end).to_owned(),
            start: offsets.at(found.start),
            end: offsets.at(found.end),
            score: found.score,
        };
        let none = || answer::Candidate { answer: String::new(), start: 0, end: 0, score: prediction.null_score() };
        let answer::Candidate { answer, start, end, score } = prediction.best().map_or_else(none, place);
        let others = prediction.answers.iter().skip(usize::from(!prediction.none)).take(2).map(place);
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
    const ARCHITECTURE: &'static str = "ForQuestionAnswering";

    fn export(&self, head: &LinearHead, _: &EncoderKind) -> Result<SingleTask> {
        let tensors = vec![("qa_outputs.weight".into(), head.weight()?), ("qa_outputs.bias".into(), head.bias()?)];
        let config = serde_json::Map::new();
        Ok(SingleTask { architecture: "ForQuestionAnswering", pipeline: "question-answering", tensors, config })
    }

    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>> {
        if !folder.architecture.ends_with("ForQuestionAnswering") {
            return None;
        }
        let mut split = || -> Result<()> {
            for part in ["weight", "bias"] {
                let Some(both) = weights.take(&format!("qa_outputs.{part}")) else { continue };
                if both.dim(0)? != 2 {
                    return Err(Error::data(format!("qa_outputs.{part}: expected 2 rows, found {:?}", both.dims())));
                }
                for (row, name) in ["start", "end"].into_iter().enumerate() {
                    weights.put(&format!("heads.qa.{name}.{part}"), both.narrow(0, row, 1)?.contiguous()?);
                }
            }
            Ok(())
        };
        let usual = Config::default();
        let max_length = folder.max_tokens().unwrap_or(usual.max_length).min(usual.max_length);
        let config = Config {
            max_length,
            stride: usual.stride.min(max_length / 3),
            max_question_length: usual.max_question_length.min(max_length / 4),
            no_answer: Some(NoAnswer::Never),
            ..usual
        };
        Some(split().and_then(|()| Self::open(json!(config))))
    }
}

/// Counts by the official scripts; with "no answer" also what their search for the best threshold needs.
pub struct Counts {
    squad: squad::Counts,
    judged: Vec<Judged>,
}

impl Found {
    fn best(&self) -> Option<&Candidate> {
        self.answers.first().filter(|_| !self.none)
    }

    /// The best answer, though "no answer" may win.
    fn first<'a>(&self, example: &'a QaExample) -> &'a str {
        self.answers.first().map_or("", |best| slice(&example.context, best.start, best.end))
    }

    fn text<'a>(&self, example: &'a QaExample) -> &'a str {
        self.best().map_or("", |best| slice(&example.context, best.start, best.end))
    }

    /// The probability of "no answer" among the candidates.
    fn null_score(&self) -> f64 {
        // Not below zero by rounding.
        (1.0 - self.answers.iter().map(|answer| answer.score).sum::<f64>()).max(0.0)
    }
}
