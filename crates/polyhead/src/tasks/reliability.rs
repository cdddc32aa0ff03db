//! What a report says of the probabilities of answers: `(probability, right) of each answer -> a section`.

use crate::document::{Block, Cell, Chart, Plot, Series, Table, number};
use crate::metrics::calibration::{BINS, Confidence, bins, expected_error};

/// How far answers are from the probabilities that they were given: a section of a report. Nothing without answers.
pub(super) fn reliability(answers: &[Confidence]) -> Vec<Block> {
    let Some(error) = expected_error(answers) else { return Vec::new() };
    let mut table = Table::new("", &["probability", "answers", "mean probability, %", "right, %"]);
    let mut right = Vec::new();
    for (at, bin) in bins(answers).iter().enumerate().filter(|(_, bin)| bin.answers > 0) {
        let of = |edge: usize| number::decimal(edge as f64 / BINS as f64);
        table.row([
            Cell::from(format!("{} to {}", of(at), of(at + 1))),
            Cell::from(number::count(bin.answers)),
            Cell::from(number::decimal(100.0 * bin.mean_probability())),
            Cell::percent(100.0 * bin.accuracy()),
        ]);
        right.push((100.0 * bin.mean_probability(), 100.0 * bin.accuracy()));
    }
    let said = right.iter().map(|(probability, _)| (*probability, *probability)).collect();
    let chart = Chart {
        title: "Reliability".into(),
        x: "mean probability of the answers of a bin, %".into(),
        y: "right, %".into(),
        plot: Plot::Lines(vec![
            Series::new("answers", right),
            Series::new("as said", said),
        ]),
        note: "Answers below the straight line were thought more certain than they are. A recipe with `data.NAME.calibration` \
               fits a temperature to that, on examples like those of training."
            .into(),
    };
    let text = format!(
        "Expected calibration error: {} % of {}, in {BINS} bins. It is the mean distance between how probable an answer was said to be and \
         how often such answers are right.",
        number::decimal(100.0 * error),
        number::counted(answers.len(), "answer")
    );
    vec![
        Block::heading("Are probabilities what they say?"),
        Block::text(text),
        Block::Chart(chart),
        Block::Table(table),
    ]
}
