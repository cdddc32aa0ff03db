//! From sub-words to windows: what training is scored on, and which window has the say over a unit.
//!
//! ```text
//! sub-words of all units -> windows that overlap by the stride -> each unit's label in one of them
//! ```
//!
//! The first sub-word of a unit carries its label. Training and decoding have one rule: of the windows that hold it, the one
//! where it has most context on both sides decides, the first of equals. In the others it is context.

use super::Words;
use crate::batch::{Features, Targets};
use crate::error::{Error, Result};
use crate::tasks::{Purpose, Window, cross_entropy, softmax, top};
use crate::text::{Piece, TokenSequence, Tokenizer, windows};
use candle_core::Tensor;
use polyhead_kernels::Segments;
use polyhead_kernels::cross_entropy::{IGNORE, token_cross_entropy};
use std::ops::Range;

/// How long windows are, and what becomes of the text beyond the first.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// The longest window, in tokens with the special ones.
    pub max_length: usize,
    /// Tokens that neighbouring windows share.
    pub stride: usize,
    /// Whether training reads the first window alone.
    pub truncate: bool,
}

impl Lengths {
    /// Refuses windows that hold nothing, and a stride that leaves no way ahead. Messages begin with the key.
    pub fn check(&self) -> Result<()> {
        let Self { max_length, stride, .. } = *self;
        if max_length < 3 {
            return Err(Error::usage(format!("max_length: expected at least 3 tokens, found {max_length}")));
        }
        if stride.saturating_add(2) >= max_length {
            let limit = max_length - 3;
            return Err(Error::usage(format!("stride: expected at most max_length - 3 = {limit}, found {stride}")));
        }
        Ok(())
    }

    /// The windows of a text, as ranges of its sub-words.
    pub fn ranges(&self, pieces: &[Piece], tokenizer: &Tokenizer, purpose: Purpose) -> Result<Vec<Range<usize>>> {
        let room = tokenizer.single().room(self.max_length, self.stride)?;
        let mut ranges = windows::windows(pieces.len(), room, self.stride);
        if purpose == Purpose::Train && self.truncate {
            ranges.truncate(1);
        }
        Ok(ranges)
    }
}

/// Windows over these ranges of the sub-words, with the label of each unit as targets. In training each label is a target in one
/// window. A span holds the index of the unit that a sub-word is the first of.
pub fn labelled_windows(
    words: &Words,
    pieces: &[Piece],
    ranges: &[Range<usize>],
    tokenizer: &Tokenizer,
    purpose: Purpose,
    label: &dyn Fn(usize) -> Option<usize>,
) -> Vec<Features> {
    let window = |range: &Range<usize>| window(pieces, range.clone(), [&[], &[]], tokenizer, label);
    let mut windows: Vec<Features> = ranges.iter().map(window).collect();
    if purpose == Purpose::Train {
        score_once(&mut windows, words.units.len());
    }
    windows
}

/// A window over all sub-words of a text, with others around it that are read and have neither label nor span.
pub fn window_in_context(
    before: &[Piece],
    pieces: &[Piece],
    after: &[Piece],
    tokenizer: &Tokenizer,
    label: &dyn Fn(usize) -> Option<usize>,
) -> Features {
    window(pieces, 0..pieces.len(), [before, after], tokenizer, label)
}

fn window(
    pieces: &[Piece],
    range: Range<usize>,
    [before, after]: [&[Piece]; 2],
    tokenizer: &Tokenizer,
    label: &dyn Fn(usize) -> Option<usize>,
) -> Features {
    let text = [before, pieces.get(range.clone()).unwrap_or(&[]), after].concat();
    let TokenSequence { ids, types, texts: [text] } = tokenizer.single().window([&text]);
    let (mut spans, mut labels) = (vec![None; ids.len()], vec![IGNORE; ids.len()]);
    for (at, place) in range.zip(text.skip(before.len())) {
        let Some(piece) = pieces.get(at).filter(|_| is_first(pieces, at)) else { continue };
        if let (Some(span), Some(slot)) = (spans.get_mut(place), labels.get_mut(place)) {
            *span = Some((piece.word, piece.word + 1));
            *slot = label(piece.word).map_or(IGNORE, |label| label as i64);
        }
    }
    Features { ids, types, spans, targets: Targets::Classes(labels), ..Features::default() }
}

