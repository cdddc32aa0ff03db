//! What a report says of the answers beyond the score. Of one label: which is taken for which, and the errors that the model is surest
//! of. Of several labels and of numbers: see the folder.

mod numbers;
mod several;

use super::{Classify, Labelled, Prediction, best, predicted};
use crate::document::{Block, Case, Tone};
use crate::metrics::classification::Confusion;
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task, confusion};

/// So many errors are shown.
const SHOWN: usize = 12;

/// An answer with its example.
type Predicted<'a> = (&'a Labelled, Prediction);

pub(super) fn blocks(task: &Classify, predictions: &[Predicted]) -> Vec<Block> {
    let mut counts = task.counts();
    predictions.iter().for_each(|(example, prediction)| task.count(example, prediction, &mut counts));
    if let Some(counts) = counts.at(&task.config.label_thresholds()) {
        return several::blocks(task, predictions, &counts);
    }
    if let Some(numbers) = counts.numbers() {
        return numbers::blocks(task, predictions, numbers);
    }
    counts.confusion().map_or_else(Vec::new, |confusion| of_one(task, predictions, confusion))
}

/// An example with its answer beside the gold one.
fn case(task: &Classify, (example, prediction): &Predicted, verdict: String) -> Case {
    let answer = task.answer(example, prediction);
    let drawing = draw(&task.asked(example), task.gold_answer(example).as_ref(), &answer);
    drawing.case(verdict, Tone::Bad, example.place.to_string())
}

fn of_one(task: &Classify, predictions: &[Predicted], counts: &Confusion) -> Vec<Block> {
    let labels = task.labels();
    let mut blocks = confusion::blocks(labels, counts);
    let is_wrong = |one: &(&Predicted, usize)| task.class(one.0.0).is_some_and(|gold| gold != one.1);
    let all = predictions.iter().filter_map(|one| Some((one, best(&one.1)?)));
    let mut wrong: Vec<(&Predicted, usize)> = all.filter(is_wrong).collect();
    if wrong.is_empty() {
        blocks.push(Block::text("Every text has its gold label."));
        return blocks;
    }
    let score = |(one, at): &(&Predicted, usize)| one.1.scores.get(*at).copied().unwrap_or_default();
    wrong.sort_by(|a, b| score(b).total_cmp(&score(a)));
    blocks.push(Block::heading("Errors that the model is surest of"));
    blocks.push(Block::text(legend(Shape::Labels)));
    let shown = |(one, at): &(&Predicted, usize)| {
        let name = |at: usize| labels.get(at).map_or("", String::as_str);
        let gold = task.class(one.0).map_or("", name);
        case(task, one, format!("{gold} taken for {}", name(*at)))
    };
    blocks.push(Block::Cases(wrong.iter().take(SHOWN).map(shown).collect()));
    blocks
}
