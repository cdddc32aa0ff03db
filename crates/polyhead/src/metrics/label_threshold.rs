//! From which score on a label is predicted: the threshold with the best F1 on data with gold labels.
//!
//! ```text
//! (score from 0 to 1, whether the label holds) of each example -> threshold; a label is predicted where its score reaches it
//! ```
//!
//! Between two neighbouring scores every threshold predicts the same. Tried are the middles of all such gaps, half of the lowest score
//! (all are predicted), and 0.5. Of equal F1 the nearest to 0.5 is taken, of two as near the lower: the choice is a function of
//! the pairs, whatever their order. Where no threshold finds anything (no example has the label), it is 0.5.

/// Where nothing else was chosen.
pub const DEFAULT: f64 = 0.5;

/// A score with whether the label holds.
pub type Judged = (f64, bool);

/// The threshold with the best F1.
pub fn best_threshold(judged: &[Judged]) -> f64 {
    let mut falling: Vec<Judged> = judged.to_vec();
    falling.sort_by(|a, b| b.0.total_cmp(&a.0));
    let gold = falling.iter().filter(|(_, holds)| *holds).count();
    let (mut best, mut chosen) = (F1::at(&falling, DEFAULT, gold), DEFAULT);
    let mut right = 0;
    for (at, &(score, holds)) in falling.iter().enumerate() {
        right += usize::from(holds);
        let below = falling.get(at + 1).map_or(0.0, |next| next.0);
        if below >= score {
            // Equal scores are predicted together; and no threshold lies below 0.
            continue;
        }
        let middle = f64::midpoint(below, score);
        let threshold = if middle > below { middle } else { score };
        let found = F1 { right, decided: at + 1 + gold };
        let order = found.compare(best).then_with(|| far(chosen).total_cmp(&far(threshold)));
        // Thresholds fall, so that the later of two as near is the lower.
        if order.is_ge() {
            (best, chosen) = (found, threshold);
        }
    }
    chosen
}

fn far(threshold: f64) -> f64 {
    (threshold - DEFAULT).abs()
}

/// F1 as the fraction that it is, `2 right / (predicted + gold)`: compared without rounding.
#[derive(Clone, Copy)]
struct F1 {
    right: usize,
    decided: usize,
}

impl F1 {
    fn at(falling: &[Judged], threshold: f64, gold: usize) -> Self {
        let predicted = falling.iter().take_while(|(score, _)| *score >= threshold);
        let (count, right) =
            predicted.fold((0, 0), |(count, right), (_, holds)| (count + 1, right + usize::from(*holds)));
        Self { right, decided: count + gold }
    }

    fn compare(self, other: Self) -> std::cmp::Ordering {
        let product = |a: usize, b: usize| a as u128 * b as u128;
        // Nothing decided is nothing found.
        product(self.right, other.decided.max(1)).cmp(&product(other.right, self.decided.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn f1(judged: &[Judged], threshold: f64) -> f64 {
        let predicted = |score: f64| score >= threshold;
        let right = judged.iter().filter(|(score, holds)| *holds && predicted(*score)).count() as f64;
        let wrong = judged.iter().filter(|(score, holds)| *holds != predicted(*score)).count() as f64;
        if right > 0.0 { 2.0 * right / (2.0 * right + wrong) } else { 0.0 }
    }

    #[test]
    fn the_threshold_is_in_the_middle_of_the_best_gap_and_of_equals_nearest_to_a_half() {
        assert_eq!(best_threshold(&[(0.1, false), (0.2, false), (0.3, true), (0.35, true)]), 0.25);
        assert_eq!(best_threshold(&[(0.9, true), (0.8, false), (0.7, false)]), f64::midpoint(0.9, 0.8));
        assert_eq!(best_threshold(&[(0.2, true), (0.3, true)]), 0.1, "all are predicted");
        assert_eq!(best_threshold(&[(0.2, false), (0.9, true)]), 0.5, "0.5 is as good as any");
        assert_eq!(best_threshold(&[(0.2, false), (0.9, false)]), 0.5, "nothing can be found");
        assert_eq!(best_threshold(&[]), 0.5);
        assert_eq!(
            best_threshold(&[(0.0, true), (0.0, false)]),
            0.5,
            "no threshold finds a score of 0 and leaves others"
        );
    }

    proptest! {
        #[test]
        fn no_threshold_is_better_whatever_the_order(
            pairs in prop::collection::vec((0..40_u32, any::<bool>()), 0..30),
            turn in any::<prop::sample::Index>(),
        ) {
            let judged: Vec<Judged> = pairs.iter().map(|&(score, holds)| (f64::from(score + 1) / 41.0, holds)).collect();
            let chosen = best_threshold(&judged);
            let best = f1(&judged, chosen);
            for at in 1..=1000 {
                prop_assert!(f1(&judged, f64::from(at) / 1000.0) <= best);
            }
            if f1(&judged, 0.5) == best {
                prop_assert_eq!(chosen, 0.5);
            }
            let mut turned = judged.clone();
            turned.rotate_left(if judged.is_empty() { 0 } else { turn.index(judged.len()) });
            prop_assert_eq!(best_threshold(&turned), chosen);
        }
    }
}
