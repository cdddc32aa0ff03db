//! `polyhead compare`: a recipe trained jointly and task by task over several seeds, and whether sharing helped.

use super::Format;
use crate::document;
use crate::out::Out;
use crate::progress::Show;
use crate::runs::{self, Ending};
use crate::signals::Signals;
use polyhead::compare::{Comparison, Kept, Opened, default_seeds};
use polyhead::recipe::Recipe;
use polyhead::{Error, Place, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead compare recipes/quickstart.toml
  polyhead compare recipes/report.toml --seeds 42,43,44,45,46 --set train.epochs=1
  polyhead compare recipes/report.toml --json --quiet > comparison.json

For each seed one joint run and a run of each task alone, at equal budgets, all in OUTPUT/NAME-compare. The same
command goes on with a comparison that was interrupted; more --seeds add to one that is done. Ctrl-C and SIGTERM
finish the step, save a checkpoint and exit with 130 and 143.
Of finished runs the models of the first seed stay, those of the other seeds and all checkpoints go, unless --keep-models.
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
    /// Keep the models of every seed, not of the first alone, and what else the runs keep
    #[arg(long)]
    keep_models: bool,
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
    let signals = Signals::listen(show)?;
    let report = {
        // What every run says again is said once.
        let mut said = BTreeSet::new();
        let mut note = |text: &str| {
            if show == Show::Progress && said.insert(text.to_owned()) {
                out.note(text);
            }
        };
        let comparison = Comparison::open(recipe, &seeds, &mut note)?;
        let comparison = comparison.keeping(if args.keep_models { Kept::All } else { Kept::FirstSeed });
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
            if let Opened::Training(mut trainer) = comparison.open_run(run, &mut note).map_err(named)?
                && runs::train(&mut trainer, &signals, show, out)? == Ending::Stopped
            {
                note("the same command goes on with the comparison");
                out.exit_with(signals.exit_code());
                return Ok(());
            }
            comparison.tidy(run).map_err(named)?;
        }
        let report = comparison.conclude()?;
        let folder = comparison.folder().display();
        note(&format!("\nwritten: {folder}/comparison.html, comparison.md and comparison.json"));
        report
    };
    if args.format.json { out.json(&report) } else { document::print(&report.document(), out) }
}
