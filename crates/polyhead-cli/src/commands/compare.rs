//! `polyhead compare`: a recipe trained jointly and task by task over several seeds, and whether sharing helped.

use super::Format;
use crate::out::Out;
use crate::progress::{Show, Training, duration};
use crate::table::{Align, Table, decimal};
use polyhead::compare::{Comparison, Opened, Page, Side, default_seeds};
use polyhead::recipe::Recipe;
use polyhead::train::{Evaluated, Event, Trainer};
use polyhead::{Error, Place, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead compare recipes/quickstart.toml
  polyhead compare recipes/report.toml --seeds 42,43,44,45,46 --set train.epochs=1
  polyhead compare recipes/report.toml --json --quiet > comparison.json

For each seed one joint run and a run of each task alone, at equal budgets, all in OUTPUT/NAME-compare. The same
command goes on with a comparison that was interrupted; more --seeds add to one that is done.
docs/compare.md says what is compared and how to read the intervals.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML); two tasks or more, each with validation data
    recipe: PathBuf,
    /// The seeds [default: the recipe's and the two after it]
    #[arg(long, value_name = "SEED,...", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Override a value of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// No progress and no notes
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let show = if args.quiet { Show::Nothing } else { Show::Progress };
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let seeds = if args.seeds.is_empty() { default_seeds(recipe.seed) } else { args.seeds.clone() };
    let page = {
        // What every run says again is said once.
        let mut said = BTreeSet::new();
        let mut note = |text: &str| {
            if show == Show::Progress && said.insert(text.to_owned()) {
                out.note(text);
            }
        };
        let comparison = Comparison::open(recipe, &seeds, &mut note)?;
        note(&format!("comparison folder: {}", comparison.folder().display()));
        let runs = comparison.runs();
        for (at, run) in runs.iter().enumerate() {
            let place = format!("run {} of {}: {}", at + 1, runs.len(), run.name());
            let named = |error: Error| error.at_least(Place::file(run.name()));
            if comparison.is_finished(run).map_err(named)? {
                note(&format!("{place}, finished before"));
                continue;
            }
            if show == Show::Progress {
                out.note_heading(&format!("\n{place}"));
            }
            if let Opened::Training(trainer) = comparison.open_run(run, &mut note).map_err(named)? {
                train(*trainer, show, out)?;
            }
        }
        let report = comparison.conclude()?;
        let folder = comparison.folder().display();
        note(&format!("\nwritten: {folder}/comparison.md, {folder}/comparison.json"));
        if args.format.json {
            return out.json(&report);
        }
        report.page()
    };
    print(&page, out)
}

/// Trains one run to its end.
fn train(trainer: Trainer, show: Show, out: &Out) -> Result<()> {
    let folder = trainer.folder().to_owned();
    let mut progress = Training::new(show);
    let mut finished = false;
    for event in trainer {
        match event.inspect_err(|_| progress.finish())? {
            Event::Planned(plan) => progress.plan(&plan),
            Event::Step(step) => progress.step(&step, out),
            Event::Evaluated(evaluated) => progress.say(|| out.note(epoch(&evaluated))),
            other => {
                if let Event::Finished(end) = other {
                    finished = true;
                    progress.finish();
                    progress.say(|| out.note(progress.summary(end.steps)));
                }
            }
        }
    }
    if finished {
        return Ok(());
    }
    progress.finish();
    Err(Error::internal("the run stopped before its end")
        .at(Place::file(folder))
        .hint("the same command goes on with the comparison"))
}

/// `epoch 1: ner micro_f1 80.12, qa f1 44.10; evaluated in 4 s`
fn epoch(evaluated: &Evaluated) -> String {
    let scores: Vec<String> = evaluated
        .scores
        .iter()
        .map(|(task, score)| format!("{task} {} {}", score.headline, decimal(score.headline_value())))
        .collect();
    format!("epoch {}: {}; evaluated in {}", evaluated.epoch, scores.join(", "), duration(evaluated.seconds))
}

fn print(page: &Page, out: &mut Out) -> Result<()> {
    out.heading(&page.title)?;
    for paragraph in &page.summary {
        out.line(wrapped(paragraph))?;
    }
    for section in &page.sections {
        out.heading(&format!("\n{}", section.heading))?;
        if !section.columns.is_empty() {
            let align = |side| if side == Side::Right { Align::Right } else { Align::Left };
            let columns: Vec<(&str, Align)> =
                section.columns.iter().map(|column| (column.name.as_str(), align(column.side))).collect();
            let mut table = Table::new(&columns);
            for row in &section.rows {
                table.row(row.iter().cloned());
            }
            out.line(format!("{table}\n"))?;
        }
        if let Some(command) = &section.command {
            out.line(format!("    {command}\n"))?;
        }
        let text: Vec<String> = section.text.iter().map(|paragraph| wrapped(paragraph)).collect();
        out.line(text.join("\n\n"))?;
    }
    Ok(())
}

/// A paragraph in lines of at most a hundred characters.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= 100 => *last += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_at_words_and_lose_none() {
        let text = "word ".repeat(50) + &"x".repeat(120);
        let wrapped = wrapped(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 120 && !line.contains("  ")));
        assert_eq!(wrapped.lines().count(), 4);
        assert_eq!(wrapped.replace('\n', " "), text);
    }
}
