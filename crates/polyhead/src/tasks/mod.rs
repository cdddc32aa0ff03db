//! Tasks: what a head predicts, how text becomes its features and its logits become answers, and how it is measured.
//!
//! One task a file, in four parts: its configuration; its codec (text only, no tensors); its head (tensors only, no
//! text); its metric and its requests. [`TASKS`] lists them: a new task is one file and one line there.

pub mod answer;
mod any;
mod calibrate;
pub mod classify;
mod confusion;
pub mod drawing;
mod faces;
mod fields;
mod hold_out;
mod label_set;
mod linear_head;
mod lowest;
mod min_score;
pub mod ner;
mod outline;
mod pairs;
pub mod parse;
pub mod qa;
mod query;
pub mod relation;
mod reliability;
mod review;
mod score;
mod settings;
pub mod tag;
mod words;

pub use answer::{Answer, Shape};
pub(crate) use any::logits_of;
pub use any::{Analysis, AnyTask, Examples, LogitsFn, TrainingExamples};
pub use faces::{AgainstTraining, Analyse, Calibrate, Checks, Exchange, Faces, Pairs, Pipeline, Tune};
pub use fields::{Field, found, offset_unit, parameters, within};
pub use linear_head::{HeadShape, LinearHead};
pub use min_score::MinScore;
pub use outline::Outline;
pub use query::{Alone, PipelineApi, Query};
pub use review::Review;
pub use score::{Score, TypeScore};

pub use crate::metrics::calibration::{Calibration, LeastScore};

use faces::ExchangeOf;
use hold_out::held_out;
use label_set::{frequencies, sorted, too_few, unknown_label};
use pairs::pairs_query;
use review::Cut;
pub use settings::ClassSampling;
use settings::{check_different, check_dropout, configuration};

use crate::batch::{Features, Targets, WindowedExample};
use crate::data::{ANY_FILE, FileFormats, Layout, Read};
use crate::encoders::{EncoderKind, Output, Reads};
use crate::error::{Error, Place, Result};
use crate::parameters::Weights;
use crate::text::Tokenizer;
use candle_core::Tensor;
use polyhead_kernels::segments::Segment;
use polyhead_kernels::{self as kernels, Ops, Segments};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// The tasks that a recipe can name, in the order in which they are shown.
pub const TASKS: &[TaskKind] = &[
    TaskKind::of::<ner::Ner>(),
    TaskKind::of::<qa::Qa>(),
    TaskKind::of::<classify::Classify>(),
    TaskKind::of::<tag::Tag>(),
    TaskKind::of::<relation::Relation>(),
    TaskKind::of::<parse::Parse>(),
];

/// A kind of task: an entry of [`TASKS`], or of a list of one's own.
#[derive(Clone, Copy)]
pub struct TaskKind {
    /// What a recipe calls it.
    pub kind: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// What other tools call it.
    pub aliases: &'static [&'static str],
    /// The shape of its answers, where its configuration does not decide it.
    pub shape: Shape,
    /// The formats of its data files.
    pub formats: &'static dyn FileFormats,
    /// The end of the name of a single-task model of transformers for it, if there is one: `ForTokenClassification`.
    pub architecture: Option<&'static str>,
    /// The least configuration with these labels, see [`Task::smallest`].
    pub smallest: fn(&[String]) -> Option<Value>,
    /// Configurations to try on a file whose use is not known, see [`Task::drafts`].
    pub drafts: fn() -> Vec<Value>,
    /// Opens it with its configuration.
    pub open: fn(Value) -> Result<Box<dyn AnyTask>>,
    /// Opens it from a folder of a single task, as transformers writes it, if it is of this kind.
    pub import: ImportTask,
}

/// Opens a task from a single-task folder; `None` if the folder is of another kind.
pub type ImportTask = fn(&SingleTaskFolder, &mut Weights) -> Option<Result<Box<dyn AnyTask>>>;

impl TaskKind {
    /// The entry of a task.
    pub const fn of<T: Task>() -> Self {
        Self {
            kind: T::KIND,
            about: T::ABOUT,
            aliases: T::ALIASES,
            shape: T::SHAPE,
            formats: T::FORMATS,
            architecture: match T::FACES.exchange {
                Some(ExchangeOf { architecture, .. }) => Some(architecture),
                None => None,
            },
            smallest: T::smallest,
            drafts: T::drafts,
            open: any::open::<T>,
            import: any::import::<T>,
        }
    }
}

