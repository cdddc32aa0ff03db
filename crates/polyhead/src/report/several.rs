//! The report of several runs side by side: one table, overlaid curves, mean and spread.
//!
//! The spread is the sample standard deviation over the runs. Where runs differ in more than their seed, it says so.

use super::curves::by_step;
use super::kept;
use super::parameters::{self, Sharing};
use super::run::Run;
use super::scores::{headline, points, shown};
use super::single::{best_score, encoder};
use super::timing::{self, Work};
use super::{Depth, curves};
use crate::document::number::{count, counted, decimal, duration, fine, mean_and_spread, plus_minus, short, words};
use crate::document::{Block, Chart, Document, Figure, Plot, Section, Series, Table};
use crate::error::{Error, Place, Result};
use crate::model::shares;
use crate::suite;
use crate::tasks::{Score, TaskKind};

/// The whole report.
pub fn document(runs: &[Run], kinds: &[TaskKind], depth: Depth, notify: &mut dyn FnMut(&str)) -> Result<Document> {
    for (at, run) in runs.iter().enumerate() {
        let real = |run: &Run| run.folder.canonicalize().unwrap_or_else(|_| run.folder.clone());
        if runs.iter().take(at).any(|other| real(other) == real(run)) {
            return Err(Error::usage("expected different runs, found one twice").at(Place::file(&run.folder)));
        }
    }
    let names = names(runs);
    let section = |title: &str, blocks: Vec<Block>| Section { title: title.to_owned(), blocks };
    let differ = differences(runs, &names);
    let models = models(runs, &names, kinds, depth, notify);
    let sections = vec![
        section("Summary", summary(runs, &names, &differ)),
        section("Scores", scores(runs, &names)),
        section("Losses", losses(runs, &names)),
        section("Learning rate and gradients", optimisation(runs, &names)),
        section("Parameters", models.parameters),
        section("Demonstration suite", models.suite),
        section("Time", time(runs, &names)),
        section("Recipes", recipes(runs, &names, differ)),
    ];
    let title = format!("{} runs: {}", runs.len(), names.join(", "));
    let subtitle = runs.first().and_then(|run| run.recipe.as_ref()).map_or(String::new(), encoder);
    Ok(Document { title, subtitle, sections })
}

/// The names of the runs, with their folders where two are called the same.
fn names(runs: &[Run]) -> Vec<String> {
    let twice = |run: &Run| runs.iter().filter(|other| other.name == run.name).count() > 1;
    runs.iter().map(|run| if twice(run) { run.folder.display().to_string() } else { run.name.clone() }).collect()
}

/// The tasks that any of the runs has, in order.
fn tasks(runs: &[Run]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in runs.iter().flat_map(Run::tasks) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Keys of the recipe whose values differ, with the value of each run. Names and places of runs do not count.
fn differences(runs: &[Run], names: &[String]) -> Table {
    let flat: Vec<Vec<(String, String)>> = runs
        .iter()
        .map(|run| {
            let mut rows = Vec::new();
            if let Some(table) = run.recipe_text.as_ref().and_then(|text| text.parse::<toml::Table>().ok()) {
                flatten("", &toml::Value::Table(table), &mut rows);
            }
            rows
        })
        .collect();
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in flat.iter().flatten() {
        if !keys.contains(&key) && key != "name" && key != "output" {
            keys.push(key);
        }
    }
    let mut table = Table::of_text("", &["key"]);
    names.iter().for_each(|name| table.column(name));
    for key in keys {
        let value = |rows: &Vec<(String, String)>| {
            rows.iter().find(|(other, _)| other == key).map_or("–".to_owned(), |(_, value)| value.clone())
        };
        let values: Vec<String> = flat.iter().map(value).collect();
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            table.row(std::iter::once(key.clone()).chain(values));
        }
    }
    table
}

fn flatten(name: &str, value: &toml::Value, rows: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(fields) => {
            for (key, value) in fields {
                flatten(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, rows);
            }
        }
        toml::Value::String(text) => rows.push((name.to_owned(), text.clone())),
        other => rows.push((name.to_owned(), other.to_string())),
    }
}

