//! `polyhead encoders`: the architectures, and what each supports.

use super::Format;
use crate::out::Out;
use crate::table::{Align, Table};
use polyhead::Result;
use polyhead::encoders::{Activation, ENCODERS, EncoderKind};
use serde_json::json;

const HELP: &str = "\
Examples:
  polyhead encoders
  polyhead encoders --json

`encoder.checkpoint` takes any checkpoint whose config.json has one of these names as its model_type.
docs/encoders.md says more.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    if args.format.json {
        let all: Vec<_> = ENCODERS
            .iter()
            .map(|kind| {
                json!({
                    "model_types": model_types(kind),
                    "about": kind.about,
                    "lora_targets": kind.lora_targets,
                    "exchange": classes(kind),
                    "pooler": pooler(kind),
                    "vocabulary": vocabulary(kind),
                })
            })
            .collect();
        return out.json(&all);
    }
    let mut table = Table::new(
        &["model_type", "what", "LoRA's default targets", "transformers' classes", "pooler there", "or tokenizer of"]
            .map(|name| (name, Align::Left)),
    );
    for kind in ENCODERS {
        table.row([
            model_types(kind).join(", "),
            kind.about.to_owned(),
            kind.lora_targets.join(", "),
            classes(kind).join(", "),
            pooler(kind).unwrap_or("").to_owned(),
            vocabulary(kind).join(", "),
        ]);
    }
    out.line(table)
}

fn model_types(kind: &EncoderKind) -> Vec<&'static str> {
    kind.names().map(|name| name.model_type).collect()
}

/// The single-task classes of transformers that go both ways, by the ends of their names.
fn classes(kind: &EncoderKind) -> Vec<&'static str> {
    let of_texts = (kind.sequence_head.is_some() || kind.head_transform.is_some()).then_some("SequenceClassification");
    ["TokenClassification", "QuestionAnswering"].into_iter().chain(of_texts).collect()
}

/// The function of the layer between encoder and labels in the class for whole texts.
fn pooler(kind: &EncoderKind) -> Option<&'static str> {
    kind.sequence_head.map(|head| match head.activation {
        Activation::Relu => "relu",
        Activation::Gelu => "gelu",
        _ => "tanh",
    })
}

/// The files that a tokenizer.json is made of where a checkpoint has none.
fn vocabulary(kind: &EncoderKind) -> &'static [&'static str] {
    kind.vocabulary.map_or(&[], |vocabulary| vocabulary.files())
}
