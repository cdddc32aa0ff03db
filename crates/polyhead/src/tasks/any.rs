//! Tasks behind one object-safe face, so that a trainer can hold several kinds; and the one loop that runs examples
//! through a model: in order, in batches, in constant memory.

use super::answer::Span;
use super::lowest::lowest;
use super::reliability::reliability;
use super::{
    ClassSampling, Field, Fingerprint, HeadShape, Logits, Outline, PipelineApi, Purpose, Query, Review, Score, Shape,
    SingleTask, SingleTaskFolder, Task, Window, held_out, pairs_query,
};
use crate::batch::{Features, Targets, WindowedExample};
use crate::data::{FileFormats, Layout, Skipped};
use crate::document::{Block, number};
use crate::encoders::{EncoderKind, Reads};
use crate::error::{Error, Place, Result};
use crate::metrics::calibration::Calibration;
use crate::parameters::{HeadTensor, Weights};
use crate::text::Tokenizer;
use crate::text::offsets::OffsetUnit;
use candle_core::Tensor;
use polyhead_kernels::rng::Key;
use polyhead_kernels::{self as kernels, Ops, Segments};
use serde_json::Value;
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// Windows are run together until they hold about this many tokens.
const TOKENS: usize = 4096;

/// Examples of some task.
pub struct Examples {
    items: Box<dyn Any + Send + Sync>,
    /// How many there are.
    pub len: usize,
    /// Those that had to be left out.
    pub skipped: Vec<Skipped>,
    /// What was changed while reading.
    pub notes: Vec<String>,
}

/// What becomes of examples with gold answers: their score, and what a report says of the answers.
pub struct Analysis {
    /// The score.
    pub score: Score,
    /// What there is to say beyond it.
    pub blocks: Vec<Block>,
}

/// The examples that were trained on, read when they are asked for; or why they can't be read.
pub type TrainingExamples<'a> = &'a dyn Fn() -> Result<Examples, String>;

/// What runs windows through a model.
pub struct LogitsFn<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The logits of each window.
    pub logits: &'a dyn Fn(&[&Features]) -> Result<Vec<Logits>>,
}

/// The logits of each window, in batches of a bounded number of tokens: one very long example is run in parts.
pub(crate) fn logits_of(windows: &[&Features], runner: &LogitsFn) -> Result<Vec<Logits>> {
    let mut logits = Vec::with_capacity(windows.len());
    let mut start = 0;
    while start < windows.len() {
        let (mut end, mut tokens) = (start, 0);
        while end < windows.len() && (end == start || tokens + windows[end].ids.len() <= TOKENS) {
            tokens += windows[end].ids.len();
            end += 1;
        }
        logits.extend((runner.logits)(&windows[start..end])?);
        start = end;
    }
    Ok(logits)
}

/// Requests with what is to be returned beside each answer.
pub type Requests<'a> = &'a mut dyn Iterator<Item = Result<(Value, Place)>>;

