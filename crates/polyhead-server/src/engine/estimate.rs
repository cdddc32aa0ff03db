//! What a request will cost, estimated from its texts before a tokenizer sees them.
//!
//! ```text
//! texts -> units (a scan of some 0.3 ms for 100,000 characters) -> x the task's tokens a unit -> tokens, about
//! ```
//!
//! A unit is what a tokenizer makes at least one token of: a run of letters and digits, and one more for every eight bytes
//! that the run goes on; a sign; a character of a script without spaces. How many tokens a unit becomes depends on the
//! vocabulary, the language and the overlap of windows: it is learnt for each task from what has been tokenised, each
//! request moving it by a sixteenth of the way at most from 1/2 to 8. The same requests in the same order give the same
//! estimates.

use serde_json::Value;

/// Bytes of a run that count as one unit.
const BYTES: usize = 8;

/// Units that a text has beyond its own: special tokens.
const AROUND: usize = 2;

/// Tokens a unit, before anything is known: English text in windows that overlap a little.
const FIRST: f64 = 1.5;

/// Between these a ratio is held: nobody's odd text makes others' look long, or nothing.
const LEAST: f64 = 0.5;
const MOST: f64 = 8.0;

/// Part of the way that one request moves the ratio.
const STEP: f64 = 1.0 / 16.0;

/// The units of a text.
pub fn units(text: &str) -> usize {
    let (mut units, mut run) = (0, 0);
    for character in text.chars() {
        if character.is_whitespace() {
            run = 0;
        } else if character >= '\u{2e80}' || !character.is_alphanumeric() {
            units += 1;
            run = 0;
        } else {
            if run == 0 || run + character.len_utf8() > BYTES {
                units += 1;
                run = 0;
            }
            run += character.len_utf8();
        }
    }
    units
}

/// The units of all strings in a value.
pub fn units_of(value: &Value) -> usize {
    match value {
        Value::String(text) => units(text) + AROUND,
        Value::Array(items) => items.iter().map(units_of).sum(),
        Value::Object(fields) => fields.values().map(units_of).sum(),
        _ => 0,
    }
}

/// Tokens a unit, for each task by its place.
#[derive(Debug, Default)]
pub struct Ratios(Vec<f64>);

impl Ratios {
    /// About so many tokens; at least one.
    pub fn tokens(&self, task: usize, units: usize) -> usize {
        let ratio = self.0.get(task).copied().unwrap_or(FIRST);
        ((units as f64 * ratio).ceil() as usize).max(1)
    }

    /// These units were so many tokens.
    pub fn learn(&mut self, task: usize, units: usize, tokens: usize) {
        if self.0.len() <= task {
            self.0.resize(task + 1, FIRST);
        }
        if let Some(ratio) = self.0.get_mut(task) {
            let found = (tokens as f64 / units.max(1) as f64).clamp(LEAST, MOST);
            *ratio += STEP * (found - *ratio);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn units_are_words_signs_and_parts_of_long_runs() {
        for (text, expected) in [
            ("", 0),
            (" \n\t", 0),
            ("Ada lived in London.", 5),
            ("don't", 3),
            ("internationalisation", 3),
            ("東京に行く", 5),
            ("Быстрая", 2),
            ("!!!!", 4),
        ] {
            assert_eq!(units(text), expected, "{text}");
        }
        assert_eq!(units_of(&json!({ "question": "Who?", "context": ["Ada", 7, null] })), 2 + 2 + 1 + 2);
    }

    #[test]
    fn an_estimate_comes_near_what_requests_like_it_were() {
        let mut ratios = Ratios::default();
        for _ in 0..100 {
            ratios.learn(1, 100, 240);
        }
        let near = ratios.tokens(1, 1_000);
        assert!((2_300..=2_400).contains(&near), "{near}");
        assert_eq!(ratios.tokens(0, 1_000), 1_500, "another task is not concerned");
        assert_eq!(ratios.tokens(9, 1_000), 1_500, "nor one that is not known");
    }

    #[test]
    fn one_odd_text_of_any_length_moves_the_estimates_of_others_by_less_than_half() {
        let mut ratios = Ratios::default();
        let before = ratios.tokens(0, 1_000);
        ratios.learn(0, 1, 200_000);
        assert!(ratios.tokens(0, 1_000) < before * 3 / 2);
    }

    proptest! {
        #[test]
        fn estimates_are_bounded_whatever_was_learnt(learnt in prop::collection::vec((0..3usize, 0..9_000usize, 0..90_000usize), 0..50), units in 0..100_000usize) {
            let mut ratios = Ratios::default();
            for (task, units, tokens) in learnt {
                ratios.learn(task, units, tokens);
            }
            for task in 0..4 {
                let tokens = ratios.tokens(task, units);
                prop_assert!(tokens >= (units / 2).max(1) && tokens <= (units * 8).max(1));
            }
        }

        #[test]
        fn a_text_has_a_unit_for_every_word_and_no_more_than_one_a_byte(text in "\\PC{0,60}") {
            let units = units(&text);
            prop_assert!(units <= text.len());
            let ascii_words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).count();
            // Letters beyond ASCII may join what this split took apart.
            let joined = text.chars().filter(|c| !c.is_ascii()).count();
            prop_assert!(units + joined >= ascii_words);
        }
    }
}
