//! What kind of error each entity is: `(gold spans, predicted spans) -> pairs with their outcome`.
//!
//! Each gold entity is paired with at most one predicted one, and the other way round: first those with the same words
//! (whatever their kinds), then those that share most words, of the same kind first. What remains alone was missed or is
//! spurious. The classes are those of MUC-5 as SemEval-2013 task 9 applies them, with boundary and type errors apart.

use super::span_f1::Span;

/// What came of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The same words and the same kind.
    Correct,
    /// The same kind, other words.
    Boundary,
    /// The same words, another kind.
    Kind,
    /// Neither, but some words are shared.
    Both,
    /// A gold entity of which nothing was predicted.
    Missed,
    /// A predicted entity where no gold one is left.
    Spurious,
}

impl Outcome {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Boundary => "boundary",
            Self::Kind => "type",
            Self::Both => "boundary and type",
            Self::Missed => "missed",
            Self::Spurious => "spurious",
        }
    }
}

/// Outcomes in the order in which they are shown.
pub const OUTCOMES: [Outcome; 6] =
    [Outcome::Correct, Outcome::Boundary, Outcome::Kind, Outcome::Both, Outcome::Missed, Outcome::Spurious];

/// A gold entity, a predicted one, or both where they belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The index of the gold one.
    pub gold: Option<usize>,
    /// The index of the predicted one.
    pub predicted: Option<usize>,
    /// What it is.
    pub outcome: Outcome,
}

/// Pairs the entities of a sentence, in the order of the gold ones; spurious ones come last.
pub fn pair(gold: &[Span], predicted: &[Span]) -> Vec<Pair> {
    let mut partner: Vec<Option<usize>> = vec![None; gold.len()];
    let mut taken = vec![false; predicted.len()];
    let mut candidates: Vec<(bool, usize, bool, usize, usize)> = Vec::new();
    for (g, a) in gold.iter().enumerate() {
        for (p, b) in predicted.iter().enumerate() {
            let shared = a.end.min(b.end).saturating_sub(a.start.max(b.start));
            if shared > 0 {
                candidates.push(((a.start, a.end) == (b.start, b.end), shared, a.kind == b.kind, g, p));
            }
        }
    }
    // The same words first, then most words, then the same kind, then the order of the sentence. Equal words of two
    // kinds can be predicted by nothing that reads tags, so that kinds need not come before words there.
    candidates.sort_by(|a, b| (b.0, b.1, b.2).cmp(&(a.0, a.1, a.2)).then((a.3, a.4).cmp(&(b.3, b.4))));
    for (_, _, _, g, p) in candidates {
        if let (Some(slot @ None), Some(free @ false)) = (partner.get_mut(g), taken.get_mut(p)) {
            (*slot, *free) = (Some(p), true);
        }
    }
    let outcome = |gold: &Span, predicted: Option<&Span>| match predicted {
        None => Outcome::Missed,
        Some(found) => match ((gold.start, gold.end) == (found.start, found.end), gold.kind == found.kind) {
            (true, true) => Outcome::Correct,
            (false, true) => Outcome::Boundary,
            (true, false) => Outcome::Kind,
            (false, false) => Outcome::Both,
        },
    };
    let of_gold = gold.iter().zip(&partner).enumerate().map(|(at, (span, partner))| Pair {
        gold: Some(at),
        predicted: *partner,
        outcome: outcome(span, partner.and_then(|partner| predicted.get(partner))),
    });
    let alone = taken.iter().enumerate().filter(|(_, taken)| !**taken);
    let spurious = alone.map(|(at, _)| Pair { gold: None, predicted: Some(at), outcome: Outcome::Spurious });
    of_gold.chain(spurious).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kind: &str, start: usize, end: usize) -> Span {
        Span { kind: kind.into(), start, end }
    }

    #[test]
    fn boundary_and_type_errors_are_told_apart() {
        let gold = [span("PER", 0, 2), span("ORG", 3, 5), span("LOC", 6, 7), span("LOC", 8, 10), span("MISC", 12, 13)];
        let found = [span("PER", 0, 2), span("ORG", 3, 4), span("ORG", 6, 7), span("PER", 9, 10), span("PER", 20, 21)];
        let outcomes: Vec<Outcome> = pair(&gold, &found).iter().map(|pair| pair.outcome).collect();
        use Outcome::{Both, Boundary, Correct, Kind, Missed, Spurious};
        assert_eq!(outcomes, [Correct, Boundary, Kind, Both, Missed, Spurious]);
    }

    #[test]
    fn the_same_words_go_together_before_more_words_of_another() {
        // One long prediction over two gold entities, the second of which is predicted itself.
        let gold = [span("LOC", 0, 2), span("LOC", 2, 3)];
        let found = [span("LOC", 2, 3), span("LOC", 1, 3)];
        let pairs = pair(&gold, &found);
        assert_eq!((pairs[0].predicted, pairs[0].outcome), (Some(1), Outcome::Boundary));
        assert_eq!((pairs[1].predicted, pairs[1].outcome), (Some(0), Outcome::Correct));
    }

    #[test]
    fn every_entity_is_in_one_pair() {
        let gold = [span("A", 0, 4)];
        let found = [span("A", 0, 1), span("B", 1, 3), span("A", 3, 4)];
        let pairs = pair(&gold, &found);
        assert_eq!((pairs[0].predicted, pairs[0].outcome), (Some(1), Outcome::Both), "most words shared");
        assert_eq!(pairs.len(), 3);
        assert_eq!(pair(&[], &[]), []);
    }
}
