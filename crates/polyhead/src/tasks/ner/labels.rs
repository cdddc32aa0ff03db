//! How labels spell entities: `B-PER`, `I-PER` (and `E-`, `S-`, `L-`, `U-`) with a prefix, or the type alone, `PER`.
//!
//! ```text
//! labels of a task -> Notation;   Notation + the labels of words -> entities
//! ```
//!
//! Only the label `O` is outside, whatever the types are called. Neighbours with the same label without a prefix are one
//! entity, as transformers groups them. The metrics read tags by their prefix alone (as seqeval does, which takes `PER`
//! for a `P` of the type `ER`), so that such labels are given one before they are counted.

use crate::metrics::span_f1::{Scheme, Span, entities};
use crate::tasks::words::OUTSIDE;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// How the labels of a task are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notation {
    /// Whether any of them has a prefix. Otherwise `E-MAIL` is a type as a whole.
    prefixed: bool,
}

impl Notation {
    /// That of these labels.
    pub fn of(labels: &[String]) -> Self {
        let opens = |label: &String| matches!(split(label), Some(("B" | "I", _)));
        Self { prefixed: labels.iter().any(opens) }
    }

    /// The prefix and the type of a label: no prefix where the label is a type alone, nothing for `O`.
    pub fn parts(self, label: &str) -> Option<(Option<&str>, &str)> {
        match split(label).filter(|_| self.prefixed) {
            _ if label == OUTSIDE => None,
            Some((prefix, kind)) => Some((Some(prefix), kind)),
            None => Some((None, label)),
        }
    }

    /// The type of a label; nothing for `O`.
    pub fn kind(self, label: &str) -> Option<&str> {
        self.parts(label).map(|(_, kind)| kind)
    }

    /// Labels as the lenient scheme of the metrics reads them: a type alone as `I-`.
    pub fn lenient(self, labels: &[String]) -> Cow<'_, [String]> {
        self.rewritten(labels, |_, kind| format!("I-{kind}"))
    }

    /// Labels as the strict scheme reads them: a type alone as `B-`, or as `I-` after its like.
    pub fn strict(self, labels: &[String]) -> Cow<'_, [String]> {
        self.rewritten(labels, |goes_on, kind| format!("{}-{kind}", if goes_on { 'I' } else { 'B' }))
    }

    fn rewritten(self, labels: &[String], plain: impl Fn(bool, &str) -> String) -> Cow<'_, [String]> {
        let as_read = |label: &String| matches!(self.parts(label), None | Some((Some("B" | "I" | "E" | "S"), _)));
        if labels.iter().all(as_read) {
            return Cow::Borrowed(labels);
        }
        let mut before = None;
        let rewrite = |label: &String| {
            let parts = self.parts(label);
            let kind = parts.map(|(_, kind)| kind);
            let goes_on = kind.is_some() && before == kind.map(str::to_owned);
            before = kind.map(str::to_owned);
            match parts {
                None | Some((Some("B" | "I" | "E" | "S"), _)) => label.clone(),
                Some((None, kind)) => plain(goes_on, kind),
                Some((Some("L"), kind)) => format!("E-{kind}"),
                Some((Some(_), kind)) => format!("S-{kind}"),
            }
        };
        labels.iter().map(rewrite).collect::<Vec<_>>().into()
    }

    /// The entities that the labels of words spell, read leniently.
    pub fn entities(self, labels: &[String]) -> Vec<Span> {
        entities(&self.lenient(labels), Scheme::Lenient)
    }

    /// What the second of two labels makes of something between them that has none: inside, where it goes on with the
    /// entity of the first, else outside.
    pub fn between(self, before: &str, after: &str) -> String {
        let both = [before.to_owned(), after.to_owned()];
        match (self.entities(&both).as_slice(), self.parts(before)) {
            ([Span { start: 0, end: 2, .. }], Some((None, kind))) => kind.to_owned(),
            ([Span { start: 0, end: 2, .. }], Some((_, kind))) => format!("I-{kind}"),
            _ => OUTSIDE.to_owned(),
        }
    }
}

