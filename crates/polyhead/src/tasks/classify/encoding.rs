//! Windows of a text or a pair: one text or both with the special tokens around them, for BERT `[CLS] text [SEP]` or `[CLS] text
//! [SEP] text_pair [SEP]`.
//!
//! A text longer than a window is read in overlapping windows, each with the label of the text. A pair is one window, of which the
//! longer text is cut first.

use super::{Classify, Config, Labelled, Pooling, Problem};
use crate::batch::{Features, Targets, WindowedExample};
use crate::error::Result;
use crate::tasks::Purpose;
use crate::text::{Piece, TokenSequence, Tokenizer, windows};
use std::ops::Range;

impl Classify {
    /// The windows of an example.
    pub(super) fn windows(
        &self,
        example: &Labelled,
        tokenizer: &Tokenizer,
        purpose: Purpose,
    ) -> Result<WindowedExample> {
        let (text, pair) = tokens(example, tokenizer)?;
        if let Some(pair) = pair {
            let template = tokenizer.pair()?;
            let (first, second) = kept(template.room(self.config.max_length, 0)?, text.len(), pair.len());
            let parts = [text.get(..first).unwrap_or(&text), pair.get(..second).unwrap_or(&pair)];
            let lost_tokens = text.len() - first + pair.len() - second;
            return Ok(WindowedExample {
                windows: vec![self.window(example, template.window(parts))],
                lost_tokens,
                ..WindowedExample::default()
            });
        }
        let (template, Config { max_length, stride, .. }) = (tokenizer.single(), &self.config);
        let ranges = windows::windows(text.len(), template.room(*max_length, *stride)?, *stride);
        let read = if purpose == Purpose::Train && self.config.truncate { 1 } else { ranges.len() };
        let end = ranges.get(read.saturating_sub(1)).map_or(0, |range| range.end);
        let window =
            |range: &Range<usize>| self.window(example, template.window([text.get(range.clone()).unwrap_or(&[])]));
        Ok(WindowedExample {
            windows: ranges.iter().take(read).map(window).collect(),
            lost_tokens: text.len() - end,
            ..WindowedExample::default()
        })
    }

    fn window<const TEXTS: usize>(&self, example: &Labelled, tokens: TokenSequence<TEXTS>) -> Features {
        let TokenSequence { ids, types, .. } = tokens;
        let ranges = match self.config.pooling {
            Pooling::First => Vec::new(),
            Pooling::Mean => vec![(0, ids.len() as u32)],
        };
        let (spans, targets) = (vec![None; ids.len()], self.targets(example));
        Features { ids, types, spans, ranges, targets, ..Features::default() }
    }

    /// What the loss of a window compares with; none of an example without a gold label.
    fn targets(&self, example: &Labelled) -> Targets {
        match self.config.problem {
            Problem::SingleLabel => {
                Targets::Classes(self.class(example).map(|label| label as i64).into_iter().collect())
            }
            Problem::MultiLabel => {
                let held =
                    |holds: Vec<bool>| (0..).zip(holds).filter(|(_, holds)| *holds).map(|(label, _)| label).collect();
                Targets::Sets(self.holds(example).map(held).into_iter().collect())
            }
            Problem::Regression => Targets::Reals(example.number().map(|number| number as f32).into_iter().collect()),
        }
    }

    /// The index of an example's gold label.
    pub(super) fn class(&self, example: &Labelled) -> Option<usize> {
        let label = example.labels().first()?;
        self.config.labels.iter().position(|known| known == label)
    }

    /// Of each label whether it holds of an example, if that is annotated.
    pub(super) fn holds(&self, example: &Labelled) -> Option<Vec<bool>> {
        example.gold.as_ref()?;
        Some(self.config.labels.iter().map(|label| example.labels().contains(label)).collect())
    }
}

/// The tokens of both texts.
pub(super) fn tokens(example: &Labelled, tokenizer: &Tokenizer) -> Result<(Vec<Piece>, Option<Vec<Piece>>)> {
    let pair = example.text_pair.as_ref().map(|text| tokenizer.text(text)).transpose()?;
    Ok((tokenizer.text(&example.text)?, pair))
}

/// How many tokens are read of a pair, as "longest first" of the Hugging Face tokenizers cuts: the shorter text whole
/// if it leaves the longer one as much, else half for each.
pub(super) fn kept(room: usize, first: usize, second: usize) -> (usize, usize) {
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = match () {
        () if short + long <= room => (short, long),
        () if 2 * short <= room => (short, room - short),
        () => (room / 2, room - room / 2),
    };
    if first <= second { (short, long) } else { (long, short) }
}
