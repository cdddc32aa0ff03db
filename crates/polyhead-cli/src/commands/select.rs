//! `polyhead select`: which of a recipe's tasks help one of them, found on its training data within a budget.

use super::Format;
use crate::document;
use crate::out::Out;
use crate::progress::Show;
use crate::runs::{Ending, once, train_all, written};
use crate::signals::Signals;
use polyhead::Result;
use polyhead::compare::{Seeds, Selection};
use polyhead::recipe::Recipe;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead select recipe.toml --target ner
  polyhead select recipe.toml --target sentiment --trainings 40 --set data.sentiment.limit=500

First short trainings: the target alone and with each other task. Then whole ones, with other seeds: alone, with the best task, and
with all that gained. Each is scored on a fifth of the target's training examples that is held out; validation data are not read.
All is kept in OUTPUT/NAME-select: the same command goes on with a selection that was interrupted. The recipe with the tasks that
are shown to help is selected.toml there, with a page, selection.html.
docs/select.md says how far the answer can be trusted.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML): the target, and the tasks that may help it
    recipe: PathBuf,
    /// The task that the others are to help
    #[arg(long, value_name = "TASK")]
    target: String,
    /// The budget: as many trainings of the recipe as it is, with all its tasks
    #[arg(long, value_name = "N", default_value = "12")]
    trainings: f64,
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
    let signals = Signals::listen(show)?;
    let selection = {
        let mut note = once(out, show);
        let selection = Selection::open(recipe, &args.target, args.trainings, &mut note)?;
        let Seeds { probes, confirmations } = selection.seeds();
        note(&format!(
            "the budget pays for {probes} seeds of short trainings and {confirmations} of whole ones (--trainings {})",
            args.trainings
        ));
        selection
    };
    if train_all(&selection, &signals, show, out)? == Ending::Stopped {
        return Ok(());
    }
    let report = selection.conclude()?;
    written(&selection, "selection", show, out);
    if args.format.json { out.json(&report) } else { document::print(&report.document(), out) }
}
