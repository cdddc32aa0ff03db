//! What a report says of predicted labels: which is taken for which, and the errors that the model is surest of.

use super::{Classify, Labelled};
use crate::document::{Block, Tone};
use crate::tasks::answer::Labels;
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task, confusion};

/// So many errors are shown.
const SHOWN: usize = 12;

pub(super) fn blocks(task: &Classify, predictions: &[(&Labelled, Labels)]) -> Vec<Block> {
    let mut counts = task.counts();
    predictions.iter().for_each(|(example, prediction)| task.count(example, prediction, &mut counts));
    let mut blocks = confusion::blocks(task.labels(), &counts);
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
