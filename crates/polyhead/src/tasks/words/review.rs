//! Words that the tokenizer makes no token of: empty ones, and characters that it deletes (private use, marks, format).
//!
//! Which these are only the tokenizer knows: each unit that occurs is given to it once.

use super::Words;
use crate::data::Skipped;
use crate::error::Result;
use crate::tasks::{Review, found};
use crate::text::Tokenizer;
use serde_json::json;
use std::collections::HashMap;

/// So many units are tokenised at a time.
const TOGETHER: usize = 4096;

/// What there is to say of these texts; `left` says how words without a token count.
pub fn review<'a>(
    examples: impl Iterator<Item = &'a Words> + Clone,
    tokenizer: &Tokenizer,
    left: &str,
) -> Result<Review> {
    let mut known: HashMap<&str, bool> = HashMap::new();
    examples.clone().flat_map(Words::units).for_each(|unit| _ = known.insert(unit, false));
    let units: Vec<&str> = known.keys().copied().collect();
    for units in units.chunks(TOGETHER) {
        for piece in tokenizer.words(units)? {
            if let Some(has) = units.get(piece.word).and_then(|unit| known.get_mut(unit)) {
                *has = true;
            }
        }
    }
    let mut review = Review::default();
    let (mut lost, mut first) = (0, None);
    for (index, example) in examples.enumerate() {
        let mut read = vec![false; example.len()];
        for (unit, text) in example.units.iter().zip(example.units()) {
            if let Some(read) = read.get_mut(unit.word) {
                *read |= known.get(text).copied().unwrap_or(false);
            }
        }
        let words = example.words();
        if !read.contains(&true) {
            review.empty.push((
                index,
                Skipped {
                    place: example.place.clone(),
                    example: found(Some(&json!(words.join(" ").escape_debug().to_string()))),
                    reason: "the tokenizer makes no token of any of its words".to_owned(),
                },
            ));
            continue;
        }
        for (word, _) in words.iter().zip(&read).filter(|(_, read)| !**read) {
            lost += 1;
            first.get_or_insert_with(|| format!("`{}`, in {}", word.escape_debug(), example.place));
        }
    }
    if let Some(first) = first {
        let (words, have) = if lost == 1 { ("word", "has") } else { ("words", "have") };
        review.notes.push(format!(
            "{lost} {words} {have} no token, because the tokenizer deletes such characters (the first: {first}): nothing is \
             predicted for them, {left}"
        ));
    }
    Ok(review)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Place;
    use crate::text::offsets::OffsetUnit;
    use std::path::Path;

    #[test]
    fn what_the_tokenizer_deletes_is_counted_and_a_sentence_of_nothing_else_is_named() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json");
        let tokenizer = Tokenizer::load(&path).unwrap();
        let sentence = |line: usize, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Words::from_words(Place::line("f", line), &words, OffsetUnit::Char)
        };
        let examples = [
            sentence(1, &["ada", "\u{f0b7}", "京", "\u{200b}x"]),
            sentence(5, &["\u{e000}\u{feff}", "\u{301}", "", " "]),
            sentence(9, &["mary", "\u{301}", "\u{200b}"]),
            sentence(12, &["\u{fffd}"]),
        ];
        let of = |examples: &[Words]| review(examples.iter(), &tokenizer, "as it stands").unwrap();
        let review = of(&examples);
        assert_eq!(review.notes.len(), 1);
        let note = &review.notes[0];
        assert!(note.starts_with("3 words have no token") && note.contains("`\\u{f0b7}`, in f:1"), "{note}");
        let empty: Vec<(usize, String)> =
            review.empty.iter().map(|(index, skipped)| (*index, skipped.place.to_string())).collect();
        assert_eq!(empty, [(1, "f:5".to_owned()), (3, "f:12".to_owned())]);
        assert_eq!(of(&examples[..0]), Review::default());
    }
}
