//! What a report says of the answers of a task that has no analysis of its own: the examples that score lowest, each drawn with
//! its gold answer.

use super::drawing::{draw, legend};
use super::{Answer, Score, Task};
use crate::document::{Block, Case, Tone, number};

/// So many of them are shown.
const LOWEST: usize = 12;

/// The examples that score lowest, each scored alone.
pub(super) fn lowest<T: Task>(task: &T, predictions: &[(&T::Example, T::Prediction)]) -> Vec<Block> {
    let alone = |(example, prediction): &(&T::Example, T::Prediction)| {
        let mut counts = task.counts();
        task.count(example, prediction, &mut counts);
        task.score(&counts)
    };
    let mut scored: Vec<(usize, Score)> = predictions.iter().map(alone).enumerate().collect();
    scored.retain(|(_, score)| score.headline_value() < 100.0);
    scored.sort_by(|a, b| a.1.headline_value().total_cmp(&b.1.headline_value()));
    let shown = scored.iter().take(LOWEST);
    let cases = shown.filter_map(|(at, score)| predictions.get(*at).map(|one| case(task, one, score)));
    let cases: Vec<Case> = cases.collect();
    if cases.is_empty() {
        return vec![Block::text("Every example is answered rightly.")];
    }
    let all = number::counted(scored.len(), "example");
    let title = format!("{} of {all} that are not wholly right. {}", cases.len(), legend(task.shape()));
    vec![Block::heading("Examples that score lowest"), Block::text(title), Block::Cases(cases)]
}

fn case<T: Task>(task: &T, (example, prediction): &(&T::Example, T::Prediction), score: &Score) -> Case {
    let (asked, found) = (task.asked(example), task.answer(example, prediction));
    let outlined = T::FACES.checks.map(|checks| (checks.outline)(task, example).text.to_owned());
    let text = match &found {
        // A label, or a number, is of all that was asked, and says nothing of a part of it.
        Answer::Labels(_) | Answer::Number(_) => asked.clone(),
        _ => outlined.unwrap_or_else(|| asked.clone()),
    };
    let mut drawing = draw(&text, task.gold_answer(example).as_ref(), &found);
    if !drawing.text.iter().map(|piece| piece.text.as_str()).collect::<String>().contains(&asked) {
        drawing.facts.insert(0, ("asked".to_owned(), asked));
    }
    let value = score.headline_value();
    let tone = if value > 0.0 { Tone::Near } else { Tone::Bad };
    let verdict = format!("{} {}", number::words(&score.headline), number::decimal(value));
    drawing.case(verdict, tone, task.place(example).to_string())
}
