//! An answer beside the gold one, as reports show an example: one function of the answer's shape.
//!
//! ```text
//! spans       the text, gold and predicted parts marked with their types; what is wrong, in words
//! candidates  the text around the answers, marked; the candidates with their scores
//! labels      the text; the most probable labels with their scores, and all that hold
//! number      the text; the gold and the predicted number
//! edges       the text, the ends of relations marked; the relations
//! tree        the words, each below its head; the words whose head or relation is wrong
//! ```
//!
//! Offsets of answers count characters here, as those of examples out of files do.

use super::answer::{Answer, Candidates, Edge, Edges, End, Labels, Number, Shape, Spans, Tree, Word};
use crate::document::{Case, Item, Mark, Piece, Tone, marked, marked_whole, number};
use crate::metrics::span_errors::{Outcome, Pair, pair};
use crate::metrics::span_f1::Span;
use crate::text::offsets::{char_to_byte, slice};
use std::ops::Range;

/// So many labels are shown, and those that are gold or predicted.
const LABELS: usize = 5;
/// So many bytes of a text stand around the answers in it.
const AROUND: usize = 160;

/// What is shown of an example.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drawing {
    /// The text, in pieces that follow each other.
    pub text: Vec<Piece>,
    /// Labels, candidates, relations or words.
    pub items: Vec<Item>,
    /// What there is to say of it: name and value.
    pub facts: Vec<(String, String)>,
}

impl Drawing {
    /// As an example of a document.
    pub fn case(self, verdict: impl Into<String>, tone: Tone, place: impl Into<String>) -> Case {
        let Self { text, items, facts } = self;
        Case { verdict: verdict.into(), tone, place: place.into(), text, items, facts }
    }
}

/// How to read the drawings of a shape.
pub const fn legend(shape: Shape) -> &'static str {
    match shape {
        Shape::Spans => {
            "Underlined: gold, and not found so. Dashed: predicted, and not gold. Filled: found, at its place and with its \
             type. The small letters are the type: gold, or predicted where it is not gold."
        }
        Shape::Candidates => {
            "In the text, underlined: gold. Dashed: predicted. Filled: both. Below it the candidates with their scores."
        }
        Shape::Labels => "Below each text the most probable labels with their scores, and the gold ones.",
        Shape::Number => "Below each text the gold and the predicted number.",
        Shape::Edges => {
            "In the text, underlined: an end of a gold relation. Dashed: of a predicted one. Filled: of both. Below it the \
             relations, with the scores of those that were predicted."
        }
        Shape::Tree => "Each word stands below its predicted head, with its relation to it and the score.",
    }
}

/// An answer beside the gold one, if there is one of the same shape. Where an answer holds no text of its own, `text` is
/// what its parts are of.
pub fn draw(text: &str, gold: Option<&Answer>, found: &Answer) -> Drawing {
    let of = |own: &'_ str| if own.is_empty() { text.to_owned() } else { own.to_owned() };
    match found {
        Answer::Spans(found) => {
            let text = of(&found.text);
            let parts = |answer: &Spans| -> Vec<Span> {
                let part = |one: &super::answer::Span| {
                    let Range { start, end } = bytes(&text, one.start, one.end)?;
                    Some(Span { kind: one.kind.clone(), start, end })
                };
                answer.entities.iter().filter_map(part).collect()
            };
            let gold = if let Some(Answer::Spans(gold)) = gold { parts(gold) } else { Vec::new() };
            let found = parts(found);
            spans(&text, &gold, &found, &pair(&gold, &found))
        }
        Answer::Candidates(found) => {
            let gold = if let Some(Answer::Candidates(gold)) = gold { Some(gold) } else { None };
            candidates(text, gold, found)
        }
        Answer::Labels(found) => {
            let gold = if let Some(Answer::Labels(gold)) = gold { gold.chosen() } else { Vec::new() };
            labels(text, &gold, found)
        }
        Answer::Number(found) => {
            let gold = if let Some(Answer::Number(gold)) = gold { Some(*gold) } else { None };
            numbers(text, gold, *found)
        }
        Answer::Edges(found) => {
            let gold = if let Some(Answer::Edges(gold)) = gold { gold.edges.as_slice() } else { &[] };
            edges(&of(&found.text), gold, found)
        }
        Answer::Tree(found) => {
            let gold = if let Some(Answer::Tree(gold)) = gold { Some(gold) } else { None };
            tree(&of(&found.text), gold, found)
        }
    }
}

/// Characters as bytes; none of what lies beyond the text, or is empty.
fn bytes(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let range = char_to_byte(text, start)?..char_to_byte(text, end)?;
    (range.start < range.end).then_some(range)
}

