//! The batches of one pass: every window once, or so many of each class, in an order that the key decides.
//!
//! ```text
//! windows of a task -> (drawn by class) -> permuted -> (sorted by length in pools) -> batches
//! ```

use polyhead_kernels::rng::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// The batches of a pass over windows of these lengths, as indices; each comes as often as `drawn` has it.
pub fn batches(drawn: &[usize], lengths: &[usize], size: usize, order: Order, key: Key) -> Vec<Vec<usize>> {
    let mut windows: Vec<usize> =
        key.permutation(drawn.len()).into_iter().filter_map(|at| drawn.get(at).copied()).collect();
    if order == Order::Random {
        return windows.chunks(size).map(<[usize]>::to_vec).collect();
    }
    for pool in windows.chunks_mut(POOL * size) {
        pool.sort_by_key(|&window| lengths[window]);
    }
    let mut batches: Vec<Option<Vec<usize>>> = windows.chunks(size).map(|batch| Some(batch.to_vec())).collect();
    key.purpose("batches").permutation(batches.len()).into_iter().filter_map(|at| batches[at].take()).collect()
}

/// The windows of a pass over as many as there are, in which each class comes in proportion to its weight, `weight(windows of the class)`. A window
/// without a class does not come.
///
/// A class comes so often to within one, and exactly so in the mean over passes: places are counted out with one random offset
/// (systematic sampling, Madow and Madow 1944). Within a class no window comes again before all have come, in an order that differs
/// from pass to pass.
pub fn drawn(classes: &[Option<usize>], weight: impl Fn(usize) -> f64, key: Key) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (window, class) in classes.iter().enumerate() {
        if let Some(class) = class {
            members.entry(*class).or_default().push(window);
        }
    }
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();
    let shares = expected(&sizes, weight, classes.len());
    let offset = key.purpose("offset").uniform(0);
    let (mut drawn, mut sum) = (Vec::with_capacity(classes.len()), 0.0);
    for (at, ((class, windows), share)) in members.iter().zip(shares).enumerate() {
        sum += share;
        // The last place is counted whole: sums round.
        let until = if at + 1 == sizes.len() { classes.len() } else { (sum + offset).floor() as usize };
        let mut round = 0;
        while drawn.len() < until {
            let order = key.purpose("class").with(*class as u64).with(round).permutation(windows.len());
            let left = until - drawn.len();
            drawn.extend(order.into_iter().take(left).filter_map(|at| windows.get(at).copied()));
            round += 1;
        }
    }
    drawn
}

/// How often classes with so many windows come among `places`.
pub fn expected(sizes: &[usize], weight: impl Fn(usize) -> f64, places: usize) -> Vec<f64> {
    let weights: Vec<f64> = sizes.iter().map(|&size| weight(size)).collect();
    let all: f64 = weights.iter().sum();
    weights.iter().map(|weight| if all > 0.0 { weight / all * places as f64 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every window once.
    fn batches(lengths: &[usize], size: usize, order: Order, key: Key) -> Vec<Vec<usize>> {
        super::batches(&(0..lengths.len()).collect::<Vec<_>>(), lengths, size, order, key)
    }

    /// Of three classes 900, 90 and 10 windows; some have none.
    fn classes() -> Vec<Option<usize>> {
        let of = |at: usize| match at % 100 {
            7 => Some(2),
            0..10 => Some(1),
            _ => Some(0),
        };
        (0..1000).map(of).chain([None; 24]).collect()
    }

    #[test]
    fn classes_come_in_the_shares_of_the_formula_and_their_windows_in_turn() {
        let classes = classes();
        let count = |windows: &[usize], class| windows.iter().filter(|&&at| classes[at] == Some(class)).count() as f64;
        let alike: fn(usize) -> f64 = |_| 1.0;
        let root: fn(usize) -> f64 = |size| (size as f64).sqrt();
        // 1024 / 3 each; 1024 times 30, sqrt(90) and sqrt(10) of their sum.
        let sum = 30.0 + 90_f64.sqrt() + 10_f64.sqrt();
        let by_root = [30.0, 90_f64.sqrt(), 10_f64.sqrt()].map(|root| 1024.0 * root / sum);
        for (weight, want) in [(alike, [1024.0 / 3.0; 3]), (root, by_root)] {
            let mut means = [0.0; 3];
            for pass in 0..200 {
                let windows = drawn(&classes, weight, Key::seed(3).with(pass));
                assert_eq!(windows.len(), 1024);
                for class in 0..3 {
                    let found = count(&windows, class);
                    assert!((found - want[class]).abs() < 1.0, "{found} for {}", want[class]);
                    means[class] += found / 200.0;
                }
                let mut times = vec![0; classes.len()];
                windows.iter().for_each(|&window| times[window] += 1);
                for class in 0..3 {
                    let of =
                        || times.iter().zip(&classes).filter(|(_, of)| **of == Some(class)).map(|(times, _)| *times);
                    assert!(of().max() <= of().min().map(|least| least + 1), "no window again before all have come");
                }
            }
            assert!(means.iter().zip(want).all(|(mean, want)| (mean - want).abs() < 0.1), "{means:?} for {want:?}");
        }
        let pass = |seed| drawn(&classes, alike, Key::seed(seed));
        assert_eq!(pass(1), pass(1));
        assert_ne!(pass(1), pass(2));
        assert!(drawn(&[None, None], alike, Key::seed(1)).is_empty());
    }

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
