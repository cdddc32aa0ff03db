//! Successive halving (Jamieson and Talwalkar 2016): many trials on few examples, the best of them on more.
//!
//! ```text
//! rung       share of the examples    trials
//! 0          1/4                      n
//! 1          1/2                      the best third of these
//! 2          all                      the best third of these
//! ```

/// What of the training examples the trials of each rung train on.
pub(super) const SHARES: [f64; 3] = [0.25, 0.5, 1.0];

/// The trials of a rung above one of so many.
pub(super) fn kept(trials: usize) -> usize {
    trials.div_ceil(3).max(1)
}

/// What a search that begins with so many trials costs, in trainings on all examples.
pub(super) fn cost(trials: usize) -> f64 {
    let mut count = trials;
    SHARES
        .iter()
        .map(|share| {
            let cost = share * count as f64;
            count = kept(count);
            cost
        })
        .sum()
}

/// The most trials that this budget pays for, in trainings on all examples; none where it does not pay for two.
pub(super) fn affordable(budget: f64) -> Option<usize> {
    const MOST: usize = 300;
    (2..=MOST).take_while(|&trials| cost(trials) <= budget).last()
}

/// The numbers of the trials that go on, best first. `values` are those of a rung, by number: none of one that failed. Of equals the lower
/// number.
pub(super) fn best(values: &[(usize, Option<f64>)]) -> Vec<usize> {
    let mut scored: Vec<(usize, f64)> = values.iter().filter_map(|&(number, value)| Some((number, value?))).collect();
    scored.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then(a.cmp(b)));
    scored.truncate(kept(values.len()));
    scored.into_iter().map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_third_goes_on_and_what_failed_does_not() {
        let values =
            [(0, Some(1.0)), (1, Some(3.0)), (2, None), (3, Some(3.0)), (4, Some(2.0)), (5, Some(0.0)), (6, None)];
        assert_eq!(best(&values), [1, 3, 4]);
        assert_eq!(best(&[(0, None), (1, Some(0.5))]), [1]);
        assert!(best(&[(0, None)]).is_empty());
    }

    #[test]
    fn a_budget_pays_for_as_many_trials_as_it_says() {
        // 12 quarters, 4 halves, 2 whole ones.
        assert_eq!(cost(12), 3.0 + 2.0 + 2.0);
        assert_eq!((affordable(7.0), affordable(6.99).map(|trials| trials < 12)), (Some(12), Some(true)));
        // Two quarters, a half, a whole one.
        assert_eq!((affordable(2.0), affordable(1.9)), (Some(2), None));
    }
}
