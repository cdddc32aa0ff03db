//! A request on its way through a model that others use at the same time.
//!
//! ```text
//! JSON -> Query { windows } -> (logits of each window, from whatever batches they went with) -> JSON
//! ```
//!
//! A query knows nothing of the model: whoever serves brings the windows of many queries together as it likes.

use super::{Logits, Window};
use crate::batch::Features;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// A request that was read: the windows of its text, and what becomes of their logits.
pub struct Query {
    /// The windows to run, at least one.
    pub windows: Vec<Features>,
    answer: Answer,
}

type Answer = Box<dyn FnOnce(&[Window]) -> Value + Send>;

impl Query {
    /// Of these windows; `answer` makes the JSON answer of them and their logits.
    pub fn new(windows: Vec<Features>, answer: impl FnOnce(&[Window]) -> Value + Send + 'static) -> Self {
        Self { windows, answer: Box::new(answer) }
    }

    /// Real tokens of all windows.
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(|window| window.ids.len()).sum()
    }

    /// The answer, from the logits of each window.
    pub fn answer(self, logits: Vec<Logits>) -> Value {
        let windows = self.windows.into_iter().zip(logits);
        let windows: Vec<Window> = windows.map(|(features, logits)| Window { features, logits }).collect();
        (self.answer)(&windows)
    }
}

/// An inference API of Hugging Face: its name and its forms. See [`super::Pipeline`].
#[derive(Clone, Copy)]
pub struct PipelineApi {
    /// Its name: `token-classification`.
    pub name: &'static str,
    /// The JSON schema of one of its inputs.
    pub input: fn(&mut SchemaGenerator) -> Schema,
    /// That of its parameters.
    pub parameters: fn(&mut SchemaGenerator) -> Schema,
    /// That of the answer to one input.
    pub output: fn(&mut SchemaGenerator) -> Schema,
    /// How the answer to an input stands that was sent alone and not in an array.
    pub alone: Alone,
}

/// How the answer to a single input stands. The answers to an array are an array in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// As it is.
    Bare,
    /// In an array, as that of one among several: clients of text classification take the first of an array.
    InList,
}
