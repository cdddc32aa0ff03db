//! `polyhead quantize`: a model a quarter of the size whose encoder multiplies bytes, and what that does to its scores.

use super::{Destination, Format, Overwrite};
use crate::out::Out;
use crate::scores::words;
use crate::table::{Align, Table, count, decimal};
use polyhead::Result;
use polyhead::model::shell_word;
use polyhead::quantize::{Change, Quantized, Settings, quantize};
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead quantize runs/quickstart models/quickstart-int8
  polyhead quantize imported/ner models/ner-int8 --recipe ner.toml

Weights of the encoder become bytes with a scale for each output. Training examples decide which linear layers have to stay as
they are: as few as it takes for no task to lose more than --max-loss points on them, unless chance explains it. `predict`, `eval`
and `serve` multiply bytes with such a folder, without an option. Scores on validation data, before and after, are printed;
nothing is chosen on them.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The model folder to write
    to: PathBuf,
    /// The recipe that names data for its tasks; that of the run if it is left out
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// About how many training examples of each task decide
    #[arg(long, value_name = "N", default_value_t = Settings::default().examples as u64, value_parser = clap::value_parser!(u64).range(1..))]
    examples: u64,
    /// The most points that a task may lose on them
    #[arg(long, value_name = "POINTS", default_value_t = Settings::default().max_loss, value_parser = points, allow_negative_numbers = true)]
    max_loss: f64,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    format: Format,
}

fn points(text: &str) -> std::result::Result<f64, String> {
    let found: Option<f64> = text.parse().ok().filter(|points: &f64| points.is_finite() && *points >= 0.0);
    found.ok_or_else(|| "expected a number of points, 0 or more".to_owned())
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    super::destination(&args.to, args.overwrite, Destination::Model)?;
    let examples = usize::try_from(args.examples).unwrap_or(usize::MAX);
    let settings = Settings { examples, max_loss: args.max_loss };
    let done = quantize(&args.model, args.recipe.as_deref(), &args.to, settings, &mut |line| out.note(line))?;
    if args.format.json {
        let mut told = json!(done);
        told["model"] = json!(args.to);
        return out.json(&told);
    }
    let Quantized { precision, linear_layers, kept, training, validation, bytes } = &done;
    for (title, changes) in [("Training examples", training), ("Validation data", validation)] {
        if !changes.is_empty() {
            out.heading(title)?;
            out.line(table(changes, precision))?;
        }
    }
    let but = match kept.len() {
        0 => String::new(),
        _ => format!("; as they were: {}", kept.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    out.line(format!("\n{} of {linear_layers} linear layers in bytes{but}", linear_layers - kept.len()))?;
    let [before, after] = bytes.map(|bytes| bytes as f64 / 1e6);
    out.line(format!("weights: {before:.1} MB in f32, now {after:.1} MB"))?;
    out.note(format!("next: polyhead predict {} ...", shell_word(&args.to.display().to_string())));
    Ok(())
}

fn table(changes: &[Change], precision: &str) -> Table {
    let mut table = Table::new(&[
        ("task", Align::Left),
        ("measure", Align::Left),
        ("examples", Align::Right),
        (precision, Align::Right),
        ("int8", Align::Right),
        ("change", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    for Change { task, measure, examples, before, after, interval: [low, high] } in changes {
        let change = format!("{:+.2}", after - before);
        let numbers = [decimal(*before), decimal(*after), change, format!("{low:+.2} to {high:+.2}")];
        table.row([vec![task.clone(), words(measure), count(*examples)], numbers.to_vec()].concat());
    }
    table
}
