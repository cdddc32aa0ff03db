//! Scores: those of the kept model, whole; those of every epoch, by what decides.

use super::run::Run;
use crate::document::number::{count, decimal, fine, words};
use crate::document::{Block, Cell, Chart, Plot, Series, Table};
use crate::events::Evaluated;
use crate::tasks::{Score, TypeScore};

/// The measures of a score: its means with precision, recall and F1 side by side, and what else there is.
struct Measures {
    means: Vec<(String, [f64; 3])>,
    rest: Vec<(String, f64)>,
}

fn measures(score: &Score) -> Measures {
    let strict = score.values.keys().any(|name| name.ends_with("_strict"));
    let (mut means, mut rest, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for name in score.values.keys() {
        let Some((stem, end)) = name.split_once("_precision") else { continue };
        let names = ["precision", "recall", "f1"].map(|measure| format!("{stem}_{measure}{end}"));
        let values: Vec<f64> = names.iter().filter_map(|name| score.get(name)).collect();
        let Ok(values) = <[f64; 3]>::try_from(values) else { continue };
        used.extend(names);
        let scheme = match end {
            "" if strict => ", lenient".to_owned(),
            "_strict" => ", strict IOB2".to_owned(),
            end => words(end),
        };
        means.push((format!("{}{scheme}", words(stem)), values));
    }
    for name in score.values.keys().filter(|name| !used.contains(name)) {
        rest.extend(score.get(name).map(|value| (name.clone(), value)));
    }
    Measures { means, rest }
}

/// A value as it is shown: a count, or a percentage.
pub fn shown(name: &str, value: f64) -> String {
    // What is a threshold is no percentage either, but reads well with two decimals.
    match name {
        "questions" => count(value as usize),
        "loss" | "mse" | "mae" => fine(value),
        _ => decimal(value),
    }
}

/// The unit of a value.
fn unit(name: &str) -> &'static str {
    match name {
        "questions" => "",
        "loss" => " (nats)",
        "mse" | "mae" => "",
        name if name.ends_with("threshold") => "",
        _ => ", %",
    }
}

/// The scores of a model, task by task.
pub fn whole(evaluated: &Evaluated) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (task, score) in &evaluated.scores {
        blocks.push(Block::heading(task));
        let Measures { means, rest } = measures(score);
        if !means.is_empty() {
            let mut table = Table::new("", &["mean", "precision, %", "recall, %", "F1, %"]);
            for (name, [precision, recall, f1]) in means {
                table.row([name.into(), decimal(precision).into(), decimal(recall).into(), Cell::percent(f1)]);
            }
            blocks.push(Block::Table(table));
        }
        if !score.types.is_empty() {
            blocks.push(Block::Table(types(&score.types)));
        }
        if !rest.is_empty() {
            let mut table = Table::new("", &["measure", "value"]);
            for (name, value) in rest {
                let (unit, shown) = (unit(&name), shown(&name, value));
                let bar = if unit == ", %" { Cell::percent(value) } else { Cell::from(shown) };
                table.row([Cell::from(format!("{}{unit}", words(&name))), bar]);
            }
            blocks.push(Block::Table(table));
        }
    }
    blocks
}

fn types(types: &[TypeScore]) -> Table {
    let mut table = Table::new("", &["type", "gold", "precision, %", "recall, %", "F1, %"]);
    for kind in types {
        table.row([
            Cell::from(kind.name.clone()),
            count(kind.support).into(),
            decimal(kind.precision).into(),
            decimal(kind.recall).into(),
            Cell::percent(kind.f1),
        ]);
    }
    table
}

/// The value that decides of a task, if it has one.
pub fn headline_value(evaluated: &Evaluated, task: &str) -> Option<f64> {
    let score = evaluated.scores.get(task)?;
    score.get(&score.headline)
}

/// The headline of a task for people: `ner micro F1`.
pub fn headline(task: &str, score: &Score) -> String {
    format!("{task} {}", words(&score.headline))
}

/// What decides, in every epoch: a table, and a chart of more than one epoch.
pub fn by_epoch(run: &Run) -> Vec<Block> {
    let Some(first) = run.evaluations.first() else { return Vec::new() };
    let mut table = Table::new("Strong: the epoch whose model is kept.", &["epoch"]);
    first.scores.iter().for_each(|(task, score)| table.column(format!("{}, %", headline(task, score))));
    table.column("value by which epochs are compared");
    let best = run.best().map(|best| (best.epoch, best.step));
    for evaluated in &run.evaluations {
        let scores = first.scores.keys().map(|task| headline_value(evaluated, task));
        let cells = scores.chain([evaluated.value]).map(|value| decimal(value.unwrap_or(f64::NAN)));
        let at = run.epochs_at(evaluated);
        let at = if at.fract() == 0.0 { at.to_string() } else { decimal(at) };
        let cells = std::iter::once(at).chain(cells);
        if best == Some((evaluated.epoch, evaluated.step)) { table.strong(cells) } else { table.row(cells) }
    }
    let mut blocks = vec![Block::Table(table)];
    if run.evaluations.len() > 1 {
        let line = |(task, score): (&String, &Score)| Series::new(headline(task, score), points(run, task));
        blocks.push(Block::Chart(Chart {
            title: "Scores by epoch".into(),
            x: "epoch".into(),
            y: "score (%)".into(),
            plot: Plot::Lines(first.scores.iter().map(line).collect()),
            note: "On the validation data.".into(),
        }));
    }
    blocks
}

/// The headline value of a task at each evaluation, which stands after so many epochs.
pub fn points(run: &Run, task: &str) -> Vec<(f64, f64)> {
    let of = |evaluated: &Evaluated| Some((run.epochs_at(evaluated), headline_value(evaluated, task)?));
    run.evaluations.iter().filter_map(of).collect()
}
