//! The bootstrap (Efron, 1979): how far a score may be off because other examples might have been drawn.
//!
//! ```text
//! groups of examples -> samples of as many groups, with replacement -> the score of each -> the middle 95 % of the scores
//! two models, the same samples -> differences: what makes an example hard or easy for both falls away
//! ```
//!
//! Examples of one text are drawn together (the cluster bootstrap): ten questions about one passage tell less than ten about ten.

use polyhead_kernels::rng::Key;
use std::collections::HashMap;

/// How many samples an interval of a score is made of.
pub const SAMPLES: usize = 1000;

/// So many samples of examples, each as their indices. `groups` says of each example which it is drawn with.
pub fn samples(groups: &[String], count: usize) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        let number = *known.entry(group).or_insert(members.len());
        match members.get_mut(number) {
            Some(members) => members.push(at),
            None => members.push(vec![at]),
        }
    }
    let key = Key::seed(0).purpose("bootstrap");
    let drawn = |key: Key, at: usize| {
        let group = (key.uniform(at as u64) * members.len() as f64) as usize;
        members.get(group).or(members.last()).into_iter().flatten().copied()
    };
    let sample = |number: usize| {
        let key = key.with(number as u64);
        (0..members.len()).flat_map(|at| drawn(key, at)).collect()
    };
    (0..count).map(sample).collect()
}

/// The ends of the middle 95 % of the values; none of no values.
pub fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len().saturating_sub(1) as f64).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn alone(examples: usize) -> Vec<String> {
        (0..examples).map(|at| at.to_string()).collect()
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let key = Key::seed(1);
        let values: Vec<f64> = (0..400).map(|at| key.normal(at)).collect();
        let mean = |sample: &[usize]| sample.iter().map(|&at| values[at]).sum::<f64>() / sample.len() as f64;
        let all: Vec<usize> = (0..values.len()).collect();
        let (middle, drawn) = (mean(&all), samples(&alone(values.len()), 2000));
        let [low, high] = interval(drawn.iter().map(|sample| mean(sample)).collect()).unwrap();
        // 1.96 / sqrt(400) on either side.
        for end in [middle - low, high - middle] {
            assert!((end / (1.96 * 0.05) - 1.0).abs() < 0.15, "{low} {middle} {high}");
        }
        assert_eq!(drawn, samples(&alone(values.len()), 2000));
    }

    #[test]
    fn examples_of_a_group_are_drawn_together_and_make_the_interval_wider() {
        let key = Key::seed(1);
        // Four of each: what is drawn is 100 groups.
        let groups: Vec<String> = (0..400).map(|at| (at / 4).to_string()).collect();
        let values: Vec<f64> = (0..400).map(|at| key.normal(at / 4)).collect();
        let mean = |sample: &[usize]| sample.iter().map(|&at| values[at]).sum::<f64>() / sample.len() as f64;
        let drawn = samples(&groups, 2000);
        for sample in &drawn {
            assert!(sample.chunks(4).all(|four| four[0] % 4 == 0 && four == [0, 1, 2, 3].map(|at| four[0] + at)));
        }
        let [low, high] = interval(drawn.iter().map(|sample| mean(sample)).collect()).unwrap();
        assert!(((high - low) / (2.0 * 1.96 * 0.1) - 1.0).abs() < 0.15, "{low} {high}");
    }

    #[test]
    fn every_sample_has_as_many_groups_as_there_are_and_no_others() {
        for examples in [0, 1, 7] {
            let drawn = samples(&alone(examples), 50);
            assert!(drawn.iter().all(|sample| sample.len() == examples && sample.iter().all(|&at| at < examples)));
        }
        assert_eq!((interval(Vec::new()), interval(vec![3.0])), (None, Some([3.0, 3.0])));
    }
}
