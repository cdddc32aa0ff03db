//! The batches of one epoch: every window once, in an order that the key decides.

use polyhead_kernels::rng::Key;
use serde::{Deserialize, Serialize};

/// How windows come together in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Any with any.
    #[default]
    Random,
    /// Those of similar length: pools of fifty batches in random order are sorted by length, the batches shuffled.
    ///
    /// Without padding that saves nothing, but it changes the training: a loss that is a mean over tokens weighs the
    /// tokens of short sentences more when they share a batch.
    ByLength,
}

/// Batches in a pool that is sorted by length.
const POOL: usize = 50;

/// The batches of an epoch: indices of windows of these lengths.
pub fn batches(lengths: &[usize], size: usize, order: Order, key: Key) -> Vec<Vec<usize>> {
    let mut windows = key.permutation(lengths.len());
    if order == Order::Random {
        return windows.chunks(size).map(<[usize]>::to_vec).collect();
    }
    for pool in windows.chunks_mut(POOL * size) {
        pool.sort_by_key(|&window| lengths[window]);
    }
    let mut batches: Vec<Option<Vec<usize>>> = windows.chunks(size).map(|batch| Some(batch.to_vec())).collect();
    key.purpose("batches").permutation(batches.len()).into_iter().filter_map(|at| batches[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_comes_once_in_either_order() {
        let lengths: Vec<usize> = (0..1003).map(|i| i * 7 % 50).collect();
        for order in [Order::Random, Order::ByLength] {
            let batches = batches(&lengths, 16, order, Key::seed(1));
            assert_eq!(batches.len(), 63);
            let mut all: Vec<usize> = batches.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, (0..1003).collect::<Vec<_>>());
        }
    }

    #[test]
    fn windows_of_similar_length_share_a_batch() {
        let lengths: Vec<usize> = (0..800).map(|i| i * 7 % 50).collect();
        for batch in batches(&lengths, 16, Order::ByLength, Key::seed(1)) {
            let of = |window: &usize| lengths[*window];
            let (shortest, longest) = (batch.iter().map(of).min(), batch.iter().map(of).max());
            assert!(longest <= shortest.map(|shortest| shortest + 2), "{shortest:?} {longest:?}");
        }
    }
}
