//! Mixing: which task takes the next step. One strategy a file; [`MIXES`] lists them.

mod proportional;
mod round_robin;

use polyhead_kernels::rng::Key;

/// The strategies that a recipe can name.
pub const MIXES: &[Mix] = &[round_robin::MIX, proportional::MIX];

/// One strategy.
#[derive(Clone, Copy)]
pub struct Mix {
    /// What a recipe calls it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// The order of one epoch: from the number of batches of each task to the task of each step. Every batch of every
    /// task comes exactly once.
    pub epoch: fn(batches: &[usize], key: Key) -> Vec<usize>,
}

/// The strategy of this name.
pub fn find(name: &str) -> Option<Mix> {
    MIXES.iter().copied().find(|mix| mix.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_takes_every_batch_once() {
        for mix in MIXES {
            for batches in [vec![3, 5], vec![0, 2], vec![1], vec![], vec![125, 129, 7]] {
                let order = (mix.epoch)(&batches, Key::seed(1));
                for (task, &count) in batches.iter().enumerate() {
                    assert_eq!(order.iter().filter(|&&t| t == task).count(), count, "{}", mix.name);
                }
                assert_eq!(order.len(), batches.iter().sum::<usize>());
            }
        }
    }

    #[test]
    fn round_robin_goes_on_with_the_longer_task() {
        assert_eq!((round_robin::MIX.epoch)(&[2, 4], Key::seed(1)), [0, 1, 0, 1, 1, 1]);
    }
}
