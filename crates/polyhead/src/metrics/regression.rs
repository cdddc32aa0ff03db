//! Scores of numbers, as scipy and scikit-learn compute them: the correlations of Pearson and Spearman, mean squared and mean absolute
//! error.
//!
//! ```text
//! (gold, predicted) of each example -> correlations from -1 to 1; errors in the units of the numbers
//! ```
//!
//! A correlation that is not defined (fewer than two examples, or all gold or all predicted numbers equal) is 0, where scipy gives NaN:
//! numbers that do not vary say nothing of how others do. Equal numbers share the mean of their ranks.

/// Numbers with what was predicted for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Regression {
    gold: Vec<f64>,
    predicted: Vec<f64>,
}

impl Regression {
    /// Counts an example.
    pub fn add(&mut self, gold: f64, predicted: f64) {
        self.gold.push(gold);
        self.predicted.push(predicted);
    }

    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.gold.len()
    }

    /// Gold and predicted number of each example, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.gold.iter().copied().zip(self.predicted.iter().copied())
    }

    /// Pearson's correlation: how nearly the predicted numbers are a rising line of the gold ones.
    pub fn pearson(&self) -> f64 {
        correlation(&self.gold, &self.predicted)
    }

    /// Spearman's correlation: Pearson's of the ranks.
    pub fn spearman(&self) -> f64 {
        correlation(&ranks(&self.gold), &ranks(&self.predicted))
    }

    /// The mean of the squared errors.
    pub fn mean_squared_error(&self) -> f64 {
        self.mean(|error| error * error)
    }

    /// The mean of the absolute errors.
    pub fn mean_absolute_error(&self) -> f64 {
        self.mean(f64::abs)
    }

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        let sum: f64 = self.pairs().map(|(gold, predicted)| of(predicted - gold)).sum();
        if self.gold.is_empty() { 0.0 } else { sum / self.gold.len() as f64 }
    }
}

/// Numbers less their mean, of length 1; `None` where they are all the same.
fn normalised(numbers: &[f64]) -> Option<Vec<f64>> {
    let (first, rest) = numbers.split_first()?;
    if rest.iter().all(|number| number == first) {
        return None;
    }
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let centred: Vec<f64> = numbers.iter().map(|number| number - mean).collect();
    // In units of the largest, whose square might be none that a number holds.
    let largest = centred.iter().fold(0.0_f64, |most, number| most.max(number.abs()));
    let length = largest * centred.iter().map(|number| (number / largest).powi(2)).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite()).then(|| centred.iter().map(|number| number / length).collect())
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let (Some(one), Some(other)) = (normalised(one), normalised(other)) else { return 0.0 };
    let product: f64 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
    product.clamp(-1.0, 1.0)
}

/// The rank of each number, from 1; equal ones have the mean of theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = numbers.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; numbers.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| a.1 == b.1) {
        let rank = before as f64 + (group.len() + 1) as f64 / 2.0;
        before += group.len();
        for (at, _) in group {
            if let Some(slot) = ranks.get_mut(*at) {
                *slot = rank;
            }
        }
    }
    ranks
}
