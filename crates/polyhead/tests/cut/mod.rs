//! Faulty tasks: NER with a tensor that nothing computes with, NER that cuts the gradient to the encoder, NER that
//! can't make windows beyond some line of its file, NER with little or nothing to score, and NER that is stopped while it
//! answers.
//!
//! A missing backward in an operator looks exactly like the first two, and no loss shows it.

#![allow(dead_code, clippy::unwrap_used)]

use candle_core::Tensor;
use polyhead::batch::{Targets, WindowedExample};
use polyhead::data::{Layout, Read};
use polyhead::parameters::{Init, Role, Weights};
use polyhead::tasks::ner::Ner;
use polyhead::tasks::{Answer, HeadShape, Purpose, Score, Shape, Task, Window};
use polyhead::text::Tokenizer;
use polyhead::{Error, Place, Result};
use polyhead_kernels::cross_entropy::IGNORE;
use polyhead_kernels::{self as kernels, Ops, Segments};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Declares a tensor more than it uses.
pub type Unused = Cut<0>;

/// Computes with a copy of the hidden states that has no graph.
pub type Detached = Cut<1>;

/// Makes no windows of sentences beyond line [`LAST`]; for the first of them it needs longest to say so.
pub type Failing = Cut<2>;

/// Has nothing to score but in sentences from line [`SCORED`] on.
pub type Silent = Cut<3>;

/// Has nothing to score at all.
pub type Mute = Cut<4>;

/// Sets [`STOP`] when it has answered [`STOP_AFTER`] times.
pub type Stopping = Cut<5>;

/// The first line that [`Silent`] scores.
pub const SCORED: usize = 60;

/// Answers until [`Stopping`] sets the flag.
pub static STOP_AFTER: AtomicUsize = AtomicUsize::new(0);

/// What [`Stopping`] sets.
pub static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The last line that [`Failing`] makes windows of.
pub const LAST: usize = 5000;

/// How often [`Failing`] was asked for windows.
pub static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// The first sentence of a file that [`Failing`] makes no windows of: which it is, and where it stands.
pub fn first_failing(path: &Path) -> (usize, Place) {
    let sentences = polyhead::data::read_sentences(path, None, &Layout::default()).unwrap().examples;
    let mut places = sentences.into_iter().map(|sentence| sentence.place).enumerate();
    places.find(|(_, place)| line(place) > LAST).unwrap()
}

fn line(place: &Place) -> usize {
    place.to_string().rsplit(':').next().unwrap().parse().unwrap()
}

/// NER with a fault.
pub struct Cut<const FAULT: u8>(Ner);

impl<const FAULT: u8> Task for Cut<FAULT> {
    const KIND: &'static str = "cut";
    const ABOUT: &'static str = "named-entity recognition with a fault";
    type Example = <Ner as Task>::Example;
    type Prediction = <Ner as Task>::Prediction;
    type Counts = <Ner as Task>::Counts;
    type Head = <Ner as Task>::Head;

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Self::Head> {
        if FAULT == 0 {
            weights.get_or_init(
                &format!("heads.{name}.unused"),
                &[2, shape.hidden],
                Role::Weight,
                Init::Uniform(0.1),
            )?;
        }
        self.0.head(name, shape, weights)
    }
    fn logits(&self, head: &Self::Head, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let hidden = if FAULT == 1 { hidden.without_gradient() } else { hidden.clone() };
        self.0.logits(head, &hidden, ops)
    }

    // The rest is NER's.

    fn open(config: Value) -> Result<Self> {
        Ner::open(config).map(Self)
    }
    fn config(&self) -> Value {
        self.0.config()
    }
    fn max_length(&self) -> usize {
        self.0.max_length()
    }
    fn read(&self, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Self::Example>> {
        self.0.read(path, limit, layout)
    }
    fn prepare(&mut self, train: &[Self::Example]) -> Result<()> {
        self.0.prepare(train)
    }
    fn place<'a>(&self, example: &'a Self::Example) -> &'a Place {
        self.0.place(example)
    }
    fn distribution(&self, examples: &[Self::Example]) -> Vec<(String, usize)> {
        self.0.distribution(examples)
    }
    fn features(&self, example: &Self::Example, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        if FAULT == 2 {
            ENCODED.fetch_add(1, Ordering::SeqCst);
            let place = self.0.place(example);
            if line(place) > LAST {
                std::thread::sleep(Duration::from_millis(if line(place) < LAST + 10 { 200 } else { 0 }));
                return Err(Error::data("beyond the last line").at(place.clone()));
            }
        }
        let mut encoded = self.0.features(example, tokenizer, purpose)?;
        if FAULT == 4 || FAULT == 3 && line(self.0.place(example)) < SCORED {
            for window in &mut encoded.windows {
                window.targets = Targets::Classes(vec![IGNORE; window.targets.classes().len()]);
            }
        }
        Ok(encoded)
    }
    fn decode(&self, example: &Self::Example, windows: &[Window]) -> Self::Prediction {
        if FAULT == 5 && STOP_AFTER.fetch_sub(1, Ordering::SeqCst) == 1 {
            STOP.store(true, Ordering::SeqCst);
        }
        self.0.decode(example, windows)
    }
    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        self.0.loss(logits, segments, targets, count)
    }
    fn counts(&self) -> Self::Counts {
        self.0.counts()
    }
    fn count(&self, example: &Self::Example, prediction: &Self::Prediction, counts: &mut Self::Counts) {
        self.0.count(example, prediction, counts);
    }
    fn score(&self, counts: &Self::Counts) -> Score {
        self.0.score(counts)
    }
    fn request(&self, request: &Value, place: Place) -> Result<Self::Example> {
        self.0.request(request, place)
    }
    fn answer(&self, example: &Self::Example, prediction: &Self::Prediction) -> Answer {
        self.0.answer(example, prediction)
    }
    const SHAPE: Shape = <Ner as Task>::SHAPE;
    fn asked(&self, example: &Self::Example) -> String {
        self.0.asked(example)
    }
}
