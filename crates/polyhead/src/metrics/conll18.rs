//! Scores of dependency trees, as the official evaluation of the CoNLL 2018 shared task counts them (`conll18_ud_eval.py`).
//!
//! ```text
//! gold and system sentences -> words by their characters -> aligned pairs of words -> counts -> precision, recall, F1
//! ```
//!
//! Its rules: punctuation counts as any other word. Of a relation counts what stands before `:`. UAS asks for the head, LAS for head
//! and relation, CLAS for both among words with a content relation ([`is_content`]). Both sides must have the same characters,
//! white space aside, but may part them into tokens and words in different ways: precision is over the words of the system, recall
//! over the gold ones, and a head is right if it is aligned with the gold head.
//!
//! Words are aligned where they cover the same characters. Where a token holds several words (`du` = `de le`) they all cover the
//! whole token: in the smallest span around such tokens, on both sides, words are aligned by the longest common subsequence of
//! their forms, in small letters.

pub use super::tally::Tally;
use std::borrow::Cow;
use std::fmt;
use std::ops::{AddAssign, Range};

/// A word with its place in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The word.
    pub form: &'a str,
    /// The number of its head, counted from 1 in its sentence; 0 for the root.
    pub head: usize,
    /// Its relation to the head.
    pub relation: &'a str,
}

/// A token that holds several words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// As it is written.
    pub form: &'a str,
    /// Its words, as indices.
    pub words: Range<usize>,
}

/// A sentence with its tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence<'a> {
    /// Its words.
    pub words: Vec<Word<'a>>,
    /// The tokens that hold several of them, in order; every other word is a token.
    pub tokens: Vec<Token<'a>>,
}

/// The counts of all measures, in which what the system has is what was predicted. Those of several texts add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Aligned words.
    pub words: Tally,
    /// Those with the right head.
    pub uas: Tally,
    /// Those with the right head and relation.
    pub las: Tally,
    /// The same of words with a content relation.
    pub clas: Tally,
}

/// Why there are no scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The two sides have different characters, from this one on, counted from 0.
    Text(usize),
    /// A word without a character. Sentences and words count from 0.
    EmptyWord(usize),
    /// A head beyond the words of its sentence.
    Head(usize),
    /// Heads that lead in a circle.
    Cycle(usize),
    /// Not exactly one root.
    Roots(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(at) => write!(f, "the two sides have different characters, from character {} on", at + 1),
            Self::EmptyWord(sentence) => write!(f, "sentence {} has a word without a character", sentence + 1),
            Self::Head(sentence) => write!(f, "sentence {} has a head outside of it", sentence + 1),
            Self::Cycle(sentence) => write!(f, "sentence {} has heads that lead in a circle", sentence + 1),
            Self::Roots(sentence) => write!(f, "sentence {} has not exactly one root", sentence + 1),
        }
    }
}

impl std::error::Error for Refusal {}

/// The relations that make a word a content word.
const CONTENT: &[&str] = &[
    "acl",
    "advcl",
    "advmod",
    "amod",
    "appos",
    "ccomp",
    "compound",
    "conj",
    "csubj",
    "dep",
    "discourse",
    "dislocated",
    "expl",
    "fixed",
    "flat",
    "goeswith",
    "iobj",
    "list",
    "nmod",
    "nsubj",
    "nummod",
    "obj",
    "obl",
    "orphan",
    "parataxis",
    "reparandum",
    "root",
    "vocative",
    "xcomp",
];

/// A relation without its subtype: `nmod` of `nmod:poss`.
pub fn universal(relation: &str) -> &str {
    relation.split_once(':').map_or(relation, |(before, _)| before)
}

/// Whether a word with this relation counts in CLAS. What only connects (`case`, `det`, `aux`, `cop`, `mark`, `cc`, `clf`) and
/// punctuation do not, nor what is no relation of Universal Dependencies.
pub fn is_content(relation: &str) -> bool {
    CONTENT.contains(&universal(relation))
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.words += other.words;
        self.uas += other.uas;
        self.las += other.las;
        self.clas += other.clas;
    }
}

