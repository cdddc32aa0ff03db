//! A loaded model that answers: text in, predictions out.

use crate::data::{Layout, Skipped};
use crate::encoders::{EncoderOverrides, Precision};
use crate::error::{Error, Place, Result};
use crate::model::Model;
use crate::parameters::Int8;
use crate::tasks::{Purpose, Score, TASKS, TaskKind};
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    /// `f32`, `bf16`, `int8` or `auto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Of(precision) => precision.name(),
            Self::Int8 => "int8",
            Self::AsStored => "auto",
        }
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
pub struct Evaluation {
    /// The score.
    pub score: Score,
    /// Examples that could not be used, and why.
    pub skipped: Vec<Skipped>,
    /// What was changed while reading.
    pub notes: Vec<String>,
    /// Examples that were scored.
    pub examples: usize,
}

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
        self.model.run(self.model.task(task)?, |task, runner| {
            let (mut examples, _) = task.read_all(data, limit, layout)?;
            task.review(&mut examples, runner.tokenizer, Purpose::Predict)?;
            let score = task.evaluate(&examples, runner, each)?;
            Ok(Evaluation { score, examples: examples.len, skipped: examples.skipped, notes: examples.notes })
        })
    }
}
