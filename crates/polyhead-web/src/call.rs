//! Calls from JavaScript as bytes: a line of JSON and what it announces, answered by JSON.
//!
//! ```text
//! {"call": "open", "config": 812, "tokenizer": 466247} \n bytes of both   -> {"version", "tasks"}
//! {"call": "ask", "request": {...}} \n                                    -> {"runs"} or {"results", "tokens"}
//! {"call": "answer", "outputs": [[{"dims": [1, 12, 9]}]]} \n f32 of all   -> the same
//! a failure                                                               -> {"error", "code", "hint"}, as the server says it
//! ```

use crate::model::{Model, Output};
use polyhead::info::TaskInfo;
use polyhead::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "lowercase", deny_unknown_fields)]
enum Call {
    /// Bytes of the two files.
    Open {
        config: usize,
        tokenizer: usize,
    },
    Ask {
        request: Value,
    },
    Answer {
        outputs: Vec<Vec<Output>>,
    },
}

/// What is kept from call to call.
#[derive(Default)]
pub struct Host {
    model: Option<Model>,
}

impl Host {
    /// Answers a call.
    pub fn call(&mut self, bytes: &[u8]) -> Vec<u8> {
        let answer = self.answer(bytes).unwrap_or_else(|error| failure(&error));
        serde_json::to_vec(&answer).unwrap_or_default()
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Value> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (line, rest) = (bytes.get(..end).unwrap_or(bytes), bytes.get(end + 1..).unwrap_or_default());
        let call: Call = serde_json::from_slice(line)
            .map_err(|cause| Error::usage(format!("not a call of this version: {cause}")))?;
        let step = match call {
            Call::Open { config, tokenizer } => {
                let cut = |from: usize, length: usize| {
                    let part = from.checked_add(length).and_then(|end| rest.get(from..end));
                    part.ok_or_else(|| {
                        Error::usage(format!("expected {length} bytes from {from}, found {}", rest.len()))
                    })
                };
                let model = Model::from_bytes(cut(0, config)?, cut(config, tokenizer)?)?;
                let about = json!({ "version": env!("CARGO_PKG_VERSION"), "tasks": TaskInfo::all(model.tasks()) });
                self.model = Some(model);
                return Ok(about);
            }
            Call::Ask { request } => self.model()?.ask(request)?,
            Call::Answer { outputs } => self.model()?.answer(filled(outputs, rest)?)?,
        };
        serde_json::to_value(step).map_err(|cause| Error::internal(cause.to_string()))
    }

    fn model(&mut self) -> Result<&mut Model> {
        self.model.as_mut().ok_or_else(|| Error::usage("expected a model that was opened, found none"))
    }
}

/// Outputs with their numbers, which stand one after the other, little-endian.
fn filled(mut outputs: Vec<Vec<Output>>, bytes: &[u8]) -> Result<Vec<Vec<Output>>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|number| f32::from_le_bytes(*number));
    for output in outputs.iter_mut().flatten() {
        let count = output.dims.iter().try_fold(1_usize, |count, length| count.checked_mul(*length));
        output.values = numbers.by_ref().take(count.unwrap_or(usize::MAX)).collect();
        if Some(output.values.len()) != count {
            return Err(Error::usage(format!(
                "expected the logits of {:?}, found {}",
                output.dims,
                output.values.len()
            )));
        }
    }
    if numbers.next().is_some() || !rest.is_empty() {
        return Err(Error::usage("expected the logits that were announced, found more"));
    }
    Ok(outputs)
}

/// A failure in the words of the server.
fn failure(error: &Error) -> Value {
    let code = match error.kind() {
        ErrorKind::Usage | ErrorKind::Data => "invalid",
        _ => "internal",
    };
    // Requests are not files: the place says nothing.
    let said = error.to_string();
    let said = said.strip_prefix("request: ").unwrap_or(&said);
    json!({ "error": said, "code": code, "hint": error.hint_text() })
}
