//! The recipe as a text with comments, for people to go on with.

use super::LookedAt;
use super::language::{OF_ANY, OF_ENGLISH};
use super::tasks::{ProposedTask, plain};
use crate::data::Encoding;
use crate::document::number::{count, counted};
use std::fmt::Write as _;
use std::path::PathBuf;

/// So many labels are named in a comment.
const SHOWN: usize = 8;

/// Passes over so much data, and up to how many examples.
const EPOCHS: &[(usize, usize)] = &[(300, 20), (1_000, 10), (5_000, 5)];
const EPOCHS_OF_MUCH: usize = 3;

pub(super) fn recipe(
    name: Option<&str>,
    encoder: &str,
    chosen: bool,
    files: &[LookedAt],
    tasks: &[ProposedTask],
) -> String {
    let kinds: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let name = name.map_or_else(|| plain(&kinds.join("-")), str::to_owned);
    let examples = tasks.iter().map(|task| task.examples).max().unwrap_or(0);
    let epochs = EPOCHS.iter().find(|(most, _)| examples < *most).map_or(EPOCHS_OF_MUCH, |(_, epochs)| *epochs);
    let small = encoder == OF_ENGLISH;
    let (rate, why) = match small {
        true => ("1.5e-4", "of a small encoder; 2e-5 to 5e-5 is usual for larger ones"),
        false => ("3e-5", "2e-5 to 5e-5 is usual; a small encoder takes more"),
    };
    let mut text = String::from("# Written by `polyhead init`. Look at what it will train on, then train:\n#\n");
    text += "#   polyhead data RECIPE\n#   polyhead train RECIPE\n#\n# docs/recipes.md has every key.\n\n";
    let _ = writeln!(text, "name = {}\nseed = 42\n\n[encoder]", quoted(&name));
    text += &about_encoder(encoder, chosen, files);
    let _ = writeln!(text, "checkpoint = {}\n\n[train]", quoted(encoder));
    let _ = writeln!(text, "{:<24} # passes over the data: fewer where there is much", format!("epochs = {epochs}"));
    let _ = writeln!(text, "{:<24} # {why}", format!("learning_rate = {rate}"));
    if let Some(names) = of_same_files(tasks) {
        let _ = writeln!(
            text,
            "{:<24} # {names} read the same files: one encoder pass for all of them, where their windows are the same too",
            "# shared_pass = true"
        );
    }
    for task in tasks {
        text += &of_task(task, files);
    }
    text
}

/// The names of the first tasks that train on the same files.
fn of_same_files(tasks: &[ProposedTask]) -> Option<String> {
    tasks.iter().find_map(|first| {
        let same: Vec<&str> =
            tasks.iter().filter(|task| task.train == first.train).map(|task| task.name.as_str()).collect();
        (same.len() > 1).then(|| same.join(", "))
    })
}

fn about_encoder(encoder: &str, chosen: bool, files: &[LookedAt]) -> String {
    let mut languages: Vec<&str> = files.iter().flat_map(|file| &file.languages).map(|share| share.language).collect();
    languages.sort_unstable();
    languages.dedup();
    let languages = if languages.is_empty() { "no language could be told".to_owned() } else { languages.join(", ") };
    match encoder {
        _ if chosen => format!("# Of the texts: {languages}.\n"),
        OF_ENGLISH => format!(
            "# Of the texts: {languages}. A small encoder that trains on a laptop; a larger one is often better: \"bert-base-uncased\",\n\
             # \"roberta-base\".\n"
        ),
        OF_ANY => format!(
            "# Of the texts: {languages}. An encoder of a hundred languages; one of yours alone is often better.\n"
        ),
        _ => String::new(),
    }
}

fn of_task(task: &ProposedTask, files: &[LookedAt]) -> String {
    let mut text = format!("\n[tasks.{}]\n", task.name);
    let _ = writeln!(text, "{:<24} # {}", format!("kind = {}", quoted(task.kind)), task.about);
    if let Some(labels) = labels(task, files) {
        let _ = writeln!(text, "# {labels}");
    }
    for (key, value) in task.config.as_object().into_iter().flatten() {
        if let Ok(value) = toml::Value::try_from(value) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text += "batch_size = 16\n";
    if let Some(most) = task.max_length {
        let _ = writeln!(
            text,
            "{:<24} # tokens of a window: 99 of 100 texts are no longer, as far as words tell",
            format!("max_length = {most}")
        );
    }
    let _ = writeln!(text, "\n[data.{}]", task.name);
    let _ = writeln!(text, "train = {}   # {}", paths(&task.train), counted(task.examples, "example"));
    match task.split {
        Some(share) => {
            let _ = writeln!(
                text,
                "split = {share}   # held out to score on: no file for validation was found; name one as `validation` instead"
            );
        }
        None if task.validation.is_empty() => {
            text += "# No file for validation was found, and none of its texts can be held out: they are one. It is not scored.\n";
        }
        None => {
            let _ = writeln!(text, "validation = {}", paths(&task.validation));
        }
    }
    if let Some(columns) = &task.columns
        && let Ok(columns) = toml::Value::try_from(columns)
    {
        let _ = writeln!(text, "columns = {columns}   # told by what they hold: is it right?");
    }
    if task.encoding == Encoding::Latin1 {
        text += "encoding = \"latin-1\"   # the files are not UTF-8\n";
    }
    text
}

/// The labels of the first training file, with how often they occur.
fn labels(task: &ProposedTask, files: &[LookedAt]) -> Option<String> {
    let first = files.iter().find(|file| Some(&file.file) == task.train.first())?;
    let reading = first.readings.iter().find(|reading| reading.kind == task.kind)?;
    let shown: Vec<String> =
        reading.distribution.iter().take(SHOWN).map(|(name, number)| format!("{name} {}", count(*number))).collect();
    let rest = reading.distribution.len().saturating_sub(SHOWN);
    let rest = if rest > 0 { format!(" and {} more", count(rest)) } else { String::new() };
    let text = format!("{}{rest}", shown.join(", "));
    // A comment is a line.
    (!shown.is_empty()).then(|| text.replace(char::is_control, " "))
}

fn paths(paths: &[PathBuf]) -> String {
    let each: Vec<String> = paths.iter().map(|path| quoted(&path.to_string_lossy())).collect();
    if let [one] = each.as_slice() { one.clone() } else { format!("[{}]", each.join(", ")) }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