/// The values of a measure, of those runs that have it.
fn values(runs: &[Run], task: &str, measure: &str) -> Vec<f64> {
    runs.iter().filter_map(|run| best_score(run, task)?.get(measure)).collect()
}

/// What decides for a task, and how people call it.
fn deciding(runs: &[Run], task: &str) -> Option<(String, String)> {
    let score = runs.iter().find_map(|run| best_score(run, task))?;
    Some((score.headline.to_string(), headline(task, score)))
}

fn summary(runs: &[Run], names: &[String], differ: &Table) -> Vec<Block> {
    let tasks = tasks(runs);
    let decide: Vec<(String, String, String)> = tasks
        .iter()
        .filter_map(|task| deciding(runs, task).map(|(measure, name)| (task.clone(), measure, name)))
        .collect();
    let reached: Vec<String> = decide
        .iter()
        .map(|(task, measure, name)| format!("{name} {} %", plus_minus(&values(runs, task, measure), decimal)))
        .collect();
    let only_seed = differ.rows.iter().all(|row| row.cells.first().is_some_and(|cell| cell.text == "seed"));
    let what = match (differ.rows.is_empty(), only_seed) {
        (true, _) => "of the same recipe and seed",
        (_, true) => "of one recipe that differ in the seed alone",
        _ => "of recipes that differ in more than the seed",
    };
    let sentence = match reached.is_empty() {
        true => format!("{} {what}; none of them has scores.", counted(runs.len(), "run")),
        false => format!(
            "{} {what}: on the validation data the best models reach {} (mean ± sample standard deviation).",
            counted(runs.len(), "run"),
            reached.join(" and ")
        ),
    };
    let mut figures: Vec<Figure> = decide
        .iter()
        .map(|(task, measure, name)| {
            let values = values(runs, task, measure);
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Figure {
                name: format!("{name}, %"),
                value: plus_minus(&values, decimal),
                detail: format!("from {} to {}", decimal(low), decimal(high)),
            }
        })
        .collect();
    let rates: Vec<f64> = runs.iter().map(|run| Work::of(run.steps.iter()).rate()).collect();
    let totals: Vec<f64> = runs.iter().map(timing::total).collect();
    figures.push(Figure {
        name: "time of a run".into(),
        value: duration(mean_and_spread(&totals).0),
        detail: format!("mean; {} together", duration(totals.iter().sum())),
    });
    figures.push(Figure {
        name: "throughput".into(),
        value: format!("{}/s", short(mean_and_spread(&rates).0.round() as usize)),
        detail: "real tokens, while training".into(),
    });
    let mut table = Table::new("", &["run", "seed", "steps"]);
    decide.iter().for_each(|(_, _, name)| table.column(format!("{name}, %")));
    ["value", "best epoch", "time", "tokens/s"].iter().for_each(|name| table.column(*name));
    for (run, name) in runs.iter().zip(names) {
        let seed = run.recipe.as_ref().map_or("–".to_owned(), |recipe| recipe.seed.to_string());
        let score = |(task, measure, _): &(String, String, String)| {
            decimal(best_score(run, task).and_then(|score| score.get(measure)).unwrap_or(f64::NAN))
        };
        let best = run.best();
        let mut cells = vec![name.clone(), seed, count(run.steps.len())];
        cells.extend(decide.iter().map(score));
        cells.push(decimal(best.and_then(|best| best.value).unwrap_or(f64::NAN)));
        cells.push(best.map_or("–".into(), |best| best.epoch.to_string()));
        cells.push(duration(timing::total(run)));
        cells.push(count(Work::of(run.steps.iter()).rate().round() as usize));
        table.row(cells);
    }
    let mut mean = vec!["mean ± spread".to_owned(), String::new(), String::new()];
    mean.extend(decide.iter().map(|(task, measure, _)| plus_minus(&values(runs, task, measure), decimal)));
    let bests: Vec<f64> = runs.iter().filter_map(|run| run.best()?.value).collect();
    mean.push(plus_minus(&bests, decimal));
    mean.push(String::new());
    mean.push(duration(mean_and_spread(&totals).0));
    mean.push(plus_minus(&rates, |rate| count(rate.round() as usize)));
    table.strong(mean);
    let mut blocks = vec![Block::Text(sentence), Block::Figures(figures), Block::Table(table)];
    for (run, name) in runs.iter().zip(names) {
        if let (None, Some(plan)) = (&run.finished, &run.plan) {
            blocks.push(Block::Missing(format!(
                "{name} did not come to its end: {} of {} steps are recorded.",
                count(run.steps.len()),
                count(plan.steps)
            )));
        }
        blocks.extend(run.notes.iter().map(|note| Block::Missing(format!("{name}: {note}"))));
    }
    blocks
}

