//! The most probable labels of a sentence among the sequences that spell entities (Viterbi 1967).
//!
//! ```text
//! probabilities, a row for each word -> the labels whose product is greatest, in which only legal neighbours meet
//! ```
//!
//! Legal is what the labels of the task can say: an `I-x` follows a `B-x` or an `I-x`; where there are `E-` (or `L-`), an entity is
//! closed by one. A set of labels without `B-x` may open an entity of x with any label. The transitions have no weights of their own: they
//! are allowed or not, so that training is the same with and without them.

use super::Notation;

/// Which labels may follow each other.
pub(super) struct Transitions {
    /// Whether a sentence may begin with a label.
    first: Vec<bool>,
    /// For each label those that may stand before it.
    before: Vec<Vec<usize>>,
    /// Whether a sentence may end with a label.
    last: Vec<bool>,
}

/// What a label does to an entity.
struct Role<'a> {
    /// The type of the entity that it goes on with, if it may.
    continues: Option<&'a str>,
    /// Whether it may stand where no entity is open: it is outside, or opens one.
    opens: bool,
    /// The type of the entity that it leaves open.
    leaves: Option<&'a str>,
    /// Whether nothing of its entity needs to follow.
    closes: bool,
}

impl Transitions {
    /// Those of the labels of a task.
    pub fn of(labels: &[String]) -> Self {
        let roles = roles(labels);
        let follows = |before: &Role, after: &Role| {
            before.leaves.is_some() && before.leaves == after.continues || before.closes && after.opens
        };
        let before = roles.iter().map(|after| {
            let legal = roles.iter().enumerate().filter(|(_, before)| follows(before, after));
            legal.map(|(label, _)| label).collect()
        });
        Self {
            before: before.collect(),
            first: roles.iter().map(|role| role.opens).collect(),
            last: roles.iter().map(|role| role.closes).collect(),
        }
    }

    /// A label for each row of probabilities, the first of equals; `None` where no sequence is legal.
    pub fn most_probable(&self, rows: &[&[f64]]) -> Option<Vec<usize>> {
        let (first, others) = rows.split_first()?;
        // The greatest logarithm of a product that ends in each label, and of every word but the first the label before it.
        let mut sums: Vec<f64> =
            first.iter().zip(&self.first).map(|(p, legal)| if *legal { p.ln() } else { f64::NEG_INFINITY }).collect();
        let mut origins: Vec<Vec<usize>> = Vec::with_capacity(others.len());
        for row in others {
            let best = |before: &Vec<usize>| best(before.iter().copied(), &sums);
            let origin: Vec<Option<usize>> = self.before.iter().map(best).collect();
            let sum = |from: &Option<usize>| from.and_then(|from| sums.get(from)).copied().unwrap_or(f64::NEG_INFINITY);
            let next = origin.iter().zip(*row).map(|(from, p)| sum(from) + p.ln()).collect();
            origins.push(origin.into_iter().map(|from| from.unwrap_or(0)).collect());
            sums = next;
        }
        let ends = self.last.iter().enumerate().filter(|(_, legal)| **legal).map(|(label, _)| label);
        let mut label = best(ends, &sums).filter(|&label| sums.get(label).is_some_and(|sum| sum.is_finite()))?;
        let mut labels = vec![label];
        for origin in origins.iter().rev() {
            label = *origin.get(label)?;
            labels.push(label);
        }
        labels.reverse();
        Some(labels)
    }
}

/// The candidate with the greatest sum, the first of equals.
fn best(candidates: impl Iterator<Item = usize>, sums: &[f64]) -> Option<usize> {
    let sum = |label: usize| sums.get(label).copied().unwrap_or(f64::NEG_INFINITY);
    candidates.max_by(|&a, &b| sum(a).total_cmp(&sum(b)).then(b.cmp(&a)))
}

