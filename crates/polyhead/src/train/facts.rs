//! What is counted of a task's data before training: `Examples -> Facts` (labels, lengths, what is equal in equal examples), and
//! the words that the tokenizer does not know.

use super::windows::TrainingWindow;
use crate::error::{Place, Result};
use crate::tasks::{AnyTask, Examples, Fingerprint};
use crate::text::Tokenizer;
use std::collections::BTreeMap;

/// Words are counted only where this share of the tokens is unknown: it means tokenising again.
const UNKNOWN_TOKENS: f64 = 0.02;

/// So many names are shown.
pub(super) const SHOWN: usize = 8;

/// How often each label occurs.
pub(super) type Labels = BTreeMap<String, usize>;

/// The counts of one split.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub examples: usize,
    pub labels: Labels,
    /// The words of each example, in order, where examples are to be sentences.
    pub words: Vec<usize>,
    /// Where the longest of them stands.
    pub longest: Option<Place>,
    /// What is equal in equal examples.
    pub contents: Vec<Fingerprint>,
    /// The digest of the file.
    pub sha256: String,
}

impl Facts {
    pub(super) fn of(task: &dyn AnyTask, examples: &Examples, sha256: &str) -> Result<Self> {
        let mut facts = Self { examples: examples.len, sha256: sha256.to_owned(), ..Self::default() };
        let mut most = 0;
        for index in 0..examples.len {
            let outline = task.outline(examples, index)?;
            for label in outline.labels {
                *facts.labels.entry(label).or_default() += 1;
            }
            if let Some(words) = outline.sentence_words {
                if words > most {
                    (most, facts.longest) = (words, Some(task.place(examples, index)?.clone()));
                }
                facts.words.push(words);
            }
            facts.contents.extend(task.fingerprint(examples, index)?);
        }
        Ok(facts)
    }
}

/// The labels of examples.
pub(super) fn labels(task: &dyn AnyTask, examples: &Examples) -> Result<Labels> {
    let mut labels = Labels::new();
    for index in 0..examples.len {
        for label in task.outline(examples, index)?.labels {
            *labels.entry(label).or_default() += 1;
        }
    }
    Ok(labels)
}

/// The words of a text that the tokenizer does not know.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unknown {
    pub words: usize,
    pub all: usize,
    /// The first different ones.
    pub first: Vec<String>,
}

/// Counts unknown words, if the windows show that there are many.
pub(super) fn unknown(
    task: &dyn AnyTask,
    examples: &Examples,
    windows: &[TrainingWindow],
    tokenizer: &Tokenizer,
) -> Result<Option<Unknown>> {
    let Some(id) = tokenizer.unknown() else { return Ok(None) };
    let ids = || windows.iter().flat_map(|window| &window.features.ids);
    if (ids().filter(|&&token| token == id).count() as f64) < UNKNOWN_TOKENS * ids().count() as f64 {
        return Ok(None);
    }
    let mut found = Unknown::default();
    let mut before = "";
    for index in 0..examples.len {
        let text = task.outline(examples, index)?.text;
        // Questions about one text stand together.
        if std::mem::replace(&mut before, text) == text {
            continue;
        }
        let pieces = tokenizer.text(text)?;
        let mut unknown = pieces.iter().filter(|piece| piece.id == id).map(|piece| piece.start).peekable();
        for word in text.split_whitespace() {
            let end = word.as_ptr() as usize - text.as_ptr() as usize + word.len();
            found.all += 1;
            if unknown.next_if(|start| *start < end).is_none() {
                continue;
            }
            while unknown.next_if(|start| *start < end).is_some() {}
            found.words += 1;
            let shown: String = word.chars().take(40).collect();
            if found.first.len() < SHOWN && !found.first.contains(&shown) {
                found.first.push(shown);
            }
        }
    }
    Ok(Some(found))
}
