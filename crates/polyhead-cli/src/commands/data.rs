//! `polyhead data`: what a recipe trains on, and what had to be left out. Nothing is dropped silently.

use super::{Format, train};
use crate::out::Out;
use crate::table::{Align, Table, count, counted, percent};
use polyhead::Result;
use polyhead::recipe::Recipe;
use polyhead::report::data::{BIN, DataReport, Split, TaskSplits, data_report};
use polyhead::tasks::TASKS;
use polyhead::train::{Plan, prepare};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead data recipes/quickstart.toml
  polyhead data recipes/report.toml --set data.qa.limit=500 --json

The encoder is needed for its tokenizer, and is downloaded if it is not there.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Override a value of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let prepared = prepare(&recipe, TASKS, &mut |note| out.note(note))?;
    let report = data_report(&prepared, Plan::new(&recipe, &prepared)?)?;
    if args.format.json { out.json(&report) } else { print(&report, out) }
}

fn print(report: &DataReport, out: &mut Out) -> Result<()> {
    out.heading("Plan")?;
    out.line(train::plan_table(&report.plan))?;
    out.line(train::steps(&report.plan))?;
    train::lost(&report.plan).iter().try_for_each(|line| out.line(line))?;
    report.plan.warnings.iter().try_for_each(|warning| out.line(warning))?;
    for task in &report.tasks {
        for of_split in &task.splits {
            split(task, of_split, out)?;
        }
    }
    Ok(())
}

/// So many labels are named; all of them are in the JSON.
const MOST_LABELS: usize = 50;

fn split(task: &TaskSplits, split: &Split, out: &mut Out) -> Result<()> {
    out.heading(&format!("\n{}: {}", task.name, split.name))?;
    if !task.labels.is_empty() {
        let (all, shown) = (task.labels.len(), task.labels.len().min(MOST_LABELS));
        let names = task.labels.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(" ");
        let rest = if all > shown { format!(" and {} more", count(all - shown)) } else { String::new() };
        out.line(format!("{}: {names}{rest}", counted(all, "label")))?;
    }
    let mut facts = Table::new(&[("", Align::Left), ("", Align::Right)]);
    facts.row(["examples", &count(split.examples)]);
    facts.row(["skipped", &count(split.skipped.len())]);
    facts.row(["windows", &count(split.windows)]);
    facts.row(["tokens", &count(split.tokens)]);
    facts.row([format!("longest window (at most {})", task.max_length), count(split.longest)]);
    facts.row(["tokens lost by truncation", &count(split.lost.tokens)]);
    facts.row(["gold answers lost by truncation", &count(split.lost.golds)]);
    for (name, number) in &split.distribution {
        facts.row([name.clone(), count(*number)]);
    }
    out.line(facts)?;
    if split.windows_per_example.len() > 1 {
        let mut table = Table::new(&[("windows of an example", Align::Right), ("examples", Align::Right)]);
        for (windows, examples) in &split.windows_per_example {
            table.row([count(*windows), count(*examples)]);
        }
        out.line(format!("\n{table}"))?;
    }
    out.line(format!("\n{}", histogram(split)))?;
    for note in &split.notes {
        out.line(format!("note: {note}"))?;
    }
    for skipped in &split.skipped {
        out.line(format!("skipped: {}: {}: {}", skipped.place, skipped.example, skipped.reason))?;
    }
    Ok(())
}

/// Lengths in bins, with bars of up to forty marks.
fn histogram(split: &Split) -> Table {
    let mut table = Table::new(&[
        ("tokens", Align::Right),
        ("windows", Align::Right),
        ("per cent", Align::Right),
        ("", Align::Left),
    ]);
    let most = split.lengths.values().copied().max().unwrap_or(0).max(1);
    for (&first, &windows) in &split.lengths {
        let bar = "#".repeat((40 * windows).div_ceil(most));
        table.row([format!("{first}-{}", first + BIN - 1), count(windows), percent(windows, split.windows), bar]);
    }
    table
}
