//! `polyhead tune`: the learning rate, batch size and the like that suit a recipe's data, found within a budget.

use super::Format;
use crate::document;
use crate::out::Out;
use crate::progress::Show;
use crate::runs::{self, Ending};
use crate::signals::Signals;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use polyhead::recipe::Recipe;
use polyhead::tune::{Budget, Next, SearchedKey, Settings, Tuning};
use polyhead::{Error, Place, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HELP: &str = "\
Examples:
  polyhead tune recipes/quickstart.toml
  polyhead tune recipe.toml --minutes 30
  polyhead tune recipe.toml --steps 5000 --keys learning_rate,epochs --set tasks.ner.batch_size=8

Trials are runs of the recipe with other settings: many on a quarter of the training examples, the best third of them on half, the
best third of these on all. Each is scored on a fifth of its examples that is held out; validation data are not read. All is kept
in OUTPUT/NAME-tune: the same command goes on with a search that was interrupted, and may be started several times to share the
work. The recipe that was found is best.toml there, with a page, tune.html.
docs/tune.md says what is searched and how far it can be trusted.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// The budget: as many trainings of the recipe as it is, on all its examples
    #[arg(long, value_name = "N", default_value = "8", conflicts_with_all = ["steps", "minutes"])]
    trainings: f64,
    /// The budget in steps of the recipe as it is
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    steps: Option<usize>,
    /// The budget in minutes of training and scoring, of all processes together
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// What is searched: learning_rate, batch_size, layer_decay, loss_weight, epochs, mixing_ratio
    #[arg(long, value_name = "KEY,...", value_delimiter = ',', value_parser = searched_key(),
        default_value = "learning_rate,batch_size,layer_decay,loss_weight")]
    keys: Vec<SearchedKey>,
    /// Override a value of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// No progress and no notes
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

fn searched_key() -> impl TypedValueParser<Value = SearchedKey> {
    let named = |name: String| SearchedKey::ALL.into_iter().find(|key| key.name() == name).ok_or("not a key");
    PossibleValuesParser::new(SearchedKey::ALL.map(SearchedKey::name)).try_map(named)
}

fn budget(args: &Args) -> Result<Budget> {
    let above_zero = |name: &str, value: f64| match value > 0.0 && value.is_finite() {
        true => Ok(value),
        false => Err(Error::usage(format!("{name}: expected a number above 0, found {value}"))),
    };
    Ok(match (args.steps, args.minutes) {
        (Some(steps), _) => Budget::Steps(steps),
        (None, Some(minutes)) => Budget::Minutes(above_zero("--minutes", minutes)?),
        (None, None) => Budget::Trainings(above_zero("--trainings", args.trainings)?),
    })
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let show = if args.quiet { Show::Nothing } else { Show::Progress };
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let settings = Settings { budget: budget(args)?, keys: args.keys.clone() };
    let signals = Signals::listen(show)?;
    let report = {
        // What every run says again is said once.
        let mut said = BTreeSet::new();
        let mut note = |text: &str| {
            if show == Show::Progress && said.insert(text.to_owned()) {
                out.note(text);
            }
        };
        let tuning = Tuning::open(recipe, settings, &mut note)?;
        note(&format!("folder of the search: {}", tuning.folder().display()));
        let mut waited = false;
        loop {
            match tuning.next(&mut note)? {
                Next::Train(mut training) => {
                    waited = false;
                    if show == Show::Progress {
                        out.note_heading(&format!("\n{}: {}", training.trial.name(), training.settings.join(" ")));
                    }
                    let failed = match runs::train(&mut training.trainer, &signals, show, out) {
                        Ok(Ending::Finished) => None,
                        Ok(Ending::Stopped) => {
                            note("the same command goes on with the search");
                            out.exit_with(signals.exit_code());
                            return Ok(());
                        }
                        Err(error) => {
                            note(&format!("{} came to nothing: {error}", training.trial.name()));
                            Some(error)
                        }
                    };
                    tuning
                        .end(&training.trial, failed)
                        .map_err(|error| error.at_least(Place::file(training.trial.name())))?;
                }
                Next::Wait => {
                    if !std::mem::replace(&mut waited, true) {
                        out.note("waiting for the trials of other processes");
                    }
                    if signals.asked().load(Ordering::SeqCst) {
                        out.exit_with(signals.exit_code());
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_secs(1));
                }
                Next::Done => break,
            }
        }
        let report = tuning.conclude()?;
        note(&format!("\nwritten: {0}/best.toml, tune.html, tune.md and tune.json", tuning.folder().display()));
        report
    };
    if args.format.json { out.json(&report) } else { document::print(&report.document(), out) }
}
