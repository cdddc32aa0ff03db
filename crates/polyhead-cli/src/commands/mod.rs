//! The commands, one a file, in the order in which help lists them.

mod average;
mod compare;
mod completions;
mod data;
mod encoders;
mod eval;
mod export;
mod import;
mod init;
mod inspect;
mod man;
mod merge;
mod negate;
mod predict;
mod pull;
mod push;
mod quantize;
mod report;
mod select;
mod serve;
mod suite;
mod train;
mod tune;
mod unload;

use crate::out::Out;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use polyhead::export::{ALL_HEADS, INFO, ONE_HEAD};
use polyhead::infer::{Products, Session};
use polyhead::io::INT8_WEIGHTS;
use polyhead::model::{Model, NamedTask, shell_word};
use polyhead::peft;
use polyhead::tasks::TASKS;
use polyhead::{Error, Place, Result};
use std::path::Path;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Look at files of one's own, say what they are, and write a recipe that trains on them
    Init(init::Args),
    /// Train one encoder with a head for each task of a recipe
    Train(train::Args),
    /// Train a recipe jointly and task by task, over several seeds: did sharing help, and what did it save?
    Compare(compare::Args),
    /// Search for the learning rate, batch size and the like that suit a recipe, on its training data, within a budget
    Tune(tune::Args),
    /// Find which of a recipe's tasks help one of them, on its training data, within a budget
    Select(select::Args),
    /// Show what a recipe will train on, and what had to be left out
    Data(data::Args),
    /// Write what came of a run, or of several, as HTML and Markdown
    Report(report::Args),
    /// Score a model on a file with gold answers
    Eval(eval::Args),
    /// Answer one text, or a stream of requests
    Predict(predict::Args),
    /// Serve a model over HTTP, with a page to try it on
    Serve(serve::Args),
    /// Run the demonstration suite: texts of many kinds, with gold answers
    Suite(suite::Args),
    /// Show a model's parameters, labels, tokenizer, recipe and origin
    Inspect(inspect::Args),
    /// List the architectures that a model can begin with
    Encoders(encoders::Args),
    /// Write a task for transformers, PEFT or ONNX, or a model for browsers
    Export(export::Args),
    /// Make a model out of a single-task model of transformers, or of folders of PEFT
    Import(import::Args),
    /// Merge LoRA into the encoder: a plain model
    Merge(merge::Args),
    /// Average the low-rank additions of models, and their heads
    Average(average::Args),
    /// Take away from an encoder what LoRA added to it
    Negate(negate::Args),
    /// Leave tasks of a model with LoRA out
    Unload(unload::Args),
    /// Write a model a quarter of the size, whose encoder multiplies bytes, and say what that does to its scores
    Quantize(quantize::Args),
    /// Put a model on the Hugging Face Hub
    Push(push::Args),
    /// Bring a model from the Hugging Face Hub
    Pull(pull::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Write the man pages
    Man(man::Args),
}

impl Command {
    /// Does it.
    pub fn run(self, out: &mut Out) -> Result<()> {
        match self {
            Command::Init(args) => init::run(&args, out),
            Command::Train(args) => train::run(args, out),
            Command::Compare(args) => compare::run(&args, out),
            Command::Tune(args) => tune::run(&args, out),
            Command::Select(args) => select::run(&args, out),
            Command::Data(args) => data::run(&args, out),
            Command::Report(args) => report::run(&args, out),
            Command::Eval(args) => eval::run(&args, out),
            Command::Predict(args) => predict::run(args, out),
            Command::Serve(args) => serve::run(args, out),
            Command::Suite(args) => suite::run(&args, out),
            Command::Inspect(args) => inspect::run(&args, out),
            Command::Encoders(args) => encoders::run(&args, out),
            Command::Export(args) => export::run(&args, out),
            Command::Import(args) => import::run(&args, out),
            Command::Merge(args) => merge::run(&args, out),
            Command::Average(args) => average::run(&args, out),
            Command::Negate(args) => negate::run(&args, out),
            Command::Unload(args) => unload::run(&args, out),
            Command::Quantize(args) => quantize::run(&args, out),
            Command::Push(args) => push::run(&args, out),
            Command::Pull(args) => pull::run(&args, out),
            Command::Completions(args) => completions::run(&args, out),
            Command::Man(args) => man::run(&args, out),
        }
    }
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Format {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What matrix products are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Precision {
    /// What matrix products are computed in; `auto` is what the model was quantised to, else bf16 where the processor multiplies
    /// it faster, else f32. `int8`: those of the encoder's layers in whole numbers, faster and a little less exact
    #[arg(long, value_name = "PRECISION", default_value = "auto", value_parser = precision())]
    precision: Products,
}

fn precision() -> impl TypedValueParser<Value = Products> {
    PossibleValuesParser::new(Products::ALL.map(Products::name)).try_map(|name| name.parse())
}

impl Precision {
    /// What a model is to compute in.
    pub fn resolve(self) -> Products {
        self.precision
    }

    /// Loads a model, or the best of a run, that computes so.
    fn open(self, model: &Path) -> Result<Session> {
        Session::open_in(model, TASKS, self.resolve())
    }
}

/// The task that is asked for; the model's only one if none is.
fn task<'a>(model: &'a Model, name: Option<&str>) -> Result<&'a NamedTask> {
    match (name, model.tasks.as_slice()) {
        (Some(name), _) => model.task(name),
        (None, [only]) => Ok(only),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|task| task.name.as_str()).collect();
            Err(Error::usage(format!("expected --task with one of this model's tasks: {}", names.join(", "))))
        }
    }
}

/// What a folder is to hold: only one that holds the like is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Model,
    Onnx,
    Browser,
    Adapter,
}

impl Destination {
    /// This is in such a folder.
    fn config(self) -> &'static str {
        if self == Self::Adapter { peft::CONFIG } else { "config.json" }
    }

    /// And one of these.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["model.safetensors", INT8_WEIGHTS],
            Self::Onnx => &[ALL_HEADS, ONE_HEAD],
            Self::Browser => &[INFO],
            Self::Adapter => &[peft::TENSORS],
        }
    }
}

/// Whether a folder that exists may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
struct Overwrite {
    /// Replace the model folder that is there
    #[arg(long)]
    overwrite: bool,
}

/// Writes a model folder, and says what it is.
fn save(model: &Model, to: &Path, overwrite: Overwrite, said: &str, out: &mut Out) -> Result<()> {
    destination(to, overwrite, Destination::Model)?;
    model.save(to)?;
    out.note(format!("{said}: {}", to.display()));
    out.note(format!("next: polyhead inspect {}", shell_word(&to.display().to_string())));
    Ok(())
}

/// Checks that a model folder may be written here, and makes the folders above it.
///
/// Writing replaces the whole folder, so that only a model folder is ever replaced, and only when asked for.
fn destination(folder: &Path, overwrite: Overwrite, kind: Destination) -> Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        std::fs::create_dir_all(parent).map_err(|cause| Error::writing(parent, cause))?;
    }
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Error::writing(folder, cause)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let there = Error::cannot_write("the folder exists and is not empty").at(Place::file(folder));
    if !folder.join(kind.config()).is_file() || !kind.files().iter().any(|name| folder.join(name).is_file()) {
        return Err(there.hint("it is no model folder: name another one"));
    }
    if overwrite.overwrite { Ok(()) } else { Err(there.hint("--overwrite replaces it")) }
}
