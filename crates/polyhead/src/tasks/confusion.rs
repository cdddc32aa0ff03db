//! Labels that are taken for others, as tasks with one label a text or a word score and show them.

use super::{Score, TypeScore};
use crate::document::number::{count, percent};
use crate::document::{Block, Cell, Table};
use crate::metrics::classification::{Confusion, Mean};
use serde_json::{Map, Value, json};

/// So many confusions are listed.
const SHOWN: usize = 12;
/// More labels make no table that anyone reads.
const MOST: usize = 20;

/// Accuracy and the means over labels, in per cent.
pub(super) fn values(confusion: &Confusion) -> Map<String, Value> {
    let mut values = Map::new();
    values.insert("accuracy".into(), json!(100.0 * confusion.accuracy()));
    for (name, mean) in [("macro", Mean::Macro), ("weighted", Mean::Weighted)] {
        Score::insert_scores(&mut values, name, confusion.mean(mean), "");
    }
    values
}

/// The scores of each label, in per cent.
pub(super) fn types(labels: &[String], confusion: &Confusion) -> Vec<TypeScore> {
    let of = |(label, name): (usize, &String)| TypeScore::of(name, confusion.of(label), confusion.gold(label));
    labels.iter().enumerate().map(of).collect()
}

/// Which label is taken for which: all in a table, or the most frequent confusions of many labels.
pub(super) fn blocks(labels: &[String], confusion: &Confusion) -> Vec<Block> {
    let mut blocks = vec![Block::heading("Which label is taken for which")];
    if labels.len() <= MOST {
        blocks.push(Block::Table(table(labels, confusion)));
        return blocks;
    }
    let pairs = pairs(labels.len(), confusion);
    if !pairs.is_empty() {
        let name = |at: usize| labels.get(at).map_or("", String::as_str);
        let said = |(gold, predicted, times): &(usize, usize, u64)| {
            format!("{} taken for {}: {}", name(*gold), name(*predicted), count(*times as usize))
        };
        blocks.push(Block::List(pairs.iter().take(SHOWN).map(said).collect()));
    }
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

/// The confusions `(gold, predicted, times)`, the most frequent first.
pub(super) fn pairs(labels: usize, confusion: &Confusion) -> Vec<(usize, usize, u64)> {
    let all = (0..labels).flat_map(|gold| (0..labels).map(move |predicted| (gold, predicted)));
    let mut pairs: Vec<(usize, usize, u64)> = all
        .filter(|(gold, predicted)| gold != predicted)
        .map(|(gold, predicted)| (gold, predicted, confusion.count(gold, predicted)))
        .filter(|(.., times)| *times > 0)
        .collect();
    pairs.sort_by_key(|(.., times)| std::cmp::Reverse(*times));
    pairs
}
