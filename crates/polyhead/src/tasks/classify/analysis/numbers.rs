//! Of numbers: what is predicted where the gold number lies in which range, how large errors are, and the largest.

use super::{Classify, Predicted, SHOWN, case};
use crate::document::number::{count, decimal};
use crate::document::{Block, Chart, Plot, Series, Table};
use crate::metrics::regression::Regression;

/// So many ranges of gold numbers.
const RANGES: usize = 8;

pub(super) fn blocks(task: &Classify, predictions: &[Predicted], numbers: &Regression) -> Vec<Block> {
    let ranges = ranges(numbers);
    let mut blocks = vec![Block::heading("Predicted numbers by gold ones"), Block::Table(table(&ranges))];
    if ranges.len() > 1 {
        blocks.push(Block::Chart(chart(&ranges)));
    }
    let error = |(example, prediction): &Predicted| Some(prediction.scores.first()? - example.number()?);
    let mut largest: Vec<(&Predicted, f64)> =
        predictions.iter().filter_map(|one| Some((one, error(one)?))).filter(|(_, error)| *error != 0.0).collect();
    if largest.is_empty() {
        blocks.push(Block::text("Every text has its gold number."));
        return blocks;
    }
    largest.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    blocks.push(Block::heading("Largest errors"));
    let shown = |(one, error): &(&Predicted, f64)| {
        let side = if *error > 0.0 { "too high" } else { "too low" };
        case(task, one, format!("{} {side}", decimal(error.abs())))
    };
    blocks.push(Block::Cases(largest.iter().take(SHOWN).map(shown).collect()));
    blocks
}

/// Texts whose gold numbers follow each other.
struct Range {
    texts: usize,
    lowest: f64,
    highest: f64,
    /// The means of the gold numbers, of the predicted ones and of the errors.
    gold: f64,
    predicted: f64,
    error: f64,
}

/// From low to high, in ranges of about as many texts; equal numbers are never parted.
fn ranges(numbers: &Regression) -> Vec<Range> {
    let mut pairs: Vec<(f64, f64)> = numbers.pairs().collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.total_cmp(&b.1)));
    let most = pairs.len().div_ceil(RANGES).max(1);
    let mut groups: Vec<Vec<(f64, f64)>> = Vec::new();
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        match groups.last_mut().filter(|group| group.len() + equal.len() <= most) {
            Some(group) => group.extend(equal),
            None => groups.push(equal.to_vec()),
        }
    }
    let range = |group: Vec<(f64, f64)>| {
        let mean = |of: fn(&(f64, f64)) -> f64| group.iter().map(of).sum::<f64>() / group.len() as f64;
        Some(Range {
            texts: group.len(),
            lowest: group.first()?.0,
            highest: group.last()?.0,
            gold: mean(|pair| pair.0),
            predicted: mean(|pair| pair.1),
            error: mean(|pair| (pair.1 - pair.0).abs()),
        })
    };
    groups.into_iter().filter_map(range).collect()
}

fn table(ranges: &[Range]) -> Table {
    let heads = ["gold numbers", "texts", "mean gold", "mean predicted", "mean absolute error"];
    let mut table = Table::new("From low to high, in ranges of about as many texts.", &heads);
    for Range { texts, lowest, highest, gold, predicted, error } in ranges {
        let range = format!("{} to {}", decimal(*lowest), decimal(*highest));
        table.row([range, count(*texts)].into_iter().chain([gold, predicted, error].map(|mean| decimal(*mean))));
    }
    table
}

fn chart(ranges: &[Range]) -> Chart {
    let line = |of: fn(&Range) -> f64| ranges.iter().map(|range| (range.gold, of(range))).collect();
    Chart {
        title: "Predicted and gold numbers".into(),
        x: "gold, mean of a range".into(),
        y: "predicted, mean of the range".into(),
        plot: Plot::Lines(vec![
            Series::new("predicted", line(|range| range.predicted)),
            Series::new("as gold", line(|range| range.gold)),
        ]),
        note: "Where the first line is flatter than the second, predictions are drawn to the mean.".into(),
    }
}
