//! What a report says of predicted labels: which is taken for which, and the errors that the model is surest of.

use super::{Classify, Labelled};
use crate::document::number::{count, percent};
use crate::document::{Block, Cell, Table, Tone};
use crate::metrics::classification::Confusion;
use crate::tasks::answer::Labels;
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task};

/// So many errors are shown.
const SHOWN: usize = 12;
/// More labels make no table that anyone reads.
const MOST: usize = 20;

pub(super) fn blocks(task: &Classify, predictions: &[(&Labelled, Labels)]) -> Vec<Block> {
    let mut confusion = task.counts();
    predictions.iter().for_each(|(example, prediction)| task.count(example, prediction, &mut confusion));
    let labels = task.labels();
    let mut blocks = vec![Block::heading("Which label is taken for which")];
    if labels.len() <= MOST {
        blocks.push(Block::Table(table(labels, &confusion)));
    }
    let pairs = pairs(labels, &confusion);
    if labels.len() > MOST && !pairs.is_empty() {
        blocks.push(Block::List(pairs));
    }
    let mut wrong: Vec<_> = predictions
        .iter()
        .filter(|(example, prediction)| example.label.as_ref().is_some_and(|gold| *gold != prediction.label))
        .collect();
    if wrong.is_empty() {
        blocks.push(Block::text("Every text has its gold label."));
        return blocks;
    }
    wrong.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    blocks.push(Block::heading("Errors that the model is surest of"));
    blocks.push(Block::text(legend(Shape::Labels)));
    let case = |(example, prediction): &&(&Labelled, Labels)| {
        let verdict = format!("{} taken for {}", example.label.as_deref().unwrap_or(""), prediction.label);
        let drawing = draw(&task.asked(example), task.gold_answer(example).as_ref(), &task.answer(example, prediction));
        drawing.case(verdict, Tone::Bad, example.place.to_string())
    };
    blocks.push(Block::Cases(wrong.iter().take(SHOWN).map(case).collect()));
    blocks
}

fn table(labels: &[String], confusion: &Confusion) -> Table {
    let mut heads = vec!["gold \\ predicted"];
    heads.extend(labels.iter().map(String::as_str));
    heads.extend(["all", "right, %"]);
    let mut table = Table::new("Rows are gold labels, columns predicted ones.", &heads);
    for (gold, name) in labels.iter().enumerate() {
        let (all, right) = (confusion.gold(gold) as usize, confusion.count(gold, gold) as usize);
        let cells = (0..labels.len()).map(|predicted| Cell::from(count(confusion.count(gold, predicted) as usize)));
        let ends = [Cell::from(count(all)), Cell::percent(percent(right, all))];
        table.row(std::iter::once(Cell::from(name.clone())).chain(cells).chain(ends));
    }
    table
}

/// The most frequent confusions, in words.
fn pairs(labels: &[String], confusion: &Confusion) -> Vec<String> {
    let name = |at: usize| labels.get(at).map_or("", String::as_str);
    let all = (0..labels.len()).flat_map(|gold| (0..labels.len()).map(move |predicted| (gold, predicted)));
    let mut pairs: Vec<(u64, usize, usize)> = all
        .filter(|(gold, predicted)| gold != predicted)
        .map(|(gold, predicted)| (confusion.count(gold, predicted), gold, predicted))
        .filter(|(count, ..)| *count > 0)
        .collect();
    pairs.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    let said = |(times, gold, predicted): &(u64, usize, usize)| {
        format!("{} taken for {}: {}", name(*gold), name(*predicted), count(*times as usize))
    };
    pairs.iter().take(SHOWN).map(said).collect()
}
