//! What kind of question it is and what came of its answer: pure text, for breakdowns beside the SQuAD scores.

use super::squad::{Rules, Scores, normalise, score};

/// The question words, in the order in which they are shown; the first that a question holds is its own.
pub const WORDS: [&str; 10] = ["what", "who", "when", "where", "which", "why", "how many", "how much", "how", "other"];

/// The question word: the first of [`WORDS`] in the text. `whom` and `whose` ask who.
pub fn question_word(question: &str) -> &'static str {
    let text = question.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).copied().unwrap_or("");
        let found = match *word {
            "whom" | "whose" | "who" => "who",
            "how" if next == "many" => "how many",
            "how" if next == "much" => "how much",
            word => word,
        };
        if let Some(known) = WORDS.iter().find(|known| **known == found && **known != "other") {
            return known;
        }
    }
    "other"
}

/// The bins of answer lengths, in words.
pub const LENGTHS: [&str; 6] = ["1 word", "2 words", "3–4 words", "5–8 words", "9 words and more", "no answer"];

/// The bin of the shortest gold answer, in words as they stand.
pub fn length_bin<S: AsRef<str>>(golds: &[S]) -> &'static str {
    match golds.iter().map(|gold| gold.as_ref().split_whitespace().count()).min() {
        None => LENGTHS[5],
        Some(0..=1) => LENGTHS[0],
        Some(2) => LENGTHS[1],
        Some(3..=4) => LENGTHS[2],
        Some(5..=8) => LENGTHS[3],
        Some(_) => LENGTHS[4],
    }
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A gold answer, as the official script compares; or rightly none.
    Exact,
    /// All of a gold answer and more.
    TooLong,
    /// A part of a gold answer and no more.
    TooShort,
    /// Some words of a gold answer, and others.
    Overlap,
    /// No word of any gold answer.
    WrongSpan,
    /// No answer where there is one.
    NoAnswer,
    /// An answer where there is none.
    Unanswerable,
}

/// Outcomes in the order in which they are shown, with their names.
pub const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Exact, "exact match"),
    (Outcome::TooLong, "near miss: too long"),
    (Outcome::TooShort, "near miss: too short"),
    (Outcome::Overlap, "near miss: overlaps"),
    (Outcome::WrongSpan, "wrong span"),
    (Outcome::NoAnswer, "no answer, though there is one"),
    (Outcome::Unanswerable, "an answer, though there is none"),
];

/// What came of a predicted answer; the empty one is "no answer".
pub fn outcome<S: AsRef<str>>(prediction: &str, golds: &[S], rules: Rules) -> (Outcome, Scores) {
    let scores = score(prediction, golds, rules);
    let outcome = match () {
        () if scores.exact == 1.0 => Outcome::Exact,
        () if golds.is_empty() => Outcome::Unanswerable,
        () if prediction.trim().is_empty() => Outcome::NoAnswer,
        () if scores.f1 == 0.0 => Outcome::WrongSpan,
        () => {
            let found = format!(" {} ", normalise(prediction));
            let golds: Vec<String> = golds.iter().map(|gold| format!(" {} ", normalise(gold.as_ref()))).collect();
            match () {
                () if golds.iter().any(|gold| !gold.trim().is_empty() && found.contains(gold.as_str())) => {
                    Outcome::TooLong
                }
                () if golds.iter().any(|gold| gold.contains(&found)) => Outcome::TooShort,
                () => Outcome::Overlap,
            }
        }
    };
    (outcome, scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_first_question_word_in_it() {
        for (question, word) in [
            ("Who won?", "who"),
            ("To whom was it given?", "who"),
            ("In what year did it end?", "what"),
            ("How many bones are there, and where?", "how many"),
            ("How tall is it?", "how"),
            ("The Beatles formed when?", "when"),
            ("Somewhat whatever", "other"),
            ("Name the other one.", "other"),
            ("", "other"),
        ] {
            assert_eq!(question_word(question), word, "{question}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_shortest_gold_answer() {
        assert_eq!(length_bin(&["in the autumn of 1989", "1989"]), "1 word");
        assert_eq!(length_bin(&["the red and the black"]), "5–8 words");
        assert_eq!(length_bin::<&str>(&[]), "no answer");
    }

    #[test]
    fn near_misses_wrong_spans_and_no_answers_are_told_apart() {
        let of = |prediction: &str, golds: &[&str], rules| outcome(prediction, golds, rules).0;
        let golds = ["nearly 11,000 metres", "11,000 metres"];
        assert_eq!(of("The 11,000 metres", &golds, Rules::V1), Outcome::Exact);
        assert_eq!(of("lies 11,000 metres below", &golds, Rules::V1), Outcome::TooLong);
        assert_eq!(of("metres", &golds, Rules::V1), Outcome::TooShort);
        assert_eq!(of("metres below", &golds, Rules::V1), Outcome::Overlap);
        assert_eq!(of("1960", &golds, Rules::V1), Outcome::WrongSpan);
        assert_eq!(of("", &golds, Rules::V2), Outcome::NoAnswer);
        assert_eq!(of("1960", &[], Rules::V2), Outcome::Unanswerable);
        assert_eq!(of("", &[], Rules::V2), Outcome::Exact);
        // Not a part of a word.
        assert_eq!(of("art", &["art of war", "smart"], Rules::V1), Outcome::TooShort);
    }
}
