//! What in the data of a recipe is probably a mistake: counted before training, reported as data, and never an error.
//!
//! ```text
//! Examples -> Facts (counts of one split) -> Warning { kind, task, split, message, figures, hint }
//! ```
//!
//! Bounds are set so that CoNLL-2003, SQuAD and the sample corpus have no warning.

use super::facts::{Facts, Labels, SHOWN, Unknown};
use crate::document::number::{count, counted};
use crate::events::{TaskPlan, Warning, WarningKind};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Fewer examples than this are few.
const FEW_EXAMPLES: usize = 10;
/// Sentences of more words than this on average are no sentences. (CoNLL-2003: 14.5.)
const LONG_ON_AVERAGE: usize = 200;
/// A sentence of more words than this is one only if others are alike: within so many times the median.
const LONG: (usize, usize) = (500, 20);
/// A label that occurs less often can't be learned. A misspelt label looks like this too.
const FEW_MENTIONS: usize = 5;
/// This share of the validation examples among the training examples is no chance. (CoNLL-2003: 6 %.)
const SAME_EXAMPLES: f64 = 0.2;
/// This share of words with a token that the vocabulary lacks means another language or script than the encoder's.
const UNKNOWN_WORDS: f64 = 0.05;
/// A task with more than so many times the batches of another is much larger (docs/accuracy.md#few-examples).
const UNEVEN: usize = 3;

/// What is known of a task's data.
pub(super) struct TaskFacts<'a> {
    pub name: &'a str,
    pub train: &'a Facts,
    /// The labels of the whole training file, where a limit takes a part of it.
    pub whole: Option<&'a Labels>,
    pub validation: Option<&'a Facts>,
    pub unknown: Option<&'a Unknown>,
}

/// All warnings about the data of a task.
pub(super) fn warnings(facts: &TaskFacts) -> Vec<Warning> {
    let mut all = Vec::new();
    let mut warn = |kind, split: &str, message: String, figures: Value, hint: &str| {
        let figures = figures.as_object().cloned().unwrap_or_default();
        let (task, split, hint) = (facts.name.to_owned(), split.to_owned(), hint.to_owned());
        all.push(Warning { kind, task, split, message, figures, hint });
    };
    let splits = [("train", Some(facts.train)), ("validation", facts.validation)];
    for (split, of) in splits.into_iter().filter_map(|(split, of)| Some((split, of?))) {
        if of.examples < FEW_EXAMPLES {
            let hint = match split {
                "train" => "little can be learned from so few; is the file whole?",
                _ => "one of them moves the score far; is the file whole?",
            };
            let figures = json!({ "examples": of.examples });
            warn(WarningKind::FewExamples, split, format!("only {}", counted(of.examples, "example")), figures, hint);
        }
        if let Some((message, figures)) = long(of) {
            warn(WarningKind::LongExamples, split, message, figures, "a blank line ends a sentence; are there any?");
        }
    }
    rare(facts, &mut warn);
    if let Some(validation) = facts.validation {
        same(facts.train, validation, &mut warn);
        one_sided(facts, validation, &mut warn);
    }
    if let Some(Unknown { words, all, first }) = facts.unknown
        && *words as f64 >= UNKNOWN_WORDS * *all as f64
    {
        let message = format!(
            "{} of {} words hold a token that the encoder's vocabulary lacks, such as {}",
            count(*words),
            count(*all),
            quoted(first.iter())
        );
        let figures = json!({ "unknown": words, "words": all, "first": first });
        let hint = "the model sees `[UNK]` in their place; take an encoder of this language and script";
        warn(WarningKind::UnknownWords, "train", message, figures, hint);
    }
    all
}

