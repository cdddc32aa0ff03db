//! Scores as tables: precision, recall and F1 side by side, the breakdown by type, and what else a task measures.

use crate::table::{Align, Table, count, decimal};
use polyhead::tasks::Score;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How far values may be off, by their names.
pub type Intervals = BTreeMap<String, [f64; 2]>;

/// The tables of a score, in order, each value with its interval where there is one; tables that would be empty are left out.
pub fn tables(score: &Score, intervals: &Intervals) -> Vec<Table> {
    let with_interval = |name: &str, value: String| match intervals.get(name) {
        Some(&[low, high]) => {
            let [low, high] = [low, high].map(|end| number(name, &json!(end)));
            format!("{value} ({low} to {high})")
        }
        None => value,
    };
    let (mut means, rest) = means_and_rest(score, &with_interval);
    let mut other = Table::new(&[("measure", Align::Left), ("value", Align::Right)]);
    for (name, value) in rest {
        other.row([words(name), with_interval(name, number(name, value))]);
    }
    let mut types = Table::new(&[
        ("type", Align::Left),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("gold", Align::Right),
    ]);
    for kind in &score.types {
        let [precision, recall, f1] = [kind.precision, kind.recall, kind.f1].map(decimal);
        types.row([kind.name.clone(), precision, recall, f1, count(kind.support)]);
    }
    let strict = score.values.keys().any(|name| name.ends_with("_strict"));
    let mut table = Table::new(&[
        ("mean", Align::Left),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
    ]);
    for (stem, values) in means.drain(..) {
        let name = match stem.strip_suffix("_strict") {
            Some(stem) => format!("{}, strict IOB2", words(stem)),
            None if strict => format!("{}, lenient", words(&stem)),
            None => words(&stem),
        };
        table.row([vec![name], values.to_vec()].concat());
    }
    [table, types, other].into_iter().filter(|table| !table.is_empty()).collect()
}

/// One row a task: its name, what decides and its value, then the other measures in brief.
pub fn summary(scores: &BTreeMap<String, Score>) -> Table {
    let mut table = Table::new(&[("task", Align::Left), ("measure", Align::Left), ("value", Align::Right)]);
    for (task, score) in scores {
        let (means, rest) = means_and_rest(score, &|_, value| value);
        let strict = !means.is_empty() && score.values.keys().any(|name| name.ends_with("_strict"));
        for (stem, [precision, recall, f1]) in means {
            let (mean, scheme) = match stem.strip_suffix("_strict") {
                Some(mean) => (mean, " (strict IOB2)"),
                None => (stem.as_str(), if strict { " (lenient)" } else { "" }),
            };
            if mean == "micro" && scheme != " (strict IOB2)" {
                table.row([task.clone(), format!("micro precision{scheme}"), precision]);
                table.row([task.clone(), format!("micro recall{scheme}"), recall]);
            }
            table.row([task.clone(), format!("{} F1{scheme}", words(mean)), f1]);
        }
        for (name, value) in rest {
            table.row([task.clone(), words(name), number(name, value)]);
        }
    }
    table
}

type Means = Vec<(String, [String; 3])>;

/// The triples `{stem}_precision{end}`, `{stem}_recall{end}`, `{stem}_f1{end}`, each value as `shown` has it, and what is in none of them.
fn means_and_rest<'a>(score: &'a Score, shown: &dyn Fn(&str, String) -> String) -> (Means, Vec<(&'a str, &'a Value)>) {
    let (mut means, mut rest) = (Means::new(), Vec::new());
    for (name, value) in &score.values {
        let parts = name.split_once("_precision");
        let value_of = |measure: &str| {
            let (stem, end) = parts?;
            let name = format!("{stem}_{measure}{end}");
            Some(shown(&name, decimal(score.get(&name)?)))
        };
        match (parts, value_of("precision"), value_of("recall"), value_of("f1")) {
            (Some((stem, end)), Some(precision), Some(recall), Some(f1)) => {
                means.push((format!("{stem}{end}"), [precision, recall, f1]));
            }
            _ => rest.push((name.as_str(), value)),
        }
    }
    rest.retain(|(name, _)| !means.iter().any(|(stem, _)| belongs(name, stem)));
    (means, rest)
}

/// Whether a measure is the recall or F1 of the triple of this stem.
fn belongs(name: &str, stem: &str) -> bool {
    ["_recall", "_f1"].iter().any(|part| name.contains(part) && name.replacen(part, "", 1) == stem)
}

/// The name of a measure for people.
pub fn words(name: &str) -> String {
    let name = name.replace('_', " ");
    if name == "f1" { "F1".to_owned() } else { name.replace(" f1", " F1") }
}

/// A value as it is shown.
pub fn number(name: &str, value: &Value) -> String {
    match value.as_f64() {
        Some(value) if name == "questions" => count(value as usize),
        // Nats, or what the numbers of a task count in, not per cent.
        Some(value) if ["loss", "mse", "mae"].contains(&name) => format!("{value:.4}"),
        Some(value) => decimal(value),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use polyhead::tasks::TypeScore;

    fn score(values: Value, types: Vec<TypeScore>) -> Score {
        Score { headline: "f1".into(), values: values.as_object().unwrap().clone(), types }
    }

    #[test]
    fn every_value_of_a_score_is_shown_once_and_named() {
        let values = json!({
            "micro_precision": 11.111, "micro_recall": 22.222, "micro_f1": 33.333,
            "micro_precision_strict": 44.444, "micro_recall_strict": 55.555, "micro_f1_strict": 66.666,
            "token_accuracy": 77.777,
        });
        let types = vec![TypeScore { name: "PER".into(), precision: 1.0, recall: 2.0, f1: 3.0, support: 1234 }];
        let tables: Vec<String> =
            tables(&score(values, types), &Intervals::new()).iter().map(ToString::to_string).collect();
        assert_eq!(tables.len(), 3);
        assert!(tables[0].contains("micro, lenient") && tables[0].contains("micro, strict IOB2"));
        for value in ["11.11", "22.22", "33.33", "44.44", "55.5", "66.67", "77.78", "1,234"] {
            assert_eq!(
                tables.iter().map(|table| table.matches(value).count()).sum::<usize>(),
                1,
                "{value}: {tables:?}"
            );
        }
    }

    #[test]
    fn a_score_without_means_is_a_list() {
        let tables = tables(
            &score(json!({"exact_match": 50.0, "f1": 60.0, "questions": 2000.0}), Vec::new()),
            &Intervals::new(),
        );
        assert_eq!(tables.len(), 1);
        let text = tables[0].to_string();
        assert!(text.contains("exact match") && text.contains("F1") && text.contains("2,000"), "{text}");
    }

    #[test]
    fn values_are_shown_with_their_intervals() {
        let values = json!({ "micro_precision": 11.111, "micro_recall": 22.222, "micro_f1": 33.333, "loss": 0.5 });
        let intervals = [("micro_f1", [31.0, 35.556]), ("loss", [0.25, 0.75])];
        let intervals = intervals.map(|(name, ends)| (name.to_owned(), ends)).into();
        let tables = tables(&score(values, Vec::new()), &intervals);
        let [means, other] = [0, 1].map(|at| tables[at].to_string());
        assert!(means.contains("22.22  33.33 (31.00 to 35.56)"), "{means}");
        assert!(other.contains("0.5000 (0.2500 to 0.7500)"), "{other}");
    }
}
