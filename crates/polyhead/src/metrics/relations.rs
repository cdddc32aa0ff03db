//! Scores of relations between two parts of a text: those of the official scorer of SemEval-2010 task 8 (version 1.2) where labels
//! have directions and one says that there is no relation, else micro and macro F1.
//!
//! ```text
//! labels      Cause-Effect(e1,e2), Cause-Effect(e2,e1), ..., Other       relations  Cause-Effect, ..., Other
//! (gold, predicted or nothing) -> table [labels, labels + 1] -> scores in per cent
//! ```
//!
//! The official scorer counts three times ([`Way`]). What is predicted with the right relation in the wrong direction hurts precision
//! and recall of that relation: it is none of its correct answers, and is added to what precision is divided by. Means are over the
//! relations of the gold labels, without the one that means none; macro F1 is the mean of their F1s. A prediction of a relation that
//! no gold label has counts as none, and so does an example without a prediction. Where the scorer would divide by zero and end
//! (nothing predicted at all, no gold relation), a score is 0.

use std::collections::BTreeSet;

/// The parts of a text that a relation leads from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the first part to the second: `(e1,e2)`.
    Forward,
    /// From the second to the first: `(e2,e1)`.
    Backward,
}

/// The relation and the direction that a label says: `Cause-Effect(e2,e1)`.
pub fn split(label: &str) -> (&str, Option<Direction>) {
    let ends = [("(e1,e2)", Direction::Forward), ("(e2,e1)", Direction::Backward)];
    let found = ends.iter().find_map(|(end, direction)| Some((label.strip_suffix(end)?, Some(*direction))));
    found.filter(|(relation, _)| !relation.is_empty()).unwrap_or((label, None))
}

/// What the official scorer takes for one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Every label: `(2*9+1)-way`.
    Labels,
    /// Every relation, whatever its direction: `(9+1)-way`.
    Undirected,
    /// Every relation, and its direction must be right: the official score.
    Official,
}

/// Precision, recall and F1, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores {
    /// The share of predictions that are right.
    pub precision: f64,
    /// The share of gold labels that were found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// How often a relation (or a label) was found, predicted and gold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Whether it is the one that means that there is none: it counts in no mean.
    pub negative: bool,
    /// Right predictions.
    pub correct: u64,
    /// Predictions, without those in the wrong direction where they are counted apart.
    pub predicted: u64,
    /// Predictions of the right relation in the wrong direction, where they are counted apart.
    pub wrong_direction: u64,
    /// Gold ones.
    pub gold: u64,
}

/// What one way of counting comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The relations of the gold labels by name, the one that means none among them.
    pub relations: Vec<Relation>,
    /// All examples.
    pub examples: u64,
    /// Those with a prediction.
    pub predicted: u64,
    /// Right predictions.
    pub correct: u64,
    /// Examples without a relation that have no prediction, either.
    pub rightly_left_out: u64,
}

/// How often each label was taken for each, or for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The relation of each label, as an index into `relations`.
    relation_of: Vec<usize>,
    names: Vec<String>,
    relations: Vec<String>,
    negative: Option<usize>,
    /// `[gold, predicted]`, row by row; the last column is of no prediction.
    counts: Vec<u64>,
}

impl Table {
    /// Nothing counted yet, of these labels; one of them may mean that there is no relation.
    pub fn new(labels: &[String], negative: Option<usize>) -> Self {
        let names: BTreeSet<&str> = labels.iter().map(|label| split(label).0).collect();
        let relations: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let of = |label: &String| relations.iter().position(|name| name == split(label).0).unwrap_or_default();
        Self {
            relation_of: labels.iter().map(of).collect(),
            names: labels.to_vec(),
            negative: negative.filter(|label| *label < labels.len()),
            counts: vec![0; labels.len() * (labels.len() + 1)],
            relations,
        }
    }

    /// Counts an example. Labels beyond the last are not counted.
    pub fn add(&mut self, gold: usize, predicted: Option<usize>) {
        let labels = self.names.len();
        let column = predicted.unwrap_or(labels);
        let at = gold * (labels + 1) + column;
        if let Some(count) = self.counts.get_mut(at).filter(|_| gold < labels && column <= labels) {
            *count += 1;
        }
    }

    /// How often a gold label was predicted as another; `None` for nothing predicted.
    pub fn count(&self, gold: usize, predicted: Option<usize>) -> u64 {
        let labels = self.names.len();
        self.counts.get(gold * (labels + 1) + predicted.unwrap_or(labels)).copied().unwrap_or(0)
    }

