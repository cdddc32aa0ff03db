//! Splits running text into words as the CoNLL files split it: punctuation apart, abbreviations and hyphens whole; in scripts
//! that are written without spaces, into characters with what combines with them.
//!
//! The only splitter there is: requests, and data that come as running text, go through it. docs/tasks/ner.md describes it.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Scripts that are written without spaces between words, with the signs that they share.
///
/// A list, because Unicode has no property for it: Line_Break has one value for the scripts of South-East Asia, which
/// need a dictionary, and another for ideographs and kana, which it shares with emoji and Hangul.
const UNSPACED: &str = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}〆〱-〵ーｰ";

/// Their brackets, stops and commas, wide and half-wide. Those that stand inside of wide numbers and names (`３．５％`) are
/// left out, as in ASCII.
const MARKS: &str = r"\x{3001}-\x{3003}\x{3008}-\x{3011}\x{3014}-\x{301f}\x{3030}\x{303d}\x{30a0}\x{30fb}\x{fe10}-\x{fe19}\x{fe30}-\x{fe52}！（），：；？［］｛｝｟-･";

/// One unit: a character of such a script with all that combines with it (vowel signs, tone marks, a consonant written
/// below, invisible joiners), or one of its marks.
#[allow(clippy::expect_used)] // a pattern of ours that the tests run
static UNIT: LazyLock<Regex> = LazyLock::new(|| {
    let combining = r"\x{17d2}\p{Khmer}|\x{1039}\p{Myanmar}|[\p{M}\p{Cf}\x{e33}\x{eb3}\x{ff9e}\x{ff9f}]";
    Regex::new(&format!("[{UNSPACED}](?:{combining})*|[{MARKS}]")).expect("a valid pattern")
});

/// The words of a running text, as byte ranges in order.
///
/// Splits at white space, then takes punctuation off both ends of each piece, one mark at a time (an ellipsis whole), and
/// English clitics off its end (`'s`, `n't`, `'re` ...). A full stop stays with initials and abbreviations with inner
/// stops (`J.`, `U.S.`). In scripts without spaces every unit is a word: see [`units`].
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                parts(text, from..at, &mut |part| match part {
                    Part::Unit(range) => words.push(range),
                    Part::Other(range) => split(text, range, &mut words),
                });
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// What of a word is labelled on its own, as byte ranges in order: in scripts without spaces every character with what
/// combines with it and every mark, of anything else all that stands together. At least one.
///
/// Characters, and not the tokenizer's sub-words: BERT's tokenizers part ideographs, but take a run of kana or Thai for one
/// word, whose sub-words need not end where a name ends, and which is one unknown token beyond a hundred characters. Given
/// unit by unit, a text has the same tokens whether a file splits it into characters, words or not at all.
pub fn units(word: &str) -> Vec<Range<usize>> {
    let mut units = Vec::with_capacity(1);
    parts(word, 0..word.len(), &mut |(Part::Unit(range) | Part::Other(range))| units.push(range));
    if units.is_empty() {
        units.push(0..word.len());
    }
    units
}

/// Whether two neighbouring words are written with a space between them.
pub fn is_spaced(before: &str, after: &str) -> bool {
    if before.is_ascii() || after.is_ascii() {
        return true;
    }
    let ends = units(before).pop().is_some_and(|last| is_unit(before.get(last).unwrap_or("")));
    !(ends && units(after).first().is_some_and(|first| is_unit(after.get(first.clone()).unwrap_or(""))))
}

/// Whether this begins with a unit of a script without spaces.
pub fn is_unit(text: &str) -> bool {
    !text.is_ascii() && UNIT.find(text).is_some_and(|unit| unit.start() == 0)
}

/// A part of a text without white space.
enum Part {
    /// A unit of a script without spaces.
    Unit(Range<usize>),
    /// What stands between units.
    Other(Range<usize>),
}

fn parts(text: &str, piece: Range<usize>, each: &mut impl FnMut(Part)) {
    let whole = text.get(piece.clone()).unwrap_or("");
    let mut start = piece.start;
    if !whole.is_ascii() {
        for unit in UNIT.find_iter(whole) {
            let (from, to) = (piece.start + unit.start(), piece.start + unit.end());
            if start < from {
                each(Part::Other(start..from));
            }
            each(Part::Unit(from..to));
            start = to;
        }
    }
    if start < piece.end {
        each(Part::Other(start..piece.end));
    }
}