/// The label of a later part of a word, whose first part has this label.
pub(super) fn inside(label: Cow<'_, str>) -> Cow<'_, str> {
    match label.strip_prefix("B-") {
        Some(kind) => Cow::Owned(format!("I-{kind}")),
        None => label,
    }
}

/// `O`, then `B-` and `I-` of each type in alphabetical order, then those without a prefix.
pub(super) fn labels_of(tags: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let tags: BTreeSet<String> = tags.map(|tag| tag.as_ref().to_owned()).collect();
    let notation = Notation::of(&tags.iter().cloned().collect::<Vec<_>>());
    let (mut kinds, mut plain) = (BTreeSet::new(), BTreeSet::new());
    for (prefix, kind) in tags.iter().filter_map(|tag| notation.parts(tag)) {
        if prefix.is_some() {
            kinds.insert(kind)
        } else {
            plain.insert(kind)
        };
    }
    let both = kinds.iter().flat_map(|kind| [format!("B-{kind}"), format!("I-{kind}")]);
    std::iter::once(OUTSIDE.to_owned()).chain(both).chain(plain.into_iter().map(str::to_owned)).collect()
}

/// A prefix of one letter and what follows its hyphen.
fn split(label: &str) -> Option<(&str, &str)> {
    let (prefix, kind) = label.split_once('-')?;
    (matches!(prefix, "B" | "I" | "E" | "S" | "L" | "U") && !kind.is_empty()).then_some((prefix, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &str) -> Vec<String> {
        labels.split_whitespace().map(str::to_owned).collect()
    }

    fn found(of: &str, words: &str) -> Vec<(String, usize, usize)> {
        let spans = Notation::of(&labels(of)).entities(&labels(words));
        spans.into_iter().map(|span| (span.kind, span.start, span.end)).collect()
    }

    fn spans(rows: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
        rows.iter().map(|&(kind, start, end)| (kind.to_owned(), start, end)).collect()
    }

    #[test]
    fn labels_without_a_prefix_are_types_and_neighbours_of_one_type_are_one_entity() {
        let plain = "O ORG PER E-MAIL S-Bahn O-RING";
        assert_eq!(
            found(plain, "PER PER ORG O ORG O-RING O E-MAIL E-MAIL S-Bahn"),
            spans(&[
                ("PER", 0, 2),
                ("ORG", 2, 3),
                ("ORG", 4, 5),
                ("O-RING", 5, 6),
                ("E-MAIL", 7, 9),
                ("S-Bahn", 9, 10)
            ])
        );
        // Without an `O` nothing is outside.
        assert_eq!(found("LABEL_0 LABEL_1", "LABEL_0 LABEL_1 LABEL_1"), spans(&[("LABEL_0", 0, 1), ("LABEL_1", 1, 3)]));
        // Beside labels with a prefix, one without goes on like `I-`.
        assert_eq!(found("O B-LOC LOC", "B-LOC LOC B-LOC LOC"), spans(&[("LOC", 0, 2), ("LOC", 2, 4)]));
    }

    #[test]
    fn labels_with_a_prefix_are_read_as_the_metrics_read_them_and_the_last_and_the_only_word_end_an_entity() {
        let iob = "O B-PER I-PER B-O I-O";
        let words = labels("B-PER I-PER O I-PER B-O I-O O I-O");
        let notation = Notation::of(&labels(iob));
        assert!(
            matches!(notation.lenient(&words), Cow::Borrowed(_)) && matches!(notation.strict(&words), Cow::Borrowed(_))
        );
        assert_eq!(
            found(iob, "B-PER I-PER O I-PER B-O I-O O I-O"),
            spans(&[("PER", 0, 2), ("PER", 3, 4), ("O", 4, 6), ("O", 7, 8)])
        );
        assert_eq!(found("O B-A I-A E-A S-A", "S-A S-A B-A E-A"), spans(&[("A", 0, 1), ("A", 1, 2), ("A", 2, 4)]));
        assert_eq!(found("O B-A I-A L-A U-A", "U-A U-A B-A I-A L-A"), spans(&[("A", 0, 1), ("A", 1, 2), ("A", 2, 5)]));
    }

    #[test]
    fn the_strict_reading_of_types_alone_finds_the_same_entities() {
        let notation = Notation::of(&labels("O ORG PER"));
        let words = labels("PER PER ORG O ORG ORG");
        assert_eq!(*notation.strict(&words), *labels("B-PER I-PER B-ORG O B-ORG I-ORG"));
        assert_eq!(entities(&notation.strict(&words), Scheme::StrictIob2), notation.entities(&words));
    }

    #[test]
    fn what_stands_between_two_words_of_an_entity_is_inside() {
        let notation = Notation::of(&labels("O B-A I-A"));
        for (before, after, want) in
            [("B-A", "I-A", "I-A"), ("B-A", "B-A", "O"), ("B-A", "O", "O"), ("O", "I-A", "O"), ("O", "O", "O")]
        {
            assert_eq!(notation.between(before, after), want, "{before} {after}");
        }
        assert_eq!(Notation::of(&labels("O A")).between("A", "A"), "A");
    }

    #[test]
    fn the_labels_of_data_hold_both_prefixes_of_each_type() {
        assert_eq!(labels_of(labels("I-B O B-A-B").iter()), labels("O B-A-B I-A-B B-B I-B"));
        assert_eq!(labels_of(labels("PER O E-MAIL").iter()), labels("O E-MAIL PER"));
        assert_eq!(labels_of(std::iter::empty::<String>()), labels("O"));
    }
}
