//! `polyhead eval`: all scores of a model on a file with gold answers.

use super::{Format, Precision};
use crate::out::Out;
use crate::progress::{counter, downloads};
use crate::scores;
use crate::table::{counted, start_of};
use polyhead::data::{Columns, Encoding, Files, Layout, Skipped};
use polyhead::hub::{self, HubOptions};
use polyhead::infer::{Evaluation, GoldData};
use polyhead::io::write_atomic;
use polyhead::model::NamedTask;
use polyhead::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// So many of the skipped examples are listed; `--json` lists all.
const LISTED: usize = 20;

const HELP: &str = "\
Examples:
  polyhead eval runs/quickstart --task ner --data samples/ner/validation.conll
  polyhead eval runs/quickstart --task qa --data dev-v1.1.json --limit 500 --json
  polyhead eval runs/quickstart --task qa --data dev-v2.0.json --squad-predictions predictions.json
  polyhead eval runs/quickstart --task ner --data hf://datasets/lhoestq/conll2003/data/test-00000-of-00001.parquet

The task and the extension tell the format. ner: CoNLL columns (.txt .conll .bio .iob .iob2 .tsv), JSON Lines (.jsonl), Parquet in
the Hub's layouts (.parquet). qa: SQuAD (.json), JSON Lines, Parquet. classify: lines of a label and a text (.txt .label), tables
(.csv .tsv), JSON Lines.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    /// The task; may be left out where the model has only one
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// The files with gold answers: a file, a folder, a pattern as in 'news/*.jsonl', or hf://datasets/OWNER/NAME/PATH
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<String>,
    /// Score the first N examples only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Which columns hold what, counted from 1 or by name: 2,3 (word, tag), or with roles, as in text=body,label=1
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<Columns>,
    /// How the characters of the file are encoded: utf-8, latin-1
    #[arg(long, value_name = "ENCODING", default_value = "utf-8", hide_default_value = true)]
    encoding: Encoding,
    /// The names of tags that the file writes as numbers 0, 1, ..., as in O,B-PER,I-PER
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tag_names: Vec<String>,
    /// The names of labels that the file writes as numbers 0, 1, ..., as in negative,positive
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    label_names: Vec<String>,
    /// What stands between the labels of one text, where a text may have several, as in a,b
    #[arg(long, value_name = "SEPARATOR")]
    label_separator: Option<String>,
    /// Write every answer beside its gold answer to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Write the answers to questions to this file as the official SQuAD scripts read them: {"id": "answer"}
    #[arg(long, value_name = "FILE")]
    squad_predictions: Option<PathBuf>,
    /// Say how far each score may be off, since other examples might have been drawn: the middle 95 % of 1,000 bootstrap samples
    #[arg(long)]
    interval: bool,
    #[command(flatten)]
    precision: Precision,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let session = args.precision.open(&args.model)?;
    let task = super::task(&session.model, args.task.as_deref())?;
    let mut squad = args.squad_predictions.as_ref().map(|_| answers_questions(task)).transpose()?;
    let named = Files::new(args.data.clone()).ok_or_else(|| Error::usage("--data: expected a file, found none"))?;
    let here = |_: &str| Path::new("");
    let options = HubOptions::from_env();
    let files = hub::data_files(&named, task.task.formats(), &here, &options, &mut downloads(out))?;
    let files: Vec<PathBuf> = files.into_iter().map(|named| named.file).collect();
    let limit = args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let bar = counter("examples");
    let mut predictions = String::new();
    let layout = Layout {
        columns: args.columns.clone(),
        tag_names: args.tag_names.clone(),
        label_names: args.label_names.clone(),
        label_separator: args.label_separator.clone(),
        encoding: args.encoding,
        ..Layout::default()
    };
    let gold = GoldData { files: &files, limit, layout: &layout, intervals: args.interval };
    let evaluation = session.evaluate_while(&|| Ok(()), &task.name, gold, &mut |answer, _| {
        bar.inc(1);
        if args.predictions.is_some() {
            predictions += &format!("{answer}\n");
        }
        let of = |name: &str| answer.get(name).and_then(Value::as_str);
        if let (Some(squad), Some(id), Some(text)) = (&mut squad, of("id"), of("answer")) {
            squad.insert(id.to_owned(), text.into());
        }
    })?;
    bar.finish_and_clear();
    if let Some(path) = &args.predictions {
        write_atomic(path, predictions)?;
    }
    if let (Some(path), Some(squad)) = (&args.squad_predictions, squad) {
        write_atomic(path, format!("{}\n", Value::Object(squad)))?;
    }
    if args.format.json {
        return out.json(&report(args, &named, task, session.products().name(), &evaluation));
    }
    let Evaluation { score, skipped, notes, examples, intervals } = &evaluation;
    tell_left_out(skipped, notes, out);
    out.heading(&format!("{} on {named}", task.name))?;
    let left_out = match skipped.len() {
        0 => "none skipped".to_owned(),
        number => format!("{} skipped", counted(number, "example")),
    };
    out.line(format!("{} scored, {left_out}", counted(*examples, "example")))?;
    for table in scores::tables(score, intervals) {
        out.line(format!("\n{table}"))?;
    }
    Ok(())
}

/// Nothing yet of the answers that SQuAD's scripts read, if the task answers questions.
fn answers_questions(task: &NamedTask) -> Result<Map<String, Value>> {
    match task.task.fields().iter().any(|field| field.name == "question") {
        true => Ok(Map::new()),
        false => Err(Error::usage(format!(
            "--squad-predictions: expected a task that answers questions, found `{}`",
            task.name
        ))
        .hint("--predictions FILE takes the answers of any task")),
    }
}

/// Notes and skipped examples, to standard error.
pub fn tell_left_out(skipped: &[Skipped], notes: &[String], out: &Out) {
    for note in notes {
        out.note(format!("note: {note}"));
    }
    for Skipped { place, example, reason } in skipped.iter().take(LISTED) {
        out.note(format!("skipped: {place}: {}: {reason}", start_of(example, 60)));
    }
    if skipped.len() > LISTED {
        out.note(format!("skipped: and {} more; --json lists all", skipped.len() - LISTED));
    }
}

fn report(args: &Args, data: &Files, task: &NamedTask, precision: &str, evaluation: &Evaluation) -> Value {
    let Evaluation { score, skipped, notes, examples, intervals } = evaluation;
    let mut report = json!({
        "model": args.model,
        "task": task.name,
        "kind": task.task.kind(),
        "data": data,
        "precision": precision,
        "examples": examples,
        "skipped": skipped,
        "notes": notes,
        "score": score,
    });
    if let (Value::Object(fields), false) = (&mut report, intervals.is_empty()) {
        fields.insert("intervals".to_owned(), json!(intervals));
    }
    report
}