/// Whether a sub-word is the first of its unit.
pub fn is_first(pieces: &[Piece], at: usize) -> bool {
    let word = |at: usize| pieces.get(at).map(|piece| piece.word);
    at == 0 || word(at - 1) != word(at)
}

/// Keeps each label in the window that decides, and the windows that have any; the first where none has.
pub fn score_once(windows: &mut Vec<Features>, units: usize) {
    if windows.len() < 2 {
        return;
    }
    let deciding = deciding(units, windows.iter());
    for (index, window) in windows.iter_mut().enumerate() {
        let Targets::Classes(labels) = &mut window.targets else { continue };
        for (at, (span, label)) in window.spans.iter().zip(labels).enumerate() {
            if span.and_then(|(unit, _)| *deciding.get(unit)?) != Some((index, at)) {
                *label = IGNORE;
            }
        }
    }
    let mut first = true;
    let scored = windows.iter().any(|window| window.targets.count() > 0);
    windows.retain(|window| {
        let keep = if scored { window.targets.count() > 0 } else { first };
        first = false;
        keep
    });
}

/// For each of `count` units (or sub-words) to which the spans of the windows point: the window that decides, and the place
/// in it. Nothing where no window has it.
pub fn deciding<'a>(count: usize, windows: impl Iterator<Item = &'a Features>) -> Vec<Option<(usize, usize)>> {
    let mut best: Vec<Option<(usize, (usize, usize))>> = vec![None; count];
    for (index, features) in windows.enumerate() {
        let whole = 0..features.ids.len();
        for (at, span) in features.spans.iter().enumerate() {
            let Some((unit, _)) = *span else { continue };
            let context = windows::context(&whole, at);
            if let Some(slot) = best.get_mut(unit).filter(|slot| slot.is_none_or(|(most, _)| context > most)) {
                *slot = Some((context, (index, at)));
            }
        }
    }
    best.into_iter().map(|slot| slot.map(|(_, place)| place)).collect()
}

/// The logits of each of `count` units or sub-words, from the window that decides. Empty where no window has it.
pub fn rows_with_most_context(count: usize, windows: &[Window]) -> Vec<&[f32]> {
    let places = deciding(count, windows.iter().map(|window| &window.features));
    let row = |place: Option<(usize, usize)>| {
        let (window, at) = place?;
        Some(windows.get(window)?.logits.row(at))
    };
    places.into_iter().map(|place| row(place).unwrap_or(&[])).collect()
}

/// The probability of each label of each word: those of the first of its units that the tokenizer makes anything of. `None` where
/// it makes nothing of the word.
pub fn label_probabilities(words: &Words, windows: &[Window]) -> Vec<Option<Vec<f64>>> {
    let mut labels = vec![None; words.len()];
    for (unit, row) in words.units.iter().zip(rows_with_most_context(words.units.len(), windows)) {
        if let Some(slot) = labels.get_mut(unit.word).filter(|slot| slot.is_none() && !row.is_empty()) {
            *slot = Some(softmax(row));
        }
    }
    labels
}

/// The most probable label of each word by its number, with its probability.
pub fn best_labels(words: &Words, windows: &[Window]) -> Vec<Option<(usize, f64)>> {
    label_probabilities(words, windows).iter().map(|row| top(row.as_ref()?)).collect()
}

/// The loss of a label for each token: cross-entropy over those that have one.
pub fn loss(logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
    let mut rows = vec![IGNORE; segments.rows()];
    for (segment, target) in segments.iter().zip(targets) {
        for (row, &label) in rows.iter_mut().skip(segment.start).take(segment.tokens).zip(target.classes()) {
            *row = label;
        }
    }
    Ok(token_cross_entropy(logits, &rows, count)?)
}

/// The losses of the labels that windows score: their sum, and how many they are.
pub fn losses(windows: &[Window]) -> (f64, usize) {
    let rows = windows.iter().flat_map(|window| window.features.targets.classes().iter().zip(window.logits.rows()));
    let losses = rows.filter_map(|(&target, row)| cross_entropy(row.iter().copied(), target));
    losses.fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1))
}
