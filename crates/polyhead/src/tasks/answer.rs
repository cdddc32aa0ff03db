//! What tasks answer: one of a few shapes. Whoever shows answers (command line, page, description of the API, report) knows
//! the shapes and no task.
//!
//! ```text
//! spans       {"text", "entities": [{"type", "text", "start", "end", "score"}]}      labelled parts of a text
//! candidates  {"answer", "start", "end", "score", "alternatives": [{...}]}            one part of a text, and the next best
//! labels      {"label", "score", "labels": [{"label", "score"}]}                      labels of a whole text, best first
//! number      {"value"}                                                               a number for a whole text
//! edges       {"text", "edges": [{"type", "from": {...}, "to": {...}, "score"}]}      relations between parts of a text
//! tree        {"text", "words": [{"text", "start", "end", "head", "label", "score"}]} a head and a relation for each word
//! ```
//!
//! These types are the JSON of an answer and its schema at once. Offsets count what the request asked for
//! ([`super::offset_unit`]); scores are probabilities, from 0 to 1. Where any number of labels may hold, each says whether it does:
//! `{"label", "score", "chosen"}`.

use crate::document::number;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The shape of a task's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "AnswerShape")]
pub enum Shape {
    /// Labelled parts of a text: [`Spans`].
    Spans,
    /// The part of a text that answers best, and the next best: [`Candidates`].
    Candidates,
    /// Labels of a whole text: [`Labels`].
    Labels,
    /// A number for a whole text: [`Number`].
    Number,
    /// Relations between parts of a text: [`Edges`].
    Edges,
    /// A dependency tree over the words of a text: [`Tree`].
    Tree,
}

/// An answer of any shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)] // Each is the type of its name.
pub enum Answer {
    Spans(Spans),
    Candidates(Candidates),
    Labels(Labels),
    Number(Number),
    Edges(Edges),
    Tree(Tree),
}

/// The labelled parts of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SpansAnswer")]
pub struct Spans {
    /// The text. Whoever asks has it: the description of the API leaves it out.
    #[serde(default)]
    #[schemars(skip)]
    pub text: String,
    /// In the order of the text.
    pub entities: Vec<Span>,
}

/// A labelled part of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The part of the text between `start` and `end`.
    pub text: String,
    /// Where it starts in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// How probable it is.
    pub score: f64,
}

/// The part of a text that answers best, and the next best ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CandidatesAnswer")]
pub struct Candidates {
    /// The part of the text between `start` and `end`; empty if the text does not answer.
    pub answer: String,
    /// Where it starts in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its share among the best answers.
    pub score: f64,
    /// The next best, at most two.
    pub alternatives: Vec<Candidate>,
}

/// An answer that came second or third.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The part of the text between `start` and `end`.
    pub answer: String,
    /// Where it starts in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its share among the best answers.
    pub score: f64,
}

/// The labels of a whole text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LabelsAnswer")]
pub struct Labels {
    /// The most probable label.
    pub label: String,
    /// Its probability.
    pub score: f64,
    /// All labels, the most probable first.
    pub labels: Vec<Label>,
}

/// A label with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// The label.
    pub label: String,
    /// Its probability.
    pub score: f64,
    /// Whether it holds: its score reaches its threshold. Left out where one label is chosen of all, the most probable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<bool>,
}

/// A number for a whole text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NumberAnswer")]
pub struct Number {
    /// The number, in the units of the training data.
    pub value: f64,
}

/// Relations between parts of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EdgesAnswer")]
pub struct Edges {
    /// The text, as in [`Spans::text`].
    #[serde(default)]
    #[schemars(skip)]
    pub text: String,
    /// The relations that were found.
    pub edges: Vec<Edge>,
    /// Where the parts were found and not given: pairs of them that were not asked about, because they stand too far from each other, or
    /// there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs_left_out: Option<usize>,
}

/// A relation from one part of a text to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it begins.
    pub from: End,
    /// Where it leads.
    pub to: End,
    /// How probable it is.
    pub score: f64,
}

