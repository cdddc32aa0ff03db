//! `polyhead export`: a model for other programs, as a single-task folder that transformers loads, as a folder of PEFT, as ONNX, or as a folder for browsers.

use super::{Destination, Overwrite};
use crate::browser;
use crate::out::Out;
use clap::ValueEnum;
use polyhead::export::{ALL_HEADS, all_heads_onnx, single_onnx, single_task};
use polyhead::infer::Session;
use polyhead::model::{Model, shell_word};
use polyhead::onnx::{Format, Opset, WeightType};
use polyhead::peft::{self, Base};
use polyhead::quantize::{Settings, with_input_ranges};
use polyhead::{Error, Result};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  polyhead export runs/quickstart --task ner --to exported/ner
  python -c \"from transformers import pipeline; print(pipeline('token-classification', 'exported/ner')('...'))\"

  polyhead export runs/quickstart --onnx exported/onnx                       all heads in one file, and a folder for each task
  polyhead export runs/quickstart --onnx exported/ner-int8 --task ner --weights int8
  polyhead export runs/quickstart --onnx exported/ner-qdq --task ner --weights qdq     ranges of inputs come from its training data

  polyhead export runs/lora --task ner --adapter exported/ner --base exported/encoder     for PEFT: a few megabytes beside an encoder

  polyhead export runs/quickstart --web exported/web                         a page that answers in the browser, with all heads
  (cd exported/web && npm install) && python -m http.server -d exported/web";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The task; may be left out where the model has only one, and with --onnx, which then takes all
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// The folder to write, for transformers
    #[arg(long, value_name = "DIR", required_unless_present_any = ["onnx", "web", "adapter"], conflicts_with_all = ["onnx", "web"])]
    to: Option<PathBuf>,
    /// The folder to write, for PEFT: the low-rank additions of a task, and its head
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "onnx", "web", "weights", "recipe", "examples", "opset", "fused_attention", "external_data"])]
    adapter: Option<PathBuf>,
    /// The encoder that they belong to is written here, for transformers; one that is there already serves several tasks
    #[arg(long, value_name = "DIR", requires = "adapter")]
    base: Option<PathBuf>,
    /// The folder to write, for programs that run ONNX
    #[arg(long, value_name = "DIR")]
    onnx: Option<PathBuf>,
    /// The folder to write, for browsers: a page that answers without a server, from any static file server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["onnx", "task", "external_data"])]
    web: Option<PathBuf>,
    /// The module that browsers run, where it does not lie beside this program
    #[arg(long, value_name = "FILE", requires = "web", conflicts_with_all = ["onnx", "to"])]
    wasm: Option<PathBuf>,
    /// What the encoder's weights are written in; left out, f32, and for browsers int8
    #[arg(long, value_enum, conflicts_with = "to")]
    weights: Option<Weights>,
    /// With --weights qdq: the recipe that names data for its tasks; that of the run if it is left out
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    recipe: Option<PathBuf>,
    /// With --weights qdq: on about how many training examples of each task ranges are measured [default: 500]
    #[arg(long, value_name = "N", conflicts_with = "to", value_parser = clap::value_parser!(u64).range(1..))]
    examples: Option<u64>,
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

impl Args {
    fn format(&self, weights: Weights) -> Format {
        Format {
            opset: self.opset,
            weights: self.weights.unwrap_or(weights).into(),
            fused_attention: self.fused_attention,
            external_data: self.external_data,
        }
    }

    /// The model, whose layers know the ranges of their inputs where these are written.
    fn session(&self, out: &mut Out) -> Result<Session> {
        match (self.weights, &self.recipe, self.examples) {
            (Some(Weights::Qdq), recipe, examples) => {
                let examples = examples.map(|examples| usize::try_from(examples).unwrap_or(usize::MAX));
                let examples = examples.unwrap_or(Settings::default().examples);
                with_input_ranges(&self.model, recipe.as_deref(), examples, &mut |line| out.note(line))
            }
            (_, Some(_), _) => Err(Error::usage("--recipe is for --weights qdq: other weights need no data")),
            (_, _, Some(_)) => Err(Error::usage("--examples is for --weights qdq: other weights need no data")),
            (_, None, None) => Session::open(&self.model),
        }
    }
}

/// Writes a task for PEFT, and where it is asked for the encoder that it belongs to.
fn adapter(args: &Args, model: &Model, folder: &Path, out: &mut Out) -> Result<()> {
    let task = super::task(model, args.task.as_deref())?;
    super::destination(folder, args.overwrite, Destination::Adapter)?;
    let base = match &args.base {
        Some(base) => {
            peft::write_base(model, base)?;
            Base { name: base.display().to_string(), revision: None }
        }
        None => Base::of_source(model).ok_or_else(|| {
            Error::usage("expected --base DIR: the encoder that the additions belong to has no name on the Hub")
                .hint("the encoder is written there, once for all tasks")
        })?,
    };
    peft::write(model, task, &base, folder)?;
    out.note(format!("`{}` of {} is in {}, for {}", task.name, args.model.display(), folder.display(), base.name));
    Ok(())
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = args.session(out)?;
    let (model, from) = (&session.model, args.model.display());
    if let Some(folder) = &args.adapter {
        return adapter(args, model, folder, out);
    }
    match (&args.onnx, &args.web, &args.to) {
        (Some(folder), ..) => {
            let format = args.format(Weights::F32);
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
        (None, Some(folder), _) => {
            super::destination(folder, args.overwrite, Destination::Browser)?;
            browser::export(&args.model, model, args.format(Weights::Int8), args.wasm.as_deref(), folder)?;
            let there = shell_word(&folder.display().to_string());
            out.note(format!("all tasks of {from} are in {}, for browsers", folder.display()));
            out.note(format!(
                "next: (cd {there} && npm install) brings ONNX Runtime; then any static file server will do"
            ));
        }
        (None, None, Some(folder)) => {
            let task = super::task(model, args.task.as_deref())?;
            super::destination(folder, args.overwrite, Destination::Model)?;
            single_task(model, task, folder)?;
            out.note(format!("`{}` of {from} is in {}", task.name, folder.display()));
        }
        (None, None, None) => return Err(Error::usage("expected --to DIR, --adapter DIR, --onnx DIR or --web DIR")),
    }
    Ok(())
}
