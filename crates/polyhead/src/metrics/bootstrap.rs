//! The bootstrap (Efron, 1979): how far a score may be off because other examples might have been drawn.
//!
//! ```text
//! n examples -> samples of n of them, with replacement -> the score of each -> the middle 95 % of the scores
//! two models, the same samples -> differences: what makes an example hard or easy for both falls away
//! ```

use polyhead_kernels::rng::Key;

/// So many samples of the examples, each as their indices.
pub fn samples(examples: usize, count: usize, key: Key) -> Vec<Vec<usize>> {
    let index = |key: Key, at: usize| (key.uniform(at as u64) * examples as f64) as usize;
    let sample = |number: usize| {
        let key = key.with(number as u64);
        (0..examples).map(|at| index(key, at).min(examples.saturating_sub(1))).collect()
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

    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let key = Key::seed(1);
        let values: Vec<f64> = (0..400).map(|at| key.normal(at)).collect();
        let mean = |sample: &[usize]| sample.iter().map(|&at| values[at]).sum::<f64>() / sample.len() as f64;
        let all: Vec<usize> = (0..values.len()).collect();
        let (middle, drawn) = (mean(&all), samples(values.len(), 2000, key.purpose("bootstrap")));
        let [low, high] = interval(drawn.iter().map(|sample| mean(sample)).collect()).unwrap();
        // 1.96 / sqrt(400) on either side.
        for end in [middle - low, high - middle] {
            assert!((end / (1.96 * 0.05) - 1.0).abs() < 0.15, "{low} {middle} {high}");
        }
        assert_eq!(drawn, samples(values.len(), 2000, key.purpose("bootstrap")));
    }

    #[test]
    fn every_sample_is_as_large_as_the_examples_and_names_none_beyond_them() {
        for examples in [0, 1, 7] {
            let drawn = samples(examples, 50, Key::seed(2));
            assert!(drawn.iter().all(|sample| sample.len() == examples && sample.iter().all(|&at| at < examples)));
        }
        assert_eq!((interval(Vec::new()), interval(vec![3.0])), (None, Some([3.0, 3.0])));
    }
}
