//! The joint cross-entropy of spans: a softmax over all pairs of a start and an end that may be an answer, instead of one over
//! starts and another over ends. The loss of the joint span probability of Fajcik et al. (2021, "Rethinking the Objectives of
//! Extractive Question Answering", <https://arxiv.org/abs/2008.12804>), with the similarity of start and end as the sum of
//! their logits.
//!
//! ```text
//! logits [rows, 2]: a start s and an end e for each row; of each sequence the pairs that may be an answer:
//!     A = {(0, 0)} and {(i, j): i <= j < i + longest, both allowed}, and the target
//! forward   L = sum over sequences of (log sum over A of exp(s_i + e_j)) - s_target - e_target, / count
//! backward  ds_i = dL (P(start is i) - [i is the target]) / count, de_j likewise
//! ```
//!
//! A sequence of n rows has n * longest pairs, and of them only sums are needed: those of exp(e_j) over the ends of each start, and of
//! exp(s_i) over the starts of each end. The exponentials are taken once a row, so that a pair costs one addition.

use crate::loss::{self, share};
use crate::segments::{Segment, Segments};
use candle_core::{Result, Tensor};
use std::ops::Range;

/// The spans of one sequence, counted from its first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    /// The rows between which an answer may lie: the text that is asked about.
    pub text: Range<usize>,
    /// Rows in it that begin and end no answer.
    pub barred: Vec<usize>,
    /// Where the answer starts, and where it ends; (0, 0) if there is none.
    pub target: (usize, usize),
}

impl Spans {
    fn is_allowed(&self, row: usize) -> bool {
        self.text.contains(&row) && !self.barred.contains(&row)
    }

    /// Whether the target is a pair besides those of the text: "no answer" is always one.
    fn is_longer(&self, longest: usize) -> bool {
        let (start, end) = self.target;
        let usual = self.is_allowed(start) && self.is_allowed(end) && start <= end && end - start < longest;
        self.target != (0, 0) && !usual
    }
}

/// The joint cross-entropy of logits `[rows, 2]` against one span a sequence, over `count` of them. `longest` is the longest answer in
/// rows. A target that is no pair of the text (a longer answer) is one more.
pub fn span_cross_entropy(
    logits: &Tensor,
    segments: &Segments,
    spans: &[Spans],
    longest: usize,
    count: f64,
) -> Result<Tensor> {
    let (rows, columns) = logits.dims2()?;
    if segments.rows() != rows || columns != 2 || spans.len() != segments.len() {
        let (sequences, spans) = (segments.len(), spans.len());
        candle_core::bail!("spans: {rows} rows of {columns} columns, {sequences} sequences, {spans} targets");
    }
    for (segment, spans) in segments.iter().zip(spans) {
        let (start, end) = spans.target;
        let last = start.max(end).max(spans.text.end.saturating_sub(1));
        // The first row stands for "no answer", and for nothing else.
        if last >= segment.tokens || spans.text.contains(&0) || longest == 0 {
            let tokens = segment.tokens;
            candle_core::bail!("spans: {spans:?} of at most {longest} rows in a sequence of {tokens} tokens");
        }
    }
    let share = share(count);
    if !loss::runs_on(logits) {
        return plain(logits, segments, spans, longest, share);
    }
    let all: Vec<(Segment, Spans)> = segments.iter().zip(spans.iter().cloned()).collect();
    loss::apply("span cross-entropy", logits, move |z, gradient| {
        let mut total = 0.0;
        for (Segment { start, tokens, .. }, spans) in &all {
            let of = 2 * start..2 * (start + tokens);
            let window = Window::new(&z[of.clone()], spans, longest);
            total += window.loss();
            window.gradient(share, &mut gradient[of]);
        }
        total * share
    })
}

/// The loss of one sequence with these logits, row by row; `None` where the spans leave it.
pub fn span_loss(logits: &[f32], spans: &Spans, longest: usize) -> Option<f64> {
    let rows = logits.len() / 2;
    let (start, end) = spans.target;
    let inside = start.max(end) < rows && spans.text.end <= rows && !spans.text.contains(&0);
    inside.then(|| Window::new(logits, spans, longest.max(1)).loss())
}

/// The sums of one sequence.
struct Window<'a> {
    logits: &'a [f32],
    spans: &'a Spans,
    is_longer: bool,
    /// Of the rows of the text: start and end; negative infinity where a row begins and ends nothing.
    starts: Vec<f64>,
    ends: Vec<f64>,
    /// Of each start the log of the sum of exp(end) over its ends.
    of_starts: Vec<f64>,
    longest: usize,
    /// The log of the sum over all pairs.
    all: f64,
}

