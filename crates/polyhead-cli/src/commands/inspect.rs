//! `polyhead inspect`: the parameter table, labels, tokenizer, recipe and origin of a model; or what a bare encoder
//! would come to with the heads that training adds.

use super::Format;
use crate::out::Out;
use crate::progress::downloads;
use crate::scores;
use crate::table::{Align, Table, count, counted, percent};
use polyhead::encoders::EncoderOverrides;
use polyhead::hub::{self, HubOptions, Source};
use polyhead::io::{INT8_WEIGHTS, sha256_file};
use polyhead::model::{Model, NamedTask, Provenance, Share, has_case_embeddings, read_config, shapes, shares};
use polyhead::parameters::{Int8, Lora, Owner};
use polyhead::sharing;
use polyhead::strategy::Strategy;
use polyhead::tasks::{Calibration, LeastScore, TASKS, TaskKind};
use polyhead::{Error, Key, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

const HELP: &str = "\
Examples:
  polyhead inspect runs/quickstart
  polyhead inspect bert-base-uncased --labels 9
  polyhead inspect path/to/config.json --labels 9

An encoder without heads is counted with those that training adds: question answering, and named-entity
recognition where --labels says how many labels it has. A config.json alone is counted without any weights.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, a run folder, an encoder (a folder, or a name on the Hub), or a config.json
    model: String,
    /// For an encoder without heads: how many NER labels to count with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    labels: Option<u32>,
    #[command(flatten)]
    format: Format,
}