fn roles(labels: &[String]) -> Vec<Role<'_>> {
    let notation = Notation::of(labels);
    let has = |prefixes: &[&str], kind: &str| {
        let parts = labels.iter().filter_map(|label| notation.parts(label));
        parts.into_iter().any(|(prefix, of)| of == kind && prefix.is_some_and(|prefix| prefixes.contains(&prefix)))
    };
    let role = |label| {
        let Some((Some(prefix), kind)) = notation.parts(label) else {
            return Role { continues: None, opens: true, leaves: None, closes: true };
        };
        Role {
            continues: matches!(prefix, "I" | "E" | "L").then_some(kind),
            opens: matches!(prefix, "B" | "S" | "U") || !has(&["B", "S", "U"], kind),
            leaves: matches!(prefix, "B" | "I").then_some(kind),
            closes: matches!(prefix, "E" | "L" | "S" | "U") || !has(&["E", "L"], kind),
        }
    };
    labels.iter().map(|label: &String| role(label)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const IOB2: &[&str] = &["O", "B-A", "I-A", "B-B", "I-B"];
    const BIOES: &[&str] = &["O", "B-A", "I-A", "E-A", "S-A"];

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    fn legal(labels: &[&str], sequence: &[usize]) -> bool {
        let transitions = Transitions::of(&self::labels(labels));
        transitions.first[sequence[0]]
            && sequence.windows(2).all(|pair| transitions.before[pair[1]].contains(&pair[0]))
            && transitions.last[sequence[sequence.len() - 1]]
    }

    fn sequences(labels: usize, length: u32) -> impl Iterator<Item = Vec<usize>> {
        (0..labels.pow(length)).map(move |number| (0..length).map(|at| number / labels.pow(at) % labels).collect())
    }

    #[test]
    fn what_is_legal_in_iob2_is_what_strict_scoring_reads_as_it_stands() {
        use crate::metrics::span_f1::{Scheme, entities};
        for sequence in sequences(IOB2.len(), 4) {
            let tags: Vec<&str> = sequence.iter().map(|&label| IOB2[label]).collect();
            let both = (entities(&tags, Scheme::StrictIob2), entities(&tags, Scheme::Lenient));
            assert_eq!(legal(IOB2, &sequence), both.0 == both.1, "{tags:?}");
        }
    }

    #[test]
    fn in_bioes_an_entity_is_closed_and_types_alone_are_always_legal() {
        for (sequence, want) in [
            (&[1, 2, 3][..], true),
            (&[1, 3, 4, 1, 3], true),
            (&[0, 4, 0], true),
            (&[1, 2], false),
            (&[1, 0], false),
            (&[1, 4], false),
            (&[1, 1, 3], false),
            (&[0, 3], false),
            (&[4, 2, 3], false),
        ] {
            assert_eq!(legal(BIOES, sequence), want, "{sequence:?}");
        }
        assert!(sequences(3, 3).all(|sequence| legal(&["O", "A", "B"], &sequence)));
        assert!(sequences(3, 3).all(|sequence| legal(&["O", "I-A", "I-B"], &sequence)));
    }

    #[test]
    fn it_is_the_best_of_all_legal_sequences() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1_u64 << 24) as f64 + 1e-3
        };
        for (names, length) in [(IOB2, 1), (IOB2, 4), (BIOES, 2), (BIOES, 5), (&["O", "A"], 3)] {
            let transitions = Transitions::of(&labels(names));
            for _ in 0..40 {
                let rows: Vec<Vec<f64>> = (0..length).map(|_| names.iter().map(|_| random()).collect()).collect();
                let sum = |sequence: &[usize]| -> f64 {
                    sequence.iter().zip(&rows).map(|(&label, row)| row[label].ln()).sum()
                };
                let legal = sequences(names.len(), length).filter(|sequence| legal(names, sequence));
                let best = legal.max_by(|a, b| sum(a).total_cmp(&sum(b))).unwrap();
                let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
                assert_eq!(transitions.most_probable(&rows).unwrap(), best, "{names:?}");
            }
        }
    }

    #[test]
    fn of_equals_it_takes_the_first_and_where_nothing_is_legal_it_says_so() {
        let transitions = Transitions::of(&labels(IOB2));
        assert_eq!(transitions.most_probable(&[&[0.2; 5], &[0.2; 5]]), Some(vec![0, 0]));
        assert_eq!(transitions.most_probable(&[]), None);
        assert_eq!(transitions.most_probable(&[&[0.0, 0.0, 1.0, 0.0, 0.0]]), None);
        assert_eq!(Transitions::of(&labels(&["B-A", "E-A"])).most_probable(&[&[0.5, 0.5]]), None);
    }
}
