//! Overlapping windows over a sequence that is too long for the encoder.

use std::ops::Range;

/// The windows of `size` over `0 .. len`, each sharing `overlap` with the one before; the last ends at `len`.
///
/// As the fast Hugging Face tokenizers cut (their `stride` is this overlap): each window starts `size - overlap` after
/// the one before, and the first that reaches the end is the last. Empty input has one empty window. An overlap that
/// would not move on is held to `size - 1`.
pub fn windows(len: usize, size: usize, overlap: usize) -> Vec<Range<usize>> {
    let step = size.saturating_sub(overlap).max(1);
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = len.min(start + size.max(1));
        windows.push(start..end);
        if end == len {
            return windows;
        }
        start += step;
    }
}

/// How much context position `at` has inside a window: the smaller of what lies left and right of it.
pub fn context(window: &Range<usize>, at: usize) -> usize {
    at.saturating_sub(window.start).min(window.end.saturating_sub(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_overlap_as_stated() {
        assert_eq!(windows(10, 4, 2), [0..4, 2..6, 4..8, 6..10]);
        assert_eq!(windows(4, 4, 2), vec![0..4; 1]);
        assert_eq!(windows(0, 4, 2), vec![0..0; 1]);
    }

    proptest! {
        #[test]
        fn windows_cover_everything_and_end(len in 0..500usize, size in 0..50usize, overlap in 0..60usize) {
            let all = windows(len, size, overlap);
            prop_assert_eq!(all[0].start, 0);
            prop_assert_eq!(all[all.len() - 1].end, len);
            for pair in all.windows(2) {
                prop_assert!(pair[1].start > pair[0].start && pair[1].start <= pair[0].end);
            }
        }
    }
}
