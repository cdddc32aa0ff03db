//! `polyhead export`: a model for other programs, as a single-task folder that transformers loads or as ONNX.

use super::{Destination, Overwrite};
use crate::out::Out;
use clap::ValueEnum;
use polyhead::export::{ALL_HEADS, all_heads_onnx, single_onnx, single_task};
use polyhead::infer::Session;
use polyhead::onnx::{Format, Opset, WeightType};
use polyhead::quantize::{Settings, with_input_ranges};
use polyhead::{Error, Result};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead export runs/quickstart --task ner --to exported/ner
  python -c \"from transformers import pipeline; print(pipeline('token-classification', 'exported/ner')('...'))\"

  polyhead export runs/quickstart --onnx exported/onnx                       all heads in one file, and a folder for each task
  polyhead export runs/quickstart --onnx exported/ner-int8 --task ner --weights int8
  polyhead export runs/quickstart --onnx exported/ner-qdq --task ner --weights qdq     ranges of inputs come from its training data";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The task; may be left out where the model has only one, and with --onnx, which then takes all
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// The folder to write, for transformers
    #[arg(long, value_name = "DIR", required_unless_present = "onnx", conflicts_with = "onnx")]
    to: Option<PathBuf>,
    /// The folder to write, for programs that run ONNX
    #[arg(long, value_name = "DIR")]
    onnx: Option<PathBuf>,
    /// What the encoder's weights are written in
    #[arg(long, value_enum, default_value_t = Weights::F32, conflicts_with = "to")]
    weights: Weights,
    /// With --weights qdq: the recipe that names data for its tasks; that of the run if it is left out
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    recipe: Option<PathBuf>,
    /// With --weights qdq: on about how many training examples of each task ranges are measured
    #[arg(long, value_name = "N", conflicts_with = "to", default_value_t = Settings::default().examples as u64, value_parser = clap::value_parser!(u64).range(1..))]
    examples: u64,
    /// The set of ONNX operators, 17 to 23
    #[arg(long, value_name = "NUMBER", default_value = "17", conflicts_with = "to")]
    opset: Opset,
    /// Write attention as one operator of ONNX Runtime: faster there, and other runtimes do not read it
    #[arg(long, conflicts_with = "to")]
    fused_attention: bool,
    /// Put weights into a file beside the graph, as is done in any case beyond 2 GiB
    #[arg(long, conflicts_with = "to")]
    external_data: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Weights {
    /// As they are
    F32,
    /// Half the bytes; computed in f32
    F16,
    /// A quarter of the bytes; multiplied in whole numbers (dynamic quantisation)
    Int8,
    /// The same, with ranges of what they are multiplied with measured on training data (static quantisation)
    Qdq,
}

impl From<Weights> for WeightType {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::F32 => Self::F32,
            Weights::F16 => Self::F16,
            Weights::Int8 => Self::Int8,
            Weights::Qdq => Self::Qdq,
        }
    }
}

/// The model, whose layers know the ranges of their inputs where these are written.
fn session(args: &Args, out: &mut Out) -> Result<Session> {
    match (args.weights, &args.recipe) {
        (Weights::Qdq, recipe) => {
            let examples = usize::try_from(args.examples).unwrap_or(usize::MAX);
            with_input_ranges(&args.model, recipe.as_deref(), examples, &mut |line| out.note(line))
        }
        (_, Some(_)) => Err(Error::usage("--recipe is for --weights qdq: other weights need no data")),
        (_, None) => Session::open(&args.model),
    }
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = session(args, out)?;
    let (model, from) = (&session.model, args.model.display());
    match (&args.onnx, &args.to) {
        (Some(folder), _) => {
            let format = Format {
                opset: args.opset,
                weights: args.weights.into(),
                fused_attention: args.fused_attention,
                external_data: args.external_data,
            };
            super::destination(folder, args.overwrite, Destination::Onnx)?;
            match &args.task {
                Some(name) => {
                    let task = model.task(name)?;
                    single_onnx(model, task, format, folder)?;
                    out.note(format!("`{}` of {from} is in {}", task.name, folder.display()));
                }
                None => {
                    let alone = all_heads_onnx(model, format, folder)?;
                    let all = folder.join(ALL_HEADS);
                    let alone: Vec<String> = alone.iter().map(|name| folder.join(name).display().to_string()).collect();
                    let alone = if alone.is_empty() { String::new() } else { format!("; alone: {}", alone.join(", ")) };
                    out.note(format!("all tasks of {from} are in {}{alone}", all.display()));
                }
            }
        }
        (None, Some(folder)) => {
            let task = super::task(model, args.task.as_deref())?;
            super::destination(folder, args.overwrite, Destination::Model)?;
            single_task(model, task, folder)?;
            out.note(format!("`{}` of {from} is in {}", task.name, folder.display()));
        }
        (None, None) => return Err(Error::usage("expected --to DIR or --onnx DIR")),
    }
    Ok(())
}
