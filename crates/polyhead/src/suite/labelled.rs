//! The texts of the suite that get one label: six with a sentiment, a question of each type of TREC, and ten sentences with two
//! marked parts and their relation, one of each of SemEval-2010 task 8.
//!
//! ```text
//! suite/texts.jsonl     {"set", "domain", "text", "label"}     the sets are those of SETS
//! suite/relations.jsonl {"domain", "text", "label"}            the parts stand in <e1>...</e1> and, behind it, <e2>...</e2>
//! ```

use super::{Verdict, answers, cases, verdict};
use crate::error::Result;
use crate::infer::Session;
use crate::tasks::Shape;
use crate::tasks::answer::{Answer, Edge, Edges, Labels};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

const TEXTS: &str = include_str!("../../suite/texts.jsonl");
const RELATIONS: &str = include_str!("../../suite/relations.jsonl");

/// The labels that a model must have to be asked a set of texts, and one that it may have besides.
struct Set {
    name: &'static str,
    labels: &'static [&'static str],
    other: Option<&'static str>,
}

const SETS: &[Set] = &[
    Set { name: "sentiment", labels: &["negative", "positive"], other: Some("neutral") },
    Set { name: "question type", labels: &["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"], other: None },
];

/// The relations of SemEval-2010 task 8 that have a direction, and the label of none.
const DIRECTED: [&str; 9] = [
    "Cause-Effect",
    "Component-Whole",
    "Content-Container",
    "Entity-Destination",
    "Entity-Origin",
    "Instrument-Agency",
    "Member-Collection",
    "Message-Topic",
    "Product-Producer",
];
const NO_RELATION: &str = "Other";

/// A text with its label, and the one that was predicted.
#[derive(Debug, Clone, Serialize)]
pub struct Labelled {
    /// The task that was asked.
    pub task: String,
    /// What the label says: `sentiment`, `question type` or `relations`.
    pub set: String,
    /// What the text is about.
    pub domain: String,
    /// The text; of a relation with its marked parts.
    pub text: String,
    /// Its label.
    pub gold: String,
    /// The predicted label.
    pub found: String,
    /// Its probability; none for "no relation", which is no part of an answer.
    pub score: Option<f64>,
    /// Whether both are the same.
    pub verdict: Verdict,
}

#[derive(Deserialize)]
struct Text {
    set: String,
    domain: String,
    text: String,
    label: String,
}

#[derive(Deserialize)]
struct Relation {
    domain: String,
    text: String,
    label: String,
}

/// The set of texts that labels are those of, whatever their case.
pub(super) fn set_of(labels: &[String]) -> Option<&'static str> {
    let lower = |labels: &mut dyn Iterator<Item = &str>| labels.map(str::to_lowercase).collect::<BTreeSet<_>>();
    let found = lower(&mut labels.iter().map(String::as_str));
    let fits = |set: &&Set| {
        let all = lower(&mut set.labels.iter().copied());
        let surplus: Vec<&String> = found.difference(&all).collect();
        all.is_subset(&found) && surplus.iter().all(|label| set.other == Some(label.as_str()))
    };
    SETS.iter().find(fits).map(|set| set.name)
}

/// Whether labels are those of SemEval-2010 task 8. A rare one may be missing: not every part of its data has all.
pub(super) fn are_relations(labels: &[String]) -> bool {
    let known = |label: &String| {
        label == NO_RELATION
            || ["(e1,e2)", "(e2,e1)"]
                .iter()
                .any(|end| label.strip_suffix(end).is_some_and(|name| DIRECTED.contains(&name)))
    };
    let cases: Vec<Relation> = cases("suite/relations.jsonl", RELATIONS).unwrap_or_default();
    labels.iter().all(known) && cases.iter().all(|case| labels.contains(&case.label))
}

