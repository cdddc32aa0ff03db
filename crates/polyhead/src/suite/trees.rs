//! The trees of the suite: the sentences of `suite/words.jsonl` with the head of each word and its relation to it, by the guidelines of
//! Universal Dependencies.
//!
//! ```text
//! suite/words.jsonl {"domain", "words": ["...", ...], "heads": [2, 0, ...], "relations": ["...", ...]}   heads from 1; 0 is the root
//! ```

use super::words::WORDS;
use super::{Verdict, answers, cases, verdict};
use crate::error::Result;
use crate::infer::Session;
use crate::tasks::Shape;
use crate::tasks::answer::{Answer, Tree, Word};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A sentence with its tree, and the one that was predicted.
#[derive(Debug, Clone, Serialize)]
pub struct Parsed {
    /// What the sentence is about.
    pub domain: String,
    /// Its words.
    pub words: Vec<String>,
    /// The head of each word and its relation to it.
    pub gold: Vec<Arc>,
    /// The predicted ones.
    pub found: Vec<Arc>,
    /// How many heads are right.
    pub heads_correct: usize,
    /// Of how many words head and relation are right.
    pub correct: usize,
    /// Whether all are.
    pub verdict: Verdict,
}

/// A word's head, counted from 1 (0: the word is the root), and its relation to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arc {
    /// The head.
    pub head: usize,
    /// The relation.
    pub relation: String,
}

impl Arc {
    /// Whether both are the same, without the subtypes of relations (`nmod:poss`), as the official evaluation compares.
    pub fn is(&self, other: &Self) -> bool {
        self.head == other.head && universal(&self.relation) == universal(&other.relation)
    }
}

fn universal(relation: &str) -> &str {
    relation.split(':').next().unwrap_or(relation)
}

#[derive(Deserialize)]
struct Case {
    domain: String,
    words: Vec<String>,
    heads: Vec<usize>,
    relations: Vec<String>,
}

impl Case {
    fn gold(&self) -> Vec<Arc> {
        let pairs = self.heads.iter().zip(&self.relations);
        pairs.map(|(&head, relation)| Arc { head, relation: relation.clone() }).collect()
    }
}

/// Whether relations are those of Universal Dependencies: none is missing that the sentences have.
pub(super) fn fit(labels: &[String]) -> bool {
    let cases: Vec<Case> = cases("suite/words.jsonl", WORDS).unwrap_or_default();
    let known = |relation: &String| labels.iter().any(|label| universal(label) == relation);
    cases.iter().flat_map(|case| &case.relations).all(known)
}

/// What a task makes of them.
pub(super) fn trees(session: &Session, task: &str) -> Result<Vec<Parsed>> {
    let cases: Vec<Case> = cases("suite/words.jsonl", WORDS)?;
    let answers = answers(session, task, cases.iter().map(|case| json!({ "words": case.words })).collect())?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(case, answer)| {
            let arc = |word: Word| Arc { head: word.head, relation: word.label };
            let found: Vec<Arc> = match Shape::Tree.read(&answer) {
                Ok(Answer::Tree(Tree { words, .. })) => words.into_iter().map(arc).collect(),
                _ => Vec::new(),
            };
            let gold = case.gold();
            let both = || gold.iter().zip(&found);
            let heads_correct = both().filter(|(gold, found)| gold.head == found.head).count();
            let correct = both().filter(|(gold, found)| gold.is(found)).count();
            let verdict = verdict(correct == gold.len());
            Parsed { domain: case.domain, words: case.words, gold, found, heads_correct, correct, verdict }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_sentence_is_a_tree_with_one_root() {
        let cases: Vec<Case> = cases("words", WORDS).unwrap();
        assert_eq!(cases.len(), 6);
        for case in &cases {
            assert_eq!((case.words.len(), case.words.len()), (case.heads.len(), case.relations.len()));
            assert_eq!(case.heads.iter().filter(|head| **head == 0).count(), 1, "{:?}", case.words);
            for word in 1..=case.words.len() {
                let up = |at: &usize| case.heads.get(at - 1).copied().filter(|head| *head > 0);
                let path: Vec<usize> = std::iter::successors(Some(word), up).take(case.words.len() + 1).collect();
                assert!(path.len() <= case.words.len(), "{:?}: word {word} is its own head", case.words);
            }
        }
    }

    #[test]
    fn a_model_is_asked_that_knows_every_relation_with_or_without_a_subtype() {
        let cases: Vec<Case> = cases("words", WORDS).unwrap();
        let mut all: Vec<String> = cases.iter().flat_map(|case| case.relations.clone()).collect();
        assert!(fit(&all));
        all.iter_mut().filter(|relation| *relation == "nmod").for_each(|relation| *relation = "nmod:poss".into());
        assert!(fit(&all));
        all.retain(|relation| relation != "obj");
        assert!(!fit(&all));
    }
}