/// One end of a relation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EdgeEnd")]
pub struct End {
    /// The part of the text between `start` and `end`.
    pub text: String,
    /// Where it starts in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// A dependency tree over the words of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TreeAnswer")]
pub struct Tree {
    /// The text, as in [`Spans::text`].
    #[serde(default)]
    #[schemars(skip)]
    pub text: String,
    /// In the order of the text.
    pub words: Vec<Word>,
}

/// A word of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TreeWord")]
pub struct Word {
    /// The word.
    pub text: String,
    /// Where it starts in the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The number of its head, counted from 1; 0 for the root.
    pub head: usize,
    /// Its relation to the head.
    pub label: String,
    /// How probable head and relation are.
    pub score: f64,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Spans, Self::Candidates, Self::Labels, Self::Number, Self::Edges, Self::Tree];

    /// What it is called: `spans`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Candidates => "candidates",
            Self::Labels => "labels",
            Self::Number => "number",
            Self::Edges => "edges",
            Self::Tree => "tree",
        }
    }

    /// What an answer of this shape is, in a few words.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Spans => "labelled parts of the text",
            Self::Candidates => "the part of the text that answers best, and the next best",
            Self::Labels => "labels of the whole text",
            Self::Number => "a number for the whole text",
            Self::Edges => "relations between parts of the text",
            Self::Tree => "a head and a relation for each word",
        }
    }

    /// An answer in which nothing is found.
    pub fn nothing(self) -> Answer {
        let none = String::new;
        match self {
            Self::Spans => Answer::Spans(Spans { text: none(), entities: Vec::new() }),
            Self::Candidates => Answer::Candidates(Candidates {
                answer: none(),
                start: 0,
                end: 0,
                score: 0.0,
                alternatives: Vec::new(),
            }),
            Self::Labels => Answer::Labels(Labels { label: none(), score: 0.0, labels: Vec::new() }),
            Self::Number => Answer::Number(Number { value: 0.0 }),
            Self::Edges => Answer::Edges(Edges { text: none(), edges: Vec::new(), pairs_left_out: None }),
            Self::Tree => Answer::Tree(Tree { text: none(), words: Vec::new() }),
        }
    }

    /// The JSON schema of an answer, without its `text`, which whoever asks has.
    pub fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        match self {
            Self::Spans => generator.subschema_for::<Spans>(),
            Self::Candidates => generator.subschema_for::<Candidates>(),
            Self::Labels => generator.subschema_for::<Labels>(),
            Self::Number => generator.subschema_for::<Number>(),
            Self::Edges => generator.subschema_for::<Edges>(),
            Self::Tree => generator.subschema_for::<Tree>(),
        }
    }

    /// The columns of an answer in rows, see [`Answer::rows`].
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Spans => &["type", "text", "start", "end", "score"],
            Self::Candidates => &["answer", "start", "end", "score"],
            Self::Labels => &["label", "score"],
            Self::Number => &["value"],
            Self::Edges => &["type", "from", "from_start", "from_end", "to", "to_start", "to_end", "score"],
            Self::Tree => &["word", "text", "start", "end", "head", "label", "score"],
        }
    }

    /// The answer in a JSON value of this shape, which may have other fields besides.
    ///
    /// # Errors
    /// A field is missing or of another type: the message says which.
    pub fn read(self, value: &Value) -> serde_json::Result<Answer> {
        Ok(match self {
            Self::Spans => Answer::Spans(Spans::deserialize(value)?),
            Self::Candidates => Answer::Candidates(Candidates::deserialize(value)?),
            Self::Labels => Answer::Labels(Labels::deserialize(value)?),
            Self::Number => Answer::Number(Number::deserialize(value)?),
            Self::Edges => Answer::Edges(Edges::deserialize(value)?),
            Self::Tree => Answer::Tree(Tree::deserialize(value)?),
        })
    }
}

