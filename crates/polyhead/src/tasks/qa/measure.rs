//! What is counted of answers, and what it comes to: as the official SQuAD scripts do.

use super::{Config, Found, NullThreshold, QaExample};
use crate::metrics::squad::{self, Rules};
use crate::metrics::squad_threshold::{Judged, Measure, best_threshold, counts_at, given_at};
use crate::tasks::Score;
use serde_json::json;

/// What the metric adds up.
pub enum Counts {
    /// Every question has an answer: SQuAD v1.1.
    Answered {
        /// All of them.
        all: squad::Counts,
        /// Those whose answer is given, and not withheld for its score.
        given: squad::Counts,
    },
    /// Questions may have none, SQuAD v2.0: all of them, for the threshold comes last.
    Judged(Vec<Judged>),
}

impl Counts {
    /// Nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        match config.allows_none() {
            true => Self::Judged(Vec::new()),
            false => Self::Answered { all: squad::Counts::new(Rules::V1), given: squad::Counts::new(Rules::V1) },
        }
    }

    pub(super) fn add(&mut self, example: &QaExample, prediction: &Found) {
        let (answer, golds) = (prediction.first(example), example.golds());
        match self {
            Self::Answered { all, given } => {
                all.add(Some(answer), &golds);
                if !prediction.withheld {
                    given.add(Some(answer), &golds);
                }
            }
            Self::Judged(all) => {
                all.push(Judged::new(answer, &golds, prediction.null_difference.unwrap_or_default()));
            }
        }
    }

    /// The threshold that these predictions decide. Where no answer at all is best, it lies just below all of them.
    pub(super) fn threshold(&self, chosen: NullThreshold) -> f64 {
        let Self::Judged(all) = self else { return 0.0 };
        let measure = match chosen {
            NullThreshold::Fixed(threshold) => return threshold,
            NullThreshold::Validation => Measure::F1,
            NullThreshold::ValidationExactMatch => Measure::Exact,
        };
        let lowest = || all.iter().map(|one| one.no_answer_score).min_by(f64::total_cmp);
        best_threshold(all, measure).threshold.or_else(|| lowest().map(f64::next_down)).unwrap_or_default()
    }

    /// What it comes to.
    pub(super) fn score(&self, config: &Config) -> Score {
        let mut values = serde_json::Map::new();
        let mut put = |name: &str, value: f64| values.insert(name.to_owned(), json!(value));
        let (counts, given) = match self {
            Self::Answered { all, given } => (*all, *given),
            Self::Judged(all) => (counts_at(all, config.threshold()), given_at(all, config.threshold())),
        };
        let all = counts.all();
        put("exact_match", 100.0 * all.means().exact);
        put("f1", 100.0 * all.means().f1);
        if let Self::Judged(questions) = self {
            for (name, tally) in [("has_answer", counts.has_answer()), ("no_answer", counts.no_answer())] {
                put(&format!("{name}_exact_match"), 100.0 * tally.means().exact);
                put(&format!("{name}_f1"), 100.0 * tally.means().f1);
            }
            put("null_threshold", config.threshold());
            for (name, measure) in [("best_exact_match", Measure::Exact), ("best_f1", Measure::F1)] {
                let best = best_threshold(questions, measure);
                put(name, 100.0 * best.score);
                put(&format!("{name}_threshold"), best.threshold.unwrap_or(0.0));
            }
        }
        if !config.min_score.is_default() {
            let given = given.all();
            put("answered", 100.0 * given.questions() as f64 / (all.questions() as f64).max(1.0));
            put("answered_exact_match", 100.0 * given.means().exact);
        }
        put("questions", all.questions() as f64);
        Score { headline: "f1".into(), values, types: Vec::new() }
    }
}
