//! The search for answers: over all windows of a context, pairs of a start and an end by the sum of their logits.

use super::{Config, Qa, QaExample};
use crate::tasks::Window;
use crate::text::offsets::slice;
use std::ops::Range;

/// What was found: the best answers, best first.
pub struct Found {
    pub(super) answers: Vec<Candidate>,
    /// The score of "no answer" minus that of the best answer, where "no answer" is allowed.
    pub(super) null_difference: Option<f64>,
    /// Whether the score of the best answer is too low for it to be given.
    pub(super) withheld: bool,
}

/// An answer that was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub start: usize,
    pub end: usize,
    /// The sum of its start and end logits without the penalty for its length, comparable across windows.
    pub logit: f64,
    /// Its share among the candidates: the softmax of the logits.
    pub score: f64,
}

impl Found {
    /// Whether "no answer" wins, with this threshold.
    pub(super) fn is_none(&self, threshold: f64) -> bool {
        self.answers.is_empty()
            || self.withheld
            || self.null_difference.is_some_and(|difference| difference > threshold)
    }

    /// The answer, unless "no answer" wins.
    pub(super) fn best(&self, threshold: f64) -> Option<&Candidate> {
        self.answers.first().filter(|_| !self.is_none(threshold))
    }

    /// The best answer, though "no answer" may win; empty if its score is too low for it to be given.
    pub(super) fn first<'a>(&self, example: &'a QaExample) -> &'a str {
        self.answers.first().filter(|_| !self.withheld).map_or("", |best| slice(&example.context, best.start, best.end))
    }

    /// The probability of "no answer" among the candidates; where the best answer is withheld, that of any other.
    pub(super) fn null_score(&self) -> f64 {
        if let (true, Some(best)) = (self.withheld, self.answers.first()) {
            return 1.0 - best.score;
        }
        // Not below zero by rounding.
        (1.0 - self.answers.iter().map(|answer| answer.score).sum::<f64>()).max(0.0)
    }
}

/// The candidates of one window: the best pairs of its best starts and ends.
fn candidates(config: &Config, window: &Window, into: &mut Vec<Candidate>) {
    let spans = &window.features.spans;
    let best = |column: usize| {
        let mut order: Vec<(usize, f32)> =
            window.logits.rows().enumerate().filter_map(|(at, row)| Some((at, *row.get(column)?))).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        order.truncate(config.n_best);
        order
    };
    let (ends, penalty) = (best(1), config.penalty());
    for (start, start_logit) in best(0) {
        for &(end, end_logit) in &ends {
            let (Some(Some(from)), Some(Some(to))) = (spans.get(start), spans.get(end)) else { continue };
            if end >= start && end - start < config.max_answer_length {
                let logit = f64::from(start_logit) + f64::from(end_logit) - penalty * (end - start) as f64;
                into.push(Candidate { start: from.0, end: to.1, logit, score: 0.0 });
            }
        }
    }
}

impl Qa {
    /// The best answers over all windows of a context. `align` may widen each, before those that are then the same are
    /// taken together.
    pub(super) fn search(
        &self,
        context: &str,
        windows: &[Window],
        align: impl Fn(Range<usize>) -> Range<usize>,
    ) -> Found {
        let mut answers: Vec<Candidate> = Vec::new();
        let mut null = f64::INFINITY;
        for window in windows {
            if let [start, end] = window.logits.row(0) {
                null = null.min(f64::from(*start) + f64::from(*end));
            }
            candidates(&self.config, window, &mut answers);
        }
        for answer in &mut answers {
            let Range { start, end } = align(answer.start..answer.end);
            (answer.start, answer.end) = (start, end);
        }
        answers.retain(|answer| !slice(context, answer.start, answer.end).is_empty());
        answers.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        // Overlapping windows find the same slice more than once.
        let mut seen = std::collections::HashSet::new();
        answers.retain(|answer| seen.insert((answer.start, answer.end)));
        answers.truncate(self.config.n_best);
        let allowed = self.config.allows_none();
        let null_difference = answers.first().filter(|_| allowed).map(|best| null - best.logit);
        let top = answers.iter().map(|answer| answer.logit).chain(allowed.then_some(null)).fold(f64::MIN, f64::max);
        let weight = |logit: f64| (logit - top).exp();
        let total =
            answers.iter().map(|answer| weight(answer.logit)).sum::<f64>() + if allowed { weight(null) } else { 0.0 };
        for answer in &mut answers {
            answer.score = weight(answer.logit) / total;
        }
        let least = self.config.min_score.or(self.config.chosen_min_score);
        let withheld = answers.first().is_some_and(|best| best.score < least);
        Found { answers, null_difference, withheld }
    }
}