impl<'a> Window<'a> {
    fn new(logits: &'a [f32], spans: &'a Spans, longest: usize) -> Self {
        let column = |column: usize| -> Vec<f64> {
            let allowed = |row| if spans.is_allowed(row) { logits[2 * row + column].into() } else { f64::NEG_INFINITY };
            spans.text.clone().map(allowed).collect()
        };
        let (starts, ends) = (column(0), column(1));
        let rows = starts.len();
        let of_starts = log_sums(&ends, (0..rows).map(|row| row..rows.min(row.saturating_add(longest))));
        let is_longer = spans.is_longer(longest);
        let mut window = Self { logits, spans, is_longer, starts, ends, of_starts, longest, all: 0.0 };
        let pairs = window.starts.iter().zip(&window.of_starts).map(|(start, ends)| start + ends);
        let target = is_longer.then(|| window.pair(spans.target));
        window.all = log_sum(pairs.chain([window.pair((0, 0))]).chain(target));
        window
    }

    fn pair(&self, (start, end): (usize, usize)) -> f64 {
        f64::from(self.logits[2 * start]) + f64::from(self.logits[2 * end + 1])
    }

    fn loss(&self) -> f64 {
        self.all - self.pair(self.spans.target)
    }

    /// Adds the gradient of the loss, row by row, times `share`.
    fn gradient(&self, share: f64, into: &mut [f32]) {
        let mut sums = vec![0.0_f64; into.len()];
        let rows = self.ends.len();
        let longest = self.longest;
        let of_ends = log_sums(&self.starts, (0..rows).map(|row| (row + 1).saturating_sub(longest)..row + 1));
        for (at, row) in self.spans.text.clone().enumerate() {
            sums[2 * row] += (self.starts[at] + self.of_starts[at] - self.all).exp();
            sums[2 * row + 1] += (self.ends[at] + of_ends[at] - self.all).exp();
        }
        let mut single = |(start, end): (usize, usize), by: f64| {
            sums[2 * start] += by;
            sums[2 * end + 1] += by;
        };
        single((0, 0), (self.pair((0, 0)) - self.all).exp());
        if self.is_longer {
            single(self.spans.target, (self.pair(self.spans.target) - self.all).exp());
        }
        single(self.spans.target, -1.0);
        for (gradient, sum) in into.iter_mut().zip(sums) {
            *gradient = (sum * share) as f32;
        }
    }
}

/// The log of the sum of the exponentials of values of which one is finite, or all are negative infinity.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + values.map(|value| (value - top).exp()).sum::<f64>().ln() }
}

/// The same over ranges of the values. Each is put in relation to the largest value of all; where little is left of a range then, to
/// its own.
fn log_sums(values: &[f64], ranges: impl Iterator<Item = Range<usize>>) -> Vec<f64> {
    const LITTLE: f64 = 1e-200;
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = values.iter().map(|value| if top.is_finite() { (value - top).exp() } else { 0.0 }).collect();
    let of = |range: Range<usize>| {
        let sum: f64 = shares[range.clone()].iter().sum();
        if sum > LITTLE { top + sum.ln() } else { log_sum(values[range].iter().copied()) }
    };
    ranges.map(of).collect()
}

