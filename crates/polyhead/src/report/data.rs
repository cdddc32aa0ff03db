//! What a recipe trains on: counts, labels, lengths, windows, what truncation loses, what had to be left out.

use crate::data::Skipped;
use crate::error::Result;
use crate::events::{Lost, Plan};
use crate::tasks::{AnyTask, Examples, Purpose};
use crate::text::Tokenizer;
use crate::train::{Prepared, TaskData};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// The data of a recipe.
#[derive(Debug, Clone, Serialize)]
pub struct DataReport {
    /// What training would do.
    pub plan: Plan,
    /// The data of each task.
    pub tasks: Vec<TaskSplits>,
}

/// The data of a task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskSplits {
    /// Its name.
    pub name: String,
    /// Its longest window, in tokens.
    pub max_length: usize,
    /// Its labels, in the order of the head's outputs.
    pub labels: Vec<String>,
    /// Training, and validation if there is any.
    pub splits: Vec<Split>,
}

/// One split of a task's data.
#[derive(Debug, Clone, Serialize)]
pub struct Split {
    /// `train` or `validation`.
    pub name: &'static str,
    /// Usable examples.
    pub examples: usize,
    /// How often each label or kind of question occurs.
    pub distribution: Vec<(String, usize)>,
    /// The windows that they make: for training, as training cuts; for validation, without any cut.
    pub windows: usize,
    /// How many examples make one window, two, three ...
    pub windows_per_example: BTreeMap<usize, usize>,
    /// Real tokens of all windows, special tokens included.
    pub tokens: usize,
    /// How many windows are of each length, in bins of [`BIN`] tokens; the key is the bin's first length.
    pub lengths: BTreeMap<usize, usize>,
    /// The longest window.
    pub longest: usize,
    /// What truncation loses in training; nothing is cut in validation.
    pub lost: Lost,
    /// Examples that can't be used, and why.
    pub skipped: Vec<Skipped>,
    /// What was changed while reading.
    pub notes: Vec<String>,
}

/// The width of a bin of the length histogram, in tokens.
pub const BIN: usize = 16;

/// Describes the data of a prepared recipe.
pub fn data_report(prepared: &Prepared, plan: Plan) -> Result<DataReport> {
    let tokenizer = &prepared.model.tokenizer;
    let tasks = prepared.model.tasks.iter().zip(&prepared.task_data).map(|(named, data)| {
        let task = &*named.task;
        let mut splits = vec![training(task, data)?];
        if let Some(examples) = &data.validation {
            splits.push(validation(task, examples, tokenizer)?);
        }
        let labels = task.labels().to_vec();
        Ok(TaskSplits { name: named.name.clone(), max_length: task.max_length(), labels, splits })
    });
    Ok(DataReport { plan, tasks: tasks.collect::<Result<_>>()? })
}

fn training(task: &dyn AnyTask, data: &TaskData) -> Result<Split> {
    let mut per_example = vec![0; data.train.len];
    for window in &data.windows {
        if let Some(count) = per_example.get_mut(window.example) {
            *count += 1;
        }
    }
    let lengths = data.windows.iter().map(|window| window.features.ids.len());
    Ok(Split { lost: data.lost, ..split("train", task, &data.train, &per_example, lengths)? })
}

fn validation(task: &dyn AnyTask, examples: &Examples, tokenizer: &Tokenizer) -> Result<Split> {
    encoded_split(task, examples, tokenizer, Purpose::Predict)
}

/// Describes examples by making their windows (again): those of training, as training cuts, or those of validation.
pub fn encoded_split(
    task: &dyn AnyTask,
    examples: &Examples,
    tokenizer: &Tokenizer,
    purpose: Purpose,
) -> Result<Split> {
    let sizes = |index| {
        let encoded = task.features(examples, index, tokenizer, purpose)?;
        let lengths: Vec<usize> = encoded.windows.iter().map(|window| window.ids.len()).collect();
        Ok((lengths, Lost { tokens: encoded.lost_tokens, golds: encoded.truncated_answers }))
    };
    let all: Vec<Result<(Vec<usize>, Lost)>> = (0..examples.len).into_par_iter().map(sizes).collect();
    let all: Vec<(Vec<usize>, Lost)> = all.into_iter().collect::<Result<_>>()?;
    let lost = all.iter().fold(Lost::default(), |sum, (_, lost)| Lost {
        tokens: sum.tokens + lost.tokens,
        golds: sum.golds + lost.golds,
    });
    let per_example: Vec<usize> = all.iter().map(|(lengths, _)| lengths.len()).collect();
    let name = if purpose == Purpose::Train { "train" } else { "validation" };
    let lengths = all.into_iter().flat_map(|(lengths, _)| lengths);
    Ok(Split { lost, ..split(name, task, examples, &per_example, lengths)? })
}

fn split(
    name: &'static str,
    task: &dyn AnyTask,
    examples: &Examples,
    per_example: &[usize],
    lengths: impl Iterator<Item = usize>,
) -> Result<Split> {
    let mut split = Split {
        name,
        examples: examples.len,
        distribution: task.distribution(examples)?,
        windows: per_example.iter().sum(),
        windows_per_example: BTreeMap::new(),
        tokens: 0,
        lengths: BTreeMap::new(),
        longest: 0,
        lost: Lost::default(),
        skipped: examples.skipped.clone(),
        notes: examples.notes.clone(),
    };
    for &count in per_example {
        *split.windows_per_example.entry(count).or_default() += 1;
    }
    for length in lengths {
        split.tokens += length;
        split.longest = split.longest.max(length);
        *split.lengths.entry(length / BIN * BIN).or_default() += 1;
    }
    Ok(split)
}