/// What a task makes of the texts of a set.
pub(super) fn texts(session: &Session, task: &str, set: &str) -> Result<Vec<Labelled>> {
    let cases: Vec<Text> = cases("suite/texts.jsonl", TEXTS)?;
    let cases: Vec<Text> = cases.into_iter().filter(|case| case.set == set).collect();
    let answers = answers(session, task, cases.iter().map(|case| json!({ "text": case.text })).collect())?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(Text { set, domain, text, label: gold }, answer)| {
            let (found, score) = match Shape::Labels.read(&answer) {
                Ok(Answer::Labels(Labels { label, score, .. })) => (label, Some(score)),
                _ => Default::default(),
            };
            let verdict = verdict(found.eq_ignore_ascii_case(&gold));
            Labelled { task: task.to_owned(), set, domain, text, gold, found, score, verdict }
        })
        .collect())
}

/// What a task makes of the relations.
pub(super) fn relations(session: &Session, task: &str) -> Result<Vec<Labelled>> {
    let cases: Vec<Relation> = cases("suite/relations.jsonl", RELATIONS)?;
    let answers = answers(session, task, cases.iter().map(|case| json!({ "text": case.text })).collect())?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(Relation { domain, text, label: gold }, answer)| {
            let edge = match Shape::Edges.read(&answer) {
                Ok(Answer::Edges(Edges { edges, .. })) => edges.into_iter().next(),
                _ => None,
            };
            // An answer leads from one part to the other: the label says that by their order.
            let label = |Edge { kind, from, to, score }: Edge| {
                let direction = if from.start < to.start { "(e1,e2)" } else { "(e2,e1)" };
                (format!("{kind}{direction}"), Some(score))
            };
            let (found, score) = edge.map_or_else(|| (NO_RELATION.to_owned(), None), label);
            let (verdict, set) = (verdict(found == gold), "relations".to_owned());
            Labelled { task: task.to_owned(), set, domain, text, gold, found, score, verdict }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn owned(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    #[test]
    fn every_label_of_a_set_has_a_text() {
        let cases: Vec<Text> = cases("texts", TEXTS).unwrap();
        for set in SETS {
            let of_set: Vec<&Text> = cases.iter().filter(|case| case.set == set.name).collect();
            assert_eq!(of_set.len(), 6, "{}", set.name);
            let labels: BTreeSet<&str> = of_set.iter().map(|case| case.label.as_str()).collect();
            assert_eq!(labels, set.labels.iter().copied().collect(), "{}", set.name);
        }
    }

    #[test]
    fn every_relation_has_a_sentence_with_two_marked_parts() {
        let cases: Vec<Relation> = cases("relations", RELATIONS).unwrap();
        let name = |case: &Relation| case.label.split('(').next().unwrap_or_default().to_owned();
        let names: BTreeSet<String> = cases.iter().map(name).collect();
        assert_eq!(names.len(), DIRECTED.len() + 1);
        for case in &cases {
            let places: Vec<usize> =
                ["<e1>", "</e1>", "<e2>", "</e2>"].iter().filter_map(|mark| case.text.find(mark)).collect();
            assert!(places.len() == 4 && places.is_sorted(), "{}", case.text);
        }
    }

    #[test]
    fn a_model_is_asked_whose_labels_are_those_of_a_set() {
        assert_eq!(set_of(&owned(&["Positive", "NEGATIVE"])), Some("sentiment"));
        assert_eq!(set_of(&owned(&["positive", "neutral", "negative"])), Some("sentiment"));
        assert_eq!(set_of(&owned(&["positive", "mixed", "negative"])), None);
        assert_eq!(set_of(&owned(&["positive"])), None);
        assert_eq!(set_of(&owned(&["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"])), Some("question type"));
        let directed = |name: &&str| [format!("{name}(e1,e2)"), format!("{name}(e2,e1)")];
        let mut all: Vec<String> = DIRECTED.iter().flat_map(directed).collect();
        all.push(NO_RELATION.to_owned());
        assert!(are_relations(&all));
        assert!(!are_relations(&all[1..18]) && !are_relations(&owned(&["born in"])));
    }
}
