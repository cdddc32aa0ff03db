//! What a report says of predicted entities: which type is taken for which, boundary and type errors apart, the
//! sentences with most errors.

use super::{Labelled, Ner, Tagged};
use crate::document::number::{count, percent};
use crate::document::{Block, Case, Cell, Look, Table, Tone};
use crate::metrics::span_errors::{OUTCOMES, Outcome, Pair, pair};
use crate::metrics::span_f1::Span;
use crate::tasks::Shape;
use crate::tasks::drawing::{legend, spans};
use std::collections::BTreeMap;

/// So many sentences are shown.
const SHOWN: usize = 12;
/// Beside the types: nothing predicted, or nothing gold.
const NOTHING: &str = "nothing";

/// A sentence with its entities, paired.
struct Judged<'a> {
    example: &'a Tagged,
    gold: Vec<Span>,
    found: Vec<Span>,
    pairs: Vec<Pair>,
}

impl Judged<'_> {
    /// The types of a pair, gold first.
    fn kinds(&self, pair: &Pair) -> (&str, &str) {
        (
            pair.gold.and_then(|at| self.gold.get(at)).map_or(NOTHING, |span| &span.kind),
            pair.predicted.and_then(|at| self.found.get(at)).map_or(NOTHING, |span| &span.kind),
        )
    }

    fn errors(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.outcome != Outcome::Correct).count()
    }
}

pub(super) fn blocks(task: &Ner, predictions: &[(&Tagged, Labelled)]) -> Vec<Block> {
    let notation = task.notation();
    let judged: Vec<Judged> = predictions
        .iter()
        .map(|(example, prediction)| {
            let (gold, found) = (notation.entities(&example.tags), notation.entities(&prediction.tags));
            let pairs = pair(&gold, &found);
            Judged { example, gold, found, pairs }
        })
        .collect();
    let kinds = kinds(task);
    let mut blocks = vec![
        Block::heading("Kinds of errors"),
        Block::Table(outcomes(&kinds, &judged)),
        Block::heading("Which type is taken for which"),
        Block::Table(confusion(&kinds, &judged)),
    ];
    let worst = worst(&judged);
    if !worst.is_empty() {
        blocks.push(Block::heading("Sentences with most errors"));
        blocks.push(Block::text(legend(Shape::Spans)));
        blocks.push(Block::Cases(worst));
    }
    blocks
}

/// The types that can be predicted, in the order of the labels.
fn kinds(task: &Ner) -> Vec<String> {
    let notation = task.notation();
    let mut kinds: Vec<String> = Vec::new();
    for label in &task.config.labels {
        if let Some(kind) = notation.kind(label)
            && !kinds.iter().any(|known| known == kind)
        {
            kinds.push(kind.to_owned());
        }
    }
    kinds
}

/// A row a type: gold entities by outcome; spurious ones under the type that was predicted.
fn outcomes(kinds: &[String], judged: &[Judged]) -> Table {
    let mut counts: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    for one in judged {
        for pair in &one.pairs {
            let (gold, found) = one.kinds(pair);
            let kind = if pair.outcome == Outcome::Spurious { found } else { gold };
            *counts.entry((kind, pair.outcome)).or_default() += 1;
        }
    }
    let mut table = Table::new(
        "Gold entities by what came of them, and predicted ones that are none (spurious, under the predicted type).",
        &["type", "gold"],
    );
    OUTCOMES.iter().for_each(|outcome| table.column(outcome.name()));
    table.column("found, %");
    let row = |name: &str, of: &dyn Fn(Outcome) -> usize| {
        let gold: usize = OUTCOMES.iter().filter(|outcome| **outcome != Outcome::Spurious).map(|one| of(*one)).sum();
        let mut cells = vec![Cell::from(name), count(gold).into()];
        cells.extend(OUTCOMES.iter().map(|outcome| Cell::from(count(of(*outcome)))));
        cells.push(Cell::percent(percent(of(Outcome::Correct), gold)));
        cells
    };
    for kind in kinds {
        table.row(row(kind, &|outcome| counts.get(&(kind.as_str(), outcome)).copied().unwrap_or(0)));
    }
    let all =
        |outcome: Outcome| counts.iter().filter(|((_, one), _)| *one == outcome).map(|(_, count)| count).sum::<usize>();
    table.strong(row("all", &all));
    table
}

/// Gold types down, predicted types across. The ground of a cell is its share of the row.
fn confusion(kinds: &[String], judged: &[Judged]) -> Table {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in judged {
        for pair in &one.pairs {
            *counts.entry(one.kinds(pair)).or_default() += 1;
        }
    }
    let mut table = Table::new(
        "Gold types down, predicted types across. Entities that share words belong together, also where their \
         boundaries differ; the darker a cell, the larger its share of the row.",
        &["gold \\ predicted"],
    );
    let names = || kinds.iter().map(String::as_str).chain([NOTHING]);
    names().for_each(|name| table.column(name));
    for gold in names() {
        let row: Vec<usize> = names().map(|found| counts.get(&(gold, found)).copied().unwrap_or(0)).collect();
        let sum: usize = row.iter().sum();
        let cell = |(found, &number): (&str, &usize)| match (gold, found) {
            (NOTHING, NOTHING) => Cell::default(),
            _ => Cell { text: count(number), look: Look::Heat(percent(number, sum) / 100.0) },
        };
        table.row(std::iter::once(Cell::from(gold)).chain(names().zip(&row).map(cell)));
    }
    table
}

/// The sentences with most errors, in the order of the file where equal.
fn worst(judged: &[Judged]) -> Vec<Case> {
    let mut order: Vec<&Judged> = judged.iter().filter(|one| one.errors() > 0).collect();
    order.sort_by_key(|one| std::cmp::Reverse(one.errors()));
    order.into_iter().take(SHOWN).map(case).collect()
}

fn case(one: &Judged) -> Case {
    let errors = one.errors();
    let placed = |spans: &[Span]| -> Vec<Span> {
        let words = &one.example.words.ranges;
        let bytes = |span: &Span| match words.get(span.start..span.end) {
            Some([first, .., last]) => first.start..last.end,
            Some([word]) => word.clone(),
            _ => 0..0,
        };
        let span = |span: &Span| Span { kind: span.kind.clone(), start: bytes(span).start, end: bytes(span).end };
        spans.iter().map(span).collect()
    };
    let drawing = spans(&one.example.words.text, &placed(&one.gold), &placed(&one.found), &one.pairs);
    let right = one.pairs.iter().any(|pair| pair.outcome == Outcome::Correct);
    let verdict = format!("{errors} {}", if errors == 1 { "error" } else { "errors" });
    drawing.case(verdict, if right { Tone::Near } else { Tone::Bad }, one.example.place().to_string())
}
