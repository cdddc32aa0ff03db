//! The words of the suite: six sentences with the universal part of speech of each word.
//!
//! ```text
//! suite/words.jsonl {"domain", "words": ["...", ...], "tags": ["...", ...]}     see `trees.rs` for its other fields
//! ```

use super::{Verdict, answers, cases, verdict};
use crate::error::Result;
use crate::infer::Session;
use crate::tasks::Shape;
use crate::tasks::answer::{Answer, Spans};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const WORDS: &str = include_str!("../../suite/words.jsonl");

/// The parts of speech of Universal Dependencies.
pub const PARTS_OF_SPEECH: [&str; 17] = [
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
    "SYM", "VERB", "X",
];

/// Words with their parts of speech, and what was predicted.
#[derive(Debug, Clone, Serialize)]
pub struct Words {
    /// What the sentence is about.
    pub domain: String,
    /// Its words.
    pub words: Vec<String>,
    /// The part of speech of each.
    pub gold: Vec<String>,
    /// The predicted ones; none for a word without a token.
    pub found: Vec<Option<String>>,
    /// How many are right.
    pub correct: usize,
    /// Whether all are.
    pub verdict: Verdict,
}

#[derive(Deserialize)]
struct Case {
    domain: String,
    words: Vec<String>,
    tags: Vec<String>,
}

/// Whether labels are parts of speech, and none is missing that the sentences have.
pub(super) fn fit(labels: &[String]) -> bool {
    let cases: Vec<Case> = cases("suite/words.jsonl", WORDS).unwrap_or_default();
    let known = |label: &String| PARTS_OF_SPEECH.contains(&label.as_str());
    labels.iter().all(known) && cases.iter().flat_map(|case| &case.tags).all(|tag| labels.contains(tag))
}

/// What a task makes of them.
pub(super) fn words(session: &Session, task: &str) -> Result<Vec<Words>> {
    let cases: Vec<Case> = cases("suite/words.jsonl", WORDS)?;
    let answers = answers(session, task, cases.iter().map(|case| json!({ "words": case.words })).collect())?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(Case { domain, words, tags: gold }, answer)| {
            let spans = match Shape::Spans.read(&answer) {
                Ok(Answer::Spans(Spans { entities, .. })) => entities,
                _ => Vec::new(),
            };
            let mut start = 0; // the words stand in the text with a space between them
            let found: Vec<Option<String>> = words
                .iter()
                .map(|word| {
                    let at = start;
                    start += word.chars().count() + 1;
                    spans.iter().find(|span| span.start == at).map(|span| span.kind.clone())
                })
                .collect();
            let correct = gold.iter().zip(&found).filter(|(gold, found)| Some(*gold) == found.as_ref()).count();
            let verdict = verdict(correct == gold.len());
            Words { domain, words, gold, found, correct, verdict }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_word_has_a_part_of_speech() {
        let cases: Vec<Case> = cases("words", WORDS).unwrap();
        assert_eq!(cases.len(), 6);
        for case in &cases {
            assert_eq!(case.words.len(), case.tags.len(), "{:?}", case.words);
            assert!(case.tags.iter().all(|tag| PARTS_OF_SPEECH.contains(&tag.as_str())), "{:?}", case.tags);
        }
    }

    #[test]
    fn a_model_is_asked_whose_labels_are_parts_of_speech_and_all_that_the_words_have() {
        let all: Vec<String> = PARTS_OF_SPEECH.map(str::to_owned).to_vec();
        assert!(fit(&all));
        let without = |tag: &str| all.iter().filter(|label| *label != tag).cloned().collect::<Vec<_>>();
        assert!(fit(&without("SYM")) && !fit(&without("NOUN")) && !fit(&[]));
        assert!(!fit(&[all.clone(), vec!["NN".to_owned()]].concat()));
    }
}