fn scores(runs: &[Run], names: &[String]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let tasks = tasks(runs);
    let mut charts = Vec::new();
    for task in &tasks {
        let Some(first) = runs.iter().find_map(|run| best_score(run, task)) else {
            blocks.push(Block::Missing(format!("No run has scores of {task}.")));
            continue;
        };
        blocks.push(Block::heading(task));
        blocks.push(Block::Table(measures(runs, names, task, first)));
        if !first.types.is_empty() {
            blocks.push(Block::Table(types(runs, names, task, first)));
        }
        let lines = runs.iter().zip(names).map(|(run, name)| Series::new(name, points(run, task)));
        charts.push(Block::Chart(Chart {
            title: format!("{} by epoch", headline(task, first)),
            x: "epoch".into(),
            y: "score (%)".into(),
            plot: Plot::Lines(lines.collect()),
            note: "On the validation data.".into(),
        }));
    }
    blocks.push(Block::heading("By epoch"));
    blocks.extend(charts);
    blocks
}

/// Every measure of a task: each run's value, mean and spread.
fn measures(runs: &[Run], names: &[String], task: &str, first: &Score) -> Table {
    let mut table = Table::new("Percentages (losses in nats), of the kept models.", &["measure"]);
    names.iter().for_each(|name| table.column(name));
    table.column("mean ± spread");
    for measure in first.values.keys() {
        let value = |run: &Run| best_score(run, task).and_then(|score| score.get(measure));
        let cells = runs.iter().map(|run| value(run).map_or("–".into(), |value| shown(measure, value)));
        let spread = match measure.as_str() {
            "questions" => String::new(),
            _ => plus_minus(&values(runs, task, measure), decimal),
        };
        let cells = std::iter::once(words(measure)).chain(cells).chain([spread]);
        if *measure == first.headline { table.strong(cells) } else { table.row(cells) }
    }
    table
}

/// F1 of each type: each run's value, mean and spread.
fn types(runs: &[Run], names: &[String], task: &str, first: &Score) -> Table {
    let mut table = Table::new("F1 by type, in per cent.", &["type", "gold"]);
    names.iter().for_each(|name| table.column(name));
    table.column("mean ± spread");
    for kind in &first.types {
        let of = |run: &Run| {
            let types = &best_score(run, task)?.types;
            types.iter().find(|other| other.name == kind.name).map(|found| found.f1)
        };
        let values: Vec<Option<f64>> = runs.iter().map(of).collect();
        let cells = values.iter().map(|value| decimal(value.unwrap_or(f64::NAN)));
        let there: Vec<f64> = values.iter().flatten().copied().collect();
        let head = [kind.name.clone(), count(kind.support)];
        table.row(head.into_iter().chain(cells).chain([plus_minus(&there, decimal)]));
    }
    table
}