/// What there is to say of a model.
struct Facts {
    shares: Vec<Share>,
    config: Value,
    /// The tokenizer's model and vocabulary.
    tokenizer: Option<(&'static str, usize)>,
    /// Its own tasks: name, kind, labels, configuration.
    tasks: Vec<(String, &'static str, Vec<String>, Value)>,
    about: Provenance,
    lora: Option<Lora>,
    sharing: Strategy,
    /// Of a model in bytes: how many linear layers its encoder has, and those that are kept as they were.
    int8: Option<(usize, Vec<String>)>,
    /// The digest of its weights, where `about` does not have it.
    sha256: Option<String>,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let facts = facts(args, out)?;
    if args.format.json { out.json(&json(&args.model, &facts)) } else { print(&args.model, &facts, out) }
}

fn facts(args: &Args, out: &Out) -> Result<Facts> {
    let path = Path::new(&args.model);
    if path.is_file() {
        let shares = shares(&shapes(path, new_heads(args.labels)?)?);
        let (config, about) = (read_config(path)?, Provenance::default());
        let (tasks, tokenizer) = (Vec::new(), None);
        let (sharing, lora, int8, sha256) = (sharing::hard(), None, None, None);
        return Ok(Facts { shares, config, tokenizer, tasks, about, lora, sharing, int8, sha256 });
    }
    let local = hub::model_folder(path);
    let (folder, source) = match local.is_dir() && has_heads(&local)? {
        true => (local, None),
        false => {
            let checkpoint = hub::encoder(&args.model, &HubOptions::from_env(), &mut downloads(out))?;
            (checkpoint.folder, Some(checkpoint.source))
        }
    };
    if has_heads(&folder)? {
        if args.labels.is_some() {
            return Err(Error::usage("--labels is for an encoder without heads; this model has its own")
                .hint("leave --labels out"));
        }
        let as_stored = EncoderOverrides { int8: Int8::AsStored, ..EncoderOverrides::default() };
        let mut model = Model::load_adjusted(&folder, TASKS, &as_stored)?;
        if model.about.source.is_none() {
            model.about.source = source;
            model.about = model.about.without_paths();
        }
        let task =
            |NamedTask { name, task }: &NamedTask| (name.clone(), task.kind(), task.labels().to_vec(), task.config());
        let tasks = model.tasks.iter().map(task).collect();
        // Weights in several files have no digest of their own.
        let weights = ["model.safetensors", INT8_WEIGHTS].map(|name| folder.join(name));
        let sha256 = weights.iter().find(|weights| weights.is_file()).map(sha256_file).transpose()?;
        return Ok(of_model(model, tasks, sha256));
    }
    let about = Provenance { source, ..Provenance::default() };
    let model = Model::pretrained(&folder, about, new_heads(args.labels)?, &EncoderOverrides::default(), Key::seed(0))?;
    Ok(of_model(model, Vec::new(), None))
}

fn of_model(model: Model, tasks: Vec<(String, &'static str, Vec<String>, Value)>, sha256: Option<String>) -> Facts {
    let tokenizer = Some((model.tokenizer.model(), model.tokenizer.vocabulary()));
    let int8 = match &model.int8 {
        Int8::AllBut(kept) => Some((model.linear_layers.iter().map(Vec::len).sum(), kept.iter().cloned().collect())),
        Int8::No | Int8::AsStored | Int8::Yes | Int8::Watched => None,
    };
    Facts {
        shares: shares(&model.shapes()),
        config: model.config().clone(),
        tokenizer,
        tasks,
        about: model.about,
        lora: model.lora,
        sharing: model.sharing,
        int8,
        sha256,
    }
}

/// Whether a folder holds a model with heads: ours, or a single-task model of transformers.
fn has_heads(folder: &Path) -> Result<bool> {
    let config = read_config(&folder.join("config.json"))?;
    let architecture = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or("");
    let single = TASKS.iter().filter_map(|kind| kind.architecture).any(|ending| architecture.ends_with(ending));
    Ok(config.get("polyhead").is_some() || single)
}

/// The heads that training would add to an encoder, as far as they have a size.
fn new_heads(labels: Option<u32>) -> Result<Vec<NamedTask>> {
    let labels: Vec<String> = (0..labels.unwrap_or(0)).map(|label| format!("LABEL_{label}")).collect();
    let open = |kind: &TaskKind| {
        let config = (kind.smallest)(&labels)?;
        Some((kind.open)(config).map(|task| NamedTask { name: kind.kind.to_owned(), task }))
    };
    TASKS.iter().filter_map(open).collect()
}

/// The fields of `config.json` that people ask for: their names there, and ours.
const SHAPE: [(&str, &str); 6] = [
    ("num_hidden_layers", "layers"),
    ("hidden_size", "hidden size"),
    ("num_attention_heads", "attention heads"),
    ("intermediate_size", "feed-forward size"),
    ("max_position_embeddings", "positions"),
    ("vocab_size", "vocabulary"),
];

fn print(name: &str, facts: &Facts, out: &mut Out) -> Result<()> {
    out.heading(name)?;
    out.line(parameters(&facts.shares, facts.lora.is_some()))?;
    out.heading("\nEncoder")?;
    let mut encoder = Table::pairs();
    encoder.row(["architecture", model_type(facts)]);
    for (field, name) in SHAPE {
        if let Some(value) = facts.config.get(field).and_then(Value::as_u64) {
            encoder.row([name.to_owned(), count(value as usize)]);
        }
    }
    if let Some((model, vocabulary)) = facts.tokenizer {
        encoder.row(["tokenizer".to_owned(), format!("{model}, {}", counted(vocabulary, "token"))]);
    }
    if has_case_embeddings(&facts.config) {
        encoder.row(["reads", "how words are written (case_embeddings)"]);
    }
    if facts.sharing != sharing::hard() {
        encoder.row(["sharing".to_owned(), facts.sharing.to_string()]);
    }
    if let Some(lora) = &facts.lora {
        encoder.row(["LoRA".to_owned(), format!("{}, dropout {}", lora.described(), lora.dropout)]);
    }
    if let Some((layers, kept)) = &facts.int8 {
        let as_they_were = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
        encoder
            .row(["in bytes".to_owned(), format!("{} of {layers} linear layers, and embeddings", layers - kept.len())]);
        encoder.row(["kept as they were".to_owned(), as_they_were]);
    }
    out.line(encoder)?;
    for (name, kind, labels, config) in &facts.tasks {
        out.heading(&format!("\nTask {name}"))?;
        let mut task = Table::pairs();
        task.row(["kind", kind]);
        if !labels.is_empty() {
            task.row(["labels".to_owned(), format!("{}: {}", labels.len(), labels.join(" "))]);
        }
        if facts.about.kept_heads.contains(name) {
            task.row(["head", "kept as it came with the encoder: not trained, and not scored again"]);
        }
        if let Some(request) = facts.about.examples.get(name) {
            task.row(["for example".to_owned(), request.to_string()]);
        }
        for (field, value) in config.as_object().into_iter().flatten().filter(|(field, _)| *field != "labels") {
            task.row([field.replace('_', " "), value.to_string()]);
        }
        if let Some(found) = facts.about.calibration.get(name) {
            let Calibration { temperature, answers, error_before, error, least_score } = found;
            task.row(["calibrated".to_owned(), format!("logits divided by {temperature}")]);
            let answers = counted(*answers, "held-back answer");
            task.row(["calibration error".to_owned(), format!("{error_before:.2} % to {error:.2} % on {answers}")]);
            if let Some(LeastScore { score, precision, answers }) = least_score {
                let right = format!("from {score:.4} on: {precision:.1} % of {answers} held-back answers are right");
                task.row(["answers are given".to_owned(), right]);
            }
        }
        for (measure, value) in facts.about.scores.get(name).into_iter().flatten() {
            task.row([format!("score: {}", scores::words(measure)), scores::number(measure, value)]);
        }
        out.line(task)?;
    }
    origin(facts, out)
}

fn model_type(facts: &Facts) -> &str {
    facts.config.get("model_type").and_then(Value::as_str).unwrap_or("")
}

fn parameters(shares: &[Share], lora: bool) -> Table {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("parameters", Align::Right),
        ("per cent", Align::Right),
        ("trained", Align::Right),
    ]);
    let total: usize = shares.iter().map(|share| share.total).sum();
    let trained: usize = shares.iter().map(|share| share.trained).sum();
    let mut row = |name: String, parameters: usize, trained: usize| {
        table.row([name, count(parameters), percent(parameters, total), count(trained)]);
    };
    for share in shares {
        let name = match &share.owner {
            Owner::Encoder if lora => "shared encoder (LoRA trained)".to_owned(),
            Owner::Encoder if share.trained == 0 => "shared encoder (frozen)".to_owned(),
            // What else of an encoder is not trained is its pooler.
            Owner::Encoder if share.total > share.trained => "shared encoder (pooler included)".to_owned(),
            Owner::Encoder => "shared encoder".to_owned(),
            Owner::Private(task) => format!("encoder, private to `{task}`"),
            Owner::Head(task) if share.trained == 0 => format!("head `{task}` (kept, not trained)"),
            Owner::Head(task) => format!("head `{task}`"),
        };
        row(name, share.total, share.trained);
    }
    row("total".to_owned(), total, trained);
    table
}

fn origin(facts: &Facts, out: &mut Out) -> Result<()> {
    let Provenance { source, recipe, epoch, .. } = &facts.about;
    if source.is_some() || facts.sha256.is_some() {
        out.heading("\nOrigin")?;
    }
    if let Some(sha256) = &facts.sha256 {
        out.line(format!("model.safetensors of this model: sha256 {sha256}"))?;
    }
    if let Some(epoch) = epoch {
        out.line(format!("saved after epoch {epoch}"))?;
    }
    if let Some(Source { said, revision, files, .. }) = source {
        out.line(format!("encoder: {said}"))?;
        if let Some(revision) = revision {
            out.line(format!("revision: {revision}"))?;
        }
        let mut table = Table::new(&[("file", Align::Left), ("bytes", Align::Right), ("sha256", Align::Left)]);
        for file in files {
            table.row([file.name.clone(), count(file.bytes as usize), file.sha256.clone()]);
        }
        out.line(table)?;
    }
    if let Some(recipe) = recipe {
        out.heading("\nRecipe")?;
        out.line(recipe.trim())?;
    }
    Ok(())
}

fn json(name: &str, facts: &Facts) -> Value {
    let sum = |count: fn(&Share) -> usize| facts.shares.iter().map(count).sum::<usize>();
    let encoder = facts.shares.iter().find(|share| share.owner == Owner::Encoder).map_or(0, |share| share.total);
    let of_tasks = |task_of: fn(&Owner) -> Option<&String>| -> Map<String, Value> {
        let owned = facts.shares.iter().filter_map(|share| Some((task_of(&share.owner)?.clone(), json!(share.total))));
        owned.collect()
    };
    let heads = of_tasks(|owner| if let Owner::Head(task) = owner { Some(task) } else { None });
    let private = of_tasks(|owner| if let Owner::Private(task) = owner { Some(task) } else { None });
    let shape = SHAPE.iter().filter_map(|(field, _)| Some(((*field).to_owned(), facts.config.get(*field)?.clone())));
    let mut shape: Map<String, Value> = shape.collect();
    shape.insert("model_type".into(), json!(model_type(facts)));
    json!({
        "model": name,
        "parameters": {
            "encoder": encoder,
            "private": private,
            "heads": heads,
            "total": sum(|share| share.total),
            "trained": sum(|share| share.trained),
        },
        "encoder": shape,
        "tokenizer": facts.tokenizer.map(|(model, vocabulary)| json!({ "model": model, "vocabulary": vocabulary })),
        "tasks": facts.tasks.iter().map(|(name, kind, labels, config)| json!({
            "name": name,
            "kind": kind,
            "labels": labels,
            "config": config,
            "scores": facts.about.scores.get(name),
            "calibration": facts.about.calibration.get(name),
            "trained": !facts.about.kept_heads.contains(name),
            "example": facts.about.examples.get(name),
        })).collect::<Vec<_>>(),
        "lora": facts.lora,
        "sharing": facts.sharing,
        "int8": facts.int8.as_ref().map(|(layers, kept)| json!({ "linear_layers": layers, "kept": kept })),
        "sha256": facts.sha256,
        "epoch": facts.about.epoch,
        "source": facts.about.source,
        "recipe": facts.about.recipe,
    })
}
