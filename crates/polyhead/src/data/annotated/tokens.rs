//! The tokens that a record gives of its text, as Prodigy and spaCy write them.
//!
//! ```text
//! [{"text": "Ada", "start": 0, "end": 3, "id": 0, "ws": true}, ...]      offsets in characters
//! ```
//!
//! They are its words, but those of white space alone.

use super::{first, offset};
use crate::data::quoted;
use crate::data::spans::COUNTED;
use crate::error::{Error, Result};
use serde_json::Value;
use std::ops::Range;

/// Whether a field holds tokens with their places, and not words.
pub fn are_tokens(value: &Value) -> bool {
    let first = value.as_array().and_then(|tokens| tokens.first());
    first.and_then(Value::as_object).is_some_and(|token| token.contains_key("start") && token.contains_key("end"))
}

/// Where the words lie in the text, in bytes, in order.
pub fn words(text: &str, tokens: &Value) -> Result<Vec<Range<usize>>> {
    let tokens = tokens.as_array().map_or(&[][..], Vec::as_slice);
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut words: Vec<Range<usize>> = Vec::with_capacity(tokens.len());
    let mut before = 0;
    for (at, token) in tokens.iter().enumerate() {
        let name = format!("tokens[{at}]");
        let Value::Object(token) = token else {
            let found = quoted(&token.to_string());
            return Err(Error::data(format!("{name}: expected a token with its start and end, found {found}")));
        };
        let end =
            |field: &'static str| offset(&format!("{name}.{field}"), first(token, &[field]).map(|(_, value)| value));
        let (start, end) = (end("start")?, end("end")?);
        let (Some(&from), Some(&to), true) = (starts.get(start), starts.get(end), start < end) else {
            let most = starts.len() - 1;
            let message = format!("{name}: expected a part of a text of {most} characters, found {start} to {end}");
            return Err(Error::data(message).hint(COUNTED));
        };
        if start < before {
            let message = format!(
                "{name}: expected tokens in the order of the text and apart; found one that begins at \
                {start}, where the one before it ends at {before}"
            );
            return Err(Error::data(message));
        }
        before = end;
        let found = text.get(from..to).unwrap_or("");
        if let Some(said) = token.get("text").and_then(Value::as_str).filter(|said| *said != found) {
            let message = format!("{name}: expected {} from {start} to {end}, found {}", quoted(said), quoted(found));
            return Err(Error::data(message).hint(COUNTED));
        }
        if !found.trim().is_empty() {
            words.push(from..to);
        }
    }
    Ok(words)
}
