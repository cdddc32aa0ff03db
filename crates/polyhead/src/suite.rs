//! The demonstration suite, with gold answers: ten sentences with entities, six questions about a text, six sentences with parts of
//! speech and trees, twelve texts with a label, ten with a relation.
//!
//! ```text
//! suite/ner.jsonl {"domain", "text", "entities": [{"type", "text", "start"}]}   start counts characters
//! suite/qa.jsonl  {"kind", "question", "context", "answers": ["...", ...]}
//! suite/words.jsonl: `suite/words.rs`, `suite/trees.rs`;  suite/texts.jsonl, suite/relations.jsonl: `suite/labelled.rs`
//! ```
//!
//! The suite is English, and its sentences are marked with the types of CoNLL-2003, in which they have no MISC. A model that
//! tells other types apart is not asked them: it could only be wrong.
//!
//! A sentence is right if every gold entity was found with its type at its place, and nothing else. A question is right
//! if the answer matches a gold one exactly, as the official SQuAD script compares; F1 is that script's too.

mod labelled;
mod trees;
mod words;

pub use labelled::Labelled;
pub use trees::{Arc, Parsed};
pub use words::{PARTS_OF_SPEECH, Words};

use crate::error::{Error, ErrorKind, Place, Result};
use crate::infer::Session;
use crate::metrics::squad::{self, Rules};
use crate::model::{Model, NamedTask};
use crate::tasks::Shape;
use crate::tasks::answer::{Answer, Candidates, Span, Spans};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const NER: &str = include_str!("../suite/ner.jsonl");
const QA: &str = include_str!("../suite/qa.jsonl");

/// What came of the whole suite.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The sentences, if the model has such a task.
    pub sentences: Vec<Sentence>,
    /// The questions, if the model has such a task.
    pub questions: Vec<Question>,
    /// The words with parts of speech, if the model has such a task.
    pub words: Vec<Words>,
    /// The texts with a label, of each task that tells labels of theirs.
    pub texts: Vec<Labelled>,
    /// The texts with a relation, if the model has such a task.
    pub relations: Vec<Labelled>,
    /// The sentences with a tree, if the model has such a task.
    pub trees: Vec<Parsed>,
    /// The tasks of the model that the suite has no cases for, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Unsuited>,
    /// The sums.
    pub totals: Totals,
}

impl Suited {
    /// Whether no task is asked.
    fn is_empty(&self) -> bool {
        let Self { sentences, questions, words, texts, relations, trees, .. } = self;
        [sentences, questions, words, relations, trees].iter().all(|task| task.is_none()) && texts.is_empty()
    }
}

/// A task that the suite has no cases for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsuited {
    /// The name of the task.
    pub task: String,
    /// Why it is not asked.
    pub reason: String,
}

/// The tasks of a model that are asked, by name, and those that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suited {
    /// The first task that can answer the sentences.
    pub sentences: Option<String>,
    /// The first task that can answer the questions.
    pub questions: Option<String>,
    /// The first task that tells parts of speech.
    pub words: Option<String>,
    /// The first task of each set of labelled texts, and the set.
    pub texts: Vec<(String, &'static str)>,
    /// The first task that tells relations.
    pub relations: Option<String>,
    /// The first task that parses.
    pub trees: Option<String>,
    /// Tasks that are left out because of what they are.
    pub skipped: Vec<Unsuited>,
}

/// Whether a case came out right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All of it, and nothing else.
    Right,
    /// Anything less.
    Wrong,
}

/// An entity, gold or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its text.
    pub text: String,
    /// Where it starts, in characters.
    pub start: usize,
}

/// A sentence and what was found in it.
#[derive(Debug, Clone, Serialize)]
pub struct Sentence {
    /// What it is about.
    pub domain: String,
    /// The sentence.
    pub text: String,
    /// The entities that it holds.
    pub gold: Vec<Entity>,
    /// The entities that were found.
    pub found: Vec<Entity>,
    /// How many of those found are gold.
    pub correct: usize,
    /// Whether both are the same.
    pub verdict: Verdict,
}

