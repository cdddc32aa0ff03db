//! `polyhead compare`: a recipe trained jointly and task by task over several seeds, and whether sharing helped; or strategies for several
//! tasks, or ways of sharing the encoder, against each other.

use super::Format;
use crate::document;
use crate::out::Out;
use crate::progress::Show;
use crate::runs::{Ending, once, train_all, written};
use crate::signals::Signals;
use polyhead::Result;
use polyhead::compare::{Comparison, Group, Kept, StrategyComparison, default_seeds, entries};
use polyhead::recipe::Recipe;
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
With --balance, --sample or --sharing, strategies are compared with each other instead, in OUTPUT/NAME-strategies:
  polyhead compare recipes/quickstart.toml --balance all --seeds 42
  polyhead compare recipes/quickstart.toml --balance uncertainty,pcgrad --sample temperature,joint
  polyhead compare recipes/quickstart.toml --sharing all --set train.learning_rate=auto
docs/compare.md says what is compared and how to read the intervals.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML); two tasks or more, each with validation data
    recipe: PathBuf,
    /// The seeds [default: the recipe's and the two after it]
    #[arg(long, value_name = "SEED,...", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Compare these balancers with `equal`, a batch of every task in each step; `all` of them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    balance: Vec<String>,
    /// Compare these samplers with `round_robin`; `all` of them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    sample: Vec<String>,
    /// Compare these ways of sharing the encoder with `hard`; `all` of them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    sharing: Vec<String>,
    /// The task that strategies with a target are to help
    #[arg(long, value_name = "TASK")]
    target: Option<String>,
    /// Override a value of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Keep the models of every seed, not of the first alone, and what else the runs keep
    #[arg(long, conflicts_with_all = ["balance", "sample", "sharing"])]
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
    let named = [(Group::Balance, &args.balance[..]), (Group::Sample, &args.sample), (Group::Sharing, &args.sharing)];
    if named.iter().all(|(_, names)| names.is_empty()) {
        let comparison = Comparison::open(recipe, &seeds, &mut once(out, show))?;
        let comparison = comparison.keeping(if args.keep_models { Kept::All } else { Kept::FirstSeed });
        if train_all(&comparison, &signals, show, out)? == Ending::Stopped {
            return Ok(());
        }
        let report = comparison.conclude()?;
        written(&comparison, "comparison", show, out);
        return if args.format.json { out.json(&report) } else { document::print(&report.document(), out) };
    }
    let named = entries(&recipe, &named, args.target.as_deref(), &mut once(out, show))?;
    let comparison = StrategyComparison::open(recipe, named, &seeds, &mut once(out, show))?;
    if train_all(&comparison, &signals, show, out)? == Ending::Stopped {
        return Ok(());
    }
    let report = comparison.conclude()?;
    written(&comparison, "strategies", show, out);
    if args.format.json { out.json(&report) } else { document::print(&report.document(), out) }
}