/// Labelled parts of a text (in bytes), gold and predicted, and which of them belong together.
pub fn spans(text: &str, gold: &[Span], found: &[Span], pairs: &[Pair]) -> Drawing {
    let part = |span: &Span| slice(text, span.start, span.end);
    let named = |span: &Span| format!("{} ({})", part(span), span.kind);
    let wrong = |pair: &Pair| {
        let gold = pair.gold.and_then(|at| gold.get(at));
        let found = pair.predicted.and_then(|at| found.get(at));
        let said = match (gold, found) {
            (Some(gold), Some(found)) if pair.outcome == Outcome::Kind => {
                format!("{}: {}, predicted as {}", part(gold), gold.kind, found.kind)
            }
            (Some(gold), Some(found)) => format!("{}, predicted: {}", named(gold), named(found)),
            (Some(one), None) | (None, Some(one)) => named(one),
            (None, None) => return None,
        };
        (pair.outcome != Outcome::Correct).then(|| (pair.outcome.name().to_owned(), said))
    };
    Drawing { text: typed(text, gold, found), items: Vec::new(), facts: pairs.iter().filter_map(wrong).collect() }
}

/// A text with its labelled parts, each with its type.
fn typed(text: &str, gold: &[Span], found: &[Span]) -> Vec<Piece> {
    let ranges = |spans: &[Span]| -> Vec<Range<usize>> { spans.iter().map(|span| span.start..span.end).collect() };
    let kind = |spans: &[Span], at: usize| {
        spans.iter().find(|span| (span.start..span.end).contains(&at)).map(|span| span.kind.clone())
    };
    let right = |range: &Range<usize>| kind(gold, range.start) == kind(found, range.start);
    let mut pieces = marked_whole(text, &ranges(gold), &ranges(found), right);
    let mut at = 0;
    for piece in &mut pieces {
        let named = match piece.mark {
            Mark::None => None,
            Mark::Found => kind(found, at),
            Mark::Gold | Mark::Both => kind(gold, at),
        };
        piece.label = named.unwrap_or_default();
        at += piece.text.len();
    }
    pieces
}

const NO_ANSWER: &str = "no answer";

fn candidates(text: &str, gold: Option<&Candidates>, found: &Candidates) -> Drawing {
    let all = |of: &Candidates| -> Vec<(String, Range<usize>, f64)> {
        let others = of.alternatives.iter().map(|one| (one.answer.clone(), (one.start, one.end), one.score));
        std::iter::once((of.answer.clone(), (of.start, of.end), of.score))
            .chain(others)
            .map(|(answer, (start, end), score)| (answer, bytes(text, start, end).unwrap_or_default(), score))
            .collect()
    };
    let golds = gold.map(all).unwrap_or_default();
    let named = |answer: &str| if answer.is_empty() { NO_ANSWER.to_owned() } else { answer.to_owned() };
    let items = all(found).into_iter().enumerate().map(|(at, (answer, _, score))| {
        let mark = match (golds.iter().any(|(gold, ..)| *gold == answer), at) {
            (true, 0) => Mark::Both,
            (true, _) => Mark::Gold,
            (false, 0) => Mark::Found,
            (false, _) => Mark::None,
        };
        Item { text: named(&answer), mark, share: Some(score), depth: 0 }
    });
    let mut names: Vec<String> = golds.iter().map(|(answer, ..)| named(answer)).collect();
    names.sort_unstable();
    names.dedup();
    let placed = |ranges: Vec<(String, Range<usize>, f64)>| -> Vec<Range<usize>> {
        ranges.into_iter().map(|(_, range, _)| range).filter(|range| !range.is_empty()).collect()
    };
    let items = items.collect();
    let facts = if names.is_empty() { Vec::new() } else { vec![("gold".to_owned(), names.join(" | "))] };
    let best = bytes(text, found.start, found.end).filter(|_| !found.answer.is_empty());
    Drawing { text: excerpt(text, &placed(golds), best.as_slice()), items, facts }
}

fn labels(text: &str, gold: &[(&str, f64)], found: &Labels) -> Drawing {
    let chosen = found.chosen();
    let among = |labels: &[(&str, f64)], label: &str| labels.iter().any(|(known, _)| *known == label);
    let item = |(at, one): (usize, &super::answer::Label)| {
        let mark = match (among(gold, &one.label), among(&chosen, &one.label)) {
            (true, true) => Mark::Both,
            (true, false) => Mark::Gold,
            (false, true) => Mark::Found,
            (false, false) => Mark::None,
        };
        (at < LABELS || mark != Mark::None).then(|| Item {
            text: one.label.clone(),
            mark,
            share: Some(one.score),
            depth: 0,
        })
    };
    Drawing {
        text: vec![Piece::plain(text)],
        items: found.labels.iter().enumerate().filter_map(item).collect(),
        facts: Vec::new(),
    }
}

fn numbers(text: &str, gold: Option<Number>, found: Number) -> Drawing {
    let fact = |name: &str, Number { value }| (name.to_owned(), number::decimal(value));
    let gold = gold.map(|gold| fact("gold", gold));
    let facts = gold.into_iter().chain([fact("predicted", found)]).collect();
    Drawing { text: vec![Piece::plain(text)], items: Vec::new(), facts }
}

