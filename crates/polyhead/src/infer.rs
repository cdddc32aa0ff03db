//! A loaded model that answers: text in, predictions out.

use crate::batch::Features;
use crate::data::{Layout, Skipped};
use crate::encoders::{EncoderOverrides, Precision};
use crate::error::{Error, Place, Result};
use crate::metrics::bootstrap;
use crate::model::Model;
use crate::parameters::Int8;
use crate::tasks::{Examples, Logits, LogitsFn, Purpose, Score, TASKS, TaskKind, logits_of};
use crate::text::windows;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Texts that are read before the first of them goes through the model.
const TOGETHER: usize = 64;

/// What the matrix products of a model that answers are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// All of them in this precision.
    Of(Precision),
    /// Those of the encoder's linear layers in whole numbers: weights in bytes with a scale for each output, activations with one for
    /// each token. All others as the processor is fastest.
    Int8,
    /// What the model folder says: those of a quantised model in whole numbers, all others as the processor is fastest.
    AsStored,
}

impl Products {
    /// What can be asked for.
    pub const ALL: [Self; 4] = [Self::AsStored, Self::Of(Precision::F32), Self::Of(Precision::Bf16), Self::Int8];

    /// `f32`, `bf16`, `int8` or `auto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Of(precision) => precision.name(),
            Self::Int8 => "int8",
            Self::AsStored => "auto",
        }
    }
}

/// Of its name, see [`Products::name`].
impl FromStr for Products {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|products| products.name() == name);
        known.ok_or_else(|| Error::usage(format!("precision: expected auto, f32, bf16 or int8, found `{name}`")))
    }
}

impl From<Precision> for Products {
    fn from(precision: Precision) -> Self {
        Self::Of(precision)
    }
}

/// A model in use.
pub struct Session {
    /// The model.
    pub model: Model,
}

/// What an evaluation found.
#[derive(Serialize)]
pub struct Evaluation {
    /// Examples that were scored.
    pub examples: usize,
    /// Examples that could not be used, and why.
    pub skipped: Vec<Skipped>,
    /// What was changed while reading.
    pub notes: Vec<String>,
    /// The score.
    pub score: Score,
    /// If asked for, how far each value of the score may be off, since other examples might have been drawn: 95 % of
    /// [`bootstrap::SAMPLES`] bootstrap samples lie between.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<String, [f64; 2]>,
}

/// Examples with gold answers, and what of them is asked.
#[derive(Clone, Copy)]
pub struct GoldData<'a> {
    /// Their files.
    pub files: &'a [PathBuf],
    /// Takes the first so many of all.
    pub limit: Option<usize>,
    /// What their extensions do not tell.
    pub layout: &'a Layout,
    /// Whether each value of the score gets its interval: then all answers are held at once.
    pub intervals: bool,
}

/// Whether to go on, asked before each pass through the model: an error ends what is under way.
pub type GoOn<'a> = &'a dyn Fn() -> Result<()>;

