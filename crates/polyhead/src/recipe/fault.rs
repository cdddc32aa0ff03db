//! serde's messages in the words of every other message: what was expected first, then what was found.

/// Characters of a found value that a message quotes.
const QUOTED: usize = 60;

/// The names between back-ticks in a message of serde.
pub(super) fn quoted_names(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The field that such a message says is missing.
pub(super) fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field ").and_then(|rest| quoted_names(rest).next())
}

/// `invalid type: string "x", expected usize` as `expected a whole number, found "x"`. `found` is the value, for a
/// message that has it not.
pub(crate) fn reworded(message: &str, found: &str) -> String {
    // What was found comes from outside and may hold these words, too; what is expected never does.
    let message = message.lines().next().unwrap_or_default();
    let Some((_, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected.split_whitespace().next().unwrap_or_default() {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number of at least 0",
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "path" => "a path",
        "struct" => "a table",
        _ => match expected {
            "a boolean" => "true or false",
            "a map" => "a table",
            "a sequence" => "a list",
            other => other,
        },
    };
    format!("expected {}, found {found}", expected.replace('`', ""))
}

/// A value as a message quotes it.
pub(crate) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(_) => "a table".to_owned(),
        toml::Value::Array(_) => "a list".to_owned(),
        value => {
            let text = value.to_string();
            match text.char_indices().nth(QUOTED) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_expected_comes_first_and_in_plain_words() {
        for (message, found, want) in [
            (
                "invalid type: string \"3\", expected usize",
                "\"3\"",
                "expected a whole number of at least 0, found \"3\"",
            ),
            ("invalid value: integer `-1`, expected usize", "-1", "expected a whole number of at least 0, found -1"),
            ("unknown variant `x`, expected `a` or `b`", "\"x\"", "expected a or b, found \"x\""),
            ("unknown variant `x`, expected one of `a`, `b`, `c`", "\"x\"", "expected one of a, b, c, found \"x\""),
            ("invalid type: string \"\", expected struct TrainRecipe", "\"\"", "expected a table, found \"\""),
            ("something else", "", "something else"),
        ] {
            assert_eq!(reworded(message, found), want);
        }
        assert!(shown(&toml::Value::String("x".repeat(9999))).chars().count() < 100);
    }
}