/// The same in candle's own operators: every pair by itself.
fn plain(logits: &Tensor, segments: &Segments, spans: &[Spans], longest: usize, share: f64) -> Result<Tensor> {
    let flat = logits.flatten_all()?;
    let mut total = flat.narrow(0, 0, 1)?.affine(0.0, 0.0)?;
    for (segment, spans) in segments.iter().zip(spans) {
        // The target first.
        let mut pairs = vec![spans.target];
        if spans.target != (0, 0) {
            pairs.push((0, 0));
        }
        for start in spans.text.clone().filter(|row| spans.is_allowed(*row)) {
            let ends = start..spans.text.end.min(start.saturating_add(longest));
            let others = ends.filter(|end| spans.is_allowed(*end)).map(|end| (start, end));
            pairs.extend(others.filter(|pair| *pair != spans.target));
        }
        let column = |of: &dyn Fn(&(usize, usize)) -> usize| {
            let index: Vec<u32> = pairs.iter().map(|pair| (2 * segment.start + of(pair)) as u32).collect();
            flat.index_select(&Tensor::from_vec(index, pairs.len(), logits.device())?, 0)
        };
        let z = (column(&|pair| 2 * pair.0)? + column(&|pair| 2 * pair.1 + 1)?)?;
        let max = z.max_keepdim(0)?.detach();
        let log_sum = z.broadcast_sub(&max)?.exp()?.sum_keepdim(0)?.log()?.add(&max)?;
        total = (total + (log_sum - z.narrow(0, 0, 1)?)?)?;
    }
    total.affine(share, 0.0)?.squeeze(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, cases, normal};
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    fn spans(text: Range<usize>, barred: &[usize], target: (usize, usize)) -> Spans {
        Spans { text, barred: barred.to_vec(), target }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference_and_padding_does_not_count() {
        let segments = Segments::padded(&[1, 6, 9, 12], 8);
        let all = [
            spans(0..0, &[], (0, 0)),
            spans(3..5, &[], (0, 0)),
            spans(2..8, &[3, 5], (4, 4)),
            // Longer than an answer may be.
            spans(2..11, &[], (3, 9)),
        ];
        for longest in [1, 3, 100] {
            assert_matches_reference(
                &[normal(1, &[segments.rows(), 2]).affine(3.0, 0.0).unwrap()],
                |[z]| span_cross_entropy(z, &segments, &all, longest, 4.0)?.reshape(1),
                |[z]| plain(z, &segments, &all, longest, 0.25)?.reshape(1),
                1e-6,
            );
        }
    }

    proptest! {
        #![proptest_config(cases(64))]
        #[test]
        fn gradients_are_differences_of_values(
            logits in prop::collection::vec(-400..400_i16, 2..40),
            text in (0..20usize, 0..20usize),
            target in (0..20usize, 0..20usize),
            barred in prop::collection::vec(0..20usize, 0..3),
            longest in 1..8usize,
        ) {
            let rows = logits.len() / 2;
            let logits: Vec<f32> = logits[..2 * rows].iter().map(|&logit| f32::from(logit) / 64.0).collect();
            let (from, to) = (1 + text.0 % rows, text.1 % (rows + 1));
            let of = spans(from..to.max(from), &barred, (target.0 % rows, target.1 % rows));
            let segments = Segments::packed(&[rows]);
            let z = Var::from_tensor(&Tensor::from_slice(&logits, (rows, 2), &Device::Cpu).unwrap()).unwrap();
            let loss = span_cross_entropy(&z, &segments, std::slice::from_ref(&of), longest, 1.0).unwrap();
            let found = loss.backward().unwrap().get(&z).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let value = span_loss(&logits, &of, longest).unwrap();
            prop_assert!(value >= -1e-12 && (value - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5);
            for (at, found) in found.into_iter().enumerate() {
                // A step that f32 holds exactly.
                let step = 1.0 / 256.0;
                let moved = |by: f32| {
                    let mut moved = logits.clone();
                    moved[at] += by;
                    span_loss(&moved, &of, longest).unwrap()
                };
                let want = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                prop_assert!((f64::from(found) - want).abs() < 2e-4, "{at}: {found} {want}");
            }
        }
    }

    #[test]
    fn logits_far_apart_are_summed_all_the_same() {
        // The largest end stands before the largest start: no pair has both.
        let logits = [0.0, 0.0, -9e3, 9e3, 9e3, -9e3];
        let of = spans(1..3, &[], (1, 1));
        // (0, 0), (1, 1) and (2, 2) are 0, (1, 2) is -18,000.
        assert!((span_loss(&logits, &of, 5).unwrap() - 3.0_f64.ln()).abs() < 1e-12);
        let z = Var::from_tensor(&Tensor::from_slice(&logits, (3, 2), &Device::Cpu).unwrap()).unwrap();
        let loss = span_cross_entropy(&z, &Segments::packed(&[3]), &[of], 5, 1.0).unwrap();
        let found = loss.backward().unwrap().get(&z).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let third = 1.0 / 3.0;
        for (found, want) in found.into_iter().zip([third, third, third - 1.0, third - 1.0, third, third]) {
            assert!((found - want).abs() < 1e-6, "{found} {want}");
        }
    }

    #[test]
    fn no_sequence_is_no_loss_and_what_leaves_its_sequence_is_an_error() {
        let z = normal(1, &[3, 2]);
        let loss = |spans: Spans, longest| span_cross_entropy(&z, &Segments::packed(&[3]), &[spans], longest, 1.0);
        assert!(loss(spans(1..3, &[], (1, 2)), 5).is_ok());
        assert!(loss(spans(1..4, &[], (1, 2)), 5).is_err());
        assert!(loss(spans(1..3, &[], (1, 3)), 5).is_err());
        assert!(loss(spans(1..3, &[], (1, 2)), 0).is_err());
        assert!(loss(spans(0..3, &[], (1, 2)), 5).is_err());
        assert!(span_cross_entropy(&z, &Segments::packed(&[3]), &[], 5, 1.0).is_err());
        assert!(span_loss(&[0.0; 4], &spans(1..3, &[], (0, 0)), 5).is_none());
        let none = Tensor::zeros((0, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let none = span_cross_entropy(&none, &Segments::packed(&[]), &[], 5, 0.0).unwrap();
        assert_eq!(none.to_scalar::<f32>().unwrap(), 0.0);
    }
}