/// A warning about the smallest of tasks that share steps, where another has many times its batches.
pub(super) fn uneven(tasks: &[TaskPlan]) -> Option<Warning> {
    let small = tasks.iter().filter(|task| task.batches > 0).min_by_key(|task| task.batches)?;
    let large = tasks.iter().max_by_key(|task| task.batches)?;
    if large.batches <= UNEVEN * small.batches {
        return None;
    }
    let batches = counted(small.batches, "batch");
    let message =
        format!("{batches} an epoch beside {} of `{}`, in steps of several tasks", count(large.batches), large.name);
    let figures = json!({ "batches": small.batches, "most": large.batches });
    Some(Warning {
        kind: WarningKind::UnevenTasks,
        task: small.name.clone(),
        split: "train".to_owned(),
        message,
        figures: figures.as_object().cloned().unwrap_or_default(),
        hint: "few examples are learned better where tasks take turns: train.sample = \"round_robin\"".to_owned(),
    })
}

type Warn<'a> = &'a mut dyn FnMut(WarningKind, &str, String, Value, &str);

/// Examples of enormous length.
fn long(facts: &Facts) -> Option<(String, Value)> {
    let mut words = facts.words.clone();
    words.sort_unstable();
    let (longest, median) = (*words.last()?, *words.get(words.len() / 2)?);
    let mean = words.iter().sum::<usize>() / words.len();
    let place = facts.longest.as_ref().map_or_else(String::new, |place| format!(" at {place}"));
    let figures = json!({ "mean_words": mean, "median_words": median, "longest_words": longest });
    let (least, times) = LONG;
    let message = if mean > LONG_ON_AVERAGE {
        let examples = counted(words.len(), "example");
        format!("{examples} of {} words on average, the longest{place} of {}", count(mean), count(longest))
    } else if longest > least && longest > times * median {
        format!("the example{place} has {} words, most have {} or fewer", count(longest), count(median))
    } else {
        return None;
    };
    Some((message, figures))
}

/// Labels that hardly occur, or that a limit leaves out.
fn rare(facts: &TaskFacts, warn: Warn) {
    let few: Labels =
        facts.train.labels.iter().filter(|(_, times)| **times < FEW_MENTIONS).map(|(l, n)| (l.clone(), *n)).collect();
    if !few.is_empty() {
        let message = match few.first_key_value() {
            Some((label, &1)) if few.len() == 1 => format!("`{label}` occurs once"),
            _ => format!("{} fewer than {FEW_MENTIONS} times: {}", occurring(few.len()), times(&few)),
        };
        let hint = "too few to learn from; a misspelt label looks like this too";
        warn(WarningKind::RareLabels, "train", message, json!({ "labels": few }), hint);
    }
    let left_out = facts.whole.map(|whole| missing(whole, &facts.train.labels)).unwrap_or_default();
    if !left_out.is_empty() {
        let message =
            format!("the first {} never have {}", counted(facts.train.examples, "example"), quoted(left_out.keys()));
        let hint = "other examples of the file do: raise `limit`, or shuffle the file";
        warn(WarningKind::LabelsNotInTraining, "train", message, json!({ "labels": left_out }), hint);
    }
}

/// Validation that is training.
fn same(train: &Facts, validation: &Facts, warn: Warn) {
    let known: HashSet<&[u8; 32]> = train.contents.iter().map(|content| &content.0).collect();
    let identical = validation.contents.iter().filter(|content| known.contains(&content.0)).count();
    let figures = json!({ "identical": identical, "examples": validation.examples });
    let share = identical as f64 / validation.examples.max(1) as f64;
    let hint = "the score says what the model remembers, not what it learned; validate on other examples";
    let message = if train.sha256 == validation.sha256 && !train.sha256.is_empty() {
        "the file is that of training".to_owned()
    } else if identical > 0 && share >= SAME_EXAMPLES {
        let (identical, all) = (count(identical), counted(validation.examples, "example"));
        format!("{identical} of {all} are among the training examples, with the same gold answers")
    } else {
        return;
    };
    warn(WarningKind::ValidationIsTraining, "validation", message, figures, hint);
}

