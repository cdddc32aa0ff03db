//! When to say that there is no answer: the threshold search of SQuAD v2.0.
//!
//! A system gives each question a score for having no answer (a probability, or the null score minus the best span's).
//! Where it exceeds a threshold, the prediction counts as empty. The official script tries every score as the
//! threshold, by one pass in the order of the scores. It looks at each question on its own, also among equal scores, so
//! that its best can be a little better than any threshold gives; we follow it to the digit.
//!
//! Reference: `apply_no_ans_threshold` and `find_best_thresh` of `evaluate-v2.0.py`, rajpurkar/SQuAD-explorer.

use super::squad::{Counts, Rules, Scores, score};

/// A predicted question, as the threshold search needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The scores of its prediction, before any threshold.
    pub scores: Scores,
    /// How strongly the system holds that there is no answer; any scale.
    pub no_answer_score: f64,
    gold: Gold,
    prediction: Prediction,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Gold {
    Answer,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Prediction {
    Text,
    Empty,
}

/// Which of the two scores to optimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Exact match.
    Exact,
    /// F1.
    F1,
}

/// The best threshold and what it gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The mean score over all questions, from 0 to 1.
    pub score: f64,
    /// Questions whose no-answer score exceeds this are left without an answer. `None`: all are (the official script
    /// then prints 0).
    pub threshold: Option<f64>,
}

impl Judged {
    /// Scores a prediction under the rules of v2.0.
    pub fn new<S: AsRef<str>>(prediction: &str, golds: &[S], no_answer_score: f64) -> Self {
        Self {
            scores: score(prediction, golds, Rules::V2),
            no_answer_score,
            gold: if golds.is_empty() { Gold::None } else { Gold::Answer },
            prediction: if prediction.is_empty() { Prediction::Empty } else { Prediction::Text },
        }
    }

    /// The scores once a threshold is applied.
    pub fn at(&self, threshold: f64) -> Scores {
        if self.no_answer_score > threshold { self.left_empty() } else { self.scores }
    }

    /// The scores of no answer.
    fn left_empty(&self) -> Scores {
        match self.gold {
            Gold::None => Scores { exact: 1.0, f1: 1.0 },
            Gold::Answer => Scores { exact: 0.0, f1: 0.0 },
        }
    }
}

/// What the questions come to with a threshold.
pub fn counts_at(questions: &[Judged], threshold: f64) -> Counts {
    let mut counts = Counts::new(Rules::V2);
    for question in questions {
        let golds: &[&str] = if question.gold == Gold::Answer { &[""] } else { &[] };
        counts.add_scored(question.at(threshold), golds);
    }
    counts
}

/// What the questions come to that are given an answer with a threshold: by the rules of v2.0, an answer to a question without one is wrong.
pub fn given_at(questions: &[Judged], threshold: f64) -> Counts {
    let is_given = |one: &&Judged| one.prediction == Prediction::Text && one.no_answer_score <= threshold;
    counts_at(&questions.iter().filter(is_given).copied().collect::<Vec<_>>(), threshold)
}

/// The threshold with the best mean score, by the pass of the official script. Equal scores keep their order.
pub fn best_threshold(questions: &[Judged], measure: Measure) -> Best {
    let mut order: Vec<&Judged> = questions.iter().collect();
    order.sort_by(|a, b| a.no_answer_score.total_cmp(&b.no_answer_score));
    let mut sum = questions.iter().filter(|question| question.gold == Gold::None).count() as f64;
    let (mut best, mut threshold) = (sum, None);
    for question in order {
        sum += match (question.gold, question.prediction, measure) {
            (Gold::Answer, _, Measure::Exact) => question.scores.exact,
            (Gold::Answer, _, Measure::F1) => question.scores.f1,
            (Gold::None, Prediction::Text, _) => -1.0,
            (Gold::None, Prediction::Empty, _) => 0.0,
        };
        if sum > best {
            (best, threshold) = (sum, Some(question.no_answer_score));
        }
    }
    Best { score: best / questions.len().max(1) as f64, threshold }
}
