//! Splits running text into words as the CoNLL files split it: punctuation apart, abbreviations and hyphens whole.

use std::ops::Range;

/// The words of a text, as byte ranges in order.
///
/// Splits at white space, then takes punctuation off both ends of each piece, one mark at a time (an ellipsis whole), and
/// English clitics off its end (`'s`, `n't`, `'re` ...). A full stop stays with initials and abbreviations with inner
/// stops (`J.`, `U.S.`).
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                split(text, from..at, &mut words);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn split(text: &str, piece: Range<usize>, words: &mut Vec<Range<usize>>) {
    let Range { mut start, mut end } = piece;
    let part = |start: usize, end: usize| text.get(start..end).unwrap_or("");
    while let Some(mark) = part(start, end).chars().next().filter(|&c| is_mark(c) && start + c.len_utf8() < end) {
        // "'90s" and "$5" keep their sign as CoNLL does not agree with itself; an opening quote goes.
        let width = run(part(start, end).chars(), mark);
        words.push(start..start + width);
        start += width;
    }
    let mut tail = Vec::new();
    while let Some(mark) = part(start, end).chars().next_back().filter(|&c| is_mark(c) && start + c.len_utf8() < end) {
        if mark == '.' && is_abbreviation(part(start, end)) {
            break;
        }
        let width = run(part(start, end).chars().rev(), mark);
        tail.push(end - width..end);
        end -= width;
    }
    if let Some(clitic) = clitic(part(start, end)) {
        tail.push(end - clitic..end);
        end -= clitic;
    }
    if start < end {
        words.push(start..end);
    }
    words.extend(tail.into_iter().rev());
}

/// The bytes of the run of stops that begins here (`...`), or of the one mark.
fn run(chars: impl Iterator<Item = char>, mark: char) -> usize {
    let count = if mark == '.' { chars.take_while(|&c| c == '.').count() } else { 1 };
    count * mark.len_utf8()
}

fn is_mark(c: char) -> bool {
    match c {
        '$' | '%' | '#' | '@' | '&' | '+' | '=' | '<' | '>' | '_' | '\\' | '^' | '|' | '~' => false,
        c if c.is_ascii() => c.is_ascii_punctuation(),
        c => {
            matches!(c, '\u{2010}'..='\u{2027}' | '\u{2039}' | '\u{203a}' | '«' | '»' | '¿' | '¡' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '！' | '？' | '，' | '：' | '；')
        }
    }
}

/// `U.S.`, `e.g.`, `J.`: a letter and a stop, again and again.
fn is_abbreviation(word: &str) -> bool {
    let stops = word.matches('.').count();
    stops > 0
        && word
            .split_terminator('.')
            .all(|part| (1..=2).contains(&part.chars().count()) && part.chars().all(char::is_alphabetic))
        && (stops > 1 || word.chars().next().is_some_and(char::is_uppercase) && word.chars().count() == 2)
}

/// The bytes of an English clitic at the end of a longer word.
fn clitic(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    ["n't", "n’t", "'s", "’s", "'re", "’re", "'ve", "’ve", "'ll", "’ll", "'d", "’d", "'m", "’m"]
        .iter()
        .find(|clitic| lower.ends_with(**clitic) && lower.len() > clitic.len())
        .map(|clitic| clitic.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split_of(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_are_split_as_in_the_conll_files() {
        assert_eq!(split_of("EU rejects German call."), ["EU", "rejects", "German", "call", "."]);
        assert_eq!(
            split_of("\"I don't,\" said J. Smith of the U.S."),
            ["\"", "I", "do", "n't", ",", "\"", "said", "J.", "Smith", "of", "the", "U.S."]
        );
        assert_eq!(
            split_of("Amazon's Rio de Janeiro-based unit (up 3.5%)..."),
            ["Amazon", "'s", "Rio", "de", "Janeiro-based", "unit", "(", "up", "3.5%", ")", "..."]
        );
        assert_eq!(split_of("  ...  "), ["..."]);
        assert_eq!(split_of(""), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn words_are_disjoint_and_hold_everything_but_white_space(text in ".*") {
            let words = words(&text);
            for pair in words.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            let joined: String = words.iter().map(|range| &text[range.clone()]).collect();
            let want: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            prop_assert_eq!(joined, want);
        }
    }
}