    /// The names of the relations, sorted.
    pub fn relations(&self) -> &[String] {
        &self.relations
    }

    /// The relation of a label.
    pub fn relation_of(&self, label: usize) -> Option<usize> {
        self.relation_of.get(label).copied()
    }

    /// Whether the rules of the official scorer hold: some label has a direction, and one means that there is no relation.
    pub fn is_directed(&self) -> bool {
        self.negative.is_some() && self.names.iter().any(|label| split(label).1.is_some())
    }

    /// Every gold label with every other or nothing, and how often.
    fn cells(&self) -> impl Iterator<Item = (usize, Option<usize>, u64)> + '_ {
        let labels = self.names.len();
        let cell = move |(at, count): (usize, &u64)| {
            let (gold, predicted) = (at / (labels + 1), at % (labels + 1));
            (gold, (predicted < labels).then_some(predicted), *count)
        };
        self.counts.iter().enumerate().map(cell)
    }

    /// What the official scorer counts.
    pub fn evaluate(&self, way: Way) -> Evaluation {
        let class = |label: usize| match way {
            Way::Labels => Some(label),
            Way::Undirected | Way::Official => self.relation_of(label),
        };
        let names = if way == Way::Labels { &self.names } else { &self.relations };
        let negative = self.negative.and_then(class);
        let of = |(at, name): (usize, &String)| Relation {
            name: name.clone(),
            negative: negative == Some(at),
            correct: 0,
            predicted: 0,
            wrong_direction: 0,
            gold: 0,
        };
        let mut relations: Vec<Relation> = names.iter().enumerate().map(of).collect();
        let (mut examples, mut predictions, mut left_out) = (0, 0, 0);
        for (gold, predicted, count) in self.cells() {
            let same = class(gold) == predicted.and_then(class);
            // The scorer's labels are equal here, or only their relations are.
            let wrong_direction = way == Way::Official && same && predicted != Some(gold);
            examples += count;
            if let Some(of_gold) = class(gold).and_then(|at| relations.get_mut(at)) {
                of_gold.gold += count;
                of_gold.correct += if same && !wrong_direction { count } else { 0 };
                of_gold.wrong_direction += if wrong_direction { count } else { 0 };
                left_out += if of_gold.negative && predicted.is_none() { count } else { 0 };
            }
            predictions += if predicted.is_some() { count } else { 0 };
            if let Some(of_predicted) = predicted.and_then(class).and_then(|at| relations.get_mut(at)) {
                of_predicted.predicted += if wrong_direction { 0 } else { count };
            }
        }
        let correct = relations.iter().map(|relation| relation.correct).sum();
        relations.retain(|relation| relation.gold > 0);
        relations.sort_by(|a, b| a.name.cmp(&b.name));
        Evaluation { relations, examples, predicted: predictions, correct, rightly_left_out: left_out }
    }

    /// Every label that occurs, gold or predicted, but the one that means that there is no relation.
    pub fn labels(&self) -> Vec<Relation> {
        let mut all = self.evaluate_all();
        all.retain(|label| label.gold + label.predicted > 0 && !label.negative);
        all
    }

    fn evaluate_all(&self) -> Vec<Relation> {
        let labels = 0..self.names.len();
        let of = |at: usize| Relation {
            name: self.names.get(at).cloned().unwrap_or_default(),
            negative: self.negative == Some(at),
            correct: self.count(at, Some(at)),
            predicted: labels.clone().map(|gold| self.count(gold, Some(at))).sum(),
            wrong_direction: 0,
            gold: labels.clone().map(Some).chain([None]).map(|predicted| self.count(at, predicted)).sum(),
        };
        labels.clone().map(of).collect()
    }
}

impl Relation {
    /// Its scores.
    pub fn scores(&self) -> Scores {
        Scores::of(self.correct, self.predicted + self.wrong_direction, self.gold)
    }
}

