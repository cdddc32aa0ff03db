//! Features and batches: token ids with the map back to the text, packed end to end.

use polyhead_kernels::{Inputs, Segments};
use std::sync::Arc;

/// One window of an example, ready for the encoder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Token types (segments) as BERT counts them: 0 for the first text, 1 for the second.
    pub types: Vec<u32>,
    /// What each token stands for, in the task's own unit (a range of words, of bytes); `None` where the task predicts
    /// nothing (special tokens, the question, later sub-words).
    pub spans: Vec<Option<(usize, usize)>>,
    /// What the loss compares with, as the task's head lays it down: a class a token, or positions.
    pub target: Vec<i64>,
}

/// The windows of one example, and what did not fit into them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowedExample {
    /// At least one window, but in training for an example that nothing can be learnt from.
    pub windows: Vec<Features>,
    /// Tokens cut off.
    pub lost_tokens: usize,
    /// Gold entities or answers that no window holds whole.
    pub truncated_answers: usize,
}

/// How sequences of one batch are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// End to end: no padding is computed.
    #[default]
    Packed,
    /// To the longest of the batch, for comparisons.
    Longest,
    /// To the task's maximum length, for comparisons.
    Max,
}

/// Sequences for one forward pass.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids, positions and types of all rows, and where each sequence lies.
    pub inputs: Arc<Inputs>,
}

impl Batch {
    /// Where each sequence lies.
    pub fn segments(&self) -> &Segments {
        &self.inputs.segments
    }

    /// Brings windows together. `pad` is the id of the padding token, `max_length` the task's.
    ///
    /// This copies a few thousand numbers: microseconds of a step, so that nothing is won by doing it ahead.
    pub fn new(windows: &[&Features], padding: Padding, max_length: usize, pad: u32) -> Self {
        let lengths: Vec<usize> = windows.iter().map(|window| window.ids.len()).collect();
        let to = match padding {
            Padding::Packed => 0,
            Padding::Longest => lengths.iter().copied().max().unwrap_or(0),
            Padding::Max => max_length,
        };
        let segments = Segments::padded(&lengths, to);
        let count = segments.rows();
        let [mut ids, mut types, mut positions] = [(); 3].map(|()| Vec::with_capacity(count));
        for (window, segment) in windows.iter().zip(segments.iter()) {
            let padded = |values: &[u32], fill: u32, into: &mut Vec<u32>| {
                into.extend_from_slice(values);
                into.resize(segment.start + segment.rows, fill);
            };
            padded(&window.ids, pad, &mut ids);
            padded(&window.types, 0, &mut types);
            positions.extend(0..segment.rows as u32);
        }
        Self { inputs: Arc::new(Inputs { ids, positions, types, segments }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_computes_no_padding_and_padding_marks_it() {
        let window = |ids: &[u32]| Features { ids: ids.to_vec(), types: vec![0; ids.len()], ..Features::default() };
        let (a, b) = (window(&[1, 2, 3]), window(&[4]));
        let packed = Batch::new(&[&a, &b], Padding::Packed, 5, 9);
        assert_eq!(packed.inputs.ids, [1, 2, 3, 4]);
        assert_eq!(packed.inputs.positions, [0, 1, 2, 0]);
        let padded = Batch::new(&[&a, &b], Padding::Longest, 5, 9);
        assert_eq!(padded.inputs.ids, [1, 2, 3, 4, 9, 9]);
        assert_eq!(padded.segments().lengths(), [3, 1]);
        assert_eq!(Batch::new(&[&a, &b], Padding::Max, 5, 9).inputs.ids.len(), 10);
    }
}
