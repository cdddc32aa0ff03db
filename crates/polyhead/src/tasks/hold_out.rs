//! Which examples of a training file are held out for validation: `groups -> sides`.
//!
//! A group (the examples of one text, the questions about one passage, the sentences of one document) stays on one side. Its side is
//! a function of the seed and of its own text, so that it is the same in every task that reads the text, and stays what it is
//! when other examples come or go. The share that is held out is therefore near the one that was asked for, not equal to it.

use crate::error::{Error, Result};
use polyhead_kernels::rng::Key;

/// Whether each example is held out, by the text of its group.
///
/// # Errors
/// When all examples are of one group.
pub fn held_out(groups: &[&str], share: f64, key: Key) -> Result<Vec<bool>> {
    let rank = |group: &str| key.purpose("split").purpose(group).uniform(0);
    let ranks: Vec<f64> = groups.iter().map(|group| rank(group)).collect();
    let least = ranks.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ranks.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least >= most {
        let found = if groups.is_empty() { "none" } else { "one" };
        return Err(Error::data(format!(
            "expected examples of two different texts at least to hold some out, found {found}"
        ))
        .hint("name a file of its own as `validation`, and leave `split` out"));
    }
    // Few examples: neither side is left empty.
    let below = share.clamp(least.next_up(), most);
    Ok(ranks.into_iter().map(|rank| rank < below).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_group_stays_on_its_side_whatever_stands_beside_it() {
        let texts: Vec<String> = (0..4000).map(|index| format!("text {}", index / 2)).collect();
        let groups: Vec<&str> = texts.iter().map(String::as_str).collect();
        let held = held_out(&groups, 0.1, Key::seed(7)).unwrap();
        assert!(held.chunks(2).all(|pair| pair[0] == pair[1]));
        let count = held.iter().filter(|held| **held).count();
        assert!((300..500).contains(&count), "{count}");
        let half = held_out(&groups[..2000], 0.1, Key::seed(7)).unwrap();
        assert_eq!(half, held[..2000]);
        assert_ne!(held_out(&groups, 0.1, Key::seed(8)).unwrap(), held);
        let more = held_out(&groups, 0.2, Key::seed(7)).unwrap();
        assert!(
            held.iter().zip(&more).all(|(less, more)| *more || !less),
            "a larger share holds what the smaller held"
        );
    }

    #[test]
    fn neither_side_is_empty() {
        for share in [1e-9, 0.999_999] {
            for seed in 0..20 {
                let held = held_out(&["a", "b", "c"], share, Key::seed(seed)).unwrap();
                let count = held.iter().filter(|held| **held).count();
                assert_eq!(count, if share < 0.5 { 1 } else { 2 });
            }
        }
        for groups in [&[][..], &["a", "a"]] {
            assert!(held_out(groups, 0.5, Key::seed(0)).is_err());
        }
    }
}