impl Scores {
    fn of(correct: u64, predicted: u64, gold: u64) -> Self {
        let (precision, recall) = (percent(correct, predicted), percent(correct, gold));
        let sum = precision + recall;
        let f1 = if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum };
        Self { precision, recall, f1 }
    }

    /// Of all together: sums are divided once.
    pub fn micro(of: &[Relation]) -> Self {
        let sum = |count: fn(&Relation) -> u64| of.iter().filter(|one| !one.negative).map(count).sum();
        Self::of(sum(|one| one.correct), sum(|one| one.predicted + one.wrong_direction), sum(|one| one.gold))
    }

    /// The means of the scores of each.
    pub fn macro_mean(of: &[Relation]) -> Self {
        let (mut sum, mut count) = (Self::default(), 0_u32);
        for relation in of.iter().filter(|relation| !relation.negative) {
            let Self { precision, recall, f1 } = relation.scores();
            sum = Self { precision: sum.precision + precision, recall: sum.recall + recall, f1: sum.f1 + f1 };
            count += 1;
        }
        let mean = |sum: f64| if count == 0 { 0.0 } else { sum / f64::from(count) };
        Self { precision: mean(sum.precision), recall: mean(sum.recall), f1: mean(sum.f1) }
    }
}

impl Evaluation {
    /// The share of examples that have a prediction, in per cent.
    pub fn coverage(&self) -> f64 {
        percent(self.predicted, self.examples)
    }

    /// The share of predictions that are right.
    pub fn accuracy_of_predicted(&self) -> f64 {
        percent(self.correct, self.predicted)
    }

    /// The share of examples whose prediction is right.
    pub fn accuracy(&self) -> f64 {
        percent(self.correct, self.examples)
    }

    /// The same, with no prediction taken for the prediction that there is no relation.
    pub fn accuracy_with_left_out(&self) -> f64 {
        percent(self.correct + self.rightly_left_out, self.examples)
    }
}

/// In the order of the scorer's operations, so that digits are the same.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_relation_and_perhaps_a_direction() {
        assert_eq!(split("Cause-Effect(e2,e1)"), ("Cause-Effect", Some(Direction::Backward)));
        assert_eq!(split("x(e1,e2)"), ("x", Some(Direction::Forward)));
        for whole in ["Other", "(e1,e2)", "x(e1,e1)", "x(e1,e2) ", ""] {
            assert_eq!(split(whole), (whole, None));
        }
    }

    #[test]
    fn the_wrong_direction_hurts_precision_and_recall() {
        let labels = ["A(e1,e2)", "A(e2,e1)", "B", "Other"].map(str::to_owned);
        let mut table = Table::new(&labels, Some(3));
        assert!(table.is_directed() && !Table::new(&labels, None).is_directed());
        // Found, found the wrong way round, not found; a relation where there is none; rightly none; B is never gold.
        for (gold, predicted) in [(0, Some(0)), (1, Some(0)), (1, None), (3, Some(1)), (3, Some(3)), (3, Some(2))] {
            table.add(gold, predicted);
        }
        table.add(4, Some(0));
        table.add(0, Some(7));
        let official = table.evaluate(Way::Official);
        let names: Vec<&str> = official.relations.iter().map(|relation| relation.name.as_str()).collect();
        assert_eq!(names, ["A", "Other"]);
        let a = &official.relations[0];
        assert_eq!((a.correct, a.predicted, a.wrong_direction, a.gold), (1, 2, 1, 3));
        let third = 100.0 / 3.0;
        assert_eq!(a.scores(), Scores { precision: third, recall: third, f1: 2.0 * third * third / (third + third) });
        assert_eq!(Scores::macro_mean(&official.relations), a.scores());
        assert_eq!(Scores::micro(&official.relations), a.scores());
        assert_eq!((official.examples, official.predicted, official.correct), (6, 5, 2));
        assert_eq!(table.evaluate(Way::Undirected).relations[0].scores().recall, 200.0 / 3.0);
        // Without directions B counts, since it was predicted.
        assert_eq!(table.labels().len(), 3);
        assert_eq!(Scores::micro(&table.labels()), Scores::of(1, 4, 3));
    }

    #[test]
    fn nothing_counted_and_no_relation_at_all_are_zero() {
        let labels = ["A(e1,e2)", "Other"].map(str::to_owned);
        let mut table = Table::new(&labels, Some(1));
        for _ in 0..2 {
            for way in [Way::Labels, Way::Undirected, Way::Official] {
                let found = table.evaluate(way);
                assert_eq!(Scores::macro_mean(&found.relations), Scores::default());
                assert_eq!((found.accuracy_of_predicted(), found.accuracy()), (0.0, 0.0));
            }
            table.add(1, None);
        }
        assert_eq!(table.evaluate(Way::Official).accuracy_with_left_out(), 100.0);
    }
}
