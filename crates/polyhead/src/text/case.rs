//! How words are written. A tokenizer that lower-cases takes `Apple` and `apple` for the same token; what it drops is kept here, one
//! class a sub-word, and an encoder may read it by way of its token types (`encoder.case_embeddings` of a recipe).
//!
//! ```text
//! text      in 1912 Ada and O'Brien met IBM's iPhone 3G
//! classes   0  0    1   0   1 0 1   0   2  0 0 3      1
//! ```
//!
//! A word is a run of letters, digits and marks around the first character of a sub-word, whatever the tokenizer or the file takes for
//! one: the same text has the same classes in running text and in given words.

/// How many classes there are.
pub const CLASSES: u32 = 4;
/// Token types of a template: of the first text and the second.
pub const TEXTS: u32 = 2;

/// The class of the word around a place in a text, in bytes: 0 without a capital letter, 1 with the first letter alone, 2 with all of
/// two letters or more, 3 with others.
pub fn class(text: &str, place: usize) -> u32 {
    let (before, after) = text.split_at_checked(place).unwrap_or((text, ""));
    let of_word = |c: &char| c.is_alphanumeric() || is_mark(*c);
    if !after.chars().next().is_some_and(|c| of_word(&c)) {
        return 0;
    }
    let mut letters: Vec<char> = before.chars().rev().take_while(of_word).collect();
    letters.reverse();
    letters.extend(after.chars().take_while(of_word));
    letters.retain(|c| c.is_lowercase() || c.is_uppercase());
    let capitals = letters.iter().filter(|c| c.is_uppercase()).count();
    let first = letters.first().is_some_and(|c| c.is_uppercase());
    match capitals {
        0 => 0,
        1 if first => 1,
        all if all == letters.len() => 2,
        _ => 3,
    }
}

/// A mark that combines with the letter before it.
fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The token type of a token of the type `kind` in a word of this class.
pub fn token_type(kind: u32, class: u32) -> u32 {
    kind + TEXTS * class
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_word_has_the_class_of_its_capital_letters_wherever_it_is_cut() {
        let text = "in 1912 Ada and O'Brien met IBM's iPhone 3G, Émile (NaCl) A \u{1c5}";
        let of = |word: &str| {
            let start = text.find(word).unwrap();
            let places = word.char_indices().map(|(at, _)| class(text, start + at));
            let classes: std::collections::BTreeSet<u32> = places.collect();
            assert_eq!(classes.len(), 1, "{word}");
            classes.into_iter().next().unwrap()
        };
        let words = ["in", "1912", "Ada", "O", "'", "Brien", "IBM", "s ", "iPhone", "3G", ",", "Émile", "NaCl", "A"];
        let found: Vec<u32> = words.iter().map(|word| of(word.trim())).collect();
        assert_eq!(found, [0, 0, 1, 1, 0, 1, 2, 0, 3, 1, 0, 1, 3, 1]);
        assert_eq!(class("e\u{301}MU", 0), class("e\u{301}MU", 4));
        assert_eq!((class("", 0), class("Ada", 3), class("Ada", 99), class("\u{c9}", 1)), (0, 0, 0, 0));
    }

    #[test]
    fn types_of_both_texts_and_all_classes_are_apart() {
        let all: Vec<u32> =
            (0..CLASSES).flat_map(|class| (0..TEXTS).map(move |kind| token_type(kind, class))).collect();
        assert_eq!(all, (0..TEXTS * CLASSES).collect::<Vec<_>>());
    }
}