/// A [`Task`] of any kind, with its head once it is bound to a model.
#[allow(missing_docs)] // Each method is the task's method of the same name.
pub trait AnyTask: Send + Sync {
    fn kind(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn config(&self) -> Value;
    fn max_length(&self) -> usize;
    fn labels(&self) -> &[String];
    /// The name of the value that decides which epoch is best: see [`Score::headline`].
    fn headline(&self) -> String;
    /// The formats of its data files.
    fn formats(&self) -> &'static dyn FileFormats;
    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Examples>;
    /// Reads files in order, as one list of examples; returns how many of them each file gave. A limit takes the first of all: files
    /// beyond it are not read.
    fn read_all(&self, files: &[PathBuf], limit: Option<usize>, layout: &Layout) -> Result<(Examples, Vec<usize>)> {
        let mut counts = Vec::with_capacity(files.len());
        let mut all: Option<Examples> = None;
        for file in files {
            let left = limit.map(|limit| limit - all.as_ref().map_or(0, |all| all.len));
            if left == Some(0) {
                break;
            }
            let mut read = self.read(file, left, layout)?;
            counts.push(read.len);
            if files.len() > 1 {
                read.notes.iter_mut().for_each(|note| *note = format!("{}: {note}", file.display()));
            }
            match &mut all {
                Some(all) => self.append(all, read)?,
                None => all = Some(read),
            }
        }
        Ok((all.ok_or_else(|| Error::usage("expected a file of data, found none"))?, counts))
    }
    /// Adds the examples of a further file.
    fn append(&self, examples: &mut Examples, more: Examples) -> Result<()>;
    /// What each example stays together with when some are held out, see [`Outline::group`].
    fn groups(&self, examples: &Examples) -> Result<Vec<String>>;
    /// Takes about this share of the examples out, with all of the same text or group, see [`Outline::group`]: what stays, and what is
    /// held out. What had to be left out of the file, and the notes, stay with the first.
    fn hold_out(&self, examples: Examples, share: f64, key: Key) -> Result<(Examples, Examples)>;
    fn prepare(&mut self, train: &Examples) -> Result<()>;
    fn check(&self, examples: &Examples) -> Result<()>;
    fn learnable(&self, train: &Examples) -> Result<()>;
    fn outline<'a>(&self, examples: &'a Examples, index: usize) -> Result<Outline<'a>>;
    fn place<'a>(&self, examples: &'a Examples, index: usize) -> Result<&'a Place>;
    fn distribution(&self, examples: &Examples) -> Result<Vec<(String, usize)>>;
    /// Asks the tokenizer what it makes nothing of. For training, examples without a token are left out of `examples`; they
    /// are scored as they are. Returns what there is to say, which `examples` holds from then on.
    fn review(&self, examples: &mut Examples, tokenizer: &Tokenizer, purpose: Purpose) -> Result<Vec<String>>;
    fn features(
        &self,
        examples: &Examples,
        index: usize,
        tokenizer: &Tokenizer,
        purpose: Purpose,
    ) -> Result<WindowedExample>;
    fn fingerprint(&self, examples: &Examples, index: usize) -> Result<Option<Fingerprint>>;
    fn example(&self, examples: &Examples) -> Result<Option<Value>>;
    /// The names of the tensors of its head, in order.
    fn tensors(&self, name: &str) -> Result<Vec<HeadTensor>>;
    /// Makes the head, with the checkpoint's tensors where it has them.
    fn bind(&mut self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<()>;
    fn reads(&self) -> Reads;
    fn logits(&self, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value>;
    fn class_sampling(&self) -> Option<ClassSampling>;
    fn target_count(&self, targets: &Targets) -> f64;
    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor>;
    /// Scores the examples; `each` sees the answers and their one-line descriptions in order.
    fn evaluate(&self, examples: &Examples, runner: &LogitsFn, each: &mut dyn FnMut(Value, String)) -> Result<Score>;
    /// The same, and the scores on other samples of the examples, each as their indices. All answers are held at once.
    fn evaluate_samples(
        &self,
        examples: &Examples,
        runner: &LogitsFn,
        samples: &[Vec<usize>],
        each: &mut dyn FnMut(Value, String),
    ) -> Result<(Score, Vec<Score>)>;
    /// The same as `evaluate` of validation data while training: what the task leaves to them ([`super::Tune`]) is chosen first, from the same
    /// predictions, and comes back. Then all predictions are held at once, else it is `evaluate`.
    fn tune(
        &self,
        examples: &Examples,
        runner: &LogitsFn,
        each: &mut dyn FnMut(Value, String),
    ) -> Result<(Score, Option<Value>)>;
    /// The temperature that fits these examples best, see [`super::Calibrate`]; `None` where the task says nothing of its answers.
    fn calibrate(&self, examples: &Examples, runner: &LogitsFn) -> Result<Option<Calibration>>;
    /// From now on its logits are divided by what calibration found, and answers are given from the score on that it found; or none of both.
    fn set_calibration(&mut self, calibration: Option<&Calibration>);
    /// The precision that the answers it gives are to have on held-back examples, see [`super::MinScore`].
    fn wanted_precision(&self) -> Option<f64>;
    /// The tensors of its head in which its logits are linear.
    fn output_tensors(&self, name: &str) -> Vec<String>;
    /// Takes over what was chosen, unless its configuration leaves nothing to choose any more.
    fn adopt(&mut self, choice: &Value) -> Result<()>;
    /// Scores the examples and says where their answers go wrong. All answers are held at once, unlike in `evaluate`. A task
    /// that compares with the training examples asks for them.
    fn analyse(&self, examples: &Examples, train: TrainingExamples, runner: &LogitsFn) -> Result<Analysis>;
    /// Answers requests in order; `id` of a request comes back with its answer.
    fn predict(&self, requests: Requests, runner: &LogitsFn, each: &mut dyn FnMut(Value) -> Result<()>) -> Result<()>;
    /// The same with each answer as [`Task::record`] has it.
    fn records(&self, requests: Requests, runner: &LogitsFn, each: &mut dyn FnMut(Value) -> Result<()>) -> Result<()>;
    fn fields(&self) -> &'static [Field];
    fn shape(&self) -> Shape;
    fn pipeline(&self) -> Option<PipelineApi>;
    fn accepts(&self, input: &Value) -> bool;
    /// One of the `inputs` of a request in the form of [`super::Pipeline`].
    fn pipeline_query(
        &self,
        input: &Value,
        parameters: &serde_json::Map<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Query>;
    /// A request as `predict` takes it, to be run with others.
    fn query(&self, request: &Value, tokenizer: &Tokenizer) -> Result<Query>;
    /// Whether its spans are mentions of things, between which there may be relations.
    fn mentions(&self) -> bool;
    /// The query about every pair of these parts of a text, for a task that relates parts: one answer of all, see [`super::Pairs`]. It has no
    /// windows where there is no pair.
    fn pairs(&self, text: &str, spans: &[Span], unit: OffsetUnit, tokenizer: &Tokenizer) -> Option<Result<Query>>;
    /// Whether it relates parts of a text.
    fn takes_pairs(&self) -> bool;
    fn single(&self, encoder: &EncoderKind) -> Option<SingleTask>;
    /// The head's tensors as that model names them; none where there is no such model.
    ///
    /// # Errors
    /// That model has another head.
    fn export(&self, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>>;
}

pub(super) struct Bound<T: Task> {
    /// Queries hold it too: they are answered after the model may have been replaced.
    pub(super) task: Arc<T>,
    head: Option<T::Head>,
}

pub(super) fn open<T: Task>(config: Value) -> Result<Box<dyn AnyTask>> {
    Ok(Box::new(Bound { task: Arc::new(T::open(config)?), head: None }))
}

pub(super) fn import<T: Task>(folder: &SingleTaskFolder, weights: &mut Weights) -> Option<Result<Box<dyn AnyTask>>> {
    let task = (T::FACES.exchange?.import)(folder, weights)?;
    Some(task.map(|task| Box::new(Bound { task: Arc::new(task), head: None }) as Box<dyn AnyTask>))
}

impl<T: Task> Bound<T> {
    pub(super) fn items<'a>(&self, examples: &'a Examples) -> Result<&'a [T::Example]> {
        examples.items.downcast_ref::<Vec<T::Example>>().map(Vec::as_slice).ok_or_else(Self::of_another)
    }

    fn taken(items: Box<dyn Any + Send + Sync>) -> Result<Vec<T::Example>> {
        items.downcast::<Vec<T::Example>>().map(|items| *items).map_err(|_| Self::of_another())
    }

    fn of_another() -> Error {
        Error::internal(format!("examples of another task given to {}", T::KIND))
    }

    /// What an example stands together with. A task that says nothing of its examples: with nothing but what stands at its place.
    fn group_of(&self, example: &T::Example) -> String {
        let outline = T::FACES.checks.map(|checks| (checks.outline)(&self.task, example));
        match outline.map(|outline| outline.group.unwrap_or(outline.text)) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => self.task.place(example).to_string(),
        }
    }

    fn head(&self) -> Result<&T::Head> {
        self.head.as_ref().ok_or_else(|| Error::internal(format!("the head of {} is not bound to a model", T::KIND)))
    }

    /// Runs a pack through the model; `each` sees every example with its prediction, in order.
    fn flush<X: std::borrow::Borrow<T::Example>>(
        &self,
        pack: Pack<X>,
        runner: &LogitsFn,
        each: Each<X, T::Prediction>,
    ) -> Result<()> {
        let all: Vec<&Features> = pack.iter().flat_map(|(_, windows)| windows).collect();
        let mut logits = logits_of(&all, runner)?.into_iter();
        for (example, windows) in pack {
            let windows: Vec<Window> = windows
                .into_iter()
                .zip(logits.by_ref())
                .map(|(features, logits)| Window { features, logits })
                .collect();
            let prediction = self.task.decode(example.borrow(), &windows);
            each(example, prediction, &windows)?;
        }
        Ok(())
    }
}

