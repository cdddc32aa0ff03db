//! `polyhead predict`: one text from the command line, or a stream of requests as JSON Lines.

use super::Format;
use crate::out::Out;
use crate::requests::Requests;
use crate::table::{Align, Table, decimal};
use polyhead::infer::Session;
use polyhead::model::NamedTask;
use polyhead::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead predict runs/quickstart --task ner \"Ada Lovelace was born in London.\"
  polyhead predict runs/quickstart --task qa --question \"Where?\" --context-file page.txt
  polyhead predict runs/quickstart --task ner --input texts.jsonl > entities.jsonl
  tail -f log.jsonl | polyhead predict runs/quickstart --task qa --input -

Requests, one JSON object a line (an `id` comes back with its answer):
  ner  {\"text\": \"...\"} or {\"words\": [\"...\", \"...\"]}
  qa   {\"question\": \"...\", \"context\": \"...\"}

Answers come in the order of the requests. Offsets count characters (Unicode code points).
A malformed line ends the stream with its number, after all lines before it were answered.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The task; may be left out where the model has only one
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// The text, for a task that reads one
    #[arg(conflicts_with_all = ["question", "context", "context_file", "input"])]
    text: Option<String>,
    /// The question, for question answering
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    question: Option<String>,
    /// The text that may hold the answer
    #[arg(long, value_name = "TEXT", requires = "question")]
    context: Option<String>,
    /// A file with that text (UTF-8)
    #[arg(long, value_name = "FILE", requires = "question", conflicts_with = "context")]
    context_file: Option<PathBuf>,
    /// A file of requests as JSON Lines; `-` is standard input. Answers are JSON Lines
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: Args, out: &mut Out) -> Result<()> {
    let session = Session::open(&args.model)?;
    let task = super::task(&session.model, args.task.as_deref())?;
    if let Some(path) = &args.input {
        return stream(&session, &task.name, Requests::open(path)?, out);
    }
    let answer = session.ask(&task.name, &request(&args, task)?)?;
    if args.format.json {
        return out.json(&answer);
    }
    match task.task.kind() {
        "ner" => entities(&answer, out),
        "qa" => found(&answer, out),
        _ => out.line(format!("{answer:#}")),
    }
}

/// Answers requests as they come.
fn stream(session: &Session, task: &str, mut requests: Requests, out: &mut Out) -> Result<()> {
    loop {
        let batch = requests.batch();
        if batch.is_empty() {
            return Ok(());
        }
        session.predict(task, &mut batch.into_iter(), &mut |answer| out.json(&answer))?;
        out.flush()?;
    }
}

/// The request that the flags make, if it is one that the task reads.
fn request(args: &Args, task: &NamedTask) -> Result<Value> {
    let context = match (&args.context, &args.context_file) {
        (Some(context), _) => Some(context.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
            Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        }
        (None, None) => None,
    };
    let mut request = Map::new();
    for (field, value) in [("text", &args.text), ("question", &args.question), ("context", &context)] {
        if let Some(value) = value {
            request.insert(field.into(), json!(value));
        }
    }
    let (expected, fields): (&str, &[&str]) = match task.task.kind() {
        "ner" => ("a text", &["text"]),
        "qa" => ("--question, and --context or --context-file", &["question", "context"]),
        _ => ("a text, a question, or --input with requests of its own", &[]),
    };
    let fits = fields.iter().all(|field| request.contains_key(*field))
        && request.keys().all(|name| fields.is_empty() || fields.contains(&name.as_str()));
    if request.is_empty() || !fits {
        return Err(Error::usage(format!("the task `{}` expects {expected}; or --input FILE", task.name))
            .hint("`polyhead help predict` has an example of each"));
    }
    Ok(Value::Object(request))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn score(value: &Value) -> String {
    value.get("score").and_then(Value::as_f64).map_or_else(String::new, decimal)
}

fn characters(value: &Value) -> String {
    let at = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!("{}..{}", at("start"), at("end"))
}

fn entities(answer: &Value, out: &mut Out) -> Result<()> {
    let entities = answer.get("entities").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if entities.is_empty() {
        return out.line("no entity");
    }
    let mut table = Table::new(&[
        ("type", Align::Left),
        ("text", Align::Left),
        ("characters", Align::Right),
        ("score", Align::Right),
    ]);
    for entity in entities {
        table.row([
            text(entity, "type").to_owned(),
            text(entity, "text").to_owned(),
            characters(entity),
            score(entity),
        ]);
    }
    out.line(table)
}

fn found(answer: &Value, out: &mut Out) -> Result<()> {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("answer", Align::Left),
        ("characters", Align::Right),
        ("score", Align::Right),
    ]);
    let mut row = |name: &str, answer: &Value| match text(answer, "answer") {
        "" => table.row([name.to_owned(), "(no answer)".to_owned(), String::new(), score(answer)]),
        text => table.row([name.to_owned(), text.to_owned(), characters(answer), score(answer)]),
    };
    row("best", answer);
    let others = answer.get("alternatives").and_then(Value::as_array);
    for other in others.into_iter().flatten() {
        row("or", other);
    }
    out.line(table)
}