/// A question and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Question {
    /// What is asked for.
    pub kind: String,
    /// The question.
    pub question: String,
    /// The text that holds the answer.
    pub context: String,
    /// The answers that count as right.
    pub gold: Vec<String>,
    /// The answer that was found.
    pub found: String,
    /// How sure the model is, from 0 to 1.
    pub score: f64,
    /// F1 of its words, in per cent.
    pub f1: f64,
    /// Whether it matches a gold answer.
    pub verdict: Verdict,
}

/// Sums over the suite.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Sentences in which everything is right, of [`Report::sentences`].
    pub sentences_right: usize,
    /// Gold entities.
    pub entities_gold: usize,
    /// Entities that were found.
    pub entities_found: usize,
    /// Entities that were found and are gold.
    pub entities_correct: usize,
    /// Questions that were answered exactly, of [`Report::questions`].
    pub questions_right: usize,
    /// The mean F1 of the questions, in per cent.
    pub questions_f1: f64,
    /// Words with a part of speech.
    pub words_gold: usize,
    /// Words whose part of speech is right.
    pub words_correct: usize,
    /// Texts whose label is right, of [`Report::texts`].
    pub texts_right: usize,
    /// Texts whose relation is right, of [`Report::relations`].
    pub relations_right: usize,
    /// Words of trees.
    pub arcs_gold: usize,
    /// Words whose head is right.
    pub heads_correct: usize,
    /// Words whose head and relation are right.
    pub arcs_correct: usize,
}

