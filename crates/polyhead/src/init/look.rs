//! What a file holds: every kind of task tries to read it.

use super::columns;
use super::language::{self, Share};
use crate::data::{Columns, Encoding, FormatName, Layout, fields, tool_of};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::tasks::{AnyTask, Examples, TaskKind};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::iter;
use std::path::{Path, PathBuf};

/// A file that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct LookedAt {
    /// Where it lies.
    pub file: PathBuf,
    /// The annotation tool that wrote it, where its fields tell.
    pub tool: Option<&'static str>,
    /// What each kind of task that can learn from it reads in it: one at least.
    pub readings: Vec<Reading>,
    /// The languages of its texts, the most frequent first; those that can't be told are left out.
    pub languages: Vec<Share>,
}

/// What a kind of task reads in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// The kind of task.
    pub kind: &'static str,
    /// What the kind does, in a few words.
    pub about: &'static str,
    /// The format of the file.
    pub format: &'static str,
    /// What the task must be told besides its kind.
    pub config: Value,
    /// Which columns hold what, where that must be said.
    pub columns: Option<Columns>,
    /// How its characters are encoded.
    pub encoding: Encoding,
    /// Usable examples.
    pub examples: usize,
    /// Examples that can't be used: how many, and the first reason with its place.
    pub skipped: usize,
    /// The first of those, for people.
    pub first_skipped: Option<String>,
    /// The labels that it would learn, in the order of the head's outputs.
    pub labels: Vec<String>,
    /// How often each label or kind of answer occurs.
    pub distribution: Vec<(String, usize)>,
    /// Groups of examples that stay together when some are held out.
    pub groups: usize,
    /// How long its texts are.
    pub lengths: Lengths,
    /// What was changed while reading.
    pub notes: Vec<String>,
    /// The longest window of the kind, in tokens, if nothing else is said.
    pub max_length: usize,
}

/// How long texts are, in words between white space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// Half of the texts have no more.
    pub median: usize,
    /// 99 of 100 have no more.
    pub percentile_99: usize,
    /// The longest.
    pub longest: usize,
}

/// More labels than a third of the examples are no labels: the column holds something else.
const EXAMPLES_OF_A_LABEL: usize = 3;
/// So few labels are always plausible.
const FEW_LABELS: usize = 20;

/// Looks at a file.
pub(super) fn look(file: &Path, columns: Option<&Columns>, kinds: &[TaskKind]) -> Result<LookedAt> {
    if !file.exists() {
        return Err(Error::missing("no such file or folder").at(Place::file(file)));
    }
    let extension = crate::data::extension(file);
    let mut readings: Vec<(u8, Reading, Vec<String>)> = Vec::new();
    let mut refusals: Vec<(u8, &TaskKind, Error)> = Vec::new();
    for kind in kinds {
        let Some(format) = kind.formats.format(&extension) else { continue };
        match read(file, columns, kind, format) {
            Ok((reading, texts)) => readings.push((format.vague, reading, texts)),
            Err(error) => refusals.push((format.vague, kind, error)),
        }
    }
    let Some(clearest) = readings.iter().map(|(vague, ..)| *vague).min() else {
        return Err(refused(file, &extension, refusals, kinds));
    };
    readings.retain(|(vague, ..)| *vague == clearest);
    let languages = language::languages(readings.first().map_or(&[][..], |(_, _, texts)| texts));
    let readings = readings.into_iter().map(|(_, reading, _)| reading).collect();
    Ok(LookedAt { file: file.to_owned(), tool: tool_of(file), readings, languages })
}

