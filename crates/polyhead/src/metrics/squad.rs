//! Exact match and F1 of answers, as the official SQuAD scripts count them.
//!
//! ```text
//! answer text -> normalised text -> (exact match, F1) against each gold answer, the best of each -> counts -> scores
//! ```
//!
//! Normalising: small letters; ASCII punctuation deleted; the words "a", "an" and "the" replaced by a space; white
//! space made single. F1 is that of the two bags of words. References: `evaluate-v1.1.py` and `evaluate-v2.0.py` of
//! rajpurkar/SQuAD-explorer, with the character classes of Python that they run on.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// Which official script to follow; they differ where an answer normalises to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Every question has an answer. A question without a prediction counts as wrong. Two empty answers have F1 0.
    V1,
    /// Questions may have none. A question without a prediction is not counted. Two empty answers have F1 1.
    V2,
}

/// A word in the sense of Python's `\b`: letters, numbers and `_`. Neither marks nor joiners belong to it, as they do
/// to the `\w` of Rust's regex.
#[allow(clippy::expect_used)] // a constant pattern, which every test of this file compiles
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a valid pattern"));

/// The answer without case, ASCII punctuation, articles and surplus white space.
pub fn normalise(answer: &str) -> String {
    let mut text = answer.to_lowercase();
    text.retain(|c| !c.is_ascii_punctuation());
    let text =
        WORD.replace_all(&text, |word: &regex::Captures<'_>| match word.get(0).map_or("", |word| word.as_str()) {
            "a" | "an" | "the" => " ".to_owned(),
            other => other.to_owned(),
        });
    text.split(is_python_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What Python's `str.split()` splits at: Unicode's white space and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1C}'..='\u{1F}')
}

/// Exact match and F1, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    /// 1 if the normalised answers are equal, otherwise 0; a share where it is a mean.
    pub exact: f64,
    /// The harmonic mean of the shares of common words.
    pub f1: f64,
}

/// The scores of a prediction: the best exact match and the best F1 over the gold answers.
///
/// No gold answers (none at all, or under [`Rules::V2`] none that is more than articles and punctuation): the right
/// prediction is the empty one.
pub fn score<S: AsRef<str>>(prediction: &str, golds: &[S], rules: Rules) -> Scores {
    let prediction = normalise(prediction);
    let mut golds: Vec<String> = golds.iter().map(|gold| normalise(gold.as_ref())).collect();
    if rules == Rules::V2 {
        golds.retain(|gold| !gold.is_empty());
    }
    if golds.is_empty() {
        golds.push(String::new());
    }
    golds.iter().fold(Scores::default(), |best, gold| Scores {
        exact: best.exact.max(if *gold == prediction { 1.0 } else { 0.0 }),
        f1: best.f1.max(f1(&prediction, gold, rules)),
    })
}

/// F1 of two normalised answers.
fn f1(prediction: &str, gold: &str, rules: Rules) -> f64 {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).count();
    let (predicted, right) = (words(prediction), words(gold));
    if predicted == 0 || right == 0 {
        return if rules == Rules::V2 && predicted == right { 1.0 } else { 0.0 };
    }
    let mut bag: HashMap<&str, usize> = HashMap::new();
    gold.split(' ').for_each(|word| *bag.entry(word).or_default() += 1);
    let mut common = 0_usize;
    for word in prediction.split(' ') {
        if let Some(left) = bag.get_mut(word).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (common as f64 / predicted as f64, common as f64 / right as f64);
    2.0 * precision * recall / (precision + recall)
}

/// Sums of exact match and F1 over some questions.
///
/// The sum of F1 is kept in whole units of 2^-60, so that it does not depend on the order of its terms, and so on the
/// size of a batch, in any bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    questions: u64,
    exact: u64,
    f1: u128,
}

const UNIT: f64 = (1_u64 << 60) as f64;

impl Tally {
    fn add(&mut self, scores: Scores) {
        self.questions += 1;
        self.exact += u64::from(scores.exact > 0.5);
        self.f1 += (scores.f1 * UNIT) as u128;
    }
    fn merge(&mut self, other: &Tally) {
        self.questions += other.questions;
        self.exact += other.exact;
        self.f1 += other.f1;
    }
    /// How many questions were counted.
    pub fn questions(&self) -> u64 {
        self.questions
    }
    /// How many of them were answered exactly.
    pub fn exact(&self) -> u64 {
        self.exact
    }
    /// The means, each from 0 to 1 (the official scripts print a hundred times that); 0 over no questions.
    pub fn means(&self) -> Scores {
        let questions = self.questions.max(1) as f64;
        Scores { exact: self.exact as f64 / questions, f1: self.f1 as f64 / UNIT / questions }
    }
}

/// What was counted so far. Counts of two halves of a data set, merged, are those of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    rules: Rules,
    has_answer: Tally,
    no_answer: Tally,
    missing: u64,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, has_answer: Tally::default(), no_answer: Tally::default(), missing: 0 }
    }

    /// Scores one question and counts it; `None` is a question that was not predicted. Empty golds: it has no answer.
    pub fn add<S: AsRef<str>>(&mut self, prediction: Option<&str>, golds: &[S]) -> Option<Scores> {
        let scores = prediction.map(|prediction| score(prediction, golds, self.rules));
        self.missing += u64::from(scores.is_none());
        match (scores, self.rules) {
            (None, Rules::V2) => {}
            (scores, _) => self.add_scored(scores.unwrap_or_default(), golds),
        }
        scores
    }

    /// Counts a question that is scored already, perhaps under a no-answer threshold. Empty golds: it has no answer.
    pub fn add_scored<S: AsRef<str>>(&mut self, scores: Scores, golds: &[S]) {
        let tally = if golds.is_empty() { &mut self.no_answer } else { &mut self.has_answer };
        tally.add(scores);
    }

    /// Adds what was counted elsewhere, under the same rules.
    pub fn merge(&mut self, other: &Counts) {
        self.has_answer.merge(&other.has_answer);
        self.no_answer.merge(&other.no_answer);
        self.missing += other.missing;
    }

    /// All questions that count.
    pub fn all(&self) -> Tally {
        let mut all = self.has_answer;
        all.merge(&self.no_answer);
        all
    }
    /// Those whose context answers them: HasAns.
    pub fn has_answer(&self) -> &Tally {
        &self.has_answer
    }
    /// Those whose context does not: NoAns.
    pub fn no_answer(&self) -> &Tally {
        &self.no_answer
    }
    /// How many questions had no prediction (in v1.1 they count as wrong, in v2.0 not at all).
    pub fn missing(&self) -> u64 {
        self.missing
    }
    /// The script that is followed.
    pub fn rules(&self) -> Rules {
        self.rules
    }
}
