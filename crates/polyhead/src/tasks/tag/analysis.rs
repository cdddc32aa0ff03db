//! What a report says of the labels of words: which is taken for which, with examples; the sentences with most errors; and how the
//! words that training never saw fare beside the others.

use super::{Counts, Sentence, Tag, Tags};
use crate::document::number::{count, counted, percent};
use crate::document::{Block, Case, Cell, Table, Tone};
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task, confusion};
use std::collections::{BTreeMap, BTreeSet};

/// So many confusions are shown with examples, and so many examples of each.
const CONFUSIONS: usize = 15;
const EXAMPLES: usize = 3;
/// So many words stand on each side of such a word.
const AROUND: usize = 2;
/// So many sentences are shown.
const SENTENCES: usize = 12;

/// A word with its gold label and the predicted one.
struct Judged<'a> {
    /// Which word of the sentence it is.
    at: usize,
    word: &'a str,
    gold: &'a str,
    predicted: Option<&'a str>,
}

/// The words of a sentence that have a gold label.
fn judged<'a>(task: &'a Tag, example: &'a Sentence, prediction: &'a Tags) -> impl Iterator<Item = Judged<'a>> {
    let words = example.words.words().into_iter().zip(&example.tags).zip(&prediction.0).enumerate();
    words.filter_map(|(at, ((word, gold), predicted))| {
        Some(Judged { at, word, gold: gold.as_deref()?, predicted: task.label(predicted).map(|(label, _)| label) })
    })
}

/// A word in brackets between its neighbours.
fn in_context(example: &Sentence, at: usize) -> String {
    let words = example.words.words();
    let part = |range: std::ops::Range<usize>| words.get(range).unwrap_or(&[]).join(" ");
    let (from, to) = (at.saturating_sub(AROUND), (at + 1 + AROUND).min(words.len()));
    format!("{} [{}] {}", part(from..at), part(at..at + 1), part(at + 1..to)).trim().to_owned()
}

fn errors(task: &Tag, example: &Sentence, prediction: &Tags) -> usize {
    judged(task, example, prediction).filter(|one| one.predicted != Some(one.gold)).count()
}

pub(super) fn blocks(task: &Tag, predictions: &[(&Sentence, Tags)]) -> Vec<Block> {
    let mut counts = Counts::default();
    predictions.iter().for_each(|(example, prediction)| task.count(example, prediction, &mut counts));
    let (labels, confusion) = task.confusion(&counts);
    let mut blocks = confusion::blocks(&labels, &confusion);
    let pairs = confusion::pairs(labels.len(), &confusion);
    let name = |at: usize| labels.get(at).map_or("", String::as_str);
    let mut shown: BTreeMap<(&str, &str), Vec<String>> = pairs
        .iter()
        .take(CONFUSIONS)
        .map(|&(gold, predicted, _)| ((name(gold), name(predicted)), Vec::new()))
        .collect();
    let mut worst: Vec<(usize, &(&Sentence, Tags))> = Vec::new();
    for one in predictions {
        let (example, prediction) = one;
        for Judged { at, gold, predicted, .. } in judged(task, example, prediction) {
            if let Some(words) = predicted.and_then(|predicted| shown.get_mut(&(gold, predicted)))
                && words.len() < EXAMPLES
            {
                words.push(in_context(example, at));
            }
        }
        worst.push((errors(task, example, prediction), one));
    }
    if pairs.is_empty() {
        blocks.push(Block::text("Every word has its gold label."));
        return blocks;
    }
    let columns = ["gold", "predicted", "times", "the first words, in brackets"];
    let mut table = Table::of_text("The most frequent confusions.", &columns);
    for (gold, predicted, times) in pairs.iter().take(CONFUSIONS) {
        let (gold, predicted) = (name(*gold), name(*predicted));
        let words = shown.get(&(gold, predicted)).map_or(String::new(), |words| words.join(" · "));
        table.row([gold.to_owned(), predicted.to_owned(), count(*times as usize), words]);
    }
    blocks.push(Block::Table(table));
    worst.retain(|(errors, _)| *errors > 0);
    // In the order of the file where equal.
    worst.sort_by_key(|(errors, _)| std::cmp::Reverse(*errors));
    blocks.push(Block::heading("Sentences with most errors"));
    blocks.push(Block::text(legend(Shape::Spans)));
    blocks.push(Block::Cases(worst.into_iter().take(SENTENCES).map(|(errors, one)| case(task, errors, one)).collect()));
    blocks
}

fn case(task: &Tag, errors: usize, (example, prediction): &(&Sentence, Tags)) -> Case {
    let (gold, found) = (task.gold_answer(example), task.answer(example, prediction));
    let labelled = example.tags.iter().flatten().count();
    let verdict = format!("{} in {}", counted(errors, "error"), counted(labelled, "word"));
    let tone = if errors < labelled { Tone::Near } else { Tone::Bad };
    draw(&example.words.text, gold.as_ref(), &found).case(verdict, tone, example.words.place.to_string())
}

/// What a word was in training.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    WithThisLabel,
    WithOthersOnly,
    Never,
}

impl Seen {
    const ALL: [Self; 3] = [Self::WithThisLabel, Self::WithOthersOnly, Self::Never];

    const fn name(self) -> &'static str {
        match self {
            Self::WithThisLabel => "seen with their gold label",
            Self::WithOthersOnly => "seen, with other labels only",
            Self::Never => "never seen",
        }
    }
}

pub(super) fn against_training(task: &Tag, train: &[Sentence], predictions: &[(&Sentence, Tags)]) -> Vec<Block> {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for example in train {
        for (word, label) in example.words.words().into_iter().zip(&example.tags) {
            known.entry(word).or_default().extend(label.as_deref());
        }
    }
    let mut counts: BTreeMap<Seen, (usize, usize)> = BTreeMap::new(); // words, right ones
    for (example, prediction) in predictions {
        for Judged { word, gold, predicted, .. } in judged(task, example, prediction) {
            let seen = match known.get(word) {
                None => Seen::Never,
                Some(labels) if labels.contains(gold) => Seen::WithThisLabel,
                Some(_) => Seen::WithOthersOnly,
            };
            let (words, right) = counts.entry(seen).or_default();
            *words += 1;
            *right += usize::from(predicted == Some(gold));
        }
    }
    let (all, right) = counts.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let mut table = Table::new(
        "Words as they are written, capital letters included, by what they were in the examples that were trained on.",
        &["words", "number", "right", "right, %"],
    );
    let row = |name: &str, (words, right): (usize, usize)| {
        [Cell::from(name), count(words).into(), count(right).into(), Cell::percent(percent(right, words))]
    };
    for seen in Seen::ALL {
        table.row(row(seen.name(), counts.get(&seen).copied().unwrap_or_default()));
    }
    table.strong(row("all", (all, right)));
    vec![Block::heading("Words that training saw, and words that it did not"), Block::Table(table)]
}
