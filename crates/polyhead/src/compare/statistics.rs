//! Samples over seeds and what their paired differences show: `&[f64] -> mean, deviation, interval`.
//!
//! Seeds are few, so the interval is Student's: the mean of the differences give or take `t * sd / sqrt(n)`, where `t` is
//! the quantile of the t distribution with `n - 1` degrees of freedom. Tested against scipy (`fixtures/student_t.py`).

use crate::document::number::mean_and_spread;
use serde::Serialize;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// How sure an interval is to hold the true mean.
pub const CONFIDENCE: f64 = 0.95;

/// One value a seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The values, in the order of the seeds.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation (divided by `n - 1`); none of one value.
    pub sd: Option<f64>,
}

impl Sample {
    /// Of these values, of which there must be one at least.
    pub fn of(values: Vec<f64>) -> Self {
        let (mean, sd) = mean_and_spread(&values);
        Self { values, mean, sd }
    }

    /// The interval that holds the true mean with [`CONFIDENCE`]. None of one value, and none of values that are all the
    /// same: they say nothing of how much they spread.
    pub fn interval(&self) -> Option<[f64; 2]> {
        self.interval_at(CONFIDENCE)
    }

    /// The same with another confidence.
    pub fn interval_at(&self, confidence: f64) -> Option<[f64; 2]> {
        let first = *self.values.first()?;
        // Scores are shares of counts: equal differences are equal but for rounding, which is no spread.
        if self.values.iter().all(|value| (value - first).abs() < 1e-9) {
            return None;
        }
        let count = self.values.len();
        let half = two_sided_quantile(confidence, count - 1) * self.sd? / (count as f64).sqrt();
        Some([self.mean - half, self.mean + half])
    }
}

/// Two samples of the same seeds, and their difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// Of the joint models.
    pub joint: Sample,
    /// Of the separate models.
    pub single: Sample,
    /// Joint less single, seed by seed: above 0 where sharing helped (of a score).
    pub difference: Sample,
    /// Where the true mean of the differences lies, with [`CONFIDENCE`].
    pub interval: Option<[f64; 2]>,
    /// What that says.
    pub verdict: Verdict,
}

impl Paired {
    /// Of these values, one pair a seed.
    pub fn of(joint: Vec<f64>, single: Vec<f64>) -> Self {
        let difference = Sample::of(joint.iter().zip(&single).map(|(joint, single)| joint - single).collect());
        let interval = difference.interval();
        let verdict = Verdict::of(&difference, interval);
        Self { joint: Sample::of(joint), single: Sample::of(single), difference, interval, verdict }
    }
}

/// What an interval says about sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval lies above 0.
    Helped,
    /// The whole interval lies below 0.
    Hurt,
    /// The interval holds 0, or the differences are all the same and there is none.
    NotShown,
    /// One seed has no spread.
    OneSeed,
}

impl Verdict {
    /// What the interval of differences says.
    pub(super) fn of(difference: &Sample, interval: Option<[f64; 2]>) -> Self {
        match interval {
            _ if difference.values.len() < 2 => Self::OneSeed,
            Some([low, _]) if low > 0.0 => Self::Helped,
            Some([_, high]) if high < 0.0 => Self::Hurt,
            _ => Self::NotShown,
        }
    }
}

/// `t` such that a value of Student's distribution lies within `-t .. t` with this probability, between 0 and 1.
pub fn two_sided_quantile(probability: f64, degrees: usize) -> f64 {
    // Bisection over the angle: it has a bounded range, and the probability rises with it.
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if within(middle, degrees) < probability { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (degrees as f64).sqrt()
}

/// The probability of `-t .. t`, with `angle = atan(t / sqrt(n))`: the finite sums of Abramowitz and Stegun, 26.7.3 and
/// 26.7.4, exact for whole degrees of freedom `n`.
///
/// ```text
/// n odd:   2/pi * (angle + sin * (cos + 2/3 cos^3 + 2*4/(3*5) cos^5 + ...  up to cos^(n-2)))
/// n even:  sin * (1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ...  up to cos^(n-2))
/// ```
fn within(angle: f64, degrees: usize) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = 0.0;
    let mut power = if odd { 1 } else { 0 };
    while power + 2 <= degrees {
        sum += term;
        term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    if odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    fn fixture() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/student_t.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
    }

    #[test]
    fn quantiles_are_those_of_scipy() {
        let fixture = fixture();
        let cases = fixture["quantiles"].as_array().unwrap();
        assert!(cases.len() > 100);
        for case in cases {
            let [probability, degrees, expected] = numbers(case)[..] else { panic!("{case}") };
            let found = two_sided_quantile(probability, degrees as usize);
            assert!(near(found, expected), "{probability} with {degrees}: {found}, scipy has {expected}");
        }
    }

    #[test]
    fn means_deviations_and_paired_intervals_are_those_of_scipy() {
        let fixture = fixture();
        let cases = fixture["paired"].as_array().unwrap();
        let mut verdicts = Vec::new();
        for case in cases {
            let paired = Paired::of(numbers(&case["joint"]), numbers(&case["single"]));
            for (sample, name) in
                [(&paired.joint, "joint"), (&paired.single, "single"), (&paired.difference, "difference")]
            {
                let expected = numbers(&case[format!("{name}_mean_sd")]);
                assert!(near(sample.mean, expected[0]) && near(sample.sd.unwrap(), expected[1]), "{name} of {case}");
            }
            let [low, high] = paired.interval.unwrap();
            let expected = numbers(&case["interval"]);
            assert!(near(low, expected[0]) && near(high, expected[1]), "{low} to {high}: {case}");
            // The interval holds 0 exactly where the paired test does not reject at 5 %.
            assert_eq!(paired.verdict == Verdict::NotShown, case["p"].as_f64().unwrap() > 0.05, "{case}");
            verdicts.push(paired.verdict);
        }
        for verdict in [Verdict::Helped, Verdict::Hurt, Verdict::NotShown] {
            assert!(verdicts.contains(&verdict), "no case with {verdict:?}");
        }
    }

    #[test]
    fn one_seed_has_neither_deviation_nor_interval_nor_verdict() {
        let paired = Paired::of(vec![80.0], vec![70.0]);
        assert_eq!((paired.difference.mean, paired.difference.sd, paired.interval), (10.0, None, None));
        assert_eq!(paired.verdict, Verdict::OneSeed);
    }

    #[test]
    fn differences_that_are_all_the_same_show_nothing() {
        // 0.3 - 0.2 and 1.2 - 1.1 are not the same bits.
        let paired = Paired::of(vec![0.3, 1.2], vec![0.2, 1.1]);
        assert!(paired.difference.values[0] != paired.difference.values[1]);
        assert_eq!((paired.interval, paired.verdict), (None, Verdict::NotShown));
        assert_eq!(Paired::of(vec![1.0, 2.0], vec![1.0, 2.0]).verdict, Verdict::NotShown);
    }
}