impl<T: Task> Bound<T> {
    /// Predicts examples that have gold answers; `each` sees them in order.
    pub(super) fn each_prediction<'a>(
        &self,
        items: &'a [T::Example],
        runner: &LogitsFn,
        each: Each<&'a T::Example, T::Prediction>,
    ) -> Result<()> {
        self.task.check(items)?;
        let tokenizer = runner.tokenizer;
        let encoded = items.iter().map(|example| {
            let encoded = self.task.features(example, tokenizer, Purpose::Predict)?;
            Ok((example, encoded.windows))
        });
        // While the model runs one pack, another thread makes the next. It hands it over only when it is asked for, so
        // there are never more than two.
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(0);
            // Sending fails once this side has stopped listening: then there is nothing left to do.
            scope.spawn(move || packs(encoded).try_for_each(|pack| sender.send(pack)));
            for (pack, end) in receiver {
                self.flush(pack, runner, each)?;
                end?;
            }
            Ok(())
        })
    }
}

impl<T: Task> Bound<T> {
    /// All predictions of examples that have gold answers, and what they add up to.
    fn predictions<'a>(
        &self,
        examples: &'a Examples,
        runner: &LogitsFn,
    ) -> Result<(Tally<'_, T>, Vec<Predicted<'a, T>>)> {
        let mut tally = Tally::new(&*self.task);
        let mut predictions = Vec::with_capacity(examples.len);
        self.each_prediction(self.items(examples)?, runner, &mut |example, prediction, windows| {
            tally.add(example, &prediction, windows);
            predictions.push((example, prediction));
            Ok(())
        })?;
        Ok((tally, predictions))
    }
}

