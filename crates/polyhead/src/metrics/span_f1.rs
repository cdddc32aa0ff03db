//! Precision, recall and F1 of entities, as seqeval counts them.
//!
//! ```text
//! tags of a sentence -> spans {kind, start, end} -> counts of each kind (gold, predicted, correct) -> scores
//! ```
//!
//! A predicted entity is correct if the gold tags hold one of the same kind from the same word to the same word. Two
//! schemes read the same tags differently, and published figures mix them, so that we report both:
//! *lenient* is the default of seqeval (`get_entities`) and the rule of conlleval; *strict* is
//! `mode="strict", scheme=IOB2`, where only `B-` opens an entity.
//!
//! Reference: `seqeval/metrics/sequence_labeling.py`, `seqeval/metrics/v1.py` and `seqeval/scheme.py` of
//! chakki-works/seqeval 1.2.2. A score whose denominator is zero is 0.

use super::tally::share;
pub use super::tally::{Scores, Tally};
use std::collections::{BTreeMap, HashSet};

/// How tags are read as entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// seqeval's default: an `I-` that continues nothing opens an entity. Knows the prefixes B, I, E and S.
    Lenient,
    /// IOB2 to the letter: an `I-` that continues nothing is no entity. Prefixes other than B and I are outside.
    StrictIob2,
}

/// An entity: its kind, and its words from `start` to before `end`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The kind, such as `PER`; `_` where the tags name none.
    pub kind: String,
    /// The index of its first word.
    pub start: usize,
    /// One past the index of its last word.
    pub end: usize,
}

/// The entities of one sentence, in the order in which they end.
pub fn entities<S: AsRef<str>>(tags: &[S], scheme: Scheme) -> Vec<Span> {
    match scheme {
        Scheme::Lenient => lenient(tags),
        Scheme::StrictIob2 => strict(tags),
    }
}

/// The first character of a tag and its kind; nothing at all is outside.
fn lenient_parts(tag: &str) -> (char, &str) {
    let mut characters = tag.chars();
    let prefix = characters.next().unwrap_or('O');
    let rest = characters.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (prefix, if kind.is_empty() { "_" } else { kind })
}

fn lenient<S: AsRef<str>>(tags: &[S]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut before = ('O', "");
    let all = tags.iter().map(|tag| lenient_parts(tag.as_ref())).chain([('O', "_")]);
    for (index, now) in all.enumerate() {
        if ends(before, now) {
            spans.push(Span { kind: before.1.to_owned(), start, end: index });
        }
        if starts(before, now) {
            start = index;
        }
        before = now;
    }
    spans
}

/// Whether an entity ends between two neighbouring tags.
fn ends((before, before_kind): (char, &str), (now, kind): (char, &str)) -> bool {
    match before {
        'E' | 'S' => true,
        'B' | 'I' if matches!(now, 'B' | 'S' | 'O') => true,
        'O' | '.' => false,
        _ => before_kind != kind,
    }
}

/// Whether an entity starts with the second of two neighbouring tags.
fn starts((before, before_kind): (char, &str), (now, kind): (char, &str)) -> bool {
    match now {
        'B' | 'S' => true,
        'E' | 'I' if matches!(before, 'E' | 'S' | 'O') => true,
        'O' | '.' => false,
        _ => before_kind != kind,
    }
}

fn strict<S: AsRef<str>>(tags: &[S]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Option<Span> = None;
    for (index, tag) in tags.iter().enumerate() {
        let tag = tag.as_ref();
        let kind = |rest: &str| match rest.trim_matches('-') {
            "" => "_".to_owned(),
            kind => kind.to_owned(),
        };
        let goes_on =
            tag.strip_prefix('I').map(kind).filter(|kind| open.as_ref().is_some_and(|span| span.kind == *kind));
        match (&mut open, goes_on) {
            (Some(span), Some(_)) => span.end = index + 1,
            _ => {
                spans.extend(open.take());
                open = tag.strip_prefix('B').map(|rest| Span { kind: kind(rest), start: index, end: index + 1 });
            }
        }
    }
    spans.extend(open);
    spans
}

/// What was counted so far. Counts of two halves of a corpus, merged, are those of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    scheme: Scheme,
    kinds: BTreeMap<String, Tally>,
    tokens: u64,
    right_tokens: u64,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme, kinds: BTreeMap::new(), tokens: 0, right_tokens: 0 }
    }

    /// Counts one sentence. Words that only one side has (cut off by truncation) count as wrong tokens.
    pub fn add<G: AsRef<str>, P: AsRef<str>>(&mut self, gold: &[G], predicted: &[P]) {
        let (right, found) = (entities(gold, self.scheme), entities(predicted, self.scheme));
        for span in &right {
            self.kind(&span.kind).gold += 1;
        }
        let right: HashSet<Span> = right.into_iter().collect();
        for span in &found {
            let tally = self.kind(&span.kind);
            tally.predicted += 1;
            tally.correct += u64::from(right.contains(span));
        }
        self.tokens += gold.len().max(predicted.len()) as u64;
        let same = gold.iter().zip(predicted).filter(|(gold, predicted)| gold.as_ref() == predicted.as_ref());
        self.right_tokens += same.count() as u64;
    }

    /// Adds what was counted elsewhere, under the same scheme.
    pub fn merge(&mut self, other: &Counts) {
        for (kind, tally) in &other.kinds {
            *self.kind(kind) += *tally;
        }
        self.tokens += other.tokens;
        self.right_tokens += other.right_tokens;
    }

    fn kind(&mut self, kind: &str) -> &mut Tally {
        self.kinds.entry(kind.to_owned()).or_default()
    }

    /// How the tags are read.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
    /// The kinds of which the gold tags or the predictions hold an entity, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.kinds.iter().map(|(kind, tally)| (kind.as_str(), tally))
    }
    /// All kinds together: every entity weighs the same. Its F1 is "the" F1 of CoNLL-2003.
    pub fn micro(&self) -> Tally {
        let mut all = Tally::default();
        self.kinds.values().for_each(|tally| all += *tally);
        all
    }
    /// The mean over [`Self::kinds`]: every kind weighs the same. (The mean of F1, not the F1 of means.) 0 of none.
    pub fn macro_average(&self) -> Scores {
        let kinds = self.kinds.len().max(1) as f64;
        // Not `sum`, which is -0 of nothing.
        let mean = |score: fn(&Tally) -> f64| self.kinds.values().map(score).fold(0.0, |sum, one| sum + one) / kinds;
        Scores { precision: mean(Tally::precision), recall: mean(Tally::recall), f1: mean(Tally::f1) }
    }
    /// The share of words with the right tag, `O` included, from 0 to 1.
    pub fn accuracy(&self) -> f64 {
        share(self.right_tokens as f64, self.tokens as f64)
    }
    /// How many words were counted.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}
