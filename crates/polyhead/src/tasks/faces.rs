//! The optional faces of a task: what it may have besides its codec, its head and its metric. A task implements the traits of
//! those that it has, and lists them:
//!
//! ```text
//! impl Task for Ner { const FACES: Faces<Self> = Faces::NONE.checks().analysis().pipeline().exchange(); ... }
//! impl Checks for Ner { ... }      what is checked of its data before training
//! impl Analyse for Ner { ... }     what a report says of its answers beyond the score, and with AgainstTraining what it says of
//!                                  them beside the training data
//! impl Pipeline for Ner { ... }    the inference API of Hugging Face that it answers
//! impl Exchange for Ner { ... }    the single-task model of transformers that it becomes, or comes from
//! impl Tune for Classify { ... }   what of its configuration is chosen on validation data: thresholds
//! impl Calibrate for Ner { ... }   how probable it says its answers are, which are right, and from which score on it gives them
//! impl Pairs for Relation { ... }  that it relates parts of a text, which a task with `mentions()` finds
//! ```

use super::answer::Span;
use super::{MinScore, Outline, PipelineApi, Query, Review, SingleTask, SingleTaskFolder, Task};
use crate::document::Block;
use crate::encoders::EncoderKind;
use crate::error::Result;
use crate::metrics::calibration::Confidence;
use crate::parameters::Weights;
use crate::text::Tokenizer;
use crate::text::offsets::OffsetUnit;
use candle_core::Tensor;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What is checked of the data of a task before training.
pub trait Checks: Task {
    /// What the checks look at in an example.
    fn outline<'a>(&self, example: &'a Self::Example) -> Outline<'a>;
    /// Refuses training examples that teach nothing: no gold answer in any of them.
    fn learnable(&self, _train: &[Self::Example]) -> Result<()> {
        Ok(())
    }
    /// What the tokenizer makes nothing of, and which examples have no token at all.
    fn review(&self, _examples: &[Self::Example], _tokenizer: &Tokenizer) -> Result<Review> {
        Ok(Review::default())
    }
}

/// What a report says of the answers to validation examples beyond the score: where they go wrong, and how.
pub trait Analyse: Task {
    /// Of these answers.
    fn analyse(&self, predictions: &[(&Self::Example, Self::Prediction)]) -> Vec<Block>;
}

/// What a report says of these answers beside the examples that were trained on.
pub trait AgainstTraining: Analyse {
    /// Of these answers.
    fn against_training(
        &self,
        train: &[Self::Example],
        predictions: &[(&Self::Example, Self::Prediction)],
    ) -> Vec<Block>;
}

