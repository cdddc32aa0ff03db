//! The labels of data: which there are, how often, and what is said of one that is none of them.

use crate::error::{Error, Place};
use std::collections::{BTreeMap, BTreeSet};

/// Each label once, sorted: the order of a head's outputs.
pub(super) fn sorted<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    labels.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

/// How often each label occurs, as rows below one of another name.
pub(super) fn frequencies<'a>(labels: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    counts.into_iter().map(|(label, count)| (format!("  {label}"), count))
}

/// A gold label that is none of those of the task.
pub(super) fn unknown_label(known: &[String], label: &str, place: &Place) -> Error {
    Error::data(format!("expected one of the labels {}, found `{label}`", known.join(", ")))
        .at(place.clone())
        .hint("the labels are those of the training data; one that only other data has can't be predicted")
}

/// What is wrong with labels of which a head can learn nothing; `examples` says of how many.
pub(super) fn too_few<'a>(labels: impl Iterator<Item = &'a str>, examples: &str) -> Option<String> {
    let labels = sorted(labels);
    let found = match labels.as_slice() {
        [] => "none".to_owned(),
        [label] => format!("`{label}` alone"),
        _ => return None,
    };
    Some(format!("expected at least two labels to train on, found {found} in {examples}"))
}
