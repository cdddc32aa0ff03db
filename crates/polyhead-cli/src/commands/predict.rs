//! `polyhead predict`: one text from the command line, plain texts from standard input, or a stream of requests as JSON
//! Lines.

use super::{Format, Precision};
use crate::answers::{Answers, Form, Titles};
use crate::out::Out;
use crate::requests::{self, Request, Requests, whole_stdin};
use polyhead::infer::Session;
use polyhead::model::NamedTask;
use polyhead::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  polyhead predict runs/quickstart --task ner \"Ada Lovelace was born in London.\"
  echo \"Ada Lovelace was born in London.\" | polyhead predict runs/quickstart --task ner
  polyhead predict runs/quickstart --task ner --format columns < texts.txt > tagged.conll
  polyhead predict runs/quickstart --task qa --question \"Where?\" --context-file page.txt
  polyhead predict runs/quickstart --task qa --question \"Where?\" < page.txt
  polyhead predict runs/quickstart --task ner --input texts.jsonl > entities.jsonl
  tail -f log.jsonl | polyhead predict runs/quickstart --task qa --input -

Standard input, where neither a text nor --input is given: a text on each line, blank lines aside; with --question all of it \
is the context. It is never read as JSON: --input - does that.

Requests of --input, one JSON object a line (an `id` comes back with its answer):
  ner       {\"text\": \"...\"} or {\"words\": [\"...\", \"...\"]}
  qa        {\"question\": \"...\", \"context\": \"...\"}
  classify  {\"text\": \"...\"}, with \"text_pair\" where the model reads pairs
  relation  {\"marked_text\": \"The <e1>fire</e1> was caused by the <e2>bombs</e2>.\"}, or {\"text\": \"...\", \"head\": {\"start\": 4, \"end\": 8}, \"tail\": {...}}

Answers come in the order of the requests. Offsets count characters (Unicode code points). Rows of tsv begin with the id of \
the request, or its line, and have \\t, \\n and \\\\ for what would end a cell.
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
    /// Another field of the task's requests
    #[arg(long = "field", value_name = "NAME=TEXT", conflicts_with = "input")]
    fields: Vec<String>,
    /// A file of requests as JSON Lines; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How answers are printed [default: table; json with --input]
    #[arg(long = "format", value_enum, value_name = "FORMAT", conflicts_with = "json")]
    form: Option<Form>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    precision: Precision,
}

pub fn run(args: Args, out: &mut Out) -> Result<()> {
    let session = args.precision.open(&args.model)?;
    let task = super::task(&session.model, args.task.as_deref())?;
    let shape = task.task.shape();
    let asked = if args.format.json { Some(Form::Json) } else { args.form };
    if let Some(path) = &args.input {
        let answers = Answers::new(asked.unwrap_or(Form::Json), shape, Titles::Shown);
        stream(&session, task, Requests::open(path)?, answers, out)?;
        return Ok(());
    }
    let form = asked.unwrap_or(Form::Table);
    if let Some(field) = field_of_lines(&args, task) {
        let answers = Answers::new(form, shape, Titles::Shown);
        return match stream(&session, task, Requests::stdin(requests::Form::Text(field)), answers, out)? {
            0 => Err(refused(task)),
            _ => Ok(()),
        };
    }
    let request = request(&args, task)?;
    let mut answers = Answers::new(form, shape, Titles::None);
    let mut one = std::iter::once(Ok((request, polyhead::Place::file("request"))));
    let mut write = |answer: Value| answers.write(&answer, "", 1, out);
    match form {
        Form::Columns => session.records(&task.name, &mut one, &mut write),
        _ => session.predict(&task.name, &mut one, &mut write),
    }
}

/// The field that the texts of a task go to which are given without a name: its `text`, or its only one.
fn unnamed(task: &NamedTask) -> Option<&'static str> {
    match fields(task).as_slice() {
        [only] if !["question", "context"].contains(only) => Some(*only),
        several => several.iter().copied().find(|name| *name == "text"),
    }
}

/// The field whose texts are lines of standard input: no text is given otherwise, and somebody sends some.
fn field_of_lines(args: &Args, task: &NamedTask) -> Option<&'static str> {
    let given = args.text.is_some() || args.question.is_some() || !args.fields.is_empty();
    let alone = fields(task).len() == 1 && !given && !std::io::stdin().is_terminal();
    unnamed(task).filter(|_| alone)
}

/// Answers requests as they come, and counts them.
fn stream(
    session: &Session,
    task: &NamedTask,
    mut requests: Requests,
    mut answers: Answers,
    out: &mut Out,
) -> Result<usize> {
    let mut count = 0;
    loop {
        let batch = requests.batch();
        if batch.is_empty() {
            return Ok(count);
        }
        count += batch.len();
        // Answers come in the order of the requests.
        let mut waiting: VecDeque<(String, usize)> =
            batch.iter().flatten().map(|request| (title(task, &request.value), request.line)).collect();
        let mut batch = batch.into_iter().map(|request| request.map(|Request { value, place, .. }| (value, place)));
        let records = answers.wants_records();
        let mut write = |answer: Value| {
            let (title, line) = waiting.pop_front().unwrap_or_default();
            answers.write(&answer, &title, line, out)
        };
        match records {
            true => session.records(&task.name, &mut batch, &mut write)?,
            false => session.predict(&task.name, &mut batch, &mut write)?,
        }
        out.flush()?;
    }
}

/// What was asked, on one line: the first field of the task, or words.
fn title(task: &NamedTask, request: &Value) -> String {
    let words = |words: &Vec<Value>| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let names = fields(task).into_iter().chain(["text"]);
    let text = names.into_iter().find_map(|name| request.get(name)?.as_str().map(str::to_owned));
    let title = text.or_else(|| request.get("words")?.as_array().map(words)).unwrap_or_default();
    title.replace(['\n', '\r', '\t'], " ")
}

/// The request that the flags make, with standard input as the context of a question that has none.
fn request(args: &Args, task: &NamedTask) -> Result<Value> {
    let context = match (&args.context, &args.context_file) {
        (Some(context), _) => Some(context.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
            Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        }
        (None, None)
            if args.question.is_some() && fields(task).contains(&"context") && !std::io::stdin().is_terminal() =>
        {
            Some(whole_stdin()?).filter(|text| !text.trim().is_empty())
        }
        (None, None) => None,
    };
    let mut request = Map::new();
    let unnamed = unnamed(task).unwrap_or("text");
    for (field, value) in [(unnamed, &args.text), ("question", &args.question), ("context", &context)] {
        if let Some(value) = value {
            request.insert(field.into(), json!(value));
        }
    }
    for pair in &args.fields {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Error::usage(format!("--field: expected NAME=TEXT, found `{pair}`")).hint(format!(
                "the fields of the task `{}`: {}",
                task.name,
                fields(task).join(", ")
            )));
        };
        if request.insert(name.to_owned(), json!(text)).is_some() {
            return Err(Error::usage(format!("--field: `{name}` is given twice")));
        }
    }
    let fields = fields(task);
    let fits = fields.iter().all(|field| request.contains_key(*field))
        && request.keys().all(|name| fields.contains(&name.as_str()));
    if fits { Ok(Value::Object(request)) } else { Err(refused(task)) }
}

/// The names of the fields of its requests.
fn fields(task: &NamedTask) -> Vec<&'static str> {
    task.task.fields().iter().map(|field| field.name).collect()
}

/// Says which flags give the fields of a task.
fn refused(task: &NamedTask) -> Error {
    let flag = |name: &str| match name {
        name if unnamed(task) == Some(name) => "a text".to_owned(),
        "question" => "--question".to_owned(),
        "context" => "--context, --context-file or the context as standard input".to_owned(),
        name => format!("--field {name}=TEXT"),
    };
    let expected = fields(task).into_iter().map(flag).collect::<Vec<_>>().join(", and ");
    Error::usage(format!("the task `{}` expects {expected}; or --input FILE", task.name))
        .hint("`polyhead help predict` has an example of each")
}
