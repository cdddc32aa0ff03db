//! Relations between parts of a text that another task of the same model found: `spans -> pairs -> requests -> one answer`.
//!
//! ```text
//! "Ada worked with Babbage in London."   Ada, Babbage, London   -> (Ada, Babbage) (Babbage, London) (Ada, London)
//! ```
//!
//! Each pair is a request of its own, and all go through the model in one batch.

use super::answer::{Answer, Edges, Span};
use super::{Purpose, Query, Task, Window};
use crate::error::{Place, Result};
use crate::text::Tokenizer;
use serde_json::Value;
use std::sync::Arc;

/// So many pairs are asked about at most: with `n` parts there are `n (n - 1) / 2`.
const MOST: usize = 100;

/// The pairs of parts that do not overlap, the first of the text first: of too many those that stand closest.
fn pairs(spans: &[Span]) -> (Vec<(&Span, &Span)>, usize) {
    let mut parts: Vec<&Span> = spans.iter().collect();
    parts.sort_by_key(|span| (span.start, span.end));
    let mut pairs: Vec<(&Span, &Span)> = Vec::new();
    for (at, first) in parts.iter().enumerate() {
        let apart = parts.iter().skip(at + 1).filter(|second| second.start >= first.end);
        pairs.extend(apart.map(|second| (*first, *second)));
    }
    let all = pairs.len();
    if all > MOST {
        pairs.sort_by_key(|(first, second)| (second.start - first.end, first.start));
        pairs.truncate(MOST);
        pairs.sort_by_key(|(first, second)| (first.start, second.start));
    }
    let left_out = all - pairs.len();
    (pairs, left_out)
}

/// The query about all pairs of these parts of a text, `request` that about one; without windows where there is no pair that can be read.
pub(super) fn pairs_query<T: Task>(
    task: &Arc<T>,
    request: impl Fn(&Span, &Span) -> Value,
    text: &str,
    spans: &[Span],
    tokenizer: &Tokenizer,
) -> Result<Query> {
    let (pairs, mut left_out) = pairs(spans);
    let (mut windows, mut examples) = (Vec::new(), Vec::new());
    for (first, second) in pairs {
        let example = task.request(&request(first, second), Place::file("request"))?;
        // Parts that stand too far from each other for a window.
        if task.validate(&example, tokenizer).is_err() {
            left_out += 1;
            continue;
        }
        let own = task.features(&example, tokenizer, Purpose::Predict)?.windows;
        examples.push((example, own.len()));
        windows.extend(own);
    }
    let (task, text) = (task.clone(), text.to_owned());
    Ok(Query::new(windows, move |windows: &[Window]| {
        let (mut edges, mut rest) = (Vec::new(), windows);
        for (example, count) in &examples {
            let (own, others) = rest.split_at(rest.len().min(*count));
            if let Answer::Edges(found) = task.answer(example, &task.decode(example, own)) {
                edges.extend(found.edges);
            }
            rest = others;
        }
        let pairs_left_out = (left_out > 0).then_some(left_out);
        Answer::Edges(Edges { text, edges, pairs_left_out }).json()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize) -> Span {
        Span { kind: "X".into(), text: String::new(), start, end, score: 1.0 }
    }

    #[test]
    fn pairs_are_those_of_parts_that_do_not_overlap_and_of_too_many_the_closest() {
        let of = |spans: &[Span]| -> (Vec<(usize, usize)>, usize) {
            let (found, left_out) = pairs(spans);
            (found.into_iter().map(|(first, second)| (first.start, second.start)).collect(), left_out)
        };
        assert_eq!(of(&[span(9, 12), span(0, 3), span(2, 5)]), (vec![(0, 9), (2, 9)], 0));
        assert_eq!(of(&[span(0, 3)]), (Vec::new(), 0));
        let many: Vec<Span> = (0..20).map(|at| span(10 * at, 10 * at + 2)).collect();
        let (found, left_out) = of(&many);
        assert_eq!((found.len(), left_out), (MOST, 190 - MOST));
        assert!(found.is_sorted() && found.iter().all(|(first, second)| second - first <= 70), "{found:?}");
    }
}
