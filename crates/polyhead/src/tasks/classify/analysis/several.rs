//! Of several labels at once: how often each is missed and predicted where it does not hold, which labels stand in for which, and the
//! errors that are farthest on the wrong side of their threshold.

use super::{Classify, Predicted, SHOWN, case, predicted};
use crate::document::number::{count, decimal};
use crate::document::{Block, Table};
use crate::metrics::multi_label::MultiLabel;
use crate::tasks::drawing::legend;
use crate::tasks::{Shape, Task};
use std::cmp::Reverse;
use std::collections::BTreeMap;

pub(super) fn blocks(task: &Classify, predictions: &[Predicted], counts: &MultiLabel) -> Vec<Block> {
    let thresholds = task.config.label_thresholds();
    let mut blocks = vec![Block::heading("Errors by label"), Block::Table(table(task, counts, &thresholds))];
    let wrong: Vec<Wrong> = predictions.iter().filter_map(|one| Wrong::of(task, one, &thresholds)).collect();
    if wrong.is_empty() {
        blocks.push(Block::text("Every text has exactly its gold labels."));
        return blocks;
    }
    let stand_ins = stand_ins(task.labels(), &wrong);
    if !stand_ins.is_empty() {
        blocks.push(Block::heading("Missed in one text with a false positive"));
        blocks.push(Block::List(stand_ins));
    }
    let mut farthest: Vec<&Wrong> = wrong.iter().collect();
    farthest.sort_by(|a, b| b.far.total_cmp(&a.far));
    blocks.push(Block::heading("Errors farthest on the wrong side of their threshold"));
    blocks.push(Block::text(legend(Shape::Labels)));
    let shown = |wrong: &&Wrong| case(task, wrong.predicted, wrong.verdict(task.labels()));
    blocks.push(Block::Cases(farthest.into_iter().take(SHOWN).map(|wrong| shown(&wrong)).collect()));
    blocks
}

fn table(task: &Classify, counts: &MultiLabel, thresholds: &[f64]) -> Table {
    let heads = ["label", "threshold", "gold", "predicted", "right", "missed", "false positives"];
    let mut table = Table::new("Missed: gold and not predicted. False positive: predicted and not gold.", &heads);
    for (label, (name, threshold)) in task.labels().iter().zip(thresholds).enumerate() {
        let tally = counts.of(label);
        let numbers =
            [tally.gold, tally.predicted, tally.correct, tally.gold - tally.correct, tally.predicted - tally.correct];
        let numbers = numbers.map(|number| count(number as usize));
        table.row([name.clone(), decimal(*threshold)].into_iter().chain(numbers));
    }
    table
}

/// An example whose labels are not exactly the gold ones.
struct Wrong<'a> {
    predicted: &'a Predicted<'a>,
    missed: Vec<usize>,
    surplus: Vec<usize>,
    /// The largest distance of a wrong label's score from its threshold.
    far: f64,
}

impl<'a> Wrong<'a> {
    fn of(task: &Classify, one: &'a Predicted<'a>, thresholds: &[f64]) -> Option<Self> {
        let (gold, scores) = (task.holds(one.0)?, &one.1.scores);
        let found = predicted(scores, thresholds);
        let those = |gold_is: bool| -> Vec<usize> {
            let pairs = gold.iter().zip(&found).enumerate();
            pairs.filter(|(_, (gold, found))| gold != found && **gold == gold_is).map(|(label, _)| label).collect()
        };
        let (missed, surplus) = (those(true), those(false));
        let distance = |label: &usize| Some((scores.get(*label)? - thresholds.get(*label)?).abs());
        let far = missed.iter().chain(&surplus).filter_map(distance).max_by(f64::total_cmp)?;
        Some(Self { predicted: one, missed, surplus, far })
    }

    fn verdict(&self, labels: &[String]) -> String {
        let named = |of: &[usize]| {
            let names: Vec<&str> = of.iter().filter_map(|label| Some(labels.get(*label)?.as_str())).collect();
            names.join(", ")
        };
        let parts = [("missed", &self.missed), ("false positive", &self.surplus)];
        let said = parts.iter().filter(|(_, of)| !of.is_empty()).map(|(what, of)| format!("{what}: {}", named(of)));
        said.collect::<Vec<_>>().join("; ")
    }
}

/// The labels that are missed most often in texts with another that is a false positive, in words.
fn stand_ins(labels: &[String], wrong: &[Wrong]) -> Vec<String> {
    let mut times: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for one in wrong {
        for missed in &one.missed {
            for surplus in &one.surplus {
                *times.entry((*missed, *surplus)).or_default() += 1;
            }
        }
    }
    let mut pairs: Vec<((usize, usize), usize)> = times.into_iter().collect();
    pairs.sort_by_key(|(_, times)| Reverse(*times));
    let name = |at: usize| labels.get(at).map_or("", String::as_str);
    let said = |((missed, surplus), times): ((usize, usize), usize)| {
        format!("{} missed, {} predicted: {}", name(missed), name(surplus), count(times))
    };
    pairs.into_iter().take(SHOWN).map(said).collect()
}
