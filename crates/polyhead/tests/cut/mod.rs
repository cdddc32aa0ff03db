//! Two faulty tasks: NER with a tensor that nothing computes with, and NER that cuts the gradient to the encoder.
//!
//! A missing backward in an operator looks exactly like this, and no loss shows it.

use candle_core::Tensor;
use polyhead::batch::Encoded;
use polyhead::data::Read;
use polyhead::encoders::{Hidden, Pass};
use polyhead::parameters::{Init, Weights};
use polyhead::tasks::ner::Ner;
use polyhead::tasks::{HeadShape, Purpose, Score, Task, Window};
use polyhead::text::Tokenizer;
use polyhead::{Place, Result};
use polyhead_kernels::Segments;
use serde_json::Value;
use std::path::Path;

/// Declares a tensor more than it uses.
pub type Unused = Cut<0>;

/// Computes with a copy of the hidden states that has no graph.
pub type Detached = Cut<1>;

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
            weights.get_or_init(&format!("heads.{name}.unused"), &[2, shape.hidden], Init::Uniform(0.1))?;
        }
        self.0.head(name, shape, weights)
    }
    fn logits(&self, head: &Self::Head, hidden: &Hidden, pass: Pass) -> Result<Tensor> {
        let states = if FAULT == 1 { hidden.states.detach() } else { hidden.states.clone() };
        self.0.logits(head, &Hidden { states, segments: hidden.segments.clone() }, pass)
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
    fn read(&self, path: &Path, limit: Option<usize>) -> Result<Read<Self::Example>> {
        self.0.read(path, limit)
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
    fn features(&self, example: &Self::Example, tokenizer: &Tokenizer, purpose: Purpose) -> Result<Encoded> {
        self.0.features(example, tokenizer, purpose)
    }
    fn decode(&self, example: &Self::Example, windows: &[Window]) -> Self::Prediction {
        self.0.decode(example, windows)
    }
    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&[i64]]) -> Result<Tensor> {
        self.0.loss(logits, segments, targets)
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
    fn answer(&self, example: &Self::Example, prediction: &Self::Prediction) -> Value {
        self.0.answer(example, prediction)
    }
    fn describe(&self, example: &Self::Example, prediction: &Self::Prediction) -> String {
        self.0.describe(example, prediction)
    }
}
