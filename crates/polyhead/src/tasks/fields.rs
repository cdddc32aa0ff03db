//! The fields of requests: what a task declares of them, and reading them. Every refusal names the field, what was
//! expected and what was found.
//!
//! What was found is quoted in part at most: it comes from outside and may be long.

use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Characters of a found value that a message quotes.
const QUOTED: usize = 60;

/// A field of a request, as a task declares it: a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds, in a sentence.
    pub about: &'static str,
    /// A text that shows what is meant.
    pub example: &'static str,
    /// The field whose text stands in where a request to several tasks leaves this one out.
    pub default: Option<&'static str>,
}

impl Field {
    /// A field that every request has.
    pub const fn new(name: &'static str, about: &'static str, example: &'static str) -> Self {
        Self { name, about, example, default: None }
    }

    /// In a request to several tasks, the text of another field stands in for it.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

/// Reads the `parameters` of an inference request. All fields of `P` must be optional.
pub fn parameters<P: DeserializeOwned>(given: &Map<String, Value>) -> Result<P> {
    let read = |fields: Map<String, Value>| serde_json::from_value::<P>(Value::Object(fields));
    read(given.clone()).map_err(|whole| {
        // serde does not say in which field it found a wrong type: the one that fails alone.
        let alone = |(name, value): (&String, &Value)| {
            let cause = read(Map::from_iter([(name.clone(), value.clone())])).err()?;
            Some(Error::data(format!("parameters.{}: {}", cut(name), reworded(&cause.to_string()))))
        };
        given.iter().find_map(alone).unwrap_or_else(|| Error::data(format!("parameters: {whole}")))
    })
}

/// A number of the `parameters`, held to its range.
pub fn within(name: &str, value: usize, range: RangeInclusive<usize>) -> Result<usize> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(Error::data(format!("parameters.{name}: expected {least} to {most}, found {value}")))
}

/// The field `offset_unit` of a request: what the offsets of its answer count. Left out, characters.
pub fn offset_unit(request: &Value) -> Result<OffsetUnit> {
    match request.get("offset_unit") {
        None => Ok(OffsetUnit::default()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| {
            let found = found(Some(value));
            Error::data(format!("expected \"char\", \"byte\" or \"utf16\" as `offset_unit`, found {found}"))
        }),
    }
}

/// A value as a message quotes it.
pub fn found(value: Option<&Value>) -> String {
    match value {
        None => "nothing".into(),
        Some(Value::Array(_)) => "a list".into(),
        Some(Value::Object(_)) => "an object".into(),
        Some(value) => cut(&value.to_string()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// serde's message with what was expected first and in plain words.
fn reworded(message: &str) -> String {
    // What was found comes from outside and may hold these words, too; what is expected never does.
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return cut(message) };
    let prefixes = ["invalid type: ", "invalid value: ", "unknown variant ", "unknown field "];
    let found = prefixes.iter().find_map(|prefix| found.strip_prefix(prefix)).unwrap_or(found);
    let expected = match expected {
        "usize" | "u64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other => other,
    };
    format!("expected {expected}, found {}", cut(found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Example {
        size: Option<usize>,
        names: Option<Vec<String>>,
        unit: Option<OffsetUnit>,
    }

    fn refusal(given: Value) -> String {
        parameters::<Example>(given.as_object().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_the_field_what_was_expected_and_what_was_found() {
        let read: Example = parameters(json!({ "size": 3, "unit": null }).as_object().unwrap()).unwrap();
        assert_eq!((read.size, read.names, read.unit), (Some(3), None, None));
        for (given, want) in [
            (json!({ "unit": "byte", "size": "x" }), "parameters.size: expected a whole number, found string \"x\""),
            (json!({ "size": -1 }), "parameters.size: expected a whole number, found integer `-1`"),
            (json!({ "size": 1.5 }), "parameters.size: expected a whole number, found floating point `1.5`"),
            (json!({ "names": "O" }), "parameters.names: expected a list, found string \"O\""),
            (
                json!({ "unit": ", expected nothing" }),
                "parameters.unit: expected one of `byte`, `char`, `utf16`, found `, expected nothing`",
            ),
            (json!({ "sizes": 1 }), "parameters.sizes: expected one of `size`, `names`, `unit`, found `sizes`"),
        ] {
            assert_eq!(refusal(given.clone()), want, "{given}");
        }
        assert!(refusal(json!({ "size": "x".repeat(9999) })).chars().count() < 200);
        assert!(refusal(json!({ "x".repeat(9999): 1 })).chars().count() < 300);
    }

    #[test]
    fn numbers_are_held_to_their_range() {
        assert_eq!(within("n", 20, 1..=20).unwrap(), 20);
        assert_eq!(within("n", 0, 1..=20).unwrap_err().to_string(), "parameters.n: expected 1 to 20, found 0");
    }

    #[test]
    fn the_unit_of_offsets_is_read_or_refused() {
        assert_eq!(offset_unit(&json!({})).unwrap(), OffsetUnit::Char);
        assert_eq!(offset_unit(&json!({ "offset_unit": "utf16" })).unwrap(), OffsetUnit::Utf16);
        for value in [json!("chars"), json!(null), json!(8), json!(["byte"]), json!("x".repeat(9999))] {
            let error = offset_unit(&json!({ "offset_unit": value })).unwrap_err().to_string();
            assert!(error.starts_with("expected \"char\", \"byte\" or \"utf16\" as `offset_unit`"), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }
}