/// Reads a file as one kind of task does, with the first of its draft configurations that finds something to learn in it.
fn read(file: &Path, columns: Option<&Columns>, kind: &TaskKind, format: FormatName) -> Result<(Reading, Vec<String>)> {
    let mut first = None;
    // Those that were said; else the usual ones, and those that the values tell.
    let columns: Vec<Option<Columns>> = match columns {
        Some(columns) => vec![Some(columns.clone())],
        None => iter::once(None).chain(columns::guess(file, kind.formats.columns()).map(Some)).collect(),
    };
    for config in (kind.drafts)() {
        for columns in &columns {
            for encoding in [Encoding::Utf8, Encoding::Latin1] {
                let layout = Layout { columns: columns.clone(), encoding, ..Layout::default() };
                match learned(file, kind, &config, &layout) {
                    Ok((task, examples)) => {
                        return described(kind, format, config, &layout, &*task, examples);
                    }
                    Err(error) => _ = first.get_or_insert(error),
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::internal(format!("{} has no draft of a configuration", kind.kind))))
}

/// The task with what the file taught it, and the examples.
fn learned(file: &Path, kind: &TaskKind, config: &Value, layout: &Layout) -> Result<(Box<dyn AnyTask>, Examples)> {
    let mut task = (kind.open)(config.clone())?;
    let examples = task.read(file, None, layout)?;
    task.prepare(&examples)?;
    task.check(&examples)?;
    task.learnable(&examples)?;
    let labels = task.labels().len();
    if labels > FEW_LABELS && labels * EXAMPLES_OF_A_LABEL > examples.len {
        let message = format!("expected labels that occur several times, found {labels} in {} examples", examples.len);
        return Err(Error::data(message).at(Place::file(file)));
    }
    Ok((task, examples))
}

fn described(
    kind: &TaskKind,
    format: FormatName,
    config: Value,
    layout: &Layout,
    task: &dyn AnyTask,
    examples: Examples,
) -> Result<(Reading, Vec<String>)> {
    let texts = (0..examples.len).map(|index| Ok(task.outline(&examples, index)?.text.to_owned()));
    let texts: Vec<String> = texts.collect::<Result<_>>()?;
    let mut words: Vec<usize> = texts.iter().map(|text| text.split_whitespace().count()).collect();
    words.sort_unstable();
    let at = |share: usize| words.get((words.len() * share / 100).min(words.len().saturating_sub(1))).copied();
    let lengths = Lengths {
        median: at(50).unwrap_or(0),
        percentile_99: at(99).unwrap_or(0),
        longest: words.last().copied().unwrap_or(0),
    };
    let distribution = task.distribution(&examples)?;
    let groups = task.groups(&examples)?.into_iter().collect::<BTreeSet<_>>();
    let first_skipped =
        examples.skipped.first().map(|skipped| format!("{}: {}: {}", skipped.place, skipped.example, skipped.reason));
    let reading = Reading {
        kind: kind.kind,
        about: kind.about,
        format: format.name,
        config,
        columns: layout.columns.clone(),
        encoding: layout.encoding,
        examples: examples.len,
        skipped: examples.skipped.len(),
        first_skipped,
        labels: task.labels().to_vec(),
        // Where rows belong together, tables set their names in.
        distribution: distribution.into_iter().map(|(name, number)| (name.trim().to_owned(), number)).collect(),
        groups: groups.len(),
        lengths,
        notes: examples.notes,
        max_length: task.max_length(),
    };
    Ok((reading, texts))
}

/// Why no kind of task can learn from a file: what the clearest format says, else what each says.
fn refused(file: &Path, extension: &str, refusals: Vec<(u8, &TaskKind, Error)>, kinds: &[TaskKind]) -> Error {
    if let Some(fields) = fields(file)
        && !fields.is_empty()
    {
        let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
        let kinds: Vec<String> =
            refusals.iter().map(|(_, kind, error)| format!("\n  {}: {error}", kind.kind)).collect();
        let message = format!("can't tell what it is for; it has the columns {}{}", names.join(", "), kinds.concat());
        return Error::data(message)
            .at(Place::file(file))
            .hint("say which column is what, as in --columns text=body,label=class, and --kind if need be");
    }
    // A fault of the file, with its line, says more than that the file is of another kind.
    let clearest = refusals.iter().map(|(vague, ..)| *vague).min();
    let mut of_clearest: Vec<(u8, &TaskKind, Error)> =
        refusals.into_iter().filter(|(vague, ..)| Some(*vague) == clearest).collect();
    match of_clearest.len() {
        0 => {
            let mut known: Vec<&str> = kinds.iter().flat_map(|kind| kind.formats.extensions()).collect();
            known.sort_unstable();
            known.dedup();
            let message =
                format!("expected a file of data (.{}), found the extension `.{extension}`", known.join(", ."));
            Error::usage(message).at(Place::file(file)).hint("give the file the extension of its format")
        }
        1 => of_clearest.remove(0).2,
        _ => {
            let each: Vec<String> =
                of_clearest.iter().map(|(_, kind, error)| format!("\n  {}: {error}", kind.kind)).collect();
            let usage = of_clearest.iter().all(|(.., error)| error.kind() == ErrorKind::Usage);
            let message = format!("no kind of task can learn from it{}", each.concat());
            let error = if usage { Error::usage(message) } else { Error::data(message) };
            error.at(Place::file(file)).hint("docs/tasks has a page for each kind, with the formats that it reads")
        }
    }
}