impl Labels {
    /// The labels of a text by their probabilities; of equals the first comes first.
    pub fn ranked(labels: &[String], probabilities: &[f64]) -> Self {
        let pairs = labels.iter().zip(probabilities);
        let mut all: Vec<Label> =
            pairs.map(|(label, &score)| Label { label: label.clone(), score, chosen: None }).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (label, score) = all.first().map_or((String::new(), 0.0), |best| (best.label.clone(), best.score));
        Self { label, score, labels: all }
    }

    /// The same of a text that any number of labels may hold of: those whose score reaches their threshold.
    pub fn several(labels: &[String], scores: &[f64], thresholds: &[f64]) -> Self {
        let mut ranked = Self::ranked(labels, scores);
        let reaches = |one: &Label| {
            let threshold =
                labels.iter().zip(thresholds).find(|(label, _)| **label == one.label).map(|(_, threshold)| threshold);
            threshold.is_some_and(|threshold| one.score >= *threshold)
        };
        ranked.labels.iter_mut().for_each(|one| one.chosen = Some(reaches(one)));
        ranked
    }

    /// Whether any number of labels may hold, each of which says whether it does.
    pub fn are_several(&self) -> bool {
        self.labels.iter().any(|one| one.chosen.is_some())
    }

    /// The labels that hold, the most probable first: the most probable alone where one is chosen of all.
    pub fn chosen(&self) -> Vec<(&str, f64)> {
        match self.are_several() {
            true => self
                .labels
                .iter()
                .filter(|one| one.chosen == Some(true))
                .map(|one| (one.label.as_str(), one.score))
                .collect(),
            false if self.label.is_empty() => Vec::new(),
            false => vec![(self.label.as_str(), self.score)],
        }
    }
}