impl Counts {
    /// Of one word that both sides have.
    pub fn add_word(&mut self, gold: (usize, &str), system: (usize, &str)) {
        let head = gold.0 == system.0;
        let both = head && universal(gold.1) == universal(system.1);
        let [of_gold, of_system] = [gold.1, system.1].map(is_content);
        self.words.add(true, true, true);
        self.uas.add(true, true, head);
        self.las.add(true, true, both);
        self.clas.add(of_gold, of_system, of_gold && both);
    }
}

/// The counts of a text.
///
/// # Errors
/// The sides have different characters, or a sentence is no tree with one root.
pub fn evaluate(gold: &[Sentence], system: &[Sentence]) -> Result<Counts, Refusal> {
    let (gold, system) = (Text::of(gold)?, Text::of(system)?);
    if gold.characters != system.characters {
        let same = gold.characters.iter().zip(&system.characters).take_while(|(a, b)| a == b).count();
        return Err(Refusal::Text(same));
    }
    let pairs = align(&gold.words, &system.words);
    let mut gold_of: Vec<Option<usize>> = vec![None; system.words.len()];
    for &(of_gold, of_system) in &pairs {
        if let Some(slot) = gold_of.get_mut(of_system) {
            *slot = Some(of_gold);
        }
    }
    let content = |words: &[Placed]| words.iter().filter(|word| is_content(word.relation)).count() as u64;
    let all = Tally { gold: gold.words.len() as u64, predicted: system.words.len() as u64, correct: 0 };
    let mut counts = Counts {
        words: Tally { correct: pairs.len() as u64, ..all },
        uas: all,
        las: all,
        clas: Tally { gold: content(&gold.words), predicted: content(&system.words), correct: 0 },
    };
    for (of_gold, of_system) in pairs {
        let (Some(one), Some(other)) = (gold.words.get(of_gold), system.words.get(of_system)) else { continue };
        let head = match (one.head, other.head) {
            (None, None) => true,
            (Some(head), Some(found)) => gold_of.get(found).copied().flatten() == Some(head),
            _ => false,
        };
        let both = head && universal(one.relation) == universal(other.relation);
        counts.uas.correct += u64::from(head);
        counts.las.correct += u64::from(both);
        counts.clas.correct += u64::from(both && is_content(one.relation));
    }
    Ok(counts)
}

/// One side: its characters, and the words of all sentences.
struct Text<'a> {
    characters: Vec<char>,
    words: Vec<Placed<'a>>,
}

/// A word at its place.
struct Placed<'a> {
    /// The characters that its token covers.
    at: Range<usize>,
    /// Whether its token holds several words.
    shares: bool,
    /// Without spaces, where it is a token of its own.
    form: Cow<'a, str>,
    /// The index of its head among the words of the text; `None` for a root.
    head: Option<usize>,
    relation: &'a str,
}