/// Labels that only one side has.
fn one_sided(facts: &TaskFacts, validation: &Facts, warn: Warn) {
    let unmeasured = missing(&facts.train.labels, &validation.labels);
    if !unmeasured.is_empty() {
        let message = match validation.labels.is_empty() {
            true => "no example has a label".to_owned(),
            false => format!("no example has {}", quoted(unmeasured.keys())),
        };
        let hint = "training does, and nothing measures what comes of it";
        warn(WarningKind::LabelsNotInValidation, "validation", message, json!({ "labels": unmeasured }), hint);
    }
    let unlearned = missing(&validation.labels, &facts.train.labels);
    if !unlearned.is_empty() {
        let message = format!("{} here and never in training: {}", occurring(unlearned.len()), times(&unlearned));
        let hint = "what is never trained on is not predicted";
        warn(WarningKind::LabelsOnlyInValidation, "validation", message, json!({ "labels": unlearned }), hint);
    }
}

/// The labels of one that the other never has.
fn missing(of: &Labels, than: &Labels) -> Labels {
    of.iter().filter(|(label, _)| !than.contains_key(*label)).map(|(label, times)| (label.clone(), *times)).collect()
}

fn occurring(labels: usize) -> String {
    if labels == 1 { "1 label occurs".to_owned() } else { format!("{labels} labels occur") }
}

/// "`DATE` 1, `LAW` 3 and 2 more"
fn times(labels: &Labels) -> String {
    listed(labels.iter().map(|(label, times)| format!("`{label}` {}", count(*times))))
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    listed(names.map(|name| format!("`{name}`")))
}