/// What features are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Training: what is too long becomes overlapping windows, in one of which each label is scored. A task may be
    /// configured to cut, as the reference implementation does.
    Train,
    /// Prediction: nothing is cut; what is too long becomes overlapping windows.
    Predict,
}

/// A task: its configuration, codec, head and metric. What else it may have are its [`Faces`]. See the files of this folder,
/// and `examples/new_task.rs` for a short one.
pub trait Task: Send + Sync + Sized + 'static {
    /// What a recipe calls it.
    const KIND: &'static str;
    /// What it does, in a few words.
    const ABOUT: &'static str;
    /// What other tools call it, in small letters with `_` between words: a recipe that says so gets a hint.
    const ALIASES: &'static [&'static str] = &[];
    /// What it has besides: each is a trait of its own.
    const FACES: Faces<Self> = Faces::NONE;
    /// The layers of its head in whose weights and biases its logits are linear, by what follows the name of the head: who divides them by a
    /// number divides the logits.
    const OUTPUT_LAYERS: &'static [&'static str] = &[""];
    /// A text with gold answers, as a person wrote them.
    type Example: Send + Sync;
    /// What it answers: slices of the text, labels, scores.
    type Prediction;
    /// What the metric adds up.
    type Counts;
    /// The tensors of its head.
    type Head: Send + Sync;

    // Configuration

    /// Opens it with its table of a recipe or of a model folder. Unknown fields are an error.
    fn open(config: Value) -> Result<Self>;
    /// Its configuration, with what training data taught it (labels): what `open` takes back.
    fn config(&self) -> Value;
    /// The longest window it makes, in tokens.
    fn max_length(&self) -> usize;
    /// The labels that it predicts, if it has any.
    fn labels(&self) -> &[String] {
        &[]
    }

    /// The least configuration with these labels, which fits every encoder: for counting the parameters that its head would add
    /// to an encoder. `None` where it needs labels and has none, or is not counted: a head with a row for each label has as many
    /// as any other.
    fn smallest(_labels: &[String]) -> Option<Value> {
        None
    }

    /// Configurations to try on a file whose use is not known, in order: the first that finds something to learn in the file is proposed for
    /// it.
    fn drafts() -> Vec<Value> {
        vec![Value::Object(serde_json::Map::new())]
    }

    // Codec

    /// The formats of its data files: which extensions they have, and which columns a recipe may choose.
    const FORMATS: &'static dyn FileFormats = &ANY_FILE;
    /// Reads a file of examples; `limit` takes the first so many, `layout` tells what its extension does not.
    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Self::Example>>;
    /// Learns from all examples of the training file, of which perhaps only the first are trained on, what must be known
    /// before training: the set of labels.
    fn prepare(&mut self, _train: &[Self::Example]) -> Result<()> {
        Ok(())
    }
    /// Checks that gold answers can be represented (no label is unknown).
    fn check(&self, _examples: &[Self::Example]) -> Result<()> {
        Ok(())
    }
    /// Where an example stands.
    fn place<'a>(&self, example: &'a Self::Example) -> &'a Place;
    /// How often each label or kind of answer occurs, and how many of what there is.
    fn distribution(&self, examples: &[Self::Example]) -> Vec<(String, usize)>;
    /// An example's windows.
    fn features(&self, example: &Self::Example, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample>;
    /// How often examples of each class come in a pass over the training data, where each has one class: the first target of its
    /// windows. `None`: every example comes once.
    fn class_sampling(&self) -> Option<ClassSampling> {
        None
    }
    /// All that `features` reads of an example in training, so that its windows can be kept between runs. `None`: they
    /// are not.
    fn fingerprint(&self, _example: &Self::Example) -> Option<Fingerprint> {
        None
    }
    /// The answer to an example, from its windows and their logits.
    fn decode(&self, example: &Self::Example, windows: &[Window]) -> Self::Prediction;

    // Head

    /// Declares the tensors of the head, named `heads.{name}. ...`, for hidden states of this width. Those with a row for
    /// each of [`Task::labels`] are declared by label ([`LinearHead::open_by_label`]), so that training can begin with the head of
    /// a model whose labels differ; other tensors serve all labels alike, and are kept then.
    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Self::Head>;
    /// What of the hidden states the head reads.
    fn reads(&self) -> Reads {
        Reads::AllTokens
    }
    /// From the hidden states of its windows, `[rows, hidden]`, to logits, `[rows, outputs]`, in the operators of a backend: a row
    /// for each token, or for each sequence, range or pair of the windows, as [`Ops::select_rows`] makes them of tokens. Of a head that reads first
    /// tokens alone ([`Task::reads`]) they may be those already, a row for each sequence.
    fn logits(&self, head: &Self::Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value>;
    /// How many of a window's targets its loss is summed over; the sum of their weights, where they have weights.
    fn target_count(&self, targets: &Targets) -> f64 {
        targets.count() as f64
    }
    /// The loss of a batch, a scalar: the sum over its targets, divided by `count`, which is the number of targets of the whole
    /// step (the sum of their weights), as [`Task::target_count`] says. `targets` are those of its windows, one after the other;
    /// `segments` says which rows of the logits are of which.
    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor>;

    /// The losses of an example's windows with gold answers, without dropout: their sum, and how many they are. `None`: the
    /// task does not say, and there is no loss on validation data.
    fn losses(&self, _example: &Self::Example, _windows: &[Window]) -> Option<(f64, usize)> {
        None
    }

    // Metric and requests

    /// Nothing counted yet.
    fn counts(&self) -> Self::Counts;
    /// Adds one prediction to the counts.
    fn count(&self, example: &Self::Example, prediction: &Self::Prediction, counts: &mut Self::Counts);
    /// What the counts come to.
    fn score(&self, counts: &Self::Counts) -> Score;
    /// An example without gold answers, from a JSON request.
    fn request(&self, request: &Value, place: Place) -> Result<Self::Example>;
    /// The answer to a request, of the shape [`Task::SHAPE`]. Offsets count what its field `offset_unit` says (see
    /// [`offset_unit`]), else characters.
    fn answer(&self, example: &Self::Example, prediction: &Self::Prediction) -> Answer;
    /// An answer with all that a score is counted from, for files of predictions: the words and their tags, the gold answer
    /// where there is one, the example's `id` where its file has one.
    fn record(&self, example: &Self::Example, prediction: &Self::Prediction) -> Value {
        self.answer(example, prediction).json()
    }
    /// A request like one of these examples, for people to try a model on: a short one that has something to find. It is
    /// shown, saved with the model and pasted into shells, so it must be a line of text ([`is_short_line`] tells).
    fn example(&self, _examples: &[Self::Example]) -> Option<Value> {
        None
    }
    /// The gold answer to an example that has one, of the shape of its answers: reports draw it beside the predicted one.
    fn gold_answer(&self, _example: &Self::Example) -> Option<Answer> {
        None
    }
    /// What was asked, on one line for people.
    fn asked(&self, example: &Self::Example) -> String;

    // Serving

    /// The shape of its answers: whoever shows them knows the shape and not the task.
    const SHAPE: Shape;
    /// The same, where its configuration decides it.
    fn shape(&self) -> Shape {
        Self::SHAPE
    }
    /// The fields of a request, all of them texts. `offset_unit`, `tasks` and `id` are taken already.
    const FIELDS: &'static [Field] = &[Field::new("text", "The text.", "Ada Lovelace was born in London.")];
    /// The fields of its requests, where its configuration decides them.
    fn fields(&self) -> &'static [Field] {
        Self::FIELDS
    }
    /// Refuses a request that `features` would have to cut, or that asks nothing. Evaluation takes such examples, as the
    /// reference implementations do, and [`Checks::review`] says what is not read of them.
    fn validate(&self, _example: &Self::Example, _tokenizer: &Tokenizer) -> Result<()> {
        Ok(())
    }
}