#[derive(Deserialize)]
struct SentenceCase {
    domain: String,
    text: String,
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
struct QuestionCase {
    kind: String,
    question: String,
    context: String,
    answers: Vec<String>,
}

/// The entity types of the sentences.
pub const TYPES: [&str; 3] = ["LOC", "ORG", "PER"];
/// The type of CoNLL-2003 that no sentence has: a model may know it.
pub const OTHER_TYPE: &str = "MISC";

/// Which tasks of a model the suite has cases for.
pub fn suited(model: &Model) -> Suited {
    let mut suited = Suited::default();
    for NamedTask { name, task } in &model.tasks {
        let unsuited = |reason: String| Unsuited { task: name.clone(), reason };
        match task.shape() {
            Shape::Spans if words::fit(task.labels()) => _ = suited.words.get_or_insert_with(|| name.clone()),
            Shape::Spans => {
                let types: BTreeSet<&str> = task
                    .labels()
                    .iter()
                    .filter(|label| *label != "O")
                    .map(|label| label.strip_prefix("B-").or_else(|| label.strip_prefix("I-")).unwrap_or(label))
                    .collect();
                let fits = |kind: &&str| TYPES.contains(kind) || *kind == OTHER_TYPE;
                if !TYPES.iter().all(|known| types.contains(known)) || !types.iter().all(fits) {
                    let mut found: Vec<&str> = types.into_iter().take(8).collect();
                    found.sort_unstable();
                    suited.skipped.push(unsuited(format!(
                        "the sentences are English and marked with {} and {OTHER_TYPE}, or with parts of speech; its labels are {}",
                        TYPES.join(", "),
                        if found.is_empty() { "none".to_owned() } else { found.join(", ") }
                    )));
                } else if suited.sentences.is_none() {
                    suited.sentences = Some(name.clone());
                }
            }
            // Candidates answer a question about a context; other requests are not what the suite asks.
            Shape::Candidates if task.fields().iter().map(|field| field.name).eq(["question", "context"]) => {
                suited.questions.get_or_insert_with(|| name.clone());
            }
            Shape::Labels if task.fields().iter().map(|field| field.name).eq(["text"]) => {
                match labelled::set_of(task.labels()) {
                    Some(set) if suited.texts.iter().all(|(_, asked)| *asked != set) => {
                        suited.texts.push((name.clone(), set));
                    }
                    Some(_) => {}
                    None => suited.skipped.push(unsuited(
                        "the texts are English, with a sentiment (negative, positive) or the types of questions of TREC".into(),
                    )),
                }
            }
            Shape::Edges if labelled::are_relations(task.labels()) => {
                suited.relations.get_or_insert_with(|| name.clone());
            }
            Shape::Edges => suited.skipped.push(unsuited("the relations are those of SemEval-2010 task 8".into())),
            Shape::Tree if trees::fit(task.labels()) => _ = suited.trees.get_or_insert_with(|| name.clone()),
            Shape::Tree => {
                suited
                    .skipped
                    .push(unsuited("the trees are those of Universal Dependencies, with all common relations".into()));
            }
            _ => suited.skipped.push(unsuited(format!("the suite has no cases for the kind {}", task.kind()))),
        }
    }
    suited
}

/// Asks the model everything that it can answer. A task that the suite has no cases for is left out, and said.
///
/// # Errors
/// There is no such task ([`crate::ErrorKind::Usage`]).
pub fn run(session: &Session) -> Result<Report> {
    let suited = suited(&session.model);
    if suited.is_empty() {
        let reasons: Vec<String> = suited.skipped.iter().map(|one| format!("`{}`: {}", one.task, one.reason)).collect();
        return Err(Error::usage(format!("the suite has no cases for this model ({})", reasons.join("; ")))
            .hint("`polyhead eval MODEL --data FILE` scores it on data of its own kind"));
    }
    let mut report = Report { skipped: suited.skipped, ..Report::default() };
    if let Some(task) = suited.sentences {
        report.sentences = sentences(session, &task)?;
    }
    if let Some(task) = suited.questions {
        match questions(session, &task) {
            Ok(questions) => report.questions = questions,
            // A model may read less of a question than the suite asks.
            Err(error) if error.kind() == ErrorKind::Data => {
                report.skipped.push(Unsuited { task, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(task) = suited.words {
        report.words = words::words(session, &task)?;
    }
    for (task, set) in suited.texts {
        report.texts.extend(labelled::texts(session, &task, set)?);
    }
    if let Some(task) = suited.relations {
        report.relations = labelled::relations(session, &task)?;
    }
    if let Some(task) = suited.trees {
        report.trees = trees::trees(session, &task)?;
    }
    report.totals = totals(&report);
    Ok(report)
}

fn cases<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<Vec<T>> {
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|cause| Error::internal(format!("a case of the suite: {cause}")).at(Place::line(file, at + 1)))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// The answers to requests, in order.
fn answers(session: &Session, task: &str, requests: Vec<Value>) -> Result<Vec<Value>> {
    let mut answers = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter().map(|request| Ok((request, Place::file("suite"))));
    session.predict(task, &mut requests, &mut |answer| {
        answers.push(answer);
        Ok(())
    })?;
    Ok(answers)
}

fn sentences(session: &Session, task: &str) -> Result<Vec<Sentence>> {
    let cases: Vec<SentenceCase> = cases("suite/ner.jsonl", NER)?;
    let requests = cases.iter().map(|case| json!({ "text": case.text })).collect();
    let answers = answers(session, task, requests)?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(SentenceCase { domain, text, entities: gold }, answer)| {
            let spans = match Shape::Spans.read(&answer) {
                Ok(Answer::Spans(Spans { entities, .. })) => entities,
                _ => Vec::new(),
            };
            let entity = |span: Span| Entity { kind: span.kind, text: span.text, start: span.start };
            let found: Vec<Entity> = spans.into_iter().map(entity).collect();
            let correct = found.iter().filter(|entity| gold.contains(entity)).count();
            let verdict = verdict(correct == gold.len() && correct == found.len());
            Sentence { domain, text, gold, found, correct, verdict }
        })
        .collect())
}

fn questions(session: &Session, task: &str) -> Result<Vec<Question>> {
    let cases: Vec<QuestionCase> = cases("suite/qa.jsonl", QA)?;
    let requests = cases.iter().map(|case| json!({ "question": case.question, "context": case.context })).collect();
    let answers = answers(session, task, requests)?;
    let pairs = cases.into_iter().zip(answers);
    Ok(pairs
        .map(|(QuestionCase { kind, question, context, answers: gold }, answer)| {
            let (found, score) = match Shape::Candidates.read(&answer) {
                Ok(Answer::Candidates(Candidates { answer, score, .. })) => (answer, score),
                _ => Default::default(),
            };
            let scores = squad::score(&found, &gold, Rules::V1);
            let verdict = verdict(scores.exact == 1.0);
            Question { kind, question, context, gold, found, score, f1: 100.0 * scores.f1, verdict }
        })
        .collect())
}

fn verdict(right: bool) -> Verdict {
    if right { Verdict::Right } else { Verdict::Wrong }
}

fn totals(report: &Report) -> Totals {
    let Report { sentences, questions, words, texts, relations, trees, .. } = report;
    let right = |verdicts: &mut dyn Iterator<Item = Verdict>| verdicts.filter(|one| *one == Verdict::Right).count();
    Totals {
        sentences_right: right(&mut sentences.iter().map(|case| case.verdict)),
        entities_gold: sentences.iter().map(|case| case.gold.len()).sum(),
        entities_found: sentences.iter().map(|case| case.found.len()).sum(),
        entities_correct: sentences.iter().map(|case| case.correct).sum(),
        questions_right: right(&mut questions.iter().map(|case| case.verdict)),
        questions_f1: questions.iter().fold(0.0, |sum, case| sum + case.f1) / questions.len().max(1) as f64,
        words_gold: words.iter().map(|case| case.gold.len()).sum(),
        words_correct: words.iter().map(|case| case.correct).sum(),
        texts_right: right(&mut texts.iter().map(|case| case.verdict)),
        relations_right: right(&mut relations.iter().map(|case| case.verdict)),
        arcs_gold: trees.iter().map(|case| case.gold.len()).sum(),
        heads_correct: trees.iter().map(|case| case.heads_correct).sum(),
        arcs_correct: trees.iter().map(|case| case.correct).sum(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::text::offsets::char_to_byte;

    #[test]
    fn every_gold_entity_is_a_slice_of_its_sentence() {
        let cases: Vec<SentenceCase> = cases("ner", NER).unwrap();
        assert_eq!(cases.len(), 10);
        for case in &cases {
            assert!(!case.entities.is_empty(), "{}", case.text);
            for entity in &case.entities {
                let at = char_to_byte(&case.text, entity.start).unwrap();
                assert!(case.text[at..].starts_with(&entity.text), "{}: {}", case.text, entity.text);
            }
        }
        let mut domains: Vec<&str> = cases.iter().map(|case| &*case.domain).collect();
        domains.dedup();
        assert_eq!(domains.len(), 10, "one sentence a domain");
    }

    #[test]
    fn the_types_of_the_sentences_are_those_that_a_model_must_know() {
        let cases: Vec<SentenceCase> = cases("ner", NER).unwrap();
        let kinds: BTreeSet<String> = cases.into_iter().flat_map(|case| case.entities).map(|one| one.kind).collect();
        assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), TYPES);
    }

    #[test]
    fn every_gold_answer_is_a_slice_of_its_context() {
        let cases: Vec<QuestionCase> = cases("qa", QA).unwrap();
        assert_eq!(cases.len(), 6);
        for case in &cases {
            assert!(!case.answers.is_empty(), "{}", case.question);
            for answer in &case.answers {
                assert!(case.context.contains(answer), "{}: {answer}", case.question);
            }
        }
    }

    #[test]
    fn partly_right_is_counted_and_is_not_right() {
        let entity = |kind: &str, start| Entity { kind: kind.into(), text: "Ada".into(), start };
        let sentence = |found: Vec<Entity>, correct, verdict| Sentence {
            domain: String::new(),
            text: String::new(),
            gold: vec![entity("PER", 0), entity("PER", 9)],
            found,
            correct,
            verdict,
        };
        let sentences = [
            sentence(vec![entity("PER", 0), entity("PER", 9)], 2, Verdict::Right),
            sentence(vec![entity("PER", 0), entity("LOC", 9), entity("PER", 20)], 1, Verdict::Wrong),
        ];
        let totals = totals(&Report { sentences: sentences.to_vec(), ..Report::default() });
        assert_eq!((totals.sentences_right, totals.entities_gold), (1, 4));
        assert_eq!((totals.entities_found, totals.entities_correct), (5, 3));
        assert_eq!(totals.questions_f1, 0.0);
    }
}