impl Answer {
    /// As JSON.
    pub fn json(&self) -> Value {
        // Of these types none can fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A row for each thing that was found, in the order of [`Shape::columns`].
    pub fn rows(&self) -> Vec<Vec<Value>> {
        match self {
            Self::Spans(Spans { entities, .. }) => entities
                .iter()
                .map(|span| {
                    vec![json!(span.kind), json!(span.text), json!(span.start), json!(span.end), json!(span.score)]
                })
                .collect(),
            Self::Candidates(best) => {
                vec![vec![json!(best.answer), json!(best.start), json!(best.end), json!(best.score)]]
            }
            Self::Labels(labels) => {
                labels.chosen().into_iter().map(|(label, score)| vec![json!(label), json!(score)]).collect()
            }
            Self::Number(Number { value }) => vec![vec![json!(value)]],
            Self::Edges(Edges { edges, .. }) => edges
                .iter()
                .map(|Edge { kind, from, to, score }| {
                    let end = |end: &End| [json!(end.text), json!(end.start), json!(end.end)];
                    [vec![json!(kind)], end(from).into(), end(to).into(), vec![json!(score)]].concat()
                })
                .collect(),
            Self::Tree(Tree { words, .. }) => (1..)
                .zip(words)
                .map(|(number, Word { text, start, end, head, label, score })| {
                    vec![json!(number), json!(text), json!(start), json!(end), json!(head), json!(label), json!(score)]
                })
                .collect(),
        }
    }

    /// What was found, on one line for people.
    pub fn line(&self) -> String {
        let listed = |all: Vec<String>, none: &str| if all.is_empty() { none.to_owned() } else { all.join(", ") };
        match self {
            Self::Spans(Spans { entities, .. }) => {
                listed(entities.iter().map(|span| format!("{} [{}]", span.text, span.kind)).collect(), "no entity")
            }
            Self::Candidates(best) if best.answer.is_empty() => "no answer".to_owned(),
            Self::Candidates(best) => best.answer.clone(),
            Self::Labels(labels) => {
                listed(labels.chosen().into_iter().map(|(label, _)| label.to_owned()).collect(), "no label")
            }
            Self::Number(Number { value }) => number::decimal(*value),
            Self::Edges(Edges { edges, .. }) => {
                let said = |edge: &Edge| format!("{} -{}-> {}", edge.from.text, edge.kind, edge.to.text);
                listed(edges.iter().map(said).collect(), "no relation")
            }
            Self::Tree(tree) => {
                let said = |word: &Word| format!("{} <-{}- {}", word.text, word.label, tree.head_text(word));
                listed(tree.words.iter().map(said).collect(), "no word")
            }
        }
    }
}

impl Tree {
    /// The text of a word's head; `ROOT` for the root.
    pub fn head_text(&self, word: &Word) -> &str {
        let head = word.head.checked_sub(1).and_then(|at| self.words.get(at));
        head.map_or("ROOT", |head| &head.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An answer of each shape, as its JSON.
    fn examples() -> [(Shape, Value, &'static str); 6] {
        let end = |text: &str, start: usize| json!({ "text": text, "start": start, "end": start + text.len() });
        let word = |text: &str, start: usize, head: usize, label: &str| {
            let end = start + text.len();
            json!({ "text": text, "start": start, "end": end, "head": head, "label": label, "score": 0.5 })
        };
        let entity = json!({ "type": "PER", "text": "Ada", "start": 0, "end": 3, "score": 1.0 });
        let other = json!({ "answer": "left", "start": 4, "end": 8, "score": 0.25 });
        let edge = json!({ "type": "leaves", "from": end("Ada", 0), "to": end("left", 4), "score": 0.5 });
        let words = [word("Ada", 0, 2, "nsubj"), word("left", 4, 0, "root")];
        let labels = [json!({ "label": "news", "score": 0.75 }), json!({ "label": "sport", "score": 0.25 })];
        [
            (Shape::Spans, json!({ "text": "Ada left", "entities": [entity] }), "Ada [PER]"),
            (
                Shape::Candidates,
                json!({ "answer": "Ada", "start": 0, "end": 3, "score": 0.75, "alternatives": [other] }),
                "Ada",
            ),
            (Shape::Labels, json!({ "label": "news", "score": 0.75, "labels": labels }), "news"),
            (Shape::Number, json!({ "value": 3.5 }), "3.50"),
            (Shape::Edges, json!({ "text": "Ada left", "edges": [edge] }), "Ada -leaves-> left"),
            (Shape::Tree, json!({ "text": "Ada left", "words": words }), "Ada <-nsubj- left, left <-root- ROOT"),
        ]
    }

    #[test]
    fn json_of_every_shape_is_read_and_written_as_it_was() {
        for (shape, value, line) in examples() {
            let answer = shape.read(&value).unwrap();
            assert_eq!(answer.json().to_string(), value.to_string(), "with its fields in their order");
            assert_eq!(answer.line(), line);
            assert!(answer.rows().iter().all(|row| row.len() == shape.columns().len()), "{shape:?}");
            let nothing = shape.nothing();
            assert!(nothing.json().as_object().unwrap().keys().eq(value.as_object().unwrap().keys()), "{nothing:?}");
            assert!(
                ["no entity", "no answer", "no label", "0.00", "no relation", "no word"]
                    .contains(&nothing.line().as_str()),
                "{nothing:?}"
            );
            let others = Shape::ALL.into_iter().filter(|other| *other != shape);
            assert!(others.clone().all(|other| other.read(&value).is_err()), "{shape:?} is of one shape");
        }
    }

    #[test]
    fn more_fields_than_those_of_the_shape_are_left_alone() {
        let value = json!({ "id": 7, "entities": [], "tags": ["O"] });
        let answer = Shape::Spans.read(&value).unwrap();
        assert_eq!((answer.line().as_str(), answer.rows().len()), ("no entity", 0));
    }

    #[test]
    fn labels_come_most_probable_first_and_of_equals_in_their_order() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let ranked = Labels::ranked(&names, &[0.25, 0.5, 0.25]);
        assert_eq!((ranked.label.as_str(), ranked.score), ("b", 0.5));
        assert_eq!(ranked.labels.iter().map(|label| label.label.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(Labels::ranked(&[], &[]).label, "");
    }
}
