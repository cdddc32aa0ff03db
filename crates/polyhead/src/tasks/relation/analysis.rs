//! What a report says of predicted relations: which is taken for which, how often the direction is wrong, and the errors that the
//! model is surest of.

use super::{Asked, Probabilities, Relation};
use crate::document::number::{count, percent};
use crate::document::{Block, Cell, Table, Tone};
use crate::metrics::relations::{self, Way};
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task};

/// So many errors are shown.
const SHOWN: usize = 12;
/// More relations make no table that anyone reads.
const MOST: usize = 20;

pub(super) fn blocks(task: &Relation, predictions: &[(&Asked, Probabilities)]) -> Vec<Block> {
    let mut counts = task.counts();
    predictions.iter().for_each(|(example, prediction)| task.count(example, prediction, &mut counts));
    let matrix = Matrix::of(&counts, task.labels().len());
    let mut blocks = vec![Block::heading("Which relation is taken for which")];
    match counts.relations().len() <= MOST {
        true => blocks.push(Block::Table(matrix.table(counts.relations()))),
        false => blocks.push(Block::List(matrix.pairs(counts.relations()))),
    }
    if matrix.wrong_direction.iter().sum::<u64>() > 0 || counts.is_directed() {
        blocks.push(Block::heading("Directions"));
        blocks.push(Block::Table(directions(&counts)));
    }
    let wrong = |(example, prediction): &&(&Asked, Probabilities)| {
        example.relation.label.is_some() && task.gold(example) != Relation::best(prediction)
    };
    let mut wrong: Vec<_> = predictions.iter().filter(wrong).collect();
    if wrong.is_empty() {
        blocks.push(Block::text("Every pair has its gold label."));
        return blocks;
    }
    let surest = |prediction: &Probabilities| prediction.iter().copied().fold(0.0, f64::max);
    wrong.sort_by(|a, b| surest(&b.1).total_cmp(&surest(&a.1)));
    blocks.push(Block::heading("Errors that the model is surest of"));
    blocks.push(Block::text(legend(Shape::Edges)));
    let case = |(example, prediction): &&(&Asked, Probabilities)| {
        let gold = example.relation.label.as_deref().unwrap_or("");
        let taken = Relation::best(prediction).map_or("nothing, as it can't be read", |at| task.label(at));
        let found = task.answer(example, prediction);
        let drawing = draw(&example.relation.text, task.gold_answer(example).as_ref(), &found);
        drawing.case(format!("{gold} taken for {taken}"), Tone::Bad, example.relation.place.to_string())
    };
    blocks.push(Block::Cases(wrong.iter().take(SHOWN).map(case).collect()));
    blocks
}

/// How often each relation was taken for each, whatever their directions.
struct Matrix {
    /// `[gold][predicted]`: on the diagonal those in the right direction.
    counts: Vec<Vec<u64>>,
    /// Of each gold relation, those found in the wrong direction.
    wrong_direction: Vec<u64>,
    /// Of each gold relation, those without a prediction.
    unread: Vec<u64>,
}

impl Matrix {
    fn of(counts: &relations::Table, labels: usize) -> Self {
        let relations = counts.relations().len();
        let mut matrix = Self {
            counts: vec![vec![0; relations]; relations],
            wrong_direction: vec![0; relations],
            unread: vec![0; relations],
        };
        let relation = |label: usize| counts.relation_of(label);
        for gold in 0..labels {
            let Some(of_gold) = relation(gold) else { continue };
            for predicted in (0..labels).map(Some).chain([None]) {
                let cell = match predicted.and_then(relation) {
                    None => matrix.unread.get_mut(of_gold),
                    Some(other) if other == of_gold && predicted != Some(gold) => {
                        matrix.wrong_direction.get_mut(of_gold)
                    }
                    Some(other) => matrix.counts.get_mut(of_gold).and_then(|row| row.get_mut(other)),
                };
                if let Some(cell) = cell {
                    *cell += counts.count(gold, predicted);
                }
            }
        }
        matrix
    }

    /// Of a gold relation: the row, the wrong directions, the unread.
    fn row(&self, gold: usize) -> (&[u64], u64, u64) {
        let at = |of: &[u64]| of.get(gold).copied().unwrap_or(0);
        let row = self.counts.get(gold).map_or(&[][..], Vec::as_slice);
        (row, at(&self.wrong_direction), at(&self.unread))
    }

    fn table(&self, relations: &[String]) -> Table {
        let any = |of: &[u64]| of.iter().sum::<u64>() > 0;
        let (with_directions, with_unread) = (any(&self.wrong_direction), any(&self.unread));
        let mut heads = vec!["gold \\ predicted"];
        heads.extend(relations.iter().map(String::as_str));
        heads.extend(with_directions.then_some("wrong direction"));
        heads.extend(with_unread.then_some("not read"));
        heads.extend(["all", "right, %"]);
        let mut table = Table::new("Rows are gold relations, columns predicted ones.", &heads);
        for (gold, name) in relations.iter().enumerate() {
            let (row, wrong, unread) = self.row(gold);
            let all = (row.iter().sum::<u64>() + wrong + unread) as usize;
            let right = row.get(gold).copied().unwrap_or(0) as usize;
            let number = |number: u64| Cell::from(count(number as usize));
            let cells = row.iter().map(|times| number(*times));
            let rest = [with_directions.then(|| number(wrong)), with_unread.then(|| number(unread))];
            let ends = [Cell::from(count(all)), Cell::percent(percent(right, all))];
            table.row(
                std::iter::once(Cell::from(name.clone())).chain(cells).chain(rest.into_iter().flatten()).chain(ends),
            );
        }
        table
    }

    /// The most frequent confusions, in words.
    fn pairs(&self, relations: &[String]) -> Vec<String> {
        let mut pairs: Vec<(u64, String)> = Vec::new();
        for (gold, name) in relations.iter().enumerate() {
            let (row, wrong, _) = self.row(gold);
            let others = row.iter().zip(relations).enumerate().filter(|(at, _)| *at != gold);
            pairs.extend(others.map(|(_, (times, other))| (*times, format!("{name} taken for {other}"))));
            pairs.push((wrong, format!("{name} in the wrong direction")));
        }
        pairs.retain(|(times, _)| *times > 0);
        pairs.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
        pairs.into_iter().take(SHOWN).map(|(times, said)| format!("{said}: {}", count(times as usize))).collect()
    }
}

/// Of the relations that were found, how many have the right direction.
fn directions(counts: &relations::Table) -> Table {
    let heads = ["relation", "found", "in the right direction", "in the wrong direction", "right, %"];
    let title = "Of each gold relation, how often it was found, and in which direction.";
    let mut table = Table::new(title, &heads);
    for relation in counts.evaluate(Way::Official).relations.iter().filter(|relation| !relation.negative) {
        let (right, wrong) = (relation.correct as usize, relation.wrong_direction as usize);
        let found = right + wrong;
        let numbers = [found, right, wrong].map(|number| Cell::from(count(number)));
        let share = Cell::percent(percent(right, found));
        table.row(std::iter::once(Cell::from(relation.name.clone())).chain(numbers).chain([share]));
    }
    table
}