impl Session {
    /// Loads a model folder (or a run folder: then its best model).
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(folder, TASKS)
    }

    /// Loads a model folder whose tasks may be of kinds of one's own.
    pub fn open_with(folder: impl AsRef<Path>, kinds: &[TaskKind]) -> Result<Self> {
        Self::open_in(folder, kinds, Products::AsStored)
    }

    /// The same with matrix products in this precision; the others take bf16 where the processor multiplies it natively.
    pub fn open_in(folder: impl AsRef<Path>, kinds: &[TaskKind], products: impl Into<Products>) -> Result<Self> {
        let (precision, int8) = match products.into() {
            Products::Of(precision) => (precision, Int8::No),
            Products::Int8 => (Precision::auto(), Int8::Yes),
            Products::AsStored => (Precision::auto(), Int8::AsStored),
        };
        let adjust = EncoderOverrides { precision, int8, ..EncoderOverrides::default() };
        Ok(Self { model: Model::load_adjusted(folder.as_ref(), kinds, &adjust)? })
    }

    /// What its matrix products are computed in.
    pub fn products(&self) -> Products {
        match self.model.int8 {
            Int8::No | Int8::Watched => Products::Of(self.model.encoder.precision()),
            _ => Products::Int8,
        }
    }

    /// Answers one request, an object with the fields of the task ([`crate::tasks::AnyTask::fields`]): `{"text": ...}`. The
    /// answer has the task's shape: `task.shape().read(&answer)` gives it with its types.
    pub fn ask(&self, task: &str, request: &Value) -> Result<Value> {
        let mut answers = Vec::with_capacity(1);
        let mut requests = std::iter::once(Ok((request.clone(), Place::file("request"))));
        self.predict(task, &mut requests, &mut |answer| {
            answers.push(answer);
            Ok(())
        })?;
        answers.pop().ok_or_else(|| Error::internal("a request without an answer"))
    }

    /// Answers requests in order, in constant memory. A malformed one ends it, after all before it were answered.
    pub fn predict(
        &self,
        task: &str,
        requests: &mut dyn Iterator<Item = Result<(Value, Place)>>,
        each: &mut dyn FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        self.model.run(self.model.task(task)?, |task, runner| task.predict(requests, runner, each))
    }

    /// The same with all that stands behind an answer: see [`crate::tasks::Task::record`].
    pub fn records(
        &self,
        task: &str,
        requests: &mut dyn Iterator<Item = Result<(Value, Place)>>,
        each: &mut dyn FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        self.model.run(self.model.task(task)?, |task, runner| task.records(requests, runner, each))
    }

    /// The logits of each request, `[rows, outputs]`: a row for each token, sequence, range or pair that the head of its task reads, in
    /// the order of the request's windows. Special tokens have rows too.
    pub fn logits(&self, task: &str, requests: &[(Value, Place)], go_on: GoOn) -> Result<Vec<Logits>> {
        self.model.run(self.model.task(task)?, |task, runner| {
            let asking = |windows: &[&Features]| go_on().and_then(|()| (runner.logits)(windows));
            let runner = LogitsFn { tokenizer: runner.tokenizer, logits: &asking };
            let query = |(request, place): &(Value, Place)| {
                task.query(request, runner.tokenizer).map_err(|error| error.at(place.clone()))
            };
            let mut found = Vec::with_capacity(requests.len());
            for requests in requests.chunks(TOGETHER) {
                let queries = requests.iter().map(query).collect::<Result<Vec<_>>>()?;
                let windows: Vec<&Features> = queries.iter().flat_map(|query| &query.windows).collect();
                let mut logits = logits_of(&windows, &runner)?.into_iter();
                let mut next = |count: usize| Logits::joined(&logits.by_ref().take(count).collect::<Vec<_>>());
                found.extend(queries.iter().map(|query| next(query.windows.len())));
            }
            Ok(found)
        })
    }

    /// The mean of the encoder's last hidden states over the tokens of each text, special ones included: `hidden` numbers each, as
    /// mean pooling makes them in sentence-transformers. A text of more tokens than `max_length` goes through the encoder in parts, and
    /// the mean is over all of them. `go_on` is asked now and then.
    pub fn embed(&self, texts: &[String], max_length: usize, go_on: GoOn) -> Result<Vec<Vec<f32>>> {
        let tokenizer = &self.model.tokenizer;
        let room = tokenizer.single().room(max_length.min(self.model.encoder.max_tokens()), 0)?;
        let parts = |text: &String| -> Result<Vec<Features>> {
            let pieces = tokenizer.text(text)?;
            let ranges = windows::windows(pieces.len(), room, 0);
            let window = |range| tokenizer.single().window([pieces.get(range).unwrap_or_default()]);
            Ok(ranges
                .into_iter()
                .map(window)
                .map(|part| Features { ids: part.ids, types: part.types, ..Features::default() })
                .collect())
        };
        let hidden = |windows: &[&Features]| go_on().and_then(|()| self.model.hidden(windows));
        let runner = LogitsFn { tokenizer, logits: &hidden };
        let mut means = Vec::with_capacity(texts.len());
        // Several texts share a pass; what is held at a time is their hidden states.
        for texts in texts.chunks(TOGETHER) {
            let parts = texts.iter().map(parts).collect::<Result<Vec<_>>>()?;
            let states = logits_of(&parts.iter().flatten().collect::<Vec<_>>(), &runner)?;
            let mut states = states.iter();
            means.extend(parts.iter().map(|parts| mean(states.by_ref().take(parts.len()))));
        }
        Ok(means)
    }

    /// Scores the model on files of examples with gold answers; `limit` takes the first so many of all, `layout` tells
    /// what their extensions do not. `each` sees every answer and its one-line description.
    pub fn evaluate(
        &self,
        task: &str,
        data: &[PathBuf],
        limit: Option<usize>,
        layout: &Layout,
        each: &mut dyn FnMut(Value, String),
    ) -> Result<Evaluation> {
        self.evaluate_while(&|| Ok(()), task, GoldData { files: data, limit, layout, intervals: false }, each)
    }

    /// The same, as long as `go_on` has no error.
    pub fn evaluate_while(
        &self,
        go_on: GoOn,
        task: &str,
        data: GoldData,
        each: &mut dyn FnMut(Value, String),
    ) -> Result<Evaluation> {
        self.model.run(self.model.task(task)?, |task, runner| {
            let (mut examples, _) = task.read_all(data.files, data.limit, data.layout)?;
            task.review(&mut examples, runner.tokenizer, Purpose::Predict)?;
            let asking = |windows: &[&Features]| go_on().and_then(|()| (runner.logits)(windows));
            let runner = LogitsFn { tokenizer: runner.tokenizer, logits: &asking };
            let (score, intervals) = if data.intervals {
                let samples = bootstrap::samples(&task.groups(&examples)?, bootstrap::SAMPLES);
                let (score, on_samples) = task.evaluate_samples(&examples, &runner, &samples, each)?;
                let intervals = score.intervals(&on_samples);
                (score, intervals)
            } else {
                (task.evaluate(&examples, &runner, each)?, BTreeMap::new())
            };
            let Examples { len: examples, skipped, notes, .. } = examples;
            Ok(Evaluation { examples, skipped, notes, score, intervals })
        })
    }
}

/// The mean of all rows.
fn mean<'a>(parts: impl Iterator<Item = &'a Logits>) -> Vec<f32> {
    let (mut sum, mut count) = (Vec::new(), 0usize);
    for row in parts.flat_map(Logits::rows) {
        sum.resize(row.len(), 0.0);
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        count += 1;
    }
    sum.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}