/// An example with its prediction.
type Predicted<'a, T> = (&'a <T as Task>::Example, <T as Task>::Prediction);

/// Tells an answer with its gold one, and both in a line.
fn told<T: Task>(task: &T, example: &T::Example, prediction: &T::Prediction, each: &mut dyn FnMut(Value, String)) {
    let mut answer = task.record(example, prediction);
    if let Value::Object(fields) = &mut answer {
        let place = Value::String(task.place(example).to_string());
        // Not every file gives its examples identifiers.
        let id = fields.shift_remove("id").unwrap_or_else(|| place.clone());
        fields.shift_insert(0, "id".into(), id);
        fields.shift_insert(1, "place".into(), place);
    }
    let line = task.answer(example, prediction).line();
    each(answer, format!("{}\n  -> {line}", task.asked(example)));
}

/// Sees each example with its prediction and the windows that it was made of.
type Each<'a, X, P> = &'a mut dyn FnMut(X, P, &[Window]) -> Result<()>;

impl<T: Task> Bound<T> {
    /// Answers requests in order; `id` of a request comes back with its answer.
    fn each_request(
        &self,
        requests: Requests,
        runner: &LogitsFn,
        answer: &dyn Fn(&T::Example, &T::Prediction) -> Value,
        each: &mut dyn FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        let encoded = requests.map(|request| {
            let (request, place) = request?;
            let example = self.task.request(&request, place)?;
            self.task.validate(&example, runner.tokenizer)?;
            let encoded = self.task.features(&example, runner.tokenizer, Purpose::Predict)?;
            Ok((Request { example, id: request.get("id").cloned() }, encoded.windows))
        });
        let mut answered = |request: Request<T::Example>, prediction, _: &[Window]| {
            let mut answer = answer(&request.example, &prediction);
            if let (Some(id), Value::Object(fields)) = (request.id, &mut answer) {
                fields.shift_insert(0, "id".into(), id);
            }
            each(answer)
        };
        // Nothing is asked for ahead: whoever sends requests may wait for answers before sending more.
        for (pack, end) in packs(encoded) {
            self.flush(pack, runner, &mut answered)?;
            end?;
        }
        Ok(())
    }
}