impl<'a> Text<'a> {
    fn of(sentences: &[Sentence<'a>]) -> Result<Self, Refusal> {
        let mut text = Self { characters: Vec::new(), words: Vec::new() };
        for (number, sentence) in sentences.iter().enumerate() {
            check(sentence, number)?;
            let first = text.words.len();
            let mut tokens = sentence.tokens.iter().peekable();
            let mut at = 0;
            while at < sentence.words.len() {
                let token = tokens.next_if(|token| token.words.start == at && !token.words.is_empty());
                let words = token.map_or(at..at + 1, |token| token.words.clone());
                let own = sentence.words.get(words.clone()).unwrap_or(&[]);
                let form = token.map_or_else(|| own.first().map_or("", |word| word.form), |token| token.form);
                let start = text.characters.len();
                text.characters.extend(form.chars().filter(|&c| !is_space(c)));
                let end = text.characters.len();
                if start == end {
                    return Err(Refusal::EmptyWord(number));
                }
                text.words.extend(own.iter().map(|word| Placed {
                    at: start..end,
                    shares: token.is_some(),
                    form: match token {
                        Some(_) => Cow::Borrowed(word.form),
                        None => word.form.chars().filter(|&c| !is_space(c)).collect(),
                    },
                    head: word.head.checked_sub(1).map(|head| first + head),
                    relation: word.relation,
                }));
                at = words.end;
            }
        }
        Ok(text)
    }
}

/// A space of Unicode (category Zs), as the official evaluation removes them from tokens.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Refuses a sentence that is no tree with one root.
fn check(sentence: &Sentence, number: usize) -> Result<(), Refusal> {
    let count = sentence.words.len();
    if sentence.words.iter().any(|word| word.head > count) {
        return Err(Refusal::Head(number));
    }
    // The walk up that came by a word: one that meets itself goes in a circle.
    let mut seen = vec![0; count];
    for start in 1..=count {
        let mut at = start;
        while let Some(slot) = at.checked_sub(1).and_then(|index| seen.get_mut(index)) {
            match *slot {
                0 => *slot = start,
                walk if walk == start => return Err(Refusal::Cycle(number)),
                _ => break,
            }
            at = sentence.words.get(at - 1).map_or(0, |word| word.head);
        }
    }
    match sentence.words.iter().filter(|word| word.head == 0).count() {
        1 => Ok(()),
        _ => Err(Refusal::Roots(number)),
    }
}

/// The pairs of words, gold and system, that are the same.
fn align(gold: &[Placed], system: &[Placed]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut g, mut s) = (0, 0);
    while let (Some(one), Some(other)) = (gold.get(g), system.get(s)) {
        if one.shares || other.shares {
            let span = Span::around(gold, system, g, s);
            common(gold, system, &span, &mut pairs);
            (g, s) = (span.gold.end, span.system.end);
        } else if one.at == other.at {
            pairs.push((g, s));
            (g, s) = (g + 1, s + 1);
        } else if one.at.start <= other.at.start {
            g += 1;
        } else {
            s += 1;
        }
    }
    pairs
}

/// The smallest span that holds a shared token and every other one that touches it: its words on both sides.
struct Span {
    gold: Range<usize>,
    system: Range<usize>,
}

impl Span {
    /// Around the words `g` and `s`, of which one at least shares its token.
    fn around(gold: &[Placed], system: &[Placed], mut g: usize, mut s: usize) -> Self {
        let (one, other) = (gold.get(g), system.get(s));
        let begins_before = |a: Option<&Placed>, b: Option<&Placed>| match (a, b) {
            (Some(a), Some(b)) => !a.shares && a.at.start < b.at.start,
            _ => false,
        };
        // A word of the other side that begins before the token sticks out.
        let mut end = if one.is_some_and(|word| word.shares) {
            s += usize::from(begins_before(other, one));
            one.map_or(0, |word| word.at.end)
        } else {
            g += usize::from(begins_before(one, other));
            other.map_or(0, |word| word.at.end)
        };
        let start = (g, s);
        let holds = |word: Option<&Placed>, end: usize| {
            word.is_some_and(|word| if word.shares { word.at.start < end } else { word.at.end <= end })
        };
        while holds(gold.get(g), end) || holds(system.get(s), end) {
            let next = match (gold.get(g), system.get(s)) {
                (Some(one), Some(other)) if one.at.start > other.at.start => (other, &mut s),
                (Some(one), _) => (one, &mut g),
                (None, Some(other)) => (other, &mut s),
                (None, None) => break,
            };
            let (word, at) = next;
            if word.shares {
                end = end.max(word.at.end);
            }
            *at += 1;
        }
        Self { gold: start.0..g, system: start.1..s }
    }
}