/// Whether a text can be shown as an example: a line without control characters, not long, and nothing that a command
/// line would take for a flag.
pub fn is_short_line(text: &str, most: usize) -> bool {
    !text.trim().is_empty()
        && !text.starts_with('-')
        && text.chars().count() <= most
        && !text.chars().any(char::is_control)
}

/// A digest of what decides the training windows of an example: equal fingerprints, equal windows (of one
/// configuration and one tokenizer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of the content that `features` reads. Whoever changes what `features` makes of the same content raises
    /// `version`, or runs go on with the windows of before.
    pub fn of(version: u32, content: &impl Serialize) -> Option<Self> {
        // JSON, because it marks where one part ends and the next begins. What has no JSON form is not kept.
        let bytes = serde_json::to_vec(&(version, content)).ok()?;
        Some(Self(Sha256::digest(bytes).into()))
    }
}

/// A window with what the head made of it.
#[derive(Debug, Clone)]
pub struct Window {
    /// The window.
    pub features: Features,
    /// Its logits.
    pub logits: Logits,
}

impl Window {
    /// The same with every logit divided by a temperature.
    #[must_use]
    pub fn divided_by(&self, temperature: f64) -> Self {
        let values = self.logits.values.iter().map(|logit| (f64::from(*logit) / temperature) as f32);
        Self { features: self.features.clone(), logits: Logits::new(values.collect(), self.logits.outputs) }
    }
}