/// What an evaluation adds up.
struct Tally<'a, T: Task> {
    task: &'a T,
    counts: T::Counts,
    /// The sum of the losses, and how many they are.
    loss: (f64, usize),
}

impl<'a, T: Task> Tally<'a, T> {
    fn new(task: &'a T) -> Self {
        Self { task, counts: task.counts(), loss: (0.0, 0) }
    }

    fn add(&mut self, example: &T::Example, prediction: &T::Prediction, windows: &[Window]) {
        self.task.count(example, prediction, &mut self.counts);
        let (sum, count) = self.task.losses(example, windows).unwrap_or_default();
        self.loss = (self.loss.0 + sum, self.loss.1 + count);
    }

    fn score(&self) -> Score {
        let mut score = self.task.score(&self.counts);
        let (sum, count) = self.loss;
        if count > 0 {
            score.values.insert("loss".into(), (sum / count as f64).into());
        }
        score
    }
}

/// Examples with their windows, to be run together.
type Pack<X> = Vec<(X, Vec<Features>)>;

/// Brings examples together, in order, until they hold about [`TOKENS`]. A failure of the source ends it and comes with
/// the last pack: what came before it is answered first.
fn packs<X>(
    mut source: impl Iterator<Item = Result<(X, Vec<Features>)>>,
) -> impl Iterator<Item = (Pack<X>, Result<()>)> {
    let mut open = true;
    std::iter::from_fn(move || {
        if !open {
            return None;
        }
        let (mut pack, mut tokens, mut end) = (Vec::new(), 0, Ok(()));
        while open && tokens < TOKENS {
            match source.next() {
                Some(Ok((example, windows))) => {
                    tokens += windows.iter().map(|window| window.ids.len()).sum::<usize>();
                    pack.push((example, windows));
                }
                Some(Err(error)) => (open, end) = (false, Err(error)),
                None => open = false,
            }
        }
        Some((pack, end))
    })
}

/// A request's example with its identifier.
struct Request<E> {
    example: E,
    id: Option<Value>,
}

impl<E> std::borrow::Borrow<E> for Request<E> {
    fn borrow(&self) -> &E {
        &self.example
    }
}