fn edges(text: &str, gold: &[Edge], found: &Edges) -> Drawing {
    let same = |a: &Edge, b: &Edge| (&a.kind, &a.from, &a.to) == (&b.kind, &b.from, &b.to);
    let item = |edge: &Edge, mark, share| Item {
        text: format!("{} — {} → {}", edge.from.text, edge.kind, edge.to.text),
        mark,
        share,
        depth: 0,
    };
    let of_gold = gold.iter().map(|edge| match found.edges.iter().find(|other| same(edge, other)) {
        Some(found) => item(edge, Mark::Both, Some(found.score)),
        None => item(edge, Mark::Gold, None),
    });
    let surplus = found.edges.iter().filter(|edge| !gold.iter().any(|other| same(edge, other)));
    let items = of_gold.chain(surplus.map(|edge| item(edge, Mark::Found, Some(edge.score)))).collect();
    let ends = |edges: &[Edge]| -> Vec<Range<usize>> {
        let ends = edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
        ends.filter_map(|end: &End| bytes(text, end.start, end.end)).collect()
    };
    Drawing { text: marked(text, &ends(gold), &ends(&found.edges)), items, facts: Vec::new() }
}

fn tree(text: &str, gold: Option<&Tree>, found: &Tree) -> Drawing {
    let same = |a: &Word, b: &Word| a.head == b.head && a.label == b.label;
    let gold_of = |at: usize| gold.and_then(|gold| gold.words.get(at));
    let mark = |at: usize, word: &Word| match gold_of(at) {
        None => Mark::None,
        Some(of_gold) if same(of_gold, word) => Mark::Both,
        Some(_) => Mark::Found,
    };
    // From the root down. A word that hangs from none (no tree says so) comes last.
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(found.words.len());
    let mut seen = vec![false; found.words.len()];
    let below = |head: usize| {
        (0..found.words.len()).filter(move |&at| found.words.get(at).is_some_and(|word| word.head == head))
    };
    for start in below(0).chain(0..found.words.len()) {
        let mut open = vec![(start, 0)];
        while let Some((at, depth)) = open.pop() {
            if let Some(new @ false) = seen.get_mut(at) {
                *new = true;
                order.push((at, depth));
                open.extend(below(at + 1).map(|child| (child, depth + 1)).collect::<Vec<_>>().into_iter().rev());
            }
        }
    }
    let items = order.into_iter().filter_map(|(at, depth)| {
        let word = found.words.get(at)?;
        let text = format!("{} ({})", word.text, word.label);
        Some(Item { text, mark: mark(at, word), share: Some(word.score), depth })
    });
    let wrong = found.words.iter().enumerate().filter_map(|(at, word)| {
        let (gold, of_gold) = (gold?, gold_of(at).filter(|of_gold| !same(of_gold, word))?);
        let said = |tree: &Tree, word: &Word| format!("{} of {}", word.label, tree.head_text(word));
        Some((word.text.clone(), format!("{}, predicted: {}", said(gold, of_gold), said(found, word))))
    });
    Drawing { text: vec![Piece::plain(text)], items: items.collect(), facts: wrong.collect() }
}

/// A text around the answers in it, marked; what lies far from them becomes an ellipsis.
fn excerpt(text: &str, golds: &[Range<usize>], found: &[Range<usize>]) -> Vec<Piece> {
    // Of several gold answers the first is shown, with those that overlap it.
    let overlapping = |first: &Range<usize>| {
        let near = || golds.iter().filter(|range| range.start < first.end && first.start < range.end);
        let start = near().map(|range| range.start).min().unwrap_or(first.start);
        start..near().map(|range| range.end).max().unwrap_or(first.end)
    };
    let gold: Vec<Range<usize>> = golds.first().map(overlapping).into_iter().collect();
    if gold.is_empty() && found.is_empty() {
        return vec![Piece::plain(number::start_of(text, 2 * AROUND))];
    }
    let shown =
        |at: usize| gold.iter().chain(found).any(|range| at + AROUND >= range.start && at <= range.end + AROUND);
    let mut pieces = Vec::new();
    let mut start = 0;
    for piece in marked(text, &gold, found) {
        let end = start + piece.text.len();
        if piece.mark != Mark::None {
            pieces.push(piece);
        } else {
            pieces.extend(near(&piece.text, |at| shown(start + at)));
        }
        start = end;
    }
    pieces
}

/// The words of a text that are near, with an ellipsis for each gap.
fn near(text: &str, shown: impl Fn(usize) -> bool) -> Option<Piece> {
    let mut kept = String::new();
    let mut gap = false;
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        if shown(at) {
            if gap {
                kept.push_str("… ");
            }
            kept.push_str(word);
            gap = false;
        } else {
            gap = true;
        }
        at += word.len();
    }
    if gap {
        kept.push_str("… ");
    }
    (!kept.is_empty()).then(|| Piece::plain(kept))
}

#[cfg(test)]
mod each_shape;