/// The logits of one window: `[rows, outputs]` on the host, in the order of its tokens, ranges or pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    outputs: usize,
}

impl Logits {
    /// Of these values, row by row.
    pub fn new(values: Vec<f32>, outputs: usize) -> Self {
        Self { values, outputs: outputs.max(1) }
    }

    /// The rows of several windows, one after the other.
    pub fn joined(windows: &[Self]) -> Self {
        let outputs = windows.first().map_or(0, |window| window.outputs);
        Self::new(windows.iter().flat_map(|window| &window.values).copied().collect(), outputs)
    }

    /// The numbers of a row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// All rows, one after the other.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows, in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.outputs)
    }

    /// One row; empty beyond the end.
    pub fn row(&self, row: usize) -> &[f32] {
        self.values.get(row * self.outputs..(row + 1) * self.outputs).unwrap_or(&[])
    }

    /// Splits what a head made of a batch into the logits of its windows, without those of padding.
    pub fn split(output: &Output) -> Result<Vec<Self>> {
        let (rows, outputs) = output.logits.dims2()?;
        if rows != output.segments.rows() {
            return Err(Error::internal(format!("{rows} rows of logits, expected {}", output.segments.rows())));
        }
        let values = output.logits.flatten_all()?.to_vec1::<f32>()?;
        let part = |start: usize, count: usize| values.get(start * outputs..(start + count) * outputs).unwrap_or(&[]);
        let of = |segment: Segment| Self::new(part(segment.start, segment.tokens).to_vec(), outputs);
        Ok(output.segments.iter().map(of).collect())
    }
}

/// The cross-entropy of logits with one of them as the target, in nats; `None` where there is no such one.
pub fn cross_entropy(logits: impl Iterator<Item = f32> + Clone, target: i64) -> Option<f64> {
    let of_target = f64::from(logits.clone().nth(usize::try_from(target).ok()?)?);
    let max = logits.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.map(|z| f64::from(z - max).exp()).sum();
    Some(f64::from(max) + sum.ln() - of_target)
}

/// The losses of windows with one row of logits and one class: their sum, and how many they are.
fn class_losses(windows: &[Window]) -> (f64, usize) {
    let of = |window: &Window| {
        cross_entropy(window.logits.row(0).iter().copied(), *window.features.targets.classes().first()?)
    };
    windows.iter().filter_map(of).fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1))
}

/// The most probable label, the first of equals, with its probability.
fn top(probabilities: &[f64]) -> Option<(usize, f64)> {
    let top = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    top.map(|(label, &score)| (label, score))
}

/// `softmax` of a row of logits, in f64.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&z| f64::from(z - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// What a task is as a single-task model of transformers, its tensors aside.
#[derive(Debug, Clone)]
pub struct SingleTask {
    /// The architecture without the encoder's name: `ForTokenClassification`.
    pub architecture: &'static str,
    /// The pipeline that serves it: `token-classification`.
    pub pipeline: &'static str,
    /// What its ONNX files call its logits: one name, or one for each column.
    pub outputs: &'static [&'static str],
    /// Fields for `config.json`.
    pub config: serde_json::Map<String, Value>,
}

/// What a folder of a single task says of itself.
#[derive(Debug, Clone)]
pub struct SingleTaskFolder {
    /// The first entry of `architectures`: `BertForTokenClassification`.
    pub architecture: String,
    /// The whole of `config.json`.
    pub config: Value,
}