impl<T: Task> AnyTask for Bound<T> {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn about(&self) -> &'static str {
        T::ABOUT
    }

    fn config(&self) -> Value {
        self.task.config()
    }

    fn max_length(&self) -> usize {
        self.task.max_length()
    }

    fn labels(&self) -> &[String] {
        self.task.labels()
    }

    fn headline(&self) -> String {
        self.task.score(&self.task.counts()).headline.into_owned()
    }

    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Examples> {
        let read = self.task.read(path, limit, layout)?;
        Ok(Examples {
            len: read.examples.len(),
            items: Box::new(read.examples),
            skipped: read.skipped,
            notes: read.notes,
        })
    }

    fn formats(&self) -> &'static dyn FileFormats {
        T::FORMATS
    }

    fn append(&self, examples: &mut Examples, more: Examples) -> Result<()> {
        let Examples { items, skipped, notes, .. } = more;
        let mut items = Self::taken(items)?;
        let all = examples.items.downcast_mut::<Vec<T::Example>>().ok_or_else(Self::of_another)?;
        all.append(&mut items);
        examples.len = all.len();
        examples.skipped.extend(skipped);
        examples.notes.extend(notes);
        Ok(())
    }

    fn groups(&self, examples: &Examples) -> Result<Vec<String>> {
        Ok(self.items(examples)?.iter().map(|example| self.group_of(example)).collect())
    }

    fn hold_out(&self, examples: Examples, share: f64, key: Key) -> Result<(Examples, Examples)> {
        let items = Self::taken(examples.items)?;
        let groups: Vec<String> = items.iter().map(|example| self.group_of(example)).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let held = held_out(&groups, share, key)?;
        let (mut stay, mut out) = (Vec::new(), Vec::new());
        for (example, held) in items.into_iter().zip(held) {
            if held { out.push(example) } else { stay.push(example) }
        }
        let of = |items: Vec<T::Example>, skipped, notes| Examples {
            len: items.len(),
            items: Box::new(items),
            skipped,
            notes,
        };
        Ok((of(stay, examples.skipped, examples.notes), of(out, Vec::new(), Vec::new())))
    }

    fn prepare(&mut self, train: &Examples) -> Result<()> {
        // Borrowed apart, because the task changes.
        let items = train.items.downcast_ref::<Vec<T::Example>>().ok_or_else(Self::of_another)?;
        let task = Arc::get_mut(&mut self.task);
        task.ok_or_else(|| Error::internal("a task that answers already can't learn"))?.prepare(items)
    }

    fn check(&self, examples: &Examples) -> Result<()> {
        self.task.check(self.items(examples)?)
    }

    fn learnable(&self, train: &Examples) -> Result<()> {
        let items = self.items(train)?;
        T::FACES.checks.map_or(Ok(()), |checks| (checks.learnable)(&self.task, items))
    }

    fn outline<'a>(&self, examples: &'a Examples, index: usize) -> Result<Outline<'a>> {
        let example = self.items(examples)?.get(index);
        let example = example.ok_or_else(|| Error::internal("an example beyond the end"))?;
        Ok(T::FACES.checks.map_or_else(Outline::default, |checks| (checks.outline)(&self.task, example)))
    }

    fn place<'a>(&self, examples: &'a Examples, index: usize) -> Result<&'a Place> {
        let example = self.items(examples)?.get(index);
        example.map(|example| self.task.place(example)).ok_or_else(|| Error::internal("an example beyond the end"))
    }

    fn distribution(&self, examples: &Examples) -> Result<Vec<(String, usize)>> {
        Ok(self.task.distribution(self.items(examples)?))
    }

    fn review(&self, examples: &mut Examples, tokenizer: &Tokenizer, purpose: Purpose) -> Result<Vec<String>> {
        let items = examples.items.downcast_mut::<Vec<T::Example>>();
        let items = items.ok_or_else(|| Error::internal(format!("examples of another task given to {}", T::KIND)))?;
        let Some(checks) = T::FACES.checks else { return Ok(Vec::new()) };
        let Review { mut notes, empty } = (checks.review)(&self.task, items, tokenizer)?;
        examples.notes.extend(notes.iter().cloned());
        let Some((_, first)) = empty.first() else { return Ok(notes) };
        let first = format!("the first: {}: {}", first.place, first.reason);
        if purpose == Purpose::Train {
            notes.push(format!("{} can't be used; {first}", number::counted(empty.len(), "example")));
            let mut index = 0;
            items.retain(|_| {
                index += 1;
                empty.binary_search_by_key(&(index - 1), |(index, _)| *index).is_err()
            });
            examples.len = items.len();
            examples.skipped.extend(empty.into_iter().map(|(_, skipped)| skipped));
        } else {
            let note = format!("nothing is predicted for {}; {first}", number::counted(empty.len(), "example"));
            examples.notes.push(note.clone());
            notes.push(note);
        }
        Ok(notes)
    }

    fn features(
        &self,
        examples: &Examples,
        index: usize,
        tokenizer: &Tokenizer,
        purpose: Purpose,
    ) -> Result<WindowedExample> {
        let example = self.items(examples)?.get(index).ok_or_else(|| Error::internal("an example beyond the end"))?;
        let place = || self.task.place(example).clone();
        self.task.features(example, tokenizer, purpose).map_err(|error| error.at_least(place()))
    }

    fn fingerprint(&self, examples: &Examples, index: usize) -> Result<Option<Fingerprint>> {
        let example = self.items(examples)?.get(index).ok_or_else(|| Error::internal("an example beyond the end"))?;
        Ok(self.task.fingerprint(example))
    }

    fn example(&self, examples: &Examples) -> Result<Option<Value>> {
        Ok(self.task.example(self.items(examples)?))
    }

    fn tensors(&self, name: &str) -> Result<Vec<HeadTensor>> {
        let mut weights = Weights::shapes_only();
        self.task.head(name, HeadShape { hidden: 1 }, &mut weights)?;
        Ok(weights.into_head_tensors())
    }

    fn bind(&mut self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<()> {
        self.head = Some(self.task.head(name, shape, weights)?);
        Ok(())
    }

    fn reads(&self) -> Reads {
        self.task.reads()
    }

    fn logits(&self, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        self.task.logits(self.head()?, hidden, ops)
    }

    fn class_sampling(&self) -> Option<ClassSampling> {
        self.task.class_sampling()
    }

    fn target_count(&self, targets: &Targets) -> f64 {
        self.task.target_count(targets)
    }

    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        self.task.loss(logits, segments, targets, count)
    }

    fn evaluate(&self, examples: &Examples, runner: &LogitsFn, each: &mut dyn FnMut(Value, String)) -> Result<Score> {
        let mut tally = Tally::new(&*self.task);
        self.each_prediction(self.items(examples)?, runner, &mut |example, prediction, windows| {
            tally.add(example, &prediction, windows);
            told(&*self.task, example, &prediction, each);
            Ok(())
        })?;
        Ok(tally.score())
    }

    fn evaluate_samples(
        &self,
        examples: &Examples,
        runner: &LogitsFn,
        samples: &[Vec<usize>],
        each: &mut dyn FnMut(Value, String),
    ) -> Result<(Score, Vec<Score>)> {
        let (tally, predictions) = self.predictions(examples, runner)?;
        predictions.iter().for_each(|(example, prediction)| told(&*self.task, example, prediction, each));
        let score_of = |sample: &Vec<usize>| {
            let mut counts = self.task.counts();
            for (example, prediction) in sample.iter().filter_map(|&index| predictions.get(index)) {
                self.task.count(example, prediction, &mut counts);
            }
            self.task.score(&counts)
        };
        Ok((tally.score(), samples.iter().map(score_of).collect()))
    }

    fn tune(
        &self,
        examples: &Examples,
        runner: &LogitsFn,
        each: &mut dyn FnMut(Value, String),
    ) -> Result<(Score, Option<Value>)> {
        let Some(tune) = T::FACES.tune.filter(|tune| (tune.is_tuned)(&self.task)) else {
            return Ok((self.evaluate(examples, runner, each)?, None));
        };
        let (tally, predictions) = self.predictions(examples, runner)?;
        let choice = (tune.choose)(&self.task, &tally.counts);
        let tuned = (tune.with_choice)(&self.task, &choice)?;
        predictions.iter().for_each(|(example, prediction)| told(&tuned, example, prediction, each));
        Ok((Tally { task: &tuned, ..tally }.score(), Some(choice)))
    }

    fn calibrate(&self, examples: &Examples, runner: &LogitsFn) -> Result<Option<Calibration>> {
        self.calibration(examples, runner)
    }

    fn set_calibration(&mut self, calibration: Option<&Calibration>) {
        self.calibrated(calibration);
    }

    fn wanted_precision(&self) -> Option<f64> {
        (T::FACES.calibrate?.min_score)(&self.task).precision()
    }

    fn output_tensors(&self, name: &str) -> Vec<String> {
        T::OUTPUT_LAYERS
            .iter()
            .flat_map(|layer| ["weight", "bias"].map(|part| format!("heads.{name}{layer}.{part}")))
            .collect()
    }

    fn adopt(&mut self, choice: &Value) -> Result<()> {
        if let Some(tune) = T::FACES.tune.filter(|tune| (tune.is_tuned)(&self.task)) {
            self.task = Arc::new((tune.with_choice)(&self.task, choice)?);
        }
        Ok(())
    }

    fn analyse(&self, examples: &Examples, train: TrainingExamples, runner: &LogitsFn) -> Result<Analysis> {
        let (tally, predictions) = self.predictions(examples, runner)?;
        let mut blocks = match T::FACES.analyse {
            Some(analyse) => analyse(&self.task, &predictions),
            None => lowest(&*self.task, &predictions),
        };
        if let Some(against_training) = T::FACES.against_training {
            match train() {
                Ok(train) => blocks.extend(against_training(&self.task, self.items(&train)?, &predictions)),
                Err(why) => blocks.push(Block::Missing(format!("A comparison with the training examples. {why}"))),
            }
        }
        if let Some(calibrate) = T::FACES.calibrate {
            let of = |(example, prediction): &Predicted<T>| (calibrate.confidences)(&self.task, example, prediction);
            blocks.extend(reliability(&predictions.iter().flat_map(of).collect::<Vec<_>>()));
        }
        Ok(Analysis { score: tally.score(), blocks })
    }

    fn predict(&self, requests: Requests, runner: &LogitsFn, each: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
        self.each_request(requests, runner, &|example, prediction| self.task.answer(example, prediction).json(), each)
    }

    fn records(&self, requests: Requests, runner: &LogitsFn, each: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
        self.each_request(requests, runner, &|example, prediction| self.task.record(example, prediction), each)
    }

    fn fields(&self) -> &'static [Field] {
        self.task.fields()
    }

    fn shape(&self) -> Shape {
        self.task.shape()
    }

    fn pipeline(&self) -> Option<PipelineApi> {
        T::FACES.pipeline.map(|pipeline| pipeline.api)
    }

    fn accepts(&self, input: &Value) -> bool {
        T::FACES.pipeline.is_some_and(|pipeline| (pipeline.accepts)(input))
    }

    fn pipeline_query(
        &self,
        input: &Value,
        parameters: &serde_json::Map<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Query> {
        let none = || Error::usage(format!("{} has no inference API of Hugging Face", T::KIND));
        (T::FACES.pipeline.ok_or_else(none)?.query)(&self.task, input, parameters, tokenizer)
    }

    fn query(&self, request: &Value, tokenizer: &Tokenizer) -> Result<Query> {
        let example = self.task.request(request, Place::file("request"))?;
        self.task.validate(&example, tokenizer)?;
        let encoded = self.task.features(&example, tokenizer, Purpose::Predict)?;
        let task = self.task.clone();
        Ok(Query::new(encoded.windows, move |windows| task.answer(&example, &task.decode(&example, windows)).json()))
    }

    fn mentions(&self) -> bool {
        T::FACES.mentions
    }

    fn pairs(&self, text: &str, spans: &[Span], unit: OffsetUnit, tokenizer: &Tokenizer) -> Option<Result<Query>> {
        let pair = T::FACES.pairs?;
        let request = |first: &Span, second: &Span| pair(text, first, second, unit);
        Some(pairs_query(&self.task, request, text, spans, tokenizer))
    }

    fn takes_pairs(&self) -> bool {
        T::FACES.pairs.is_some()
    }

    fn single(&self, encoder: &EncoderKind) -> Option<SingleTask> {
        T::FACES.exchange.map(|exchange| (exchange.single)(&self.task, encoder))
    }

    fn export(&self, encoder: &EncoderKind) -> Result<Vec<(String, Tensor)>> {
        T::FACES.exchange.map_or(Ok(Vec::new()), |exchange| (exchange.export)(&self.task, self.head()?, encoder))
    }
}