fn losses(runs: &[Run], names: &[String]) -> Vec<Block> {
    let tasks = tasks(runs);
    let mut table = Table::new(
        "Mean training loss of the first and of the last epoch, and by how much it fell: mean ± spread over the runs.",
        &["loss", "first epoch", "last epoch", "reduction, %"],
    );
    let mut row = |name: &str, of: &dyn Fn(&Run) -> Vec<(usize, f64)>| {
        let ends = runs.iter().filter_map(|run| {
            let losses = of(run);
            Some((losses.first()?.1, losses.last()?.1))
        });
        let ends: Vec<(f64, f64)> = ends.collect();
        let column = |of: fn(&(f64, f64)) -> f64| ends.iter().map(of).collect::<Vec<_>>();
        let cells = [
            name.to_owned(),
            plus_minus(&column(|ends| ends.0), fine),
            plus_minus(&column(|ends| ends.1), fine),
            plus_minus(&column(|ends| 100.0 * (ends.0 - ends.1) / ends.0), decimal),
        ];
        if name == "total" { table.strong(cells) } else { table.row(cells) }
    };
    for task in &tasks {
        row(task, &|run| curves::losses_by_epoch(run, task));
    }
    row("total", &curves::totals_by_epoch);
    let pairs = || runs.iter().zip(names);
    let totals = pairs().map(|(run, name)| curves::total_line(run, name)).collect();
    let note = "The weighted sum of the tasks' smoothed losses.";
    let mut blocks = vec![Block::Table(table), by_step("Total loss by step", "loss (nats)", totals, note)];
    for task in &tasks {
        let lines = pairs().map(|(run, name)| curves::loss_line(run, task, name)).collect();
        let note = "The mean over a twentieth of the steps around each.";
        blocks.push(by_step(&format!("Loss of {task} by step"), "loss (nats)", lines, note));
    }
    let lines: Vec<_> = pairs().map(|(run, name)| curves::epochs_line(name, &curves::totals_by_epoch(run))).collect();
    blocks.push(Block::Chart(Chart {
        title: "Total loss by epoch".into(),
        x: "epoch".into(),
        y: "mean loss (nats)".into(),
        plot: Plot::Lines(lines),
        note: "The mean over the steps of each epoch, while training.".into(),
    }));
    blocks
}

fn optimisation(runs: &[Run], names: &[String]) -> Vec<Block> {
    let rates = runs.iter().zip(names).map(|(run, name)| curves::learning_rate(run, name)).collect();
    let mut blocks = vec![by_step("Learning rate", "learning rate", rates, "Equal ones lie on each other.")];
    for task in tasks(runs) {
        let line = |(run, name): (&Run, &String)| {
            let norms = curves::gradient_norms(run).into_iter().find(|series| series.name == task)?;
            Some(crate::document::Series { name: name.clone(), ..norms })
        };
        let lines: Vec<_> = runs.iter().zip(names).filter_map(line).collect();
        if !lines.is_empty() {
            let title = format!("Norm of the gradient in the steps of {task}");
            blocks.push(by_step(
                &title,
                "norm",
                lines,
                "Before clipping; the mean over a twentieth of the steps around each.",
            ));
        }
    }
    let cosines = |run: &Run| {
        let all =
            run.diagnoses.iter().flat_map(|diagnosed| &diagnosed.diagnosis.cosines).filter_map(|pair| pair.cosine);
        all.collect::<Vec<f64>>()
    };
    if runs.iter().any(|run| !run.diagnoses.is_empty()) {
        let mut table = Table::new(
            "Cosine between the tasks' gradients on the shared encoder. Below 0 they pull in opposite directions.",
            &["run", "samples", "mean cosine", "below 0, %"],
        );
        for (run, name) in runs.iter().zip(names) {
            let values = cosines(run);
            let below = values.iter().filter(|value| **value < 0.0).count();
            let share = 100.0 * below as f64 / values.len() as f64;
            table.row([name.clone(), count(values.len()), fine(mean_and_spread(&values).0), decimal(share)]);
        }
        blocks.push(Block::Table(table));
    }
    blocks
}

/// What the kept models say.
struct Models {
    parameters: Vec<Block>,
    suite: Vec<Block>,
}