impl SingleTaskFolder {
    /// The longest sequence that its encoder takes, if it says so.
    pub fn max_tokens(&self) -> Option<usize> {
        self.encoder().ok()?.max_tokens(&self.config)
    }

    /// The architecture of its encoder.
    pub fn encoder(&self) -> Result<&'static EncoderKind> {
        EncoderKind::of(Path::new("config.json"), &self.config)
    }

    /// The labels of its head, in order. Without `id2label` they are `LABEL_0`, `LABEL_1` and so on, as transformers names
    /// them: `num_labels` of them, else as many as the head has outputs, else two.
    ///
    /// # Errors
    /// `id2label` is no object, names no label, leaves one out, or does not name as many as the head has outputs.
    pub fn labels(&self, outputs: Option<usize>) -> Result<Vec<String>> {
        let fault = |field: &str, expected: String, found: String| {
            Error::data(format!("`{field}`: expected {expected}, found {found}"))
                .hint("config.json must name every output of the head, in the order in which it was trained")
        };
        let id2label = match self.config.get("id2label") {
            None | Some(Value::Null) => {
                let count = match self.config.get("num_labels") {
                    None | Some(Value::Null) => outputs.unwrap_or(2),
                    Some(count) => {
                        let number = count.as_u64().and_then(|count| usize::try_from(count).ok());
                        // The head decides in the end; more can't be meant.
                        let number = number.filter(|count| (1..=1_000_000).contains(count));
                        number.ok_or_else(|| fault("num_labels", "a number of labels".into(), count.to_string()))?
                    }
                };
                return Ok((0..count).map(|id| format!("LABEL_{id}")).collect());
            }
            Some(Value::Object(id2label)) => id2label,
            Some(other) => {
                return Err(fault("id2label", "an object of numbers and label names".into(), other.to_string()));
            }
        };
        let mut labels = BTreeMap::new();
        for (id, label) in id2label {
            let number: usize = id
                .parse()
                .map_err(|_| fault("id2label", "an object of numbers and label names".into(), format!("`{id}`")))?;
            let label = match label {
                Value::String(label) => label.clone(),
                Value::Number(_) | Value::Bool(_) => label.to_string(),
                other => return Err(fault("id2label", format!("the name of label {id}"), other.to_string())),
            };
            labels.insert(number, label);
        }
        let count = labels.len();
        if let Some((missing, _)) = (0..count).zip(labels.keys()).find(|(expected, found)| expected != *found) {
            let ids: Vec<String> = labels.keys().take(12).map(usize::to_string).collect();
            let expected = format!("the ids 0 to {}", count - 1);
            return Err(fault("id2label", expected, format!("none for {missing}: it has {}", ids.join(", "))));
        }
        if outputs.is_some_and(|outputs| outputs != count) || count == 0 {
            let outputs = outputs.map_or("some".to_owned(), |outputs| outputs.to_string());
            return Err(fault(
                "id2label",
                format!("{outputs} labels, one for each output of the head"),
                count.to_string(),
            ));
        }
        Ok(labels.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::document::{Block, Mark, Piece, Tone};
    use serde_json::json;

    #[test]
    fn a_task_without_an_analysis_of_its_own_shows_the_examples_that_score_lowest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.conll");
        std::fs::write(&path, "Ada B-PER\nleft O\n\nParis B-PER\n\n").unwrap();
        let task = ner::Ner::open(json!({ "labels": ["O", "B-PER", "I-PER"] })).unwrap();
        let examples = task.read(&path, None, &Layout::default()).unwrap().examples;
        // No window, no entity.
        let predictions: Vec<_> = examples.iter().map(|example| (example, task.decode(example, &[]))).collect();
        let blocks = lowest::lowest(&task, &predictions);
        let Some(Block::Cases(cases)) = blocks.last() else { unreachable!("{blocks:?}") };
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].verdict.as_str(), cases[0].tone), ("micro F1 0.00", Tone::Bad));
        let missed = Piece { text: "Ada".into(), mark: Mark::Gold, label: "PER".into() };
        assert!(cases[0].place.ends_with("two.conll:1"), "{cases:?}");
        assert_eq!(cases[0].text, [missed, Piece::plain(" left")]);
        assert_eq!(cases[0].facts, [("missed".to_owned(), "Ada (PER)".to_owned())]);
        assert_eq!(lowest::lowest(&task, &[]), [Block::text("Every example is answered rightly.")]);
    }
}
