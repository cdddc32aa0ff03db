//! `polyhead init`: looks at files of one's own, says what they are, and writes a recipe that trains on them.

use super::Format;
use crate::out::Out;
use crate::table::{Align, Table, count, start_of};
use polyhead::data::{Columns, Files};
use polyhead::init::{self, Known, LookedAt, Proposal, Reading};
use polyhead::io::write_atomic;
use polyhead::tasks::TASKS;
use polyhead::{Error, Place, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// So many labels are shown of each file; `--json` has all.
const LABELS: usize = 8;

const HELP: &str = "\
Examples:
  polyhead init reviews.csv
  polyhead init data/train.conll data/dev.conll questions.json -o recipe.toml
  polyhead init tickets.csv --columns text=body,label=queue
  polyhead init corpus/

Names tell splits: `train`, `dev` or `validation`, `test`. Without a file for validation, a tenth of the training examples is held out.
Nothing is trained and nothing is downloaded.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Files of data, folders of them, or patterns as in 'news/*.jsonl'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Where the recipe is written
    #[arg(short, long, value_name = "FILE", default_value = "recipe.toml")]
    output: PathBuf,
    /// Replace the file that is there
    #[arg(long)]
    overwrite: bool,
    /// The kind of task that they are for, where only one is meant: ner, qa, classify ...
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Which columns hold what, by name or counted from 1, as in text=body,label=queue
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<Columns>,
    /// The encoder to begin with: a name on the Hub or a folder
    #[arg(long, value_name = "CHECKPOINT")]
    encoder: Option<String>,
    /// The name of the recipe; left out, it is made of those of its tasks
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    if args.output.exists() && !args.overwrite {
        return Err(Error::cannot_write("the file exists")
            .at(Place::file(&args.output))
            .hint("--output names another one, --overwrite replaces it"));
    }
    let Args { kind, columns, encoder, name, .. } = args;
    let files = Files::new(args.files.clone()).ok_or_else(|| Error::usage("expected a file of data, found none"))?;
    let known = Known { kind: kind.clone(), columns: columns.clone(), encoder: encoder.clone(), name: name.clone() };
    let proposal = init::propose(&files, &known, TASKS)?;
    write_atomic(&args.output, &proposal.recipe)?;
    match args.format.json {
        true => out.json(&json!({ "output": args.output, "proposal": proposal })),
        false => print(&proposal, &args.output, out),
    }
}

fn print(proposal: &Proposal, output: &Path, out: &mut Out) -> Result<()> {
    for file in &proposal.files {
        looked_at(file, out)?;
    }
    out.heading("Tasks")?;
    let mut tasks = Table::new(&[
        ("task", Align::Left),
        ("kind", Align::Left),
        ("train", Align::Left),
        ("validation", Align::Left),
    ]);
    let names = |files: &[PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    for task in &proposal.tasks {
        let validation = match task.split {
            Some(share) => format!("{share} of train, held out"),
            None if task.validation.is_empty() => "none: it is not scored".to_owned(),
            None => names(&task.validation),
        };
        tasks.row([task.name.clone(), task.kind.to_owned(), names(&task.train), validation]);
    }
    out.line(tasks)?;
    for left in &proposal.left_out {
        out.line(format!("left out: {}: {}", left.file.display(), left.reason))?;
    }
    out.line(format!("\n{} is written. Next:\n", output.display()))?;
    out.line(format!(
        "  polyhead data {0}     what it will train on, in tokens\n  polyhead train {0}",
        output.display()
    ))
}

fn looked_at(file: &LookedAt, out: &mut Out) -> Result<()> {
    out.heading(&file.file.display().to_string())?;
    let mut facts = Table::pairs();
    if let Some(tool) = file.tool {
        facts.row(["written by", tool]);
    }
    for reading in &file.readings {
        facts.row([reading.kind.to_owned(), format!("{}; {}", reading.about, reading.format)]);
        facts.row(["  examples".to_owned(), examples(reading)]);
        if !reading.distribution.is_empty() {
            let shown = reading.distribution.iter().take(LABELS);
            let shown: Vec<String> =
                shown.map(|(name, number)| format!("{} {}", start_of(name, 40), count(*number))).collect();
            let rest = reading.distribution.len().saturating_sub(LABELS);
            let rest = if rest > 0 { format!(" and {} more", count(rest)) } else { String::new() };
            facts.row(["  of them".to_owned(), format!("{}{rest}", shown.join(", "))]);
        }
        let lengths = reading.lengths;
        let words = format!("{} in the middle, {} at most", count(lengths.median), count(lengths.longest));
        facts.row(["  words".to_owned(), words]);
        if let Some(columns) = &reading.columns {
            let named: Vec<String> = columns.iter().map(|(role, column)| format!("{role} = {column}")).collect();
            facts.row(["  columns".to_owned(), format!("{} (told by what they hold)", named.join(", "))]);
        }
        for note in &reading.notes {
            facts.row(["  note".to_owned(), note.clone()]);
        }
    }
    let languages: Vec<String> =
        file.languages.iter().map(|share| format!("{} {:.0} %", share.language, 100.0 * share.share)).collect();
    if !languages.is_empty() {
        facts.row(["language".to_owned(), languages.join(", ")]);
    }
    out.line(format!("{facts}\n"))
}

fn examples(reading: &Reading) -> String {
    let usable = count(reading.examples);
    match &reading.first_skipped {
        None => usable,
        Some(first) => format!("{usable}; {} can't be used, the first: {first}", count(reading.skipped)),
    }
}
