//! From a question and its context to windows, and from gold answers to the targets of their losses.
//!
//! ```text
//! tokens    [CLS] who left ? [SEP] ada left . [SEP]        spans: none none none none none (0, 3) (4, 8) (9, 10) none
//! targets   independent   [start, end]                                        [5, 5]; [0, 0] where the window holds no answer
//!           joint         [start, end, text start, text end, barred ...]      [5, 5, 5, 8]
//! ```

use super::{Loss, Qa, QaExample};
use crate::batch::{Features, Targets};
use crate::error::{Error, Result};
use crate::tasks::{Window, cross_entropy};
use crate::text::{Piece, Template, TokenSequence, Tokenizer, windows};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::cross_entropy::segment_cross_entropy;
use polyhead_kernels::span_cross_entropy::{Spans, span_cross_entropy, span_loss};
use std::ops::Range;

impl Qa {
    /// The tokens of a question, all of them.
    pub(super) fn question(question: &str, tokenizer: &Tokenizer) -> Result<Vec<Piece>> {
        tokenizer.text(question.trim_start())
    }

    /// Refuses a question that says nothing, or more than is read of one.
    pub(super) fn admit_question(question: &[Piece], most: usize) -> Result<()> {
        match question.len() {
            0 => Err(Error::data("expected a question, found a text without a word")),
            found if found > most => {
                Err(Error::data(format!("expected a question of at most {most} tokens, found {found}"))
                    .hint("a part of the question would not be read; shorten it, or move what it tells to the context"))
            }
            _ => Ok(()),
        }
    }

    /// The windows of a context with the question before each.
    pub(super) fn windows(
        &self,
        example: &QaExample,
        question: &[Piece],
        context: &[Piece],
        template: &Template<2>,
    ) -> Vec<Features> {
        let room = self.config.max_length.saturating_sub(question.len() + template.special_tokens()).max(1);
        let window = |range: Range<usize>| {
            let part = context.get(range).unwrap_or(&[]);
            let TokenSequence { ids, types, texts: [_, text] } = template.window([question, part]);
            let mut spans = vec![None; ids.len()];
            for (span, piece) in spans.iter_mut().skip(text.start).zip(part) {
                // White space alone begins and ends no answer.
                *span = (piece.start < piece.end).then_some((piece.start, piece.end));
            }
            let mut targets = target(example, &spans).unwrap_or_else(|| vec![0, 0]);
            if self.config.loss == Loss::Joint {
                targets.extend(pairs_of(&spans, text.start..text.start + part.len()));
            }
            Features { ids, types, spans, targets: Targets::Positions(targets), ..Features::default() }
        };
        windows::windows(context.len(), room, self.config.stride).into_iter().map(window).collect()
    }

    /// What the loss of a window counts in the mean of a step: its start and its end, or both as one.
    pub(super) fn counted(&self, targets: &Targets) -> f64 {
        match self.config.loss {
            Loss::Independent => targets.positions().len() as f64,
            Loss::Joint => 1.0,
        }
    }

    pub(super) fn loss_of(
        &self,
        logits: &Tensor,
        segments: &Segments,
        targets: &[&Targets],
        count: f64,
    ) -> Result<Tensor> {
        let each = targets.iter().map(|targets| targets.positions());
        Ok(match self.config.loss {
            Loss::Independent => {
                let positions: Vec<i64> = each.flatten().copied().collect();
                segment_cross_entropy(logits, segments, &positions, count)?
            }
            Loss::Joint => {
                let spans: Vec<Spans> = each.filter_map(spans).collect();
                span_cross_entropy(logits, segments, &spans, self.config.max_answer_length, count)?
            }
        })
    }

    /// The loss of one window without dropout: the mean of that of the start and that of the end, or that of both.
    pub(super) fn window_loss(&self, window: &Window) -> Option<f64> {
        let positions = window.features.targets.positions();
        match self.config.loss {
            Loss::Independent => {
                let column =
                    |column: usize| window.logits.rows().map(move |row| row.get(column).copied().unwrap_or(0.0));
                let &[start, end] = positions else { return None };
                Some((cross_entropy(column(0), start)? + cross_entropy(column(1), end)?) / 2.0)
            }
            Loss::Joint => {
                let logits: Vec<f32> = window.logits.rows().flatten().copied().collect();
                span_loss(&logits, &spans(positions)?, self.config.max_answer_length)
            }
        }
    }
}

/// Whether the targets of a window say that it holds no answer.
pub(super) fn holds_none(targets: &Targets) -> bool {
    targets.positions().starts_with(&[0, 0])
}

/// The target of a window: the answer's first and last token. None where the window does not hold it.
fn target(question: &QaExample, spans: &[Option<(usize, usize)>]) -> Option<Vec<i64>> {
    let answer = question.answers.first()?;
    let (from, to) = (answer.start, answer.start + answer.text.len());
    let context = || spans.iter().enumerate().filter_map(|(at, span)| span.map(|span| (at, span)));
    let (first, last) = (context().next()?.1, context().next_back()?.1);
    if first.0 > from || last.1 < to {
        return None;
    }
    let start = context().take_while(|(_, span)| span.0 <= from).last()?.0;
    let end = context().rev().take_while(|(_, span)| span.1 >= to).last()?.0;
    Some(vec![start as i64, end as i64])
}

/// Which pairs of tokens may be an answer: between which the text lies, and which of them begin and end none.
fn pairs_of(spans: &[Option<(usize, usize)>], text: Range<usize>) -> impl Iterator<Item = i64> {
    let barred = text.clone().filter(|&token| spans.get(token).is_none_or(Option::is_none));
    [text.start, text.end].into_iter().chain(barred).map(|token| token as i64)
}

/// The targets of [`Loss::Joint`] as the loss reads them.
fn spans(positions: &[i64]) -> Option<Spans> {
    let mut tokens = positions.iter().map(|&token| usize::try_from(token).unwrap_or(usize::MAX));
    let mut next = || tokens.next();
    let (target, text) = ((next()?, next()?), next()?..next()?);
    Some(Spans { text, barred: tokens.collect(), target })
}