/// The inference API of Hugging Face that a task answers besides its own: `{"inputs": ..., "parameters": {...}}`.
pub trait Pipeline: Task {
    /// Its name and the forms of what it takes and answers.
    const API: PipelineApi;
    /// Whether one of the `inputs` of a request has the form that it takes.
    fn accepts(input: &Value) -> bool;
    /// Reads one of the `inputs` of a request, with its `parameters`.
    fn pipeline(
        self: &Arc<Self>,
        input: &Value,
        parameters: &Map<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Query>;
}

/// Exchange with transformers.
pub trait Exchange: Task {
    /// The end of the name of its single-task model there: `ForTokenClassification`.
    const ARCHITECTURE: &'static str;
    /// What that model says of itself, whose names may depend on the encoder.
    fn single(&self, encoder: &EncoderKind) -> SingleTask;
    /// The head's tensors, as that model names them.
    ///
    /// # Errors
    /// That model has another head.
    fn export(&self, head: &Self::Head, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>>;
    /// Opens the task from a folder of that model, renaming the head's tensors to `heads.{KIND}. ...`; `None` if the folder is
    /// of another model.
    fn import(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Self>>;
}

/// What a task may leave to its validation data: thresholds. It is chosen anew at every evaluation while training, before the score that
/// decides which epoch is kept, and is saved with the model. Training does not depend on it.
pub trait Tune: Task {
    /// Whether its configuration leaves anything to them.
    fn is_tuned(&self) -> bool;
    /// What the predictions of all of them decide, to be kept in checkpoints: what [`Tune::with_choice`] takes back.
    fn choose(&self, counts: &Self::Counts) -> Value;
    /// The same task with what was chosen.
    fn with_choice(&self, choice: &Value) -> Result<Self>;
}

/// A task whose answers have probabilities that can be held against gold answers: they are calibrated, and a report shows how far they are
/// from what they say.
pub trait Calibrate: Task {
    /// Of each answer to an example how probable it was said to be, and whether it is right.
    fn confidences(&self, example: &Self::Example, prediction: &Self::Prediction) -> Vec<Confidence>;
    /// The same task for logits that were divided by this, if its configuration has numbers in their unit.
    fn at_temperature(&self, _temperature: f64) -> Option<Self> {
        None
    }
    /// From which score on it gives an answer.
    fn min_score(&self) -> MinScore {
        MinScore::default()
    }
    /// The same task that gives answers from this score on, instead of what its configuration says, if it can keep answers to itself.
    fn with_min_score(&self, _chosen: Option<f64>) -> Option<Self> {
        None
    }
}

/// A task that relates two parts of a text. Where the parts are not given, they are those that another task of the same model finds.
pub trait Pairs: Task {
    /// The request about two parts of a text, whose offsets count what `unit` says.
    fn pair(text: &str, first: &Span, second: &Span, unit: OffsetUnit) -> Value;
}

/// The faces that a task has.
pub struct Faces<T: Task> {
    pub(super) checks: Option<ChecksOf<T>>,
    pub(super) analyse: Option<AnalyseFn<T>>,
    pub(super) against_training: Option<AgainstTrainingFn<T>>,
    pub(super) pipeline: Option<PipelineOf<T>>,
    pub(super) exchange: Option<ExchangeOf<T>>,
    pub(super) tune: Option<TuneOf<T>>,
    pub(super) calibrate: Option<CalibrateOf<T>>,
    pub(super) pairs: Option<PairFn>,
    pub(super) mentions: bool,
}

type AnalyseFn<T> = fn(&T, &[(&<T as Task>::Example, <T as Task>::Prediction)]) -> Vec<Block>;
type AgainstTrainingFn<T> =
    fn(&T, &[<T as Task>::Example], &[(&<T as Task>::Example, <T as Task>::Prediction)]) -> Vec<Block>;
type ConfidencesFn<T> = fn(&T, &<T as Task>::Example, &<T as Task>::Prediction) -> Vec<Confidence>;
type PairFn = fn(&str, &Span, &Span, OffsetUnit) -> Value;
type ExportFn<T> = fn(&T, &<T as Task>::Head, &EncoderKind) -> Result<Vec<(String, Tensor)>>;
type QueryFn<T> = fn(&Arc<T>, &Value, &Map<String, Value>, &Tokenizer) -> Result<Query>;

pub(super) struct ChecksOf<T: Task> {
    pub outline: for<'a> fn(&T, &'a T::Example) -> Outline<'a>,
    pub learnable: fn(&T, &[T::Example]) -> Result<()>,
    pub review: fn(&T, &[T::Example], &Tokenizer) -> Result<Review>,
}

pub(super) struct PipelineOf<T: Task> {
    pub api: PipelineApi,
    pub accepts: fn(&Value) -> bool,
    pub query: QueryFn<T>,
}

pub(super) struct ExchangeOf<T: Task> {
    pub architecture: &'static str,
    pub single: fn(&T, &EncoderKind) -> SingleTask,
    pub export: ExportFn<T>,
    pub import: fn(&SingleTaskFolder, &mut Weights) -> Option<Result<T>>,
}

pub(super) struct TuneOf<T: Task> {
    pub is_tuned: fn(&T) -> bool,
    pub choose: fn(&T, &T::Counts) -> Value,
    pub with_choice: fn(&T, &Value) -> Result<T>,
}

pub(super) struct CalibrateOf<T: Task> {
    pub confidences: ConfidencesFn<T>,
    pub at_temperature: fn(&T, f64) -> Option<T>,
    pub min_score: fn(&T) -> MinScore,
    pub with_min_score: fn(&T, Option<f64>) -> Option<T>,
}

impl<T: Task> Faces<T> {
    /// None: the task reads, learns, answers and is scored.
    pub const NONE: Self = Self {
        checks: None,
        analyse: None,
        against_training: None,
        pipeline: None,
        exchange: None,
        tune: None,
        calibrate: None,
        pairs: None,
        mentions: false,
    };

    /// And [`Checks`].
    #[must_use]
    pub const fn checks(self) -> Self
    where
        T: Checks,
    {
        let checks = Some(ChecksOf { outline: T::outline, learnable: T::learnable, review: T::review });
        Self { checks, ..self }
    }

    /// And [`Analyse`].
    #[must_use]
    pub const fn analysis(self) -> Self
    where
        T: Analyse,
    {
        Self { analyse: Some(T::analyse), ..self }
    }

    /// And [`AgainstTraining`].
    #[must_use]
    pub const fn against_training(self) -> Self
    where
        T: AgainstTraining,
    {
        Self { against_training: Some(T::against_training), ..self }
    }

    /// And [`Pipeline`].
    #[must_use]
    pub const fn pipeline(self) -> Self
    where
        T: Pipeline,
    {
        Self { pipeline: Some(PipelineOf { api: T::API, accepts: T::accepts, query: T::pipeline }), ..self }
    }

    /// And [`Exchange`].
    #[must_use]
    pub const fn exchange(self) -> Self
    where
        T: Exchange,
    {
        let exchange =
            ExchangeOf { architecture: T::ARCHITECTURE, single: T::single, export: T::export, import: T::import };
        Self { exchange: Some(exchange), ..self }
    }

    /// And [`Tune`].
    #[must_use]
    pub const fn tune(self) -> Self
    where
        T: Tune,
    {
        Self { tune: Some(TuneOf { is_tuned: T::is_tuned, choose: T::choose, with_choice: T::with_choice }), ..self }
    }

    /// And [`Calibrate`].
    #[must_use]
    pub const fn calibrate(self) -> Self
    where
        T: Calibrate,
    {
        let (confidences, at_temperature) = (T::confidences, T::at_temperature);
        let (min_score, with_min_score) = (T::min_score, T::with_min_score);
        let calibrate = CalibrateOf { confidences, at_temperature, min_score, with_min_score };
        Self { calibrate: Some(calibrate), ..self }
    }

    /// And [`Pairs`].
    #[must_use]
    pub const fn pairs(self) -> Self
    where
        T: Pairs,
    {
        Self { pairs: Some(T::pair), ..self }
    }

    /// And that the spans it answers with are mentions of things, between which there may be relations.
    #[must_use]
    pub const fn mentions(self) -> Self {
        Self { mentions: true, ..self }
    }
}