/// Opens one model after the other: they need not fit into memory together.
fn models(runs: &[Run], names: &[String], kinds: &[TaskKind], depth: Depth, notify: &mut dyn FnMut(&str)) -> Models {
    let mut parts: Vec<Block> = Vec::new();
    let mut table = Table::new("", &["run", "parameters", "saved against separate models, %"]);
    let mut cases = Table::new(
        "Cases with gold answers; the report of each run shows them one by one.",
        &[
            "run",
            "sentences right",
            "entities found",
            "questions exact",
            "questions, mean F1 %",
            "parts of speech",
            "texts",
            "relations",
            "words of trees",
        ],
    );
    let (mut counted, mut missing) = (Vec::new(), Vec::new());
    for (run, name) in runs.iter().zip(names) {
        let session = match kept::session(run, kinds, depth, notify) {
            Ok(session) => session,
            Err(why) => {
                missing.push(Block::Missing(format!("{name}: {why}")));
                continue;
            }
        };
        let shares = shares(&session.model.shapes());
        let sharing = Sharing::of(&shares);
        table.row([name.clone(), count(sharing.total), decimal(sharing.saving())]);
        counted.push(shares);
        if let Ok(report) = suite::run(&session) {
            let totals = &report.totals;
            let of = |right: usize, all: usize| if all == 0 { "–".into() } else { format!("{right} of {all}") };
            let (sentences, questions) = (report.sentences.len(), report.questions.len());
            let f1 = if questions == 0 { f64::NAN } else { totals.questions_f1 };
            cases.row([
                name.clone(),
                of(totals.sentences_right, sentences),
                of(totals.entities_correct, totals.entities_gold),
                of(totals.questions_right, questions),
                decimal(f1),
                of(totals.words_correct, totals.words_gold),
                of(totals.texts_right, report.texts.len()),
                of(totals.relations_right, report.relations.len()),
                of(totals.arcs_correct, totals.arcs_gold),
            ]);
        }
    }
    match counted.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => {
            parts.push(Block::text("The models have the same parts."));
            parts.extend(parameters::blocks(first));
        }
        Some(_) => parts.push(Block::Table(table)),
        None => {}
    }
    parts.extend(missing.iter().cloned());
    let mut suite = Vec::new();
    if !cases.rows.is_empty() {
        suite.push(Block::Table(cases));
    } else if missing.is_empty() {
        suite.push(Block::Missing("The suite has no cases for the tasks of these models.".into()));
    }
    suite.extend(missing);
    Models { parameters: parts, suite }
}

fn time(runs: &[Run], names: &[String]) -> Vec<Block> {
    let mut table =
        Table::new("", &["run", "steps", "tokens", "time of the steps", "evaluation", "all", "tokens a second"]);
    for (run, name) in runs.iter().zip(names) {
        let work = Work::of(run.steps.iter());
        table.row([
            name.clone(),
            count(work.steps),
            count(work.tokens),
            duration(work.seconds),
            duration(timing::evaluation(run)),
            duration(timing::total(run)),
            count(work.rate().round() as usize),
        ]);
    }
    vec![Block::Table(table)]
}

fn recipes(runs: &[Run], names: &[String], differ: Table) -> Vec<Block> {
    let mut blocks = Vec::new();
    if differ.rows.is_empty() {
        blocks.push(Block::text("The recipes are the same, names and folders apart."));
    } else {
        blocks.push(Block::text("In what the recipes differ, names and folders apart:"));
        blocks.push(Block::Table(differ));
    }
    for (run, name) in runs.iter().zip(names).take(1) {
        match &run.recipe_text {
            Some(text) => {
                blocks.push(Block::heading(format!("The recipe of {name}")));
                blocks.push(Block::Code(text.trim_end().to_owned()));
            }
            None => blocks.push(Block::Missing(format!("{name} has no recipe.toml."))),
        }
    }
    blocks.push(Block::text("Predictions, data and the cases of the suite are in the report of each run."));
    blocks
}