/// Adds the longest common subsequence of the forms of a span.
fn common(gold: &[Placed], system: &[Placed], span: &Span, pairs: &mut Vec<(usize, usize)>) {
    let forms = |words: &[Placed], range: &Range<usize>| -> Vec<String> {
        words.get(range.clone()).unwrap_or(&[]).iter().map(|word| word.form.to_lowercase()).collect()
    };
    let (of_gold, of_system) = (forms(gold, &span.gold), forms(system, &span.system));
    // The lengths of what the rests of both have in common, a row and a column more than there are words.
    let width = of_system.len() + 1;
    let mut lengths = vec![0_usize; (of_gold.len() + 1) * width];
    let length = |lengths: &[usize], g: usize, s: usize| lengths.get(g * width + s).copied().unwrap_or(0);
    for (g, one) in of_gold.iter().enumerate().rev() {
        for (s, other) in of_system.iter().enumerate().rev() {
            let both = if one == other { 1 + length(&lengths, g + 1, s + 1) } else { 0 };
            let longest = both.max(length(&lengths, g + 1, s)).max(length(&lengths, g, s + 1));
            if let Some(slot) = lengths.get_mut(g * width + s) {
                *slot = longest;
            }
        }
    }
    let (mut g, mut s) = (0, 0);
    while let (Some(one), Some(other)) = (of_gold.get(g), of_system.get(s)) {
        if one == other {
            pairs.push((span.gold.start + g, span.system.start + s));
            (g, s) = (g + 1, s + 1);
        } else if length(&lengths, g, s) == length(&lengths, g + 1, s) {
            g += 1;
        } else {
            s += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sentence<'a>(words: &[(&'a str, usize, &'a str)]) -> Sentence<'a> {
        let words = words.iter().map(|&(form, head, relation)| Word { form, head, relation }).collect();
        Sentence { words, tokens: Vec::new() }
    }

    #[test]
    fn words_that_both_sides_have_count_as_the_whole_evaluation_counts_them() {
        let gold =
            [("She", 2, "nsubj"), ("reads", 0, "root"), ("on", 4, "case"), ("trains", 2, "obl:on"), (".", 2, "punct")];
        let found =
            [("She", 2, "obj"), ("reads", 0, "root"), ("on", 2, "case"), ("trains", 2, "obl"), (".", 2, "punct")];
        let mut counts = Counts::default();
        for (gold, found) in gold.iter().zip(&found) {
            counts.add_word((gold.1, gold.2), (found.1, found.2));
        }
        assert_eq!(counts, evaluate(&[sentence(&gold)], &[sentence(&found)]).unwrap());
        let tally = |gold, predicted, correct| Tally { gold, predicted, correct };
        assert_eq!((counts.uas, counts.las, counts.clas), (tally(5, 5, 4), tally(5, 5, 3), tally(3, 3, 2)));
        let mut twice = counts;
        twice += counts;
        assert_eq!(twice.las.f1(), 0.6);
        assert_eq!(Tally::default().f1(), 0.0);
    }

    #[test]
    fn what_is_no_tree_with_one_root_is_refused_with_its_sentence() {
        let fine = sentence(&[("a", 0, "root")]);
        for (words, refusal) in [
            (&[("a", 0, "root"), ("b", 0, "root")][..], Refusal::Roots(1)),
            (&[("a", 2, "x"), ("b", 1, "x"), ("c", 0, "root")], Refusal::Cycle(1)),
            (&[("a", 1, "x")], Refusal::Cycle(1)),
            (&[("a", 2, "x")], Refusal::Head(1)),
            (&[("a", 0, "root"), ("\u{a0}", 1, "x")], Refusal::EmptyWord(1)),
            (&[], Refusal::Roots(1)),
        ] {
            let found = evaluate(&[fine.clone(), sentence(words)], std::slice::from_ref(&fine));
            assert_eq!(found, Err(refusal.clone()), "{refusal}");
        }
        let other = sentence(&[("ab", 0, "root")]);
        assert_eq!(evaluate(&[fine], &[other]), Err(Refusal::Text(1)));
    }
}