/// The first few.
fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Place;
    use crate::tasks::Fingerprint;

    fn facts(words: &[usize], labels: &[(&str, usize)], contents: std::ops::Range<u8>) -> Facts {
        Facts {
            examples: words.len(),
            labels: labels.iter().map(|(label, times)| ((*label).to_owned(), *times)).collect(),
            words: words.to_vec(),
            longest: Some(Place::line("f.conll", 7)),
            contents: contents.map(|byte| Fingerprint([byte; 32])).collect(),
            sha256: format!("{words:?}"),
        }
    }

    fn of(train: &Facts, validation: &Facts) -> Vec<Warning> {
        warnings(&TaskFacts { name: "ner", train, whole: None, validation: Some(validation), unknown: None })
    }

    /// The kind and the text of the only warning.
    fn only(found: &[Warning]) -> (WarningKind, String) {
        let [one] = found else { panic!("{found:#?}") };
        (one.kind, one.to_string())
    }

    const LABELS: &[(&str, usize)] = &[("LOC", 50), ("PER", 5)];

    #[test]
    fn ordinary_data_have_no_warning() {
        // Six in a hundred examples on both sides, as CoNLL-2003 has them, and one long sentence.
        let train = facts(&[&[14; 100][..], &[113]].concat(), LABELS, 0..100);
        assert_eq!(of(&train, &facts(&[14; 100], LABELS, 94..194)), Vec::new());
        assert_eq!(
            warnings(&TaskFacts { name: "x", train: &train, whole: None, validation: None, unknown: None }),
            Vec::new()
        );
    }

    #[test]
    fn a_file_without_sentence_breaks_and_a_missing_break_are_told_with_their_words() {
        let usual = || facts(&[14; 20], LABELS, 100..120);
        let found = of(&facts(&[15_000], LABELS, 0..1), &usual());
        assert_eq!(
            found.iter().map(|one| one.kind).collect::<Vec<_>>(),
            [WarningKind::FewExamples, WarningKind::LongExamples]
        );
        assert!(
            found[1].message.contains("1 example of 15,000 words on average, the longest at f.conll:7"),
            "{found:?}"
        );
        assert_eq!(found[1].figures["longest_words"], 15_000);
        let (kind, text) = only(&of(&usual(), &facts(&[&[14; 30][..], &[2_000]].concat(), LABELS, 0..30)));
        assert_eq!(kind, WarningKind::LongExamples);
        assert!(text.contains("data.ner.validation: the example at f.conll:7 has 2,000 words, most have 14"), "{text}");
    }

    #[test]
    fn validation_that_is_training_is_told_by_file_and_by_content() {
        let train = facts(&[14; 20], LABELS, 0..20);
        let (kind, text) = only(&of(&train, &facts(&[14; 20], LABELS, 0..20)));
        assert!(kind == WarningKind::ValidationIsTraining && text.contains("the file is that of training"), "{text}");
        let found = of(&train, &facts(&[13; 20], LABELS, 15..35));
        assert!(only(&found).1.contains("5 of 20 examples are among the training examples"), "{found:?}");
        assert_eq!(found[0].figures["identical"], 5);
        assert_eq!(of(&train, &facts(&[13; 20], LABELS, 17..37)), Vec::new(), "three may be chance");
    }

    #[test]
    fn labels_that_hardly_occur_or_that_one_side_lacks_are_named_with_their_numbers() {
        let (many, rare) = (facts(&[14; 20], LABELS, 0..20), &[("LOC", 50), ("PER", 5), ("ORGG", 1)]);
        let found = of(&facts(&[14; 20], rare, 0..20), &facts(&[13; 20], rare, 20..40));
        assert_eq!(
            only(&found).1,
            "warning: data.ner.train: `ORGG` occurs once (too few to learn from; a misspelt label looks like this too)"
        );
        assert_eq!(found[0].figures["labels"]["ORGG"], 1);
        let (kind, text) = only(&of(&many, &facts(&[13; 20], &LABELS[..1], 20..40)));
        assert!(kind == WarningKind::LabelsNotInValidation && text.contains("no example has `PER`"), "{text}");
        assert!(only(&of(&many, &facts(&[13; 20], &[], 20..40))).1.contains("no example has a label"));
        let (kind, text) = only(&of(&many, &facts(&[13; 20], &[("DATE", 9), ("LOC", 1), ("PER", 1)], 20..40)));
        assert!(kind == WarningKind::LabelsOnlyInValidation && text.contains("never in training: `DATE` 9"), "{text}");
        let whole = facts(&[], &[("LOC", 60), ("PER", 9), ("LAW", 12)], 0..0).labels;
        let found =
            warnings(&TaskFacts { name: "ner", train: &many, whole: Some(&whole), validation: None, unknown: None });
        assert!(only(&found).1.contains("the first 20 examples never have `LAW`"), "{found:?}");
    }

    #[test]
    fn a_task_with_few_batches_beside_one_with_many_is_warned_of() {
        let task = |name: &str, batches| TaskPlan { name: name.to_owned(), batches, ..TaskPlan::default() };
        assert_eq!(uneven(&[task("ner", 250), task("qa", 84), task("empty", 0)]), None);
        let warning = uneven(&[task("ner", 250), task("qa", 83)]).unwrap();
        assert_eq!((warning.kind, warning.task.as_str()), (WarningKind::UnevenTasks, "qa"));
        assert!(warning.message.contains("83 batches an epoch beside 250 of `ner`"), "{}", warning.message);
    }

    #[test]
    fn a_set_of_one_example_and_words_that_the_vocabulary_lacks_are_told() {
        let train = facts(&[14; 20], LABELS, 0..20);
        let (kind, text) = only(&of(&train, &facts(&[14], LABELS, 20..21)));
        assert!(kind == WarningKind::FewExamples && text.contains("data.ner.validation: only 1 example"), "{text}");
        let unknown = |words| Unknown { words, all: 950, first: vec!["東京".into()] };
        let of = |words| {
            let unknown = unknown(words);
            let unknown = Some(&unknown);
            warnings(&TaskFacts { name: "ner", train: &train, whole: None, validation: None, unknown })
        };
        assert!(only(&of(400)).1.contains("400 of 950 words hold a token"), "{:?}", of(400));
        assert_eq!(of(40), Vec::new());
    }
}