fn split(text: &str, piece: Range<usize>, words: &mut Vec<Range<usize>>) {
    let Range { mut start, mut end } = piece;
    let part = |start: usize, end: usize| text.get(start..end).unwrap_or("");
    while let Some(mark) = part(start, end).chars().next().filter(|&c| is_mark(c) && start + c.len_utf8() < end) {
        if is_clitic(part(start, end)) {
            break;
        }
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
            matches!(c, '\u{2010}'..='\u{2027}' | '\u{2039}' | '\u{203a}' | '«' | '»' | '¿' | '¡')
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

/// English clitics, with both apostrophes.
const CLITICS: [&str; 14] =
    ["n't", "n’t", "'s", "’s", "'re", "’re", "'ve", "’ve", "'ll", "’ll", "'d", "’d", "'m", "’m"];

/// The bytes of an English clitic at the end of a longer word.
fn clitic(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let found = CLITICS.iter().find(|clitic| lower.ends_with(**clitic) && lower.len() > clitic.len());
    found.map(|clitic| clitic.len())
}

/// Whether this is a clitic that stands alone (after a character of a script without spaces, or in a text whose words were
/// parted before), and no quotation of one letter.
fn is_clitic(part: &str) -> bool {
    let bare = part.trim_end_matches(is_mark);
    let closed = part.get(bare.len()..).is_some_and(|rest| rest.starts_with(['\'', '’']));
    !closed && CLITICS.contains(&bare.to_ascii_lowercase().as_str())
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
        assert_eq!(
            split_of("Ada 's dog, it 's, 'm' ”'s"),
            ["Ada", "'s", "dog", ",", "it", "'s", ",", "'", "m", "'", "”", "'s"]
        );
        assert_eq!(split_of("  ...  "), ["..."]);
        assert_eq!(split_of(""), Vec::<&str>::new());
    }

    #[test]
    fn scripts_without_spaces_are_split_into_characters_with_what_combines_with_them() {
        for (text, want) in [
            ("東京Towerは高い。", "東 京 Tower は 高 い 。"),
            ("「レオナルド・ダ・ヴィンチ」", "「 レ オ ナ ル ド ・ ダ ・ ヴ ィ ン チ 」"),
            ("か\u{3099}ラーメン", "か\u{3099} ラ ー メ ン"),
            ("ﾊﾟﾘ２０２４年", "ﾊﾟ ﾘ ２０２４ 年"),
            ("约翰·史密斯在纽约，3.5%。", "约 翰 · 史 密 斯 在 纽 约 ， 3.5% 。"),
            ("Tokyo、Osaka", "Tokyo 、 Osaka"),
            ("\u{20bb7}野家 𠮷", "\u{20bb7} 野 家 𠮷"),
            ("เมืองน้ำ 5 แห่ง", "เ มื อ ง น้ำ 5 แ ห่ ง"),
            ("ປະເທດລາວ", "ປ ະ ເ ທ ດ ລ າ ວ"),
            ("ភ្នំពេញ", "ភ្នំ ពេ ញ"),
            ("ភ្នំ\u{200b}ពេញ", "ភ្នំ\u{200b} ពេ ញ"),
            ("ရန်ကုန်မြို့၊ စက္က", "ရ န် ကု န် မြို့ ၊ စ က္က"),
            // Scripts with spaces stay whole, whatever they combine.
            ("नमस्ते दुनिया 한국어를 שָׁלוֹם", "नमस्ते दुनिया 한국어를 שָׁלוֹם"),
            ("Ada's (U.S.) Zoë\u{301}", "Ada 's ( U.S. ) Zoë\u{301}"),
            ("東京's, 👍", "東 京 's , 👍"),
        ] {
            assert_eq!(split_of(text).join(" "), want, "{text}");
        }
    }

    #[test]
    fn a_given_word_has_the_units_that_a_running_text_has_and_is_else_whole() {
        for (word, want) in [
            ("Ada's", &["Ada's"][..]),
            ("(don't)", &["(don't)"]),
            ("", &[""]),
            ("\u{200b}", &["\u{200b}"]),
            ("New York", &["New York"]),
            ("東京Tower", &["東", "京", "Tower"]),
            ("スカイ", &["ス", "カ", "イ"]),
        ] {
            let units: Vec<&str> = units(word).into_iter().map(|unit| &word[unit]).collect();
            assert_eq!(units, want, "{word}");
        }
    }

    #[test]
    fn a_space_stands_between_words_but_in_scripts_without_spaces() {
        for (before, after, want) in [
            ("a", "b", true),
            ("東", "京", false),
            ("東京", "。", false),
            ("東", "Tower", true),
            ("ग", "न", true),
            ("", "", true),
        ] {
            assert_eq!(is_spaced(before, after), want, "{before} {after}");
        }
    }

    proptest! {
        #[test]
        fn words_in_a_script_without_spaces_do_not_depend_on_how_a_file_splits_them(
            text in "[東京都アーン。วิใน่ក្ន]{1,12}", cut in 0..12usize)
        {
            let units_of = |text: &str| units(text).into_iter().map(|unit| text[unit].to_owned()).collect::<Vec<_>>();
            let whole = units_of(&text);
            prop_assert_eq!(&whole, &split_of(&text).into_iter().map(str::to_owned).collect::<Vec<_>>());
            let at = cut.min(whole.len());
            let halves = [units_of(&whole[..at].concat()), units_of(&whole[at..].concat())].concat();
            prop_assert_eq!(halves.into_iter().filter(|unit| !unit.is_empty()).collect::<Vec<_>>(), whole);
        }

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
